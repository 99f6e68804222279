"""Calls a function that makes an optimizer, once with Python numbers or in each step with arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float32, Integer, PyTree

from jaxopt_bench.optimizers.base import StepContext
from jaxopt_bench.optimizers.equivalence.inputs import Numbers, make_gradients
from jaxopt_bench.optimizers.equivalence.outcomes import Outcome, Table
from jaxopt_bench.optimizers.factories import Form

STEPS = 4
"""The number of updates that are compared."""
_FAST = {  # options to compile fast, for programs that run once
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
}

Steps = Float32[Array, " steps"]
Step = Integer[Array, ""] | int


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


class Calls:
    """The calls of one function on some parameters. Each program is compiled once.

    Attributes:
      params: the parameters.
      grads: the gradients of each step.
    """

    def __init__(self, subject: Subject, params: PyTree[np.ndarray]):
        """Args: the function with its settings, and the parameters."""
        self.params = jax.tree.map(jnp.asarray, params)
        self.grads = [make_gradients(self.params, step) for step in range(STEPS)]
        self._make = subject.rule_in_form
        self._compiled: dict[Any, Any] = {}

    def make_transform(
        self, form: Form, numbers: Numbers, context: StepContext | None = None
    ) -> optax.GradientTransformationExtraArgs:
        """Returns the transformation that the function makes in a form. Its update accepts all extra arguments."""
        context = (context or StepContext())._replace(key=jax.random.key(0))
        return optax.with_extra_args_support(self._make(numbers, context, form))

    def infer_shapes(
        self, form: Form, numbers: Numbers
    ) -> tuple[optax.OptState, PyTree[jax.ShapeDtypeStruct], optax.OptState]:
        """Returns the shapes of the first state, of the updates and of the next state."""
        transform = self.make_transform(form, numbers)

        def update(
            grads: PyTree[Array], state: optax.OptState, params: PyTree[Array], value: Float32[Array, ""]
        ) -> tuple[PyTree[Array], optax.OptState]:
            return transform.update(grads, state, params, value=value)

        state = jax.eval_shape(transform.init, self.params)
        return state, *jax.eval_shape(update, self.grads[0], state, self.params, jnp.float32(1))

    def run(
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

    def first_state(self, form: Form, numbers: Numbers, table: Table, multiplier: float) -> optax.OptState:
        """Returns the first state, if the function is called with Python numbers and a learning rate.

        Args:
          form: how the function is called.
          numbers: its settings.
          table: the schedule at each step.
          multiplier: the factor on the learning rate, if that is a number.
        """
        init, _ = self._functions(form, numbers, False, multiplier)
        return init({}, jnp.asarray(table, jnp.float32), self.params)

    def _functions(
        self, form: Form, numbers: Numbers, as_trained: bool, multiplier: float | None
    ) -> tuple[Callable[..., optax.OptState], Callable[..., tuple[PyTree[Array], optax.OptState]]]:
        """Returns `init(given, table, params)`, `update(given, table, step, grads, state, params, value)`, compiled."""
        fixed = tuple((name, v) for name, v in numbers.items() if not as_trained or name in form.plain)
        key = (form, as_trained, multiplier, fixed)
        if key not in self._compiled:

            def transform(given: Numbers, table: Steps, step: Step) -> optax.GradientTransformationExtraArgs:
                now = table[step] if multiplier is None else multiplier
                context = StepContext(multiplier=now, multiplier_at=lambda count: table[count])
                return self.make_transform(form, {**numbers, **given}, context)

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
            self._compiled[key] = (jax.jit(init, compiler_options=_options()) if as_trained else init, compiled)
        return self._compiled[key]


@functools.cache
def _options() -> dict[str, bool | int]:
    """Returns `_FAST`; an empty dictionary if this version of XLA does not know these options."""
    try:
        jax.jit(lambda x: x + 1, compiler_options=_FAST).lower(1.0).compile()
    except Exception:
        return {}
    return _FAST
