"""The suite's workloads in PyTorch: the losses of the first steps, and the training of one run."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.speed.inputs.suite import FirstSteps, batch_of, variables_of
from experiments.speed.torch_side import weights
from experiments.speed.torch_side.objectives import make_objective
from experiments.speed.torch_side.training import VARIANTS, make_optimizer
from jaxopt_bench.training import Task, initial_state

SUITE_VARIANTS = ("eager", "compile")


def first_losses(task: Task, first: FirstSteps, device: torch.device, variant: str = "eager") -> list[float]:
    """Returns the losses of the steps that `first` describes.

    Raises:
      NotImplementedError: if the problem or the network of the task is not implemented in PyTorch.
    """
    run = SuiteTrainer(task, variant, device)
    weights.load(run.objective.network, first.variables)
    losses = []
    for indices, drawn in zip(first.indices, first.drawn, strict=True):
        batch = tuple(leaf.to(device) for leaf in run.objective.store(batch_of(task.problem.train, indices)))
        losses.append(run.update(batch, None if drawn is None else torch.tensor(drawn, device=device)).item())
    return losses


class SuiteTrainer:
    """One run of a workload. A step selects its batch from the order of the epoch, like the steps of the project."""

    def __init__(self, task: Task, variant: str, device: torch.device):
        self.task, self.device = task, device
        self.objective = make_objective(task).to(device).train()
        weights.load(self.objective.network, variables_of(initial_state(task)))
        compiler = VARIANTS[variant].compiler
        self.loss = self.objective if compiler is None else torch.compile(self.objective, mode=compiler, dynamic=False)
        self.optimizer = make_optimizer(task.experiment.optimizer, self.objective.network)
        self.train = tuple(leaf.to(device) for leaf in self.objective.store(task.problem.train))
        self.sum = torch.zeros((), device=device)
        self.order, self.next = self._shuffled(), 0

    def run(self, steps: int) -> None:
        """Makes the given number of steps, and returns when the device has finished them."""
        for _ in range(steps):
            batch = self._batch()
            self.sum += self.update(batch, self.objective.draw(len(batch[0]), self.device))
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def update(self, batch: tuple[Tensor, ...], drawn: Tensor | None) -> Tensor:
        """Makes one update, and returns the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch, drawn)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _batch(self) -> tuple[Tensor, ...]:
        if self.next == self.task.steps_per_epoch:
            self.order, self.next = self._shuffled(), 0
        size = self.task.experiment.workload.batch_size
        indices = self.order[self.next * size : (self.next + 1) * size]
        self.next += 1
        return tuple(leaf[indices] for leaf in self.train)

    def _shuffled(self) -> Tensor:
        return torch.randperm(self.task.train_examples, device=self.device)
