"""A sweep on a terminal: a row for each setting, and along the rows a plot of what was reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.table import Table

from jaxopt_bench.errors import UserError
from jaxopt_bench.results import Estimate, Row
from jaxopt_bench.runs import format_accuracy, format_loss

WIDTH = 19  # characters of the plot: the table fits a terminal of 80


def sweep_table(rows: Sequence[Row], title: str) -> Table:
    """Returns the table of a sweep, with a plot of accuracy against the settings.

    The split is the validation split where there is one, else the test split where it was read, else the clean part
    of the training split. For several seeds the numbers are means, with their 95% intervals below. The row
    with the lowest mean loss, of those in which no run diverged, has a star.

    Args:
      rows: one a setting, as `rows_by_setting` returns them.
      title: what was swept.

    Raises:
      UserError: where there are no rows.
    """
    if not rows:
        raise UserError("a sweep without runs has no table; accepted: at least one run.")
    split = chosen_split(rows)
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    for name in rows[0].setting:
        table.add_column(name.partition(".")[2].replace("_", "\n"), justify="right", no_wrap=True)
    accuracies = [row.results.get(f"{split}_accuracy") for row in rows]
    low, high = _span([accuracy for accuracy in accuracies if accuracy is not None])
    table.add_column(f"{_words(split)}\nloss", justify="right", no_wrap=True)
    table.add_column("\naccuracy", justify="right", no_wrap=True)
    table.add_column("\n" + _axis(low, high), no_wrap=True)
    some_diverged = any(row.diverged for row in rows)
    if some_diverged:
        table.add_column("\ndiverged", justify="right", no_wrap=True)
    best = best_row(rows, split)
    for row, accuracy in zip(rows, accuracies, strict=True):
        settings = [f"{value:g}" for value in row.setting.values()]
        loss = _with_interval(row.results.get(f"{split}_loss"), format_loss)
        plot = "" if accuracy is None else dots(accuracy, low, high, "★" if row is best else "●")
        cells = [*settings, loss, _with_interval(accuracy, format_accuracy), plot]
        if some_diverged:
            cells.append(f"{row.diverged} of {row.runs}" if row.diverged else "")
        table.add_row(*cells, style="bold" if row is best else None)
    return table


def chosen_split(rows: Sequence[Row]) -> str:
    """Returns the split that a sweep is judged by."""
    measured = {name for row in rows for name in row.results}
    return next((s for s in ("validation", "test", "train_clean") if f"{s}_loss" in measured), "train_clean")


def best_row(rows: Sequence[Row], split: str) -> Row | None:
    """Returns the row with the lowest mean loss of those in which no run diverged; None where there is none."""
    whole = [row for row in rows if not row.diverged and f"{split}_loss" in row.results]
    return min(whole, key=lambda row: row.results[f"{split}_loss"].mean, default=None)


def dots(estimate: Estimate, low: float, high: float, dot: str = "●") -> str:
    """Returns a line of `WIDTH` characters with a dot at the mean and a bar along the interval."""
    place = [_place(value, low, high) for value in (estimate.low, estimate.mean, estimate.high)]
    line = [" "] * WIDTH
    line[place[0] : place[2] + 1] = "─" * (place[2] + 1 - place[0])
    line[place[1]] = dot
    return "".join(line)


def _place(value: float, low: float, high: float) -> int:
    share = (value - low) / (high - low) if high > low else 0.5
    return round(min(max(share, 0.0), 1.0) * (WIDTH - 1))


def _span(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Returns the ends of the plot's axis, which are those of the intervals."""
    if not estimates:
        return 0.0, 1.0
    return min(e.low for e in estimates), max(e.high for e in estimates)


def _axis(low: float, high: float) -> str:
    left, right = format_accuracy(low), format_accuracy(high)
    return left + " " * (WIDTH - len(left) - len(right)) + right


def _words(split: str) -> str:
    return split.replace("train_clean", "clean training")


def _with_interval(value: Estimate | None, formatted: Callable[[float], str]) -> str:
    if value is None:
        return "–"
    text = formatted(value.mean)
    if value.interval is None:
        return text
    low, high = (formatted(end).removesuffix("%") for end in value.interval)
    return f"{text}\n({low}–{high})"
