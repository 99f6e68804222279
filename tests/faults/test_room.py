"""A full or read-only disk or a removed directory is a clear error, and the run resumes after a repair."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from jaxopt_bench.runs.checkpoints import checkpoint_steps
from tests.faults.harness import ROOT

linux = pytest.mark.skipif(shutil.which("unshare") is None, reason="mounts of one's own are Linux's")


def namespaced(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a shell script that may mount file systems, which other processes do not see."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-euc", script, "bash", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("kind", ["single", "population"])
@pytest.mark.slow
def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_earlier_ones_intact(kind, stopped, tally):
    disturbed = stopped(kind)
    before = checkpoint_steps(disturbed.checkpoints)
    code, errors = disturbed.run_child(largest_file=20_000)
    assert code == 1
    assert "could not be written" in errors
    assert f"continues from the checkpoint of step {before[-1]}" in errors
    assert checkpoint_steps(disturbed.checkpoints) == before
    disturbed.resume_and_compare()
    tally.add(f"no room for a file, {kind}")


@linux
@pytest.mark.parametrize("room", ["150k", "500k", "700k", "800k"])
@pytest.mark.slow
def test_a_full_disk_is_an_error_and_the_run_resumes_when_there_is_space_again(room, bench, tally):
    disturbed = bench("single")
    disturbed.runs_dir.mkdir()
    script = """
        mount -t tmpfs -o size="$2" tmpfs "$1"
        "${@:3}" && exit 9
        mount -o remount,size=64m "$1"
        "${@:3}"
        mkdir "$1/../kept"; cp -r "$1"/. "$1/../kept"
    """
    done = namespaced(script, str(disturbed.runs_dir), room, *disturbed.command())
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stderr
    disturbed.runs_dir.rmdir()
    (disturbed.folder / "kept").rename(disturbed.runs_dir)
    disturbed.resume_and_compare()
    tally.add("the disk full")


@linux
def test_a_read_only_disk_is_an_error_that_changes_nothing(stopped, tally):
    disturbed = stopped("single")
    script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; shift; "$@"'
    done = namespaced(script, str(disturbed.runs_dir), *disturbed.command())
    assert done.returncode == 1
    assert "Read-only file system" in done.stderr
    assert str(disturbed.run_dirs[0]) in done.stderr
    disturbed.resume_and_compare()
    tally.add("the disk read-only")


@pytest.mark.slow
def test_a_directory_that_is_removed_during_training_is_an_error(bench, tally):
    disturbed = bench("single")
    code, errors = disturbed.run_child(remove_at=30)
    assert code == 1
    assert str(disturbed.run_dirs[0]) in errors
    disturbed.resume_and_compare()
    tally.add("the directory removed while it was written")
