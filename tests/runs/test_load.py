"""Reading runs: errors name the files and fields that are damaged or missing."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from jaxopt_bench import UserError, load_run
from jaxopt_bench.results import load
from jaxopt_bench.runs import Options, Recording, Reporter, train_population
from tests.copies import copied


@pytest.fixture
def run(tiny, train_once, tmp_path):
    """Returns a copy of a run for one test."""
    (trained,) = train_once([tiny], Recording(tensorboard=False))
    return copied(trained, tmp_path)


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        load_run(tmp_path)


def test_parameters_come_from_the_last_and_the_best_checkpoint(run):
    again = load_run(run.path)
    assert set(again.parameters()) == set(again.parameters("best")) != set()


def test_a_run_without_checkpoints_still_has_its_metrics(run):
    shutil.rmtree(run.path / "checkpoints")
    again = load_run(run.path)
    assert again.metrics == run.metrics
    with pytest.raises(UserError, match=r"has no complete checkpoint\. .* without it\. .* again in another folder"):
        again.parameters()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("experiment",), None, "experiment"),
        (("experiment", "workload", "epochs"), 0, r"Workload\.epochs is 0. Expected: an integer >= 1"),
        (("experiment", "optimizer", "name"), "adamv", "did you mean adam"),
        (("experiment", "optimizer", "b1"), "0.9", "AdamW.b1 is '0.9'"),
        (("experiment", "workload"), 1, "workload: 1 is not an object with the fields of Workload"),
        (("experiment", "colour"), 1, "unknown field of experiment 'colour'"),
        (("task", "train_examples"), None, "train_examples is None"),
        (("metrics",), [], "metrics is damaged"),
        (("metrics", 0), {"name": "accuracy"}, r"metrics\[0\] is damaged"),
        (("checkpoints", "path"), "../../../elsewhere", "Expected the run's own checkpoints"),
        (("checkpoints", "path"), "/tmp/population-0123456789ab/checkpoints", "Expected the run's own checkpoints"),
        (("checkpoints", "path"), "../../../population-0123456789ab/checkpoints", "Expected the run's own"),
        (("checkpoints", "member"), 1, "member is 1, of 1 members"),
        (("checkpoints", "member"), -1, "member is -1, of 1 members"),
        (("checkpoints", "members"), 10**9, "of 1000000000 members"),
    ],
)
def test_a_damaged_config_names_the_field(run, path, value, message):
    config = json.loads((run.path / "config.json").read_text())
    target = config
    for name in path[:-1]:
        target = target[name]
    target[path[-1]] = value
    (run.path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load_run(run.path).parameters()


def test_a_member_copied_without_its_population_has_results_but_no_state(tiny, tmp_path, digits_dir):
    experiments = [dataclasses.replace(tiny, seed=seed) for seed in range(2)]
    runs = train_population(
        experiments, Options(runs_dir=tmp_path / "runs", data_dir=digits_dir, recording=Recording(tensorboard=False),
        reporter=Reporter(),
    ))  # fmt: skip
    copied = tmp_path / "elsewhere" / "tiny" / runs[0].path.name
    shutil.copytree(runs[0].path, copied)
    again = load_run(copied)
    assert (again.metrics, again.summary) == (runs[0].metrics, runs[0].summary)
    assert load(tmp_path / "elsewhere").runs["status"].to_list() == ["completed"]
    with pytest.raises(UserError, match=r"was trained in a population, which holds its checkpoints, and .* is missing"):
        again.state()
