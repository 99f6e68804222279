"""The progress that a study displays while it runs."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import signal

import pytest
from rich.console import Console

from jaxopt_bench.compare import compare, progress_for
from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.compare.jobs import Job
from jaxopt_bench.compare.progress import StudyBars, StudyLines
from jaxopt_bench.measures import measures
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.runs import LiveDisplay
from jaxopt_bench.runs.signals import NOTICES, StopRequest, handle_stop_signals
from jaxopt_bench.study import plan_finalists, plan_trials, units
from tests.compare.conftest import contender
from tests.results.directories import METRICS

JUDGED = {"tiny": measures(METRICS)["validation_loss"]}


CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
"""Terminal control sequences that move the cursor or set colours."""


def shown(study, folder, digits_dir, terminal: bool, width: int = 120) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width)
    compare(study, folder, data_dir=digits_dir, progress=progress_for(console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def wild(small):
    """Returns a study in which some trials of one optimizer diverge."""
    return dataclasses.replace(
        small, contenders=(contender("calm", SGD()), contender("wild", SGD(), low=1e-2, high=1e30)), seeds=1
    )


def test_with_several_seeds_of_trials_the_runs_and_the_trials_are_counted(small, tmp_path, digits_dir):
    study = dataclasses.replace(small.only(contenders=["sgd"]), trials=2, trial_seeds=2, finalists=0, seeds=1)
    assert "tiny, sgd: 4 runs of 2 trials\n" in shown(study, tmp_path / "study", digits_dir, terminal=False)


def test_lines_report_started_jobs_selections_and_diverged_trials(wild, tmp_path, digits_dir):
    text = shown(wild, tmp_path / "study", digits_dir, terminal=False)
    assert "small: 2 optimizers on tiny; 3 trials, 2 finalists with 1 other seed and 1 confirmation seed each" in text
    assert "tiny, calm: 3 trials\n" in text
    assert "tiny, calm: validation loss" in text
    assert "tiny, calm: 2 re-runs of finalists; about" in text
    assert ", of 2 finalists)" in text
    assert " diverged" in text
    assert "tiny, wild: 1 confirmation; about" in text
    again = shown(wild, tmp_path / "study", digits_dir, terminal=False)
    assert "3 trials\n" not in again


def test_the_last_bar_counts_all_runs_and_each_selection_has_a_line_above_it(wild, tmp_path, digits_dir):
    text = shown(wild, tmp_path / "study", digits_dir, terminal=True, width=80)
    lines = [line.strip("\r") for line in CONTROL.sub("", text).splitlines()]
    selected = [line[8:12] for line in lines if re.match(r"  tiny, \w+: validation loss .*\(trial \d", line)]
    assert sorted(selected) == ["calm", "wild"]
    assert re.search(r"(\d+) of \1 runs$", [line for line in lines if line.strip()][-1])


def test_a_large_study_has_bars_only_for_its_running_jobs(small, tmp_path):
    names = [f"optimizer_{i}" for i in range(27)]
    four_epochs = (dataclasses.replace(small.workloads[0], epochs=4),)
    contenders = tuple(contender(name, SGD()) for name in names)
    large = dataclasses.replace(small, workloads=four_epochs, contenders=contenders)
    at = StudyFolder(tmp_path / "study")
    at.begin(large)
    first, *_ = units(large)
    planned = plan_trials(large, first)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    bars = StudyBars(console)
    bars.start(large, at, [(unit, plan_trials(large, unit)) for unit in units(large)], JUDGED)
    try:
        job = Job("trial", first, tuple(planned))
        reporter = bars.begin(job)
        plain = Console(file=io.StringIO(), width=80)
        plain.print(bars._bars())
        assert "compiling" in plain.file.getvalue()
        reporter.start("3 trials", step=0, steps=40, steps_per_epoch=10, metrics=METRICS)
        reporter.advance(step=20, examples_per_second=1.0, seconds_left=60.0)
        reporter.report_divergence("one is gone")
        plain = Console(file=io.StringIO(), width=80)
        plain.print(bars._bars())
        label, own, whole = plain.file.getvalue().splitlines()
    finally:
        bars.stop()
    assert label.rstrip() == "tiny, optimizer_0: 3 trials, 1 diverged"
    assert own.rstrip().endswith("epoch 2.0 of 4")
    assert re.search(r"\d of 189 runs; about \d.* to go$", whole.rstrip())  # 27 × (3 trials + 2 finalists + 2)
    assert len(own) <= 80 >= len(whole)


@pytest.mark.parametrize("begun", [0, 2])
def test_the_time_left_covers_only_this_process_even_after_it_resumes_a_job(small, tmp_path, begun):
    tiny = dataclasses.replace(small, workloads=(dataclasses.replace(small.workloads[0], epochs=4),))
    at = StudyFolder(tmp_path / "study")
    at.begin(tiny)
    first, _ = units(tiny)
    planned = plan_trials(tiny, first)
    progress = StudyLines(Console(file=io.StringIO()))
    progress.start(tiny, at, [(first, planned)], JUDGED)  # another process trains the second optimizer
    assert progress.seconds_left() is None
    job = Job("trial", first, tuple(planned))
    reporter = progress.begin(job)
    reporter.start("3 trials", step=10 * begun, steps=40, steps_per_epoch=10, metrics=METRICS)
    reporter.advance(step=30, examples_per_second=1.0, seconds_left=60.0)
    # An epoch of 3 trials takes 60 s, so an epoch of one 20 s; 2 finalists and 2 confirmations have 4 epochs each.
    assert progress.seconds_left() == pytest.approx(60 + 4 * 4 * 20)
    reporter.advance(step=40, examples_per_second=1.0, seconds_left=0.0)
    progress.begun[id(job)].began -= 12 * 20  # as if it had lasted 240 s
    progress.end(job)
    epochs = 3 * (4 - begun)
    assert progress.seconds_left() == pytest.approx(4 * 4 * 240 / epochs, rel=0.01)
    again = Job("finalist", first, tuple(plan_finalists(tiny, first, [0, 1])))
    progress.begin(again)
    progress.begun[id(again)].began -= 2 * 4 * 240 / epochs  # as long for an epoch as before
    progress.end(again)
    assert progress.seconds_left() == pytest.approx(2 * 4 * 240 / epochs, rel=0.01)


def test_lines_have_one_estimate_as_soon_as_some_steps_are_timed(small, tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr("jaxopt_bench.compare.progress.time.monotonic", lambda: now)
    at = StudyFolder(tmp_path / "study")
    at.begin(small)
    first, _ = units(small)
    progress = StudyLines(Console(file=io.StringIO()))
    progress.start(small, at, [(first, plan_trials(small, first))], JUDGED)
    reporter = progress.begin(Job("trial", first, tuple(plan_trials(small, first))))
    reporter.start("3 trials", step=0, steps=100, steps_per_epoch=100, metrics=METRICS)
    now = 130.0  # after compilation
    reporter.advance(step=1, examples_per_second=0.0, seconds_left=0.0)
    assert "of training to go" not in progress.console.file.getvalue()
    for step in range(2, 9):
        now += 1.0
        reporter.advance(step=step, examples_per_second=1.0, seconds_left=100.0 - step)
        assert ("of training to go" in progress.console.file.getvalue()) == (step >= 4)
    assert progress.console.file.getvalue().count("of training to go") == 1


def test_the_time_left_of_a_search_by_halving_counts_the_rungs(small, tmp_path):
    four_epochs = dataclasses.replace(small.workloads[0], epochs=4)
    halving = dataclasses.replace(small, workloads=(four_epochs,), search="halving", halving_rungs=3, trials=4)
    at = StudyFolder(tmp_path / "study")
    at.begin(halving)
    first, _ = units(halving)
    planned = plan_trials(halving, first)
    progress = StudyLines(Console(file=io.StringIO()))
    progress.start(halving, at, [(first, planned)], JUDGED)
    job = Job("trial", first, tuple(planned), until_epoch=1)
    reporter = progress.begin(job)
    reporter.start("4 trials", step=0, steps=10, steps_per_epoch=10, metrics=METRICS)
    reporter.advance(step=5, examples_per_second=1.0, seconds_left=10.0)
    # 4 trials take 10 s for half an epoch, so an epoch of one takes 5 s. The rungs (4, 1), (2, 2) and (1, 4) have 4, 2
    # and 2 epochs, of which 2 are done; 2 confirmations have 4 epochs each.
    assert progress.seconds_left() == pytest.approx((8 - 2 + 2 * 4) * 5)
    reporter.advance(step=10, examples_per_second=1.0, seconds_left=0.0)
    progress.begun[id(job)].began -= 4 * 20
    progress.end(job)
    assert progress.seconds_left() == pytest.approx((8 - 4 + 2 * 4) * 20, rel=0.01)
    second = Job("trial", first, tuple(planned[:2]), until_epoch=2)
    reporter = progress.begin(second)
    counts = progress.counts[first.key]
    assert (counts.done, counts.running) == (2, 2)
    reporter.start("2 trials", step=10, steps=20, steps_per_epoch=10, metrics=METRICS)
    reporter.advance(step=15, examples_per_second=1.0, seconds_left=20.0)
    assert progress.seconds_left() == pytest.approx((8 - 4 - 1 + 2 * 4) * 20, rel=0.01)
    assert "2 trials up to epoch 2" in progress.console.file.getvalue()


def test_bars_leave_no_thread_behind_if_drawing_them_fails(small, tmp_path, monkeypatch):
    at = StudyFolder(tmp_path / "study")
    at.begin(small)
    bars = StudyBars(Console(file=io.StringIO(), force_terminal=True))
    bars.start(small, at, [], JUDGED)
    monkeypatch.setattr(bars, "_runs", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bars.stop()
    assert not bars.live.is_started
    assert not NOTICES


@pytest.mark.parametrize("live", [True, False])
def test_a_stop_request_is_shown_in_the_display_or_printed_if_there_is_none(live, capfd):
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    display = LiveDisplay(lambda: "a bar", console)
    request = StopRequest()
    # The tests may have been started with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with handle_stop_signals(request):
        if live:
            display.start()
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            if live:
                display.stop()
    signal.signal(signal.SIGINT, before)
    assert request.signal == signal.SIGINT
    said = "stopping after the next checkpoint; press Ctrl-C again to stop at once"
    assert (said in console.file.getvalue()) == live
    assert (said in capfd.readouterr().err) == (not live)
