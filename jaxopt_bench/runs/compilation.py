"""Compiled programs kept on disk, so that what was compiled once starts at once."""

from __future__ import annotations

import hashlib
import os
import pathlib
import platform

import jax

DIRECTORY = "JAXOPT_BENCH_CACHE_DIR"
"""Environment variable that names another folder for it; empty for none."""


def keep_compiled_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless it has been set up or switched off otherwise."""
    chosen = os.environ.get(DIRECTORY)
    if chosen == "" or jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    root = pathlib.Path(chosen) if chosen else _user_cache() / "jaxopt_bench"
    jax.config.update("jax_compilation_cache_dir", str(root / f"programs-{_processor()}"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


def _user_cache() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")


def _processor() -> str:
    """Returns a digest of what the processor can do: a home folder may be shared by machines, their code may not."""
    features = [platform.machine(), platform.processor()]
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        features += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:12]
