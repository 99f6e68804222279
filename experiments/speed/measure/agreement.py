"""The check that comes before any timing: both sides compute the same losses and gradients from the same weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from experiments.speed.inputs.probes import Answer, Probe, Variables
from experiments.speed.inputs.workloads import MEAN, STD, Dtype
from jaxopt_bench.training import Task

EXAMPLES = 4
PROBES = 6
"""How many may be tried. Where an activation lies within rounding of ReLU's corner, it may be open on one side and shut
on the other, which moves the gradients by up to a percent. Such a probe says nothing, so another is drawn; a wrong
layout or a missing term shows in all of them. Few examples make such an activation rare."""

LOSS_BOUND: dict[Dtype, float] = {"float32": 1e-4, "bfloat16": 5e-2}
"""Relative; bfloat16 keeps 8 bits of each activation, and the two sides round in different places."""
GRADIENT_BOUND = 1e-3
"""Of the difference's norm to the gradient's, for each parameter, in float32: rounding, which deep batch normalisation
amplifies."""
OWN_ROUNDING = 4.0
"""Where all probes are over that bound, as in a network so wide that some activation always lies in a corner: the sides
may differ by so many times as much as the peer's gradients do from its own in float64."""


class DisagreementError(Exception):
    """The two sides do not compute the same thing, so their speeds must not be compared."""


class GradientDisagreementError(DisagreementError):
    """The losses are the same and the gradients are not, which one probe alone does not prove to be an error."""


def make_probes(task: Task, initial: Variables) -> list[Probe]:
    """Returns the probes that may be tried."""
    return [make_probe(task, initial, seed) for seed in range(PROBES)]


def make_probe(task: Task, initial: Variables, seed: int) -> Probe:
    """Returns noise images, and weights about the initial ones.

    All are moved a little: biases that are zero and scales that are one would not show that they were interchanged.
    """
    rng = np.random.default_rng(seed)
    moved = {name: _moved(name, value, rng) for name, value in sorted(initial.items())}
    images = (rng.random((EXAMPLES, *task.problem.facts["shape"])) - MEAN) / STD
    return Probe(
        moved, images.astype(np.float32), rng.integers(0, task.problem.facts["num_classes"], EXAMPLES, np.int32)
    )


def check(
    what: str,
    ours: Callable[[Probe], Answer],
    theirs: Callable[[Probe], Answer],
    exactly: Callable[[Probe], Answer],
    probes: Sequence[Probe],
    dtype: Dtype,
) -> dict[str, float]:
    """Returns the largest relative differences of the first probe on which both sides agree.

    Args:
      what: the network and the paths that are compared, for the message.
      ours: what JAX computes.
      theirs: what the peer does.
      exactly: what the peer computes in float64.
      probes: those that may be tried, one at least.
      dtype: what the networks compute in.

    Raises:
      DisagreementError: where the losses differ on a probe, or the gradients on all of them.
    """
    for probe in probes:
        mine, others = ours(probe), theirs(probe)
        with contextlib.suppress(GradientDisagreementError):
            return compare(what, mine, others, dtype)
    rounding = max(_differences(others.gradients, exactly(probe).gradients).values())
    return compare(what, mine, others, dtype, max(GRADIENT_BOUND, OWN_ROUNDING * rounding))


def compare(
    what: str, ours: Answer, theirs: Answer, dtype: Dtype, gradient_bound: float = GRADIENT_BOUND
) -> dict[str, float]:
    """Returns the largest relative differences, for the record.

    Args:
      what: the network and the paths that are compared, for the message.
      ours: computed with JAX.
      theirs: computed by the peer.
      dtype: what the networks computed in; gradients are compared in float32 only.
      gradient_bound: how far they may differ.

    Raises:
      DisagreementError: where a difference is over its bound, naming both values.
    """
    bound = LOSS_BOUND[dtype]
    losses = {
        "evaluation loss": (ours.evaluation_loss, theirs.evaluation_loss),
        "training loss": (ours.training_loss, theirs.training_loss),
    }
    for name, (one, other) in losses.items():
        if not _relative(one, other) <= bound:
            raise DisagreementError(f"{what}: {name} {one!r} here, {other!r} there. Expected: {bound:g} apart.")
    found = {"loss_difference": max(_relative(*pair) for pair in losses.values())}
    if dtype == "float32":
        found["gradient_difference"] = _compare_gradients(what, ours.gradients, theirs.gradients, gradient_bound)
    return found


def _compare_gradients(what: str, ours: Variables, theirs: Variables, bound: float) -> float:
    if set(ours) != set(theirs):
        raise DisagreementError(f"{what}: gradients of other parameters: {sorted(set(ours) ^ set(theirs))}.")
    differences = _differences(ours, theirs)
    for name, difference in differences.items():
        if not difference <= bound:
            here, there = _norm(ours[name]), _norm(theirs[name])
            raise GradientDisagreementError(
                f"{what}: the gradient of {name} has norm {here!r} here, {there!r} there, and differs by "
                f"{difference:.2e} of it. Expected: {bound:.2g}."
            )
    return max(differences.values())


def _differences(one: Variables, other: Variables) -> dict[str, float]:
    """Returns the norm of each difference, relative to the other's."""
    return {name: _norm(one[name] - value) / max(_norm(value), 1e-12) for name, value in other.items()}


def _norm(value: Float[np.ndarray, "..."]) -> float:
    return float(np.linalg.norm(value))


def _moved(name: str, value: Float[np.ndarray, "..."], rng: np.random.Generator) -> Float[np.ndarray, "..."]:
    if name.endswith("kernel"):
        return np.asarray(value, np.float32)
    return (value + rng.uniform(0.05, 0.25, value.shape)).astype(np.float32)


def _relative(one: float, other: float) -> float:
    """Returns the relative difference; not a number, and so over any bound, where a loss is not finite."""
    return abs(one - other) / abs(other) if math.isfinite(one) and math.isfinite(other) and other else math.nan


def merge(findings: Mapping[str, dict[str, float]]) -> dict[str, float]:
    """Returns the largest of each difference."""
    names = {name for found in findings.values() for name in found}
    return {name: max(found.get(name, 0.0) for found in findings.values()) for name in sorted(names)}
