"""Builds complete studies of any size with synthetic results. Their tables have all columns of real ones."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.problems.classification import classification_metrics
from jaxopt_bench.results import Results
from jaxopt_bench.results.columns import column, curve_types, is_result_column, run_types
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.study import Claim, Comparison, Document, Study
from tests.verdict import builders

STEPS = 10  # per epoch

ACCURACY = classification_metrics(10)
ENERGY = (
    Metric(name="energy_error", words="energy error", unit="meV", untrained=80.0, least=0.0),
    Metric(name="loss", untrained=5.0),
)
"""The metrics of a problem without images, labels and accuracy; lower is better."""
R2 = (
    Metric(name="r2", words="R²", higher_is_better=True, untrained=0.0, greatest=1.0, resampling="ratio"),
    Metric(name="loss", unit="m²", untrained=1.5, least=0.0),
)
"""The metrics of another such problem. Higher R² is better, and R² may be negative."""


def make_study(names: Sequence[str], **fields: Any) -> Study:
    """Returns a study that tracks the test split. If it has several contenders, it also has a claim."""
    said = Comparison(measure="test_accuracy", lower=names[-1], higher=names[0])
    claim = Claim(text=f"{names[0]} is better than {names[-1]}", source="someone", comparisons=(said,))
    return builders.study(names, **{"track_test": True, "claims": (claim,) if len(names) > 1 else ()} | fields)


def make_results(
    study: Study,
    epochs: int = 3,
    diverged: Sequence[str] = (),
    confirmed: bool = True,
    seed: int = 0,
    metrics: Sequence[Metric] = ACCURACY,
    splits: Sequence[str] = SPLITS,
) -> tuple[Results, Document]:
    """Returns the runs of a study and its document. The losses fall exponentially.

    Args:
      study: the study. All trials and seeds are built for each of its workloads and contenders.
      epochs: the number of epochs of every run.
      diverged: the contenders whose runs all diverge.
      confirmed: whether the study has selections, finalists and confirmations; otherwise it has only trials.
      seed: the seed of the noise.
      metrics: the metrics that were measured, the headline metric first.
      splits: the splits on which they were measured.
    """
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    selections = []
    for workload in study.workloads:
        for place, contender in enumerate(study.contenders):
            lost = contender.name in diverged
            runs = []
            for search in range(study.repetitions):
                unit = {"workload": workload.name, "repetition": search}
                runs += [("trial", search, t, s) for t in range(study.trials or 0) for s in range(study.trial_seeds)]
                if confirmed and not lost:
                    chosen = range(study.finalists_among(study.trials or 0))
                    runs += [("finalist", search, t, 10_000 + s) for t in chosen for s in range(study.finalist_seeds)]
                    runs += [("confirmation", search, 0, 5000 + s) for s in range(study.seeds)]
                    values, again = {"optimizer.learning_rate": 0.01}, {trial: 0.1 + trial for trial in chosen}
                    selections.append(builders.selection(contender.name, values=values, finalists=again, **unit))
                elif confirmed:
                    selections.append(builders.selection(contender.name, None, **unit))
            for phase, search, trial, run_seed in runs:
                row = _run(workload.name, contender.name, phase, search, trial, run_seed, lost)
                losses = 2.3 * np.exp(-(0.5 + 0.1 * place) * np.arange(1, epochs + 1)) + random.uniform(0.01, 0.05)
                row |= _reached(losses[-1], epochs, metrics, splits) if not lost else {"diverged_step": 7}
                rows.append(row | {"study": study.name, "metrics": json.dumps([m.to_json() for m in metrics])})
                if not lost:
                    measured = [s for s in splits if s != "test" or phase == "confirmation"]
                    lines += _curves(row["path"], losses, metrics, measured)
    return _tables(rows, lines), Document(study, selections=tuple(selections))


def _run(workload: str, contender: str, phase: str, search: int, trial: int, seed: int, lost: bool) -> dict[str, Any]:
    optimizer = {"optimizer.name": contender, "optimizer.learning_rate": 10.0 ** -(trial % 4)}
    place = {"workload": workload, "repetition": search, "trial": trial, "seed": seed}
    row = builders.row(phase, contender, **place, **optimizer)
    # Slashes in names are replaced, so that the path is valid for any name.
    row |= {"path": "/".join(str(part).replace("/", "_") for part in (phase, contender, *place.values()))}
    status = "diverged" if lost else "completed"
    digest = hashlib.sha256(row["path"].encode()).hexdigest()[:12]
    return row | {"status": status, "digest": digest, "steps": 20, "examples_per_second": 100.0, "model.name": "cnn",
                  "problem.name": "classification",
                  "version.jax": "0.10.2", "backend": "cpu", "device": "cpu", "devices": 1, "threads": 2,
                  "code_path": '{"layers": "pure"}'}  # fmt: skip


def value_of(metric: Metric, loss: float) -> float:
    """Returns the value of a metric at a given loss."""
    if metric.name == LOSS:
        return loss
    if metric.percent:
        return math.exp(-loss)
    return 1 - loss if metric.higher_is_better else 30 * loss


def _reached(loss: float, epochs: int, metrics: Sequence[Metric], splits: Sequence[str]) -> dict[str, Any]:
    values = {f"{split}_{metric.name}": value_of(metric, loss) for split in splits for metric in metrics}
    step = {"step": epochs * STEPS, "epoch": float(epochs)}
    return {f"{at}.{name}": value for at in ("final", "best") for name, value in {**step, **values}.items()}


def _curves(path: str, losses: np.ndarray, metrics: Sequence[Metric], splits: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"path": path, "step": STEPS * epoch, "epoch": float(epoch), "split": split,
         **{metric.name: value_of(metric, loss) for metric in metrics}, "seconds": 0.5 if split == "train" else None}
        for epoch, loss in enumerate(losses.tolist(), start=1)
        for split in splits
    ]  # fmt: skip


def _tables(rows: Sequence[dict[str, Any]], lines: Sequence[dict[str, Any]]) -> Results:
    names = dict.fromkeys([*run_types(), *(name for row in rows for name in row)])
    types = {
        **{name: pl.String for name in names if name.startswith("version.")},
        **{name: pl.Float64 for name in names if is_result_column(name)},
        **run_types(),
    }
    runs = pl.DataFrame([column(name, [row.get(name) for row in rows], types.get(name)) for name in names])
    known = curve_types(name for line in lines[:1] for name in line if name != "path")
    curves = pl.DataFrame([column(n, [line.get(n) for line in lines], kind) for n, kind in known.items()])
    return Results(runs, curves)


def with_document(results: Results, document: Document) -> Results:
    """Returns results with the document of their study, as if they were loaded from the study's folder."""
    return dataclasses.replace(results, documents=(document,))
