"""Finds contenders that are significantly worse than another one, by a conservative test for scripts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxopt_bench.results import Results
from jaxopt_bench.statistics import CONFIDENCE, holm
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.reference import ReferenceComparison, compare_with_reference
from jaxopt_bench.verdict.suite import SuiteVerdict
from jaxopt_bench.verdict.verdict import Verdict

SUITE = "all workloads"
"""The name in a finding that is about all workloads."""


@dataclasses.dataclass(frozen=True)
class WorseContender:
    """A contender that is significantly worse than the reference.

    Attributes:
      contender: its name.
      workload: the workload on which it is worse; `SUITE` for all workloads together.
      adjusted: the p value, adjusted for all questions; None if all trials of the contender diverged there.
      words: the difference in words.
    """

    contender: str
    workload: str
    adjusted: float | None
    words: str


def find_worse_contenders(
    results: Results,
    document: Document,
    found: Verdict,
    suite: SuiteVerdict | None,
    reference: str,
    judged: Sequence[str],
) -> list[WorseContender]:
    """Returns the workloads on which contenders are significantly worse than a reference.

    The questions are: is a contender worse on a workload, for each contender and workload (Welch's t test, which covers
    the choice of test examples if their results are recorded; see `Pair`); and is it worse over all workloads, for each
    contender (Wilcoxon's signed-rank test of the mean scores). All these p values are adjusted together by Holm's
    method. The answer is yes if the adjusted p value is at most 0.05 and the contender is the worse one; on a workload,
    the difference must also be significant among all pairs of contenders there. So if no contender is worse, the
    probability of any yes is at most 5%, and less since the tests are two-sided.

    A contender whose trials all diverged on a workload is worse there, if the reference has results: it cannot be
    trained within its search space.

    Args:
      results: the results of the study.
      document: the document of the study.
      found: the study's verdict on each workload.
      suite: the study's verdict over all workloads; None if there is none.
      reference: the name of a contender.
      judged: the names of the contenders to check.
    """
    known = {r.workload: compare_with_reference(results, document, r, reference) for r in found.rankings}
    asked = [own[name] for own in known.values() for name in judged if name in own]
    pairs = [] if suite is None else [suite.pair(n, reference) for n in judged if {n, reference} <= suite.runs.keys()]
    adjusted = holm([*(each.p_value for each in asked), *(pair.p_value for pair in pairs)])
    least = 1 - CONFIDENCE
    worse = [
        WorseContender(each.contender, each.workload, p, _by(each))
        for each, p in zip(asked, adjusted[: len(asked)], strict=True)
        if _cannot_train(each) or (each.significant and each.lead is not None and each.lead.mean < 0 and _is(p, least))
    ]
    return worse + [
        WorseContender(pair.second, SUITE, p, f"worse on {pair.better_on} of {len(suite.workloads)} workloads")
        for pair, p in zip(pairs, adjusted[len(asked) :], strict=True)
        if suite is not None and pair.first == reference and 2 * pair.better_on > len(suite.workloads) and _is(p, least)
    ]


def _is(p_value: float | None, least: float) -> bool:
    return p_value is not None and p_value <= least


def _cannot_train(versus: ReferenceComparison) -> bool:
    return versus.lead is None


def _by(versus: ReferenceComparison) -> str:
    if versus.lead is None:
        return "all trials diverged"
    return f"{versus.measure.words} worse by {versus.measure.format_difference(-versus.lead.mean)}"
