"""What every optimizer of the benchmark is: a frozen configuration that builds an optax transformation."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Integer, Key, PyTree

from jaxopt_bench.config import Config, float_fields, number
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.axes import SHARED_AXES, WEIGHT_DECAYS, Axis, Choice, rates_around
from jaxopt_bench.optimizers.cautious import cautious
from jaxopt_bench.optimizers.mars import first_moment_decay, reduce_variance
from jaxopt_bench.optimizers.wrappers import AverageState, accumulate, exponential_average, find_state, tail_average

Hyperparameters = Mapping[str, Float[Array, "*shape"]]
Scalar = Float[Array, ""] | float
DecayForm = Literal["coupled", "decoupled"]
DecayMask = Literal["all", "kernels"]


class Intended(NamedTuple):
    """The learning-rate schedule that an optimizer is meant for, by its name, and who says so."""

    name: str
    source: str

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate is constant after a warm-up."""
        return self.name == "constant"


UNMODIFIED: Mapping[str, Any] = {"cautious": False, "mars_gamma": None}
"""The fields of published modifications of any optimizer, with the values that leave it as it is."""

AVERAGES = Intended("constant", "Defazio et al., 2024: averaging takes the schedule's place")
"""The schedule that Schedule-Free optimizers are meant for."""


class Moment(NamedTuple):
    """What training tells an optimizer at a step, beside the gradient. The defaults are those of no schedule.

    Attributes:
      multiplier: the schedule's factor on the learning rate.
      progress: the share of training that is done, from 0 to 1.
      ends_epoch: whether this step is an epoch's last.
      key: for an optimizer that draws random numbers; read when its state is made.
      multiplier_at: the schedule as a function of the number of updates made before, as optax's schedules are.
    """

    multiplier: Scalar = 1.0
    progress: Scalar = 0.0
    ends_epoch: Bool[Array, ""] | bool = True
    key: Key[Array, ""] | None = None
    multiplier_at: Callable[[Integer[Array, ""]], Scalar] = lambda count: 1.0


@dataclasses.dataclass(frozen=True)
class Tunable(Config):
    """A configuration whose float fields are hyperparameters: one compiled program serves all their values."""

    def hyperparameters(self, dtype: DTypeLike = jnp.float32) -> Hyperparameters:
        """Returns the float fields by name, as arrays. A field that is None is left out, a tuple becomes a vector.

        They are arrays because a Python float is weakly typed, and would compile the training step a second time.

        Args:
          dtype: the type of the network's parameters.
        """
        return {name: jnp.asarray(np.asarray(value, dtype)) for name, value in float_fields(self).items()}


@dataclasses.dataclass(frozen=True)
class Optimizer(Tunable, abc.ABC):
    """An optimizer and its hyperparameters.

    The float fields reach `transform` as arrays, so that a compiled step serves every value of them; integers,
    booleans, strings and whether an optional field is None are static.

    Weight decay is `coupled` where it is added to the gradient, as the gradient of an L2 penalty is, and so enters
    whatever the optimizer remembers of gradients; it is `decoupled` where it is added to the rescaled update. In
    both it is multiplied by the learning rate.

    Around every optimizer's own rule there may be, from the gradient to the parameters that are evaluated: the mean
    of several steps' gradients, clipping, MARS's correction, the rule, the cautious mask, and an average of the
    parameters.

    Class attributes:
      source: the publication that defines it.
      searched: the fields that are searched by default.
      schedule: the learning-rate schedule it is meant for.
      decay_form: how its weight decay enters; it decides on the range in which weight decays are searched.
      own_axes: ranges of hyperparameters that no other optimizer has.
      own_average: whether it averages parameters by itself.
      line_search: whether an update evaluates the loss at other parameters too. Then it needs the whole loss, without
        noise.
      stated_space: the search space that the user's file states, by field ("b2", or "schedule.warmup"). If it is not
        empty, it is the whole search space.
      stated_schedule: the schedule that the user's file states.
    """

    source: ClassVar[str]
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    schedule: ClassVar[Intended] = Intended("cosine", "Dahl et al., 2023 (AlgoPerf), for all of its baselines")
    decay_form: ClassVar[DecayForm] = "coupled"
    own_axes: ClassVar[Mapping[str, Axis]] = {}
    own_average: ClassVar[bool] = False
    line_search: ClassVar[bool] = False
    added_later: ClassVar[tuple[str, ...]] = tuple(UNMODIFIED)
    stated_space: ClassVar[Mapping[str, Axis | Choice]] = {}
    stated_schedule: ClassVar[Any] = None  # a `Schedule`, whose module imports this one

    learning_rate: float = number(1e-3, at_least=0)
    """Step size at the schedule's multiplier 1."""
    weight_decay: float = number(0.0, at_least=0)
    """Coefficient of the weight decay, coupled (L2) or decoupled as the optimizer says."""
    decay_mask: DecayMask = "all"
    """What decays: all parameters, or kernels only (neither biases nor the scales of normalisation layers)."""
    clip_norm: float | None = number(None, above=0)
    """Scale the gradient down to this norm, over all parameters, where it is larger (Pascanu et al., 2013)."""
    clip_adaptive: float | None = number(None, above=0)
    """Scale each unit's gradient down to this share of the norm of its parameters (Brock et al., 2021)."""
    mars_gamma: float | None = number(None, at_least=0)
    """Correct gradients by so much of their change since the last step, as MARS does: 0.025 (Yuan et al., 2024)."""
    cautious: bool = False
    """Leave out updates that are against the gradient's sign, and enlarge the others (Liang et al., 2024)."""
    accumulate: int = number(1, at_least=1)
    """Steps whose mean gradient makes one update; the steps between change nothing."""
    ema_decay: float | None = number(None, at_least=0, below=1)
    """Evaluate an exponential average of the parameters, of this decay an update (Kingma & Ba, 2015, section 7.2)."""
    swa_start: float | None = number(None, at_least=0, below=1)
    """Evaluate the mean of the parameters at epochs' ends after this share of training (SWA, Izmailov et al., 2018)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        averages = [name for name in ("ema_decay", "swa_start") if getattr(self, name) is not None]
        if len(averages) + self.own_average > 1:
            own = "the optimizer has its own rule for the parameters to evaluate"
            other = own if self.own_average else f"{averages[0]} is set too"
            raise UserError(
                f"{type(self).__name__}.{averages[-1]} is {getattr(self, averages[-1])}, but {other}. Expected None: "
                "only one average is evaluated."
            )
        if self.cautious and self.own_average:
            raise UserError(
                f"{type(self).__name__}.cautious is True. Expected False: the optimizer averages parameters by itself, "
                "and masked updates would not be those of its average."
            )
        if self.line_search:
            for name, neutral in (
                ("clip_norm", None),
                ("clip_adaptive", None),
                ("accumulate", 1),
                *UNMODIFIED.items(),
            ):
                if getattr(self, name) != neutral:
                    raise UserError(
                        f"{type(self).__name__}.{name} is {getattr(self, name)}. Expected {neutral}: the line search "
                        "needs the gradient of the loss itself."
                    )

    @abc.abstractmethod
    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """Returns the optimizer's own rule, from the gradient to the update, with the cautious mask.

        The mask is around the rescaling of the gradient alone, so that a decoupled weight decay is not masked.
        """

    def transform(
        self, hyperparameters: Hyperparameters, moment: Moment = Moment()
    ) -> optax.GradientTransformationExtraArgs:
        """Composes the whole optimizer, for one step; the transformations of all steps have the same state.

        Args:
          hyperparameters: the float fields by name, as arrays (possibly traced); see `hyperparameters`.
          moment: what training tells of this step, such as the schedule's multiplier.

        Returns:
          A transformation whose `update` takes the gradient, the state, the parameters and, by the name `value`, the
          loss, which most optimizers do not read. That of a line search also takes the gradient by the name `grad`, and
          the loss as a function of the parameters by the name `value_fn`.
        """
        if self.accumulate > 1:  # each update is the last of so many steps
            at, every = moment.multiplier_at, self.accumulate
            moment = moment._replace(multiplier_at=lambda count: at(count * every + every - 1))
        before = []
        if self.clip_norm is not None:
            before.append(optax.clip_by_global_norm(hyperparameters["clip_norm"]))
        if self.clip_adaptive is not None:
            before.append(optax.adaptive_grad_clip(hyperparameters["clip_adaptive"]))
        if self.mars_gamma is not None:
            b1 = first_moment_decay(self, {**float_fields(self), **hyperparameters})
            before.append(reduce_variance(hyperparameters["mars_gamma"], b1))
        whole = optax.chain(*before, self.rule(hyperparameters, moment))
        if self.ema_decay is not None:
            whole = exponential_average(whole, hyperparameters["ema_decay"])
        if self.accumulate > 1:
            whole = accumulate(whole, self.accumulate)
        if self.swa_start is not None:
            counts = (moment.progress >= hyperparameters["swa_start"]) & moment.ends_epoch
            whole = tail_average(whole, counts)
        return optax.with_extra_args_support(whole)

    @property
    def static_fields(self) -> tuple[Any, ...]:
        """The class, which numbers are set, and the values of all other fields: what settings of one program share."""
        numbers = float_fields(self)
        others = (getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in numbers)
        return (type(self), *sorted(numbers), *others)

    def learning_rate_at(self, hyperparameters: Hyperparameters, moment: Moment) -> Scalar:
        """Returns the learning rate in force."""
        return hyperparameters.get("learning_rate", self.learning_rate) * moment.multiplier

    @property
    def averages(self) -> bool:
        """Whether other parameters are evaluated than those that are trained."""
        return self.own_average or self.ema_decay is not None or self.swa_start is not None

    def evaluation_parameters(self, opt_state: optax.OptState, params: PyTree[Array]) -> PyTree[Array]:
        """Returns the parameters to evaluate: an average of those trained, or those themselves.

        Args:
          opt_state: the state of `transform`.
          params: the parameters that are trained.
        """
        return find_state(opt_state, AverageState).average if self.averages else params

    def evaluations(self, opt_state: optax.OptState) -> Integer[Array, ""] | int:
        """Returns how often a training step evaluated the loss and its gradient.

        Args:
          opt_state: the state of `transform` after the step.
        """
        if not self.line_search:
            return 1
        return 1 + find_state(opt_state, optax.ScaleByZoomLinesearchState).info.num_linesearch_steps

    def axes(self) -> dict[str, Axis]:
        """Returns the ranges of all fields that can be searched and are not None, by name.

        Learning rates have the range of `rates_around` for the default of the optimizer's class, whatever value this
        one has: so the range depends on the optimizer alone, and not on who has set it.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        rates = {name: rates_around(value) for name, value in defaults.items() if name.endswith("learning_rate")}
        known = {**rates, "weight_decay": WEIGHT_DECAYS[self.decay_form], **SHARED_AXES, **self.own_axes}
        return {name: axis for name, axis in known.items() if name in float_fields(self)}

    def search_space(self) -> Mapping[str, Axis | Choice]:
        """Returns what is searched by default: what the user's file states, or else the ranges of `searched`."""
        if self.stated_space:
            return self.stated_space
        return {name: axis for name, axis in self.axes().items() if name in self.searched}


@dataclasses.dataclass(frozen=True)
class Rescaling(Optimizer):
    """An optimizer that rescales the gradient and follows it by the learning rate."""

    @abc.abstractmethod
    def scale(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """Returns the rescaling of gradients that makes the optimizer what it is, learning rate and decay apart."""

    def rule(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        decay = optax.add_decayed_weights(hyperparameters["weight_decay"], mask=decay_mask(self.decay_mask))
        scale = self.scale(hyperparameters, moment)
        if self.cautious:
            scale = cautious(scale, sign=1)
        return optax.chain(
            *([decay, scale] if self.decay_form == "coupled" else [scale, decay]),
            optax.scale_by_learning_rate(hyperparameters["learning_rate"] * moment.multiplier),
        )


def decay_mask(which: DecayMask) -> Callable[[PyTree[Array]], PyTree[bool]] | None:
    """Returns what optax takes as a mask of the weight decay."""
    return _is_kernel if which == "kernels" else None


def _is_kernel(params: PyTree[Array]) -> PyTree[bool]:
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)
