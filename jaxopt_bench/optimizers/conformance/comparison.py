"""Compares updates: sizes, factors between them, and whether they are equal."""

from __future__ import annotations

import numpy as np

from jaxopt_bench.strict_json import finite_or_none

CLOSE = 0.02
"""The relative difference up to which two updates count as equal."""
ALIKE = 0.05
"""The accepted relative deviation of an update from a kind or a form. It may be caused by weight decay."""
ROUNDING = 3e-7
"""The relative rounding error of float32."""


def subtract(arrays: list[np.ndarray], others: list[np.ndarray]) -> list[np.ndarray]:
    """Returns the differences between the arrays of two lists."""
    return [array - other for array, other in zip(arrays, others, strict=True)]


def ratios_at(found: list[np.ndarray], base: list[np.ndarray], step: int) -> list[float | None]:
    """Returns for each array the factor between two updates of one step; None if the array is not trained."""
    return [finite_or_none(closest_factor(one[step], other[step])[0]) if other[step].any() else None
            for one, other in zip(found, base, strict=True)]  # fmt: skip


def closest_factor(array: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Returns the factor that makes `other` closest to `array`, and the relative deviation that remains."""
    x, y = np.ravel(array).astype(np.float64), np.ravel(other).astype(np.float64)
    if not y.any() or not x.any():
        return (0.0, 0.0 if not x.any() else 1.0)
    factor = float(x @ y / (y @ y))
    return factor, rms(x - factor * y) / rms(x)


def are_close(array: np.ndarray, other: np.ndarray) -> bool:
    """Returns whether two updates are equal; see `CLOSE`."""
    return rms(array - other) <= CLOSE * rms(other)


def rms(array: np.ndarray) -> float:
    """Returns the root mean square (RMS) of an array's numbers."""
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def all_finite(arrays: list[np.ndarray]) -> bool:
    """Returns whether all numbers of some arrays are finite."""
    return all(np.isfinite(array).all() for array in arrays)


def same_bits(arrays: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """Returns whether the arrays of two lists are equal, number by number. NaN equals NaN."""
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, others, strict=True))
