"""An overview of a model: a table of its parameters, and their number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
from clu import parameter_overview as clu_overview
from jaxtyping import PyTree


def parameter_overview(variables_or_params: Mapping[str, Any]) -> str:
    """Returns a table of every parameter's name, shape, dtype and size, and their total.

    Args:
      variables_or_params: the result of `module.init`, or its "params". The leaves are arrays, or shapes from
        `jax.eval_shape`. The running averages of batch normalisation are not parameters and are omitted.
    """
    params = variables_or_params.get("params", variables_or_params)
    return clu_overview.get_parameter_overview(params, include_stats=False)


def count_parameters(params: PyTree[Any]) -> int:
    """Returns the total number of elements in a tree of arrays (or of their shapes)."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
