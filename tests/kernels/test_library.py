"""The choice of a library of CPU kernels, and the warnings about one that cannot be used."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from jaxopt_bench import kernels

At = Callable[[pathlib.Path], None]


@pytest.fixture
def built() -> pathlib.Path:
    """Returns the library of this working tree."""
    if kernels.library() is None:
        pytest.skip("the CPU kernels are not built (make kernels)")
    return kernels.LIBRARY


def test_a_missing_library_is_not_used(kernels_at: At, tmp_path: pathlib.Path) -> None:
    kernels_at(tmp_path / "kernels.so")
    assert kernels.library() is None
    assert kernels.onednn_version() is None


def test_a_broken_library_is_not_used_and_a_warning_says_so(kernels_at: At, tmp_path: pathlib.Path) -> None:
    (tmp_path / "kernels.so").write_bytes(b"no library")
    kernels_at(tmp_path / "kernels.so")
    with pytest.warns(
        UserWarning, match=r"kernels\.so are not used: .*`jaxopt-bench kernels` \(.*\) builds them again"
    ):
        assert kernels.library() is None


def test_a_library_of_other_sources_is_not_used_and_a_warning_says_so(
    built: pathlib.Path, kernels_at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "source_digest", lambda: "0" * 12)
    kernels_at(built)
    with pytest.warns(UserWarning, match=r"other sources \(digest [0-9a-f]{12}\) than the current ones \(0{12}\)"):
        assert kernels.library() is None


def test_every_change_of_a_source_changes_the_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    digests = [kernels.source_digest()]
    monkeypatch.setattr(kernels, "FOLDER", tmp_path)
    for name, text in (("a.cc", "1"), ("a.cc", "2"), ("b.h", "2"), ("b.h", "3"), ("a.py", "1")):
        (tmp_path / name).write_text(text)
        digests.append(kernels.source_digest())
    assert len(set(digests)) == 5  # Python files are not sources
    assert digests[-1] == digests[-2]


@pytest.mark.parametrize(
    ("variables", "spins"),
    [({}, 10_000), ({"OMP_WAIT_POLICY": "active"}, 30_000_000_000), ({"GOMP_SPINCOUNT": "7"}, 7)],
)
def test_openmp_has_as_many_threads_as_xla_and_spins_briefly_by_default(
    built: pathlib.Path, variables: dict[str, str], spins: int
) -> None:
    code = (
        "import os; from jaxopt_bench import kernels; before = {**os.environ}; assert kernels.library(); "
        "assert {**os.environ} == before | {'OMP_NUM_THREADS': '3'}"
    )
    folder = str(pathlib.Path(kernels.__file__).parents[2])
    environment = {"NPROC": "3", "PATH": "", "PYTHONPATH": folder, "OMP_DISPLAY_ENV": "verbose", **variables}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "OMP_NUM_THREADS = '3'" in found.stderr
    assert f"GOMP_SPINCOUNT = '{spins}'" in found.stderr


PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
AFFINITIES = """
import json, os
import jax.numpy as jnp
from jaxopt_bench.models import products

products.SMALLEST = 0
products.dot_general(jnp.ones((64, 32)), jnp.ones((32, 16)), (((1,), (0,)), ((), ()))).block_until_ready()
print(json.dumps([sorted(os.sched_getaffinity(int(thread))) for thread in os.listdir("/proc/self/task")]))
"""


@pytest.mark.skipif(len(PROCESSORS) < 2, reason="needs Linux, and two processors")
@pytest.mark.parametrize(
    ("variables", "pinned"),
    [
        ({}, PROCESSORS),
        ({"OMP_NUM_THREADS": "1"}, []),
        ({"OMP_NUM_THREADS": str(len(PROCESSORS) + 1)}, []),
        ({"OMP_PROC_BIND": "false"}, []),
    ],
    ids=str,
)
def test_only_threads_of_a_team_with_one_thread_per_processor_are_pinned(
    variables: dict[str, str], pinned: list[int]
) -> None:
    if kernels.onednn_version() is None:
        pytest.skip("the CPU kernels are not built, or without oneDNN (make kernels)")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    folder = str(pathlib.Path(kernels.__file__).parents[2])
    found = subprocess.run(
        [sys.executable, "-c", AFFINITIES],
        env={**environment, "PYTHONPATH": folder, **variables},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    affinities = json.loads(found.stdout)
    assert sorted(affinity[0] for affinity in affinities if len(affinity) == 1) == pinned
    assert all(affinity == PROCESSORS for affinity in affinities if len(affinity) > 1)
