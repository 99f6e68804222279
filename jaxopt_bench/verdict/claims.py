"""Answers to claims: supported, contradicted or undecided, each with its evidence."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Literal

from jaxopt_bench.measures import Measure, measures
from jaxopt_bench.results import Results, workload_metrics
from jaxopt_bench.statistics import Estimate, RankCorrelation, paired_difference, spearman
from jaxopt_bench.study import Association, Claim, Comparison, Document, Study
from jaxopt_bench.verdict.samples import RunRow, ended, measured, paired, samples, seeds_by_trial

Answer = Literal["supported", "contradicted", "undecided"]
NEGLIGIBLE = 0.3
"""If the absolute rank correlation is below it, the hyperparameter has hardly any influence."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The evidence for or against a part of a claim.

    Attributes:
      part: which part.
      measure: the measure of that part; None if the runs of the workload do not have it.
      answer: the answer to that part.
      difference: of a comparison, the higher contender's results minus the lower one's; None if there are too few.
      correlation: of an association; None if no trials have the hyperparameter.
    """

    part: Comparison | Association
    measure: Measure | None
    answer: Answer
    difference: Estimate | None = None
    correlation: RankCorrelation | None = None


@dataclasses.dataclass(frozen=True)
class Answered:
    """The answer to a claim on one workload: supported if all its parts are, contradicted if one is."""

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


def answers(results: Results, document: Document) -> list[Answered]:
    """Returns the answers to a study's claims, on every workload.

    A comparison is supported if the whole 95% interval of the paired difference has the claimed sign, and contradicted
    if the whole interval has the other sign. An association is supported if Spearman's rank correlation differs from
    zero (p < 0.05), and contradicted if its 95% interval lies within ±0.3.

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
                    evidence.append(_comparison(results, study, workload.name, part, measure))
                else:
                    evidence.append(_association(results, study, workload.name, part, measure))
            found.append(Answered(claim, workload.name, tuple(evidence)))
    return found


def _comparison(results: Results, study: Study, workload: str, part: Comparison, measure: Measure) -> Evidence:
    higher, lower = paired(
        samples(results, study, workload, part.higher, measure),
        samples(results, study, workload, part.lower, measure),
    )
    if len(higher) < 2:
        return Evidence(part, measure, "undecided")
    difference = paired_difference(higher, lower).estimate
    answer: Answer = "supported" if difference.low > 0 else "contradicted" if difference.high < 0 else "undecided"
    return Evidence(part, measure, answer, difference=difference)


def _association(results: Results, study: Study, workload: str, part: Association, measure: Measure) -> Evidence:
    rows = ended(results, workload, part.contender, "trial")
    if part.field not in rows.columns:
        return Evidence(part, measure, "undecided")
    values, reached = [], []
    for seeds in seeds_by_trial(rows):
        results_of_trial = [_of_trial(results, study, row, measure) for row in seeds]
        values.append(float(seeds[0][part.field]))
        reached.append(statistics.fmean(results_of_trial))
    if not values:
        return Evidence(part, measure, "undecided")
    correlation = spearman(values, reached)
    answer: Answer = "undecided"
    if correlation.p_value is not None and correlation.p_value < 0.05:
        answer = "supported"
    elif correlation.low is not None and correlation.high is not None:
        negligible = correlation.low > -NEGLIGIBLE and correlation.high < NEGLIGIBLE
        answer = "contradicted" if negligible else "undecided"
    return Evidence(part, measure, answer, correlation=correlation)


def _of_trial(results: Results, study: Study, row: RunRow, measure: Measure) -> float:
    """Returns a measure of a trial's run; the worst possible value if it diverged."""
    value = measured(results, study, row, measure) if row["status"] == "completed" else None
    return value if value is not None else -math.inf if measure.higher_is_better else math.inf
