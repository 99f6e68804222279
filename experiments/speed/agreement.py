"""The check that comes before any timing: both sides compute the same losses and gradients from the same weights."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int32

from experiments.speed.workloads import MEAN, STD, Dtype
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

Variables = dict[str, Float[np.ndarray, "..."]]
"""Arrays by name, in Flax's layout: `params/head/kernel`, `batch_stats/norm1/mean`."""


class DisagreementError(Exception):
    """The two sides do not compute the same thing, so their speeds must not be compared."""


class GradientDisagreementError(DisagreementError):
    """The losses are the same and the gradients are not, which one probe alone does not prove to be an error."""


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """What both sides are asked about.

    Attributes:
      variables: the network's.
      images: already normalised.
      labels: the classes.
    """

    variables: Variables
    images: Float[np.ndarray, "batch height width channels"]
    labels: Int32[np.ndarray, " batch"]


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """What one side computes, dropout off.

    Attributes:
      evaluation_loss: the mean cross-entropy by running statistics.
      training_loss: the mean cross-entropy by the batch's own statistics.
      gradients: of the training loss, by the parameters' names.
    """

    evaluation_loss: float
    training_loss: float
    gradients: Variables


def make_probes(task: Task, initial: Variables) -> Iterator[Probe]:
    """Yields the probes that may be tried."""
    return (make_probe(task, initial, seed) for seed in range(PROBES))


def make_probe(task: Task, initial: Variables, seed: int) -> Probe:
    """Returns noise images, and weights about the initial ones.

    All are moved a little: biases that are zero and scales that are one would not show that they were interchanged.
    """
    rng = np.random.default_rng(seed)
    moved = {name: _moved(name, value, rng) for name, value in sorted(initial.items())}
    images = (rng.random((EXAMPLES, *task.image_shape)) - MEAN) / STD
    return Probe(moved, images.astype(np.float32), rng.integers(0, task.num_classes, EXAMPLES, np.int32))


def check(
    what: str, ours: Callable[[Probe], Answer], theirs: Callable[[Probe], Answer], probes: Iterable[Probe], dtype: Dtype
) -> dict[str, float]:
    """Returns the largest relative differences of the first probe on which both sides agree.

    Raises:
      DisagreementError: where the losses differ on a probe, or the gradients on all of them.
    """
    last: GradientDisagreementError | None = None
    for probe in probes:
        try:
            return compare(what, ours(probe), theirs(probe), dtype)
        except GradientDisagreementError as error:
            last = error
    raise last or ValueError("no probes")


def compare(what: str, ours: Answer, theirs: Answer, dtype: Dtype) -> dict[str, float]:
    """Returns the largest relative differences, for the record.

    Args:
      what: the network and the paths that are compared, for the message.
      ours: computed with JAX.
      theirs: computed by the peer.
      dtype: what the networks computed in; gradients are compared in float32 only.

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
            raise DisagreementError(f"{what}: {name} {one!r} here, {other!r} there; accepted: {bound:g} apart.")
    found = {"loss_difference": max(_relative(*pair) for pair in losses.values())}
    if dtype == "float32":
        found["gradient_difference"] = _compare_gradients(what, ours.gradients, theirs.gradients)
    return found


def _compare_gradients(what: str, ours: Variables, theirs: Variables) -> float:
    if set(ours) != set(theirs):
        raise GradientDisagreementError(f"{what}: gradients of other parameters: {sorted(set(ours) ^ set(theirs))}.")
    largest = 0.0
    for name, theirs_here in theirs.items():
        norms = [float(np.linalg.norm(value)) for value in (ours[name], theirs_here)]
        difference = float(np.linalg.norm(ours[name] - theirs_here)) / max(norms[1], 1e-12)
        if not difference <= GRADIENT_BOUND:
            raise GradientDisagreementError(
                f"{what}: the gradient of {name} has norm {norms[0]!r} here, {norms[1]!r} there, and differs by "
                f"{difference:.2e} of it; accepted: {GRADIENT_BOUND:g}."
            )
        largest = max(largest, difference)
    return largest


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
