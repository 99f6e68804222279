"""Builds synthetic results of studies."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, Axis, Space
from jaxopt_bench.problems import Classification, Metric
from jaxopt_bench.results import Results
from jaxopt_bench.results.examples import EXAMPLE_TYPES
from jaxopt_bench.study import Contender, Document, Selection, Study
from tests.results.directories import METRICS

RATES = Space({"optimizer.learning_rate": Axis(1e-4, 1.0, "log")})


def study(names: Sequence[str], **fields: Any) -> Study:
    """Returns a study of some optimizers on digits, in which only the learning rates are tuned."""
    defaults: dict[str, Any] = {
        "name": "made",
        "workloads": (Workload(name="digits_cnn", problem=Classification(dataset="digits", model=CNN()), epochs=2),),
        "contenders": tuple(Contender(name=name, optimizer=OPTIMIZERS[name], space=RATES) for name in names),
        "trials": 4,
        "seeds": 5,
    }
    return Study(**defaults | fields)


def recorded(metrics: Sequence[Metric]) -> str:
    """Returns metrics as JSON, as in the column `metrics`."""
    return json.dumps([metric.to_json() for metric in metrics])


def row(phase: str, contender: str, **fields: Any) -> dict[str, Any]:
    """Returns the row of a run, with the columns that verdicts use."""
    defaults: dict[str, Any] = {
        "study": "made",
        "phase": phase,
        "workload": "digits_cnn",
        "contender": contender,
        "repetition": 0,
        "trial": 0,
        "seed": 0,
        "selected": phase == "confirmation",
        "status": "completed",
        "metrics": recorded(METRICS),
        "seconds": 1.0,
    }
    made = defaults | fields
    place = f"{made['workload']}/{contender}/{phase}/{made['repetition']}/{made['trial']}/{made['seed']}"
    return {"path": place, **made}


def confirmed(contender: str, accuracies: Sequence[float | None], **fields: Any) -> list[dict[str, Any]]:
    """Returns confirmations with these test accuracies, one for each seed; None means that the run diverged."""
    return [
        row(
            "confirmation",
            contender,
            seed=5000 + seed,
            status="diverged" if accuracy is None else "completed",
            **{"final.test_accuracy": accuracy, **fields},
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def tried(contender: str, losses: Mapping[float, float | None], **fields: Any) -> list[dict[str, Any]]:
    """Returns trials with these validation losses by learning rate; None means that the trial diverged."""
    return [
        row(
            "trial",
            contender,
            trial=trial,
            status="diverged" if loss is None else "completed",
            **{
                "optimizer.learning_rate": rate,
                "final.validation_loss": loss,
                "final.validation_accuracy": None if loss is None else math.exp(-loss),
                **fields,
            },
        )
        for trial, (rate, loss) in enumerate(losses.items())
    ]


def selection(contender: str, trial: int | None = 0, **fields: Any) -> Selection:
    """Returns the selection of a winner. If `trial` is None, all trials of the contender diverged."""
    values = None if trial is None else {"optimizer.learning_rate": 0.01}
    made = Selection("digits_cnn", contender, 0, trial, value=0.1, values=values, edges=(), diverged=0, among=())
    return dataclasses.replace(made, **fields)


def results(
    rows: Sequence[Mapping[str, Any]],
    curves: Sequence[Mapping[str, Any]] = (),
    examples: Mapping[str, Sequence[float]] = {},
) -> Results:
    """Returns rows, curves, and the results of test examples (by path, at step 10) as tables."""
    empty = {"path": pl.String, "step": pl.Int64, "split": pl.String, "loss": pl.Float64}
    lines = pl.DataFrame(curves, infer_schema_length=None) if curves else pl.DataFrame(schema=empty)
    found = Results(pl.DataFrame(rows, infer_schema_length=None, strict=False), lines)
    of_examples = [(path, 10, list(values)) for path, values in examples.items()]
    return dataclasses.replace(found, examples=pl.DataFrame(of_examples, schema=dict(EXAMPLE_TYPES), orient="row"))


def document(made: Study, **fields: Any) -> Document:
    """Returns a study's document, with a winner for each contender."""
    selections = tuple(selection(c.name) for c in made.contenders)
    return Document(made, **{"selections": selections, **fields})
