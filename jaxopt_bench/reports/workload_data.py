"""The subject of a report: the runs of one workload as tidy tables for charts, from a study or from no study."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import polars as pl

from jaxopt_bench.formatting import format_value, short_names
from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.problems import LOSS, Metric
from jaxopt_bench.reports.quantity import Quantity
from jaxopt_bench.results import Results, metrics_of, workload_metrics
from jaxopt_bench.results.columns import (
    COST,
    ENVIRONMENT,
    IDENTITY,
    METRICS,
    PARTS,
    PROBLEM,
    VERSION,
    experiment_types,
    is_result_column,
)
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.statistics.intervals import t_interval
from jaxopt_bench.study import Document, Study
from jaxopt_bench.verdict import REPORTED, Ranking, Verdict

MOST_SETTINGS = 8
"""The largest number of settings outside a study that are series of their own; otherwise, optimizers are series."""

CURVE_PHASES = ("confirmation", "run")
"""The phases of runs whose curves are shown: the confirmations of a study, and runs of no study."""

_NAME, _RATE = "optimizer.name", "optimizer.learning_rate"
_SETTINGS = (*PARTS, "epochs", "batch_size")
_JUDGED = ("final.validation_loss", "final.train_clean_loss", "final.train_loss")


@dataclasses.dataclass(frozen=True)
class WorkloadData:
    """The runs of one workload.

    Attributes:
      workload: the name of the workload.
      metrics: the metrics of the workload; the first is the headline.
      series: the names of the optimizers, or of the settings, the best first.
      runs: one row per run: its `series`, its place from `Results.runs` (`phase`, `trial`, `repetition`, `seed`,
        `selected`, `status`), the number of its `search` (the repetition, counted from 1), its `learning_rate`, its
        results under the names of the measures ("test_accuracy"), and its costs (`seconds`, `examples_per_second`,
        `steps`, `diverged_step`).
      curves: one row per measurement at the end of an epoch: `path`, `series`, `repetition`, `seed`, `phase`, `split`,
        `step`, `epoch`, a column for each metric, and the training `seconds` until then (null if they were not
        measured).
      steps: one row per line of training steps within epochs: `path`, `series`, `repetition`, `seed`, `step`, `epoch`,
        and means over the steps since the last line: `train_loss` and `grad_norm`. A line at the end of an epoch over
        less than half as many steps as other lines is left out, since it is noisier.
      study: the study of the runs; None for runs of no study.
      ranking: the study's verdict on this workload.
      tag: the prefix of its file names if a report has several subjects.
      note: a sentence that says which settings are not shown.
      varied: the numeric fields in which the settings differ, as columns of `runs`; the learning rate first. Only for
        runs of no study with a single optimizer.
    """

    workload: str
    metrics: tuple[Metric, ...]
    series: tuple[str, ...]
    runs: pl.DataFrame
    curves: pl.DataFrame
    steps: pl.DataFrame
    study: Study | None = None
    ranking: Ranking | None = None
    tag: str = ""
    note: str = ""
    varied: tuple[str, ...] = ()

    @property
    def keys(self) -> Mapping[str, str]:
        """The columns of `runs` that distinguish the runs of one setting, each with its title."""
        several = self.study is not None and self.study.repetitions > 1
        return {"search": "search", "seed": "seed"} if several else {"seed": "seed"}

    @property
    def ended(self) -> pl.DataFrame:
        """The runs that have ended, including trials that halving stopped."""
        return self.runs.filter(pl.col("status").is_in(["completed", "diverged", "stopped"]))

    @property
    def final_runs(self) -> pl.DataFrame:
        """The runs that give the results: a study's confirmations, or the completed runs of the settings shown.

        As in verdicts, a confirmation that diverged counts as the untrained model.
        """
        if self.study is not None:
            return self.ended.filter(pl.col("phase") == "confirmation")
        return self.ended.filter(pl.col("shown"), pl.col("status") == "completed")

    @property
    def trials(self) -> pl.DataFrame:
        """A study's trials that have ended."""
        return self.ended.filter(pl.col("phase") == "trial")

    @property
    def measures(self) -> Mapping[str, Measure]:
        """All measures, by name."""
        return measures(self.metrics)

    @functools.cached_property
    def headline(self) -> Quantity | None:
        """The measure of the results: a study's primary measure, otherwise the headline metric of the test split.

        If an optimizer has no test results, the split is validation, or else clean training. None if no split has
        results for all optimizers.
        """
        if self.ranking is not None:
            return Quantity(self.ranking.measures.primary)
        runs = self.final_runs.group_by("series")
        for split in REPORTED:
            measure = self.measures[f"{split}_{self.metrics[0].name}"]
            known = runs.agg(pl.col(measure.name).count().alias("runs"))["runs"]
            if len(known) and (known > 0).all():
                return Quantity(measure)
        return None


def split_study(results: Results, document: Document, verdict: Verdict) -> list[WorkloadData]:
    """Returns a subject for each workload of a study."""
    return [_of_workload(results, document, ranking) for ranking in verdict.rankings]


def split_runs(results: Results) -> list[WorkloadData]:
    """Returns a subject for each problem among runs of no study.

    The series are named after their differences: optimizers by their names, settings of one optimizer by their values.
    """
    found = []
    for workload, rows in _by_problem(results.runs):
        named_rows, note = with_series(rows)
        metrics = metrics_of(named_rows["metrics"])
        varied = _varied(named_rows)
        runs = _runs(named_rows, metrics, "final", varied)
        curves, steps = _curves(runs, results.curves, metrics), _steps(runs, results.curves)
        subject = WorkloadData(workload, metrics, (), runs, curves, steps, note=note.strip(), varied=varied)
        found.append(dataclasses.replace(subject, series=_by_headline(subject)))
    return found


def _by_problem(runs: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Returns the runs of each problem, with its title: the data set (or the kind of problem) and the model."""
    fields = [name for name in problem_columns(runs.columns) if runs[name].n_unique() > 1]
    groups = [rows for _, rows in runs.group_by(fields, maintain_order=True)] if fields else [runs]
    titles = []
    for rows in groups:
        row = rows.row(0, named=True)
        parts = [row.get("dataset") or row.get("problem.name"), row.get("model.name")]
        titles.append("_".join(str(part) for part in parts if part is not None))
    found = []
    for title, rows in zip(titles, groups, strict=True):
        same = [other for t, other in zip(titles, groups, strict=True) if t == title]
        differing = [name for name in fields if pl.concat([o[name] for o in same]).n_unique() > 1]
        short = short_names(differing)
        said = [f"{short[name]} {format_value(rows[name][0])}" for name in differing if rows[name][0] is not None]
        found.append((", ".join([title, *said]), rows))
    return found


def problem_columns(names: Sequence[str]) -> list[str]:
    """Returns the columns of `Results.runs` that describe the problem."""
    others = {*IDENTITY, *METRICS, *COST, *ENVIRONMENT, *experiment_types()} - {PROBLEM}
    return [n for n in names if not (n in others or is_result_column(n) or n.startswith((*PARTS, VERSION)))]


def with_series(runs: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Returns runs with two new columns: `series`, and `shown`, which says whether the setting is shown.

    A series is a setting. Its name is the optimizer's name, with the fields in which this optimizer's settings differ.
    If there are more than `MOST_SETTINGS` settings, the series are the optimizers, and one setting of each is shown:
    the setting with the lowest mean validation loss, or clean training loss if there is no validation. Means over
    different settings would have no meaning.

    Returns:
      The runs, and a sentence that says which settings are not shown.
    """
    known = [name for name in runs.columns if name.startswith(_SETTINGS) and name != _NAME]
    parts = []
    for _, rows in runs.group_by(_NAME, maintain_order=True):
        fields = [name for name in known if rows[name].n_unique() > 1]
        labels = [_label(row, fields) for row in rows.select(_NAME, *fields).to_dicts()]
        parts.append(rows.with_columns(pl.Series("setting", labels, pl.String)))
    full = pl.concat(parts)
    if full["setting"].n_unique() <= MOST_SETTINGS:
        return full.with_columns(series="setting", shown=pl.lit(True)), ""
    measured = [name for name in _JUDGED if name in full.columns and full[name].count()]
    judged = pl.col(measured[0]).mean() if measured else pl.len()
    settings = full.group_by(_NAME, "setting", maintain_order=True).agg(judged.alias("judged"))
    best = settings.sort("judged", nulls_last=True).unique([_NAME], keep="first")["setting"].to_list()
    by = measured[0].partition(".")[2].replace("_", " ") if measured else "number of runs"
    note = (
        f"There are {len(settings):,} settings. Results and curves show, for each optimizer, the setting with the "
        f"lowest mean {by}: {'; '.join(sorted(best))}."
    )
    return full.with_columns(series=_NAME, shown=pl.col("setting").is_in(best)), note


def _varied(runs: pl.DataFrame) -> tuple[str, ...]:
    """Returns the numeric fields in which the settings of a single optimizer differ, the learning rate first."""
    if runs[_NAME].n_unique() > 1:
        return ()
    numbers = [name for name in runs.columns if name.startswith(_SETTINGS) and runs.schema[name].is_numeric()]
    return tuple(sorted((name for name in numbers if runs[name].n_unique() > 1), key=lambda name: name != _RATE))


def _label(row: Mapping[str, object], fields: Sequence[str]) -> str:
    said = [
        str(row[field]) if field.endswith(".name") else f"{short} {format_value(row[field])}"
        for field, short in short_names(fields).items()
        if row[field] is not None
    ]
    return ", ".join([str(row[_NAME]), *said])


def _of_workload(results: Results, document: Document, ranking: Ranking) -> WorkloadData:
    study = document.study
    first = [s.contender for s in ranking.standings]
    order = (*first, *ranking.missing)
    rows = results.runs.filter(
        pl.col("study") == study.name,
        pl.col("workload") == ranking.workload,
        pl.col("contender").is_in(order),
        pl.col("phase").is_in(["trial", "finalist"]) | ((pl.col("phase") == "confirmation") & pl.col("selected")),
    ).with_columns(pl.col("contender").alias("series"))
    metrics = workload_metrics(results.runs, ranking.workload)
    runs = _runs(rows, metrics, study.at)
    untrained = {f"{split}_{m.name}": m.untrained for split in SPLITS for m in metrics if m.untrained is not None}
    lost = (pl.col("status") == "diverged") & (pl.col("phase") == "confirmation")
    runs = runs.with_columns(
        pl.when(lost).then(value).otherwise(pl.col(name)).alias(name) for name, value in untrained.items()
    )
    curves, steps = _curves(runs, results.curves, metrics), _steps(runs, results.curves)
    return WorkloadData(ranking.workload, metrics, order, runs, curves, steps, study, ranking)


def _runs(rows: pl.DataFrame, metrics: Sequence[Metric], at: str, varied: Sequence[str] = ()) -> pl.DataFrame:
    def column(name: str) -> pl.Expr:
        return pl.col(name).cast(pl.Float64, strict=False) if name in rows.columns else pl.lit(None, pl.Float64)

    return rows.select(
        *("path", "series", "trial", "repetition", "seed", "selected", "status"),
        pl.col("shown") if "shown" in rows.columns else pl.lit(True).alias("shown"),
        (pl.col("repetition") + 1).alias("search"),
        pl.col("phase").fill_null("run"),
        column(_RATE).alias("learning_rate"),
        *(column(f"{at}.{split}_{m.name}").alias(f"{split}_{m.name}") for split in SPLITS for m in metrics),
        *("seconds", "examples_per_second", "steps", "diverged_step"),
        *varied,
    )


def _by_headline(subject: WorkloadData) -> tuple[str, ...]:
    """Returns the series of runs of no study, sorted by the mean of their headline metric, the best first."""
    order = subject.runs.select("series").unique(maintain_order=True)
    headline = subject.headline
    if headline is None:
        return tuple(order["series"])
    means = subject.final_runs.group_by("series").agg(pl.col(headline.name).fill_nan(None).mean().alias("reached"))
    joined = order.join(means, on="series", how="left", maintain_order="left")
    best_first = headline.metric.higher_is_better
    return tuple(joined.sort("reached", descending=best_first, nulls_last=True, maintain_order=True)["series"])


def _curves(runs: pl.DataFrame, lines: pl.DataFrame, metrics: Sequence[Metric]) -> pl.DataFrame:
    shown = _with_curves(runs).select("path", "series", "repetition", "seed", "phase")
    values = [pl.col(m.name) if m.name in lines.columns else pl.lit(None, pl.Float64).alias(m.name) for m in metrics]
    ends = lines.filter(pl.col("split").is_in(SPLITS)).select("path", "split", "step", "epoch", *values)
    clock = (
        lines.filter(pl.col("split") == "train", pl.col("seconds").is_not_null())
        .sort("path", "step")
        .select("path", "step", pl.col("seconds").cum_sum().over("path"))
    )
    joined = ends.join(shown, on="path", how="inner").join(clock, on=["path", "step"], how="left")
    return joined.sort("series", "seed", "path", "split", "step")


def _steps(runs: pl.DataFrame, lines: pl.DataFrame) -> pl.DataFrame:
    shown = _with_curves(runs).select("path", "series", "repetition", "seed")
    loss = pl.col(LOSS) if LOSS in lines.columns else pl.lit(None, pl.Float64)
    within = lines.filter(pl.col("split") == "train_steps")
    within = within.filter((2 * pl.col("steps") >= pl.col("steps").max().over("path")).fill_null(value=True))
    values = within.select("path", "step", "epoch", loss.alias("train_loss"), "grad_norm")
    return values.join(shown, on="path", how="inner").sort("series", "seed", "path", "step")


def _with_curves(runs: pl.DataFrame) -> pl.DataFrame:
    """Returns the runs whose curves are shown."""
    return runs.filter(pl.col("phase").is_in(CURVE_PHASES), pl.col("shown"))


def bands(curves: pl.DataFrame, limits: tuple[float | None, float | None] = (None, None)) -> pl.DataFrame:
    """Returns means over seeds, with 95% intervals, for each series and epoch.

    `estimate` computes the intervals. If a search was repeated, the mean over the seeds of each repetition is one
    value, as in verdicts.

    Args:
      curves: the curves of one split, with the columns `series`, `repetition`, `epoch`, `step`, `seconds` and `value`.
      limits: the lowest and the highest possible value; None if there is no limit.

    Returns:
      A row for each series and epoch: `mean`, `low`, `high` (null for a single seed), and the number of `seeds`, or of
      repetitions.
    """
    known = curves.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    if known["repetition"].n_unique() > 1:
        known = known.group_by("series", "repetition", "epoch", maintain_order=True).agg(
            pl.col("step").first(), pl.col("seconds").mean(), pl.col("value").mean()
        )
    grouped = known.group_by("series", "epoch", maintain_order=True).agg(
        pl.col("step").first(),
        pl.col("seconds").mean(),
        pl.col("value").mean().alias("mean"),
        pl.col("value").std().alias("deviation"),
        pl.col("value").min().alias("least"),
        pl.col("value").max().alias("greatest"),
        pl.len().alias("seeds"),
    )
    least, greatest = limits
    ends: list[tuple[float | None, float | None]] = []
    for row in grouped.iter_rows(named=True):
        if row["seeds"] == 1:
            ends.append((None, None))
        else:
            low = least if least is not None and row["least"] >= least else None
            high = greatest if greatest is not None and row["greatest"] <= greatest else None
            ends.append(t_interval(row["mean"], row["deviation"], row["seeds"], 0.95, low, high))
    columns = pl.DataFrame(ends, schema={"low": pl.Float64, "high": pl.Float64}, orient="row")
    return grouped.hstack(columns).drop("deviation", "least", "greatest")


def thin_out(frame: pl.DataFrame, by: Sequence[str], value: str, most: int) -> pl.DataFrame:
    """Returns series with at most `most` points each. All extremes remain.

    Each series is cut into intervals with equal numbers of points. The lowest and the highest point of each interval
    remain, and the first and the last point of the series.

    Args:
      frame: the rows of the series, each in drawing order.
      by: the columns that identify the series of a row.
      value: the column whose extremes remain.
      most: the maximum number of points of a series, at least 4.
    """
    stretches = max(1, (most - 2) // 2)
    position = pl.int_range(pl.len()).over(by)
    length = pl.len().over(by)
    stretch = (position * stretches // length).alias("stretch")
    numbered = frame.with_columns(position.alias("position"), length.alias("length"), stretch)
    own = [*by, "stretch"]
    extreme = (pl.col(value) == pl.col(value).min().over(own)) | (pl.col(value) == pl.col(value).max().over(own))
    end = (pl.col("position") == 0) | (pl.col("position") == pl.col("length") - 1)
    kept = numbered.filter((pl.col("length") <= most) | end | extreme)
    # If an interval has equal extremes, the first one remains.
    again = kept.with_columns(pl.int_range(pl.len()).over([*own, value]).alias("again"))
    last = (pl.col("length") <= most) | (pl.col("again") == 0) | (pl.col("position") == pl.col("length") - 1)
    return again.filter(last).drop("position", "length", "stretch", "again")
