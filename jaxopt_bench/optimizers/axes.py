"""What is worth searching: for each hyperparameter a range, the scale it is drawn on, and whose range it is.

Hyperparameters that many optimizers share have one range for all of them; only a learning rate's is the optimizer's
own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

Scale = Literal["linear", "log", "log_one_minus"]

_ROUNDING = 1e-9  # relative: 1 - 0.9 is not 0.1


@dataclasses.dataclass(frozen=True)
class Axis:
    """The range of one hyperparameter.

    Attributes:
      low: the smallest value; on the scale "log_one_minus", of 1 minus the hyperparameter.
      high: the largest, likewise.
      scale: what a draw is uniform in: the value, its logarithm, or the logarithm of 1 minus the value.
      source: whose range it is.
    """

    low: float
    high: float
    scale: Scale
    source: str

    def __contains__(self, value: float) -> bool:
        drawn = 1 - value if self.scale == "log_one_minus" else value
        return self.low * (1 - _ROUNDING) <= drawn <= self.high * (1 + _ROUNDING)

    def __str__(self) -> str:
        drawn = "1 − value in " if self.scale == "log_one_minus" else ""
        return f"{drawn}{self.low:g} to {self.high:g}, {'linear' if self.scale == 'linear' else 'logarithmic'}"

    def value(self, share: float) -> float:
        """Returns the value at a share of the range, from 0 (`low`) to 1 (`high`): a uniform share gives a draw."""
        if self.scale == "linear":
            return self.low + share * (self.high - self.low)
        drawn = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return 1 - drawn if self.scale == "log_one_minus" else drawn


_ALGOPERF = "Dahl et al., 2023 (AlgoPerf), the widest of its baselines' search spaces"

_FIRST_MOMENT = Axis(4e-3, 0.45, "log_one_minus", _ALGOPERF)
_SECOND_MOMENT = Axis(1e-4, 0.1, "log_one_minus", "the defaults of the papers, 0.9 to 0.9999")
_EPS = Axis(1e-16, 1e-2, "log", "the defaults of the papers, 1e-16 (AdaBelief) to 1e-3 (Yogi), and beyond")

SHARED_AXES: Mapping[str, Axis] = {
    "weight_decay": Axis(1e-5, 1.0, "log", _ALGOPERF + ", cut off below"),
    "momentum": _FIRST_MOMENT,
    "beta": _FIRST_MOMENT,
    "b1": _FIRST_MOMENT,
    "b2": _SECOND_MOMENT,
    "b3": _SECOND_MOMENT,
    "decay": _SECOND_MOMENT,
    "rho": _SECOND_MOMENT,
    "eps": _EPS,
    "eps_root": _EPS,
    "partial": Axis(1 / 16, 1 / 2, "log", "Chen et al., 2020, section 5: 1/4, 1/8 and 1/16; 1/2 is AMSGrad"),
    "clip_norm": Axis(1e-2, 10.0, "log", "ours"),
    "clip_adaptive": Axis(1e-3, 0.16, "log", "around the 0.01 to 0.16 of Brock et al., 2021"),
}
"""The ranges that all optimizers share, by the hyperparameter's name."""
