"""`evaluation.npz`: what the model of a completed run makes of each example, for those who look at its mistakes.

It is a NumPy archive, neither compressed nor pickled. For each evaluated split (`validation` and `test`, or
`train_clean` if there is neither) of n examples, in the split's order:

    <split>/statistics/<name>    float32 [n]       what the metrics are computed from, such as the loss
    <split>/outputs/<name>       any type [n, …]   what the problem's function `outputs` returned, such as the logits
    <split>/views/…              what a page shows of the split; see `problems.views.views_to_arrays`
    training/views/…             what a page shows of the batch of the first training step
"""

from __future__ import annotations

import dataclasses
import pathlib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import open_regular, replacing
from jaxopt_bench.problems import LOSS, Examples, count_examples
from jaxopt_bench.problems.views import View, arrays_to_views, check_views, views_to_arrays
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.load import Run, checkpointed, load_run
from jaxopt_bench.runs.processes import found_by_first
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.runs.splits import Splits, load_task
from jaxopt_bench.training import (
    CodePath,
    Task,
    TrainState,
    fetched,
    make_evaluated,
    make_first_batch,
    make_predictions,
    padded_batches,
)

EVALUATION = "evaluation.npz"
_SPLITS = ("train_clean", "validation", "test")
_TRAINING = "training"


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """What a model makes of a split.

    Attributes:
      statistics: of each example, in the split's order, by name; "loss" is among them.
      outputs: what the problem records of each example, by name, such as the logits.
      views: what a page shows.
    """

    statistics: Mapping[str, Float32[np.ndarray, " examples"]]
    outputs: Mapping[str, np.ndarray]
    views: tuple[View, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluation.npz` holds.

    Attributes:
      splits: "validation" and "test", those of them that the run evaluates, in this order; "train_clean" if it
        evaluates neither.
      training_views: what a page shows of the batch of the first training step.
    """

    splits: Mapping[str, EvaluatedSplit]
    training_views: tuple[View, ...] = ()


def write_evaluations(
    directories: Mapping[int, pathlib.Path],
    states: TrainState,
    task: Task,
    splits: Splits,
    watched: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> None:
    """Writes the evaluations of runs that were trained together, one after the other: outputs take memory.

    Args:
      directories: the runs', by their places among the states.
      states: stacked, on the device or the host.
      task: one of theirs.
      splits: their examples.
      watched: returns the batches that it is given, and may raise instead of the next.

    Raises:
      UserError: if a function of the problem that makes outputs or views fails, or returns something else.
    """
    evaluated, predictions, first_batch = make_evaluated(task), make_predictions(task), make_first_batch(task)
    states = fetched(states)
    for place, directory in directories.items():
        own = jax.tree.map(lambda leaf, at=place: jnp.asarray(leaf[at : at + 1]), states)
        batch, prepared = fetched(first_batch(splits.train, own.seed[0]))
        training = _views("training_views", task.problem.training_views, batch, prepared)
        _check_outputs(task, own, batch)
        own = evaluated(own, splits.train, watched)
        found = {}
        for name in _evaluated_splits(task, splits):
            examples = splits.named(name)
            statistics, outputs = predictions(own, watched(padded_batches(examples)))
            found[name] = _evaluated_split(task, examples, _of_one(statistics), _of_one(outputs))
        _save(directory / EVALUATION, Evaluation(found, training))


def evaluate_finished(
    experiments: Mapping[pathlib.Path, Experiment],
    data_dir: pathlib.Path | None,
    code_path: CodePath | None,
    reporter: Reporter,
) -> None:
    """Writes the evaluations that completed runs lack, from their last checkpoints.

    Args:
      experiments: by their runs' directories; those that have not completed are left alone.
      data_dir: where TFDS keeps its data sets; TFDS's own default if it is None.
      code_path: how they are computed; as suits the backend if it is None.
      reporter: told that there are such runs.

    Raises:
      UserError: if the checkpoint of a run's last step is missing, before anything is written, or damaged.
    """
    lacking = [run for directory in experiments if (run := _lacking(directory)) is not None]
    together: dict[pathlib.Path, list[Run]] = defaultdict(list)
    for run in lacking:
        _check_checkpoint(run)
        together[run.checkpoints.folder].append(run)
    if lacking:
        keep_compiled_programs()
        reporter.say(f"{EVALUATION} is written from the last checkpoint")
    for folder, runs in together.items():
        task, splits = load_task(experiments[runs[0].path], data_dir, code_path)
        like = checkpointed(task, runs[0].checkpoints.members)
        try:
            states = checkpoints.restore(folder, task.steps, like)["state"]
        except UserError as error:
            raise UserError(f"{error} {EVALUATION} is made from it. {_EXPECTED}") from error
        write_evaluations({run.checkpoints.member: run.path for run in runs}, states, task, splits)


def load_evaluation(path: str | pathlib.Path) -> Evaluation | None:
    """Returns what a run's `evaluation.npz` holds; None if it has none.

    Args:
      path: `runs/<experiment>/<digest>`.

    Raises:
      UserError: if the file is damaged, naming the array that is missing or is not what it should be.
    """
    path = pathlib.Path(path) / EVALUATION
    if not path.exists():
        return None
    arrays = _read_arrays(path)
    try:
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in (*_SPLITS, _TRAINING)}
        for name, array in arrays.items():
            part, _, rest = name.partition("/")
            if part not in parts or not rest:
                raise UserError(f"the array {shortened(name)} is unknown. Expected one of {', '.join(parts)}.")
            parts[part][rest] = array
        splits = {split: _loaded_split(split, parts[split]) for split in _SPLITS if parts[split]}
        views, others = _group(parts[_TRAINING], "views")
        _check_nothing_left(_TRAINING, others)
        return Evaluation(splits, _loaded_views(_TRAINING, views))
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from error


_EXPECTED = "Expected --fresh --evaluation, to train the run again, or the same command without --evaluation."


def _lacking(directory: pathlib.Path) -> Run | None:
    """Returns a run that has completed without an evaluation; None for another."""
    if not (directory / "summary.json").exists() or (directory / EVALUATION).exists():
        return None
    run = load_run(directory)
    return run if run.summary is not None and run.summary.get("status") == "completed" else None


def _check_checkpoint(run: Run) -> None:
    step, folder = (run.summary or {}).get("steps"), run.checkpoints.folder
    if step not in (steps := found_by_first(lambda: checkpoints.checkpoint_steps(folder))):
        raise UserError(
            f"{run.path} has no {EVALUATION}, and the checkpoint that it is made from is missing: {folder} holds those "
            f"of the steps {steps}, not {step}. {_EXPECTED}"
        )


def _evaluated_splits(task: Task, splits: Splits) -> Sequence[str]:
    wanted = {"validation": "validation" in splits.evaluated, "test": task.reads_test}
    return [split for split, is_wanted in wanted.items() if is_wanted] or ["train_clean"]


def _check_outputs(task: Task, states: TrainState, batch: Examples) -> None:
    """Checks what the problem's outputs are, before they are computed for whole splits."""

    def of_first(states: TrainState, batch: Examples) -> Any:
        params, variables = jax.tree.map(lambda leaf: leaf[0], (states.params, states.variables))
        return task.problem.predictions(params, variables, batch)

    try:
        found = jax.eval_shape(of_first, states, batch)
        shapes = {name: (array.dtype, array.shape) for name, array in found.items()}
    except Exception as error:  # whatever a user's function raises
        raise _failed("outputs", f"{type(error).__name__}: {error}") from error
    for name, (dtype, shape) in shapes.items():
        if not _is_name(name) or shape[:1] != (count_examples(batch),):
            expected = "a name without slashes, and an array with a leading axis of examples"
            raise _failed("outputs", f"it returns {shortened(name)}: {dtype}{list(shape)}. Expected {expected}.")


def _failed(function: str, reason: str) -> UserError:
    return UserError(
        f"{EVALUATION} cannot be written: the problem's function `{function}` failed. {reason.rstrip('.')}. The "
        "training is complete. The same command without --evaluation keeps it."
    )


def _of_one(stacked: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays of the only member, of types that NumPy's files can hold."""
    first = {name: array[0] for name, array in stacked.items()}
    return {n: a.astype(np.float32) if a.dtype.name == "bfloat16" else a for n, a in first.items()}


def _evaluated_split(
    task: Task, examples: Examples, statistics: dict[str, np.ndarray], outputs: dict[str, np.ndarray]
) -> EvaluatedSplit:
    host = jax.tree.map(np.asarray, examples)
    floats = {name: array.astype(np.float32) for name, array in statistics.items()}
    return EvaluatedSplit(floats, outputs, _views("views", task.problem.views, host, outputs))


def _views(name: str, function: Callable[..., Any] | None, *arguments: Any) -> tuple[View, ...]:
    """Returns what a function of a problem returns for views, () if there is no such function."""
    if function is None:
        return ()
    try:
        return check_views(function(*arguments))
    except Exception as error:  # whatever a user's function raises, after a whole training
        raise _failed(
            name, str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        ) from error


def _save(path: pathlib.Path, evaluation: Evaluation) -> None:
    arrays: dict[str, Any] = {}
    for split, found in evaluation.splits.items():
        parts = {"statistics": found.statistics, "outputs": found.outputs, "views": views_to_arrays(found.views)}
        arrays |= {f"{split}/{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
    arrays |= {f"{_TRAINING}/views/{name}": a for name, a in views_to_arrays(evaluation.training_views).items()}
    with replacing(path, follow_links=False) as (file, _):
        # float16 would change predictions (of a CIFAR-100 network after an epoch 26 of 15,000), compression saves 8%
        np.savez(file, **arrays)


def _loaded_split(split: str, arrays: Mapping[str, np.ndarray]) -> EvaluatedSplit:
    statistics, others = _group(arrays, "statistics")
    outputs, others = _group(others, "outputs")
    views, others = _group(others, "views")
    _check_nothing_left(split, others)
    if LOSS not in statistics:
        raise UserError(f"the array '{split}/statistics/{LOSS}' is missing.")
    examples = statistics[LOSS].shape[:1]
    for name, array in statistics.items():
        if array.dtype != np.float32 or array.shape != examples or not examples:
            expected = f"float32{list(examples)}" if examples else "float32 [examples]"
            raise UserError(f"{split}/statistics/{name} is {array.dtype}{list(array.shape)}. Expected {expected}.")
    for name, array in outputs.items():
        if not _fits(array, *examples):
            raise UserError(
                f"{split}/outputs/{name} is {array.dtype}{list(array.shape)}. Expected {examples[0]} examples."
            )
    return EvaluatedSplit(statistics, outputs, _loaded_views(split, views))


def _loaded_views(part: str, arrays: Mapping[str, np.ndarray]) -> tuple[View, ...]:
    try:
        return arrays_to_views(arrays)
    except UserError as error:
        raise UserError(f"{part}/views: {error}") from error


def _group(arrays: Mapping[str, np.ndarray], group: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the arrays of a group, without its name, and the others."""
    prefix = f"{group}/"
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return own, {name: array for name, array in arrays.items() if not name.startswith(prefix)}


def _check_nothing_left(part: str, arrays: Mapping[str, np.ndarray]) -> None:
    if arrays:
        raise UserError(f"the array {shortened(f'{part}/{next(iter(arrays))}')} is unknown.")


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and name != "" and "/" not in name and not name.endswith(".npy")


def _fits(array: np.ndarray, examples: int) -> bool:
    return array.dtype.kind in "biufc" and array.shape[:1] == (examples,)


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an archive that somebody may have changed."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("its entries claim to be larger than it is")  # and might fill the memory
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("it has two arrays of one name")
            return {name.removesuffix(".npy"): _array(archive, name) for name in names}
    except Exception as error:  # zipfile and NumPy raise whatever a damaged byte leads them to
        raise UserError(f"{path} is damaged: {error or type(error).__name__}.") from error


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
