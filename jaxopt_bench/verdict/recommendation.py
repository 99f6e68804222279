"""The recommended optimizer with settings that can be pasted into a program, and an optimizer's single settings."""

from __future__ import annotations

import polars as pl

from jaxopt_bench.formatting import format_count, format_value
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.optimizers.optax_code import optax_code
from jaxopt_bench.optimizers.text import describe_schedule
from jaxopt_bench.results import Results
from jaxopt_bench.study import Contender, Point, Study
from jaxopt_bench.verdict.ranking import Ranking
from jaxopt_bench.verdict.single_settings import SingleSetting
from jaxopt_bench.verdict.verdict import Verdict


def recommendation(results: Results, found: Verdict, ranking: Ranking) -> str | None:
    """Returns the settings of the optimizer that leads on a workload, as optax code if optax can express them simply.

    Args:
      results: the results of the study.
      found: the verdict of the study.
      ranking: the ranking of the workload.

    Returns:
      A text of one or several lines; None if no optimizer has confirmed results, or the first one has several winners
      because of several searches.
    """
    if not ranking.standings or len(ranking.standings[0].winners) != 1:
        return None
    first = ranking.standings[0]
    values = first.winners[0].winning_values
    contender = found.study.contender(first.contender).at(values)
    workload = found.study.workload(ranking.workload)
    rows = results.runs.filter(
        pl.col("workload") == ranking.workload, pl.col("contender") == first.contender, pl.col("status") == "completed"
    )
    steps = rows["steps"].max()
    settings = _describe_settings(values)
    named = f"{first.contender} with {settings or 'its defaults'}, schedule {describe_schedule(contender.schedule)}"
    epochs = format_count(workload.epochs, "epoch")
    lead = f"To use on {ranking.workload}: {named}, {epochs}, batch size {workload.batch_size}."
    if steps is None:
        return lead
    code = optax_code(contender.optimizer, contender.schedule, workload.epochs, int(steps) // workload.epochs)  # type: ignore[arg-type]
    return lead if code is None else f"{lead}\n\n{code}"


def describe_single_setting(study: Study, found: SingleSetting) -> str:
    """Returns a text about the best setting of an optimizer for all workloads of a study, with its score.

    Args:
      study: the study.
      found: an optimizer of the study with one setting for all workloads.
    """
    contender = study.contender(found.contender)
    settings = _describe_settings({**found.values, **_changed(contender)})
    count, single, tried = len(found.scores), found.single, len(next(iter(found.scores.values())))
    epochs = {study.workload(name).epochs for name in found.scores}
    length = f" over {epochs.pop()} epochs" if len(epochs) == 1 else ""
    interval = ""
    if single.interval is not None:
        interval = f" (95% interval over workloads {max(0.0, single.low):.2f} to {min(1.0, single.high):.2f})"
    adds = "adds nothing" if found.gain.mean < 0.005 else f"adds {found.gain.mean:.2f}"
    return (
        f"{settings}, with the schedule {describe_schedule(contender.schedule)}{length}. Of {tried} settings, this one "
        f"has the highest mean score on the {count} workloads of the recorded study {study.name}. Score 0 is an "
        "untrained model, 1 the best trial of all its optimizers. A setting chosen on all workloads but one has the "
        f"score {single.mean:.2f} on that one{interval}; tuning on it {adds}."
    )


def _changed(contender: Contender) -> Point:
    """Returns the fields of a contender's optimizer that are neither searched nor defaults."""
    optimizer = contender.optimizer
    defaults = OPTIMIZERS[OPTIMIZERS.name_of(optimizer)].to_json()
    fields = {f"optimizer.{name}": value for name, value in optimizer.to_json().items() if value != defaults.get(name)}
    return {field: value for field, value in fields.items() if field not in contender.searched}


def _describe_settings(values: Point) -> str:
    return ", ".join(f"{field.partition('.')[2]} {format_value(value)}" for field, value in values.items())
