"""Measures the time of whole commands: `python -m experiments.speed.commands [--repeats 3]`.

One command is a study with an empty compilation cache. The other is a run of some seconds with its program in the
cache. For the run, it also prints the share of the time that is neither training nor evaluation.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

import tyro

from experiments.speed.inputs.workloads import task_on_images
from experiments.speed.measure.process import restart_with_settings
from experiments.speed.measure.remote import ROOT
from experiments.speed.measure.timing import Spread
from experiments.speed.output.document import Document, Row, default_path
from experiments.speed.output.tables import console, show
from experiments.speed.sections.epoch import bare_epochs
from jaxopt_bench import catalog, files, load_run

BARE_EPOCHS = 15


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure the seconds of whole commands."""

    study: str = "digits"
    """The study to compare with an empty compilation cache. Its data set must be part of the project."""
    experiment: str = "digits_cnn_adamw"
    """The experiment to run with its program in the cache. Its data set must be part of the project."""
    epochs: int = 120
    """The number of epochs of the experiment."""
    repeats: int = 3
    """The number of measurements of each command."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>-commands.json."""


def study_row(study: str, repeats: int) -> Row:
    """Returns the row of a study."""
    seconds = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder) / "study"
            seconds.append(_seconds(["compare", study, "--out", str(out)], pathlib.Path(folder) / "cache"))
    return {
        "section": "commands",
        "command": f"compare {study}",
        "cache": "cold",
        "repeats": repeats,
        **Spread.of(seconds).fields("seconds"),
    }


def run_row(name: str, epochs: int, repeats: int) -> Row:
    """Returns the row of a run. One run before the measurement fills the cache."""
    words = ["run", name, "--epochs", str(epochs)]
    experiment = catalog.find(name).replace(epochs=epochs)
    seconds, evaluations = [], []
    with tempfile.TemporaryDirectory() as folder:
        cache = pathlib.Path(folder) / "cache"
        for repeat in range(repeats + 1):
            runs = pathlib.Path(folder) / str(repeat)
            seconds.append(_seconds([*words, "--out", str(runs)], cache))
            run = load_run(runs / name / experiment.digest)
            evaluations.append(sum(r["seconds"] for r in run.metrics if r["split"] not in ("train", "train_steps")))
    task = task_on_images(experiment, run.config["task"]["train_examples"])
    steps = epochs * Spread.of(bare_epochs(task, BARE_EPOCHS)).median
    whole, evaluation = Spread.of(seconds[1:]), Spread.of(evaluations[1:])
    return {
        "section": "commands",
        "command": shlex.join(words),
        "cache": "warm",
        "repeats": repeats,
        **whole.fields("seconds"),
        "seconds_of_steps": steps,
        "seconds_of_evaluation": evaluation.median,
        "share_of_the_rest": 1 - (steps + evaluation.median) / whole.median,
    }


def _seconds(words: list[str], cache: pathlib.Path) -> float:
    """Returns the seconds that a command takes.

    Raises:
      RuntimeError: if the command fails.
    """
    variables = {**os.environ, files.CACHE: str(cache)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)  # JAX would use it instead of the project's own
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "jaxopt_bench", *words], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"jaxopt-bench {shlex.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - began


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed.commands")
    restart_with_settings()
    document = Document.begin("experiments.speed.commands", {"repeats": flags.repeats})
    out = flags.out or default_path(document.hardware["name"], ["commands"])
    document.rows.append(study_row(flags.study, flags.repeats))
    document.rows.append(run_row(flags.experiment, flags.epochs, flags.repeats))
    show(document, console())
    document.write(out)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
