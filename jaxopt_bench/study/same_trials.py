"""Checks that a trial of a contender can be the same setting on every workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import Exponential, MultiStep, WarmupSchedule
from jaxopt_bench.study.contender import Contender

_IN_EPOCHS = {"warmup": "warmup_share", "boundaries": None, "every": None}
"""The fields of schedules that are lengths in epochs, each with the field that is a share of training, if any."""


def check_same_trials(
    workloads: Sequence[Workload], contenders: Sequence[Contender], trials_on: Callable[[Workload], int]
) -> None:
    """Checks that workloads have the same number of trials, and that settings mean the same on all of them.

    Args:
      workloads: the workloads of the study.
      contenders: the contenders of the study.
      trials_on: a function that returns the number of trials on a workload.

    Raises:
      UserError: if the numbers of trials differ; or if a schedule has a length in epochs and the workloads have
        different numbers of epochs.
    """
    if any(contender.searched for contender in contenders):
        counts = {workload.name: trials_on(workload) for workload in workloads}
        if len({*counts.values()}) > 1:
            said = ", ".join(f"{count} on {name}" for name, count in counts.items())
            raise UserError(
                f"Study.same_trials is True, and the numbers of trials differ: {said}. Expected the same number on "
                "every workload: Study.trials in place of Study.total_epochs."
            )
    epochs = {workload.epochs for workload in workloads}
    for contender in contenders if len(epochs) > 1 else ():
        field = _length_in_epochs(contender)
        if field is not None:
            share = _IN_EPOCHS[field]
            raise UserError(
                f"Study.same_trials is True, and schedule.{field} of {contender.name} is in epochs, while the "
                f"workloads have {' and '.join(map(str, sorted(epochs)))} epochs. Expected a share of training"
                f"{f' (schedule.{share})' if share else ', such as that of another schedule'}."
            )


def _length_in_epochs(contender: Contender) -> str | None:
    """Returns a field of a contender's schedule that is a length in epochs, searched or not 0; None if none is."""
    schedule = contender.schedule
    if isinstance(schedule, MultiStep):
        return "boundaries"
    if isinstance(schedule, Exponential):
        return "every"
    given = isinstance(schedule, WarmupSchedule) and schedule.warmup > 0
    return "warmup" if given or "schedule.warmup" in contender.searched else None
