"""How programs are compiled for a backend. Only this module chooses; its choices change only speed and rounding."""

from __future__ import annotations

import dataclasses
import os
import typing
from typing import Any, Literal

import jax

from jaxopt_bench import kernels
from jaxopt_bench.config import Config, number_field
from jaxopt_bench.errors import UserError, in_one_line
from jaxopt_bench.models.layers import LayersPath

LAYERS = "JAXOPT_BENCH_LAYERS"
"""Environment variable that names other layers than the default of the backend."""
SIDE_BY_SIDE = "JAXOPT_BENCH_SIDE_BY_SIDE"
"""Environment variable that sets how many members of a population are trained at the same time."""

UPDATES = "JAXOPT_BENCH_UPDATES"
"""Environment variable that names another way to update parameters than the default of the backend."""

UpdatesPath = Literal["optax", "fused"]


@dataclasses.dataclass(frozen=True)
class CodePath(Config):
    """One of several ways to compute the same result, up to rounding.

    Results are guaranteed to be bit-identical only if all fields except `side_by_side` are equal. The defaults are the
    simplest choices, which any backend of JAX should be able to run.
    """

    layers: LayersPath = "plain"
    """The implementations of the layers; see `models.Layers.path`."""
    loop: Literal["python", "compiled"] = "python"
    """Whether Python calls every step, or a compiled loop makes as many steps as the host requests."""
    members: Literal["map", "vmap"] = "vmap"
    """Whether the members of a population take turns within a program, or are computed together."""
    updates: UpdatesPath = "optax"
    """Whether parameters are updated by optax's transformations or in one pass over memory, if the optimizer supports
    this; see `optimizers.fused`."""
    devices: int = number_field(1, at_least=1)
    """The number of devices that share the work: the members of a population, or each batch; see `devices`."""
    deterministic: bool = False
    """Whether the compiler must avoid optimizations that make repetitions differ; this costs speed."""
    side_by_side: int | None = number_field(1, at_least=1)
    """If members take turns: the number of parts of a population, each trained by its own thread; None if it is
    measured when the population starts. It does not change any bit of the results."""

    @property
    def allows_side_by_side(self) -> bool:
        """Whether threads could train members at the same time: if members take turns on one device."""
        return self.members == "map" and self.loop == "compiled" and self.devices == 1

    def compiler_options(self) -> dict[str, Any] | None:
        """Returns XLA's options beyond its defaults, for the backend in use."""
        if not self.deterministic or jax.default_backend() != "gpu":
            return None  # on other backends, programs are deterministic by default
        return {"xla_gpu_deterministic_ops": True, "xla_gpu_autotune_level": 0}


_SIMULATED = " (XLA_FLAGS=--xla_force_host_platform_device_count=N makes N devices of a CPU)"


def options_to_run_once() -> dict[str, Any] | None:
    """Returns XLA's options for a program that is run once: on CPU, they reduce the compilation time.

    The program for the initial state of a ResNet-20 then compiles in a fifth of the time, with bit-identical results.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None


def default_backend() -> str:
    """Returns the platform that JAX computes on, such as "cpu".

    Raises:
      UserError: if JAX finds no platform, as with JAX_PLATFORMS=cuda on a machine without CUDA.
    """
    try:
        return jax.default_backend()
    except Exception as error:  # JAX raises exceptions of several types
        asked = f" with JAX_PLATFORMS={platforms}" if (platforms := os.environ.get("JAX_PLATFORMS")) else ""
        raise UserError(
            f"JAX finds no backend{asked} ({in_one_line(error).removesuffix(': ')}). Install the extra for this "
            "hardware (cuda12, cuda13 or metal; see Installation in the README), or train on the CPU with "
            "JAX_PLATFORMS=cpu."
        ) from error


def choose_code_path(backend: str | None = None, deterministic: bool = False, devices: int = 1) -> CodePath:
    """Returns the code path for a backend, unless environment variables name another one.

    They are $JAXOPT_BENCH_LAYERS, $JAXOPT_BENCH_UPDATES and $JAXOPT_BENCH_SIDE_BY_SIDE.

    Args:
      backend: the name of a platform; that of `jax.default_backend` if it is None.
      deterministic: see `CodePath`.
      devices: see `CodePath`; oneDNN's layers and fused updates support only one device.

    Raises:
      UserError: if a variable has an unknown value or one that does not work here, if there are fewer devices, or if
        JAX finds no backend.
    """
    backend = backend or default_backend()
    _check_devices(devices)
    match backend:
        case "cpu":
            one_call = (
                devices > 1 or kernels.onednn_version() is None
            )  # oneDNN's calls cannot divide a batch among devices
            path = CodePath("pure" if one_call else "onednn", "compiled", "map")
        case "gpu" | "tpu":
            path = CodePath("native", "compiled", "vmap")
        case _:
            path = CodePath()
    if named := os.environ.get(LAYERS):
        path = _with_layers(path, named, devices)
    if _can_fuse(backend, devices):
        path = dataclasses.replace(path, updates="fused")
    if named := os.environ.get(UPDATES):
        path = _with_updates(path, named, _can_fuse(backend, devices))
    path = dataclasses.replace(path, deterministic=deterministic, devices=devices)
    return dataclasses.replace(path, side_by_side=_side_by_side(path, os.environ.get(SIDE_BY_SIDE)))


def _can_fuse(backend: str, devices: int) -> bool:
    return backend == "cpu" and devices == 1 and kernels.library() is not None


def _with_updates(path: CodePath, named: Any, can_fuse: bool) -> CodePath:
    if named not in (known := typing.get_args(UpdatesPath)):
        raise UserError(f"{UPDATES} is {named!r}. Expected one of {', '.join(known)}.")
    if named == "fused" and not can_fuse:
        raise UserError(
            f"{UPDATES} is {named!r}. Expected optax: fused updates need one device, a CPU, and the CPU kernels, which "
            f"{kernels.COMMAND} builds."
        )
    return dataclasses.replace(path, updates=named)


def _check_devices(devices: int) -> None:
    """Checks that there are enough devices, and that several processes can have equal numbers of them."""
    processes, most = jax.process_count(), jax.device_count()
    if devices > most or devices % processes:
        simulated = _SIMULATED if jax.default_backend() == "cpu" else ""
        each = f"a multiple of {processes}, the number of processes, up to" if processes > 1 else "1 to"
        raise UserError(
            f"devices is {devices}. Expected: {each} {most}, the number of {jax.default_backend()} devices{simulated}."
        )


def _with_layers(path: CodePath, named: Any, devices: int) -> CodePath:
    if named not in (known := typing.get_args(LayersPath)):
        raise UserError(f"{LAYERS} is {named!r}. Expected: {', '.join(known)}.")
    if named != "onednn":
        slow = path.members == "map" and named != "pure"  # XLA's own convolutions in a compiled loop on a CPU
        return CodePath(named) if slow else dataclasses.replace(path, layers=named)
    if path.members != "map" or devices > 1:
        raise UserError(f"{LAYERS} is {named!r}. It needs a CPU as the only device.")
    if kernels.onednn_version() is None:
        raise UserError(
            f"{LAYERS} is {named!r}, but oneDNN's convolutions are not built. {kernels.COMMAND} builds them."
        )
    return dataclasses.replace(path, layers=named)


def _side_by_side(path: CodePath, named: str | None) -> int | None:
    if not named:
        return None if path.allows_side_by_side else 1
    if not named.isdecimal() or int(named) < 1:
        raise UserError(f"{SIDE_BY_SIDE} is {named!r}. Expected an integer of 1 or more.")
    if int(named) > 1 and not path.allows_side_by_side:
        raise UserError(
            f"{SIDE_BY_SIDE} is {named!r}. Expected 1: only compiled loops on a single CPU device can train several "
            "members at the same time."
        )
    return int(named)
