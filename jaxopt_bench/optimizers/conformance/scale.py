"""Measures how the updates change if all gradients are multiplied by a factor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxopt_bench.optimizers.conformance.comparison import are_close
from jaxopt_bench.optimizers.conformance.facts import ScaleFacts, Scaling
from jaxopt_bench.optimizers.conformance.laboratory import Laboratory


def measure_scale(laboratory: Laboratory) -> dict[str, ScaleFacts]:
    """Returns how the updates of each trained array change if gradients are scaled, by the array's name."""
    base, scaled = laboratory.base, laboratory.scaled
    found: dict[str, ScaleFacts] = {}
    for i, name in enumerate(laboratory.names):
        if base[i].any():
            first, last = (
                scaling_of(base[i][at], {factor: updates[i][at] for factor, updates in scaled.items()})
                for at in (laboratory.first, -1)
            )
            found[name] = ScaleFacts(first, last)
    return found


def scaling_of(update: np.ndarray, scaled: Mapping[float, np.ndarray]) -> Scaling:
    """Returns how an update changes if gradients are scaled.

    Args:
      update: the update without scaling.
      scaled: by each factor, the update if all gradients are multiplied by it.
    """
    if not all(np.isfinite(other).all() for other in (update, *scaled.values())):
        return "not_finite"
    if all(are_close(other, update) for other in scaled.values()):
        return "invariant"
    if all(are_close(other, factor * update) for factor, other in scaled.items()):
        return "linear"
    return "neither"
