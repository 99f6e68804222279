"""The measured facts about an optimizer, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from jaxopt_bench.optimizers.partitions import ParameterGroup
from jaxopt_bench.strict_json import finite_or_none

Kind = Literal["none", "gradient", "sign", "first_sign", "orthogonal", "other", "single", "not_finite"]
KINDS: Mapping[Kind, str] = {
    "gradient": "proportional to the gradient (as in SGD's first update)",
    "sign": "equal in absolute value for all elements in every step (as in Lion)",
    "first_sign": "equal in absolute value for all elements in the first step only (as in Adam)",
    "orthogonal": "an orthogonal matrix (as in Muon)",
    "other": "none of these",
    "single": "a single number",
    "none": "not trained",
    "not_finite": "not finite",
}
"""The kinds of the first updates of an array, in words."""

Scaling = Literal["invariant", "linear", "neither", "not_finite"]
"""The effect of a factor on all gradients: the update does not change ("invariant"), is multiplied by the same factor
("linear"), changes in another way ("neither"), or is not finite."""
MeasuredDecayForm = Literal["absent", "coupled", "decoupled", "momentum"]


@dataclasses.dataclass(frozen=True)
class ArrayFacts:
    """How one parameter array is updated.

    Attributes:
      name: its path among the parameters, such as "conv/kernel".
      shape: its shape.
      kind: the kind of its first updates; see `KINDS`.
      first: the root mean square (RMS) of its first update, divided by the learning rate; None if it is not finite or
        the learning rate is 0.
      last: the same for the last update that was measured.
      relative: the RMS of its first update, divided by the RMS of its parameters; None if it is not finite.
      rule: the label of the inner rule that updates it; None for an optimizer without inner rules.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    first: float | None
    last: float | None
    relative: float | None
    rule: str | None


@dataclasses.dataclass(frozen=True)
class LearningRateFacts:
    """Which hyperparameter is the learning rate, and whether the optimizer follows a schedule of it.

    Attributes:
      argument: the argument of the user's function that is the learning rate; None if it has none. Then the schedule
        multiplies its updates.
      value: its value in the settings that are measured.
      doubles: for each number among the hyperparameters, how many arrays (of more than one number) have twice the first
        update if it is doubled. Hyperparameters that double no update are left out.
      first_step: the factor on the first update if the schedule's multiplier is 1/2 from the beginning, by array.
      later_step: the factor on the third update if the multiplier changes from 1 to 1/2 there, by array.
    """

    argument: str | None
    value: float
    doubles: Mapping[str, int]
    first_step: Mapping[str, float]
    later_step: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class DecayFacts:
    """The weight decay.

    Attributes:
      form: "absent" if weight decay moves no array, or its updates are not finite; "decoupled" if it is added to the
        update; "momentum" if it is added to the rescaled gradient before the momentum; "coupled" if it acts like the
        gradient of an L2 penalty, or if its updates for zero gradients are not proportional to the parameters.
      both: whether coupled and decoupled decay are the same for this optimizer, as for SGD without momentum.
      weight_decay: the value of the field at which it was measured: that in the settings or, if this has no effect, 0.1
        or 100. In `Conformance.own_decay` it is 0.
      default: the value in the settings that are measured.
      shrinks: the share of the parameters that decay alone removes in the first step; None if that is not the same
        for all decayed numbers.
      times_learning_rate: whether decoupled decay is multiplied by the learning rate; None if that was not measured, or
        the decay changes in another way.
      times_schedule: the same for the schedule.
      decayed: the names of the arrays that decay.
      left_out: the names of the trained arrays that do not decay.
    """

    form: MeasuredDecayForm
    both: bool
    weight_decay: float
    default: float
    shrinks: float | None
    times_learning_rate: bool | None
    times_schedule: bool | None
    decayed: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ScaleFacts:
    """The effect on an array's updates if all gradients, and the loss, are multiplied by 1000 or by 1/1000.

    Attributes:
      first: in the first step.
      last: in the last step that was measured.
    """

    first: Scaling
    last: Scaling


@dataclasses.dataclass(frozen=True)
class Conformance:
    """The measured behaviour of an optimizer; see `measure_optimizer`.

    Attributes:
      learning_rate: which hyperparameter is the learning rate, and whether the optimizer follows its schedule.
      called: how a user's function is called, in words; None for other optimizers.
      programs: how many programs were compiled for the settings that were tried.
      settings: how many settings were tried.
      static: the numbers among the hyperparameters that need a separate program for each value.
      unused: the numbers among the hyperparameters that change no update at any value that was tried.
      decay: the effect of the field `weight_decay`.
      own_decay: the weight decay that it has if that field is 0.
      scale: the effect of scaled gradients, by array.
      deterministic: whether the same inputs give the same bits, also with transformations that were made separately.
      draws: whether its updates depend on the run's random key.
      own_draws: whether its updates are random but do not depend on the run's key: they are the same for all seeds.
      finite_at_zero: whether its updates are finite if all gradients are zero.
      state_bytes: the size of its state for the network, in bytes.
      numbers: how many numbers the network's parameters hold.
      arrays: how each array of the small network is updated.
      network: how each array of the network is updated.
      rules: the share of the network's parameters that each inner rule updates; empty without inner rules.
      kinds: the share of the network's parameters whose updates are of each kind.
      sample: whether the small network could be used; otherwise all facts are measured on the network.
    """

    learning_rate: LearningRateFacts
    called: str | None
    programs: int
    settings: int
    static: tuple[str, ...]
    unused: tuple[str, ...]
    decay: DecayFacts
    own_decay: DecayFacts
    scale: Mapping[str, ScaleFacts]
    deterministic: bool
    draws: bool
    own_draws: bool
    finite_at_zero: bool
    state_bytes: int
    numbers: int
    arrays: tuple[ArrayFacts, ...]
    network: tuple[ArrayFacts, ...]
    rules: tuple[ParameterGroup, ...]
    kinds: tuple[ParameterGroup, ...]
    sample: bool

    @property
    def bytes_per_number(self) -> float:
        """The size of the state, for each number among the parameters."""
        return self.state_bytes / max(self.numbers, 1)

    @property
    def missed(self) -> tuple[ArrayFacts, ...]:
        """Arrays of three or more dimensions that a rule for matrices, such as Muon, leaves to the rule for vectors.

        These are convolutions' kernels, which hold most parameters of many networks. If the network has no vectors, the
        arrays whose updates are not orthogonal are returned.
        """
        if not any(array.kind == "orthogonal" for array in (*self.network, *self.arrays)):
            return ()
        of_vectors = {array.kind for array in self.network if len(array.shape) < 2} or set(KINDS)
        return tuple(
            array
            for array in self.network
            if len(array.shape) > 2 and array.kind in of_vectors - {"orthogonal", "none"}
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as JSON values."""
        extra = {"bytes_per_number": self.bytes_per_number, "missed": [array.name for array in self.missed]}
        return _to_json(dataclasses.asdict(self)) | extra


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return finite_or_none(value) if isinstance(value, float) else value
