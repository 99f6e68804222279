"""Finds by experiment how a function that makes an optimizer must be called, to keep the meaning of its code.

Training calls the function again in each step, with arrays in place of numbers, so that one compiled program serves all
settings and every step of the schedule. This is correct only if the function treats an array like a number and keeps no
hyperparameter in its state. So its updates on a few small arrays are compared with the updates that it makes if it is
called once with Python numbers. `README.md` ("How it is called") lists the ways in which the schedule can act; the
first one that fits is used.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree
from optax import contrib

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.optimizers.equivalence.calls import STEPS, Calls, Subject
from jaxopt_bench.optimizers.equivalence.inputs import (
    Numbers,
    change_number,
    nudge_numbers,
    round_to_float32,
    with_noise,
)
from jaxopt_bench.optimizers.equivalence.outcomes import (
    Reference,
    Table,
    accepted_differences,
    are_finite,
    describe_difference,
)
from jaxopt_bench.optimizers.factories import Form, ScheduleForm
from jaxopt_bench.optimizers.signatures import RATE
from jaxopt_bench.optimizers.wrappers import find_states
from jaxopt_bench.user_code import failed_at

_LOW = 1e-3
_MULTIPLIERS = (1.0, _LOW, _LOW, 1.0)
"""The schedule at the compared steps. Its low value is small: some rules only limit the step by the learning rate."""
_CONSTANT = (1.0,) * STEPS
_REPETITIONS = 3
"""The number of trials with noise, which show the precision of the updates."""
_GIVEN = (
    "Expected an update that is called as update(gradients, state, parameters), with value=LOSS if it has an argument "
    "of this name."
)


class ParametersError(UserError):
    """A function fails on the parameters of the experiment. It may work on the parameters of a network."""


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


class _Examination:
    """The examination of one function on some parameters."""

    def __init__(self, subject: Subject, params: PyTree[np.ndarray]):
        self.calls = Calls(subject, params)
        self.own, self.whole = subject.own_numbers, subject.whole_numbers
        self.rate = RATE if RATE in self.own else None
        self.numbers = {name: round_to_float32(value) for name, value in subject.numbers().items()}
        self.base = Form(flat=True)

    def form(self) -> Form:
        """Returns how the function must be called."""
        self.base = self._first_form()
        state = self._check_shapes()
        schedule = self._schedule_form()
        references = self._references(schedule)
        if any(np.any(leaf) for leaves in references[0].outcome[:-1] for leaf in leaves):
            form, reason = self._with_arrays(schedule, references)
        else:
            form, reason = None, f"its first {len(_MULTIPLIERS)} updates are zero and show nothing"
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
                    self.calls.infer_shapes(form, self.numbers)
                    return form
                except UserError:
                    raise
                except Exception as error:
                    errors.append(error)
        raise self._refusal(errors) from errors[0]

    def _refusal(self, errors: Sequence[Exception]) -> UserError:
        """Returns the error for a function that works in no form."""
        try:
            self.calls.make_transform(self.base, self.numbers)
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
        path, leaf = _leaves(self.calls.params)[0]
        tried = f"It was tried on parameters such as {path}, {_type(leaf)}"
        return ParametersError(f"its init or update fails: {_words(errors[0])}. {tried}. {_GIVEN}")

    def _check_shapes(self) -> optax.OptState:
        """Checks the shapes of the updates, and that the state keeps its form. Returns the shapes of the state."""
        state, updates, new = self.calls.infer_shapes(dataclasses.replace(self.base, flat=False), self.numbers)
        if _structure(updates) != _structure(self.calls.params):
            raise UserError("its updates have another structure than the parameters. Expected one for each parameter.")
        for (path, given), param in zip(_leaves(updates), jax.tree.leaves(self.calls.params), strict=True):
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
        one, other = (
            jax.eval_shape(self.calls.make_transform(form, self.numbers).init, self.calls.params) for _ in "12"
        )
        try:
            jax.tree.map(lambda *_: None, one, other)  # flax's structures may be equal if classes are not
        except ValueError:
            return True
        return False

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
            outcome[step] = self.calls.run(form, self.numbers, table, False)[step]
            if describe_difference(outcome, still):
                return True
        return False

    def _keeps_rate(self, form: Form) -> bool:
        """Returns whether the learning rate is in the first state."""
        one, other = (jax.tree.leaves(self.calls.first_state(form, self.numbers, _MULTIPLIERS, m)) for m in (0.5, 1.0))
        return any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))

    def _references(self, schedule: ScheduleForm) -> list[Reference]:
        """Returns the results of the function at some settings, beginning with its own."""
        form = dataclasses.replace(self.base, schedule=schedule)
        found = [self._reference(form, self.numbers, _MULTIPLIERS)]
        if not are_finite(found[0].outcome):
            raise UserError(f"its updates of ordinary gradients are not finite, with {_format_numbers(self.numbers)}.")
        others = {name: change_number(value, name in self.whole) for name, value in self.numbers.items()}
        rate = {self.rate: others[self.rate]} if self.rate else {}
        if not self._accepts(others):
            others = {name: value for name, value in others.items() if self._accepts({**self.numbers, name: value})}
        for changed in (others, rate):
            with contextlib.suppress(Exception):  # a function may refuse settings
                reference = self._reference(form, {**self.numbers, **changed}, _CONSTANT)
                if are_finite(reference.outcome):
                    return [*found, reference]
        return found

    def _accepts(self, numbers: Numbers) -> bool:
        """Returns whether the function works with given settings."""
        try:
            self.calls.infer_shapes(self.base, numbers)
        except Exception:
            return False
        return True

    def _reference(self, form: Form, numbers: Numbers, table: Table) -> Reference:
        outcome = self.calls.run(form, numbers, table, False)
        noisy = [
            self.calls.run(
                form,
                numbers,
                table,
                False,
                [with_noise(g, i) for g in self.calls.grads],
                with_noise(self.calls.params, i),
            )
            for i in range(_REPETITIONS)
        ]
        return Reference(numbers, table, outcome, accepted_differences(outcome, noisy))

    def _with_arrays(self, schedule: ScheduleForm, references: Sequence[Reference]) -> tuple[Form | None, str]:
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

    def _with_numbers(self, schedule: ScheduleForm, reference: Reference) -> Form:
        """Returns the form in which each setting has its own program."""
        form = dataclasses.replace(self.base, schedule=schedule, plain=self.own)
        with contextlib.suppress(Exception):  # the learning rate of a step is still an array
            if not self._differs_in_training(form, reference):
                return form
        return dataclasses.replace(form, schedule="updates")

    def _differs_in_training(self, form: Form, reference: Reference) -> str:
        """Returns how the function differs from a reference if it is called as in training; see `describe_difference`.

        Some formulas, such as 1 − √b2, lose digits of float32 if b2 is an array, but not if it is a Python number. This
        is also a rounding error. Its size is estimated by changes of the last digit of the numbers.
        """
        outcome = self.calls.run(form, reference.numbers, reference.table, True)
        if not describe_difference(outcome, reference):
            return ""
        nudged = [
            self.calls.run(form, nudge_numbers(reference.numbers, form.plain, i), reference.table, True)
            for i in range(_REPETITIONS)
        ]
        tolerances = [
            [one + other for one, other in zip(own, more, strict=True)] if len(own) == len(more) else own
            for own, more in zip(reference.tolerances, accepted_differences(outcome, nudged), strict=True)
        ]
        return describe_difference(outcome, reference._replace(tolerances=tolerances))

    def _check_zero_gradients(self, form: Form) -> None:
        """Checks that updates are finite if a gradient is zero, as behind inactive units."""
        nothing = jax.tree.map(jnp.zeros_like, self.calls.params)
        leaves, structure = jax.tree.flatten(self.calls.grads[0])
        one = jax.tree.unflatten(structure, [leaf * (i > 0) for i, leaf in enumerate(leaves)])
        for what, grads in (
            ("all gradients are zero", [nothing, self.calls.grads[1], nothing, nothing]),
            (f"the gradient of {_leaves(self.calls.params)[0][0]} is zero", [one] * len(_MULTIPLIERS)),
        ):
            if not are_finite(self.calls.run(form, self.numbers, _MULTIPLIERS, True, grads)):
                raise UserError(
                    f"its updates are not finite if {what}, as happens behind inactive units, with "
                    f"{_format_numbers(self.numbers)}. Expected finite updates, for example by a positive eps beside a "
                    "root or in a denominator."
                )


def _on_cpu() -> contextlib.AbstractContextManager[Any]:
    try:
        return jax.default_device(jax.devices("cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return contextlib.nullcontext()


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
