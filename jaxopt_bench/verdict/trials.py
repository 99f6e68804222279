"""The results of a contender's trials on a workload."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import polars as pl

from jaxopt_bench.measures import Measure
from jaxopt_bench.optimizers import Axis
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import Sensitivity, complete_mean, expected_best, sensitivity, spearman
from jaxopt_bench.study import HALVING, Selection, Study
from jaxopt_bench.verdict.samples import RunRow, final_or_best, result_at, seeds_by_trial
from jaxopt_bench.verdict.workload_measures import WorkloadMeasures

LEARNING_RATE = "optimizer.learning_rate"
ZERO_MAY_DO = "optimizer.weight_decay (low)"
"""An edge of a search space at which the values are already practically zero, see `WEIGHT_DECAYS`."""
FEWEST_NEAREST = 4
"""The smallest number of trials near an edge that can show a trend: with 3, no order is significant."""


@dataclasses.dataclass(frozen=True)
class Trials:
    """A contender's trials on a workload, over all repetitions.

    Attributes:
      count: the number of trials.
      diverged: the number of diverged trials.
      expected_best: the expected result of the best of 1, 2, … trials, in `WorkloadMeasures.judged`. It is empty if a
        part of the trials is not a search of the same kind: for a grid, and if the search space has extensions. It is
        also empty for halving, which has final results of the best trials only, and if no result is known.
      good_learning_rates: the learning rates of trials that are nearly as good as the best one, see
        `WorkloadMeasures.tolerance`; None if they are not known, as with halving: a stopped trial might have become as
        good.
    """

    count: int
    diverged: int
    expected_best: tuple[float, ...]
    good_learning_rates: Sensitivity | None


def trials_of(study: Study, workload: str, rows: pl.DataFrame, measures: WorkloadMeasures) -> Trials:
    """Returns the results of a contender's trials; the result of a trial is the mean over its seeds."""
    trials = seeds_by_trial(rows)

    def means(measure: str) -> list[float | None]:
        return [complete_mean([final_or_best(study, seed, measure) for seed in seeds]) for seeds in trials]

    values = means(measures.judged.name)
    good = None
    if LEARNING_RATE in rows.columns and measures.tolerance is not None and study.search != HALVING:
        reached = means(measures.headline.name)
        rates = [seeds[0][LEARNING_RATE] for seeds in trials]
        if min(rates) > 0:
            good = sensitivity(rates, reached, measures.tolerance, higher=measures.headline.higher_is_better)
    parts_differ = study.search in ("grid", HALVING) or bool(study.contender(rows["contender"][0]).extensions)
    curve = [] if parts_differ else _expected_best(values, measures.judged)
    budget = study.trials_on(study.workload(workload))
    diverged = [seeds for seeds in trials if any(_diverged(study, seed, measures.judged) for seed in seeds)]
    return Trials(len(trials), len(diverged), tuple(curve[:budget]), good)


def _diverged(study: Study, row: RunRow, judged: Measure) -> bool:
    return row["status"] != "stopped" and final_or_best(study, row, judged.name) is None


def improving_edges(
    study: Study, results: Results, rows: pl.DataFrame, winner: Selection, judged: Measure
) -> list[str]:
    """Returns the edges at which a winner lies and towards which results still improve, if the range can be extended.

    The best of a few trials can lie at an edge of a range by chance, even if the hyperparameter has no influence. So
    the half of the trials that is nearest to the edge must improve towards it: Spearman's rank correlation of the
    results with the distance from the edge must be significant at 5%, one-sided. With halving, the results are those at
    the first rung, the last epoch of all trials, because later results are of selected trials only.

    Args:
      study: the study.
      results: the results of the study, with the lines of the trials' metrics.
      rows: the trials of a contender on a workload; only those of the winner's repetition count.
      winner: the selection among them.
      judged: the measure of the results.

    Returns:
      Fields with their edges, as in `Selection.edges`, without `ZERO_MAY_DO` and natural limits such as an exponent of
      1/2.
    """
    contender, workload = study.contender(winner.contender), study.workload(winner.workload)
    space = contender.reach
    trials = seeds_by_trial(rows.filter(pl.col("repetition") == winner.repetition))
    found = []
    for edge in winner.edges:
        field = edge.partition(" ")[0]
        axis = space.get(field)
        if not isinstance(axis, Axis) or field not in rows.columns or edge == ZERO_MAY_DO:
            continue
        end = round(axis.share(winner.winning_values[field]))
        distances = [abs(axis.share(seeds[0][field]) - end) for seeds in trials]
        first = study.common_epochs(workload)
        epoch = first if first < workload.epochs else None
        badness = [_badness(study, results, seeds, judged, epoch) for seeds in trials]
        if _improves(badness, distances) and contender.beyond(edge):
            found.append(edge)
    return found


def _badness(study: Study, results: Results, seeds: Sequence[RunRow], judged: Measure, epoch: int | None) -> float:
    """Returns a trial's result, see `result_at`, with its sign set so that lower is better; infinity if it diverged."""
    value = complete_mean([result_at(study, results, seed, judged.name, epoch) for seed in seeds])
    return math.inf if value is None else -value if judged.higher_is_better else value


def _improves(badness: Sequence[float], distances: Sequence[float]) -> bool:
    """Returns whether trials improve towards an edge, given their distances from it."""
    nearest = sorted(zip(distances, badness, strict=True))[: max(FEWEST_NEAREST, -(-len(distances) // 2))]
    if len(nearest) < FEWEST_NEAREST:
        return False
    trend = spearman([distance for distance, _ in nearest], [value for _, value in nearest])
    return trend.rho is not None and trend.rho > 0 and trend.p_value is not None and trend.p_value / 2 < 0.05


def _expected_best(values: Sequence[float | None], judged: Measure) -> list[float]:
    """Returns the expected result of the best of 1, 2, … trials; a diverged trial counts as an untrained model."""
    higher, worst = judged.higher_is_better, judged.metric.untrained
    known = [value for value in values if value is not None]
    if worst is None:
        worst = min(known, default=None) if higher else max(known, default=None)
    if worst is None:
        return []
    bad = -math.inf if higher else math.inf
    return expected_best([bad if v is None else v for v in values], higher=higher, worst=worst)
