"""The best single setting over several workloads, and its result on a workload that was not used to choose it."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxopt_bench.errors import UserError
from jaxopt_bench.statistics.checks import check_finite


@dataclasses.dataclass(frozen=True)
class SharedSetting:
    """The best single setting of a contender for all workloads.

    Attributes:
      trial: the setting with the highest mean score over all workloads.
      chosen: for each workload, the setting that has the highest mean score over the other workloads.
      left_out: for each workload, the score of the setting that was chosen without this workload.
    """

    trial: int
    chosen: tuple[int, ...]
    left_out: tuple[float, ...]


def shared_setting(scores: Float[np.ndarray, "workloads trials"]) -> SharedSetting:
    """Returns the best single setting over all workloads, with leave-one-out cross-validation over the workloads.

    For each workload, a setting is chosen by its mean score on the other workloads, and evaluated on this workload. So
    no result is used both to choose and to evaluate a setting of `SharedSetting.left_out`. The mean of `left_out`
    estimates the score of a chosen setting on a new workload. If settings are equal, the earlier one is chosen.

    Args:
      scores: the scores by workload and trial. Trial i has the same hyperparameters on all workloads. Higher is better.

    Raises:
      UserError: if there are fewer than 2 workloads, no trials, or a score is not finite.

    Source: Stone 1974, "Cross-validatory choice and assessment of statistical predictions".
    """
    if scores.ndim != 2 or len(scores) < 2 or not scores.shape[1]:
        raise UserError(f"scores has the shape {scores.shape}. Expected at least 2 workloads and one trial.")
    check_finite("scores", scores.ravel().tolist())
    table = np.asarray(scores, np.float64)
    means = table.mean(axis=0)
    others = (table.sum(axis=0) - table) / (len(table) - 1)
    chosen = others.argmax(axis=1)
    left_out = table[np.arange(len(table)), chosen]
    return SharedSetting(int(means.argmax()), tuple(chosen.tolist()), tuple(left_out.tolist()))
