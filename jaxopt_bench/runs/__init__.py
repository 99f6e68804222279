"""Runs on the host: the loop, checkpoints, metrics, progress and run directories. Only this package writes them."""

from __future__ import annotations

from jaxopt_bench.runs.ahead import compile_ahead
from jaxopt_bench.runs.directory import LockedError, lock_directory
from jaxopt_bench.runs.evaluation import EVALUATION, EvaluatedSplit, Evaluation, load_evaluation
from jaxopt_bench.runs.forms import check_optimizer
from jaxopt_bench.runs.index import discard_checkpoints
from jaxopt_bench.runs.load import Run, finished, load_run
from jaxopt_bench.runs.memory import size_of_wave
from jaxopt_bench.runs.options import Options, Recording
from jaxopt_bench.runs.problems import Problems
from jaxopt_bench.runs.progress import LineReporter, LiveDisplay, LiveReporter, Reporter
from jaxopt_bench.runs.records import SPLITS, read_metrics
from jaxopt_bench.runs.signals import Interrupted, handle_stop_signals
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.runs.timing import TrainingTime, measure_training, seconds_per_step
from jaxopt_bench.runs.train import train, train_population

__all__ = [
    "EVALUATION",
    "SPLITS",
    "EvaluatedSplit",
    "Evaluation",
    "Interrupted",
    "LineReporter",
    "LiveDisplay",
    "LiveReporter",
    "LockedError",
    "Options",
    "Problems",
    "Recording",
    "Reporter",
    "Run",
    "TrainingTime",
    "check_optimizer",
    "compile_ahead",
    "discard_checkpoints",
    "finished",
    "handle_stop_signals",
    "load_evaluation",
    "load_run",
    "load_task",
    "lock_directory",
    "measure_training",
    "read_metrics",
    "seconds_per_step",
    "size_of_wave",
    "train",
    "train_population",
]
