"""The answer of a study in one paragraph, which claims no more than the data support."""

from __future__ import annotations

from collections.abc import Sequence

from jaxopt_bench.formatting import join_words
from jaxopt_bench.measures import Measure, split_of
from jaxopt_bench.optimizers.words import rules_in_words
from jaxopt_bench.statistics import Estimate, expected_best_is_exact, turning_budgets
from jaxopt_bench.study import Study
from jaxopt_bench.verdict.ranking import Pair, Ranking, Standing
from jaxopt_bench.verdict.verdicts import Verdict

MOST_SEEDS_TO_NAME = 1000
"""If more seeds are needed, the paragraph says "more than 1,000"."""


def paragraph(verdict: Verdict, ranking: Ranking) -> str:
    """Returns the conclusions of a study on one workload, in one paragraph."""
    study = verdict.study
    if not ranking.standings:
        nothing = (
            "nothing can be confirmed" if len(ranking.lost) == len(ranking.missing) else "nothing is confirmed yet"
        )
        return " ".join([f"On {ranking.workload} {nothing}.", *_lost(ranking)])
    sentences = [
        *_lead(study, ranking),
        *_rules(ranking),
        *_budgets(study, ranking),
        *_validity(study, ranking),
        *_warnings(study, ranking),
    ]
    if not verdict.complete:
        sentences.append("The study is not complete: all of this may change.")
    return " ".join(sentences)


def _lead(study: Study, ranking: Ranking) -> list[str]:
    first, *others = ranking.standings
    statistic = "median" if study.repetitions > 1 else "mean"
    primary = ranking.scale.primary
    best = "highest" if primary.higher_is_better else "lowest"
    reached = first.results[primary.name]
    interval = "" if reached.interval is None else f" ({primary.interval(reached)})"
    lead = f"On {ranking.workload}, {first.contender} has the {best} {statistic} {primary.words}, "
    lead += f"{primary.format(first.score)}{interval}"
    reported = _reported(primary)
    if not others:
        return [f"{lead}; no other optimizer has confirmed results.", *reported]
    pairs = [ranking.pair(first.contender, s.contender) for s in others]
    if all(pair.adjusted is None for pair in pairs):
        single = "With a single seed nothing can be said of the noise: no winner is named."
        return [f"{lead}.", single, *reported]
    seen = [pair for pair in pairs if pair.seen]
    unseen = [pair for pair in pairs if not pair.seen]
    said = [f"{lead}."]
    if not unseen:
        said.append(f"It wins: it is ahead of {_ahead(primary, seen)}.")
    elif seen:
        said.append(f"It is ahead of {_ahead(primary, seen)}.")
    if unseen:
        said.append(f"No difference can be seen between it and {_unseen(study, primary, unseen)}.")
    return said + reported


def _reported(primary: Measure) -> list[str]:
    """Returns a sentence that names the split of the results; none if it is the test split."""
    found = split_of(primary.name)
    if found is None or found[0] == "test":
        return []
    if found[0] == "validation":
        return [
            "There are no test results: these are of the validation split, by which the settings were chosen too, so "
            "they may be too good."
        ]
    return ["There are neither test nor validation results: these are of the training split."]


def _rules(ranking: Ranking) -> list[str]:
    """Returns a sentence for each optimizer that applies several rules to different parts of the network."""
    several = [s for s in ranking.standings if len(s.inner_rules) > 1]
    return [f"{s.contender} applies {len(s.inner_rules)} rules: {rules_in_words(s.inner_rules)}." for s in several]


def _ahead(primary: Measure, pairs: Sequence[Pair]) -> str:
    """Returns the second contenders of pairs, each with how far it is behind."""
    return join_words([f"{p.second} (by {_amount(primary, p.difference.estimate)})" for p in pairs])


def _unseen(study: Study, primary: Measure, pairs: Sequence[Pair]) -> str:
    """Returns the second contenders of pairs, each with how far it is behind and how many seeds would show this."""
    kind = "searches" if study.repetitions > 1 else "seeds"
    behind = [(p, _amount(primary, p.difference.estimate)) for p in pairs]
    return join_words([f"{p.second} (behind by {amount}; {_needed(p, kind)})" for p, amount in behind])


def _needed(pair: Pair, kind: str) -> str:
    if pair.difference.p_value is not None and pair.difference.p_value < 0.05:
        return "real by itself, but not as one of so many comparisons"
    if pair.seeds is None or pair.seeds > MOST_SEEDS_TO_NAME:
        return f"to see it would take more than {MOST_SEEDS_TO_NAME:,} {kind}"
    return f"to see it would take about {pair.seeds:,} {kind}"


def _budgets(study: Study, ranking: Ranking) -> list[str]:
    """Returns a sentence with the budgets at which the first and the second contender change places."""
    tuned = [s for s in ranking.standings if s.trials is not None and s.trials.expected_best]
    if len(tuned) < 2:
        return []
    first, second = tuned[0], tuned[1]
    assert first.trials is not None, "it was chosen so"
    assert second.trials is not None, "it was chosen so"
    one, other = first.trials.expected_best, second.trials.expected_best
    length = min(len(one), len(other))
    sign = -1 if ranking.scale.judged.higher_is_better else 1
    ahead = [sign * a < sign * b for a, b in zip(one, other, strict=False)]
    turns = turning_budgets(one[:length], other[:length])
    about = "" if expected_best_is_exact(study.search) else " (approximately: the draws are quasi-random)"
    leader, follower = (first, second) if ahead[0] else (second, first)
    text = f"By the expected best {ranking.scale.judged.words} of a smaller budget{about}, "
    if not turns:
        return [f"{text}{leader.contender} is ahead of {follower.contender} at every budget up to {length} trials."]
    moves = []
    for turn in turns:
        leader, follower = follower, leader
        moves.append(f"{leader.contender} from {turn} on")
    start = first if ahead[0] else second
    return [f"{text}{start.contender} would be ahead below {turns[0]} trials, {join_words(moves)}."]


def _validity(study: Study, ranking: Ranking) -> list[str]:
    """Returns a sentence about what the intervals cover and what they do not."""
    if not any(study.contender(s.contender).searched for s in ranking.standings):
        return ["Nothing was tuned: this holds at these settings alone."]
    if study.repetitions > 1:
        return [f"The scores are medians over {study.repetitions} independent searches, and the intervals cover these."]
    return [
        "All of this is conditional on one search: the intervals are of the noise of training, and another draw of "
        "trials may rank differently (--repetitions)."
    ]


def _warnings(study: Study, ranking: Ranking) -> list[str]:
    said = []
    edges = [f"{s.contender} ({join_words(_edges(s))})" for s in ranking.standings if _edges(s)]
    if edges:
        said.append(f"Selected at the edge of the search space, which should be widened there: {join_words(edges)}.")
    diverged = [
        f"{s.trials.diverged} of {s.trials.count} of {s.contender}"
        for s in ranking.standings
        if s.trials is not None and s.trials.diverged
    ]
    if diverged:
        said.append(f"Trials that diverged count against the budget: {join_words(diverged)}.")
    confirmed = [f"{s.diverged} of {s.runs} of {s.contender}" for s in ranking.standings if s.diverged]
    if confirmed:
        primary, untrained = ranking.scale.primary, ranking.scale.primary.metric.untrained
        how = "are left out"
        if untrained is not None:
            how = f"count as untrained models ({primary.words} {primary.format(untrained)})"
        said.append(f"Confirmations that diverged {how}: {join_words(confirmed)}.")
    waiting = [name for name in ranking.missing if name not in ranking.lost]
    if waiting:
        said.append(f"Without a confirmed winner: {join_words(waiting)}.")
    return said + _lost(ranking)


def _lost(ranking: Ranking) -> list[str]:
    """Returns a sentence about contenders whose trials all diverged, with what the user can do about it."""
    if not ranking.lost:
        return []
    counts = [f"{trials.diverged} of {trials.count} of {name}" for name, trials in ranking.lost.items()]
    return [
        f"All trials diverged: {join_words(counts)}. To find a trial that does not, use more trials (--trials), or a "
        "search space with lower learning rates or with gradient clipping, in another folder (--out)."
    ]


def _edges(standing: Standing) -> list[str]:
    edges = {edge.partition(".")[2].replace(" (", ", ").rstrip(")") for w in standing.winners for edge in w.edges}
    return sorted(edges)


def _amount(measure: Measure, difference: Estimate) -> str:
    interval = "" if difference.interval is None else f", {measure.interval(difference)}"
    return f"{measure.amount(difference.mean)}{interval}"
