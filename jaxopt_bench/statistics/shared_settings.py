"""The best single setting over several workloads, and its result on a workload that did not choose it."""

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
      score: this mean. It is too good: the best of several noisy results, chosen and judged by the same results.
      chosen: for each workload, the setting that has the highest mean score over the other workloads.
      left_out: for each workload, the score there of the setting that was chosen without it.
    """

    trial: int
    score: float
    chosen: tuple[int, ...]
    left_out: tuple[float, ...]


def shared_setting(scores: Float[np.ndarray, "workloads trials"]) -> SharedSetting:
    """Returns the best single setting over all workloads, validated by leaving out one workload after the other.

    The mean of `SharedSetting.left_out` estimates the score of a setting that was chosen on such workloads, on a new
    workload. No result is used both to choose and to judge. Of equal settings, the earlier one is chosen.

    Args:
      scores: by workload and trial; trial i has the same hyperparameters on all workloads. Higher is better.

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
    return SharedSetting(int(means.argmax()), float(means.max()), tuple(chosen.tolist()), tuple(left_out.tolist()))
