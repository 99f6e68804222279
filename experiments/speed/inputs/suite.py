"""The workloads of the suite's study, with AdamW and a constant learning rate."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jaxtyping import Float, Int

from experiments.speed.inputs.probes import Variables
from experiments.speed.inputs.workloads import LEARNING_RATE
from jaxopt_bench import Experiment
from jaxopt_bench.data import Augmentation
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import AdamW
from jaxopt_bench.problems import ProblemConfig
from jaxopt_bench.study import STUDIES
from jaxopt_bench.training import CodePath, Task
from jaxopt_bench.training.state import TrainState

STUDY = "suite"
STEPS = 3
"""The number of training steps for which losses are compared before the measurement."""


@dataclasses.dataclass(frozen=True, eq=False)
class FirstSteps:
    """The initial state and the inputs of both sides, with which they make the same steps.

    Attributes:
      variables: the initial variables.
      indices: the indices of the training examples in the batch of each step.
      drawn: the random numbers of each step except those of dropout; None if a problem draws no random numbers.
    """

    variables: Variables
    indices: Int[np.ndarray, "steps batch"]
    drawn: Sequence[Float[np.ndarray, "..."] | None]


def suite_workloads(names: Sequence[str] = ()) -> tuple[Workload, ...]:
    """Returns the workloads of the suite's study, or those with the given names.

    Raises:
      UserError: if a name is unknown. The message lists similar names.
    """
    known = {workload.name: workload for workload in STUDIES.find(STUDY).workloads}
    for name in names:
        if name not in known:
            raise unknown_name("workload of the suite", name, known)
    return tuple(workload for name, workload in known.items() if not names or name in names)


def suite_task(workload: Workload, data_dir: pathlib.Path, path: CodePath, drops: bool = True) -> Task:
    """Returns the training task of a workload, with loaded examples.

    Args:
      workload: a workload of the suite.
      data_dir: TFDS data directory.
      path: the code path.
      drops: whether dropout and augmentation are on. Without them, both sides make the same steps.
    """
    if not drops:
        workload = dataclasses.replace(workload, problem=without_dropout_and_augmentation(workload.problem))
    optimizer = AdamW(learning_rate=LEARNING_RATE)
    experiment = Experiment(name=workload.name, workload=workload, optimizer=optimizer)
    return Task(experiment, workload.problem.load(data_dir, path.layers), path)


def without_dropout_and_augmentation(problem: ProblemConfig) -> ProblemConfig:
    """Returns a problem without dropout in its networks and without augmentation of its images."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(problem):
        value: Any = getattr(problem, field.name)
        if getattr(value, "dropout", 0.0) > 0:
            changes[field.name] = dataclasses.replace(value, dropout=0.0)
        elif isinstance(value, Augmentation):
            changes[field.name] = Augmentation()
    return dataclasses.replace(problem, **changes)


def variables_of(state: TrainState) -> Variables:
    """Returns the parameters and variables of a state by name. Parameters without names get the name "values"."""
    params = state.params if isinstance(state.params, Mapping) else {"values": state.params}
    tree = {"params": params, "batch_stats": state.variables}
    return {name: np.asarray(value) for name, value in traverse_util.flatten_dict(tree, sep="/").items()}


def batch_of(train: Any, indices: Int[np.ndarray, " batch"]) -> Any:
    """Returns the training examples that indices select, on the host."""
    return jax.tree.map(lambda leaf: np.asarray(leaf)[indices], train)
