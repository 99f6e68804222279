"""Tasks on generated images, and experiments with changed fields, including fields of their problem."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.problems.classification import Classification, LabelledInputs
from jaxopt_bench.training import CodePath, Task


def changed(experiment: Experiment, **fields: Any) -> Experiment:
    """Returns an experiment with other values of its fields, or of fields of its workload or its problem."""
    others = {field.name for cls in (Experiment, Workload) for field in dataclasses.fields(cls)}
    of_problem = {name: fields.pop(name) for name in [*fields] if name not in others}
    experiment = experiment.replace(**fields)
    return experiment.replace(problem=dataclasses.replace(experiment.workload.problem, **of_problem))


def task_on(
    experiment: Experiment,
    examples: LabelledInputs | int = 640,
    shape: tuple[int, int, int] = (8, 8, 1),
    code_path: CodePath = CodePath(),  # noqa: B008 (it is frozen)
) -> Task:
    """Returns the task of an experiment on ten classes of images with the mean 0.3 and the deviation 0.35.

    Args:
      experiment: an experiment on a classification problem.
      examples: the images to train on, or the number of black images.
      shape: the shape of a black image.
      code_path: the code path of the task.
    """
    if isinstance(examples, int):
        images = np.broadcast_to(np.uint8(0), (examples, *shape))
        examples = LabelledInputs(images, np.broadcast_to(np.int32(0), (examples,)))
    channels = examples.inputs.shape[-1]
    assert isinstance(experiment.workload.problem, Classification)
    problem = experiment.workload.problem.on_examples(
        examples,
        class_names=[str(i) for i in range(10)],
        mean=(0.3,) * channels,
        std=(0.35,) * channels,
        layers=code_path.layers,
    )
    return Task(experiment, problem, code_path)


def drawn_images(count: int, shape: tuple[int, int, int] = (8, 8, 1), seed: int = 0) -> LabelledInputs:
    """Returns random images with random classes."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    return LabelledInputs(jnp.asarray(images), jnp.asarray(rng.integers(0, 10, count, dtype=np.int32)))
