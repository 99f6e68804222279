"""Computes the outputs and losses of a completed run's model for each example, and writes them to `evaluation.npz`."""

from __future__ import annotations

import pathlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.problems import Examples, count_examples
from jaxopt_bench.problems.views import View, check_views
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.evaluation import EVALUATION, EvaluatedSplit, Evaluation, is_array_name, save_evaluation
from jaxopt_bench.runs.index import IndexedRun
from jaxopt_bench.runs.load import CheckpointLocation
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.runs.splits import Splits, load_task
from jaxopt_bench.training import Program, Task, TrainState, fetch_to_host, padded_batches


def write_evaluations(
    directories: Mapping[int, pathlib.Path],
    states: TrainState,
    program: Program,
    splits: Splits,
    watched: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> None:
    """Writes the evaluations of runs that were trained together, one after the other, since outputs need much memory.

    Args:
      directories: the directories of the runs, by their indices in the states.
      states: the stacked states, on the device or the host.
      program: the program of the runs.
      splits: the examples.
      watched: wraps an iterator over batches; the result yields the same batches, and may raise an exception to stop.

    Raises:
      UserError: if a function of the problem that makes outputs or views fails, or returns an invalid value.
    """
    program, states = program.for_one(), fetch_to_host(states)
    task = program.task
    for index, directory in directories.items():
        own = jax.tree.map(lambda leaf, at=index: jnp.asarray(leaf[at : at + 1]), states)
        batch, prepared = fetch_to_host(program.first_batch(splits.train, own.seed[0]))
        training = _views("training_views", task.problem.training_views, batch, prepared)
        _check_outputs(task, own, batch)
        own = program.evaluator.states_to_evaluate(own, splits.train, watched)
        found = {}
        for name in _evaluated_splits(task, splits):
            examples = splits.named(name)
            statistics, outputs = program.evaluator.predict(own, watched(padded_batches(examples)))
            found[name] = _evaluated_split(task, examples, _of_one(statistics), _of_one(outputs))
        save_evaluation(directory / EVALUATION, Evaluation(found, training))


def evaluate_finished(entries: Sequence[IndexedRun], options: Options) -> None:
    """Writes the evaluations that completed runs lack, from their last checkpoints.

    Args:
      entries: the runs; those that have not completed are ignored.
      options: the data folder, the code path, and the reporter, which receives a message if there are such runs.

    Raises:
      UserError: if the checkpoint of a run's last step is damaged, or missing (before anything is written).
    """
    together: dict[pathlib.Path, list[tuple[CheckpointLocation, IndexedRun]]] = defaultdict(list)
    for entry in entries:
        completed = entry.summary is not None and entry.summary["status"] == "completed"
        if completed and not (entry.directory / EVALUATION).exists():
            location = _location_of_last(entry)
            together[location.folder].append((location, entry))
    if together:
        keep_compiled_programs()
        options.reporter.say(f"{EVALUATION} is written from the last checkpoint")
    for folder, several in together.items():
        location, first = several[0]
        task, splits = load_task(first.experiment, options)
        program = Program(task, location.members)
        try:
            states = checkpoints.restore(folder, task.steps, program.abstract_checkpoint())["state"]
        except UserError as error:
            raise UserError(f"{error} {EVALUATION} is made from it. {_EXPECTED}") from error
        directories = {location.member: entry.directory for location, entry in several}
        write_evaluations(directories, states, program, splits)


_EXPECTED = "Expected --fresh --evaluation, to train the run again, or the same command without --evaluation."


def _location_of_last(entry: IndexedRun) -> CheckpointLocation:
    """Returns the location of the checkpoint of a completed run's last step."""
    run = entry.run()
    step, location = (run.summary or {}).get("steps"), run.checkpoints
    if step not in (steps := run_on_first_process(lambda: checkpoints.checkpoint_steps(location.folder))):
        raise UserError(
            f"{run.path} has no {EVALUATION}, and the checkpoint that it is made from is missing: {location.folder} "
            f"holds those of the steps {steps}, not {step}. {_EXPECTED}"
        )
    return location


def _evaluated_splits(task: Task, splits: Splits) -> Sequence[str]:
    wanted = {"validation": "validation" in splits.evaluated, "test": task.reads_test}
    return [split for split, is_wanted in wanted.items() if is_wanted] or ["train_clean"]


def _check_outputs(task: Task, states: TrainState, batch: Examples) -> None:
    """Checks the names and shapes of the problem's outputs, before they are computed for whole splits."""

    def of_first(states: TrainState, batch: Examples) -> Any:
        params, variables = jax.tree.map(lambda leaf: leaf[0], (states.params, states.variables))
        return task.problem.predictions(params, variables, batch)

    try:
        found = jax.eval_shape(of_first, states, batch)
        shapes = {name: (array.dtype, array.shape) for name, array in found.items()}
    except Exception as error:  # a user's function may raise any exception
        raise _failed("outputs", f"{type(error).__name__}: {error}") from error
    for name, (dtype, shape) in shapes.items():
        if not is_array_name(name) or shape[:1] != (count_examples(batch),):
            expected = "a name without slashes, and an array with a leading axis of examples"
            raise _failed("outputs", f"it returns {shortened(name)}: {dtype}{list(shape)}. Expected {expected}.")


def _failed(function: str, reason: str) -> UserError:
    return UserError(
        f"{EVALUATION} cannot be written: the problem's function `{function}` failed. {reason.rstrip('.')}. The "
        "training is complete. The same command without --evaluation keeps it."
    )


def _of_one(stacked: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of the only member, with types that NumPy's files support."""
    first = {name: array[0] for name, array in stacked.items()}
    return {n: a.astype(np.float32) if a.dtype.name == "bfloat16" else a for n, a in first.items()}


def _evaluated_split(
    task: Task, examples: Examples, statistics: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> EvaluatedSplit:
    host = jax.tree.map(np.asarray, examples)
    floats = {name: array.astype(np.float32) for name, array in statistics.items()}
    return EvaluatedSplit(floats, outputs, _views("views", task.problem.views, host, outputs))


def _views(name: str, function: Callable[..., Any] | None, *arguments: Any) -> tuple[View, ...]:
    """Returns the views that a function of a problem makes; () if the problem has no such function."""
    if function is None:
        return ()
    try:
        return check_views(function(*arguments))
    except Exception as error:  # a user's function may raise any exception, even after a whole training
        raise _failed(
            name, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ) from error
