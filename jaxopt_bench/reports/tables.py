"""Tables of results: of rankings, pairs, selected settings, finalists, claims, divergences and costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from jaxopt_bench.formatting import capitalise, format_count, format_duration, format_value, short_names
from jaxopt_bench.measures import Measure
from jaxopt_bench.problems import Metric
from jaxopt_bench.reports.table import NONE, NOT_REACHED, Table
from jaxopt_bench.statistics import Estimate
from jaxopt_bench.study import STEPS
from jaxopt_bench.verdict import (
    REPORTED,
    ClaimResult,
    Pair,
    Ranking,
    Standing,
    Verdict,
    describe_evidence,
    describe_seeds,
    sample,
)

if TYPE_CHECKING:  # tables on a terminal do not need it
    from jaxopt_bench.reports.workload_data import WorkloadData

MOST_MISSING = 8
"""The maximum number of optimizers without confirmed results in a table; more are counted."""
MOST_DIVERGED = 200
"""The maximum number of diverged runs in a table; more are counted."""


def ranking_table(verdict: Verdict, ranking: Ranking, recorded: Collection[str] = ()) -> Table:
    """Returns a workload's table: one row per contender, the best first.

    Args:
      verdict: the verdict of the study.
      ranking: the ranking of the workload.
      recorded: contenders whose runs were recorded before those of the others. Their seconds are marked.
    """
    study = verdict.study
    timed = any(s.steps is not None for s in ranking.standings)
    shown = list(dict.fromkeys([ranking.measures.primary, ranking.measures.by_name["train_clean_loss"]]))
    columns = ["optimizer", *map(heading, shown), "trials", *["steps to target"] * timed, "cost"]
    rows, numbers = [], []
    for s in ranking.standings:
        found = {m: s.results.get(m.name) for m in shown}
        mark = "*" if s.contender in recorded else ""
        rows.append(
            (
                s.contender,
                *(_format_estimate(m, each) for m, each in found.items()),
                _trials(s),
                *([_to_target(s, mark)] if timed else []),
                f"{format_duration(s.cost)}{mark}",
            )
        )
        numbers.append(
            {
                "optimizer": s.contender,
                **{k: v for m, each in found.items() for k, v in _estimate(m.name, each).items()},
                "confirmations": s.runs,
                "confirmations_diverged": s.diverged,
                "trials": None if s.trials is None else s.trials.count,
                "trials_diverged": None if s.trials is None else s.trials.diverged,
                "steps_to_target": s.steps,
                "seconds_to_target": s.seconds,
                "cost_seconds": s.cost,
            }
        )
    missing = ranking.missing if len(ranking.missing) <= MOST_MISSING else ()
    for name in missing:
        rows.append((name, *[NONE] * (len(columns) - 1)))
        numbers.append({"optimizer": name})
    note = f"Means over {sample(study, ranking)}, each with its own 95% interval. {directions(shown)}"
    if len(ranking.missing) > len(missing):
        note += f" {len(ranking.missing)} optimizers have no confirmed results yet."
    if any(s.contender in recorded for s in ranking.standings):
        note += (
            " Seconds with * were recorded before, perhaps on another machine: they are not comparable with the others."
        )
    return _table("ranking", f"Results on {ranking.workload}", columns, rows, numbers, note)


def pairs_table(verdict: Verdict, ranking: Ranking) -> Table | None:
    """Returns all pairs of contenders: the difference, its test, and the number of seeds needed to detect it.

    The table is None if there are no pairs.
    """
    of_searches = verdict.study.repetitions > 1
    many = "searches" if of_searches else "seeds"
    rows, numbers = [], []
    for p in ranking.pairs:
        found = p.difference.estimate
        ends = p.difference.same_examples.interval or (None, None)
        known = p.adjusted is not None
        rows.append(
            (
                f"{p.first} over {p.second}",
                ranking.measures.primary.format_number(found.mean, "+"),
                *(
                    NONE if each.interval is None else ranking.measures.primary.format_interval(each, "+")
                    for each in ([found] if ranking.test_examples is None else [found, p.difference.same_examples])
                ),
                NONE if p.adjusted is None else "<0.001" if p.adjusted < 0.001 else f"{p.adjusted:.3f}",
                ("yes" if p.significant else "no") if known else NONE,
                f"{p.wins:g} of {p.of}",
                _needed(p),
            )
        )
        numbers.append(
            {"first": p.first, "second": p.second, **_estimate("difference", found), "p_value": p.difference.p_value,
             "p_adjusted": p.adjusted, "significant": p.significant if known else None, "wins": p.wins,
             "pairs_of_runs": p.of,
             "same_examples_low": ends[0], "same_examples_high": ends[1],
             "seeds_needed_low": None if p.seeds is None else p.seeds.low,
             "seeds_needed_high": None if p.seeds is None else p.seeds.high}
        )  # fmt: skip
    if not rows:
        return None
    unit = "points" if ranking.measures.primary.metric.percent else ranking.measures.primary.metric.unit
    columns = [
        "pair",
        f"lead in {ranking.measures.primary.words} ({unit})" if unit else f"lead in {ranking.measures.primary.words}",
        *(["95% interval"] if ranking.test_examples is None else ["on new data", "on these test examples"]),
        "p, adjusted",
        "significant",
        f"wins, of pairs of {'searches' if of_searches else 'runs'}",
        f"{many} needed",
    ]
    count = ranking.comparisons
    one = "a search" if of_searches else "a run"
    note = (
        "The lead is the difference of the mean of the first and the mean of the second; it is positive if the first "
        f"is better. p values are of Welch's t test, adjusted for {format_count(count, 'comparison')} by Holm's "
        f"method. The intervals contain all {count} true differences at once with a probability of 95% (Bonferroni)."
        f"{_of_examples(ranking)} Wins are counted over all pairs of {one} of the first and one of the second. "
        f"{many.capitalize()} needed: the number of {many} of each optimizer that would show a difference of this size "
        "with a power of 80%, for the least and the greatest deviation within its 95% interval."
    )
    return _table("pairs", f"Every pair on {ranking.workload}", columns, rows, numbers, note)


def _needed(pair: Pair) -> str:
    """Returns the number of seeds that would detect the difference of a pair."""
    if pair.seeds is None:
        return NONE
    return "more test examples" if pair.needs_examples else describe_seeds(pair.seeds) or "too few to say"


def _of_examples(ranking: Ranking) -> str:
    """Returns a sentence about the two intervals of a difference, after a space; "" if there is only one interval."""
    if ranking.test_examples is None:
        return ""
    return (
        f" The interval on new data also covers the choice of the {ranking.test_examples:,} test examples. It decides "
        "which differences are significant."
    )


def selection_table(ranking: Ranking) -> Table | None:
    """Returns the values of the winners; an asterisk marks a value at the edge of its range.

    The table is None if no winner has been selected.
    """
    rows, numbers = [], []
    for s in ranking.standings:
        for winner in s.winners:
            edges = {edge.partition(" ")[0] for edge in winner.edges}
            short = short_names(winner.winning_values)
            values = [
                f"{short[field]} {format_value(value)}{' *' if field in edges else ''}"
                for field, value in winner.winning_values.items()
            ]
            search = f" (search {winner.repetition + 1})" if len(s.winners) > 1 else ""
            rows.append((f"{s.contender}{search}", ", ".join(values) or "as given"))
            numbers += [
                {"optimizer": s.contender, "repetition": winner.repetition, "trial": winner.trial, "field": field,
                 "value": str(value), "edge": field in edges}
                for field, value in winner.winning_values.items()
            ]  # fmt: skip
    if not rows:
        return None
    note = "* at the edge of its range." if any(number["edge"] for number in numbers) else ""
    return _table("selected", "Selected values", ["optimizer", "values"], rows, numbers, note)


def finalists_table(verdict: Verdict, ranking: Ranking) -> Table | None:
    """Returns the results of the finalists with other seeds; these results select the winners.

    The table is None if there are no finalists.
    """
    study, judged = verdict.study, ranking.measures.judged
    by_steps = study.select == STEPS
    rows, numbers = [], []
    for winner in (winner for s in ranking.standings for winner in s.winners):
        search = f" (search {winner.repetition + 1})" if study.repetitions > 1 else ""
        for trial, value in winner.finalists.items():
            reached = NONE if value is None else f"{value:,.0f}" if by_steps else judged.format(value)
            is_winner = trial == winner.trial
            rows.append((f"{winner.contender}{search}", str(trial), reached, "yes" if is_winner else "no"))
            numbers.append(
                {"optimizer": winner.contender, "repetition": winner.repetition, "trial": trial, "value": value,
                 "selected": is_winner}
            )  # fmt: skip
    if not rows:
        return None
    words = "steps to target" if by_steps else judged.words
    seeds = format_count(study.finalist_seeds, "other seed")
    note = f"Each finalist was trained again with {seeds}. The result that made it a finalist does not count."
    columns = ["optimizer", "trial", f"mean {words}", "selected"]
    return _table("finalists", f"The finalists on {ranking.workload}", columns, rows, numbers, note)


def claims_table(answered: Sequence[ClaimResult]) -> Table | None:
    """Returns the claims with their answers and the evidence; None if there are no claims."""
    if not answered:
        return None
    several = len({a.workload for a in answered}) > 1
    columns = ["claim", *["workload"] * several, "answer", "evidence", "source"]
    rows = [(a.claim.text, *[a.workload] * several, a.answer, describe_evidence(a), a.claim.source) for a in answered]
    numbers = [
        {"claim": a.claim.text, "workload": a.workload, "answer": a.answer, "evidence": describe_evidence(a),
         "source": a.claim.source}
        for a in answered
    ]  # fmt: skip
    return _table("claims", "Claims and their answers", columns, rows, numbers)


def divergence_table(subject: WorkloadData) -> Table | None:
    """Returns the runs that diverged, each with its step of divergence; None if no run diverged."""
    found = subject.runs.filter(pl.col("status") == "diverged").sort("series", "phase", "repetition", "trial", "seed")
    if not len(found):
        return None
    shown = {"series": "series", "phase": "phase", **subject.keys, "trial": "trial", "learning_rate": "learning rate",
             "diverged_step": "step"}  # fmt: skip
    numbers = found.select(*shown, "steps").to_dicts()
    rows = [tuple(_format_value(row[name]) for name in shown) for row in numbers[:MOST_DIVERGED]]
    more = len(numbers) - len(rows)
    note = "The loss, the gradient or the update of that step, or an evaluation after it, was not finite." + (
        f" {more:,} more are in the CSV file." if more else ""
    )
    title = f"Runs that diverged: {len(numbers)} of {len(subject.runs)}"
    return _table("diverged", title, list(shown.values()), rows, numbers, note)


def cost_table(subject: WorkloadData) -> Table | None:
    """Returns the cost of the runs: their number, seconds, and examples per second.

    The table is None if no run that has ended has a number of seconds.
    """
    ended = subject.ended.filter(pl.col("seconds").is_not_null())
    if not len(ended):
        return None
    found = ended.group_by("series", maintain_order=True).agg(
        pl.len().alias("runs"),
        pl.col("seconds").median().alias("seconds_median"),
        pl.col("examples_per_second").median().alias("examples_per_second_median"),
        pl.col("seconds").sum().alias("seconds_total"),
    )
    order = {name: i for i, name in enumerate(subject.series)}
    numbers = sorted(found.to_dicts(), key=lambda row: order[row["series"]])
    rows = [
        (
            r["series"],
            f"{r['runs']:,}",
            f"{r['seconds_median']:,.4g}",
            _format_value(r["examples_per_second_median"], "{:,.0f}"),
            format_duration(r["seconds_total"]),
        )
        for r in numbers
    ]
    columns = ["optimizer", "runs", "seconds a run, median", "examples/s, median", "all together"]
    note = "Examples/s is the speed of training, for all runs together that one program trained at once."
    return _table("cost", "Cost of training", columns, rows, numbers, note)


def settings_table(subject: WorkloadData) -> Table:
    """Returns the results of runs of no study: one row per optimizer or setting, the best first."""
    names = dict.fromkeys([*(f"{split}_{subject.metrics[0].name}" for split in REPORTED[:2]), "train_clean_loss"])
    shown = [subject.measures[name] for name in names if subject.runs[name].count()]
    rows, numbers = [], []
    for name in subject.series:
        runs = subject.runs.filter(pl.col("series") == name, pl.col("shown"))
        done = subject.final_runs.filter(pl.col("series") == name)
        found = {m: m.estimate(v) if (v := done[m.name].drop_nulls().to_list()) else None for m in shown}
        lost = int((runs["status"] == "diverged").sum())
        rows.append((name, *(_format_estimate(m, each) for m, each in found.items()), f"{len(runs):,}", f"{lost:,}"))
        estimates = {k: v for m, each in found.items() for k, v in _estimate(m.name, each).items()}
        numbers.append({"optimizer": name, **estimates, "runs": len(runs), "diverged": lost})
    columns = ["optimizer", *map(heading, shown), "runs", "diverged"]
    note = "Means over seeds with 95% intervals, of the runs that were completed, at the last epoch."
    note = " ".join(part for part in (note, directions(shown), subject.note) if part)
    return _table("results", f"Results on {subject.workload}", columns, rows, numbers, note)


def heading(measure: Measure) -> str:
    """Returns the title of the column of a measure. Percentages have their sign in each cell."""
    return measure.words if measure.metric.percent else measure.title


def directions(shown: Sequence[Measure | Metric]) -> str:
    """Returns which direction of each measure is better: "Higher test accuracy and lower test loss are better."."""
    parts = [f"{'higher' if measure.higher_is_better else 'lower'} {measure.words}" for measure in shown]
    return capitalise(f"{' and '.join(parts)} {'is' if len(parts) == 1 else 'are'} better.") if parts else ""


def _format_estimate(measure: Measure, found: Estimate | None) -> str:
    if found is None:
        return NONE
    interval = "" if found.interval is None else f"\n({measure.format_interval(found)})"
    return measure.metric.format(found.mean) + interval


def _trials(standing: Standing) -> str:
    if standing.trials is None:
        return NONE
    lost = f"\n({standing.trials.diverged} diverged)" if standing.trials.diverged else ""
    return f"{standing.trials.count}{lost}"


def _to_target(standing: Standing, mark: str) -> str:
    if standing.steps is None:
        return NOT_REACHED
    seconds = "" if standing.seconds is None else f"\n({standing.seconds:.3g} s{mark})"
    return f"{standing.steps:,.0f}{seconds}"


def _estimate(name: str, found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    single = found.interval is None
    return {
        name: found.mean,
        f"{name}_low": None if single else found.low,
        f"{name}_high": None if single else found.high,
    }


def _format_value(value: object, form: str = "{:.4g}") -> str:
    if value is None:
        return NONE
    return form.format(value) if isinstance(value, float) else str(value)


def _table(
    name: str,
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, ...]],
    numbers: Sequence[Mapping[str, Any]],
    note: str = "",
) -> Table:
    return Table(name, title, tuple(columns), tuple(rows), pl.DataFrame(numbers, infer_schema_length=None), note)
