"""A study's answer on a terminal: a table for each workload, and one of the claims."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from jaxopt_bench.results import Answered, Ranking, Standing, Verdict
from jaxopt_bench.results.words import accuracy_interval, evidence_in_words, format_value, sample
from jaxopt_bench.runs import format_accuracy, format_duration, format_loss


def ranking_table(verdict: Verdict, ranking: Ranking) -> Table:
    """Returns a workload's table: a row a contender, the best first.

    Below each mean is its 95% interval; the loss is that on clean training images.
    """
    study = verdict.study
    title = f"{ranking.workload}: means over {sample(study)}, 95% intervals"
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    columns = ["optimizer", "test\naccuracy", "clean\nloss", "trials"]
    timed = any(standing.steps is not None for standing in ranking.standings)
    columns += ["steps to\ntarget"] * timed + ["cost"]
    rows = []
    for standing in ranking.standings:
        cells = [
            standing.contender,
            _result(standing, "test_accuracy"),
            _result(standing, "train_clean_loss"),
            _trials(standing),
            *([_to_target(standing)] if timed else []),
            format_duration(standing.cost),
        ]
        rows.append(cells)
    rows += [[name, *["–"] * (len(columns) - 1)] for name in ranking.missing]
    for title, *cells in zip(columns, *rows, strict=True):
        widest = max(len(line) for cell in (title, *cells) for line in cell.split("\n"))
        table.add_column(title, justify="left" if title == "optimizer" else "right", no_wrap=True, min_width=widest)
    for cells in rows:
        table.add_row(*cells)
    return table


def selected_table(ranking: Ranking) -> Table:
    """Returns a table of the winners' values; an asterisk marks one at the edge of its range."""
    table = Table("optimizer", "selected", box=box.SIMPLE)
    for standing in ranking.standings:
        table.add_row(standing.contender, _selected(standing))
    return table


def claims_table(answered: Sequence[Answered]) -> Table:
    """Returns a table of claims and their answers, each with the intervals that it rests on."""
    table = Table(title="claims", box=box.SIMPLE, title_justify="left")
    table.add_column("claim", ratio=2)
    table.add_column("answer", no_wrap=True)
    table.add_column("what it rests on", ratio=3)
    several = len({a.workload for a in answered}) > 1
    for a in answered:
        where = f", on {a.workload}" if several else ""
        table.add_row(f"{a.claim.text}{where}\n", a.answer, evidence_in_words(a))
    return table


def _result(standing: Standing, measure: str) -> str:
    estimate = standing.results.get(measure)
    if estimate is None:
        return "–"
    percent = measure.endswith("accuracy")
    text = (format_accuracy if percent else format_loss)(estimate.mean)
    if estimate.margin is None:
        return text
    interval = accuracy_interval(estimate) if percent else f"{estimate.low:.4f} to {estimate.high:.4f}"
    return f"{text}\n{interval.replace(' to ', '–')}"


def _trials(standing: Standing) -> str:
    if standing.trials is None:
        return "–"
    diverged = f"\n{standing.trials.diverged} diverged" if standing.trials.diverged else ""
    return f"{standing.trials.count}{diverged}"


def _selected(standing: Standing) -> str:
    """Returns the winner's values; of several repetitions the first one's."""
    if not standing.winners:
        return "–"
    winner = standing.winners[0]
    edges = {edge.partition(" ")[0] for edge in winner["edges"]}
    lines = [
        f"{field.partition('.')[2]} {format_value(value)}{' *' if field in edges else ''}"
        for field, value in winner["values"].items()
    ]
    more = [f"and {len(standing.winners) - 1} others"] if len(standing.winners) > 1 else []
    return ", ".join(lines + more) or "as given"


def _to_target(standing: Standing) -> str:
    if standing.steps is None:
        return "not reached"
    return f"{standing.steps:,.0f}" + (f"\n{standing.seconds:.3g} s" if standing.seconds is not None else "")
