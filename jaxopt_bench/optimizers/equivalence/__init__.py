"""Finds by experiment how a function that makes an optimizer must be called in training."""

from __future__ import annotations

from jaxopt_bench.optimizers.equivalence.examination import ParametersError, find_form
from jaxopt_bench.optimizers.equivalence.inputs import random_parameters, small_parameters

__all__ = ["ParametersError", "find_form", "random_parameters", "small_parameters"]
