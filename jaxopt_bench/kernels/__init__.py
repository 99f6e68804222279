"""Loads the library of C++ functions that `build` compiles, and registers its functions with XLA, for CPUs.

The modules that call the functions describe their use in networks and optimizers.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import pathlib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from jaxopt_bench.errors import UserError

FOLDER = pathlib.Path(__file__).parent
LIBRARY = FOLDER / "kernels.so"
"""The library with the functions of all sources."""

TARGETS: Mapping[str, bool] = {
    "jaxopt_bench_attend": True,
    "jaxopt_bench_batch_norm_sums": False,
    "jaxopt_bench_convolve": True,
    "jaxopt_bench_layer_norm": False,
    "jaxopt_bench_layer_norm_gradient": False,
    "jaxopt_bench_multiply": True,
    "jaxopt_bench_update": False,
}
"""The functions that XLA can call, and whether each needs oneDNN. Without oneDNN, only the others are built."""

SPINS = "10000"
"""How often an OpenMP thread checks for new work before it sleeps; see `_short_waits`."""

COMMAND = "`jaxopt-bench kernels` (in a checkout: `make kernels`)"
"""The command that builds the library."""


@functools.cache
def library() -> Any:
    """Returns the library. Returns None if it is not built, and warns and returns None if it cannot be used.

    The library is loaded once per process. Its functions are then registered with XLA.
    """
    if not LIBRARY.exists():
        return None
    if os.environ.get("NPROC"):  # XLA's number of threads
        os.environ.setdefault("OMP_NUM_THREADS", os.environ["NPROC"])
    try:
        return _load(LIBRARY)
    except Exception as error:  # it may have several types; training also works without the library, but more slowly
        warnings.warn(f"the CPU kernels in {LIBRARY} are not used: {error}. {COMMAND} builds them again.", stacklevel=2)
        return None


def onednn_version() -> str | None:
    """Returns the version of oneDNN that the functions call, or None if functions that need oneDNN cannot be used."""
    return _onednn_of(library())


def check_onednn() -> None:
    """Checks that the functions that call oneDNN can be used.

    Raises:
      UserError: if the library is not built, cannot be loaded, or was built without oneDNN.
    """
    if onednn_version() is None:
        raise UserError(
            f"{LIBRARY} is not built, cannot be loaded, or was built without oneDNN. Install oneDNN (extra `kernels`), "
            f"and build the library with {COMMAND}, or choose other layers (JAXOPT_BENCH_LAYERS)."
        )


def description() -> str:
    """Returns the compiler that built the library and the oneDNN that it calls. The library must be usable."""
    used = library()
    found = (
        f"oneDNN {version} ({_text(used, 'jaxopt_bench_onednn_file')})"
        if (version := _onednn_of(used))
        else "no oneDNN"
    )
    return f"{_text(used, 'jaxopt_bench_compiler')}, {found}"


def source_digest() -> str:
    """Returns a digest of all sources. A library is used only if it was built from these sources."""
    digest = hashlib.sha256()
    for path in sources("*.cc", "*.h"):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def sources(*patterns: str) -> list[pathlib.Path]:
    """Returns the source files whose names match one of the patterns, in the order of their names."""
    return sorted(path for pattern in patterns for path in FOLDER.glob(pattern))


def _onednn_of(loaded: Any) -> str | None:
    return _text(loaded, "jaxopt_bench_onednn_version") if hasattr(loaded, "jaxopt_bench_onednn_version") else None


def _load(path: pathlib.Path) -> ctypes.CDLL:
    """Loads a library and registers its functions with XLA.

    Raises:
      OSError: if it cannot be loaded, or was built from other sources.
      AttributeError: if it lacks a function.
    """
    with _short_waits():
        loaded = ctypes.CDLL(str(path))
    if (found := _text(loaded, "jaxopt_bench_source_digest")) != (wanted := source_digest()):
        raise OSError(f"they were built from other sources (digest {found}) than the current ones ({wanted})")
    for name, needs_onednn in TARGETS.items():
        if _onednn_of(loaded) or not needs_onednn:
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    return loaded


@contextlib.contextmanager
def _short_waits() -> Iterator[None]:
    """Shortens the busy waiting of OpenMP's threads, if OpenMP is loaded in this context.

    By default (300,000 checks) the threads keep their cores busy for milliseconds, while XLA's threads need the cores.
    If they sleep at once (OMP_WAIT_POLICY=passive), small convolutions wait until the threads wake up. If the user has
    set GOMP_SPINCOUNT or OMP_WAIT_POLICY, nothing is changed.

    Measured on two cores of an AMD EPYC with SGD and batch size 128, as medians of two comparisons of 7 and 15
    alternating blocks (workers of `python -m experiments.speed --only networks --layers onednn`): relative to OpenMP's
    default, ResNet-20 trains 1.09 and 1.07 times as fast with 10,000 checks, and 1.04 and 1.07 times as fast with
    passive waiting. The speed of the small AlexNet does not change.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # processes that this one starts must not inherit it


def _text(loaded: ctypes.CDLL, name: str) -> str:
    """Calls a function without arguments that returns text, and returns the text."""
    function = getattr(loaded, name)
    function.restype = ctypes.c_char_p
    return function().decode()
