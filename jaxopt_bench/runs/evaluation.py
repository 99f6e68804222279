"""`evaluation.npz`: what the network of a completed run makes of each example, for those who look at its mistakes.

It is a NumPy archive, neither compressed nor pickled. Of each evaluated split (`validation`, `test`), of n examples of
c classes, it holds what the final metrics are of, and up to 32 mistakes; and up to 32 images of the first step's batch:

    class_names               unicode [c]
    <split>_labels            int32   [n]       in the split's order
    <split>_logits            float32 [n, c]    likewise
    <split>_mistakes          int32   [m]       rows of the wrongly classified with the highest losses, the worst first
    <split>_mistake_images    uint8   [m, height, width, channels]    as they are stored
    batch_labels              int32   [b]
    batch_images              uint8   [b, height, width, channels]    as they are stored
    batch_augmented           uint8   [b, height, width, channels]    as the network saw them, normalisation undone
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8

from jaxopt_bench import data
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.files import open_regular, replacing
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
_SPLITS = ("validation", "test")
SHOWN = 32  # at most so many mistakes of a split, and images of the batch

Images = UInt8[np.ndarray, "images height width channels"]


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """What a network makes of a split.

    Attributes:
      labels: the classes, in the split's order.
      logits: of the same examples, unnormalised log-probabilities.
      mistakes: rows of the wrongly classified examples with the highest losses, in this order; 32 at most.
      mistake_images: their images, as they are stored.
    """

    labels: Int32[np.ndarray, " examples"]
    logits: Float32[np.ndarray, "examples classes"]
    mistakes: Int32[np.ndarray, " mistakes"]
    mistake_images: Images

    @functools.cached_property
    def predictions(self) -> Int64[np.ndarray, " examples"]:
        """The classes with the largest logits, the first of equals; −1 if the largest is not finite."""
        return _predictions(self.logits)

    @functools.cached_property
    def losses(self) -> Float64[np.ndarray, " examples"]:
        """The cross-entropies in nats."""
        return _losses(self.logits, self.labels)


@dataclasses.dataclass(frozen=True, eq=False)
class AugmentedBatch:
    """Images of the first step's batch; 32 at most.

    Attributes:
      labels: their classes.
      images: as they are stored.
      augmented: as the network saw them, the normalisation undone.
    """

    labels: Int32[np.ndarray, " images"]
    images: Images
    augmented: Images


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluation.npz` holds.

    Attributes:
      class_names: the labels' names in order.
      splits: those that the run evaluates, of "validation" and "test", in this order.
      batch: what training images look like.
    """

    class_names: tuple[str, ...]
    splits: Mapping[str, EvaluatedSplit]
    batch: AugmentedBatch


def write_evaluations(
    directories: Mapping[int, pathlib.Path],
    states: TrainState,
    task: Task,
    splits: Splits,
    watched: Callable[[Iterator[Any]], Iterator[Any]] = iter,
) -> None:
    """Writes the evaluations of runs that were trained together, one after the other: logits take memory.

    Args:
      directories: the runs', by their places among the states.
      states: stacked, on the device or the host.
      task: one of theirs.
      splits: their images.
      watched: returns the batches that it is given, and may raise instead of the next.
    """
    evaluated, predictions, first_batch = make_evaluated(task), make_predictions(task), make_first_batch(task)
    states = fetched(states)
    for place, directory in directories.items():
        own = jax.tree.map(lambda leaf, at=place: jnp.asarray(leaf[at : at + 1]), states)
        batch, prepared = fetched(first_batch(splits.train, own.seed[0]))
        own = evaluated(own, splits.train, watched)
        found = {
            name: _evaluated_split(examples, predictions(own, watched(padded_batches(examples)))[1]["logits"][0])
            for name, examples in _read_splits(task, splits).items()
        }
        facts = task.problem.facts
        augmented = data.denormalise(prepared.inputs, facts["mean"], facts["std"])
        shown = (np.asarray(array[:SHOWN]) for array in (batch.labels, batch.inputs, augmented))
        names = tuple(map(str, range(facts["num_classes"])))
        _save(directory / EVALUATION, Evaluation(names, found, AugmentedBatch(*shown)))


def evaluate_finished(
    experiments: Mapping[pathlib.Path, Experiment],
    data_dir: pathlib.Path | None,
    code_path: CodePath | None,
    reporter: Reporter,
) -> None:
    """Writes the evaluations that completed runs lack, from their last checkpoints.

    Args:
      experiments: by their runs' directories; those that have not completed are left alone.
      data_dir: where TFDS keeps its data sets; TFDS's own default where None.
      code_path: how they are computed; as suits the backend where None.
      reporter: told that there are such runs.

    Raises:
      UserError: where the checkpoint of a run's last step is gone, before anything is written, or is damaged.
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
            raise UserError(f"{error} {EVALUATION} is made from it; {_ACCEPTED}") from error
        write_evaluations({run.checkpoints.member: run.path for run in runs}, states, task, splits)


def load_evaluation(path: str | pathlib.Path) -> Evaluation | None:
    """Returns what a run's `evaluation.npz` holds; None where it has none.

    Args:
      path: `runs/<experiment>/<digest>`.

    Raises:
      UserError: where the file is damaged, naming the array that is missing or is not what it should be.
    """
    path = pathlib.Path(path) / EVALUATION
    if not path.exists():
        return None
    arrays = _Arrays(path)
    names = arrays.take("class_names", np.str_, None)
    classes = len(names)
    labels = arrays.indices("batch_labels", classes, None)
    images = arrays.take("batch_images", np.uint8, len(labels), None, None, None)
    augmented = arrays.take("batch_augmented", np.uint8, *images.shape)
    splits = {}
    for split in _SPLITS:
        if any(name.startswith(f"{split}_") for name in arrays.values):
            own = arrays.indices(f"{split}_labels", classes, None)
            logits = arrays.take(f"{split}_logits", np.float32, len(own), classes)
            mistakes = arrays.indices(f"{split}_mistakes", len(own), None)
            shown = arrays.take(f"{split}_mistake_images", np.uint8, len(mistakes), *images.shape[1:])
            splits[split] = EvaluatedSplit(own, logits, mistakes, shown)
    return Evaluation(tuple(map(str, names)), splits, AugmentedBatch(labels, images, augmented))


_ACCEPTED = "accepted: --fresh --evaluation, to train it again; or the same command without --evaluation."


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
            f"{run.path} has no {EVALUATION}, and the checkpoint that it is made from is gone: {folder} holds those of "
            f"the steps {steps}, not {step}; {_ACCEPTED}"
        )


def _read_splits(task: Task, splits: Splits) -> dict[str, Any]:
    wanted = {"validation": "validation" in splits.evaluated, "test": task.reads_test}
    return {split: splits.named(split) for split in _SPLITS if wanted[split]}


def _evaluated_split(examples: Any, logits: Float32[np.ndarray, "examples classes"]) -> EvaluatedSplit:
    labels = np.asarray(examples.labels)
    wrong = np.flatnonzero(_predictions(logits) != labels)
    losses = np.nan_to_num(_losses(logits[wrong], labels[wrong]), nan=np.inf, posinf=np.inf)
    mistakes = wrong[np.argsort(-losses, kind="stable")[:SHOWN]].astype(np.int32)
    return EvaluatedSplit(labels, logits, mistakes, np.asarray(examples.inputs[mistakes]))


def _predictions(logits: Float32[np.ndarray, "examples classes"]) -> Int64[np.ndarray, " examples"]:
    return np.where(np.isfinite(logits.max(1)), logits.argmax(1), -1)


def _losses(
    logits: Float32[np.ndarray, "examples classes"], labels: Int32[np.ndarray, " examples"]
) -> Float64[np.ndarray, " examples"]:
    with np.errstate(invalid="ignore"):  # of logits that are not finite
        below = logits.astype(np.float64) - logits.max(1, keepdims=True)
        return np.log(np.exp(below).sum(1)) - below[np.arange(len(labels)), labels]


def _save(path: pathlib.Path, evaluation: Evaluation) -> None:
    arrays: dict[str, Any] = {"class_names": np.array(evaluation.class_names, np.str_)}
    parts: dict[str, Any] = {**evaluation.splits, "batch": evaluation.batch}
    for part, values in parts.items():
        arrays |= {f"{part}_{field.name}": getattr(values, field.name) for field in dataclasses.fields(values)}
    with replacing(path, follow_links=False) as (file, _):
        # float16 would change predictions (of a CIFAR-100 network after an epoch 26 of 15,000), compression saves 8%
        np.savez(file, **arrays)


class _Arrays:
    """The arrays of an archive that somebody may have changed."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        try:
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                    raise ValueError("its entries claim to be larger than it is")  # and might fill the memory
                self.values = {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}
        except Exception as error:  # zipfile and NumPy raise whatever a damaged byte leads them to
            raise UserError(f"{path} is damaged: {error or type(error).__name__}.") from error

    def take(self, name: str, kind: type[np.generic], *shape: int | None) -> np.ndarray:
        """Returns an array, whose shape may be anything where None stands."""
        found = self.values.get(name)
        if found is None:
            raise UserError(f"{self.path} is damaged: it has no array {name!r}.")
        fits = len(found.shape) == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
        if not fits or not np.issubdtype(found.dtype, kind):
            wanted = ", ".join("any" if length is None else str(length) for length in shape)
            raise UserError(
                f"{self.path} is damaged: {name} is {found.dtype}{list(found.shape)}; "
                f"accepted: {np.dtype(kind).name}[{wanted}]."
            )
        return found

    def indices(self, name: str, below: int, *shape: int | None) -> np.ndarray:
        """Returns an array of int32 from 0 to below some number."""
        found = self.take(name, np.int32, *shape)
        if found.size and not 0 <= found.min() <= found.max() < below:
            raise UserError(
                f"{self.path} is damaged: {name} is from {found.min()} to {found.max()}; accepted: >= 0 and < {below}."
            )
        return found


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
