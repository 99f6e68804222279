"""Updates alone in PyTorch, with its own optimizers in their fastest form: fused if available, else foreach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from experiments.speed.inputs.workloads import UPDATE_WEIGHT_DECAY
from experiments.speed.torch_side.networks import of_task
from jaxopt_bench.training import Task

UPDATES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sgd": ("SGD", {"fused": True}),
    "momentum": ("SGD", {"fused": True, "momentum": 0.9}),
    "nesterov": ("SGD", {"fused": True, "momentum": 0.9, "nesterov": True}),
    "adam": ("Adam", {"fused": True}),
    "adamw": ("AdamW", {"fused": True}),
    "amsgrad": ("Adam", {"fused": True, "amsgrad": True}),
    "nadam": ("NAdam", {"foreach": True}),
    "nadamw": ("NAdam", {"foreach": True, "decoupled_weight_decay": True}),
    "adagrad": ("Adagrad", {"fused": True}),
    "adadelta": ("Adadelta", {"foreach": True}),
    "adamax": ("Adamax", {"foreach": True}),
    "radam": ("RAdam", {"foreach": True}),
    "rmsprop": ("RMSprop", {"foreach": True}),
    "rprop": ("Rprop", {"foreach": True}),
    "adafactor": ("Adafactor", {"foreach": True}),
}
"""PyTorch's optimizers by our names, with the arguments for the same algorithm and for their form."""


def form(name: str) -> str | None:
    """Returns the form of PyTorch's version of our optimizer; None if PyTorch has no such optimizer."""
    return None if name not in UPDATES else "fused" if "fused" in UPDATES[name][1] else "foreach"


class Updater:
    """A network's parameters under an optimizer, with a constant gradient."""

    def __init__(self, task: Task, name: str, device: torch.device):
        """Args: the task with the network, the optimizer's name, and the device."""
        self.device = device
        network = of_task(task).to(device)
        self.parameters = list(network.parameters())
        for parameter in self.parameters:
            parameter.grad = 1e-3 * torch.randn_like(parameter)
        kind, settings = UPDATES[name]
        settings = {"lr": 1e-5, "weight_decay": UPDATE_WEIGHT_DECAY, **settings}
        if kind == "Rprop":
            del settings["weight_decay"]
        self.optimizer = getattr(torch.optim, kind)(self.parameters, **settings)

    def run(self, steps: int) -> None:
        """Makes the given number of updates, and returns when the device has finished them."""
        for _ in range(steps):
            self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def state(self) -> dict[str, int]:
        """Returns the number of parameters, and the bytes of the optimizer's state."""
        tensors = [value for state in self.optimizer.state.values() for value in state.values()]
        size = sum(t.numel() * t.element_size() for t in tensors if isinstance(t, torch.Tensor))
        return {"parameters": sum(p.numel() for p in self.parameters), "state_bytes": size}
