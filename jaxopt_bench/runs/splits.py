"""An experiment's images, read and divided, and the task they make."""

from __future__ import annotations

import dataclasses
import pathlib

import jax.numpy as jnp

from jaxopt_bench import data
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.environment import check_options
from jaxopt_bench.training import Batch, CodePath, Task, choose_code_path, everywhere, placed

CLEAN_EXAMPLES = 5000  # of the training split, evaluated without augmentation after every epoch


@dataclasses.dataclass(frozen=True)
class Splits:
    """The images of a run: those to train on are on the device, those to evaluate on the host."""

    train: Batch
    clean: data.Split
    validation: data.Split | None
    dataset: data.Dataset

    def named(self, split: str) -> data.Split:
        """Returns the images of "train_clean", "validation" or "test", which nothing opens before it is asked for."""
        if split == "test":
            return self.dataset.split("test")
        found = {"train_clean": self.clean, "validation": self.validation}[split]
        assert found is not None, "a run without a validation split measures none"
        return found


def load_task(
    experiment: Experiment, data_dir: pathlib.Path | None = None, code_path: CodePath | None = None
) -> tuple[Task, Splits]:
    """Reads an experiment's data and returns the task it makes, with its splits.

    Args:
      experiment: what is trained.
      data_dir: where TFDS keeps its data sets; TFDS's own default where None.
      code_path: how it is computed; as suits the backend where None.

    Raises:
      UserError: where the data cannot be read, or JAX was told to compute something else; see `check_options`.
    """
    check_options()
    dataset = data.load(experiment.dataset, data_dir)
    train, validation = data.train_validation(dataset.split("train"), experiment.validation_fraction)
    task = Task(
        experiment=experiment,
        image_shape=dataset.spec.image_shape,
        num_classes=dataset.spec.num_classes,
        train_examples=len(train.labels),
        mean=dataset.mean,
        std=dataset.std,
        code_path=code_path or choose_code_path(),
    )
    clean = data.Split(train.images[:CLEAN_EXAMPLES], train.labels[:CLEAN_EXAMPLES])
    arrays = jnp.asarray(train.images), jnp.asarray(train.labels)
    resident = Batch(*placed(arrays, everywhere(task.code_path)))
    return task, Splits(resident, clean, validation, dataset)
