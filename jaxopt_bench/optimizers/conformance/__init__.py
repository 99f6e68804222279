"""Measures the behaviour of an optimizer: runs it for a few steps on random gradients, and compares its updates.

The code and the description of an optimizer are not read, except for the names of its hyperparameters. Every fact holds
at the optimizer's own settings, for the first few steps.
"""

from __future__ import annotations

from jaxopt_bench.optimizers.conformance.facts import (
    KINDS,
    ArrayFacts,
    Conformance,
    DecayFacts,
    Kind,
    MeasuredDecayForm,
)
from jaxopt_bench.optimizers.conformance.measure import measure_optimizer

__all__ = ["KINDS", "ArrayFacts", "Conformance", "DecayFacts", "Kind", "MeasuredDecayForm", "measure_optimizer"]
