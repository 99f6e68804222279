"""The table of a sweep for a terminal: a row for each setting, and a plot of the results along the rows."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import format_value
from jaxopt_bench.measures import SPLIT_WORDS, Measure, measures
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.results import SettingRow
from jaxopt_bench.statistics import Estimate

WIDTH = 19  # characters of the plot, so that the table fits a terminal of 80


def sweep_table(rows: Sequence[SettingRow], title: str, metrics: Sequence[Metric]) -> Table:
    """Returns the table of a sweep, with a plot of the headline metric against the settings.

    The split is the validation split if there is one, otherwise the test split if it was read, otherwise the first
    training examples, evaluated without augmentation and dropout. With several seeds, the numbers are means, with their
    95% intervals below. A star marks the row with the lowest mean loss among those in which no run diverged.

    Args:
      rows: one row per setting, from `rows_by_setting`.
      title: the title of the table.
      metrics: the metrics of the problem, the headline first.

    Raises:
      UserError: if there are no rows.
    """
    if not rows:
        raise UserError("a sweep without runs has no table. Expected at least one run.")
    split, known = chosen_split(rows), measures(tuple(metrics))
    loss, headline = known[f"{split}_{LOSS}"], known[f"{split}_{metrics[0].name}"]
    shown = list(dict.fromkeys([loss, headline]))
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in rows[0].setting:
        table.add_column(name.partition(".")[2].replace("_", "\n"), justify="right", no_wrap=True)
    reached = [row.results.get(headline.name) for row in rows]
    estimates = [found for found in reached if found is not None]
    low, high = min((e.low for e in estimates), default=0.0), max((e.high for e in estimates), default=1.0)
    for i, measure in enumerate(shown):
        above = SPLIT_WORDS[split] if i == 0 else ""
        words = measure.metric.words if measure.metric.percent else measure.metric.title()
        table.add_column(f"{above}\n{words}", justify="right", no_wrap=True)
    left, right = headline.metric.format(low), headline.metric.format(high)
    table.add_column(f"\n{left}{right.rjust(WIDTH - len(left))}", no_wrap=True)
    some_diverged = any(row.diverged for row in rows)
    if some_diverged:
        table.add_column("\ndiverged", justify="right", no_wrap=True)
    best = best_row(rows, split)
    for row, found in zip(rows, reached, strict=True):
        settings = [format_value(value) for value in row.setting.values()]
        plot = "" if found is None else dots(found, low, high, "★" if row is best else "●")
        cells = [*settings, *(_with_interval(measure, row.results.get(measure.name)) for measure in shown), plot]
        if some_diverged:
            cells.append(f"{row.diverged} of {row.runs}" if row.diverged else "")
        table.add_row(*cells, style="bold" if row is best else None)
    return table


def chosen_split(rows: Sequence[SettingRow]) -> str:
    """Returns the split whose results judge a sweep."""
    measured = {name for row in rows for name in row.results}
    return next((s for s in ("validation", "test", "train_clean") if f"{s}_{LOSS}" in measured), "train_clean")


def best_row(rows: Sequence[SettingRow], split: str) -> SettingRow | None:
    """Returns the row with the lowest mean loss among those in which no run diverged; None if there is no such row."""
    whole = [row for row in rows if not row.diverged and f"{split}_{LOSS}" in row.results]
    return min(whole, key=lambda row: row.results[f"{split}_{LOSS}"].mean, default=None)


def dots(estimate: Estimate, low: float, high: float, dot: str = "●") -> str:
    """Returns a line of `WIDTH` characters with a dot at the mean and a bar along the interval."""
    positions = [_position(value, low, high) for value in (estimate.low, estimate.mean, estimate.high)]
    line = [" "] * WIDTH
    line[positions[0] : positions[2] + 1] = "─" * (positions[2] + 1 - positions[0])
    line[positions[1]] = dot
    return "".join(line)


def _position(value: float, low: float, high: float) -> int:
    share = (value - low) / (high - low) if high > low else 0.5
    return round(min(max(share, 0.0), 1.0) * (WIDTH - 1))


def _with_interval(measure: Measure, found: Estimate | None) -> str:
    if found is None:
        return "–"
    text = measure.metric.format(found.mean)
    return text if found.interval is None else f"{text}\n({measure.format_interval(found).replace(' to ', '–')})"
