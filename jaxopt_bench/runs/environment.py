"""Facts about the environment of a run (versions, devices, options), for `config.json`."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from collections.abc import Mapping
from typing import Any

import jax

from jaxopt_bench import kernels
from jaxopt_bench.config import flattened
from jaxopt_bench.errors import UserError
from jaxopt_bench.huge_pages import has_huge_pages
from jaxopt_bench.training import CodePath

PACKAGES = ("jaxopt-bench", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tensorflow-datasets", "clu")
VARIABLES = ("XLA_FLAGS", "OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE")  # these change how programs round


def check_jax_options() -> None:
    """Checks that JAX's options do not change the computations of experiments.

    Raises:
      UserError: if JAX uses float64, or the random number generation that it had before version 0.5.
    """
    if jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise UserError("JAX_ENABLE_X64 is on. Expected: off, since experiments compute in float32 or bfloat16.")
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        raise UserError("JAX_THREEFRY_PARTITIONABLE is off. Expected: on, because it changes the random numbers.")


def environment(code_path: CodePath, members: int = 1) -> dict[str, Any]:
    """Returns versions, devices, threads, options, code path and source revision as JSON values.

    Args:
      code_path: the code path of the run.
      members: the number of runs that the same program computes.
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES} | _kernels(code_path),
        "backend": jax.default_backend(),
        "devices": [device.device_kind for device in devices],
        "processes": jax.process_count(),
        "threads": thread_count(),
        "huge_pages": has_huge_pages(),
        "options": {
            **{name: os.environ.get(name) or None for name in VARIABLES},
            "matmul_precision": jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined]
        },
        "code_path": code_path.to_json(),
        "members": members,
        "revision": _revision(),
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Returns a description in words of each difference between two environments."""
    one, other = flattened(before), flattened(after)
    return [
        f"{name} was {one.get(name)} and is {other.get(name)}"
        for name in dict.fromkeys([*one, *other])
        if name != "step" and one.get(name) != other.get(name)
    ]


def thread_count() -> int:
    """Returns the number of threads that XLA uses on a CPU."""
    if os.environ.get("NPROC", "").isdecimal():  # XLA reads this variable
        return int(os.environ["NPROC"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kernels(code_path: CodePath) -> dict[str, str | None]:
    return {"onednn": kernels.onednn_version()} if code_path.layers == "onednn" else {}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Returns the git commit of the source, with a mark if files were changed; None outside a git checkout."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
