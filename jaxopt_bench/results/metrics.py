"""The recorded metrics of runs: their names, units, directions and bounds."""

from __future__ import annotations

import dataclasses
import functools
import json
import statistics
from collections.abc import Iterable
from typing import Any

import polars as pl

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.problems import LOSS, Metric, metric_named


@functools.lru_cache(maxsize=10_000)
def metrics_from_text(text: str, where: str = "metrics") -> tuple[Metric, ...]:
    """Returns metrics that were recorded as JSON text; see `metrics_from_json`."""
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where} is damaged: {shortened(text)} is not JSON ({error}).") from error
    return metrics_from_json(values, where)


def metrics_from_json(values: Any, where: str = "metrics") -> tuple[Metric, ...]:
    """Returns recorded metrics.

    Args:
      values: a list of results of `Metric.to_json`.
      where: the file and the field, for error messages.

    Raises:
      UserError: if the list is damaged.
    """
    if not isinstance(values, list) or not values:
        raise UserError(f"{where} is damaged: {shortened(values)}. Expected a list of metrics.")
    metrics = tuple(Metric.from_json(value, f"{where}[{i}]") for i, value in enumerate(values))
    names = [metric.name for metric in metrics]
    if LOSS not in names or len({*names}) < len(names):
        raise UserError(f"{where} is damaged: its names are {names}. Expected different names, {LOSS!r} among them.")
    return metrics


def metric_names(text: str, where: str = "metrics") -> list[str]:
    """Returns the names of metrics that were recorded as JSON text; see `metrics_from_json`."""
    return [metric.name for metric in metrics_from_text(text, where)]


def metrics_of(texts: Iterable[str | None]) -> tuple[Metric, ...]:
    """Returns the metrics of runs of one workload.

    The value of an untrained model is the median over the runs, since it may be measured with each run's own initial
    parameters. If no run has recorded metrics, only the loss is returned.

    Args:
      texts: the column `metrics` of the runs.
    """
    recorded = [metrics_from_text(text) for text in texts if text is not None]
    if not recorded:
        return (Metric(name=LOSS),)
    found = []
    for metric in recorded[-1]:
        same = [other for metrics in recorded if (other := metric_named(metrics, metric.name)) is not None]
        known = [other.untrained for other in same if other.untrained is not None]
        found.append(dataclasses.replace(metric, untrained=statistics.median(known) if known else None))
    return tuple(found)


def workload_metrics(runs: pl.DataFrame, workload: str) -> tuple[Metric, ...]:
    """Returns the metrics of a workload's runs; see `metrics_of`."""
    return metrics_of(runs.filter(pl.col("workload") == workload)["metrics"].to_list())
