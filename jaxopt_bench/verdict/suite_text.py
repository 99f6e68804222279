"""The verdict over all workloads in one short paragraph. It claims no more than seeds and workloads support."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from jaxopt_bench.formatting import join_words
from jaxopt_bench.statistics import Aggregate
from jaxopt_bench.statistics.resampling import FEWEST_SEEDS
from jaxopt_bench.verdict.suite import SuiteVerdict

MOST_NAMES = 5
"""The maximum number of optimizers in a list; a longer list is only counted."""


def describe_suite_verdict(found: SuiteVerdict) -> str:
    """Returns the verdict over all workloads in at most six sentences."""
    sentences = [
        _lead(found),
        _seeds(found),
        _workloads(found),
        _speed(found),
        _contrast(found),
        _single_setting(found),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _lead(found: SuiteVerdict) -> str:
    """Returns a sentence about the contenders with the highest score and the best mean rank."""
    first = next(iter(found.scores))
    best = min(found.ranks, key=lambda name: found.ranks[name].value)
    rank = f"{found.ranks[best].value:.1f} of {len(found.ranks)}"
    also = f"and the best mean rank, {rank}" if best == first else f"and {best} the best mean rank, {rank}"
    without = [_counted("optimizer", found.missing), _counted("workload", found.left_out)]
    left_out = f" (not compared: {'; '.join(filter(None, without))})" if any(without) else ""
    count = len(found.workloads)
    return (
        f"Over {count} workloads{left_out}, {first} has the highest score, {found.scores[first].value:.2f}"
        f"{_intervals(found.scores[first])}, {also}."
    )


def _intervals(aggregate: Aggregate) -> str:
    """Returns both intervals after a space, in parentheses; "" if there are none."""
    ends = {"seeds": aggregate.over_seeds, "workloads": aggregate.over_workloads}
    parts = [f"{low:.2f} to {high:.2f} over {what}" for what, (low, high) in _known(ends)]
    return f" ({', '.join(parts)})" if parts else ""


def _known(ends: dict[str, tuple[float, float] | None]) -> list[tuple[str, tuple[float, float]]]:
    return [(what, interval) for what, interval in ends.items() if interval is not None]


def _seeds(found: SuiteVerdict) -> str:
    """Returns a sentence about the noise of seeds on these workloads."""
    first, *others = found.scores
    if found.score_margin is None:
        return (
            f"With fewer than {FEWEST_SEEDS} results of an optimizer on a workload, nothing can be said of the noise "
            "of seeds."
        )
    best = found.scores[first].value
    close = [name for name in others if best - found.scores[name].value <= found.score_margin]
    noise = f"equally good optimizers can differ by {found.score_margin:.2g} because of the seeds"
    lead = f"On these workloads, the lead of {first}"
    if not close:
        return f"{lead} over every other optimizer is larger than the noise of the seeds: {noise}."
    return f"{lead} over {_names(close)} is within the noise of the seeds: {noise}."


def _workloads(found: SuiteVerdict) -> str:
    """Returns a sentence about the conclusions for other workloads of this kind."""
    count, pairs = len(found.workloads), found.tested_pairs
    corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
    test = f"Wilcoxon's signed-rank test over {count} workloads{corrected}"
    if found.least_p_value > 0.05:
        return (
            f"Whether this holds for other workloads cannot be settled: by {test}, no difference can have a p value "
            f"below {found.least_p_value:.2f}."
        )
    if found.focus:
        clauses = "; ".join(clause for name in found.focus for clause in _elsewhere(found, name))
        return f"On other workloads of this kind, {clauses} ({test})."
    first, *others = found.scores
    behind = [name for name in others if found.likely_ahead(first, name)]
    if len(behind) == len(others):
        return f"It is likely to lead on other workloads of this kind, too ({test})."
    if behind:
        rest = [name for name in others if name not in behind]
        return (
            f"On other workloads of this kind it is likely to be ahead of {_names(behind)}; its leads over "
            f"{_names(rest)} depend on the choice of workloads ({test})."
        )
    some = sum(pair.significant for pair in found.pairs)
    elsewhere = f"; {some} of all {pairs} pairs differ{'s' * (some == 1)} significantly" if some else ""
    return f"None of its leads is certain to hold on other workloads of this kind{elsewhere} ({test})."


def _elsewhere(found: SuiteVerdict, name: str) -> list[str]:
    """Returns clauses about the differences between a contender and the others on other workloads."""
    others = [other for other in found.runs if other != name]
    ahead = [other for other in others if found.likely_ahead(other, name)]
    behind = [other for other in others if found.likely_ahead(name, other)]
    if not ahead and not behind:
        return [f"no difference between {name} and another optimizer is certain"]
    clauses = [
        f"{_names(some)} {'is' if len(some) == 1 else 'are'} likely to be {place} {name}"
        for some, place in ((ahead, "ahead of"), (behind, "behind"))
        if some
    ]
    if rest := [other for other in others if other not in (*ahead, *behind)]:
        clauses.append(f"for {_names(rest)} this depends on the choice of workloads")
    return clauses


def _counted(kind: str, names: Sequence[str]) -> str:
    """Returns the names after their kind; "" if there are none."""
    if len(names) > MOST_NAMES:
        return f"{len(names)} {kind}s"
    return f"the {kind}{'s' * (len(names) > 1)} {join_words(names)}" if names else ""


def _names(names: Sequence[str]) -> str:
    return join_words(names) if len(names) <= MOST_NAMES else f"{len(names)} others"


def _speed(found: SuiteVerdict) -> str:
    """Returns a sentence about the contender that reaches the reference's results in the fewest steps."""
    reached = {name: own for name, own in found.speed_ups.items() if own.value < math.inf}
    if found.reference is None or not found.speed_ups:
        return ""
    if not reached:
        return f"No other optimizer reaches the final results of {found.reference} on more than half of the workloads."
    fastest = min(reached, key=lambda name: reached[name].value)
    own = reached[fastest]
    ends = {"seeds": own.over_seeds, "workloads": own.over_workloads}
    parts = [f"{_share(low)} to {_share(high)} over {what}" for what, (low, high) in _known(ends)]
    interval = f" ({', '.join(parts)})" if parts else ""
    return (
        f"{fastest} reaches the final results of {found.reference} in the fewest steps: the median over workloads is "
        f"{_share(own.value)} of the steps of {found.reference}{interval}, and it reaches the results on "
        f"{found.reached_on(fastest)} of {len(found.workloads)} workloads."
    )


def _share(share: float) -> str:
    return "not reached" if share == math.inf else f"{100 * share:.0f}%"


def _contrast(found: SuiteVerdict) -> str:
    """Returns a sentence about the workloads on which contenders differ most and least."""
    means = {name: found.mean_scores(name) for name in found.runs}
    spread = {w: statistics.pstdev(own[w] for own in means.values()) for w in found.workloads}
    most, least = max(spread, key=lambda w: spread[w]), min(spread, key=lambda w: spread[w])
    low, high = (ends(own[most] for own in means.values()) for ends in (min, max))
    return (
        f"They differ most on {most}, with mean scores from {low:.2f} to {high:.2f} (0: an untrained model), and least "
        f"on {least}."
    )


def _single_setting(found: SuiteVerdict) -> str:
    """Returns a sentence about the best single setting for all workloads; "" if it is not known."""
    if not found.single_settings:
        return ""
    best = found.single_settings[0]
    gain, interval = best.gain, ""
    if gain.interval is not None:
        interval = f" ({gain.low:+.2f} to {gain.high:+.2f})"
    optimistic = "" if best.fresh else ", by the results that chose the settings, so this is too good"
    return (
        f"With a single setting, chosen without the workload that judges it, {best.contender} has the highest mean "
        f"score, {best.single.mean:.2f}; tuning for each workload adds {gain.mean:+.2f}{interval}{optimistic}."
    )
