"""Plans of studies, compared with counts by hand and with the files of finished studies."""

from __future__ import annotations

import dataclasses
import pathlib

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.compare import compare, cost_estimate, estimate_study_cost
from jaxopt_bench.compare.costs import AGAIN, MARGIN, Costs
from jaxopt_bench.optimizers import SGD, Axis, Choice, Space
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.study import Study

COSTS = Costs(program=10.0, step=0.01, evaluation=0.1, steps_per_epoch=20)
EPOCH = 20 * 0.01 + 0.1


@pytest.fixture
def planned(digits_dir, monkeypatch):
    """Returns a function that plans a study on a machine with known speeds."""
    monkeypatch.setattr(cost_estimate, "measure_costs", lambda *_: COSTS)

    def of(study: Study, folder: pathlib.Path, largest: int | None = None) -> cost_estimate.StudyCost:
        return estimate_study_cost(study, folder, digits_dir, largest, Reporter())

    return of


def counts(found: cost_estimate.StudyCost) -> list[tuple[str, int, int, int]]:
    return [(each.phase, each.runs, each.finished, each.programs) for each in found.phases]


def test_populations_of_one_optimizer_and_size_share_a_program(small, planned, tmp_path):
    found = planned(small, tmp_path / "study")
    # three trials, two finalists with one seed, two seeds: finalists and confirmations share a program
    assert counts(found) == [("trial", 6, 0, 2), ("finalist", 4, 0, 2), ("confirmation", 4, 0, 0)]
    assert [each.seconds for each in found.phases] == pytest.approx(
        [MARGIN * (2 * 10 + 6 * EPOCH), MARGIN * (2 * 10 + 4 * EPOCH), MARGIN * (2 * AGAIN * 10 + 4 * EPOCH)]
    )
    same = planned(dataclasses.replace(small, seeds=3), tmp_path / "study")
    assert counts(same) == [("trial", 6, 0, 2), ("finalist", 4, 0, 2), ("confirmation", 6, 0, 0)]
    assert same.phases[2].seconds == pytest.approx(MARGIN * (2 * AGAIN * 10 + 6 * EPOCH))
    again = planned(dataclasses.replace(small, seeds=3, repetitions=2), tmp_path / "study")
    assert counts(again) == [("trial", 12, 0, 2), ("finalist", 8, 0, 2), ("confirmation", 12, 0, 0)]
    assert found.measured == {"tiny": "sgd"}
    assert not list(tmp_path.iterdir())


def test_each_value_that_is_compiled_in_and_each_wave_size_has_its_program(small, planned, tmp_path):
    choices = Space({"optimizer.nesterov": Choice((False, True)), "optimizer.learning_rate": Axis(0.01, 0.1, "log")})
    nesterov = dataclasses.replace(small.contenders[0], optimizer=SGD(momentum=0.9), space=choices)
    study = dataclasses.replace(small, contenders=(nesterov,), trials=4, search="grid", seeds=5, finalists=0)
    assert counts(planned(study, tmp_path / "study"))[0] == ("trial", 4, 0, 2)  # two trials with each value of nesterov
    assert counts(planned(study, tmp_path / "study", largest=2)) == [
        ("trial", 4, 0, 2),
        ("confirmation", 5, 0, 1),  # waves of 2, 2 and 1
    ]


def test_tracked_test_splits_cost_another_evaluation_an_epoch(small, planned, tmp_path):
    once, tracked = (
        planned(dataclasses.replace(small, track_test=track), tmp_path / "study").phases[-1].seconds
        for track in (False, True)
    )
    assert tracked - once == pytest.approx(MARGIN * 4 * 0.1)


def test_only_unfinished_runs_are_planned_and_the_planned_space_is_enough(small, planned, tmp_path, digits_dir):
    folder = tmp_path / "study"
    compare(small.only(contenders=["sgd"]), folder, data_dir=digits_dir)
    found = planned(small, folder)
    assert counts(found) == [("trial", 6, 3, 1), ("finalist", 4, 2, 1), ("confirmation", 4, 2, 0)]
    assert found.measured == {"tiny": "adamw"}
    assert len(found.study.contenders) == 2
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    done = planned(small.only(contenders=["sgd"]), folder)
    assert counts(done) == [("trial", 3, 3, 0), ("finalist", 2, 2, 0), ("confirmation", 2, 2, 0)]
    assert done.measured == {}
    assert sum(each.seconds for each in done.phases) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert used < done.disk < 4 * used


def test_a_study_that_cannot_grow_is_refused(small, planned, tmp_path, digits_dir):
    compare(small.only(contenders=["sgd"]), tmp_path / "study", data_dir=digits_dir)
    with pytest.raises(
        UserError, match="the study that was started earlier has search: sobol; this command has random"
    ):
        planned(dataclasses.replace(small, search="random"), tmp_path / "study")


def test_the_command_prints_a_table_and_the_least_difference(call, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "measure_costs", lambda *_: COSTS)
    code, out, _ = call("compare", "digits", "--plan")
    assert code == 0
    said = " ".join(out.split())
    assert "trials 48 6 " in said
    assert "confirmations 48 0 " in said
    assert "those of sgd on digits_cnn, measured for a few seconds, plus 30%" in said
    assert "in studies/digits. With 8 seeds for each of 6 optimizers" in said
    assert "On digits_cnn, the smallest difference that can be seen is " in said
    assert " points of test accuracy on the same 360 test examples, and " in said
    assert " points on new data (the standard deviation between results of one optimizer is 0.5" in said
    assert " points, from 48 results in experiments/results/digits)." in said
    code, out, _ = call("compare", "digits", "--plan", "--seeds", "3", "--epochs", "2")
    said = " ".join(out.split())
    assert "a difference must be 9.5 times the deviation between seeds" in said
    assert "with --seeds 4, a difference of 4.9 times the deviation between seeds would be enough" in said
    unknown = "The smallest difference that can be seen on digits_cnn is not known, because no results are recorded."
    assert unknown in said
    against = ["--baselines", "digits", "--add", "lion"]
    code, out, _ = call("compare", "digits", *against, "--plan")
    assert (code, "With 8 seeds for each of 7 optimizers" in out, "trials 8 1 " in " ".join(out.split())) == (
        0,
        True,
        True,
    )
    code, out, _ = call("compare", "defaults", "--workloads", "digits_cnn", "--optimizers", "sgd", "adam", "--plan")
    assert (code, "trials" in out, "confirmations 6 2 " in " ".join(out.split())) == (0, False, True)
    assert not (tmp_path / "studies").exists()


def test_for_a_folder_with_a_larger_study_the_plan_covers_both_studies(call, tmp_path, monkeypatch):
    monkeypatch.setattr(cost_estimate, "measure_costs", lambda *_: COSTS)
    recorded = pathlib.Path(__file__).parents[2] / "experiments" / "results" / "digits" / "study.json"
    (tmp_path / "study.json").write_bytes(recorded.read_bytes())
    code, out, _ = call(
        "compare", "digits", "--seeds", "3", "--optimizers", "sgd", "adam", "--plan", "--out", str(tmp_path)
    )
    said = " ".join(out.split())
    assert code == 0
    assert "already has a larger study, which is never made smaller" in said
    assert "So the plan has seeds 8 instead of 3 and 6 optimizers instead of 2." in said
    code, out, _ = call("compare", "digits", "--plan", "--out", str(tmp_path))
    assert (code, "larger study" in out) == (0, False)


def test_a_plan_for_a_cluster_is_refused(call):
    code, _, error = call("compare", "digits", "--plan", "--executor", "ray")
    assert (code, "--plan measures only this machine" in error) == (2, True)
