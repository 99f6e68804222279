"""Functions in C++ that XLA calls on CPUs: loads the library that `build` has compiled, and registers them with XLA.

What the functions mean to a network or an optimizer has no place here; the modules that call them say it.
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
"""The library, which holds the functions of all sources."""

TARGETS: Mapping[str, bool] = {
    "jaxopt_bench_convolve": True,
    "jaxopt_bench_multiply": True,
    "jaxopt_bench_update": False,
}
"""The functions that XLA can call, and whether each needs oneDNN. Without oneDNN those that need it are not built."""

SPINS = "10000"
"""How often a thread of OpenMP looks for new work before it sleeps; see `_short_waits`."""

COMMAND = "`jaxopt-bench kernels` (in a checkout: `make kernels`)"
"""What builds the library."""


@functools.cache
def library() -> Any:
    """Returns the library, or None if it is not built, or, after a warning, if it cannot be used.

    It is loaded once in a process, and its functions are then registered with XLA.
    """
    if not LIBRARY.exists():
        return None
    if os.environ.get("NPROC"):  # XLA's number of threads
        os.environ.setdefault("OMP_NUM_THREADS", os.environ["NPROC"])
    try:
        return _load(LIBRARY)
    except Exception as error:  # of several types; training works without the library, more slowly
        warnings.warn(f"the CPU kernels in {LIBRARY} are not used: {error}. {COMMAND} builds them again.", stacklevel=2)
        return None


def onednn_version() -> str | None:
    """Returns the version of the oneDNN that the functions call, or None if those that need it cannot be used."""
    return _onednn_of(library())


def check_onednn() -> None:
    """Checks that the functions that call oneDNN can be used.

    Raises:
      UserError: if the library is not built, or is built without oneDNN.
    """
    if onednn_version() is None:
        raise UserError(f"{LIBRARY} is not built, or without oneDNN. {COMMAND} builds it; or use other layers.")


def description() -> str:
    """Returns which compiler built the library that is used, and which oneDNN it calls; there must be one."""
    used = library()
    found = (
        f"oneDNN {version} ({_text(used, 'jaxopt_bench_onednn_file')})"
        if (version := _onednn_of(used))
        else "no oneDNN"
    )
    return f"{_text(used, 'jaxopt_bench_compiler')}, {found}"


def source_digest() -> str:
    """Returns a digest of all sources. A library is used only if it was built from these."""
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
        raise OSError(f"they were built from other sources (digest {found}) than there are now ({wanted})")
    for name, needs_onednn in TARGETS.items():
        if _onednn_of(loaded) or not needs_onednn:
            jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    return loaded


@contextlib.contextmanager
def _short_waits() -> Iterator[None]:
    """Lets the threads of the OpenMP that is loaded meanwhile wait busily for a short time only, then sleep.

    By default (300,000 looks) they keep their cores busy for milliseconds, while XLA's threads need them. If they sleep
    at once (OMP_WAIT_POLICY=passive), small convolutions wait for them to wake up. A user's GOMP_SPINCOUNT or
    OMP_WAIT_POLICY has precedence.

    Two cores of an AMD EPYC, SGD, batch 128, relative to OpenMP's default, medians of two comparisons of 7 and 15
    blocks by turns (workers of `python -m experiments.speed --only networks --layers onednn`): ResNet-20 trains 1.09
    and 1.07 times as fast with 10,000 looks, 1.04 and 1.07 times with passive waiting. The small AlexNet does not
    change.
    """
    if "GOMP_SPINCOUNT" in os.environ or "OMP_WAIT_POLICY" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # it is not for the processes that this one starts


def _text(loaded: ctypes.CDLL, name: str) -> str:
    """Returns what a function without arguments returns as text."""
    function = getattr(loaded, name)
    function.restype = ctypes.c_char_p
    return function().decode()
