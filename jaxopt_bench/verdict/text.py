"""Parts of a verdict in words: good learning rates, scores, evidence."""

from __future__ import annotations

from jaxopt_bench.formatting import format_count, join_words
from jaxopt_bench.measures import Measure
from jaxopt_bench.statistics import Estimate, SeedRange
from jaxopt_bench.statistics.scores import FEWEST_RESULTS
from jaxopt_bench.study import Comparison, Study
from jaxopt_bench.verdict.claims import ClaimResult, Evidence
from jaxopt_bench.verdict.ranking import Ranking
from jaxopt_bench.verdict.verdict import Verdict
from jaxopt_bench.verdict.workload_measures import POINT

MOST_SEEDS_TO_NAME = 1000
"""A larger number of seeds is shown as "more than 1,000"."""
WIDEST = 10
"""A range of seeds is not shown if its ends differ by a larger factor."""


def describe_seeds(seeds: SeedRange) -> str | None:
    """Returns a range of numbers of seeds: "40 to 182"; None if it is too wide to be useful."""
    low, high = seeds.low, seeds.high
    if low is None or low > MOST_SEEDS_TO_NAME:
        return f"more than {MOST_SEEDS_TO_NAME:,}"
    if high is None or high > WIDEST * low:
        return None
    return f"{low:,} to {high:,}" if low < high else f"{low:,}"


def describe_sensitivity(ranking: Ranking) -> str | None:
    """Returns a sentence with the range of good learning rates of each optimizer; None if no ranges are known."""
    found = [(s.contender, s.trials, s.trials.good_learning_rates) for s in ranking.standings if s.trials is not None]
    ranges = [(name, trials, good) for name, trials, good in found if good is not None]
    if not ranges:
        return None
    ranges.sort(key=lambda found: -found[2].decades)
    parts = []
    for name, trials, good in ranges:
        low, high = f"{good.low:.2g}", f"{good.high:.2g}"
        rates = low if low == high else f"{low} to {high}"
        parts.append(f"{name} {rates} ({good.count} of {trials.count} trials)")
    headline, tolerance = ranking.measures.headline, ranking.measures.tolerance
    if headline.metric.percent:
        within = f"a point of {headline.metric.words} of the best"
    else:
        assert tolerance is not None, "without it there are no good learning rates"
        within = (
            f"{headline.format_difference(tolerance)} of the best {headline.words} ({POINT:.0%} of the difference "
            "between the best trial of all and an untrained model)"
        )
    return f"Learning rates of the trials within {within}: {', '.join(parts)}."


def describe_scores(verdict: Verdict) -> str | None:
    """Returns a text with AlgoPerf's scores, the highest first, and their noise; None if there are no scores."""
    if not verdict.scores:
        return None
    ranked = sorted(verdict.scores.items(), key=lambda pair: -pair[1].mean)
    parts = ", ".join(f"{name} {score.mean:.3f}{_interval_of_score(score)}" for name, score in ranked)
    said = f"AlgoPerf's score, of the times to the targets on {len(verdict.timed)} workloads: {parts}."
    if len(ranked) == 1:
        return said
    several = verdict.study.repetitions > 1
    first, best = ranked[0]
    if verdict.margin is None:
        fewest = f"{FEWEST_RESULTS} {'searches' if several else 'seeds'}"
        return f"{said} Intervals need at least {fewest}, so these differences may all be noise."
    noise = "differences between searches" if several else "the noise of seeds"
    close = [name for name, score in ranked if best.mean - score.mean <= verdict.margin]
    settled = (
        f"So it is not settled which of {join_words(close)} has the highest score"
        if len(close) > 1
        else f"The lead of {first} is larger"
    )
    return (
        f"{said} The intervals (95%) cover {noise} alone: with other workloads the scores may be others. Equally fast "
        f"optimizers can differ by {verdict.margin:.3f} because of this noise. {settled}."
    )


def _interval_of_score(score: Estimate) -> str:
    return "" if score.interval is None else f" ({score.low:.3f} to {score.high:.3f})"


def describe_evidence(answered: ClaimResult) -> str:
    """Returns the evidence for the answer to a claim, and the differences from the setting of the claim, in words."""
    evidence = "; ".join(_evidence(evidence) for evidence in answered.evidence)
    differs = answered.claim.differs
    return f"{evidence}. The setting here differs: {differs}" if differs else evidence


def _evidence(evidence: Evidence) -> str:
    if evidence.measure is None:
        return f"{evidence.part.measure.replace('_', ' ')}: not measured on this workload"
    words = evidence.measure.words
    if evidence.undecidable:
        return f"{words}: {evidence.undecidable}"
    if isinstance(evidence.part, Comparison):
        assert evidence.difference is not None, "otherwise it says why there is none"
        pair = f"{evidence.part.higher} minus {evidence.part.lower}"
        among = f", corrected for {evidence.comparisons} comparisons" if evidence.comparisons > 1 else ""
        return f"{words}, {pair}, {_signed(evidence.measure, evidence.difference)}{among}"
    found = evidence.correlation
    assert found is not None, "otherwise it says why there is none"
    interval = "" if found.low is None else f", 95% interval {found.low:.2f} to {found.high:.2f}"
    field = evidence.part.field.rpartition(".")[2]
    number = format_count(found.count, "optimizer" if evidence.part.contenders else "trial")
    return f"{words} and {field}: rank correlation {found.rho:.2f}{interval}, p {found.p_value:.2g}, {number}"


def _signed(measure: Measure, difference: Estimate) -> str:
    """Returns a difference with its sign and its 95% interval."""
    interval = "" if difference.interval is None else f" (95% interval {measure.format_interval(difference, '+')})"
    return f"{measure.format_difference(difference.mean, '+')}{interval}"


def sample(study: Study, ranking: Ranking) -> str:
    """Returns the number of seeds, or of searches, over which the means of a workload are computed."""
    counts = {s.primary.count for s in ranking.standings} or {study.seeds}
    fewest, most = min(counts), max(counts)
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    kind = "search" if study.repetitions > 1 else "fresh seed"
    return f"{number} {kind}{'' if most == 1 else 'es' if kind == 'search' else 's'}"
