"""The time that a study takes on this machine, estimated from a few seconds of measurement."""

from __future__ import annotations

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import Options, TrainingTime, measure_training

MARGIN = 1.3
"""Safety factor of time estimates: other optimizers need more time than the measured one."""
AGAIN = 0.3
"""The share of a program's start-up time that each further population of it needs, as for its files and its test."""


class Costs(TrainingTime):
    """The time that training takes on this machine, and estimates for a study."""

    def programs(self, compiled: int, again: int = 0) -> float:
        """Returns the seconds that programs need before their first steps.

        Args:
          compiled: the number of programs that are compiled.
          again: the number of populations that reuse a program which was compiled for another population.
        """
        return MARGIN * (compiled + AGAIN * again) * self.program

    def epochs(self, count: int, evaluations: int | None = None) -> float:
        """Returns the seconds of training.

        Args:
          count: the number of epochs of all runs together.
          evaluations: the number of evaluations of the validation split, or of as many test examples; None for one per
            epoch.
        """
        evaluated = count if evaluations is None else evaluations
        return MARGIN * (count * self.steps_per_epoch * self.step + evaluated * self.evaluation)


def measure_costs(experiment: Experiment, options: Options) -> Costs:
    """Returns the time of training, measured within seconds; nothing is written.

    Args:
      experiment: the experiment to measure.
      options: the folder of the data, and the way of computing.
    """
    return Costs(*measure_training(experiment, options))
