"""A signal stops a run within ten seconds, with a checkpoint and a hint on how to resume; a second one, at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxopt_bench import load_run
from tests.faults.harness import ROOT

SLOW = pytest.mark.slow
SOON = 10.0  # seconds
EPOCHS = "400"


def started(runs_dir, data_dir):
    """Starts a long run on the command line, and returns its process after two epochs."""
    command = [sys.executable, "-m", "jaxopt_bench", "run", "digits_cnn_sgd", "--epochs", EPOCHS, "--no-tensorboard"]
    command += ["--out", str(runs_dir), "--data-dir", str(data_dir), "--checkpoint-seconds", "0"]
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert child.stdout is not None
    assert any(line.startswith("epoch 2/") for line in child.stdout)
    return child


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        *(pytest.param(*each, marks=SLOW) for each in ((signal.SIGTERM, 143), (signal.SIGHUP, 129))),
    ],
)
def test_the_first_signal_stops_the_run_with_a_checkpoint(number, code, tmp_path, digits_dir, tally):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # in case the tests themselves run under nohup
    try:
        child = started(tmp_path, digits_dir)
    finally:
        signal.signal(signal.SIGHUP, before)
    began = time.monotonic()
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert time.monotonic() - began < SOON
    assert child.returncode == code, errors
    assert "the same command to resume" in errors
    run = load_run(next(tmp_path.glob("digits_cnn_sgd/*")))
    assert run.summary is not None
    assert run.summary["status"] == "interrupted"
    assert int(run.state().step) == run.summary["steps"] > 40
    tally.add(signal.Signals(number).name)


def test_the_second_signal_stops_the_run_at_once_and_damages_no_file(tmp_path, digits_dir, tally):
    child = started(tmp_path, digits_dir)
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    while "again to stop at once" not in child.stderr.readline():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=SOON)
    assert child.returncode == 130
    run = load_run(next(tmp_path.glob("digits_cnn_sgd/*")))
    assert int(run.state().step) >= 40
    assert [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()] == run.metrics
    tally.add("SIGINT, twice")


@SLOW
def test_a_signal_that_the_process_was_started_to_ignore_stays_ignored(tmp_path, digits_dir):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does; children inherit it
    try:
        child = started(tmp_path, digits_dir)
    finally:
        signal.signal(signal.SIGHUP, before)
    child.send_signal(signal.SIGHUP)
    assert child.stdout is not None
    assert next(line for line in child.stdout if line.startswith("epoch "))
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 143
