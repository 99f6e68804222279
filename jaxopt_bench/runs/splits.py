"""The loaded problem of an experiment, and the examples that a run uses for training and evaluation."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.problems import Examples, Problem, take_examples
from jaxopt_bench.runs.environment import check_jax_options
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.problems import Problems
from jaxopt_bench.training import CodePath, Task, choose_code_path, replicated_sharding, shard_over_devices

CLEAN_EXAMPLES = 5000  # of the training split; they are evaluated after every epoch, as the other splits are


@dataclasses.dataclass(frozen=True, eq=False)
class Splits:
    """The examples of a run: training examples are on the device, examples for evaluation on the host."""

    problem: Problem
    code_path: CodePath

    @functools.cached_property
    def train(self) -> Examples:
        """The training examples. The first access copies them to the device."""
        return shard_over_devices(jax.tree.map(jnp.asarray, self.problem.train), replicated_sharding(self.code_path))

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The splits that are evaluated after every epoch, besides the test split if `track_test` is set."""
        return ("train_clean",) if self.problem.validation is None else ("train_clean", "validation")

    def named(self, split: str) -> Examples:
        """Returns the examples of "validation" or "test", or the first `CLEAN_EXAMPLES` of training for "train_clean".

        A split is opened only when it is requested.

        Raises:
          UserError: if the problem has no such split.
        """
        if split == "train_clean":
            return take_examples(self.problem.train, slice(CLEAN_EXAMPLES))
        return self.problem.split(split)


def load_task(experiment: Experiment, options: Options) -> tuple[Task, Splits]:
    """Loads an experiment's problem, and returns the task and the splits.

    Args:
      experiment: the experiment to train.
      options: the folder of the data, and the code path.

    Raises:
      UserError: if the data cannot be read, or if JAX's options would change the computation; see `check_jax_options`.
    """
    check_jax_options()
    path = options.code_path or choose_code_path()
    task = (options.problems or Problems()).task(experiment, options.data_path, path)
    return task, Splits(task.problem, path)
