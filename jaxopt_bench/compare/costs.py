"""How long a study takes on this machine, estimated from a few seconds of measurement."""

from __future__ import annotations

import dataclasses

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Options, measure_training

MARGIN = 1.3
"""Safety factor of time estimates: other optimizers than the measured one need more time."""
AGAIN = 0.3
"""The part of a program's start that each further population needs that it trains, as for its files and its test."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """The time that training takes on this machine.

    Attributes:
      program: seconds until a program is compiled.
      step: seconds a step of a run.
      evaluation: seconds that the evaluation of an epoch takes.
      steps_per_epoch: steps in an epoch.
    """

    program: float
    step: float
    evaluation: float
    steps_per_epoch: int

    def programs(self, compiled: int, again: int = 0) -> float:
        """Returns the seconds that programs take before their first steps.

        Args:
          compiled: how many are compiled.
          again: how many populations are trained by a program that was compiled for another one.
        """
        return MARGIN * (compiled + AGAIN * again) * self.program

    def epochs(self, count: int, evaluations: int | None = None) -> float:
        """Returns the seconds of training.

        Args:
          count: epochs of all runs together.
          evaluations: how often the validation split, or as many test examples, are evaluated; None for once an epoch.
        """
        evaluated = count if evaluations is None else evaluations
        return MARGIN * (count * self.steps_per_epoch * self.step + evaluated * self.evaluation)


def measure_costs(experiment: Experiment, options: Options) -> Costs:
    """Returns the time that training takes, measured within seconds; nothing is written.

    Args:
      experiment: what is trained.
      options: where the data are, and how to compute.
    """
    return Costs(*measure_training(experiment, options))
