"""What a model holds, for people to read: its parameters as a table, and how many there are."""

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
      variables_or_params: what `module.init` returned, or its "params"; arrays or the shapes that `jax.eval_shape`
        gives. The running averages of batch normalisation are no parameters and are left out.
    """
    params = variables_or_params.get("params", variables_or_params)
    return clu_overview.get_parameter_overview(params, include_stats=False)


def count_parameters(params: PyTree[Any]) -> int:
    """Returns how many numbers a tree of arrays (or of their shapes) holds."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
