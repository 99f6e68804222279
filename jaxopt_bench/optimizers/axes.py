"""Search ranges: for each hyperparameter the values, the scale on which they are drawn, and the source.

One rule gives every optimizer its range of learning rates (`rates_around`). All optimizers share one range of coupled
weight decays and one of decoupled ones (`WEIGHT_DECAYS`). Any other hyperparameter has one range for all optimizers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError

Scale = Literal["linear", "log", "log_one_minus"]

DIGITS = 6  # significant digits of a value that is drawn: enough to tell values apart, few enough to read
_ROUNDING = 10.0**-DIGITS * 5  # relative: the rounding error of six digits; also, 1 - 0.9 is not exactly 0.1


@dataclasses.dataclass(frozen=True)
class Axis(Config):
    """The range of one hyperparameter.

    Attributes:
      low: the smallest value; on the scale "log_one_minus", of 1 minus the hyperparameter.
      high: the largest, likewise.
      scale: the quantity that is drawn uniformly: the value, its logarithm, or the logarithm of 1 minus the value.
      source: the person or the rule that chose the range. Comparisons of ranges ignore it.

    Raises:
      UserError: if `low` is not below `high`, or not above 0 on a logarithmic scale.
    """

    low: float
    high: float
    scale: Scale
    source: str = dataclasses.field(default="ours", compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high or (self.scale != "linear" and self.low <= 0):
            raise UserError(
                f"the range {self} is invalid. Expected low < high and, if the scale is logarithmic, 0 < low."
            )

    def __contains__(self, value: float) -> bool:
        drawn = self._drawn(value)
        return self.low - _ROUNDING * abs(self.low) <= drawn <= self.high + _ROUNDING * abs(self.high)

    def __str__(self) -> str:
        drawn = "1 − value in " if self.scale == "log_one_minus" else ""
        return f"{drawn}{self.low:g} to {self.high:g}, {'linear' if self.scale == 'linear' else 'logarithmic'}"

    def value(self, share: float) -> float:
        """Returns the value at a share of the range, from 0 (`low`) to 1 (`high`): a uniform share gives a draw.

        It is rounded to six significant digits; on the scale "log_one_minus", 1 minus the value is rounded.
        """
        if self.scale == "linear":
            return rounded(self.low + share * (self.high - self.low))
        drawn = rounded(math.exp(math.log(self.low) + share * math.log(self.high / self.low)))
        return round(1 - drawn, 15) if self.scale == "log_one_minus" else drawn

    def share(self, value: float) -> float:
        """Returns the share for which `Axis.value` gives this value: 0 for `low`, 1 for `high`.

        Raises:
          ValueError: if the scale is logarithmic and the value (or 1 − the value) is not positive.
        """
        drawn = self._drawn(value)
        if self.scale == "linear":
            return (drawn - self.low) / (self.high - self.low)
        return math.log(drawn / self.low) / math.log(self.high / self.low)

    def _drawn(self, value: float) -> float:
        return 1 - value if self.scale == "log_one_minus" else value


@dataclasses.dataclass(frozen=True)
class Choice(Config):
    """Values of one hyperparameter. One of them is drawn, all with the same probability.

    Raises:
      UserError: if there are no values.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "values", _without_lists(self.values))
        if not self.values:
            raise UserError("Choice.values is empty. Expected: at least one value.")

    def __contains__(self, value: object) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in self.values)

    def value(self, share: float) -> Any:
        """Returns the value at a share of the list, from 0 to 1: a uniform share gives a draw."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]


class Space(Mapping[str, Axis | Choice]):
    """A search space: ranges and choices by field, such as "optimizer.learning_rate"."""

    def __init__(self, ranges: Mapping[str, Axis | Choice] = {}):
        self._ranges = dict(ranges)

    def __getitem__(self, field: str) -> Axis | Choice:
        return self._ranges[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    def __hash__(self) -> int:
        return hash(frozenset(self._ranges.items()))

    def __repr__(self) -> str:
        return f"Space({self._ranges!r})"

    def to_json(self) -> dict[str, Any]:
        """Returns the ranges by field, as JSON values."""
        return {field: searched.to_json() for field, searched in self._ranges.items()}

    @classmethod
    def from_json(cls, values: Any, where: str = "space") -> Self:
        """Returns the space that `to_json` wrote.

        Raises:
          UserError: as `Config.from_json` does.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"{where}: {values!r} is not an object of ranges by field.")
        kinds = {f: Choice if isinstance(v, Mapping) and "values" in v else Axis for f, v in values.items()}
        return cls({f: kinds[f].from_json(v, f"{where}.{f}") for f, v in values.items()})


def _without_lists(value: object) -> object:
    """Returns a value with tuples in place of lists. JSON stores tuples as lists."""
    return tuple(map(_without_lists, value)) if isinstance(value, (list, tuple)) else value


def rounded(value: float) -> float:
    """Returns a number with six significant digits."""
    return float(f"{value:.{DIGITS}g}")


RATE_DECADES = (1.0, 2.5)
"""Decades of learning rates that are searched below and above an optimizer's default, the same for every optimizer.

The recorded studies (`experiments/results`) searched up to two decades to each side. The learning rates that they
selected are, in decades above the default: SGD −0.3 to −0.1, Adam 0.5 and 1.6, AdamW −0.2 to 1.7, Nadam 0.6 and 1.6,
AMSGrad 0.4 and 1.9, Padam 0.8 to 1.0 (in `GRADIENT_UNIT`). On digits, those of Adam, AdamW, Nadam and AMSGrad were at
90 to 97% of the range. The mean over optimizers is 0.8, and the middle of this range is 0.75. The best two trials of
every optimizer are between −1.0 and 1.9.

Compared with the recorded range, −2 to 2, this range begins one decade later and ends half a decade later. SGD loses no
useful trials, although it is the first optimizer to fail above its default learning rate. All of its trials above 0.55
decades failed (4 of 4: three had the loss of chance, one diverged), and neither of its two best trials was below −1. So
61% of its range on digits was useless: the parts below −1 and above 0.55. Of this range, 56% is useless: the part above
0.55. AlgoPerf's baselines search one decade to each side (Dahl et al., 2023).
"""
RATE_WITHOUT_DEFAULT = 3e-3
"""The learning rate that takes the place of the default if a function has none.

Its range, 3e-4 to 0.95, contains all learning rates that the recorded studies selected: AdamW's 7e-4 to Padam's 0.3.
"""
_LARGEST_RATE, _SMALLEST_RATE = 1e30, 1e-30  # beyond these, float32 cannot hold the ends of a range

RATES_IN_WORDS = f"{RATE_DECADES[0]:g} decade below to {RATE_DECADES[1]:g} decades above"
_RULE = f"{RATES_IN_WORDS} the default learning rate, as for every optimizer"
_NO_DEFAULT = f"{RATES_IN_WORDS} {RATE_WITHOUT_DEFAULT:g}, as there is no usable default"


def rate_or_fallback(default: object) -> float:
    """Returns a default learning rate, or `RATE_WITHOUT_DEFAULT` if it is missing, not positive, or not finite."""
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        return float(default) if _SMALLEST_RATE <= default <= _LARGEST_RATE else RATE_WITHOUT_DEFAULT
    return RATE_WITHOUT_DEFAULT


def rates_around(default: object) -> Axis:
    """Returns the learning rates that are searched for an optimizer: the same number of decades for all.

    Args:
      default: the optimizer's default learning rate. If it is missing, not positive, or not finite, the range is around
        `RATE_WITHOUT_DEFAULT`. A factor on the updates of an optimizer without a learning rate has the default 1.
    """
    rate, (below, above) = rate_or_fallback(default), RATE_DECADES
    low, high = rounded(rate / 10**below), rounded(rate * 10**above)
    return Axis(low, high, "log", _RULE if rate == default else _NO_DEFAULT)


_ALGOPERF = "Dahl et al., 2023 (AlgoPerf), the widest of its baselines' search spaces"

_FIRST_MOMENT = Axis(4e-3, 0.45, "log_one_minus", _ALGOPERF)
_SECOND_MOMENT = Axis(1e-4, 0.1, "log_one_minus", "the defaults of the papers, 0.9 to 0.9999")
_EPS = Axis(1e-16, 1e-2, "log", "the defaults of the papers, 1e-16 (AdaBelief) to 1e-3 (Yogi), and beyond")

WEIGHT_DECAYS: Mapping[str, Axis] = {
    "coupled": Axis(1e-6, 1e-2, "log", "four decades, the same for every optimizer with coupled weight decay"),
    "decoupled": Axis(1e-4, 1.0, "log", "four decades, the same for every optimizer with decoupled weight decay"),
    "unscaled": Axis(1e-6, 1e-2, "log", "four decades: those of decoupled weight decay, times a learning rate of 0.01"),
}
"""The ranges of weight decays, by the form of the decay.

They contain the usual values: 5e-4 with SGD's coupled decay, 0.01 to 0.1 with AdamW's decoupled one. The low ends are
practically zero, since on some problems no decay is best: 3 of the 15 recorded searches selected a value near the
low end. Over 200 epochs of CIFAR-10 at batch size 128, under a cosine schedule, the low ends shrink the parameters by
4% (SGD with momentum 0.9 and learning rate 0.1) and by 0.4% (AdamW with learning rate 1e-3).

An unscaled decay is not multiplied by the learning rate. In the recorded study `suite`, the learning rate times the
decoupled decay that AdamW selected was 3e-6 to 4e-3. The range of unscaled decays contains these products.
"""

SHARED_AXES: Mapping[str, Axis] = {
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
    "mars_gamma": Axis(2.5e-3, 0.25, "log", "ours, around the 0.025 of Yuan et al., 2024"),
}
"""The ranges that all optimizers share, by the hyperparameter's name."""
