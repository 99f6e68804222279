"""Answers to claims: supported, contradicted or undecided, each with its evidence."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Literal

from jaxopt_bench.experiment import Workload
from jaxopt_bench.formatting import format_count, join_words
from jaxopt_bench.measures import ROUGHNESS, ROUGHNESS_EPOCHS, Measure, measures
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.statistics import Estimate, RankCorrelation, spearman
from jaxopt_bench.study import HALVING, Association, Claim, Comparison, Document, Study
from jaxopt_bench.verdict.pairs import compare
from jaxopt_bench.verdict.samples import (
    RunRow,
    deviation_floor,
    example_samples,
    run_value,
    samples,
    seeds_by_trial,
    select_ended_runs,
)

Answer = Literal["supported", "contradicted", "undecided"]
NEGLIGIBLE = 0.3
"""A hyperparameter has hardly any influence if the absolute rank correlation is below this."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The evidence for or against a part of a claim.

    Attributes:
      part: the part of the claim.
      measure: the measure of that part; None if the runs of the workload do not have it.
      answer: the answer to that part.
      difference: for a comparison, the mean of the higher contender minus the mean of the lower one, with its interval
        among all pairs of the workload; None if there are too few results.
      comparisons: for a comparison, the number of pairs for which its interval is corrected.
      correlation: for an association, the rank correlation; None if there are no values to correlate.
      undecidable: the reason why the results cannot decide it; empty if they can.
    """

    part: Comparison | Association
    measure: Measure | None
    answer: Answer
    difference: Estimate | None = None
    comparisons: int = 1
    correlation: RankCorrelation | None = None
    undecidable: str = ""


@dataclasses.dataclass(frozen=True)
class ClaimResult:
    """The answer to a claim on one workload: supported if all parts are supported, contradicted if one of them is."""

    claim: Claim
    workload: str
    evidence: tuple[Evidence, ...]

    @property
    def answer(self) -> Answer:
        """The answer."""
        answers = [evidence.answer for evidence in self.evidence]
        if "contradicted" in answers:
            return "contradicted"
        return "supported" if answers and set(answers) == {"supported"} else "undecided"


def judge_claims(results: Results, document: Document) -> list[ClaimResult]:
    """Returns the answers to a study's claims, on every workload.

    A comparison is supported if the difference is significant among all pairs of the workload's contenders and has the
    claimed sign, and contradicted if it is significant and has the other sign. An association is supported if
    Spearman's rank correlation differs from zero (p < 0.05), and contradicted if its 95% interval lies within ±0.3.

    Args:
      results: the study's runs.
      document: the study.
    """
    study = document.study
    found = []
    for workload in study.workloads:
        known = measures(workload_metrics(results.runs, workload.name))
        for claim in study.claims:
            evidence: list[Evidence] = []
            for part in claim.parts:
                measure = known.get(part.measure)
                if measure is None:
                    evidence.append(Evidence(part, None, "undecided"))
                elif isinstance(part, Comparison):
                    evidence.append(_comparison(results, document, workload, part, measure))
                else:
                    evidence.append(_association(results, document, workload.name, part, measure))
            found.append(ClaimResult(claim, workload.name, tuple(evidence)))
    return found


def _comparison(
    results: Results, document: Document, workload: Workload, part: Comparison, measure: Measure
) -> Evidence:
    if measure.name == ROUGHNESS and workload.epochs < ROUGHNESS_EPOCHS:
        epochs = format_count(workload.epochs, "epoch")
        why = f"{epochs} cannot decide this, at least {ROUGHNESS_EPOCHS} can"
        return Evidence(part, measure, "undecided", undecidable=why)
    values = samples(results, document, workload.name, measure)
    examples = example_samples(results, document, workload.name, measure)
    pairs = compare(values, measure, deviation_floor(results, workload.name, measure, values), examples)
    pair = next((p for p in pairs if {p.first, p.second} == {part.higher, part.lower}), None)
    if pair is None or pair.adjusted is None:
        return Evidence(part, measure, "undecided", undecidable="fewer than two results of one of them")
    difference = pair.higher_less_lower(part.higher, measure)
    answer: Answer = "undecided" if not pair.significant else "supported" if difference.mean > 0 else "contradicted"
    return Evidence(part, measure, answer, difference, sum(p.adjusted is not None for p in pairs))


def _association(results: Results, document: Document, workload: str, part: Association, measure: Measure) -> Evidence:
    found = (_contender_values if part.contenders else _trial_values)(results, document, workload, part, measure)
    if isinstance(found, str):
        return Evidence(part, measure, "undecided", undecidable=found)
    values, reached = zip(*found, strict=True)
    correlation = spearman(values, reached)
    if correlation.rho is None or correlation.least_p_value >= 0.05:
        number = format_count(len(values), "optimizer" if part.contenders else "trial")
        return Evidence(part, measure, "undecided", correlation=correlation, undecidable=f"{number} cannot decide this")
    answer: Answer = "undecided"
    if correlation.p_value is not None and correlation.p_value < 0.05:
        answer = "supported"
    elif correlation.low is not None and correlation.high is not None:
        negligible = correlation.low > -NEGLIGIBLE and correlation.high < NEGLIGIBLE
        answer = "contradicted" if negligible else "undecided"
    return Evidence(part, measure, answer, correlation=correlation)


def _trial_values(
    results: Results, document: Document, workload: str, part: Association, measure: Measure
) -> list[tuple[float, float]] | str:
    """Returns the hyperparameter and the result of each trial; or why the trials cannot be correlated."""
    rows = select_ended_runs(results, workload, part.contender, "trial")
    if part.field not in rows.columns:
        return "no trial has this hyperparameter"
    if document.study.search == HALVING:
        return "successive halving trains only the best trials to the end"
    return [
        (
            float(seeds[0][part.field]),
            statistics.fmean(_of_trial(results, document.study, row, measure) for row in seeds),
        )
        for seeds in seeds_by_trial(rows)
    ] or "0 trials cannot decide this"


def _contender_values(
    results: Results, document: Document, workload: str, part: Association, measure: Measure
) -> list[tuple[float, float]] | str:
    """Returns the hyperparameter and the mean result of each contender; or why they cannot be correlated."""
    known = samples(results, document, workload, measure)
    missing = [name for name in part.contenders if name not in known]
    if missing:
        return f"no results of {join_words(missing)} yet"
    values = {name: document.study.contender(name).fixed_value(part.field) for name in part.contenders}
    return [(value, statistics.fmean(known[name])) for name, value in values.items() if value is not None]


def _of_trial(results: Results, study: Study, row: RunRow, measure: Measure) -> float:
    """Returns a measure of a trial's run; the worst possible value if it diverged."""
    value = run_value(results, study, row, measure)
    return value if value is not None else -math.inf if measure.higher_is_better else math.inf
