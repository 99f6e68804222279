"""A task: an experiment with its loaded problem, and the code path that computes it."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax

from jaxopt_bench import prng
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.problems import LOSS, Metric, Problem, take_examples
from jaxopt_bench.training.code_path import CodePath
from jaxopt_bench.training.metrics import EVALUATIONS, NORMS

F = TypeVar("F")
_OF_EVALUATION = ("evaluate_test", "track_test")  # fields of an experiment that change no program


@dataclasses.dataclass(frozen=True)
class Task:
    """An experiment with its loaded problem.

    Attributes:
      experiment: the experiment to train.
      problem: the loaded problem of the experiment.
      code_path: the code path.
      functions: the compiled functions, which are shared by all tasks with this dictionary; see `make_once`.

    Raises:
      UserError: if a batch is larger than the training split, the training is too short for a single update, or the
        optimizer has a line search and the loss is random or uses only a part of the training split in a step.
    """

    experiment: Experiment
    problem: Problem
    code_path: CodePath = CodePath()
    functions: dict[Hashable, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        workload = self.experiment.workload
        if workload.batch_size > self.train_examples:
            raise UserError(
                f"Workload.batch_size is {workload.batch_size}. Expected at most {self.train_examples}, the "
                f"number of training examples of {workload.problem.title}."
            )
        accumulate = self.experiment.optimizer.accumulate
        if accumulate > self.steps:
            raise UserError(
                f"optimizer.accumulate is {accumulate}, but the whole training has {self.steps} steps "
                f"({workload.epochs} × {self.steps_per_epoch}, epochs × steps per epoch), so no update would be "
                f"made. Expected an integer from 1 to {self.steps}."
            )

        if self.experiment.optimizer.line_search and (reason := self._why_noisy()):
            raise UserError(
                f"optimizer {OPTIMIZERS.name_of(self.experiment.optimizer)} evaluates the loss several times in a step "
                f"(line search), so it needs a loss that is the same in all steps. {reason}"
            )

    def _why_noisy(self) -> str:
        """Returns why the loss function differs between steps, and the expected setting; "" if it does not differ."""
        title, size = self.experiment.workload.problem.title, self.experiment.workload.batch_size
        if self.problem.random:
            return f"The loss of {title} is random, for example by dropout or noise. Expected a problem without these."
        if not self.problem.full_batch and size < self.train_examples:
            return (
                f"But batch_size is {size}, so each step uses another part of the training split. Expected "
                f"{self.train_examples}, the number of training examples of {title}."
            )
        return ""

    def side_by_side(self, threads: int) -> Task:
        """Returns the task with a code path that trains `threads` members of a population at the same time."""
        return dataclasses.replace(self, code_path=dataclasses.replace(self.code_path, side_by_side=threads))

    def make_once(self, make: Callable[[], F], *key: Hashable) -> F:
        """Returns a function that is made, and so compiled, only once for all tasks that share `functions`.

        Args:
          make: makes the function.
          key: all values on which it depends, besides the problem and the code path.
        """
        key = (*key, id(self.problem), self.code_path)  # the function refers to the problem, so no other one has its id
        if key not in self.functions:
            self.functions.setdefault(key, make())
        found: F = self.functions[key]
        return found

    @functools.cached_property
    def compiled_fields(self) -> str:
        """The fields of the experiment that are compiled into a training step, as text."""
        fields = self.experiment.program()
        return json.dumps({name: value for name, value in fields.items() if name not in _OF_EVALUATION})

    @property
    def train_examples(self) -> int:
        """The number of training examples, without the validation examples."""
        return self.problem.train_examples

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last partial batch is dropped."""
        return self.train_examples // self.experiment.workload.batch_size

    @property
    def steps(self) -> int:
        """Steps in the whole training."""
        return self.steps_per_epoch * self.experiment.workload.epochs

    @property
    def reads_test(self) -> bool:
        """Whether the test split is evaluated: the experiment asks for it, and the problem has one."""
        return self.experiment.evaluate_test and self.problem.test is not None

    @functools.cached_property
    def step_statistics(self) -> tuple[str, ...]:
        """The statistics, besides the loss, that a training step measures and that the metrics need."""
        problem = self.problem
        if problem.evaluate is None:  # then evaluation uses the loss function, which gives all of them
            return tuple(name for name in problem.statistics if name != LOSS)
        batch = jax.eval_shape(lambda: take_examples(problem.train, slice(self.experiment.workload.batch_size)))

        def measured(seed: int) -> dict[str, jax.Array]:
            params, variables = problem.initial(prng.key(seed, prng.Purpose.INITIALISATION))
            examples = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), batch)
            return problem.training(params, variables, examples, prng.Draw(seed, 0))[1][0]

        found = jax.eval_shape(measured, jax.ShapeDtypeStruct((), jax.numpy.uint32))
        return tuple(name for name in problem.statistics if name in found and name != LOSS)

    @property
    def step_names(self) -> tuple[str, ...]:
        """The names of values averaged over training steps: the loss and other statistics, norms, evaluations."""
        evaluations = (EVALUATIONS,) if self.experiment.optimizer.line_search else ()
        return LOSS, *self.step_statistics, *NORMS, *evaluations

    @property
    def step_metrics(self) -> tuple[Metric, ...]:
        """The metrics that a training step measures."""
        known = {LOSS, *self.step_statistics}
        return tuple(metric for metric in self.problem.all_metrics if known.issuperset(metric.statistics))
