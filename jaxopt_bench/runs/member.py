"""One member of a population: the files in its run directory."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import remove_regular
from jaxopt_bench.optimizers import ImportedOptimizer, ParameterGroup
from jaxopt_bench.runs.environment import changes
from jaxopt_bench.runs.evaluation import EVALUATION
from jaxopt_bench.runs.events import Events
from jaxopt_bench.runs.index import CONFIG, SUMMARY, IndexedRun
from jaxopt_bench.runs.load import CheckpointLocation, checkpoint_location_to_json, task_to_json
from jaxopt_bench.runs.options import Recording
from jaxopt_bench.runs.records import SPLITS, MetricsFile, MetricsLine, at_step, best_step, evaluations
from jaxopt_bench.strict_json import write_json
from jaxopt_bench.training import Task


@dataclasses.dataclass
class Member:
    """One of the runs that are trained together.

    Attributes:
      task: the task of the run.
      entry: its run directory, with the content of its files.
      index: its index along the first axis of the stacked arrays.
      finished: whether it completed or diverged. If so, it is not trained further, and nothing more is written for it.
    """

    task: Task
    entry: IndexedRun
    index: int
    finished: bool = False
    _metrics: MetricsFile | None = None
    _events: Events | None = None

    @property
    def directory(self) -> pathlib.Path:
        """Its directory."""
        return self.entry.directory

    @property
    def metrics(self) -> MetricsFile:
        """Its metrics. They are available after `begin`, and not for a member that had finished earlier."""
        assert self._metrics is not None, "the member has begun"
        return self._metrics

    @property
    def metric_names(self) -> list[str]:
        """The names of the metrics in each of its lines, the headline first."""
        return [metric.name for metric in self.task.problem.all_metrics]

    def check_config(self) -> None:
        """Checks that the files in the directory belong to this run.

        Raises:
          UserError: if a value differs; the message names it.
        """
        path, digest, config = self.directory / CONFIG, self.task.experiment.digest, self.entry.config
        if config is None:
            return
        found, before, now = config["digest"], config["task"], json.loads(json.dumps(task_to_json(self.task)))
        if found != digest:
            raise UserError(
                f"{path} belongs to another run: its digest is {found!r}. Expected {digest!r}. Move its folder away "
                "and use the same command again, which trains the run."
            )
        for name, value in now.items():
            if before.get(name) != value and not _near(before.get(name), value):
                raise UserError(
                    f"{path} belongs to a run on other data: task.{name} was {before.get(name)} and is {value} now. "
                    "Use the same data as before, or another folder (--out) for runs on the new data."
                )

    def begin(self, step: int, recorded: int, tensorboard: bool) -> None:
        """Opens its metrics file without the lines after `step`, and removes its summary and its `evaluation.npz`.

        Args:
          step: the number of steps made so far.
          recorded: the number of steps that its lines of training metrics must include.
          tensorboard: whether event files are written too.

        Raises:
          UserError: if the lines include another number of steps, or one of them is damaged.
        """
        self._metrics = MetricsFile(self.directory / "metrics.jsonl", step, recorded)
        for file in (SUMMARY, EVALUATION):
            remove_regular(self.directory / file)
        if tensorboard:
            self._events = Events(self.directory, step)

    def close(self) -> None:
        """Closes its event files."""
        if self._events is not None:
            self._events.close()

    def sync(self) -> None:
        """Writes its metrics and events to the disk. It is called before a checkpoint is saved."""
        self.metrics.sync()
        if self._events is not None:
            self._events.flush()

    def record(self, lines: Sequence[MetricsLine]) -> None:
        """Writes lines of metrics."""
        self.metrics.append(lines)
        if self._events is not None:
            self._events.write(lines)

    def write_config(
        self,
        recording: Recording,
        location: CheckpointLocation,
        here: Mapping[str, Any],
        rules: Sequence[ParameterGroup],
    ) -> Sequence[str]:
        """Writes its config.json, and returns the differences between its last environment and the current one.

        Args:
          recording: the recording options.
          location: the location of its checkpoints.
          here: the current environment, and the first step in it.
          rules: the parts of the network that each of the optimizer's inner rules updates.
        """
        config = dict(self.entry.config or {})
        earlier = config.get("environments", [])
        same = earlier and {**earlier[-1], "step": here["step"]} == here
        config |= {
            "experiment": self.task.experiment.to_json(),
            "digest": self.task.experiment.digest,
            "task": task_to_json(self.task),
            "metrics": [metric.to_json() for metric in self.task.problem.all_metrics],
            "recording": recording.to_json(),
            "checkpoints": checkpoint_location_to_json(self.directory, location),
            "environments": earlier if same else [*earlier, here],
        }
        if isinstance(optimizer := self.task.experiment.optimizer, ImportedOptimizer):
            config["optimizer_form"] = {**optimizer.form.to_json(), "words": optimizer.in_words}
        if rules:
            config["inner_rules"] = [dataclasses.asdict(rule) for rule in rules]
        path = self.directory / CONFIG
        if path.is_symlink() or json.loads(json.dumps(config)) != self.entry.config:
            write_json(path, config)
        return changes(earlier[-1], here) if here["step"] and earlier else []

    def end(self, status: str, step: int, parameters: int, **more: Any) -> None:
        """Writes its summary.json: its status, steps, number of parameters and results, and the fields in `more`."""
        lines = self.metrics.records
        best = best_step(lines)
        speeds = [r["examples_per_second"] for r in lines if r.get("examples_per_second") is not None]
        summary = {
            "status": status,
            "experiment": self.task.experiment.name,
            "digest": self.task.experiment.digest,
            "steps": step,
            "epochs": step / self.task.steps_per_epoch,
            "evaluations": evaluations(lines),
            "parameters": parameters,
            "seconds": sum(r["seconds"] for r in lines if r["split"] != "train"),
            "examples_per_second": float(np.median(speeds)) if speeds else None,
            "final": self._result(step),
            "best": None if best is None else self._result(best),
        }
        write_json(self.directory / SUMMARY, summary | more)

    def not_finite(self, step: int) -> MetricsLine | None:
        """Returns the first line of the last step or the best epoch with a loss that is not finite; None if none has.

        Args:
          step: the last step.
        """
        reported = (step, best_step(self.metrics.records))
        lines = (r for r in self.metrics.records if r["step"] in reported and r["split"] in SPLITS)
        return next((r for r in lines if r["loss"] is None), None)

    def _result(self, step: int) -> dict[str, Any]:
        values = at_step(self.metrics.records, step, self.metric_names)
        return {"step": step, "epoch": step / self.task.steps_per_epoch, **values}


def _near(before: Any, now: Any) -> bool:
    """Returns whether two lists of floats are equal up to the rounding of different NumPy versions."""
    try:
        return np.shape(before) == np.shape(now) != () and np.allclose(before, now, rtol=1e-6, atol=0)
    except (TypeError, ValueError):
        return False
