"""The table of a study's optimizers over all its workloads."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from jaxopt_bench.reports.table import NONE, NOT_REACHED, Table
from jaxopt_bench.statistics import Aggregate
from jaxopt_bench.verdict import SuiteVerdict

WORKLOADS_RANK = "rank, other workloads"
REACHED = "reached on"
"""Titles of columns that a narrow terminal leaves out."""


def suite_table(found: SuiteVerdict) -> Table:
    """Returns a row for each optimizer, the highest score first: score, mean rank, and steps to the reference."""
    steps = [f"steps to results of {found.reference}", REACHED] if found.speed_ups else []
    columns = ["optimizer", "score", "score, other workloads", "mean rank", WORKLOADS_RANK, *steps]
    rows, numbers = [], []
    for name, score in found.scores.items():
        rank, share = found.ranks[name], found.speed_ups.get(name)
        rows.append(
            (
                name,
                f"{score.value:.2f}{_below(score.over_seeds, '.2f')}",
                _ends(score.over_workloads, ".2f"),
                f"{rank.value:.1f}{_below(rank.over_seeds, '.1f')}",
                _ends(rank.over_workloads, ".1f"),
                *([_steps(found, name, share), _reached(found, name)] if steps else []),
            )
        )
        numbers.append(
            {"optimizer": name, **_numbers("score", score), **_numbers("mean_rank", rank),
             **_numbers("steps_share", share), "reached_on": found.reached_on(name)}
        )  # fmt: skip
    return Table(
        "suite",
        f"Results over {len(found.workloads)} workloads",
        tuple(columns),
        tuple(rows),
        pl.DataFrame(numbers, infer_schema_length=None),
        _note(found),
    )


def _note(found: SuiteVerdict) -> str:
    said = [
        "Score: each run's result is a share of the way from an untrained model (0) to the best mean (1), on a "
        "logarithmic scale for losses; the score is the interquartile mean of these shares. The 95% interval of a "
        "number is for other seeds on the same workloads; the interval beside it is for other workloads of this kind."
    ]
    if found.speed_ups:
        said.append(
            f"Steps: the mean over an optimizer's seeds needs this share of the steps of {found.reference} to reach "
            f"the final result of {found.reference} (median over workloads)."
        )
    return " ".join(said)


def _steps(found: SuiteVerdict, name: str, share: Aggregate | None) -> str:
    if share is None:
        return NONE
    return NOT_REACHED if share.value == math.inf else f"{_percent(share.value)}{_below_share(share.over_seeds)}"


def _reached(found: SuiteVerdict, name: str) -> str:
    count = found.reached_on(name)
    return NONE if count is None else f"{count} of {len(found.workloads)}"


def _percent(share: float) -> str:
    return NOT_REACHED if share == math.inf else f"{100 * share:.0f}%"


def _below_share(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"\n({_percent(ends[0])} to {_percent(ends[1])})"


def _below(ends: tuple[float, float] | None, form: str) -> str:
    return "" if ends is None else f"\n({ends[0]:{form}} to {ends[1]:{form}})"


def _ends(ends: tuple[float, float] | None, form: str) -> str:
    return NONE if ends is None else f"{ends[0]:{form}} to {ends[1]:{form}}"


def _numbers(name: str, found: Aggregate | None) -> dict[str, Any]:
    values: dict[str, float | None] = {name: None if found is None or math.isinf(found.value) else found.value}
    for what in ("seeds", "workloads"):
        ends = None if found is None else getattr(found, f"over_{what}")
        for end, value in zip(("low", "high"), ends or (None, None), strict=True):
            values[f"{name}_{what}_{end}"] = None if value is None or math.isinf(value) else value
    return values
