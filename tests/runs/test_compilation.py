"""The cache of compiled programs: on by default, and never against the user's settings."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = """
import json, jax
from jaxopt_bench.runs.compilation import keep_compiled_programs
keep_compiled_programs()
keep_compiled_programs()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # however fast this machine compiles
print(json.dumps(jax.config.jax_compilation_cache_dir))
jax.jit(lambda x: sum(jax.numpy.linalg.matrix_power(x, n) for n in range(5)))(jax.numpy.ones((64, 64)))
"""


def cache_dir(**variables: str) -> str | None:
    return json.loads(run(PROGRAM, **variables).stdout)


def run(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    kept.pop("JAXOPT_BENCH_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", program], env={**kept, **variables}, capture_output=True, text=True, check=True
    )


def test_by_default_programs_are_cached_in_the_users_cache_folder(tmp_path):
    found = cache_dir(XDG_CACHE_HOME=str(tmp_path))
    assert found is not None
    assert pathlib.Path(found).parent == tmp_path / "jaxopt_bench"
    assert [path for path in pathlib.Path(found).iterdir() if path.stat().st_size > 1000]


def test_a_cache_that_was_configured_or_switched_off_is_not_changed(tmp_path):
    assert cache_dir(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own")) == str(tmp_path / "own")
    assert cache_dir(JAXOPT_BENCH_CACHE_DIR="") is None


def test_another_folder_can_be_chosen(tmp_path):
    found = cache_dir(JAXOPT_BENCH_CACHE_DIR=str(tmp_path))
    assert found is not None
    assert pathlib.Path(found).parent == tmp_path


@pytest.mark.parametrize(
    ("variable", "value"), [("JAXOPT_BENCH_CACHE_DIR", "FILE"), ("XDG_CACHE_HOME", "/sys"), ("HOME", "/proc/nothing")]
)
def test_a_folder_that_cannot_be_written_causes_one_warning_and_no_error(variable, value, tmp_path):
    (tmp_path / "file").touch()
    variables = {"XDG_CACHE_HOME": "", variable: value.replace("FILE", str(tmp_path / "file"))}
    done = run(PROGRAM, **variables)
    assert json.loads(done.stdout) is None
    assert done.stderr.count("compiled programs cannot be kept") == 1
    assert "JAXOPT_BENCH_CACHE_DIR" in done.stderr
