"""Conversion between the variables of Flax and the weights of the PyTorch networks.

Modules have the names of the Flax modules, so that the name of a parameter is enough to find it. The kernel of a
convolution is HWIO in Flax and OIHW in PyTorch. The flattened inputs of a dense layer are ordered by pixel in Flax and
by channel in PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from experiments.speed.inputs.probes import Variables

FLAX_NAMES = {
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
    "bias": ("params", "bias"),
}
RECURRENT = {"weight_ih_l0": "input/kernel", "weight_hh_l0": "kernel", "bias_ih_l0": "input/bias", "bias_hh_l0": "bias"}
"""The names of Flax for the parameters of `nn.GRU`, relative to its module."""


def load(network: nn.Module, variables: Variables) -> None:
    """Replaces the variables of the network by those of Flax. Each variable must have a counterpart.

    Raises:
      RuntimeError: if names or shapes differ.
    """
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    named = {name: _flax_name(network, name, value.ndim) for name, value in state.items()}
    if unlike := set(named.values()) ^ set(variables):
        raise RuntimeError(f"Flax and the PyTorch network have different variables: {', '.join(sorted(unlike))}.")
    arrays = {name: _to_torch(network, name, variables[flax]) for name, flax in named.items()}
    network.load_state_dict(arrays, strict=False)


def to_flax(network: nn.Module, name: str, tensor: Tensor) -> tuple[str, np.ndarray]:
    """Returns the name and value of a parameter (or its gradient) in the form of Flax, without the collection name."""
    value = tensor.detach().float().cpu().numpy()
    module, _, leaf = name.rpartition(".")
    if value.ndim in (3, 4):
        value = value.transpose(*range(2, value.ndim), 1, 0)
    elif value.ndim == 2 and _is_kernel(network, name):
        if module in _flattened(network):
            channels, *sides = _flattened(network)[module]
            value = np.moveaxis(value.reshape(-1, channels, *sides), 1, -1).reshape(len(value), -1)
        value = value.T
    elif leaf == "bias_hh_l0":
        value = value[-len(value) // 3 :]
    return _flax_name(network, name, value.ndim).partition("/")[2], np.ascontiguousarray(value)


def _to_torch(network: nn.Module, name: str, value: np.ndarray) -> Tensor:
    """Returns the PyTorch value of the variable `name`."""
    module, _, leaf = name.rpartition(".")
    if value.ndim in (3, 4):
        value = value.transpose(-1, -2, *range(value.ndim - 2))
    elif value.ndim == 2 and _is_kernel(network, name):
        value = value.T
        if module in _flattened(network):
            channels, *sides = _flattened(network)[module]
            value = np.moveaxis(value.reshape(-1, *sides, channels), -1, 1).reshape(len(value), -1)
    elif leaf == "bias_hh_l0":
        value = np.concatenate([np.zeros(2 * len(value), value.dtype), value])
    return torch.from_numpy(np.array(value, np.float32, order="C"))


def _flax_name(network: nn.Module, name: str, dimensions: int) -> str:
    module, _, leaf = name.rpartition(".")
    kind = network.get_submodule(module)
    if isinstance(kind, nn.GRU):
        collection, last = "params", RECURRENT[leaf]
    elif isinstance(kind, nn.Embedding):
        collection, last = "params", "embedding"
    elif leaf == "weight":
        collection, last = "params", "kernel" if dimensions > 1 else "scale"
    else:
        collection, last = FLAX_NAMES.get(leaf, ("params", leaf))
    return "/".join((collection, *(module.split(".") if module else ()), last))


def _is_kernel(network: nn.Module, name: str) -> bool:
    """Returns whether a matrix is a kernel ([inputs, outputs] in Flax) and not a table of embeddings."""
    return isinstance(network.get_submodule(name.rpartition(".")[0]), nn.Linear | nn.GRU)


def _flattened(network: nn.Module) -> Mapping[str, tuple[int, ...]]:
    """Returns the shapes (channels, and sides) that are flattened before a dense layer, by the name of the layer."""
    return getattr(network, "flattened", {})
