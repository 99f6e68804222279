"""The recommended optimizer, with settings that can be pasted into a program."""

from __future__ import annotations

import polars as pl

from jaxopt_bench.formatting import format_value
from jaxopt_bench.optimizers.optax_code import optax_code
from jaxopt_bench.optimizers.words import schedule_in_words
from jaxopt_bench.results import Results
from jaxopt_bench.verdict.ranking import Ranking
from jaxopt_bench.verdict.verdicts import Verdict


def recommendation(results: Results, found: Verdict, ranking: Ranking) -> str | None:
    """Returns the settings of the optimizer that leads on a workload, as optax code if it has a simple form there.

    Args:
      results: of the study.
      found: its verdict.
      ranking: of the workload.

    Returns:
      A text of several lines; None if no optimizer has confirmed results, or the first one's searches disagree.
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
    settings = ", ".join(f"{field.partition('.')[2]} {format_value(value)}" for field, value in values.items())
    named = f"{first.contender} with {settings or 'its defaults'}, schedule {schedule_in_words(contender.schedule)}"
    epochs = f"{workload.epochs} epoch{'s' * (workload.epochs != 1)}"
    lead = f"To use on {ranking.workload}: {named}, {epochs}, batch size {workload.batch_size}."
    if steps is None:
        return lead
    code = optax_code(contender.optimizer, contender.schedule, workload.epochs, int(steps) // workload.epochs)  # type: ignore[arg-type]
    return lead if code is None else f"{lead}\n\n{code}"
