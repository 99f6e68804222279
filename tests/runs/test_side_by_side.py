"""Populations whose members may be trained side by side: how this is chosen, recorded and kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jaxopt_bench import Run, load_run, train, train_population
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter, memory, side_by_side
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.strict_json import read_json, write_json
from jaxopt_bench.training import CodePath, Program
from tests.runs.test_train import Killed, KilledAt, MessageRecorder, StoppedAt, assert_same

QUIET = Recording(log_every=6, checkpoint_every=7, tensorboard=False)
IN_TURN = CodePath("pure", "compiled", "map")
MEASURED = dataclasses.replace(IN_TURN, side_by_side=None)


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": QUIET, "reporter": Reporter(), "code_path": MEASURED}


@pytest.fixture
def experiments(tiny):
    return [dataclasses.replace(tiny, optimizer=AdamW(learning_rate=rate)) for rate in (1e-3, 2e-3, 4e-3, 8e-3)]


@pytest.fixture
def in_turn(experiments, train_once) -> list[Run]:
    """Returns the runs of members that take turns."""
    return train_once(experiments, QUIET, IN_TURN)


def recorded(runs: list[Run]) -> list[list[int]]:
    """Returns the recorded `side_by_side` of each run in each of its environments."""
    return [[place["code_path"]["side_by_side"] for place in run.config["environments"]] for run in runs]


def find(monkeypatch, speedup: float, threads: int) -> None:
    """Makes the measurement return this speedup, on a machine with this number of threads."""
    monkeypatch.setattr(side_by_side, "thread_count", lambda: threads)
    monkeypatch.setattr(memory, "thread_count", lambda: threads)
    monkeypatch.setattr(side_by_side, "_speedup", lambda *_: speedup)


def test_a_measurement_changes_no_result_and_its_choice_is_recorded(experiments, tmp_path, options, in_turn):
    runs = train_population(experiments, Options(runs_dir=tmp_path / "measured", **options))
    (choice,) = {tuple(each) for each in recorded(runs)}
    assert choice in {(1,), (min(thread_count(), 4),)}
    for run, other in zip(runs, in_turn, strict=True):
        assert_same(run, other)


@pytest.mark.parametrize(("speedup", "threads", "expected"), [(1.5, 3, 3), (1.5, 9, 4), (1.01, 3, 1), (1.5, 1, 1)])
def test_threads_are_used_if_they_are_worthwhile(
    experiments, tmp_path, options, monkeypatch, speedup, threads, expected
):
    find(monkeypatch, speedup, threads)
    short = [experiment.replace(epochs=1) for experiment in experiments]
    assert recorded(train_population(short, Options(runs_dir=tmp_path, **options))) == [[expected]] * 4


def test_a_single_run_is_not_measured(tiny, tmp_path, options, monkeypatch):
    monkeypatch.setattr(side_by_side, "_speedup", None)
    assert recorded([train(tiny.replace(epochs=1), Options(runs_dir=tmp_path, **options))]) == [[1]]


@pytest.mark.parametrize(("begun_with", "then"), [pytest.param(3, 1, marks=pytest.mark.slow), (1, 3)])
def test_a_resumed_population_keeps_the_recorded_choice_on_any_machine(
    experiments, tmp_path, options, monkeypatch, in_turn, begun_with, then
):
    find(monkeypatch, 2.0, begun_with)
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": KilledAt(20)}))
    find(monkeypatch, 2.0, then)
    said = MessageRecorder()
    runs = train_population(experiments, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": said}))
    assert recorded(runs) == [[begun_with]] * 4
    assert not [message for message in said.messages if not message.startswith("about ")]  # estimates of the time
    for run, other in zip(runs, in_turn, strict=True):
        assert_same(run, other)


@pytest.mark.slow
def test_runs_that_leave_a_population_keep_the_choice_until_a_code_path_is_given(
    experiments, tmp_path, options, monkeypatch, in_turn
):
    find(monkeypatch, 2.0, 3)
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": KilledAt(20)}))
    find(monkeypatch, 2.0, 1)
    some = train_population(experiments[1:3], Options(runs_dir=tmp_path / "killed", **options))
    assert {tuple(each) for each in recorded(some)} == {(3, 3)}  # the number of members has changed
    said = MessageRecorder()
    named = {**options, "reporter": said, "code_path": IN_TURN}
    runs = train_population(experiments, Options(runs_dir=tmp_path / "killed", **named))
    assert recorded([runs[0], runs[3]]) == [[3, 1]] * 2
    assert any("code_path.side_by_side was 3 and is 1" in message for message in said.messages)
    for run, other in zip(runs, in_turn, strict=True):
        assert_same(run, other)


@pytest.mark.slow
def test_threads_stop_at_a_signal_and_skip_members_that_have_diverged(experiments, tmp_path, options):
    wild = dataclasses.replace(experiments[0], optimizer=SGD(learning_rate=1e30))
    mixed = [wild, *experiments]
    in_turn, together = ({**options, "code_path": dataclasses.replace(IN_TURN, side_by_side=n)} for n in (1, 2))
    whole = train_population(mixed, Options(runs_dir=tmp_path / "whole", **in_turn))
    with pytest.raises(Interrupted):
        train_population(mixed, Options(runs_dir=tmp_path / "stopped", **{**together, "reporter": StoppedAt(10)}))
    resumed = train_population(mixed, Options(runs_dir=tmp_path / "stopped", **together))
    assert [run.summary["status"] for run in resumed if run.summary] == ["diverged", *["completed"] * 4]
    for run, other in zip(resumed[1:], whole[1:], strict=True):
        assert_same(run, other)


def test_members_take_turns_if_not_all_of_them_fit_into_memory_side_by_side(
    experiments, tmp_path, options, monkeypatch
):
    find(monkeypatch, 2.0, 3)
    needed = Program.needed_bytes

    def known(program: Program, data: Any) -> int:
        return needed(program, data) if program.task.code_path.side_by_side == 1 else 10**15

    monkeypatch.setattr(Program, "needed_bytes", known)
    short = [experiment.replace(epochs=1) for experiment in experiments]
    assert recorded(train_population(short, Options(runs_dir=tmp_path, **options))) == [[1]] * 4


@pytest.mark.slow
def test_a_record_without_the_field_means_that_members_took_turns(experiments, tmp_path, options, monkeypatch):
    old = {**options, "code_path": IN_TURN, "reporter": KilledAt(20)}
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **old))
    for path in tmp_path.glob("tiny/*/config.json"):
        config = read_json(path)
        del config["environments"][-1]["code_path"]["side_by_side"]
        write_json(path, config)
    find(monkeypatch, 2.0, 3)
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    assert all(run.config["environments"][-1]["code_path"]["side_by_side"] == 1 for run in runs)
    assert load_run(runs[0].path).summary == runs[0].summary
