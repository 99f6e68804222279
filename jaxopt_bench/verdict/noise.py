"""How much the results of single seeds differ, in results that are recorded."""

from __future__ import annotations

import dataclasses

from jaxopt_bench.measures import Measure
from jaxopt_bench.results import Results
from jaxopt_bench.statistics import pooled_deviation
from jaxopt_bench.study import Document
from jaxopt_bench.verdict.samples import deviation_floor, ended, measured, samples
from jaxopt_bench.verdict.scale import scale_of


@dataclasses.dataclass(frozen=True)
class Noise:
    """The deviation of independent results of one optimizer on a workload.

    Attributes:
      measure: by which optimizers are compared there.
      deviation: of its values, within optimizers.
      results: from how many results it is estimated.
    """

    measure: Measure
    deviation: float
    results: int


def noise_of(results: Results, document: Document, workload: str) -> Noise | None:
    """Returns how much recorded results of a workload differ within optimizers.

    They are those of seeds or, if the study has several searches, the means of searches. Optimizers of which a
    confirmation diverged are left out.

    Args:
      results: of a study.
      document: of the study.
      workload: its name.

    Returns:
      The noise; None if no optimizer has two results.
    """
    runs = ended(results, workload, None, "confirmation")
    if not len(runs):
        return None
    primary = scale_of(results, document.study, workload).primary
    diverged = {row["contender"] for row in runs.to_dicts() if measured(results, document.study, row, primary) is None}
    values = samples(results, document, workload, primary)
    known = [own for contender, own in values.items() if contender not in diverged and len(own) > 1]
    deviation = pooled_deviation(known)
    if deviation is None:
        return None
    floor = deviation_floor(results, workload, primary, values)
    return Noise(primary, max(deviation, floor), sum(map(len, known)))
