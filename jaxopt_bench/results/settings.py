"""Runs of one workload as rows: one row for each setting of some fields, aggregated over its seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxopt_bench.measures import measures
from jaxopt_bench.runs import Run
from jaxopt_bench.statistics import Estimate


@dataclasses.dataclass(frozen=True)
class SettingRow:
    """The results of the runs of one setting at their last epoch.

    Attributes:
      setting: the values of the fields, under the names of their flags.
      results: an estimate by `{split}_{metric}`, over the seeds that did not diverge.
      runs: the number of runs.
      diverged: the number of runs that diverged, or that ended with a loss that is not finite.
    """

    setting: dict[str, float]
    results: dict[str, Estimate]
    runs: int
    diverged: int


def rows_by_setting(runs: Sequence[Run], fields: Sequence[str]) -> list[SettingRow]:
    """Returns a row for each setting of the fields, in the order of the first run of each setting.

    Args:
      runs: runs of one workload and optimizer, all finished.
      fields: names such as "optimizer.learning_rate".
    """
    settings: dict[tuple[float, ...], list[Run]] = {}
    for run in runs:
        values = [_field(run, name) for name in fields]
        settings.setdefault(tuple(values), []).append(run)
    return [_row(dict(zip(fields, values, strict=True)), same) for values, same in settings.items()]


def _field(run: Run, name: str) -> float:
    part, field = name.split(".")
    return getattr(getattr(run.experiment, part), field)


def _row(setting: dict[str, float], runs: Sequence[Run]) -> SettingRow:
    finals = [run.summary["final"] for run in runs if run.summary and run.summary["status"] == "completed"]
    known = measures(runs[0].problem_metrics)
    measured = [name for name in known if any(final.get(name) is not None for final in finals)]
    whole = [final for final in finals if measured and all(final.get(name) is not None for name in measured)]
    results = {name: known[name].estimate([final[name] for final in whole]) for name in measured if whole}
    return SettingRow(setting, results, len(runs), len(runs) - len(whole))
