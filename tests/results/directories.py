"""Writes run directories with the files of a run, without training."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxopt_bench.experiment import Experiment, digest_of
from jaxopt_bench.problems import Metric
from jaxopt_bench.runs import SPLITS

ENVIRONMENT = {
    "step": 0,
    "python": "3.11.7",
    "packages": {"jax": "0.10.2", "jaxopt-bench": None},
    "backend": "cpu",
    "devices": ["cpu"],
    "threads": 2,
    "code_path": {"layers": "pure"},
    "members": 1,
    "revision": None,
}


ACCURACY = Metric(
    name="accuracy", complement="error", higher_is_better=True, unit="%", untrained=0.1, least=0.0, greatest=1.0
)
LOSS = Metric(name="loss", unit="nats", untrained=2.302585092994046, least=0.0)
METRICS = (ACCURACY, LOSS)
"""The metrics of a classification problem with ten classes."""


def line(step: int, split: str, **values: Any) -> dict[str, Any]:
    """Returns a line of metrics. An epoch has ten steps."""
    return {
        "step": step,
        "epoch": step / 10,
        "split": split,
        "loss": 1 / step,
        "accuracy": 0.5,
        "seconds": 0.25,
    } | values


def epochs(count: int, loss: float = 1.0) -> list[dict[str, Any]]:
    """Returns the lines of the first epochs. The validation loss is `loss` divided by the epoch."""
    return [
        each
        for epoch in range(1, count + 1)
        for each in (
            line(10 * epoch, "train_steps", steps=10, grad_norm=1.0, update_norm=0.1, learning_rate=0.1),
            line(10 * epoch, "train"),
            line(10 * epoch, "validation", loss=loss / epoch, accuracy=1 - 0.5**epoch),
        )
    ]


def summary(experiment: Experiment, status: str = "completed", **final: Any) -> dict[str, Any]:
    """Returns the content of `summary.json`. Values of `final` that are not given are null, as in a diverged run."""
    names = [f"{split}_{name}" for split in SPLITS for name in ("accuracy", "loss")]
    reached = {"step": 20, "epoch": 2.0, **dict.fromkeys(names), **final}
    head = {"status": status, "experiment": experiment.name, "digest": experiment.digest, "steps": 20, "epochs": 2.0}
    cost = {"parameters": 10, "seconds": 1.5, "examples_per_second": None}
    diverged = {"diverged_step": 7} if status == "diverged" else {}
    return {**head, **cost, "final": reached, "best": None if diverged else reached, **diverged}


def _agreeing(line: dict[str, Any], ended: dict[str, Any] | None) -> dict[str, Any]:
    if ended is None or line["step"] != ended["final"]["step"]:
        return line
    own = {name: ended["final"].get(f"{line['split']}_{name}") for name in line}
    return line | {name: value for name, value in own.items() if value is not None}


def write_run(
    folder: pathlib.Path,
    experiment: Experiment,
    lines: Sequence[dict[str, Any]] = (),
    ended: dict[str, Any] | None = None,
    metrics: Sequence[Metric] = METRICS,
) -> pathlib.Path:
    """Writes `<folder>/<name>/<digest>` and returns its path. Without the summary `ended`, the run is unfinished.

    Results in the summary replace the values in the lines of the same split and step.
    """
    path = folder / experiment.name / experiment.digest
    path.mkdir(parents=True)
    config = {
        "experiment": experiment.to_json(),
        "digest": experiment.digest,
        "task": {"train_examples": 320},
        "metrics": [metric.to_json() for metric in metrics],
        "recording": {},
        "environments": [ENVIRONMENT],
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "metrics.jsonl").write_text("".join(json.dumps(_agreeing(each, ended)) + "\n" for each in lines))
    (path / "lock").touch()
    if ended is not None:
        (path / "summary.json").write_text(json.dumps(ended))
    return path


def change_experiment(path: pathlib.Path, /, **fields: Any) -> pathlib.Path:
    """Changes fields of a run's experiment, as another version might write them, and its digest. Returns the folder."""
    config = json.loads((path / "config.json").read_text())
    of_workload = {name: fields.pop(name) for name in ("problem", "epochs", "batch_size") if name in fields}
    config["experiment"]["workload"] |= of_workload
    config["experiment"] |= fields
    config["digest"] = digest_of(config["experiment"])
    (path / "config.json").write_text(json.dumps(config))
    if (path / "summary.json").exists():
        ended = json.loads((path / "summary.json").read_text())
        (path / "summary.json").write_text(
            json.dumps(ended | {"digest": config["digest"], "experiment": config["experiment"]["name"]})
        )
    return path.rename(path.with_name(config["digest"]))
