"""Runs on the host: the loop, checkpoints, metrics, progress, the run directory. Only here are these written."""

from __future__ import annotations

from jaxopt_bench.runs.load import Run, load_run
from jaxopt_bench.runs.population import train_population
from jaxopt_bench.runs.progress import Lines, Live, Reporter, format_accuracy, format_duration, format_loss
from jaxopt_bench.runs.records import SPLITS
from jaxopt_bench.runs.session import Interrupted, Recording
from jaxopt_bench.runs.train import train

__all__ = [
    "SPLITS",
    "Interrupted",
    "Lines",
    "Live",
    "Recording",
    "Reporter",
    "Run",
    "format_accuracy",
    "format_duration",
    "format_loss",
    "load_run",
    "train",
    "train_population",
]
