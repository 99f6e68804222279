"""What an optimizer does, measured: it is run for a few steps on random gradients, and its updates are compared.

Nothing here reads an optimizer's code or its description, except for the names of its hyperparameters. Every fact holds
at the optimizer's own settings, for the first few steps.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Hyperparameters, Moment, Optimizer
from jaxopt_bench.optimizers.custom import Imported
from jaxopt_bench.optimizers.equivalence import ParametersError
from jaxopt_bench.optimizers.factories import FactoryOptimizer
from jaxopt_bench.optimizers.partitions import Share, inner_rules, rule_arrays, share_of

SAMPLE: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "conv": {"kernel": (3, 3, 4, 8), "bias": (8,)},
    "norm": {"scale": (8,)},
    "dense": {"kernel": (16, 8), "bias": (8,)},
    "gate": {"alpha": ()},
}
"""The small network's parameters, by layer and name, on which most facts are measured."""

STEPS = 8
"""Steps on the small network: RAdam begins to divide by the second moment in the sixth."""
NETWORK_STEPS = 2
"""Steps on the real network: with the second one Adam's updates differ from the sign of the gradient."""

Kind = Literal["none", "gradient", "sign", "first_sign", "orthogonal", "other", "single", "not_finite"]
KINDS: Mapping[Kind, str] = {
    "gradient": "proportional to the gradient (as SGD's first)",
    "sign": "one size for all numbers, in every step (as Lion's)",
    "first_sign": "one size for all numbers in the first step (as Adam's)",
    "orthogonal": "an orthogonal matrix (as Muon's)",
    "other": "none of these",
    "single": "a single number",
    "none": "not trained",
    "not_finite": "not finite",
}
"""What the first updates of an array can be, in words."""

Scaling = Literal["invariant", "linear", "neither", "not_finite"]
DecayForm = Literal["absent", "coupled", "decoupled", "momentum", "other"]

_OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compile fast
_SCALE = 1e3  # the factor on all gradients, up and down
_CLOSE = 0.02  # relative difference up to which two updates are equal
_ALIKE = 0.05  # relative deviation up to which an update has one of `KINDS`; weight decay may be within it
_SINGULAR = (0.6, 1.7)  # singular values after Newton-Schulz, as shares of their median
_MOST_SINGULAR = 0.85  # the share of them that must lie there: those of almost 0 stay below
_ROUNDING = 3e-7  # of float32, relative
_DECAYS = (0.1, 100.0)  # weight decays to measure if the default does nothing; steps of Prodigy are tiny at first


@dataclasses.dataclass(frozen=True)
class ArrayFacts:
    """How one parameter array is updated.

    Attributes:
      name: its path among the parameters, such as "conv/kernel".
      shape: its shape.
      kind: what its first updates are; see `KINDS`.
      first: the root mean square (RMS) of its first update, in learning rates.
      last: that of the last update that was measured.
      relative: the RMS of its first update, as a share of the RMS of the parameters.
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
class LearningRate:
    """Which hyperparameter is the learning rate, and whether a schedule of it is obeyed.

    Attributes:
      argument: the argument of the user's function that is the learning rate; None if it has none, so that the schedule
        multiplies its updates.
      value: its default.
      doubles: for each number among the hyperparameters, how many arrays (of more than one number) have twice the first
        update if it is doubled; without those that double none.
      first_step: the factor on the first update if the schedule's multiplier is 1/2 from the beginning, by array.
      later_step: the factor on the third update if the multiplier changes from 1 to 1/2 there, by array.
    """

    argument: str | None
    value: float
    doubles: Mapping[str, int]
    first_step: Mapping[str, float]
    later_step: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Decay:
    """The weight decay.

    Attributes:
      form: whether it enters with the gradient ("coupled"), beside the rescaled gradient but into the momentum
        ("momentum"), or beside the update ("decoupled"); "other" if it does none of these.
      both: whether coupled and decoupled decay are the same for this optimizer, as for SGD without momentum.
      weight_decay: the value of the field at which it was measured: the default, or a larger one if that does nothing.
      default: the default of the field.
      shrinks: the share of the parameters that the first step takes off, by decay alone; None if that is not the same
        for all decayed numbers.
      times_learning_rate: whether decoupled decay is multiplied by the learning rate; None if not measured.
      times_schedule: whether decoupled decay is multiplied by the schedule; None if not measured.
      decayed: the names of the arrays that decay.
      left_out: the names of the trained arrays that do not.
    """

    form: DecayForm
    both: bool
    weight_decay: float
    default: float
    shrinks: float | None
    times_learning_rate: bool | None
    times_schedule: bool | None
    decayed: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Scale:
    """What happens to an array's updates if all gradients, and the loss, are multiplied by 1000 or by 1/1000.

    Attributes:
      first: in the first step.
      last: in the last step that was measured.
    """

    first: Scaling
    last: Scaling


@dataclasses.dataclass(frozen=True)
class Conformance:
    """What an optimizer does; see `measure_optimizer`.

    Attributes:
      learning_rate: which hyperparameter it is, and whether its schedule is obeyed.
      called: how a user's function is called, in words; None for other optimizers.
      programs: how many programs were compiled for the settings that were tried.
      settings: how many settings were tried.
      static: the numbers among the hyperparameters of which each value needs a program of its own.
      unused: the numbers among the hyperparameters that change no update, whatever their values.
      decay: what the field `weight_decay` does.
      own_decay: the weight decay that it has even if that field is 0.
      scale: what happens if gradients are scaled, by array.
      deterministic: whether the same inputs give the same bits, also of transformations that were made separately.
      draws: whether its updates depend on the run's random key.
      own_draws: whether its updates are random though the run's key does not change them: the same for all seeds.
      finite_at_zero: whether its updates are finite if all gradients are zero.
      state_bytes: the size of its state for the network, in bytes.
      numbers: how many numbers the network's parameters hold.
      arrays: how each array of the small network is updated.
      network: how each array of the network is updated.
      rules: the share of the network's parameters that each inner rule updates; empty without inner rules.
      kinds: the share of the network's parameters whose updates are of each kind.
      sample: whether the small network could be used; otherwise all facts are measured on the network.
    """

    learning_rate: LearningRate
    called: str | None
    programs: int
    settings: int
    static: tuple[str, ...]
    unused: tuple[str, ...]
    decay: Decay
    own_decay: Decay
    scale: Mapping[str, Scale]
    deterministic: bool
    draws: bool
    own_draws: bool
    finite_at_zero: bool
    state_bytes: int
    numbers: int
    arrays: tuple[ArrayFacts, ...]
    network: tuple[ArrayFacts, ...]
    rules: tuple[Share, ...]
    kinds: tuple[Share, ...]
    sample: bool

    @property
    def bytes_per_number(self) -> float:
        """The size of the state, for each number among the parameters."""
        return self.state_bytes / max(self.numbers, 1)

    @property
    def missed(self) -> tuple[ArrayFacts, ...]:
        """Arrays of three or more dimensions that a rule for matrices, such as Muon, leaves to another rule.

        These are convolutions' kernels, which hold most parameters of many networks.
        """
        if not any(array.kind == "orthogonal" for array in (*self.network, *self.arrays)):
            return ()
        return tuple(a for a in self.network if len(a.shape) > 2 and a.kind not in ("orthogonal", "none"))

    def to_json(self) -> dict[str, Any]:
        """Returns the facts as JSON values."""
        extra = {"bytes_per_number": self.bytes_per_number, "missed": [array.name for array in self.missed]}
        return _to_json(dataclasses.asdict(self)) | extra


def measure_optimizer(optimizer: Optimizer, network: PyTree[Any]) -> Conformance:
    """Measures what an optimizer does.

    Args:
      optimizer: at the settings to measure.
      network: the parameters of a real network, or their shapes.

    Raises:
      UserError: if the optimizer cannot be used, or needs a loss.
    """
    if optimizer.line_search:
        raise UserError(
            f"{type(optimizer).__name__.lower()} evaluates the loss several times in a step (line search), but a "
            "measurement on random gradients has no loss. Expected an optimizer without a line search."
        )
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.float32), network)
    if isinstance(optimizer, Imported):
        try:
            optimizer.examine()
        except ParametersError:  # the function may know the network's names
            optimizer.examine(shapes)
    real = _Laboratory(optimizer, shapes, NETWORK_STEPS)
    try:
        small = _Laboratory(optimizer, _sample(), STEPS)
        small.run()
    except Exception:  # the optimizer may know the network's names
        small = _Laboratory(optimizer, shapes, STEPS)
    try:
        return _measured(small, real)
    except UserError:
        raise
    except Exception as error:
        name = getattr(optimizer, "reference", type(optimizer).__name__)
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 500, placeholder=" …")
        raise UserError(f"the optimizer {name} fails in an update: {reason}") from error


def _measured(small: _Laboratory, real: _Laboratory) -> Conformance:
    base = small.base
    doubles, static, unused = _fields(small)
    network = _arrays(real)
    zero = small.run(gradients=0.0)
    state = real.state()
    return Conformance(
        learning_rate=_learning_rate(small, doubles),
        called=small.optimizer.in_words if isinstance(small.optimizer, Imported) else None,
        decay=_decay(small),
        own_decay=_own_decay(small),
        scale=_scale(small),
        deterministic=_same_bits(base, small.run()) and _same_bits(base, small.again().base),
        draws=small.draws,
        own_draws=not small.draws and any(map(_is_noise, small.run(gradients=0.0, params=0.0))),
        finite_at_zero=_finite(zero),
        programs=small.programs,
        settings=len(small.settings),
        static=static,
        unused=unused,
        state_bytes=sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        numbers=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(real.shapes)),
        arrays=_arrays(small),
        network=network,
        rules=inner_rules(state, real.shapes),
        kinds=tuple(
            share_of(kind, [i for i, array in enumerate(network) if array.kind == kind], real.shapes)
            for kind in KINDS
            if any(array.kind == kind for array in network)
        ),
        sample=small.shapes is not real.shapes,
    )


class _Laboratory:
    """Runs an optimizer for some steps on one network, at any of its settings.

    Attributes:
      optimizer: at the settings to measure.
      shapes: of the network's parameters.
      names: the paths of the network's arrays, in the order of all lists here.
      params: the initial parameters.
      gradients: of each array, random, those of all steps stacked.
      loss: the loss that optimizers are told.
      programs: how often the optimizer was traced.
      settings: the optimizers that were run.
    """

    def __init__(self, optimizer: Optimizer, shapes: PyTree[Any], steps: int):
        self.optimizer, self.shapes, self.steps = optimizer, shapes, steps
        leaves = jax.tree_util.tree_leaves_with_path(shapes)
        self.names = tuple("/".join(str(getattr(part, "key", part)) for part in path) for path, _ in leaves)
        generator = np.random.default_rng(0)
        self.params = [_initial(generator, leaf.shape) for _, leaf in leaves]
        self.gradients = [_gradients(generator, steps, leaf.shape) for _, leaf in leaves]
        self.loss = 2.3 * sum(float(np.sum(np.square(g[0]))) for g in self.gradients)  # as Polyak's step size expects
        self.programs = 0
        self.settings: list[Optimizer] = []
        self._compiled: dict[Optimizer, Callable[..., Any]] = {}

    def again(self) -> _Laboratory:
        """Returns a laboratory like this one, in which everything is made anew."""
        return _Laboratory(self.optimizer, self.shapes, self.steps)

    def state(self) -> PyTree[Any]:
        """Returns the shapes of the optimizer's state."""
        transform = self.optimizer.transform(self.optimizer.hyperparameters(), Moment(key=jax.random.key(0)))
        return jax.eval_shape(transform.init, self.shapes)

    def run(
        self,
        optimizer: Optimizer | None = None,
        *,
        multipliers: Mapping[int, float] | float = 1.0,
        gradients: float = 1.0,
        params: float = 1.0,
        penalty: Mapping[str, float] | None = None,
        key: int = 0,
    ) -> list[np.ndarray]:
        """Returns the updates of each array, those of all steps stacked. The parameters move by them.

        Args:
          optimizer: other settings of the optimizer.
          multipliers: the schedule's multiplier in all steps, or in some steps by their index.
          gradients: a factor on all gradients and, unless it is 0, on the loss.
          params: a factor on the initial parameters.
          penalty: by array, a factor on the parameters that are added to its gradients.
          key: the seed of the run's random key.
        """
        chosen = optimizer or self.optimizer
        if chosen not in self.settings:
            self.settings.append(chosen)
        schedule = np.full(self.steps, multipliers if isinstance(multipliers, float) else 1.0, np.float32)
        for step, multiplier in ({} if isinstance(multipliers, float) else multipliers).items():
            schedule[step] = multiplier
        factors = [np.float32((penalty or {}).get(name, 0.0)) for name in self.names]
        updates = self._program(chosen)(
            chosen.hyperparameters(),
            schedule,
            self._tree([np.float32(gradients) * g for g in self.gradients]),
            np.float32(self.loss * (gradients or 1.0)),
            self._tree([np.float32(params) * p for p in self.params]),
            self._tree(factors),
            jax.random.key(key),
        )
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(updates)]

    @functools.cached_property
    def base(self) -> list[np.ndarray]:
        """The updates at the optimizer's own settings."""
        return self.run()

    @functools.cached_property
    def first(self) -> int:
        """The index of the first step that changes anything."""
        return next((step for step in range(self.steps) if any(update[step].any() for update in self.base)), 0)

    @functools.cached_property
    def scaled(self) -> dict[float, list[np.ndarray]]:
        """The updates if all gradients, and the loss, are multiplied by a factor, by that factor."""
        return {factor: self.run(gradients=factor) for factor in (_SCALE, 1 / _SCALE)}

    @functools.cached_property
    def draws(self) -> bool:
        """Whether the updates depend on the run's random key."""
        return not _same_bits(self.base, self.run(key=1))

    def decayed_by_zero(self, optimizer: Optimizer, **more: Any) -> list[np.ndarray]:
        """Returns the updates that zero gradients give, without random noise: what weight decay alone does."""
        found = self.run(optimizer, gradients=0.0, **more)
        noise = self.run(optimizer, gradients=0.0, params=0.0, **more)
        return _less(found, noise) if _finite(noise) else found

    def _program(self, optimizer: Optimizer) -> Callable[..., Any]:
        """Returns the compiled steps; one program for all settings of the optimizer that differ in arrays alone."""
        arrays = optimizer.hyperparameters().keys() & self.optimizer.hyperparameters().keys()
        static = dataclasses.replace(optimizer, **{name: getattr(self.optimizer, name) for name in arrays})
        if static not in self._compiled:
            options = _OPTIONS if jax.default_backend() == "cpu" else None
            self._compiled[static] = jax.jit(functools.partial(self._steps, static), compiler_options=options)
        return self._compiled[static]

    def _steps(
        self,
        optimizer: Optimizer,
        hyperparameters: Hyperparameters,
        multipliers: Float[Array, " steps"],
        gradients: PyTree[Array],
        value: Float[Array, ""],
        params: PyTree[Array],
        penalty: PyTree[Array],
        key: Any,
    ) -> PyTree[Array]:
        self.programs += 1  # each time that it is traced

        def transform(step: Any) -> optax.GradientTransformationExtraArgs:
            moment = Moment(
                multiplier=multipliers[step],
                progress=step / self.steps,
                ends_epoch=step == self.steps - 1,
                key=key,
                multiplier_at=lambda count: multipliers[jnp.minimum(count, self.steps - 1)],
            )
            return optimizer.transform(hyperparameters, moment)

        def make_step(carry: Any, step: Any) -> tuple[Any, Any]:
            params, state = carry
            grads = jax.tree.map(lambda g, factor, p: g[step] + factor * p, gradients, penalty, params)
            updates, state = transform(step).update(grads, state, params, value=value)
            return (optax.apply_updates(params, updates), state), updates

        begin = params, transform(0).init(params)
        return jax.lax.scan(make_step, begin, jnp.arange(self.steps))[1]

    def _tree(self, leaves: list[Any]) -> PyTree[Any]:
        return jax.tree.unflatten(jax.tree.structure(self.shapes), leaves)


def _sample() -> PyTree[Any]:
    return {
        layer: {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in arrays.items()}
        for layer, arrays in SAMPLE.items()
    }


def _initial(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random parameters: those of kernels as large as He's initialisation makes them, others of RMS 0.1."""
    scale = math.sqrt(2 / math.prod(shape[:-1])) if len(shape) > 1 else 0.1
    return np.float32(scale) * generator.standard_normal(shape, np.float32)


def _gradients(generator: np.random.Generator, steps: int, shape: tuple[int, ...]) -> np.ndarray:
    """Returns random gradients. Along each axis pairs of neighbours are alike: no update shall be orthogonal by chance.

    Random matrices with many more rows than columns are nearly orthogonal, and so are their signs.
    """
    noise = generator.standard_normal((steps, *shape), np.float32)
    if len(shape) < 2:
        return noise
    shared = generator.standard_normal((steps, *((size + 1) // 2 for size in shape)), np.float32)
    for axis, size in enumerate(shape, start=1):
        shared = np.take(shared, np.arange(size) // 2, axis)
    return shared + np.float32(0.3) * noise


def _arrays(laboratory: _Laboratory) -> tuple[ArrayFacts, ...]:
    updates, rate = laboratory.base, laboratory.optimizer.learning_rate
    labels = {i: label for label, arrays in rule_arrays(laboratory.state(), laboratory.shapes) for i in arrays}
    facts = []
    for i, (name, update) in enumerate(zip(laboratory.names, updates, strict=True)):
        first, last = (_rms(update[at]) for at in (laboratory.first, -1))
        kind = _kind(update, laboratory.gradients[i])
        facts.append(
            ArrayFacts(
                name=name,
                shape=laboratory.params[i].shape,
                kind=kind,
                first=_finite_or_none(first / rate) if rate else None,
                last=_finite_or_none(last / rate) if rate else None,
                relative=_finite_or_none(first / _rms(laboratory.params[i])),
                rule=labels.get(i),
            )
        )
    return tuple(facts)


def _kind(updates: np.ndarray, gradients: np.ndarray) -> Kind:
    """Returns what the first updates of an array are.

    Args:
      updates: of all steps.
      gradients: of all steps.
    """
    if not np.isfinite(updates).all():
        return "not_finite"
    if not updates.any():
        return "none"
    step = next(step for step, update in enumerate(updates) if update.any())
    first, gradient = updates[step], np.asarray(gradients[step], np.float64)
    if first.size == 1:
        return "single"
    if _factor(first, gradient)[1] < _ALIKE:
        return "gradient"
    if _of_one_size(first):
        return "sign" if all(_of_one_size(update) for update in updates) else "first_sign"
    if any(_orthogonal(m) and not _orthogonal(g) for m, g in zip(_matrices(first), _matrices(gradient), strict=True)):
        return "orthogonal"
    return "other"


def _is_noise(updates: np.ndarray) -> bool:
    """Returns whether the updates of an array that were made of nothing differ by number."""
    return bool(np.isfinite(updates).all()) and any(np.ptp(update) > 0 for update in updates)


def _of_one_size(update: np.ndarray) -> bool:
    sizes = np.abs(update)
    return bool(np.std(sizes) < _ALIKE * np.mean(sizes)) if sizes.any() else True


def _matrices(array: np.ndarray) -> list[np.ndarray]:
    """Returns an array as matrices, in the ways in which kernels are taken for matrices.

    These are one of all inputs and the outputs, and one at each position of a convolution's window. Few long rows are
    nearly orthogonal by chance, so the latter must not be too small.
    """
    if array.ndim < 2:
        return []
    whole = array.reshape(-1, array.shape[-1])
    return [whole, array] if array.ndim > 2 and min(array.shape[-2:]) >= 8 else [whole]


def _orthogonal(matrix: np.ndarray) -> bool:
    """Returns whether most of the singular values of a matrix, or of stacked matrices, are equal, as in Muon."""
    if min(matrix.shape[-2:]) < 2 or max(matrix.shape[-2:]) < 8:  # any matrix can look like that by chance
        return False
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = np.swapaxes(matrix, -1, -2)
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(matrix @ np.swapaxes(matrix, -1, -2)), 0))
    low, high = (bound * np.median(values, -1, keepdims=True) for bound in _SINGULAR)
    return bool(np.mean((low <= values) & (values <= high)) >= _MOST_SINGULAR) and bool(values.any())


def _fields(laboratory: _Laboratory) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """Returns what the numbers among the hyperparameters do.

    Returns:
      For each that doubles first updates, the number of arrays; those that are compiled for each value; those that
      change nothing.
    """
    optimizer, base = laboratory.optimizer, laboratory.base
    large = [i for i, params in enumerate(laboratory.params) if params.size > 1]
    doubles: dict[str, int] = {}
    static, unused = [], []
    arrays = optimizer.hyperparameters()
    for field in (f.name for f in dataclasses.fields(optimizer)):
        value = getattr(optimizer, field)
        if field not in arrays and not (isinstance(value, float) and _is_own(optimizer, field)):
            continue
        programs, changes = laboratory.programs, False
        for other in _others(optimizer, field):
            found = laboratory.run(other)
            changes |= not _same_bits(base, found)
            if getattr(other, field) == _times(value, 2) != value:
                ratios = _ratios(found, base, laboratory.first)
                several = [ratio for i, ratio in enumerate(ratios) if i in large and ratio is not None]
                count = sum(abs(ratio - 2) < 2 * _CLOSE for ratio in several)
                doubles |= {field: count} if count else {}
            if laboratory.programs > programs:
                static.append(field)
            if changes:
                break
        if not changes:
            unused.append(field)
    return doubles, tuple(static), tuple(unused)


def _is_own(optimizer: Optimizer, field: str) -> bool:
    """Returns whether a field is the optimizer's own rather than one that every optimizer has."""
    return field in ("learning_rate", "weight_decay") or field not in {f.name for f in dataclasses.fields(Optimizer)}


def _others(optimizer: Optimizer, field: str) -> list[Optimizer]:
    """Returns an optimizer with other values of a field, those that are within its bounds, and usual for its name."""
    value = getattr(optimizer, field)
    usual = next(f.metadata.get("usual") for f in dataclasses.fields(optimizer) if f.name == field)
    found = []
    for other in (_times(value, 2), _times(value, 0.5), *(() if isinstance(value, tuple) else (0.1, 1e-3))):
        numbers = other if isinstance(other, tuple) else (other,)
        if other != value and (usual is None or all(number in usual for number in numbers)):
            try:
                found.append(dataclasses.replace(optimizer, **{field: other}))
            except UserError:
                continue
    return found


def _times(value: Any, factor: float) -> Any:
    return tuple(factor * item for item in value) if isinstance(value, tuple) else factor * value


def _learning_rate(laboratory: _Laboratory, doubles: Mapping[str, int]) -> LearningRate:
    optimizer, base, names = laboratory.optimizer, laboratory.base, laboratory.names
    argument: str | None = "learning_rate"
    if isinstance(optimizer, FactoryOptimizer):
        argument = next((name for name, field in optimizer.arguments.items() if field == "learning_rate"), None)
    change = min(laboratory.first + 2, laboratory.steps - 1)
    first = _ratios(laboratory.run(multipliers=0.5), base, laboratory.first)
    later = _ratios(laboratory.run(multipliers={change: 0.5}), base, change)
    return LearningRate(
        argument=argument,
        value=optimizer.learning_rate,
        doubles=doubles,
        first_step={name: ratio for name, ratio in zip(names, first, strict=True) if ratio is not None},
        later_step={name: ratio for name, ratio in zip(names, later, strict=True) if ratio is not None},
    )


def _scale(laboratory: _Laboratory) -> dict[str, Scale]:
    base, scaled = laboratory.base, laboratory.scaled
    found: dict[str, Scale] = {}
    for i, name in enumerate(laboratory.names):
        if base[i].any():
            first, last = (
                _scaling(base[i][at], {factor: updates[i][at] for factor, updates in scaled.items()})
                for at in (laboratory.first, -1)
            )
            found[name] = Scale(first, last)
    return found


def _scaling(update: np.ndarray, scaled: Mapping[float, np.ndarray]) -> Scaling:
    if not all(np.isfinite(other).all() for other in (update, *scaled.values())):
        return "not_finite"
    if all(_close(other, update) for other in scaled.values()):
        return "invariant"
    if all(_close(other, factor * update) for factor, other in scaled.items()):
        return "linear"
    return "neither"


def _own_decay(laboratory: _Laboratory) -> Decay:
    """Returns the weight decay that an optimizer has if its field `weight_decay` is 0: what zero gradients do."""
    optimizer = dataclasses.replace(laboratory.optimizer, weight_decay=0.0)
    alone = laboratory.decayed_by_zero(optimizer)
    if not _finite(alone):
        return _absent(optimizer, laboratory)
    return _described(laboratory, optimizer, alone, coupled=False)


def _decay(laboratory: _Laboratory) -> Decay:
    """Returns what the field `weight_decay` does, at its default or, if that is 0, at another value."""
    own = laboratory.optimizer
    for value in (own.weight_decay, *_DECAYS):
        found = _decay_at(laboratory, dataclasses.replace(own, weight_decay=value)) if value else None
        if found is not None and found.form != "absent":
            return found
    return _absent(own, laboratory)


def _decay_at(laboratory: _Laboratory, optimizer: Optimizer) -> Decay:
    without = dataclasses.replace(optimizer, weight_decay=0.0)
    updates = laboratory.run(optimizer)
    effect = _less(updates, laboratory.run(without))
    alone = laboratory.decayed_by_zero(optimizer)
    alone = _less(alone, laboratory.decayed_by_zero(without)) if _finite(alone) else effect
    if not _finite(alone):
        return _absent(optimizer, laboratory)
    return _described(laboratory, optimizer, alone, _is_coupled(laboratory, optimizer, alone, updates, effect))


def _absent(optimizer: Optimizer, laboratory: _Laboratory) -> Decay:
    values = optimizer.weight_decay, laboratory.optimizer.weight_decay
    return Decay("absent", False, *values, None, None, None, (), _trained(laboratory))


def _trained(laboratory: _Laboratory) -> tuple[str, ...]:
    return tuple(name for name, update in zip(laboratory.names, laboratory.base, strict=True) if update.any())


def _described(laboratory: _Laboratory, optimizer: Optimizer, alone: list[np.ndarray], coupled: bool) -> Decay:
    """Returns a weight decay by what it does alone, and whether it does what the gradient of an L2 penalty does."""
    where = [i for i, update in enumerate(alone) if _decays(update, laboratory.params[i])]
    if not where:
        return _absent(optimizer, laboratory)
    step = next(step for step in range(laboratory.steps) if any(alone[i][step].any() for i in where))
    first = [_factor(alone[i][step], laboratory.params[i]) for i in where]
    proportional = all(residual < _ALIKE for _, residual in first)
    grows = proportional and any(_grows(alone[i][step:], laboratory.params[i]) for i in where)
    both = _is_linear(laboratory, where)
    form: DecayForm = "other"
    if coupled or not proportional or (grows and both):
        form = "coupled"
    elif proportional:
        form = "momentum" if grows else "decoupled"
    shares = [-factor for factor, _ in first]
    equal = proportional and max(shares) - min(shares) <= _ALIKE * abs(max(shares))
    doubled = dataclasses.replace(optimizer, learning_rate=2 * optimizer.learning_rate)
    decayed = tuple(laboratory.names[i] for i in where)
    return Decay(
        form=form,
        both=both and proportional and not grows,
        weight_decay=optimizer.weight_decay,
        default=laboratory.optimizer.weight_decay,
        shrinks=float(np.mean(shares)) if equal else None,
        times_learning_rate=_follows(laboratory, doubled, 1.0, alone, where, step),
        times_schedule=_follows(laboratory, optimizer, 0.5, alone, where, step),
        decayed=decayed,
        left_out=tuple(name for name in _trained(laboratory) if name not in decayed),
    )


def _is_linear(laboratory: _Laboratory, where: list[int]) -> bool:
    """Returns whether the last updates of some arrays, without those of zero gradients, are linear in the gradients."""
    zero = laboratory.run(gradients=0.0)
    base = _less(laboratory.base, zero)
    scaled = {factor: _less(updates, zero) for factor, updates in laboratory.scaled.items()}
    return all(_scaling(base[i][-1], {f: u[i][-1] for f, u in scaled.items()}) == "linear" for i in where)


def _decays(alone: np.ndarray, params: np.ndarray) -> bool:
    """Returns whether weight decay alone moves an array by more than rounding does."""
    return _rms(alone.sum(0)) > len(alone) * _ROUNDING * _rms(params)


def _is_coupled(
    laboratory: _Laboratory,
    optimizer: Optimizer,
    alone: list[np.ndarray],
    updates: list[np.ndarray],
    effect: list[np.ndarray],
) -> bool:
    """Returns whether the field `weight_decay` does what the gradient of an L2 penalty on the same arrays does."""
    arrays = zip(laboratory.names, alone, laboratory.params, strict=True)
    penalty = {name: optimizer.weight_decay for name, update, params in arrays if _decays(update, params)}
    penalised = laboratory.run(dataclasses.replace(optimizer, weight_decay=0.0), penalty=penalty)
    return any(e.any() for e in effect) and all(
        _rms(u - p) <= _CLOSE * _rms(e) + _ROUNDING * _rms(u)
        for u, p, e in zip(updates, penalised, effect, strict=True)
    )


def _grows(alone: np.ndarray, params: np.ndarray) -> bool:
    """Returns whether weight decay alone takes off a larger share in later steps, as in a momentum."""
    moved = params + np.concatenate([np.zeros_like(alone[:1]), np.cumsum(alone, 0)[:-1]])
    shares = [-_factor(update, before)[0] for update, before in zip(alone, moved, strict=True)]
    return shares[-1] > (1 + _ALIKE) * shares[0]


def _follows(
    laboratory: _Laboratory,
    optimizer: Optimizer,
    multiplier: float,
    alone: list[np.ndarray],
    where: list[int],
    step: int,
) -> bool | None:
    """Returns whether weight decay follows the learning rate (twice the own, times the multiplier).

    None stands for a decay that neither follows it nor stays the same.
    """
    own = laboratory.optimizer.learning_rate
    factor = optimizer.learning_rate / own * multiplier if own else math.nan
    found = laboratory.decayed_by_zero(optimizer, multipliers=multiplier)
    ratios = [ratio for i, ratio in enumerate(_ratios(found, alone, step)) if i in where]
    for expected, follows in ((factor, True), (1.0, False)):
        if all(ratio is not None and abs(ratio - expected) < _CLOSE * expected for ratio in ratios):
            return follows
    return None


def _less(arrays: list[np.ndarray], others: list[np.ndarray]) -> list[np.ndarray]:
    return [array - other for array, other in zip(arrays, others, strict=True)]


def _ratios(found: list[np.ndarray], base: list[np.ndarray], step: int) -> list[float | None]:
    """Returns for each array the factor between two updates of one step; None if the array is not trained."""
    return [_finite_or_none(_factor(one[step], other[step])[0]) if other[step].any() else None
            for one, other in zip(found, base, strict=True)]  # fmt: skip


def _factor(array: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Returns the factor on another array that comes closest to an array, and the relative deviation that is left."""
    x, y = np.ravel(array).astype(np.float64), np.ravel(other).astype(np.float64)
    if not y.any() or not x.any():
        return (0.0, 0.0 if not x.any() else 1.0)
    factor = float(x @ y / (y @ y))
    return factor, _rms(x - factor * y) / _rms(x)


def _close(array: np.ndarray, other: np.ndarray) -> bool:
    return _rms(array - other) <= _CLOSE * _rms(other)


def _rms(array: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def _finite(arrays: list[np.ndarray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _same_bits(arrays: list[np.ndarray], others: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(arrays, others, strict=True))


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _to_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_json(item) for item in value]
    return _finite_or_none(value) if isinstance(value, float) else value
