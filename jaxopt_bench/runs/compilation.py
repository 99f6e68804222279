"""Keeps compiled programs on disk, so that each program is compiled only once and later starts are faster."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pathlib
import platform
import tempfile
import warnings
from collections.abc import Iterator

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from jaxopt_bench.files import CACHE, cache_folder


def keep_compiled_programs() -> None:
    """Turns JAX's persistent compilation cache on, unless it is already configured or switched off.

    If the cache folder cannot be written, this function warns and leaves the cache off: then every start compiles
    again.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    try:
        if (root := cache_folder()) is None:
            return
        folder = root / f"programs-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError) as error:  # RuntimeError is raised for a user without a home folder
        _warn_once(
            f"compiled programs cannot be kept ({error}), so every start compiles them again. To avoid that, name a "
            f"writable folder in the environment variable {CACHE}, or set it to nothing to stop this warning."
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@contextlib.contextmanager
def compiling_anew() -> Iterator[None]:
    """Compiles all programs of the block without the compilation cache: it neither reads nor writes cached programs."""
    before = jax.config.jax_enable_compilation_cache  # type: ignore[attr-defined]
    jax.config.update("jax_enable_compilation_cache", False)
    reset_cache()  # otherwise JAX would not read the option again
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        reset_cache()


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, stacklevel=3)


def _processor() -> str:
    """Returns a digest of the processor's features. Machines may share a home folder but not their compiled code."""
    features = [platform.machine(), platform.processor()]
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        features += sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:12]
