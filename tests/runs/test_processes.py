"""Two processes that train together, started from the command line: their files and messages, and their failures."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import psutil
import pytest

from jaxopt_bench import Run, load_run
from jaxopt_bench.cli.entry import parse
from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.processes import decode_message, encode_message
from tests.runs.test_train import assert_same, without_timings

pytestmark = pytest.mark.long  # the tests start processes and wait for them
ROOT = pathlib.Path(__file__).parents[2]
SMALL = ["--model.channels", "4", "--model.dense", "8", "--batch-size", "64", "--log-every", "9"]
Ended = list[tuple[int, str, str]]


def started(
    words: Sequence[str],
    devices: Sequence[int] = (2, 2),
    own: Sequence[Sequence[str]] = ((), ()),
    temporary: pathlib.Path | None = None,
) -> list[subprocess.Popen[str]]:
    """Starts a command in several processes, and returns the processes.

    Args:
      words: the words of the command.
      devices: the number of devices of each process.
      own: additional words for each process.
      temporary: the folder for temporary files; that of this process if None.
    """
    processes = len(devices)
    environment = {**os.environ, "JAXOPT_BENCH_LAYERS": "pure", "PYTHONUNBUFFERED": "1"}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        coordinator = f"localhost:{free.getsockname()[1]}"
    pipe = subprocess.PIPE
    children = []
    for index, count in enumerate(devices):
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
        which = ["--process", f"{index}/{processes}", "--coordinator", coordinator] if processes > 1 else []
        command = [sys.executable, "-m", "jaxopt_bench", *words, *which, *own[index]]
        there = {**environment, "XLA_FLAGS": flags}
        children.append(subprocess.Popen(command, cwd=ROOT, env=there, stdout=pipe, stderr=pipe, text=True))
    return children


def ended(children: Sequence[subprocess.Popen[str]]) -> Ended:
    """Waits for processes, and returns the exit code, the standard output and the standard error of each."""
    try:
        said = [child.communicate(timeout=240) for child in children]
    finally:
        for child in children:
            child.kill()
    return [(child.returncode, *texts) for child, texts in zip(children, said, strict=True)]


def all_well(children: Sequence[subprocess.Popen[str]]) -> Ended:
    """Waits for processes, asserts that all have succeeded, and returns the result of `ended`."""
    outcomes = ended(children)
    assert [code for code, _, _ in outcomes] == [0] * len(children), outcomes
    return outcomes


def wait_for_lines(folder: pathlib.Path, count: int) -> None:
    """Waits until a run below the folder has written this number of lines of metrics."""
    deadline = time.monotonic() + 120
    while not any(path.read_text().count("\n") >= count for path in folder.glob("*/*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def runs(folder: pathlib.Path) -> list[Run]:
    """Returns the runs below a folder, sorted by their paths."""
    return [load_run(path.parent) for path in sorted(folder.rglob("config.json"))]


def assert_near(one: Run, other: Run) -> None:
    """Asserts that two runs have the same metrics up to rounding: sums over several devices round differently."""
    assert one.config["digest"] == other.config["digest"]
    assert len(one.metrics) == len(other.metrics)
    for ours, theirs in zip(without_timings(one), without_timings(other), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            other = theirs[name]
            assert value == other or (isinstance(value, float) and np.isclose(value, other, rtol=1e-4)), name


@pytest.fixture
def words(digits_dir: pathlib.Path) -> list[str]:
    return ["--data-dir", str(digits_dir), "--no-tensorboard"]


@pytest.mark.slow
def test_a_batch_is_divided_among_the_devices_of_all_processes(words: list[str], tmp_path: pathlib.Path) -> None:
    """Only one process writes. If one process gets a signal, both stop at the same step, and they resume from it."""
    run = ["run", "digits_cnn_adamw", "--epochs", "6", *SMALL, *words, "--evaluation"]
    all_well(started([*run, "--out", str(tmp_path / "one")], devices=[2]))
    together = [*run, "--devices", "4", "--out"]
    (_, shown, _), (_, silent, errors) = all_well(started([*together, str(tmp_path / "whole")]))
    assert "epoch 6/6" in shown
    assert re.fullmatch(r"process 1/2 waits for the others at localhost:\d+\n", silent)
    assert not errors
    (one,), (whole,) = runs(tmp_path / "one"), runs(tmp_path / "whole")
    assert_near(one, whole)
    assert whole.config["environments"][0]["processes"] == 2
    assert whole.config["environments"][0]["code_path"]["devices"] == 4
    assert (whole.path / "evaluation.npz").exists()

    children = started([*together, str(tmp_path / "stopped")])
    wait_for_lines(tmp_path / "stopped", 9)
    children[1].send_signal(signal.SIGTERM)
    (first, _, told), (second, _, _) = ended(children)
    assert (first, second) == (128 + signal.SIGTERM,) * 2, told
    assert "from step" in told
    (stopped,) = runs(tmp_path / "stopped")
    assert stopped.summary is not None
    assert stopped.summary["status"] == "interrupted"
    assert 0 < stopped.summary["steps"] < 6 * 20
    (_, again, _), _ = all_well(started([*together, str(tmp_path / "stopped")]))
    assert f"continued from step {stopped.summary['steps']}" in again
    assert_same(load_run(stopped.path), whole)


def test_members_are_divided_and_a_killed_process_costs_only_the_last_steps(
    words: list[str], tmp_path: pathlib.Path
) -> None:
    """Two of the members diverge, so that parts of the checkpoints are not finite."""
    sweep = ["sweep", "digits_cnn_sgd", "--optimizer.learning-rate", "1e-2..1e18:2", "--seeds", "2", *words]
    sweep += ["--epochs", "4", *SMALL, "--checkpoint-seconds", "0", "--evaluate-test", "--out"]
    all_well(started([*sweep, str(tmp_path / "one"), "--devices", "4"], devices=[4]))
    children = started([*sweep, str(tmp_path / "killed"), "--devices", "4"])
    wait_for_lines(tmp_path / "killed", 9)
    children[1].kill()
    (code, _, errors), _ = ended(children)
    assert code == 1
    assert "process 0/2 cannot continue without the others" in errors
    assert "training resumes from the last checkpoint" in errors
    (_, shown, _), _ = all_well(started([*sweep, str(tmp_path / "killed"), "--devices", "4"]))
    assert "continued from step" in shown
    assert sorted(run.summary["status"] for run in runs(tmp_path / "one")) == ["completed"] * 2 + ["diverged"] * 2
    for one, other in zip(runs(tmp_path / "one"), runs(tmp_path / "killed"), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one.state(), other.state())
        sound = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(other.state()))
        assert sound == (other.summary["status"] == "completed")
        assert_near(one, other)  # the best epoch's test split is divided among all devices, and rounds differently


@pytest.mark.slow
def test_a_study_of_two_processes_selects_the_same_trials_as_one(words: list[str], tmp_path: pathlib.Path) -> None:
    study = ["compare", "digits", "--optimizers", "sgd", "--trials", "2", "--seeds", "2", "--epochs", "1", *words[:2]]
    study += ["--space", "sgd.learning_rate=1e-3..1e-1"]  # larger ones amplify differences in rounding
    all_well(started([*study, "--out", str(tmp_path / "one")], devices=[2]))
    (_, shown, _), (_, silent, _) = all_well(started([*study, "--out", str(tmp_path / "two"), "--devices", "4"]))
    assert "test accuracy" in shown
    assert silent.count("\n") == 1
    one, two = (json.loads((tmp_path / name / "study.json").read_text()) for name in ("one", "two"))
    for mine, others in itertools.zip_longest(one["selections"], two["selections"]):
        assert mine["trial"] == others["trial"]
        assert mine["among"] == others["among"]
    for mine, others in zip(runs(tmp_path / "one"), runs(tmp_path / "two"), strict=True):
        assert_near(mine, others)


@pytest.mark.slow
def test_inconsistent_options_are_refused_by_all_processes(words: list[str], tmp_path: pathlib.Path) -> None:
    run = ["run", "digits_cnn_adamw", *words, "--out", str(tmp_path / "runs")]
    for code, _, errors in ended(started([*run, "--devices", "3"])):
        assert code == 1
        assert "devices is 3. Expected: a multiple of 2, the number of processes, up to 4" in errors
    for code, _, errors in ended(started([*run, "--devices", "4"], own=(["--seed", "1"], ["--seed", "2"]))):
        assert code == 1
        assert "The processes were told to train different runs. Expected the same command and the same data" in errors
    logs = (["--log-every", "1"], ["--log-every", "2"])
    for code, _, errors in ended(started([*run, "--devices", "4"], own=logs)):
        assert code == 1
        assert "The processes were told to train different runs" in errors
    for code, _, errors in ended(started([*run, "--devices", "2"], devices=[2, 1])):
        assert code == 1
        assert "The processes have [2, 1] devices. Expected the same number in each" in errors
    assert not list((tmp_path / "runs").rglob("metrics.jsonl"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--process", "2/2", "--coordinator", "localhost:1"], "--process is '2/2'. Expected: I/N with 0 <= I < N"),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (["--process", "one"], "--process is 'one'. Expected: I/N"),
                (["--process", "0/2"], "--coordinator is None. Expected HOST:PORT with --process 0/2"),
                (["--process", "0/2", "--coordinator", "here"], "--coordinator is here. Expected HOST:PORT"),
                (["--coordinator", "localhost:1"], "--coordinator is only used with several processes. Expected"),
                (["--process", "auto"], "the processes did not find each other"),
            )
        ),
    ],
)
def test_invalid_process_flags_are_refused(flags: list[str], message: str, tmp_path: pathlib.Path) -> None:
    (child,) = started(["run", "digits_cnn_adamw", "--out", str(tmp_path), *flags], devices=[2])
    ((code, _, errors),) = ended([child])
    assert code == 1
    assert message in errors
    assert not list(tmp_path.iterdir())


def test_a_port_that_another_program_uses_is_refused(tmp_path: pathlib.Path) -> None:
    with socket.create_server(("", 0)) as taken:
        coordinator = f"localhost:{taken.getsockname()[1]}"
        flags = ["--process", "0/2", "--coordinator", coordinator, "--out", str(tmp_path)]
        ((code, _, errors),) = ended(started(["run", "digits_cnn_adamw", *flags], devices=[2]))
    assert code == 1
    assert f"--coordinator is {coordinator}, but process 0 cannot listen at {coordinator}" in errors


@pytest.mark.slow
def test_an_address_of_another_machine_is_refused(tmp_path: pathlib.Path) -> None:
    flags = ["--process", "0/2", "--coordinator", "192.0.2.1:4321", "--out", str(tmp_path)]  # for documentation
    ((code, _, errors),) = ended(started(["run", "digits_cnn_adamw", *flags], devices=[2]))
    assert code == 1
    assert "process 0 cannot listen at 192.0.2.1:4321" in errors
    assert "JAX_COORDINATOR_BIND_ADDRESS" in errors


def test_different_numbers_of_processes_are_refused_by_all_processes(words: list[str], tmp_path: pathlib.Path) -> None:
    run = ["run", "digits_cnn_adamw", *words, "--out", str(tmp_path / "runs")]
    for code, _, errors in ended(started(run, own=([], ["--process", "1/3"]))):
        assert code == 1
        assert re.search(
            r"--process says that there are (2|3) processes, but --process of process . says (2|3)", errors
        )
    assert not list((tmp_path / "runs").rglob("*"))


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.slow
def test_the_remaining_process_prints_how_to_resume(victim: int, words: list[str], tmp_path: pathlib.Path) -> None:
    """Kills one process after both have connected, then during training. The next start removes leftover folders."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    run = ["run", "digits_cnn_adamw", "--epochs", "1000", *SMALL, *words, "--devices", "4", "--out", str(tmp_path)]
    left: set[pathlib.Path] = set()
    for lines in (0, 9):
        children = started(run, temporary=temporary)
        deadline = time.monotonic() + 120
        while not set(temporary.glob("jaxopt-bench-*/jaxopt-bench.lock")) - left:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not left & set(temporary.glob("jaxopt-bench-*/jaxopt-bench.lock"))
        if lines:
            wait_for_lines(tmp_path, lines)
        children[victim].kill()
        code, _, errors = ended(children)[1 - victim]
        assert code == 1
        assert f"process {1 - victim}/2 cannot continue without the others" in errors
        assert "training resumes from the last checkpoint" in errors
        left = set(temporary.glob("jaxopt-bench-*/jaxopt-bench.lock"))


@pytest.mark.slow
def test_the_first_process_listens_only_at_the_coordinators_address(tmp_path: pathlib.Path) -> None:
    (child, _) = started(["run", "digits_cnn_adamw", "--out", str(tmp_path)])
    listening: list[str] = []
    deadline = time.monotonic() + 60
    while not listening and child.poll() is None and time.monotonic() < deadline:
        listening = [c.laddr.ip for c in psutil.Process(child.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    for each in (child, _):
        each.kill()
        each.communicate()
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, -2.5, True, "ü", [None]],
        {"a/b.json": b"\x00\xff{}", "folder": None, "bytes": b""},
        [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros((0, 3)), np.uint32(7), np.array([np.nan, np.inf])],
        [np.asarray(jax.numpy.ones(3, jax.numpy.bfloat16)), np.array([True]), np.array(2**63 - 1)],
    ],
)
def test_values_that_processes_exchange_arrive_unchanged(value: Any) -> None:
    found = decode_message(encode_message(value) + bytes(3))
    assert jax.tree.structure(found) == jax.tree.structure(value)
    for sent, received in zip(jax.tree.leaves(value), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(received, sent)
        assert np.asarray(received).dtype == np.asarray(sent).dtype


def test_values_that_only_pickle_could_encode_are_not_exchanged() -> None:
    for value in (object(), print, {1, 2}, np.array([print], object)):
        with pytest.raises(TypeError):
            encode_message(value)


def test_flags_of_processes_and_shards_cannot_be_combined() -> None:
    with pytest.raises(UserError, match="--process cannot be used with --executor ray or --shard"):
        parse(["compare", "digits", "--process", "0/2", "--coordinator", "localhost:1", "--shard", "0/2"])
