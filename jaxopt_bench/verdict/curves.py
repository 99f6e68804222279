"""The results of confirmations at the ends of their epochs, as arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from jaxopt_bench.measures import Measure, measures, split_of
from jaxopt_bench.problems import LOSS
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.samples import select_ended_runs, worst_result


@dataclasses.dataclass(frozen=True)
class Curves:
    """The results of each contender's confirmations at the ends of epochs.

    Attributes:
      measure: the measure of the results: the headline metric on the validation split or, if confirmations have no
        validation examples, the clean training loss.
      steps: the steps at the ends of the epochs.
      of: the curves by contender: a row for each seed or, with several searches, the mean over the seeds of each
        search. From the step at which a run diverged, its value is `worst_result`.
    """

    measure: Measure
    steps: tuple[int, ...]
    of: Mapping[str, Float[np.ndarray, "results epochs"]]


def curves_of(results: Results, document: Document, workload: str) -> Curves | None:
    """Returns the curves of a workload's confirmations.

    Args:
      results: the results of the study.
      document: the document of the study.
      workload: the name of the workload.

    Returns:
      The curves of the contenders that have curves; None if no completed confirmation recorded any, or their epochs
      differ.
    """
    metrics = workload_metrics(results.runs, workload)
    known = measures(metrics)
    rows = select_ended_runs(results, workload, None, "confirmation")
    completed = rows.filter(pl.col("status") == "completed")["path"].to_list()
    for name in (f"validation_{metrics[0].name}", f"train_clean_{LOSS}"):
        lines = _lines(results, rows["path"].to_list(), name)
        grids = {tuple(lines.get(path, {})) for path in completed}
        if len(grids) == 1 and (steps := grids.pop()):
            worst = worst_result(results, document.study, workload, known[name])
            return Curves(known[name], steps, _curves(rows, lines, steps, worst, document.study.repetitions > 1))
    return None


def _lines(results: Results, paths: Sequence[str], measure: str) -> dict[str, dict[int, float | None]]:
    """Returns the values of a measure at each step, by run."""
    found = split_of(measure)
    if found is None or found[1] not in results.curves.columns or "split" not in results.curves.columns:
        return {}
    split, name = found
    lines = results.curves.filter(pl.col("split") == split, pl.col("path").is_in(paths)).select("path", "step", name)
    values: dict[str, dict[int, float | None]] = {}
    for path, step, value in lines.sort("path", "step", maintain_order=True).iter_rows():
        values.setdefault(path, {})[step] = value
    return {path: own for path, own in values.items() if any(value is not None for value in own.values())}


def _curves(
    rows: pl.DataFrame,
    lines: Mapping[str, Mapping[int, float | None]],
    steps: tuple[int, ...],
    worst: float | None,
    several: bool,
) -> dict[str, Float[np.ndarray, "results epochs"]]:
    """Returns the curves by contender; see `Curves.of`."""
    found: dict[str, dict[int, list[list[float]]]] = {}
    for row in rows.sort("repetition", "seed").iter_rows(named=True):
        own = lines.get(row["path"], {})
        values = [own.get(step) for step in steps]
        values = [worst if value is None or not math.isfinite(value) else value for value in values]
        if None not in values:
            known = [value for value in values if value is not None]
            found.setdefault(row["contender"], {}).setdefault(row["repetition"], []).append(known)
    return {
        name: np.array(
            [np.mean(seeds, axis=0) for seeds in by.values()] if several else [c for s in by.values() for c in s]
        )
        for name, by in found.items()
    }
