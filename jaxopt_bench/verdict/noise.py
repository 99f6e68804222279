"""The noise of recorded results: the differences between single seeds, and the influence of the test examples."""

from __future__ import annotations

import dataclasses
import itertools
import statistics

from jaxopt_bench.measures import Measure
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import pooled_deviation
from jaxopt_bench.statistics.crossed import CrossedErrors
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.samples import deviation_floor, example_samples, run_value, samples, select_ended_runs
from jaxopt_bench.verdict.workload_measures import choose_measures


@dataclasses.dataclass(frozen=True)
class Noise:
    """The deviation of independent results of one optimizer on a workload.

    Attributes:
      measure: the measure that compares optimizers on the workload.
      deviation: the standard deviation of its values, within optimizers.
      results: the number of results from which the deviation is estimated.
      sampling: the variance of the difference between two optimizers due to the choice of the test examples, in the
        square of the measure's unit, as the mean over all pairs; None if the results of single test examples are not
        recorded.
      examples: the number of test examples for `sampling`; None if `sampling` is None.
    """

    measure: Measure
    deviation: float
    results: int
    sampling: float | None = None
    examples: int | None = None


def noise_of(results: Results, document: Document, workload: str) -> Noise | None:
    """Returns the noise of the recorded results of a workload within optimizers.

    The results are those of seeds or, if the study has several searches, the means of searches. Optimizers with a
    diverged confirmation are left out.

    Args:
      results: the results of a study.
      document: the document of the study.
      workload: the name of the workload.

    Returns:
      The noise; None if no optimizer has two results.
    """
    runs = select_ended_runs(results, workload, None, "confirmation")
    if not len(runs):
        return None
    primary = choose_measures(results, document.study, workload).primary
    diverged = {row["contender"] for row in runs.to_dicts() if run_value(results, document.study, row, primary) is None}
    values = samples(results, document, workload, primary)
    known = [own for contender, own in values.items() if contender not in diverged and len(own) > 1]
    deviation = pooled_deviation(known)
    if deviation is None:
        return None
    floor = deviation_floor(results, workload, primary, values)
    by_example = example_samples(results, document, workload, primary)
    arrays = [own for contender, own in (by_example or {}).items() if contender not in diverged]
    if len(arrays) < 2:
        return Noise(primary, max(deviation, floor), sum(map(len, known)))
    crossed = CrossedErrors.of(arrays)
    sampling = statistics.fmean(crossed.sampling(i, j) for i, j in itertools.combinations(range(len(arrays)), 2))
    return Noise(primary, max(deviation, floor), sum(map(len, known)), max(sampling, 0.0), arrays[0].shape[1])
