"""Checks that a problem satisfies the description of `Problem`, before training starts and files are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from jaxopt_bench import prng
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.prng import Draw, Purpose
from jaxopt_bench.problems.base import Examples, Params, Problem, Variables, count_examples, take_examples
from jaxopt_bench.problems.metrics import LOSS, Metric
from jaxopt_bench.user_code import describe_error

T = TypeVar("T")

BATCH = 7
"""The number of examples in the batch of the checks. It is small, and other axes rarely have this length."""


def check_problem(problem: Problem, what: str) -> None:
    """Checks a whole problem: its data, and the results of its functions for the initial parameters of seed 0.

    Args:
      problem: the problem.
      what: the beginning of the messages, such as "the problem mine.py:function".

    Raises:
      UserError: if the problem is invalid. The message names the fault and the expected form.
    """
    check_metrics(problem, what)
    check_examples(problem, what)
    check_shapes(problem, what)
    _check_finite(problem, what)


def check_metrics(problem: Problem, what: str) -> None:
    """Checks the list of metrics, and that the facts can be recorded.

    Raises:
      UserError: if an element of the list is not a metric, two metrics have the same name, or JSON cannot write a fact.
    """
    for metric in problem.metrics:
        if not isinstance(metric, Metric):
            raise UserError(f"{what}: metrics contains {shortened(metric)}. Expected jaxopt_bench.Metric objects.")
    names = [metric.name for metric in problem.metrics]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"{what}: there are two metrics with the name {twice[0]!r}. Expected a different name for each metric."
        )
    try:
        json.dumps(dict(problem.facts), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{what}: facts is {shortened(problem.facts)}, which cannot be written as JSON ({error}). Expected a "
            "dictionary of finite numbers, texts, lists and dictionaries."
        ) from error


def check_examples(problem: Problem, what: str) -> None:
    """Checks that each split contains arrays with an axis of examples, of equal lengths and equal shapes.

    If a function opens the test split, the test split is not opened.

    Raises:
      UserError: if an array is invalid. The message names the split and the array.
    """
    train = _arrays(problem.train, what, "train")
    for split in ("validation", "test"):
        examples = getattr(problem, split)
        if examples is None or callable(examples):
            continue
        arrays = _arrays(examples, what, split)
        structure: Any = jax.tree.structure(examples)
        if structure != jax.tree.structure(problem.train):
            raise UserError(
                f"{what}: {split} contains {_listed(arrays)}, and train contains {_listed(train)}. Expected the same "
                "structure of arrays in every split."
            )
        for name, array in arrays.items():
            own, other = (array.shape[1:], array.dtype), (train[name].shape[1:], train[name].dtype)
            if own != other:
                raise UserError(
                    f"{what}: {split}{name} is {_describe(array)}, and train{name} is {_describe(train[name])}. "
                    "Expected arrays that differ only in the length of the first axis, which counts the examples."
                )


def check_shapes(problem: Problem, what: str) -> None:
    """Checks the types and shapes that the functions of a problem return. It traces the functions and computes nothing.

    Raises:
      UserError: if a result is invalid. The message names the function, its result, and the expected form.
    """
    batch = _batch(problem.train)
    count = count_examples(batch)
    params, variables = _initial_shapes(problem, what)
    draw = Draw(0, 0)

    def prepared(batch: Examples, draw: Draw | None) -> Examples:
        return problem.prepared(batch, draw)

    trained = _trace(prepared, f"{what}: prepare", "", batch, draw)
    evaluated = _trace(lambda batch: prepared(batch, None), f"{what}: prepare", " in evaluation", batch)
    key = draw.key(Purpose.LOSS)
    found = _loss_shapes(problem, f"{what}: loss", "", params, trained, key, variables, count)
    if problem.evaluate is None:
        seen = _loss_shapes(
            problem, f"{what}: loss", " with the key None (as in evaluation)", params, evaluated, None, variables, count
        )
        _check_statistics(problem, f"{what}: loss", seen)
    else:
        arguments = (params, evaluated, *([variables] if problem.stateful else []))
        seen = _trace(problem.evaluate, f"{what}: evaluate", "", *arguments)
        _check_evaluation(problem, what, seen, count)
    _check_statistics(problem, f"{what}: loss", found, complete=problem.evaluate is None)
    if problem.outputs is not None:
        arguments = (params, evaluated, *([variables] if problem.stateful else []))
        outputs = _trace(problem.outputs, f"{what}: outputs", "", *arguments)
        _check_named(outputs, f"{what}: outputs", count, any_shape=True)


def with_untrained(problem: Problem) -> Problem:
    """Returns a problem in which each metric has the value of an untrained model.

    If a metric does not define this value, it is the value of the initial parameters of seed 0 on the validation
    examples, or on the training examples if there are no validation examples; None if it is not finite.
    """
    if all(metric.untrained is not None for metric in problem.all_metrics):
        return problem
    means = _means(problem, problem.split(_untrained_split(problem)))

    def completed(metric: Metric) -> Metric:
        if metric.untrained is not None:
            return metric
        value = float(metric.value(means))
        return dataclasses.replace(metric, untrained=value if np.isfinite(value) else None)

    return dataclasses.replace(problem, metrics=tuple(map(completed, problem.all_metrics)))


def check_untrained(problem: Problem, what: str) -> None:
    """Checks that the value of an untrained model is known for each metric, after `with_untrained`.

    Raises:
      UserError: if it is not known. The message names the metric.
    """
    for metric in problem.all_metrics:
        if metric.untrained is None:
            raise UserError(
                f"{what}: the metric {metric.name} is not finite for the initial parameters on the "
                f"{_untrained_split(problem)} examples. Expected a finite number, or Metric(untrained=…) with the "
                "value of an untrained model."
            )


def _untrained_split(problem: Problem) -> str:
    return "train" if problem.validation is None else "validation"


def _means(problem: Problem, examples: Examples) -> dict[str, float]:
    """Returns the means over examples of all statistics, for the initial parameters of seed 0."""
    params, variables = jax.jit(problem.initial)(prng.key(0, Purpose.INITIALISATION))
    evaluation = jax.jit(problem.evaluation)
    count, size = count_examples(examples), 1000
    sums = dict.fromkeys(problem.statistics, 0.0)
    for start in range(0, count, size):
        found = evaluation(
            params, variables, jax.tree.map(jnp.asarray, take_examples(examples, slice(start, start + size)))
        )
        for name in sums:
            sums[name] += float(np.asarray(found[name], np.float64).sum())
    return {name: total / count for name, total in sums.items()}


def _arrays(examples: Examples, what: str, split: str) -> dict[str, np.ndarray]:
    """Returns the arrays of a split by their paths.

    Raises:
      UserError: if the split contains other objects, or arrays of different lengths.
    """
    arrays = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(examples)}
    if not arrays:
        raise UserError(f"{what}: {split} is {shortened(examples)}. Expected arrays with a first axis of examples.")
    for name, array in arrays.items():
        if not isinstance(array, (np.ndarray, jax.Array)) or not np.ndim(array):
            raise UserError(
                f"{what}: {split}{name} is {shortened(array)}. Expected an array with a first axis of examples."
            )
        if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
            raise UserError(f"{what}: {split}{name} is an array of {array.dtype}. Expected numbers.")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        counted = [length for length in lengths if all(length in array.shape for array in arrays.values())]
        hint = f" Perhaps the {counted[0]} examples are along another axis of one of them." if len(counted) == 1 else ""
        raise UserError(
            f"{what}: {split} contains arrays of different numbers of examples: {_listed(arrays)}. Expected one length "
            f"of the first axis.{hint}"
        )
    if not min(lengths):
        raise UserError(f"{what}: {split} has no examples: {_listed(arrays)}. Expected at least one, or None.")
    return arrays


def _batch(examples: Examples) -> Examples:
    return jax.tree.map(jnp.asarray, take_examples(examples, slice(BATCH)))


def _initial_shapes(problem: Problem, what: str) -> tuple[Params, Variables]:
    """Returns the shapes of the parameters and of the variables.

    Raises:
      UserError: if `init` does not return arrays, or a parameter does not have a floating-point type.
    """
    what = f"{what}: init"

    def checked(key: Key[Array, ""]) -> tuple[Params, Variables]:
        found = problem.init(key)
        if not problem.stateful:
            _check_parameters(found, what)
            return found, {}
        if not isinstance(found, tuple) or len(found) != 2:
            raise UserError(
                f"{what} returned {_kind(found)}. Expected a pair (params, variables), because stateful is True."
            )
        _check_parameters(found[0], what)
        _check_all_arrays(found[1], what, "the variable")
        return found

    return _trace(checked, what, "", prng.key(0, Purpose.INITIALISATION))


def _check_parameters(params: Params, what: str) -> None:
    if not jax.tree.leaves(params):
        raise UserError(f"{what} returned {_kind(params)} without arrays. Expected floating-point arrays.")
    _check_all_arrays(params, what, "the parameter")
    for path, leaf in jax.tree.leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise UserError(
                f"{what}: the parameter{jax.tree_util.keystr(path)} is an array of {leaf.dtype}. Expected a "
                "floating-point type, since parameters are trained by their gradients. Numbers that are not trained "
                "can be variables of a stateful problem."
            )


def _check_all_arrays(tree: PyTree[object], what: str, one: str) -> None:
    for path, leaf in jax.tree.leaves_with_path(tree):
        if not isinstance(leaf, (np.ndarray, jax.Array)):
            raise UserError(
                f"{what}: {one}{jax.tree_util.keystr(path)} is {shortened(leaf)}. Expected an array. Remove "
                "everything that is not an array (Equinox: eqx.partition; NNX: nnx.split), and add it in the loss."
            )


def _loss_shapes(
    problem: Problem,
    what: str,
    when: str,
    params: Params,
    batch: Examples,
    key: Key[Array, ""] | None,
    variables: Variables,
    count: int,
) -> Mapping[str, Array]:
    """Returns the shapes of the statistics that the loss returns.

    Raises:
      UserError: if the loss is neither a scalar nor an array with one number for each example, or the result has
        another form.
    """

    def called(params: Params, batch: Examples, variables: Variables) -> tuple[np.ndarray | Array, Mapping[str, Array]]:
        found = problem.loss(params, batch, key, *([variables] if problem.stateful else []))
        if problem.stateful:
            if not isinstance(found, tuple) or len(found) != 3:
                raise UserError(
                    f"{what}{when} returned {_kind(found)}. Expected (losses, statistics, variables), because "
                    "stateful is True."
                )
            losses, statistics, changed = found
            own: Any = jax.tree.structure(changed)
            if own != (expected := jax.tree.structure(variables)):
                raise UserError(
                    f"{what}{when} returned variables with the structure {own}. "
                    f"Expected the structure of the variables that were passed: {expected}."
                )
        elif isinstance(found, tuple):
            if len(found) != 2:
                raise UserError(f"{what}{when} returned {_kind(found)}. Expected losses, or (losses, statistics).")
            losses, statistics = found
        else:
            losses, statistics = found, {}
        losses = _check_losses(losses, f"{what}{when}", count)
        statistics = _check_named(statistics, f"{what}{when}: statistics", count, scalars=not losses.shape)
        return losses, statistics

    return _trace(called, what, when, params, batch, variables)[1]


def _check_losses(losses: object, what: str, count: int) -> np.ndarray | Array:
    if not isinstance(losses, (np.ndarray, jax.Array)) or not jnp.issubdtype(losses.dtype, jnp.floating):
        raise UserError(f"{what} returned {_kind(losses)}. Expected an array of floating-point numbers.")
    if losses.shape not in ((), (count,)):
        raise UserError(
            f"{what} returned an array of shape {list(losses.shape)} for a batch of {count} examples. Expected "
            f"[{count}], a number for each example, or [], their mean."
        )
    return losses


def _check_named(
    found: object, what: str, count: int, scalars: bool = False, any_shape: bool = False
) -> Mapping[str, Array]:
    """Returns a dictionary of arrays by name.

    Args:
      found: the result of a function.
      what: the beginning of a message.
      count: the number of examples. An array has one entry for each example.
      scalars: whether means over the examples are also allowed.
      any_shape: whether an entry may be an array.

    Raises:
      UserError: if the result is not such a dictionary, or an array has another shape.
    """
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{what} is {_kind(found)}. Expected a dictionary of arrays by name.")
    for name, array in found.items():
        shape = getattr(array, "shape", None)
        fits = shape is not None and (shape[:1] == (count,) if any_shape else shape == (count,))
        if not fits and not (scalars and shape == ()):
            has = _kind(array) if shape is None else f"an array of shape {list(shape)}"
            form = f"[{count}, …]" if any_shape else f"[{count}]"
            raise UserError(f"{what}[{name!r}] is {has}. Expected an array of shape {form}, for {count} examples.")
    return found


def _check_evaluation(problem: Problem, what: str, found: object, count: int) -> None:
    what = f"{what}: evaluate"
    statistics = _check_named(found, what, count)
    if LOSS not in statistics:
        raise UserError(f"{what} returned {', '.join(sorted(statistics)) or 'nothing'}. Expected {LOSS!r} among them.")
    _check_statistics(problem, what, {name: value for name, value in statistics.items() if name != LOSS})


def _check_statistics(problem: Problem, what: str, found: Mapping[str, Array], complete: bool = True) -> None:
    """Checks that statistics are those that the metrics need.

    Args:
      problem: the problem with the metrics.
      what: the beginning of a message.
      found: the statistics without the loss.
      complete: whether all statistics are required.
    """
    needed = [name for name in problem.statistics if name != LOSS]
    declared = ", ".join(metric.name for metric in problem.metrics) or "none"
    for name in found:
        if name not in needed:
            raise UserError(
                f"{what} returned the statistic {name!r}, which no metric needs (metrics: {declared}). Expected a "
                f"metric for it, such as Metric(name={name!r}), or no such statistic."
            )
    for metric in problem.metrics:
        for name in metric.statistics:
            if complete and name != LOSS and name not in found:
                raise UserError(
                    f"{what} returned no statistic {name!r}, which the metric {metric.name!r} needs (it returned: "
                    f"{', '.join(found) or 'none'}). Expected (losses, statistics) with an array statistics[{name!r}]."
                )


def _check_finite(problem: Problem, what: str) -> None:
    """Checks that loss, gradient and statistics of the initial parameters are finite on the first examples."""
    batch = _batch(problem.train)

    def measured(batch: Examples) -> tuple[Params, Float[Array, ""], Params, Mapping[str, Array]]:
        params, variables = problem.initial(prng.key(0, Purpose.INITIALISATION))
        gradient = jax.value_and_grad(lambda params: problem.training(params, variables, batch, Draw(0, 0))[0])
        return params, *gradient(params), problem.evaluation(params, variables, batch)

    params, loss, grads, statistics = _call(jax.jit(measured), f"{what}: loss", "", batch)
    broken = _first_not_finite(params)
    if broken is not None:
        raise UserError(f"{what}: init: the parameter{broken} is not finite. Expected finite numbers.")
    if not jnp.isfinite(loss) or _first_not_finite(statistics) is not None:
        broken = _first_not_finite(jax.tree.map(np.asarray, problem.train))
        reason = "" if broken is None else f" (train{broken} contains numbers that are not finite)"
        value = float(loss) if not jnp.isfinite(loss) else f"statistics{_first_not_finite(statistics)}"
        raise UserError(
            f"{what}: loss is {value} for the initial parameters and the first {count_examples(batch)} examples"
            f"{reason}. Expected a finite number."
        )
    broken = _first_not_finite(grads)
    if broken is not None:
        raise UserError(
            f"{what}: loss: its gradient for the parameter{broken} is not finite at the initial parameters. Expected a "
            "finite gradient. A square root or a norm at 0 may be the reason."
        )


def _first_not_finite(tree: PyTree[Array]) -> str | None:
    for path, leaf in jax.tree.leaves_with_path(tree):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf, np.float64)).all():
            return jax.tree_util.keystr(path)
    return None


def _trace(function: Callable[..., T], what: str, when: str, *arguments: object) -> T:
    return _call(lambda *given: jax.eval_shape(function, *given), what, when, *arguments)


def _call(function: Callable[..., T], what: str, when: str, *arguments: object) -> T:
    """Returns the result of a function. If the function raises, the message names the user's function."""
    try:
        return function(*arguments)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} fails{when}: {describe_error(error)}") from error


def _listed(arrays: Mapping[str, np.ndarray]) -> str:
    return ", ".join(f"{name or 'an array'} {list(array.shape)}" for name, array in arrays.items())


def _describe(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _kind(value: object) -> str:
    if isinstance(value, (np.ndarray, jax.Array)):
        return f"an array of {value.dtype} of shape {list(value.shape)}"
    if isinstance(value, tuple):
        return f"a tuple of {len(value)}"
    return "None" if value is None else f"{type(value).__name__} {shortened(value)}"
