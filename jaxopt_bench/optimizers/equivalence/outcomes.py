"""The results of the trials of a function, and how far two of them may differ because of rounding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxopt_bench.optimizers.equivalence.inputs import Numbers

_ROUNDING = 1e-5  # relative to an array's largest update
_AMPLIFIED = 20  # the accepted multiple of the change that noise makes

Table = Sequence[float]
"""The schedule's multiplier at each step."""
Outcome = list[list[Float32[np.ndarray, "*shape"]]]
"""The updates of each step, by parameter, followed by the arrays of the last state."""


class Reference(NamedTuple):
    """The results of the function with Python numbers.

    Attributes:
      numbers: its settings.
      table: the schedule.
      outcome: its updates and its last state.
      tolerances: the accepted differences from this outcome, by step and parameter.
    """

    numbers: Numbers
    table: Table
    outcome: Outcome
    tolerances: list[list[float]]


def accepted_differences(outcome: Outcome, noisy: Sequence[Outcome]) -> list[list[float]]:
    """Returns the accepted differences from an outcome, by step and array, given outcomes with noise."""
    return [
        [
            _ROUNDING * float(np.abs(leaf).max(initial=0))
            + _AMPLIFIED * max(float(np.abs(leaf - other[step][i]).max(initial=0)) for other in noisy)
            for i, leaf in enumerate(leaves)
        ]
        for step, leaves in enumerate(outcome)
    ]


def describe_difference(outcome: Outcome, reference: Reference) -> str:
    """Returns how an outcome differs from a reference, in words; an empty text if they are equal up to rounding.

    The last states are compared only if their arrays have the same shapes: with a schedule, the state counts steps.
    """
    steps = list(zip(outcome, reference.outcome, reference.tolerances, strict=True))
    if [leaf.shape for leaf in outcome[-1]] != [leaf.shape for leaf in reference.outcome[-1]]:
        steps.pop()
    for step, arrays in enumerate(steps, start=1):
        for found, expected, tolerance in zip(*arrays, strict=True):
            error = np.abs(found - expected).max(initial=0)
            if error > tolerance or np.isfinite(found).all() < np.isfinite(expected).all():
                size = np.abs(expected).max(initial=0)
                share = f"{error / size:.2g} of the largest number" if size else f"{error:.2g}"
                what = "state" if step > len(reference.table) else f"update {step}"
                return f"with arrays in the place of numbers its {what} differs by {share}"
    return ""


def are_finite(outcome: Outcome) -> bool:
    """Returns whether all updates are finite."""
    return all(np.isfinite(leaf).all() for leaves in outcome[:-1] for leaf in leaves)
