"""Problems that are loaded once for several trainings, which then also share compiled functions."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Hashable
from typing import Any

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.problems import Problem, ProblemConfig
from jaxopt_bench.problems.checks import with_untrained
from jaxopt_bench.training import CodePath, Task

_Key = tuple[ProblemConfig, pathlib.Path | None, str]


class Problems:
    """Loads each problem when it is first requested, and keeps it with the functions that are compiled for it.

    Data that change on the disk later are not read again, so an instance is kept only as long as one command runs.
    """

    def __init__(self) -> None:
        self._loaded: dict[_Key, tuple[Problem, dict[Hashable, Any]]] = {}

    def task(self, experiment: Experiment, data_dir: pathlib.Path | None, path: CodePath) -> Task:
        """Returns the task of an experiment.

        Args:
          experiment: the experiment to train.
          data_dir: the folder of TFDS data sets; see `ProblemConfig.load`.
          path: the code path.

        Raises:
          UserError: if the data cannot be read.
        """
        config = experiment.workload.problem
        key = config, data_dir, path.layers
        if key not in self._loaded:
            self._loaded.setdefault(key, (_with_untrained(config, config.load(data_dir, path.layers)), {}))
        problem, functions = self._loaded[key]
        return Task(experiment, problem, path, functions)


def _with_untrained(config: ProblemConfig, problem: Problem) -> Problem:
    """Returns the result of `with_untrained`. Its values are measured only once per process for the same data."""
    if all(metric.untrained is not None for metric in problem.all_metrics):
        return problem
    key = config, json.dumps(dict(problem.facts), sort_keys=True)
    if key not in _UNTRAINED:
        _UNTRAINED[key] = {metric.name: metric.untrained for metric in with_untrained(problem).all_metrics}
    values = _UNTRAINED[key]
    metrics = (dataclasses.replace(metric, untrained=values[metric.name]) for metric in problem.all_metrics)
    return dataclasses.replace(problem, metrics=tuple(metrics))


_UNTRAINED: dict[tuple[ProblemConfig, str], dict[str, float | None]] = {}
