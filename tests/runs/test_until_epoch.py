"""Runs that stop after an epoch: their records, and that they resume to the bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jaxopt_bench import Experiment, Run, UserError, load_run, train, train_population
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.results import load
from jaxopt_bench.runs import Interrupted, Options, Reporter, discard_checkpoints
from tests.copies import copied
from tests.runs.test_population import PATH, QUIET
from tests.runs.test_train import Killed, KilledAt, MessageRecorder, StoppedAt, assert_same, without_timings
from tests.tasks import changed

EPOCH = 20  # steps per epoch of `tiny`


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": QUIET, "reporter": Reporter(), "code_path": PATH}


@pytest.fixture(scope="module")
def experiments(tiny) -> list[Experiment]:
    """Returns experiments of three epochs, with four learning rates."""
    rates = (1e-3, 2e-3, 5e-3, 1e-2)
    return [changed(tiny, epochs=3, optimizer=AdamW(learning_rate=rate), evaluate_test=False) for rate in rates]


@pytest.fixture(scope="module")
def whole(experiments, digits_dir, tmp_path_factory) -> list[Run]:
    """Returns the runs of the experiments without a stop."""
    options = Options(
        tmp_path_factory.mktemp("whole"), digits_dir, recording=QUIET, reporter=Reporter(), code_path=PATH
    )
    return train_population(experiments, options)


@pytest.fixture(scope="module")
def stopped(experiments, digits_dir, tmp_path_factory) -> Run:
    """Returns a run that was stopped after its first epoch."""
    options = Options(
        tmp_path_factory.mktemp("stopped"), digits_dir, recording=QUIET, reporter=Reporter(), code_path=PATH
    )
    return train(experiments[0], dataclasses.replace(options, until_epoch=1))


class Counted(Reporter):
    """Counts the training steps."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def start(self, title: str, step: int, *_: Any) -> None:
        self.begun = step

    def stop(self) -> None:
        self.steps.append(self.last - self.begun)

    def advance(self, step: int, *_: Any) -> None:
        self.last = step


def status(run: Run) -> str:
    assert run.summary is not None
    return run.summary["status"]


def assert_is_beginning(run: Run, whole: Run, epochs: int) -> None:
    """Asserts that a stopped run has the record that the whole run had after this number of epochs."""
    summary, last = run.summary, epochs * EPOCH
    assert summary is not None
    assert (summary["status"], summary["steps"], summary["epochs"]) == ("stopped", last, epochs)
    assert without_timings(run) == [line for line in without_timings(whole) if line["step"] <= last]
    (expected,) = [line["loss"] for line in whole.metrics if (line["step"], line["split"]) == (last, "validation")]
    assert summary["final"]["validation_loss"] == expected


def test_stopped_runs_that_are_resumed_equal_uninterrupted_runs_to_the_bit(experiments, whole, tmp_path, options):
    counted = Counted()
    options = {**options, "reporter": counted}
    train_population(experiments, Options(runs_dir=tmp_path, until_epoch=1, **options))
    second = train_population(experiments[1:3], Options(runs_dir=tmp_path, until_epoch=2, **options))
    for run, expected in zip(second, whole[1:3], strict=True):
        assert_is_beginning(run, expected, 2)
    last = train(experiments[2], Options(runs_dir=tmp_path, **options))
    assert status(last) == "completed"
    assert last.summary is not None
    assert whole[2].summary is not None
    assert last.summary["final"] == whole[2].summary["final"]
    assert_same(last, whole[2])
    assert counted.steps == [EPOCH] * 3
    for i, epochs in ((0, 1), (1, 2), (3, 1)):
        assert_is_beginning(load_run(tmp_path / "tiny" / experiments[i].digest), whole[i], epochs)
    runs = load(tmp_path).runs.sort("optimizer.learning_rate")
    assert runs["status"].to_list() == ["stopped", "stopped", "completed", "stopped"]
    assert runs["steps"].to_list() == [EPOCH, 2 * EPOCH, 3 * EPOCH, EPOCH]


@pytest.mark.slow
def test_runs_killed_before_and_after_a_stop_resume_to_the_bit(experiments, whole, tmp_path, options):
    def killed_at(step: int, chosen: list[Experiment], until: int) -> None:
        with pytest.raises(Killed):
            train_population(
                chosen, Options(runs_dir=tmp_path, until_epoch=until, **{**options, "reporter": KilledAt(step)})
            )

    killed_at(9, experiments, 1)
    killed_at(EPOCH, experiments, 1)  # after its last steps, before they are written
    train_population(experiments, Options(runs_dir=tmp_path, until_epoch=1, **options))
    killed_at(EPOCH + 9, experiments[:2], 2)
    stopped = train_population(experiments[:2], Options(runs_dir=tmp_path, until_epoch=2, **options))
    for run, expected in zip(stopped, whole, strict=False):
        assert_is_beginning(run, expected, 2)
    for run, expected in zip(train_population(experiments, Options(runs_dir=tmp_path, **options)), whole, strict=True):
        assert status(run) == "completed"
        assert_same(run, expected)


@pytest.mark.slow
def test_a_run_past_the_stop_is_not_changed_or_stops_after_its_current_epoch(experiments, whole, tmp_path, options):
    first = train(experiments[0], Options(runs_dir=tmp_path, until_epoch=2, **options))
    said = MessageRecorder()
    nothing = {**options, "reporter": said}
    again = train(experiments[0], Options(runs_dir=tmp_path, until_epoch=1, **nothing))
    assert (again.summary, again.metrics) == (first.summary, first.metrics)
    with pytest.raises(Interrupted):
        train(experiments[1], Options(runs_dir=tmp_path, **{**options, "reporter": StoppedAt(EPOCH + 9)}))
    beyond = train(experiments[1], Options(runs_dir=tmp_path, until_epoch=1, **options))
    assert_is_beginning(beyond, whole[1], 2)
    to_the_end = train(experiments[1], Options(runs_dir=tmp_path, until_epoch=99, **options))
    assert status(to_the_end) == "completed"
    assert_same(to_the_end, whole[1])


@pytest.mark.slow
def test_a_stopped_run_without_its_checkpoint_starts_again(experiments, whole, tmp_path, options):
    stopped = train_population(experiments[:3], Options(runs_dir=tmp_path, until_epoch=1, **options))
    last = train(experiments[0], Options(runs_dir=tmp_path, **options))
    discard_checkpoints([run.path for run in stopped[:2]])
    assert list(tmp_path.glob("tiny/population-*/checkpoints"))  # the third run, which was not given, needs them
    assert not (last.path / "checkpoints").exists()
    discard_checkpoints([run.path for run in stopped])
    assert not list(tmp_path.glob("tiny/population-*/checkpoints"))
    run = train(experiments[1], Options(runs_dir=tmp_path, **options))
    assert_same(run, whole[1])


def test_a_stop_reads_no_test_split_and_runs_that_diverged_before_stay_diverged(tiny, tmp_path, options):
    calm, wild = (changed(tiny, optimizer=SGD(learning_rate=rate)) for rate in (0.1, 1e30))
    first, second = train_population([calm, wild], Options(runs_dir=tmp_path, until_epoch=1, **options))
    assert (status(first), status(second)) == ("stopped", "diverged")
    assert {line["split"] for line in first.metrics} == {"train_steps", "train", "train_clean", "validation"}


def test_metrics_that_end_before_the_stop_are_damaged(stopped, tmp_path):
    run = copied(stopped, tmp_path)
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run.path / "metrics.jsonl").write_text("".join(lines[:2]))
    for read in (load_run, load):
        with pytest.raises(UserError, match=r"metrics.jsonl ends at step 12, .* the run stopped after 20 steps"):
            read(run.path)


def test_the_show_command_prints_a_stopped_run(stopped, call):
    code, out, _ = call("show", str(stopped.path))
    assert code == 0
    assert "tiny: stopped" in out
    assert "last measured at step 20: validation loss" in out


def test_a_stop_before_the_first_epoch_is_refused():
    with pytest.raises(UserError, match=r"Options.until_epoch is 0\. Expected at least 1, or None"):
        Options(until_epoch=0)
