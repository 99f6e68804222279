"""The check before the measurement: both sides compute the same losses and gradients from the same weights."""

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
"""The largest number of probes. If an activation is very close to zero, rounding can make the ReLU active on one side
and inactive on the other, which changes the gradients by up to a percent. Such a probe gives no information, so another
probe is drawn. A wrong layout or a missing term causes a difference in all probes. Such activations are rare in a batch
of few examples."""

LOSS_BOUND: dict[Dtype, float] = {"float32": 1e-4, "bfloat16": 5e-2}
"""Bounds of the relative difference. bfloat16 keeps 8 bits of each activation, and the sides round at different
points."""
GRADIENT_BOUND = 1e-3
"""The bound of the norm of the difference divided by the norm of the gradient, for each parameter, in float32. It
allows for rounding, which deep batch normalisation amplifies."""
OWN_ROUNDING = 4.0
"""All probes can exceed the bound if a network is so wide that some activation is always very close to zero. Then the
accepted difference is this factor times the difference between the peer's gradients and its gradients in float64."""


class DisagreementError(Exception):
    """The two sides do not compute the same thing, so their speeds must not be compared."""


class GradientDisagreementError(DisagreementError):
    """The losses agree and the gradients differ. A single such probe does not prove an error."""


def make_probes(task: Task, initial: Variables) -> list[Probe]:
    """Returns the probes to try."""
    return [make_probe(task, initial, seed) for seed in range(PROBES)]


def make_probe(task: Task, initial: Variables, seed: int) -> Probe:
    """Returns noise images, and weights near the initial weights.

    All weights are changed slightly: with biases of zero and scales of one, exchanged parameters would not be noticed.
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
      ours: computes the answer with JAX.
      theirs: computes the answer with the peer.
      exactly: computes the answer with the peer in float64.
      probes: the probes to try, at least one.
      dtype: the type of the networks' computations.

    Raises:
      DisagreementError: if the losses differ on a probe, or the gradients differ on all probes.
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
      ours: the answer of JAX.
      theirs: the answer of the peer.
      dtype: the type of the networks' computations. Gradients are compared only in float32.
      gradient_bound: the bound for gradients.

    Raises:
      DisagreementError: if a difference exceeds its bound. The message names both values.
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
    """Returns the norm of each difference, relative to the norm of `other`."""
    return {name: _norm(one[name] - value) / max(_norm(value), 1e-12) for name, value in other.items()}


def _norm(value: Float[np.ndarray, "..."]) -> float:
    return float(np.linalg.norm(value))


def _moved(name: str, value: Float[np.ndarray, "..."], rng: np.random.Generator) -> Float[np.ndarray, "..."]:
    if name.endswith("kernel"):
        return np.asarray(value, np.float32)
    return (value + rng.uniform(0.05, 0.25, value.shape)).astype(np.float32)


def _relative(one: float, other: float) -> float:
    """Returns the relative difference. If a loss is not finite, it is NaN, which exceeds all bounds."""
    return abs(one - other) / abs(other) if math.isfinite(one) and math.isfinite(other) and other else math.nan


def merge(findings: Mapping[str, dict[str, float]]) -> dict[str, float]:
    """Returns the largest value of each difference."""
    names = {name for found in findings.values() for name in found}
    return {name: max(found.get(name, 0.0) for found in findings.values()) for name in sorted(names)}
