"""The experiments of recorded studies still have the recorded digests: optional fields did not change them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import polars as pl
import pytest

from jaxopt_bench.config import Config
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.study import Study

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"


def with_values(config: Config, prefix: str, row: dict[str, Any]) -> Any:
    """Returns an optimizer or a schedule with the values that a row of recorded runs has for its fields."""
    names = [field.name for field in dataclasses.fields(config)]
    values = {name: row[prefix + name] for name in names if row.get(prefix + name) is not None}
    return dataclasses.replace(config, **values)


@pytest.mark.parametrize("name", ["cifar100_alexnet_small", "cifar10_resnet20_short", "digits"])
def test_the_runs_of_a_recorded_study_have_the_recorded_digests(name: str) -> None:
    document = json.loads((RESULTS / name / "study.json").read_text())
    study = Study.from_json(document["study"])
    contenders = {contender.name: contender for contender in study.contenders}
    workloads = {workload.name: workload for workload in study.workloads}
    rows = pl.read_parquet(RESULTS / name / "runs.parquet").to_dicts()
    for row in rows:
        contender = contenders[row["contender"]]
        experiment = Experiment(
            workload=dataclasses.replace(workloads[row["workload"]], epochs=row["epochs"]),
            optimizer=with_values(contender.optimizer, "optimizer.", row),
            schedule=with_values(contender.schedule, "schedule.", row),
            evaluate_test=row["evaluate_test"],
            track_test=row["track_test"],
            seed=row["seed"],
        )
        assert experiment.digest == row["digest"]
    assert {row["digest"] for row in rows} == {run["digest"] for run in document["runs"]}
    assert json.loads(json.dumps(study.to_json()["contenders"])) == document["study"]["contenders"]
