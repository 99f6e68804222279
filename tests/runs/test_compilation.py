"""The cache of compiled programs: on by default, never against what was asked for."""

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
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # however fast this machine compiles
print(json.dumps(jax.config.jax_compilation_cache_dir))
jax.jit(lambda x: sum(jax.numpy.linalg.matrix_power(x, n) for n in range(50)))(jax.numpy.ones((64, 64)))
"""


def cache_dir(**variables: str) -> str | None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    kept.pop("JAXOPT_BENCH_CACHE_DIR", None)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**kept, **variables}, capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def test_by_default_it_lies_in_the_users_cache_and_is_written(tmp_path):
    found = cache_dir(XDG_CACHE_HOME=str(tmp_path))
    assert found is not None
    assert pathlib.Path(found).parent == tmp_path / "jaxopt_bench"
    assert [path for path in pathlib.Path(found).iterdir() if path.stat().st_size > 1000]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({"JAX_COMPILATION_CACHE_DIR": "/elsewhere"}, "/elsewhere"), ({"JAXOPT_BENCH_CACHE_DIR": ""}, None)],
)
def test_what_was_set_up_or_switched_off_stays_so(variables, expected):
    assert cache_dir(**variables) == expected


def test_another_folder_can_be_named(tmp_path):
    found = cache_dir(JAXOPT_BENCH_CACHE_DIR=str(tmp_path))
    assert found is not None
    assert pathlib.Path(found).parent == tmp_path
