"""`evaluation.npz`: the outputs and losses of a completed run's model for each example, to inspect its mistakes.

It is a NumPy archive, neither compressed nor pickled. For each evaluated split (`validation` and `test`, or
`train_clean` if there is neither) of n examples, in the split's order:

    <split>/statistics/<name>    float32 [n]       the statistics that the metrics are computed from, such as the loss
    <split>/outputs/<name>       any type [n, …]   the results of the problem's function `outputs`, such as the logits
    <split>/views/…              the views of the split for a page; see `problems.views.views_to_arrays`
    training/views/…             the views of the batch of the first training step for a page
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import replacing
from jaxopt_bench.problems import LOSS
from jaxopt_bench.problems.views import View, arrays_to_views, views_to_arrays
from jaxopt_bench.runs.arrays import read_arrays

EVALUATION = "evaluation.npz"
_EVALUATED = ("train_clean", "validation", "test")
_TRAINING = "training"


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluatedSplit:
    """The results of a model for each example of a split.

    Attributes:
      statistics: the statistics of each example, in the split's order, by name; "loss" is among them.
      outputs: the outputs that the problem records for each example, by name, such as the logits.
      views: the views that a page shows.
    """

    statistics: Mapping[str, Float32[np.ndarray, " examples"]]
    outputs: Mapping[str, np.ndarray]
    views: tuple[View, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The content of `evaluation.npz`.

    Attributes:
      splits: those of "validation" and "test" that the run evaluates, in this order; "train_clean" if it evaluates
        neither.
      training_views: the views of the batch of the first training step, for a page.
    """

    splits: Mapping[str, EvaluatedSplit]
    training_views: tuple[View, ...] = ()


def load_evaluation(path: str | pathlib.Path) -> Evaluation | None:
    """Returns the content of a run's `evaluation.npz`; None if there is none.

    Args:
      path: `runs/<experiment>/<digest>`.

    Raises:
      UserError: if the file is damaged; the message names the missing or invalid array.
    """
    path = pathlib.Path(path) / EVALUATION
    if not path.exists():
        return None
    arrays = read_arrays(path)
    try:
        parts: dict[str, dict[str, np.ndarray]] = {part: {} for part in (*_EVALUATED, _TRAINING)}
        for name, array in arrays.items():
            part, _, rest = name.partition("/")
            if part not in parts or not rest:
                raise UserError(
                    f"the array {shortened(name)} is unknown. Expected a name that starts with "
                    f"{', '.join(f'{part}/' for part in parts)}."
                )
            parts[part][rest] = array
        splits = {split: _loaded_split(split, parts[split]) for split in _EVALUATED if parts[split]}
        views, others = _group(parts[_TRAINING], "views")
        _check_nothing_left(_TRAINING, others)
        return Evaluation(splits, _loaded_views(_TRAINING, views))
    except UserError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def save_evaluation(path: pathlib.Path, evaluation: Evaluation) -> None:
    """Writes `evaluation.npz` atomically.

    Args:
      path: the path of the file, not of the run's directory.
      evaluation: its content.
    """
    arrays: dict[str, Any] = {}
    for split, found in evaluation.splits.items():
        parts = {"statistics": found.statistics, "outputs": found.outputs, "views": views_to_arrays(found.views)}
        arrays |= {f"{split}/{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
    arrays |= {f"{_TRAINING}/views/{name}": a for name, a in views_to_arrays(evaluation.training_views).items()}
    with replacing(path, follow_links=False) as (file, _):
        # float16 would change predictions (26 of 15,000 for a CIFAR-100 network after one epoch); compression saves
        # only 8%
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
    """Returns the arrays of a group, with the group's name removed from their names, and the other arrays."""
    prefix = f"{group}/"
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return own, {name: array for name, array in arrays.items() if not name.startswith(prefix)}


def _check_nothing_left(part: str, arrays: Mapping[str, np.ndarray]) -> None:
    if arrays:
        raise UserError(f"the array {shortened(f'{part}/{next(iter(arrays))}')} is unknown.")


def is_array_name(name: Any) -> bool:
    """Returns whether a value can be the name of an array in the file."""
    return isinstance(name, str) and name != "" and "/" not in name and not name.endswith(".npy")


def _fits(array: np.ndarray, examples: int) -> bool:
    return array.dtype.kind in "biufc" and array.shape[:1] == (examples,)
