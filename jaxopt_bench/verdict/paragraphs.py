"""The answer of a study in a few short paragraphs. They claim no more than the data support."""

from __future__ import annotations

from collections.abc import Sequence

from jaxopt_bench.formatting import join_words
from jaxopt_bench.measures import Measure, split_of
from jaxopt_bench.optimizers.text import describe_rules
from jaxopt_bench.statistics import Estimate
from jaxopt_bench.study import Study
from jaxopt_bench.verdict.pairs import Pair
from jaxopt_bench.verdict.ranking import Ranking, Standing
from jaxopt_bench.verdict.text import describe_seeds
from jaxopt_bench.verdict.trials import ZERO_MAY_DO
from jaxopt_bench.verdict.verdict import Verdict

MOST_NAMED = 6
"""The maximum number of optimizers whose differences the answer lists. If there are more, it counts the others."""


def paragraphs(verdict: Verdict, ranking: Ranking) -> tuple[str, ...]:
    """Returns the conclusions of a study on one workload: the answer, its certainty, and its limits.

    Returns:
      At least the answer. Its certainty is left out if no optimizer has confirmed results.
    """
    study = verdict.study
    if not ranking.standings:
        nothing = (
            "nothing can be confirmed" if len(ranking.lost) == len(ranking.missing) else "nothing is confirmed yet"
        )
        return (" ".join([f"On {ranking.workload} {nothing}.", *_lost(ranking)]),)
    mind = [*_searched(study, ranking), *_rules(ranking), *_warnings(study, ranking)]
    if not verdict.complete:
        mind.append("The study is not complete: all of this may change.")
    parts = [_lead(ranking), [*_validity(study, ranking), *_needed(study, ranking)], mind]
    return tuple(" ".join(sentences) for sentences in parts if sentences)


def _lead(ranking: Ranking) -> list[str]:
    first, *others = ranking.standings
    primary = ranking.measures.primary
    best = "highest" if primary.higher_is_better else "lowest"
    reached = first.primary
    interval = "" if reached.interval is None else f" ({primary.format_interval(reached)})"
    lead = f"On {ranking.workload}, {first.contender} has the {best} mean {primary.words}, "
    lead += f"{primary.format(reached.mean)}{interval}"
    reported = _reported(primary)
    if not others:
        return [f"{lead}; no other optimizer has confirmed results.", *reported]
    pairs = _pairs_of_first(ranking)
    if all(pair.adjusted is None for pair in pairs):
        single = "With a single seed nothing can be said of the noise: no winner is named."
        return [f"{lead}.", single, *reported]
    ahead = [pair for pair in pairs if pair.significant]
    unsettled = [pair for pair in pairs if not pair.significant]
    said = [f"{lead}."]
    if ahead:
        said.append(f"{'It is' if unsettled else 'It wins: it is'} ahead of {_listed(primary, ahead, 'by')}.")
    if unsettled:
        count = ranking.comparisons
        corrected = f" (corrected for {count} comparisons)" if count > 1 else ""
        said.append(f"Not settled{corrected}: {_listed(primary, unsettled, 'behind by')}.")
    return said + reported


def _pairs_of_first(ranking: Ranking) -> list[Pair]:
    """Returns the pairs of the first contender and each of the others, in their order."""
    first, *others = ranking.standings
    return [ranking.pair(first.contender, s.contender) for s in others]


def _listed(primary: Measure, pairs: Sequence[Pair], how: str) -> str:
    """Returns the second contenders of pairs, each with its distance; if there are many, the others are counted."""
    named = pairs if len(pairs) <= MOST_NAMED else pairs[: MOST_NAMED - 1]
    parts = [f"{p.second} ({how} {_lead_of(primary, p)})" for p in named]
    return join_words(parts if len(named) == len(pairs) else [*parts, f"{len(pairs) - len(named)} others"])


def _needed(study: Study, ranking: Ranking) -> list[str]:
    """Returns sentences about the seeds or test examples that are needed to show the open differences."""
    unsettled = [pair for pair in _pairs_of_first(ranking) if not pair.significant][:MOST_NAMED]
    kind = _kind(study)
    examples = [pair.second for pair in unsettled if pair.needs_examples]
    rest = [(pair.second, pair.seeds) for pair in unsettled if not pair.needs_examples and pair.seeds is not None]
    known = {name: words for name, seeds in rest if (words := describe_seeds(seeds)) is not None}
    unknown = [name for name, _ in rest if name not in known]
    said = []
    if len(known) == 1:
        (count,) = known.values()
        to = "this difference" if len(unsettled) == 1 else f"the difference to {next(iter(known))}"
        said.append(f"It would take {count} {kind} of each optimizer to show {to}, if it is as large as measured.")
    elif known:
        counts = ", ".join(f"{name} {words}" for name, words in known.items())
        said.append(f"To show differences of these sizes, it would take so many {kind} of each optimizer: {counts}.")
    if examples:
        said.append(f"More test examples are needed to settle the difference to {join_words(examples)}.")
    if unknown:
        of = "" if not known and not examples else f" for {join_words(unknown)}"
        said.append(f"There are too few {kind} to say how many would be enough{of}.")
    return said


def _searched(study: Study, ranking: Ranking) -> list[str]:
    """Returns sentences about the tuned hyperparameters; none if nothing was tuned."""
    fields = {
        s.contender: [field.removeprefix("optimizer.") for field in study.contender(s.contender).searched]
        for s in ranking.standings
    }
    if not any(fields.values()):
        return []
    tuned = [own for own in fields.values() if own]
    common = [field for field in tuned[0] if all(field in own for own in tuned)]
    further = [
        f"{join_words(more)} of {name}" for name, own in fields.items() if (more := [f for f in own if f not in common])
    ]
    parts = [join_words(common)] if common else []
    parts += [join_words(further)] if further else []
    fixed = [name for name, own in fields.items() if not own]
    of = f" ({join_words(fixed)}: nothing)" if fixed else ""
    return [f"Tuned: {', and also '.join(parts)}{of}. All other hyperparameters are fixed."]


def _reported(primary: Measure) -> list[str]:
    """Returns a sentence with the split of the results; none if it is the test split."""
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
    return [f"{s.contender} applies {len(s.inner_rules)} rules: {describe_rules(s.inner_rules)}." for s in several]


def _lead_of(primary: Measure, pair: Pair) -> str:
    """Returns a difference with its interval, or both intervals if that on the same test examples excludes zero."""
    found, same = pair.difference.estimate, pair.difference.same_examples
    amount = _amount(primary, found)
    if found.interval is None or found.interval == same.interval or same.low < 0 < same.high:
        return amount
    return f"{amount} on new data, {primary.format_interval(same)} on these test examples"


def _kind(study: Study) -> str:
    """Returns the word for the unit of independent results: "searches" or "seeds"."""
    return "searches" if study.repetitions > 1 else "seeds"


def _validity(study: Study, ranking: Ranking) -> list[str]:
    """Returns sentences about the conditions of the results, and the sources of noise in their intervals."""
    corrected = []
    if ranking.comparisons > 1:
        corrected = [f"The intervals of differences are corrected for these {ranking.comparisons} comparisons."]
    if not any(study.contender(s.contender).searched for s in ranking.standings):
        said = "Nothing was tuned: this holds at these settings alone."
    elif study.repetitions > 1:
        said = f"The means are over {study.repetitions} independent searches of each optimizer."
    else:
        said = "All of this depends on one search: another draw of trials may rank differently (--repetitions)."
    return [said, *corrected, *_coverage(study, ranking), *_sources(ranking)]


def _coverage(study: Study, ranking: Ranking) -> list[str]:
    """Returns a sentence about the coverage of intervals; none if there are no intervals of differences."""
    if not ranking.comparisons:
        return []
    runs = "the searches and their seeds" if study.repetitions > 1 else "the seeds"
    primary, count = ranking.measures.primary, ranking.test_examples
    if count is not None:
        return [
            f"The intervals of differences cover {runs} and the choice of the {count:,} test examples, so they hold "
            f"for new data; those of means cover {runs} alone."
        ]
    if primary.name.startswith("test_") and primary.metric.resampling != "none":
        return [
            f"The intervals cover {runs} alone, since the results of single test examples are not recorded: they hold "
            "for the same test examples."
        ]
    return [f"The intervals cover {runs}."]


def _sources(ranking: Ranking) -> list[str]:
    """Returns a sentence about the sources of the variance of results; none if they are not known."""
    if ranking.variance is None:
        return []
    words = {"search": "the search", "seed": "the seed", "examples": "the choice of test examples"}
    shares = [f"{share:.0%} comes from {words[source]}" for source, share in ranking.variance.items()]
    return [f"Of the variance of a difference between two runs, {join_words(shares)}."]


def _warnings(study: Study, ranking: Ranking) -> list[str]:
    said = []
    improving = [f"{s.contender} ({join_words(edges)})" for s in ranking.standings if (edges := _improving(s))]
    if improving:
        said.append(
            f"Results{_when_all(study, ranking)} still improve towards an edge of the search space, where the best "
            f"trial lies: {join_words(improving)}. {_advice(study)}"
        )
    zero = [s.contender for s in ranking.standings if any(ZERO_MAY_DO in winner.edges for winner in s.winners)]
    if zero:
        said.append(f"Selected at the low edge of the weight decays, so that zero may do as well: {join_words(zero)}.")
    diverged = [
        f"{s.trials.diverged} of {s.trials.count} of {s.contender}"
        for s in ranking.standings
        if s.trials is not None and s.trials.diverged
    ]
    if diverged:
        said.append(f"Trials that diverged count against the budget: {join_words(diverged)}.")
    confirmed = [f"{s.diverged} of {s.runs} of {s.contender}" for s in ranking.standings if s.diverged]
    how = _instead(ranking)
    if confirmed:
        said.append(f"Confirmations that diverged {how}: {join_words(confirmed)}.")
    lost = [f"{s.lost} of {study.repetitions} of {s.contender}" for s in ranking.standings if s.lost]
    if lost:
        said.append(f"Searches whose trials all diverged {how}: {join_words(lost)}.")
    waiting = [name for name in ranking.missing if name not in ranking.lost]
    if waiting:
        named = join_words(waiting) if len(waiting) <= MOST_NAMED else f"{len(waiting)} optimizers"
        said.append(f"Without a confirmed winner: {named}.")
    return said + _lost(ranking)


def _advice(study: Study) -> str:
    """Returns advice for the case that results improve towards an edge."""
    if study.search == "grid":  # no trials can be added to a grid
        return "The search space should be extended there, in another folder (--out)."
    return "--widen extends it there, with as many more trials for every optimizer."


def _lost(ranking: Ranking) -> list[str]:
    """Returns a sentence about contenders whose trials all diverged, with advice for the user."""
    if not ranking.lost:
        return []
    counts = [f"{trials.diverged} of {trials.count} of {name}" for name, trials in ranking.lost.items()]
    return [
        f"All trials diverged: {join_words(counts)}. To find a trial that does not, use more trials (--trials), or a "
        "search space with lower learning rates or with gradient clipping, in another folder (--out)."
    ]


def _instead(ranking: Ranking) -> str:
    """Returns the end of a phrase about diverged runs: the results that count for them."""
    primary, worst = ranking.measures.primary, ranking.worst
    if worst is None:
        return "are left out"
    like = "untrained models" if worst == primary.metric.untrained else "the worst run that did not"
    return f"count as {like} ({primary.words} {primary.format(worst)})"


def _when_all(study: Study, ranking: Ranking) -> str:
    """Returns a phrase with the last epoch that all trials have; empty if this is the end of training."""
    workload = study.workload(ranking.workload)
    epoch = study.common_epochs(workload)
    return f" after epoch {epoch}, up to which all trials were trained," if epoch < workload.epochs else ""


def _improving(standing: Standing) -> list[str]:
    """Returns the edges towards which results improve, in words."""
    return sorted(edge.partition(".")[2].replace(" (", ", ").rstrip(")") for edge in standing.improving)


def _amount(measure: Measure, difference: Estimate) -> str:
    interval = "" if difference.interval is None else f", {measure.format_interval(difference)}"
    return f"{measure.format_difference(difference.mean)}{interval}"
