"""`jaxopt-bench kernels`: builds the CPU kernels, describes them, or removes them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Literal

import tyro

from jaxopt_bench import kernels
from jaxopt_bench.cli.command import COMPLETED, FAILED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.formatting import format_duration
from jaxopt_bench.kernels.build import build
from jaxopt_bench.training import choose_code_path

WITHOUT_ONEDNN = (
    "Without oneDNN, convolutions and dense layers take longer. To make them faster, install oneDNN (Linux x86-64: pip "
    "install 'jaxopt-bench[kernels]'; Debian: libdnnl-dev; conda: onednn), then build the kernels again."
)


@dataclasses.dataclass(frozen=True)
class KernelsFlags:
    """Build, show or remove the CPU kernels: functions in C++ that make training on CPUs faster.

    Building needs a C++17 compiler. oneDNN, which computes convolutions and dense layers, comes with the
    extra `kernels` on Linux x86-64. To use another compiler or another oneDNN, set the environment variables CXX,
    CXXFLAGS and LDFLAGS.
    """

    action: tyro.conf.Positional[Literal["build", "show", "remove"]] = "build"
    """Build the kernels, show the built kernels and whether they are used here, or remove them."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `kernels`."""
    return bind(change_or_show, KernelsFlags, "kernels", words)


def change_or_show(flags: KernelsFlags) -> int:
    """Builds, shows or removes the kernels; returns the exit code."""
    return {"build": _build, "show": _show, "remove": _remove}[flags.action]()


def _build() -> int:
    start = time.monotonic()
    build(kernels.LIBRARY)
    if kernels.library() is None:  # a warning has told the reason
        return FAILED
    print(f"built {kernels.LIBRARY} in {format_duration(time.monotonic() - start)}: {kernels.description()}")
    if kernels.onednn_version() is None:
        print(WITHOUT_ONEDNN)
    return COMPLETED


def _show() -> int:
    print(f"file: {kernels.LIBRARY}")
    if not kernels.LIBRARY.exists():
        print(f"built: no. {kernels.COMMAND} builds them.")
    elif kernels.library() is None:  # a warning has told the reason
        print("built: yes, but they cannot be used.")
    else:
        print(f"built: yes ({kernels.description()})")
    path = choose_code_path()
    print(f"oneDNN's convolutions used here: {_yes(path.layers == 'onednn')} (layers {path.layers})")
    print(f"fused updates used here: {_yes(path.updates == 'fused')} (updates {path.updates})")
    return COMPLETED


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _remove() -> int:
    if kernels.LIBRARY.exists():
        kernels.LIBRARY.unlink()
        print(f"removed {kernels.LIBRARY}")
    else:
        print(f"nothing to remove: {kernels.LIBRARY} does not exist")
    return COMPLETED
