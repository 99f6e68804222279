"""The base class of all optimizers: a frozen configuration that builds an optax transformation."""

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

from jaxopt_bench.config import Config, float_fields, number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.axes import SHARED_AXES, WEIGHT_DECAYS, Axis, Choice, rates_around
from jaxopt_bench.optimizers.cautious import cautious
from jaxopt_bench.optimizers.mars import first_moment_decay, reduce_variance
from jaxopt_bench.optimizers.wrappers import AverageState, accumulate, exponential_average, find_state, tail_average

Hyperparameters = Mapping[str, Float[Array, "*shape"]]
Scalar = Float[Array, ""] | float
DecayForm = Literal["coupled", "decoupled", "unscaled"]
DecayMask = Literal["all", "kernels"]


class IntendedSchedule(NamedTuple):
    """The name of the learning-rate schedule that an optimizer is meant for, and the source of this statement."""

    name: str
    source: str

    @property
    def is_constant(self) -> bool:
        """Whether the learning rate is constant after a warm-up."""
        return self.name == "constant"


UNMODIFIED: Mapping[str, Any] = {"cautious": False, "mars_gamma": None}
"""The fields of published modifications that any optimizer can have, with the values that switch them off."""

AVERAGES = IntendedSchedule("constant", "Defazio et al., 2024: averaging takes the schedule's place")
"""The schedule that Schedule-Free optimizers are meant for."""


class StepContext(NamedTuple):
    """The information that an optimizer gets in a step, besides the gradient. The defaults mean no schedule.

    Attributes:
      multiplier: the schedule's factor on the learning rate.
      progress: the completed share of training, from 0 to 1.
      ends_epoch: whether this step is the last of an epoch.
      key: the random key of an optimizer that draws random numbers. It is read when the optimizer's state is made.
      multiplier_at: the schedule as a function of the number of earlier updates, as in optax.
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
        """Returns the float fields by name, as arrays. A field that is None is left out. A tuple becomes a vector.

        The values are arrays because a Python float is weakly typed: JAX would compile the training step a second time.

        Args:
          dtype: the type of the network's parameters.
        """
        return {name: jnp.asarray(np.asarray(value, dtype)) for name, value in float_fields(self).items()}


@dataclasses.dataclass(frozen=True)
class Optimizer(Tunable, abc.ABC):
    """An optimizer and its hyperparameters.

    `transform` receives the float fields as arrays, so one compiled step serves all their values. Integers, booleans,
    strings, and whether an optional field is None, are static.

    Weight decay is `coupled` if it is added to the gradient, like the gradient of an L2 penalty. Then it also enters
    the moments of gradients that the optimizer keeps. It is `decoupled` if it is added to the rescaled update. In both
    forms it is multiplied by the learning rate and the schedule. It is `unscaled` if it is decoupled and not multiplied
    by them, as in optax's Adafactor.

    The rule of an optimizer can be combined with further steps. From the gradient to the evaluated parameters, the
    order is: the mean of the gradients of several steps, clipping, MARS's correction, the rule, the cautious mask, and
    an average of the parameters.

    Class attributes:
      source: the publication that defines it.
      searched: the fields that are searched by default.
      schedule: the learning-rate schedule it is meant for.
      decay_form: whether its weight decay is coupled or decoupled. This determines the range in which weight decays
        are searched.
      own_axes: ranges of hyperparameters that no other optimizer has.
      own_average: whether it averages parameters by itself.
      line_search: whether an update also evaluates the loss at other parameters. Then it needs the whole loss,
        without noise.
      user_space: the search space in the user's file, by field ("b2", or "schedule.warmup"). If it is not
        empty, it is the whole search space.
      user_schedule: the schedule in the user's file.
    """

    source: ClassVar[str]
    searched: ClassVar[tuple[str, ...]] = ("learning_rate", "weight_decay")
    schedule: ClassVar[IntendedSchedule] = IntendedSchedule(
        "cosine", "Dahl et al., 2023 (AlgoPerf), for all of its baselines"
    )
    decay_form: ClassVar[DecayForm] = "coupled"
    own_axes: ClassVar[Mapping[str, Axis]] = {}
    own_average: ClassVar[bool] = False
    line_search: ClassVar[bool] = False
    added_later: ClassVar[tuple[str, ...]] = tuple(UNMODIFIED)
    user_space: ClassVar[Mapping[str, Axis | Choice]] = {}
    user_schedule: ClassVar[Any] = None  # a `Schedule`; its module imports this one

    learning_rate: float = number_field(1e-3, at_least=0)
    """Step size at the schedule's multiplier 1."""
    weight_decay: float = number_field(0.0, at_least=0)
    """Coefficient of the weight decay. Whether it is coupled (L2) or decoupled depends on the optimizer."""
    decay_mask: DecayMask = "all"
    """The parameters that decay: "all", or only "kernels", the arrays with two or more axes (also embeddings)."""
    clip_norm: float | None = number_field(None, above=0)
    """Scale the gradient down to this norm, over all parameters, if its norm is larger (Pascanu et al., 2013)."""
    clip_adaptive: float | None = number_field(None, above=0)
    """Limit the norm of each unit's gradient to this share of the norm of its parameters (Brock et al., 2021)."""
    mars_gamma: float | None = number_field(None, at_least=0)
    """Strength of MARS, which corrects gradients by their change since the last step. Yuan et al., 2024, use 0.025."""
    cautious: bool = False
    """Leave out updates whose sign disagrees with the gradient, and enlarge the others (Liang et al., 2024)."""
    accumulate: int = number_field(1, at_least=1)
    """Number of steps whose gradients are averaged for one update. The steps in between change no parameter."""
    ema_decay: float | None = number_field(None, at_least=0, below=1)
    """Evaluate an exponential average of the parameters, with this decay per update (Kingma & Ba, 2015, §7.2)."""
    swa_start: float | None = number_field(None, at_least=0, below=1)
    """Evaluate the mean of the parameters at epoch ends after this share of training (SWA, Izmailov et al., 2018)."""

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
    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """Returns the optimizer's own rule, from the gradient to the update, with the cautious mask.

        The mask is applied only to the rescaled gradient, so a decoupled weight decay is not masked.
        """

    def transform(
        self, hyperparameters: Hyperparameters, context: StepContext = StepContext()
    ) -> optax.GradientTransformationExtraArgs:
        """Composes the whole optimizer for one step. The transformations of all steps share the same state.

        Args:
          hyperparameters: the float fields by name, as arrays (possibly traced); see `hyperparameters`.
          context: the information of training about this step, such as the schedule's multiplier.

        Returns:
          A transformation. Its `update` takes the gradient, the state, the parameters and, by the name `value`, the
          loss. Most optimizers do not read the loss. With a line search, `update` also takes the gradient by the name
          `grad`, and the loss as a function of the parameters by the name `value_fn`.
        """
        if self.accumulate > 1:  # each update is made in the last of `accumulate` steps
            at, every = context.multiplier_at, self.accumulate
            context = context._replace(multiplier_at=lambda count: at(count * every + every - 1))
        before = []
        if self.clip_norm is not None:
            before.append(optax.clip_by_global_norm(hyperparameters["clip_norm"]))
        if self.clip_adaptive is not None:
            before.append(optax.adaptive_grad_clip(hyperparameters["clip_adaptive"]))
        if self.mars_gamma is not None:
            b1 = first_moment_decay(self, {**float_fields(self), **hyperparameters})
            before.append(reduce_variance(hyperparameters["mars_gamma"], b1))
        whole = optax.chain(*before, self.rule(hyperparameters, context))
        if self.ema_decay is not None:
            whole = exponential_average(whole, hyperparameters["ema_decay"])
        if self.accumulate > 1:
            whole = accumulate(whole, self.accumulate)
        if self.swa_start is not None:
            counts = (context.progress >= hyperparameters["swa_start"]) & context.ends_epoch
            whole = tail_average(whole, counts)
        return optax.with_extra_args_support(whole)

    @property
    def static_fields(self) -> tuple[Any, ...]:
        """The class, the names of the set numbers, and all other values: they are equal for settings of one program."""
        numbers = float_fields(self)
        others = (getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in numbers)
        return (type(self), *sorted(numbers), *others)

    def learning_rate_at(self, hyperparameters: Hyperparameters, context: StepContext) -> Scalar:
        """Returns the learning rate at a step."""
        return hyperparameters.get("learning_rate", self.learning_rate) * context.multiplier

    @property
    def averages(self) -> bool:
        """Whether the evaluated parameters differ from the trained ones."""
        return self.own_average or self.ema_decay is not None or self.swa_start is not None

    def evaluation_parameters(self, opt_state: optax.OptState, params: PyTree[Array]) -> PyTree[Array]:
        """Returns the parameters to evaluate: an average of the trained parameters, or the trained ones themselves.

        Args:
          opt_state: the state of `transform`.
          params: the trained parameters.
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

        The range of a learning rate is given by `rates_around` for the default of the optimizer's class, not for the
        value of this object. So the range depends only on the optimizer, and not on its settings.
        """
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        rates = {name: rates_around(value) for name, value in defaults.items() if name.endswith("learning_rate")}
        known = {**rates, "weight_decay": WEIGHT_DECAYS[self.decay_form], **SHARED_AXES, **self.own_axes}
        return {name: axis for name, axis in known.items() if name in float_fields(self)}

    def search_space(self) -> Mapping[str, Axis | Choice]:
        """Returns the default search space: that of the user's file if it has one, else the ranges of `searched`."""
        if self.user_space:
            return self.user_space
        return {name: axis for name, axis in self.axes().items() if name in self.searched}


@dataclasses.dataclass(frozen=True)
class RescalingOptimizer(Optimizer):
    """An optimizer that rescales the gradient and multiplies the result by the learning rate."""

    @abc.abstractmethod
    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """Returns the optimizer's rescaling of the gradient, without the learning rate and the weight decay."""

    def rule(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `Optimizer.rule`."""
        decay = optax.add_decayed_weights(hyperparameters["weight_decay"], mask=decay_mask(self.decay_mask))
        scale = self.scale(hyperparameters, context)
        if self.cautious:
            scale = cautious(scale, sign=1)
        return optax.chain(
            *([decay, scale] if self.decay_form == "coupled" else [scale, decay]),
            optax.scale_by_learning_rate(hyperparameters["learning_rate"] * context.multiplier),
        )


def decay_mask(which: DecayMask) -> Callable[[PyTree[Array]], PyTree[bool]] | None:
    """Returns the mask of the weight decay as optax takes it; None for all parameters."""
    return _is_kernel if which == "kernels" else None


def _is_kernel(params: PyTree[Array]) -> PyTree[bool]:
    return jax.tree.map(lambda leaf: jnp.ndim(leaf) >= 2, params)
