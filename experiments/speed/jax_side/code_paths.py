"""The code paths of the project that are worth measuring on this backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import jax

from jaxopt_bench import kernels
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.training import CodePath, choose_code_path

EVERY: tuple[LayersPath, ...] = ("plain", "native", "pure", "onednn")


def paths(layers: Sequence[str] = EVERY) -> tuple[CodePath, ...]:
    """Returns the code paths with these layers that are worth timing on this backend; XLA's own layers come first.

    On CPUs XLA's own layers use a loop in Python, and no loop over members: in a compiled loop XLA's convolutions are
    tens of times slower.
    """
    if jax.default_backend() == "cpu":
        updates = choose_code_path().updates
        fast = [CodePath(each, "compiled", "map", updates) for each in _fast_on_cpu()]
        found = [CodePath("plain", "python", "vmap"), *fast]
    else:
        found = [CodePath(each, "compiled", "vmap") for each in EVERY if each != "onednn"]
    return tuple(path for path in found if path.layers in layers)


def population_paths(layers: Sequence[str] = EVERY) -> tuple[CodePath, ...]:
    """Returns the code paths with these layers on which populations are worth timing on this backend."""
    fast = _fast_on_cpu() if jax.default_backend() == "cpu" else [each for each in EVERY if each != "onednn"]
    chosen = [each for each in fast if each in layers]
    updates = choose_code_path().updates
    together: list[Literal["map", "vmap"]] = ["map", "vmap"]
    return tuple(CodePath(each, "compiled", members, updates) for each in chosen for members in together)


def _fast_on_cpu() -> list[LayersPath]:
    return ["pure"] if kernels.onednn_version() is None else ["pure", "onednn"]


def path_on_devices(devices: int) -> CodePath:
    """Returns the code path of runs on a number of devices.

    On CPUs one device uses the layers of several devices, so that nothing else differs.
    """
    path = choose_code_path(devices=devices)
    return dataclasses.replace(path, layers="pure") if jax.default_backend() == "cpu" else path
