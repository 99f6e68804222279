"""A closed output or characters that cannot be encoded stop no command; a full output gives a short error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jaxopt_bench import load_run
from tests.faults.harness import ROOT

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
COMMAND = [sys.executable, "-m", "jaxopt_bench"]


def called(words, folder, pipe="", **environment) -> subprocess.CompletedProcess[bytes]:
    """Runs a command, whose output a shell pipes into other commands, and returns its result."""
    script = f'"$@" {pipe}; exit ${{PIPESTATUS[0]}}'
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "environment",
    [ASCII, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
)
@pytest.mark.slow
def test_characters_that_cannot_be_encoded_are_replaced(environment, tmp_path):
    words = ["sweep", "digits_cnn_sgd", "--epochs", "1", "--no-tensorboard", "--seeds", "2"]
    done = called(words, tmp_path, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    text = done.stdout.decode("latin-1")
    assert "2 runs, " in text
    assert "?" not in text
    assert called(["list"], tmp_path, **environment).returncode == 0


@pytest.mark.parametrize("words", [["--help"], ["list"], pytest.param(["run", "--help"], marks=pytest.mark.slow)])
def test_a_listing_whose_output_is_closed_ends_quietly(words, tmp_path):
    for pipe in ("| head -1", "| true"):
        done = called(words, tmp_path, pipe)
        assert (done.returncode, done.stderr) == (0, b"")


def test_training_continues_when_its_output_is_closed(tmp_path):
    done = called(["run", "digits_cnn_sgd", "--epochs", "2", "--no-tensorboard"], tmp_path, "| head -1")
    assert (done.returncode, done.stderr) == (0, b"")
    (path,) = (tmp_path / "runs" / "digits_cnn_sgd").iterdir()
    summary = load_run(path).summary
    assert summary is not None
    assert summary["status"] == "completed"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full is Linux's")
def test_output_that_cannot_be_written_is_an_error_at_the_end(tmp_path):
    done = called(["list"], tmp_path, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == b"error: standard output could not be written: No space left on device.\n"


@pytest.mark.parametrize("columns", ["0", *(pytest.param(text, marks=pytest.mark.slow) for text in ("1", "abc"))])
def test_an_invalid_terminal_width_is_ignored(columns, tmp_path):
    done = called(["list", "schedules"], tmp_path, COLUMNS=columns)
    assert done.stdout == called(["list", "schedules"], tmp_path, COLUMNS="80").stdout
    assert b"cosine" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["run", "digits_cnn_sgd"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (["sweep", "digits_cnn_sgd"], ["compare", "digits"])
        ),
    ],
)
def test_a_missing_backend_is_reported_before_anything_is_written(words, tmp_path):
    done = called(words, tmp_path, JAX_PLATFORMS="cuda")
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: JAX finds no backend with JAX_PLATFORMS=cuda (")
    assert b"train on the CPU with JAX_PLATFORMS=cpu.\n" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_message_and_a_traceback_only_with_debug(tmp_path):
    words = ["run", "digits_cnn_sgd", "--epochs", "3", "--no-tensorboard"]
    command = " ".join(['ulimit -f 30; trap "" XFSZ;', '"$@"'])
    for extra, most in (([], 10), (["--debug"], 1000)):
        done = subprocess.run(
            ["bash", "-c", command, "bash", *COMMAND, *words, *extra],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 1
        assert "could not be written" in done.stderr
        assert len(done.stderr.splitlines()) <= most, done.stderr
        assert ("Traceback" in done.stderr) == bool(extra)


def test_a_long_file_name_is_shortened(tmp_path):
    done = called(["show", 5000 * "x"], tmp_path)
    assert done.returncode == 1
    assert len(done.stderr) < 2000
