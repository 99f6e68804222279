"""Finds by experiment how a function that makes an optimizer must be called, to keep the meaning of its code.

Training calls the function again in each step, with arrays in place of numbers, so that one compiled program serves all
settings and every step of the schedule. This is correct only if the function treats an array like a number and keeps no
hyperparameter in its state. So its updates on a few small arrays are compared with the updates that it makes if it is
called once with Python numbers. `README.md` ("How it is called") lists the ways in which the schedule can act. The
first one that fits is used.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32, Integer, PyTree
from optax import contrib

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.optimizers.base import StepContext
from jaxopt_bench.optimizers.factories import Form, ScheduleForm
from jaxopt_bench.optimizers.signatures import RATE
from jaxopt_bench.optimizers.wrappers import find_states
from jaxopt_bench.user_code import failed_at

_LOW = 1e-3
MULTIPLIERS = (1.0, _LOW, _LOW, 1.0)
"""The schedule at the compared steps. Its low value is small: some rules only limit the step by the learning rate."""
_CONSTANT = (1.0, 1.0, 1.0, 1.0)
_ROUNDING = 1e-5  # relative to an array's largest update
_NOISE = 4e-7  # relative noise on gradients and parameters: the change of the updates shows their precision
_AMPLIFIED = 20  # the accepted multiple of that change
_REPETITIONS = 3
_FAST = {  # options to compile fast, for programs that run once
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}

Numbers = Mapping[str, Any]
Table = Sequence[float]
Steps = Float32[Array, " steps"]
Step = Integer[Array, ""] | int
Outcome = list[list[Float32[np.ndarray, "*shape"]]]
"""The updates of each step, by parameter, followed by the arrays of the last state."""


class ParametersError(UserError):
    """A function fails on the parameters of the experiment. It may work on the parameters of a network."""


class Subject(Protocol):
    """The subject of an examination: a function with its settings."""

    def rule_in_form(self, numbers: Numbers, context: StepContext, form: Form) -> optax.GradientTransformation:
        """Returns the transformation that the function makes."""

    def numbers(self) -> dict[str, Any]:
        """Returns the numbers that `rule_in_form` reads, by field."""

    @property
    def own_numbers(self) -> tuple[str, ...]:
        """The fields of the numbers that are arguments of the function."""

    @property
    def whole_numbers(self) -> tuple[str, ...]:
        """The `own_numbers` that are integers by default, and so may count steps."""


def small_parameters(scalar: bool = True) -> PyTree[np.ndarray]:
    """Returns parameters with names as in a network: a matrix, a vector, a convolution kernel and maybe a scalar."""
    shapes: dict[str, Any] = {
        "Dense_0": {"kernel": (4, 3), "bias": (3,)},
        "Conv_0": {"kernel": (2, 2, 3, 4)},
        **({"scale": ()} if scalar else {}),
    }
    return random_parameters(jax.tree.map(np.zeros, shapes, is_leaf=lambda shape: isinstance(shape, tuple)))


def random_parameters(like: PyTree[Any]) -> PyTree[np.ndarray]:
    """Returns random parameters with the shapes of other parameters."""
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.asarray(generator.normal(size=leaf.shape), np.float32), like)


def find_form(subject: Subject, params: PyTree[np.ndarray]) -> Form:
    """Returns how a function must be called; see the module.

    Args:
      subject: the function with its settings.
      params: the parameters on which it is tried.

    Raises:
      ParametersError: if it fails on these parameters.
      UserError: if it fails on all parameters, needs arguments that training does not give, or makes updates that are
        not finite.
    """

    def examine() -> Form:
        with _on_cpu():
            try:
                return _Examination(subject, params).form()
            except UserError:
                raise
            except jax.errors.UnexpectedTracerError as error:
                raise UserError(
                    "its update reads an array that its init or an earlier update left outside the state. Expected a "
                    "state that holds all arrays that later updates need."
                ) from error
            except Exception as error:
                raise ParametersError(f"it fails: {_words(error)}. {_GIVEN}") from error

    with concurrent.futures.ThreadPoolExecutor(1) as executor:  # JAX traces per thread, and this thread may be tracing
        return executor.submit(examine).result()


class _Reference(NamedTuple):
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


class _Examination:
    """The examination of one function on some parameters."""

    def __init__(self, subject: Subject, params: PyTree[np.ndarray]):
        self.make, self.params = subject.rule_in_form, jax.tree.map(jnp.asarray, params)
        self.own, self.whole = subject.own_numbers, subject.whole_numbers
        self.rate = RATE if RATE in self.own else None
        self.numbers = {name: _round_to_float32(value) for name, value in subject.numbers().items()}
        self.grads = [_gradients(self.params, step) for step in range(len(MULTIPLIERS))]
        self.base = Form(flat=True)
        self.compiled: dict[Any, Any] = {}

    def form(self) -> Form:
        """Returns how the function must be called."""
        self.base = self._first_form()
        state = self._check_shapes()
        schedule = self._schedule_form()
        references = self._references(schedule)
        if any(np.any(leaf) for leaves in references[0].outcome[:-1] for leaf in leaves):
            form, reason = self._with_arrays(schedule, references)
        else:
            form, reason = None, f"its first {len(MULTIPLIERS)} updates are zero and show nothing"
        if form is None:
            form = self._with_numbers(schedule, references[0])
        self._check_zero_gradients(form)
        return dataclasses.replace(
            form,
            flat=self._has_local_classes(),
            schedule_free=bool(find_states(state, contrib.ScheduleFreeState)),
            reason=reason,
        )

    def _first_form(self) -> Form:
        """Returns a form in which the function works.

        The learning rate is a number, or a schedule if the function takes only a schedule. The update gets the loss, by
        the name `value`, if it takes it.

        Raises:
          UserError: if the function works in no form.
        """
        errors: list[Exception] = []
        schedules: tuple[ScheduleForm, ...] = ("argument", "callable") if self.rate else ("argument",)
        for schedule in schedules:
            for value in (True, False):
                form = dataclasses.replace(self.base, schedule=schedule, value=value)
                try:
                    self._shapes(form, self.numbers)
                    return form
                except UserError:
                    raise
                except Exception as error:
                    errors.append(error)
        raise self._refusal(errors) from errors[0]

    def _refusal(self, errors: Sequence[Exception]) -> UserError:
        """Returns the error for a function that works in no form."""
        try:
            self._transform(self.base, self.numbers)
        except Exception as error:
            return UserError(f"it fails with {_format_numbers(self.numbers)}: {_words(error)}.")
        missing = next(filter(None, map(_needs, errors)), None)
        if missing == "'value'":
            return UserError(
                f"its update needs 'value', the loss of the batch, but a part of it does not accept it: "
                f"{_words(errors[0])}. Expected an optax.GradientTransformationExtraArgs whose update takes value. "
                "In a chain, the update of each GradientTransformationExtraArgs has to take **extra_args."
            )
        if missing is not None:
            return UserError(f"its update needs {missing}, which training does not give. {_GIVEN}")
        path, leaf = _leaves(self.params)[0]
        tried = f"It was tried on parameters such as {path}, {_type(leaf)}"
        return ParametersError(f"its init or update fails: {_words(errors[0])}. {tried}. {_GIVEN}")

    def _transform(
        self, form: Form, numbers: Numbers, context: StepContext | None = None
    ) -> optax.GradientTransformationExtraArgs:
        context = (context or StepContext())._replace(key=jax.random.key(0))
        return optax.with_extra_args_support(self.make(numbers, context, form))

    def _shapes(
        self, form: Form, numbers: Numbers
    ) -> tuple[optax.OptState, PyTree[jax.ShapeDtypeStruct], optax.OptState]:
        """Returns the shapes of the first state, of the updates and of the next state."""
        transform = self._transform(form, numbers)

        def update(
            grads: PyTree[Array], state: optax.OptState, params: PyTree[Array], value: Float32[Array, ""]
        ) -> tuple[PyTree[Array], optax.OptState]:
            return transform.update(grads, state, params, value=value)

        state = jax.eval_shape(transform.init, self.params)
        return state, *jax.eval_shape(update, self.grads[0], state, self.params, jnp.float32(1))

    def _check_shapes(self) -> optax.OptState:
        """Checks the shapes of the updates, and that the state keeps its form. Returns the shapes of the state."""
        state, updates, new = self._shapes(dataclasses.replace(self.base, flat=False), self.numbers)
        if _structure(updates) != _structure(self.params):
            raise UserError("its updates have another structure than the parameters. Expected one for each parameter.")
        for (path, given), param in zip(_leaves(updates), jax.tree.leaves(self.params), strict=True):
            if given.shape != param.shape:
                raise UserError(f"its update of {path} has the shape {given.shape}. Expected {param.shape}.")
        if _structure(state) != _structure(new):
            raise UserError(
                "its update returns a state of another structure than its init. Expected the same: "
                f"{shortened(_structure(state), 200)} became {shortened(_structure(new), 200)}."
            )
        for (path, before), after in zip(_leaves(state), jax.tree.leaves(new), strict=True):
            if (before.shape, before.dtype) != (after.shape, after.dtype):
                own = path.rpartition(".inner")[2]  # without the wrappers around the function
                raise UserError(
                    f"its update changes {own} of its state from {_type(before)} to {_type(after)}. Expected arrays "
                    "that keep their shape and type."
                )
        return state

    def _has_local_classes(self) -> bool:
        """Returns whether two calls of the function make states of different classes."""
        form = dataclasses.replace(self.base, flat=False)
        one, other = (jax.eval_shape(self._transform(form, self.numbers).init, self.params) for _ in "12")
        try:
            jax.tree.map(lambda *_: None, one, other)  # flax's structures may be equal if classes are not
        except ValueError:
            return True
        return False

    def _run(
        self,
        form: Form,
        numbers: Numbers,
        table: Table,
        as_trained: bool,
        grads: Sequence[PyTree[Array]] | None = None,
        params: PyTree[Array] | None = None,
    ) -> Outcome:
        """Returns the updates of some steps, and the last state.

        Args:
          form: how the function is called.
          numbers: its settings.
          table: the schedule at each step.
          as_trained: whether the function is called in each step, as in training, with arrays in place of the
            numbers that are not in `form.plain`. Otherwise it is called once for each learning rate, with Python
            numbers.
          grads: the gradients at each step.
          params: the initial parameters. They change by the same amounts for any updates.
        """
        params = self.params if params is None else params
        given = (
            {n: jnp.asarray(v, jnp.float32) for n, v in numbers.items() if n not in form.plain} if as_trained else {}
        )
        fixed = form.schedule == "argument" and not as_trained
        schedule, outcome = jnp.asarray(table, jnp.float32), []
        state = self._functions(form, numbers, as_trained, table[0] if fixed else None)[0](given, schedule, params)
        for step, own in enumerate(self.grads if grads is None else grads):
            update = self._functions(form, numbers, as_trained, table[step] if fixed else None)[1]
            now = jax.tree.map(lambda leaf: (1 - 0.01 * step) * leaf, params)  # noqa: B023
            made, state = update(given, schedule, step, own, state, now, jnp.float32(1.5 - 0.25 * step))
            outcome.append([np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(made)])
        return [*outcome, [np.asarray(leaf, np.float32) for leaf in jax.tree.leaves(state)]]

    def _functions(
        self, form: Form, numbers: Numbers, as_trained: bool, multiplier: float | None
    ) -> tuple[Callable[..., optax.OptState], Callable[..., tuple[PyTree[Array], optax.OptState]]]:
        """Returns `init(given, table, params)`, `update(given, table, step, grads, state, params, value)`, compiled."""
        fixed = tuple((name, v) for name, v in numbers.items() if not as_trained or name in form.plain)
        key = (form, as_trained, multiplier, fixed)
        if key not in self.compiled:

            def transform(given: Numbers, table: Steps, step: Step) -> optax.GradientTransformationExtraArgs:
                now = table[step] if multiplier is None else multiplier
                context = StepContext(multiplier=now, multiplier_at=lambda count: table[count])
                return self._transform(form, {**numbers, **given}, context)

            def init(given: Numbers, table: Steps, params: PyTree[Array]) -> optax.OptState:
                return transform(given, table, 0).init(params)

            def update(
                given: Numbers,
                table: Steps,
                step: Step,
                grads: PyTree[Array],
                state: optax.OptState,
                params: PyTree[Array],
                value: Float32[Array, ""],
            ) -> tuple[PyTree[Array], optax.OptState]:
                return transform(given, table, step).update(grads, state, params, value=value)

            compiled = jax.jit(update, compiler_options=_options())
            self.compiled[key] = (jax.jit(init, compiler_options=_options()) if as_trained else init, compiled)
        return self.compiled[key]

    def _schedule_form(self) -> ScheduleForm:
        """Returns how the schedule is applied to the function, called with Python numbers; see the module."""
        forms: tuple[ScheduleForm, ...] = () if self.rate is None else ("callable", "argument")
        for schedule in forms:
            form = dataclasses.replace(self.base, schedule=schedule)
            with contextlib.suppress(Exception):  # the function does not take such a learning rate
                if self._obeys(form) and not (schedule == "argument" and self._keeps_rate(form)):
                    return schedule
        return "updates"

    def _obeys(self, form: Form) -> bool:
        """Returns whether an update changes if the schedule changes only at the step of the update.

        A function with its own counter, such as `optax.MultiSteps`, may read the schedule at another step.
        """
        still = self._reference(form, self.numbers, _CONSTANT)
        for step in range(1, len(_CONSTANT)):
            table = [_LOW if i == step else 1.0 for i in range(len(_CONSTANT))]
            outcome = list(still.outcome)
            outcome[step] = self._run(form, self.numbers, table, False)[step]
            if _difference(outcome, still):
                return True
        return False

    def _keeps_rate(self, form: Form) -> bool:
        """Returns whether the learning rate is in the first state."""
        one, other = (
            jax.tree.leaves(self._functions(form, self.numbers, False, m)[0]({}, jnp.asarray(MULTIPLIERS), self.params))
            for m in (0.5, 1.0)
        )
        return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def _references(self, schedule: ScheduleForm) -> list[_Reference]:
        """Returns the results of the function at some settings, beginning with its own."""
        form = dataclasses.replace(self.base, schedule=schedule)
        found = [self._reference(form, self.numbers, MULTIPLIERS)]
        if not _are_finite(found[0].outcome):
            raise UserError(f"its updates of ordinary gradients are not finite, with {_format_numbers(self.numbers)}.")
        others = {name: _change(value, name in self.whole) for name, value in self.numbers.items()}
        rate = {self.rate: others[self.rate]} if self.rate else {}
        if not self._accepts(others):
            others = {name: value for name, value in others.items() if self._accepts({**self.numbers, name: value})}
        for changed in (others, rate):
            with contextlib.suppress(Exception):  # a function may refuse settings
                reference = self._reference(form, {**self.numbers, **changed}, _CONSTANT)
                if _are_finite(reference.outcome):
                    return [*found, reference]
        return found

    def _accepts(self, numbers: Numbers) -> bool:
        """Returns whether the function works with given settings."""
        try:
            self._shapes(self.base, numbers)
        except Exception:
            return False
        return True

    def _reference(self, form: Form, numbers: Numbers, table: Table) -> _Reference:
        outcome = self._run(form, numbers, table, False)
        noisy = [
            self._run(form, numbers, table, False, [_with_noise(g, i) for g in self.grads], _with_noise(self.params, i))
            for i in range(_REPETITIONS)
        ]
        return _Reference(numbers, table, outcome, _tolerances(outcome, noisy))

    def _with_arrays(self, schedule: ScheduleForm, references: Sequence[_Reference]) -> tuple[Form | None, str]:
        """Returns a form in which one program serves all settings, or None; and the reason if arrays do not work."""
        schedules: tuple[ScheduleForm, ...] = ("updates",) if schedule == "updates" else ("argument", "callable")
        reasons = []
        for plain in dict.fromkeys([(), self.whole]):
            for candidate in schedules:
                form = dataclasses.replace(self.base, schedule=candidate, plain=plain)
                try:
                    found = [self._differs_in_training(form, reference) for reference in references]
                except Exception as error:
                    reasons.append(f"with arrays in the place of numbers it fails: {_words(error)}")
                    continue
                if not any(found):
                    return form, reasons[0] if plain else ""
                reasons.append(next(filter(None, found)))
        return None, reasons[0]

    def _with_numbers(self, schedule: ScheduleForm, reference: _Reference) -> Form:
        """Returns the form in which each setting has its own program."""
        form = dataclasses.replace(self.base, schedule=schedule, plain=self.own)
        with contextlib.suppress(Exception):  # the learning rate of a step is still an array
            if not self._differs_in_training(form, reference):
                return form
        return dataclasses.replace(form, schedule="updates")

    def _differs_in_training(self, form: Form, reference: _Reference) -> str:
        """Returns how the function differs from a reference if it is called as in training; see `_difference`.

        Some formulas, such as 1 − √b2, lose digits of float32 if b2 is an array, but not if it is a Python number. This
        is also a rounding error. Its size is estimated by changes of the last digit of the numbers.
        """
        outcome = self._run(form, reference.numbers, reference.table, True)
        if not _difference(outcome, reference):
            return ""
        nudged = [
            self._run(form, _nudge(reference.numbers, form.plain, i), reference.table, True)
            for i in range(_REPETITIONS)
        ]
        tolerances = [
            [one + other for one, other in zip(own, more, strict=True)] if len(own) == len(more) else own
            for own, more in zip(reference.tolerances, _tolerances(outcome, nudged), strict=True)
        ]
        return _difference(outcome, reference._replace(tolerances=tolerances))

    def _check_zero_gradients(self, form: Form) -> None:
        """Checks that updates are finite if a gradient is zero, as behind inactive units."""
        nothing = jax.tree.map(jnp.zeros_like, self.params)
        leaves, structure = jax.tree.flatten(self.grads[0])
        one = jax.tree.unflatten(structure, [leaf * (i > 0) for i, leaf in enumerate(leaves)])
        for what, grads in (
            ("all gradients are zero", [nothing, self.grads[1], nothing, nothing]),
            (f"the gradient of {_leaves(self.params)[0][0]} is zero", [one] * len(MULTIPLIERS)),
        ):
            if not _are_finite(self._run(form, self.numbers, MULTIPLIERS, True, grads)):
                raise UserError(
                    f"its updates are not finite if {what}, as happens behind inactive units, with "
                    f"{_format_numbers(self.numbers)}. Expected finite updates, for example by a positive eps beside a "
                    "root or in a denominator."
                )


@functools.cache
def _options() -> dict[str, bool | int]:
    """Returns `_FAST`; an empty dictionary if this version of XLA does not know these options."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=_FAST).lower(1.0).compile()
    except Exception:
        return {}
    return _FAST


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    try:
        return jax.default_device(jax.devices("cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return contextlib.nullcontext()


def _gradients(params: PyTree[Array], step: int) -> PyTree[Array]:
    """Returns random gradients, some so small that numbers such as eps make a difference."""
    generator = np.random.default_rng(step + 1)
    leaves, structure = jax.tree.flatten(params)
    sizes = (1.0, 1e-2, 1e-6, 1e-4)
    return jax.tree.unflatten(
        structure,
        [
            jnp.asarray(sizes[i % len(sizes)] * generator.normal(size=leaf.shape), jnp.float32)
            for i, leaf in enumerate(leaves)
        ],
    )


def _with_noise(arrays: PyTree[Array], seed: int) -> PyTree[Array]:
    generator = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a) * (1 + _NOISE * generator.normal(size=a.shape)), jnp.float32), arrays
    )


def _tolerances(outcome: Outcome, noisy: Sequence[Outcome]) -> list[list[float]]:
    """Returns the accepted differences from an outcome, by step and array, given outcomes with noise."""
    return [
        [
            _ROUNDING * float(np.abs(leaf).max(initial=0))
            + _AMPLIFIED * max(float(np.abs(leaf - other[step][i]).max(initial=0)) for other in noisy)
            for i, leaf in enumerate(leaves)
        ]
        for step, leaves in enumerate(outcome)
    ]


def _difference(outcome: Outcome, reference: _Reference) -> str:
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


def _are_finite(outcome: Outcome) -> bool:
    return all(np.isfinite(leaf).all() for leaves in outcome[:-1] for leaf in leaves)


def _round_to_float32(value: Any) -> Any:
    """Returns a number rounded to float32, its type in training. The difference has no meaning."""
    if isinstance(value, tuple):
        return tuple(map(_round_to_float32, value))
    return float(np.float32(value)) if isinstance(value, float) else value


def _nudge(numbers: Numbers, plain: Sequence[str], seed: int) -> Numbers:
    """Returns the numbers with another last digit in float32, except the plain ones."""
    generator = np.random.default_rng(seed)

    def nudge(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(nudge, value))
        towards = np.float32(generator.choice([0, 2])) * np.float32(value)
        return float(np.nextafter(np.float32(value), towards)) if math.isfinite(value) else value

    return {name: value if name in plain else nudge(value) for name, value in numbers.items()}


def _change(value: Any, whole: bool) -> Any:
    """Returns another number, which is probably in the same range."""
    if isinstance(value, tuple):
        return tuple(_change(item, whole) for item in value)
    if math.isinf(value):
        return value
    if value == 0:
        return _round_to_float32(0.1)
    if whole:
        return value + 1
    if value < 0:
        return value / 2
    if value < 1 / 3:
        return 3 * value
    return _round_to_float32(1 - 1.5 * (1 - value)) if 1 / 2 <= value < 1 else 1.5 * value if value >= 1 else value / 2


def _leaves(tree: PyTree[Any]) -> list[tuple[str, Any]]:
    """Returns the leaves of a tree, each with its path."""
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


def _structure(tree: PyTree[Any]) -> object:
    return jax.tree.structure(tree)


def _type(leaf: Array | jax.ShapeDtypeStruct) -> str:
    return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"


def _format_numbers(numbers: Numbers) -> str:
    return ", ".join(f"{name} {v:g}" if isinstance(v, float) else f"{name} {v}" for name, v in numbers.items())


def _words(error: Exception) -> str:
    """Returns an exception's type, the first line of its message, and the line of the user's code that failed."""
    lines = str(error).strip().splitlines() or [""]
    line = failed_at(error)
    return f"{type(error).__name__}: {lines[0].removesuffix('.')}{f' ({line})' if line else ''}"


def _needs(error: Exception) -> str | None:
    """Returns the arguments that an update needs but did not get; None if it failed for another reason."""
    match = re.search(r"missing \d+ required (?:keyword-only|positional) arguments?: (.+)", str(error))
    return match[1].rstrip(".") if match else None


_GIVEN = (
    "Expected an update that is called as update(gradients, state, parameters), with value=LOSS if it has an argument "
    "of this name."
)
