"""Determines how users' optimizers have to be called, before anything is written."""

from __future__ import annotations

from collections.abc import Callable

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import SCHEDULES, Constant, ImportedOptimizer
from jaxopt_bench.optimizers.equivalence import ParametersError

_said: set[tuple[str, str]] = set()


def check_optimizer(experiment: Experiment, say: Callable[[str], None]) -> None:
    """Determines how a user's optimizer has to be called, and reports it once.

    Raises:
      UserError: if the optimizer cannot be used.
    """
    optimizer = experiment.optimizer
    if not isinstance(optimizer, ImportedOptimizer):
        return
    shapes = experiment.workload.problem.parameter_shapes()
    try:
        optimizer.examine()
    except ParametersError:  # it may be made for the parameters of this network
        optimizer.examine(shapes)
    optimizer.check_on(shapes)
    average = next((name for name in ("ema_decay", "swa_start") if getattr(optimizer, name) is not None), None)
    if optimizer.form.schedule_free and average is not None:
        raise UserError(
            f"{optimizer.reference} is a Schedule-Free optimizer, which averages parameters by itself, but {average} "
            f"is {getattr(optimizer, average)}. Expected None: only one average is evaluated."
        )
    if optimizer.form.schedule_free and optimizer.cautious:
        raise UserError(
            f"{optimizer.reference} is a Schedule-Free optimizer, but cautious is True. Expected False: its average "
            "would be that of the updates without the mask."
        )
    lines = [optimizer.in_words]
    if optimizer.form.schedule_free and not isinstance(experiment.schedule, Constant):
        lines.append(
            f"{optimizer.reference}: Schedule-Free is meant for a constant learning rate, but the schedule is "
            f"{SCHEDULES.name_of(experiment.schedule)}. Use `--schedule constant` for a constant learning rate."
        )
    for line in lines:
        if (optimizer.code, line) not in _said:
            _said.add((optimizer.code, line))
            say(line)
