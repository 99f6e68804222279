"""Builds synthetic results of a suite: workloads of several kinds, with curves and known true results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.problems import Classification, Metric, Rosenbrock
from jaxopt_bench.problems.functions import GAP
from jaxopt_bench.results import Results
from jaxopt_bench.study import Contender, Document, Study
from tests.results.directories import ACCURACY, LOSS
from tests.verdict.builders import RATES, document, recorded, results, row, selection, study

EPOCHS = 4
SEED = 0
"""The seed of the noise."""
START = 24.2
"""The gap before training."""
GAPS = (dataclasses.replace(GAP, untrained=START), Metric(name="loss", least=0.0, untrained=START, resampling="none"))
KINDS: Mapping[str, tuple[Metric, ...]] = {"digits": (ACCURACY, LOSS), "gap": GAPS, "loss": (LOSS,)}
"""The metrics of each kind of workload, the headline metric first."""


def kind_of(workload: str) -> str:
    """Returns the kind of a workload: its name up to the first underscore."""
    return workload.partition("_")[0]


def suite_study(names: Sequence[str], workloads: Sequence[str], **fields: Any) -> Study:
    """Returns a study of some optimizers on several workloads, with selection by the clean training loss."""
    problems = {
        "digits": Classification(dataset="digits", model=CNN()),
        "gap": Rosenbrock(),
        "loss": Classification(dataset="digits", model=CNN()),
    }
    made = tuple(Workload(name=w, problem=problems[kind_of(w)], epochs=EPOCHS) for w in workloads)
    contenders = tuple(Contender(name=n, optimizer=OPTIMIZERS.get(n, OPTIMIZERS["adam"]), space=RATES) for n in names)
    return study((), **{"contenders": contenders, "workloads": made, "select": "train_clean_loss", **fields})


def loss_of(workload: str, quality: float, share: float) -> float:
    """Returns the loss after a share of the steps. It falls exponentially, and faster with a higher quality."""
    start = START if kind_of(workload) == "gap" else 2.302585
    return start * float(np.exp(-4 * quality * share))


def confirmation(workload: str, name: str, seed: int, quality: float, noise: float, diverges: bool = False) -> tuple:
    """Returns the row of a confirmation and its lines; noise is added to the logarithm of the losses."""
    kind = kind_of(workload)
    losses = [loss_of(workload, quality, epoch / EPOCHS) * np.exp(noise) for epoch in range(1, EPOCHS + 1)]
    values = {"loss": losses, "gap": losses, "accuracy": [1 - 0.9 * loss / 2.302585 for loss in losses]}
    metrics = [metric.name for metric in KINDS[kind]]
    reported = ("train_clean",) if kind == "gap" else ("test", "validation", "train_clean")
    final = {f"final.{s}_{m}": None if diverges else float(values[m][-1]) for m in metrics for s in reported}
    made = row(
        "confirmation", name, workload=workload, seed=5000 + seed, metrics=recorded(KINDS[kind]),
        status="diverged" if diverges else "completed", **final,
    )  # fmt: skip
    splits = ("train_clean",) if kind == "gap" else ("train_clean", "validation")
    lines = [
        {"path": made["path"], "step": 10 * (i + 1), "epoch": float(i + 1), "split": s}
        | {m: float(values[m][i]) for m in metrics}
        for i in range(2 if diverges else EPOCHS)
        for s in splits
    ]
    return made, lines


def suite(
    qualities: Mapping[str, Mapping[str, float]],
    seeds: int = 4,
    deviation: float = 0.05,
    diverging: Mapping[str, Sequence[tuple[str, int]]] = {},
    **fields: Any,
) -> tuple[Results, Document]:
    """Returns the results of a suite and its document.

    Args:
      qualities: the qualities by contender and workload.
      seeds: the number of confirmations of each contender on each workload.
      deviation: the standard deviation of the logarithm of the losses between seeds.
      diverging: the workloads and seeds on which a contender diverges.
      **fields: fields of the study.
    """
    random = np.random.default_rng(SEED)
    workloads = list(next(iter(qualities.values())))
    made = suite_study([*qualities], workloads, **{"seeds": seeds, **fields})
    rows, curves = [], []
    for name, own in qualities.items():
        for workload, quality in own.items():
            for seed in range(seeds):
                lost = (workload, seed) in diverging.get(name, ())
                run, lines = confirmation(workload, name, seed, quality, random.normal(0, deviation), lost)
                rows.append(run)
                curves += lines
    winners = tuple(selection(name, workload=w) for name in qualities for w in workloads)
    return results(rows, curves), document(made, selections=winners)
