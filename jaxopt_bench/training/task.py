"""What training must know of the data beside the examples themselves."""

from __future__ import annotations

import dataclasses

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.training.code_path import CodePath


@dataclasses.dataclass(frozen=True)
class Task:
    """An experiment and the facts of its data that shape the compiled program.

    Attributes:
      experiment: what is trained.
      image_shape: height, width, channels.
      num_classes: how many classes the labels have.
      train_examples: images to train on, validation images left out.
      mean: of all pixels of `train`, validation included, per channel, on the scale 0 to 1.
      std: likewise the standard deviation.
      code_path: how it is computed.

    Raises:
      UserError: if a batch is larger than the training split, or the training is too short for a single update.
    """

    experiment: Experiment
    image_shape: tuple[int, int, int]
    num_classes: int
    train_examples: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    code_path: CodePath = CodePath()

    def __post_init__(self) -> None:
        if self.experiment.batch_size > self.train_examples:
            raise UserError(
                f"Experiment.batch_size is {self.experiment.batch_size}; accepted: at most the "
                f"{self.train_examples} images that {self.experiment.dataset} has to train on."
            )
        accumulate = self.experiment.optimizer.accumulate
        if accumulate > self.steps:
            raise UserError(
                f"optimizer.accumulate is {accumulate}, but the whole training has {self.steps} steps "
                f"({self.experiment.epochs} × {self.steps_per_epoch}, epochs × steps per epoch), so no update would be "
                f"made. Expected an integer from 1 to {self.steps}."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last partial batch is dropped."""
        return self.train_examples // self.experiment.batch_size

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.steps_per_epoch * self.experiment.epochs
