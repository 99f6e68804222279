"""How each parameter array is updated: the kind of its first updates, and their sizes."""

from __future__ import annotations

import numpy as np

from jaxopt_bench.optimizers.conformance.comparison import ALIKE, closest_factor, rms
from jaxopt_bench.optimizers.conformance.facts import ArrayFacts, Kind
from jaxopt_bench.optimizers.conformance.laboratory import Laboratory
from jaxopt_bench.optimizers.partitions import rule_arrays
from jaxopt_bench.strict_json import finite_or_none

_SINGULAR = (0.6, 1.7)  # singular values after Newton-Schulz, as shares of their median
_MOST_SINGULAR = 0.85  # the share of them that must lie in this range: values near 0 stay below it


def measure_arrays(laboratory: Laboratory) -> tuple[ArrayFacts, ...]:
    """Returns how each array of a laboratory's network is updated."""
    updates, rate = laboratory.base, laboratory.optimizer.learning_rate
    labels = {i: label for label, arrays in rule_arrays(laboratory.state(), laboratory.shapes) for i in arrays}
    facts = []
    for i, (name, update) in enumerate(zip(laboratory.names, updates, strict=True)):
        first, last = (rms(update[at]) for at in (laboratory.first, -1))
        kind = _kind(update, laboratory.gradients[i])
        facts.append(
            ArrayFacts(
                name=name,
                shape=laboratory.params[i].shape,
                kind=kind,
                first=finite_or_none(first / rate) if rate else None,
                last=finite_or_none(last / rate) if rate else None,
                relative=finite_or_none(first / rms(laboratory.params[i])),
                rule=labels.get(i),
            )
        )
    return tuple(facts)


def _kind(updates: np.ndarray, gradients: np.ndarray) -> Kind:
    """Returns the kind of the first updates of an array.

    Args:
      updates: the updates of all steps.
      gradients: the gradients of all steps.
    """
    if not np.isfinite(updates).all():
        return "not_finite"
    if not updates.any():
        return "none"
    step = next(step for step, update in enumerate(updates) if update.any())
    first, gradient = updates[step], np.asarray(gradients[step], np.float64)
    if first.size == 1:
        return "single"
    if closest_factor(first, gradient)[1] < ALIKE:
        return "gradient"
    if _of_one_size(first):
        return "sign" if all(_of_one_size(update) for update in updates) else "first_sign"
    if any(_orthogonal(m) and not _orthogonal(g) for m, g in zip(_matrices(first), _matrices(gradient), strict=True)):
        return "orthogonal"
    return "other"


def _of_one_size(update: np.ndarray) -> bool:
    sizes = np.abs(update)
    return bool(np.std(sizes) < ALIKE * np.mean(sizes)) if sizes.any() else True


def _matrices(array: np.ndarray) -> list[np.ndarray]:
    """Returns an array as matrices, in the two ways in which optimizers treat kernels as matrices.

    The first is one matrix: the last axis is its columns, all others are its rows. The second is one matrix for each
    position in the window of a convolution. Small ones of the second kind are left out: few long rows are nearly
    orthogonal by chance.
    """
    if array.ndim < 2:
        return []
    whole = array.reshape(-1, array.shape[-1])
    return [whole, array] if array.ndim > 2 and min(array.shape[-2:]) >= 8 else [whole]


def _orthogonal(matrix: np.ndarray) -> bool:
    """Returns whether most of the singular values of a matrix, or of stacked matrices, are equal, as in Muon."""
    if min(matrix.shape[-2:]) < 2 or max(matrix.shape[-2:]) < 8:  # their singular values may be equal by chance
        return False
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = np.swapaxes(matrix, -1, -2)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(matrix @ np.swapaxes(matrix, -1, -2)), 0))
    low, high = (bound * np.median(values, -1, keepdims=True) for bound in _SINGULAR)
    return bool(np.mean((low <= values) & (values <= high)) >= _MOST_SINGULAR) and bool(values.any())
