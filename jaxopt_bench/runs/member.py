"""One run of a session: what is written in its directory, and how what lies there already is heeded."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import remove_regular
from jaxopt_bench.optimizers import Imported, Share
from jaxopt_bench.runs import records
from jaxopt_bench.runs.environment import changes
from jaxopt_bench.runs.evaluation import EVALUATION
from jaxopt_bench.runs.events import Events
from jaxopt_bench.runs.load import load_config, task_to_json
from jaxopt_bench.strict_json import write_json
from jaxopt_bench.training import Task


@dataclasses.dataclass
class Member:
    """One run of a session.

    Attributes:
      task: what it trains.
      directory: where its record is written.
      place: its index among the stacked arrays.
      records: its metrics; None before it has begun, as for `events`, and where it has finished.
      finished: whether its summary says that it completed or diverged, or it is trained elsewhere: it is not advanced,
        and nothing of it is written any more.
    """

    task: Task
    directory: pathlib.Path
    place: int = 0
    records: Any = None
    events: Any = None
    finished: bool = False

    @property
    def metric_names(self) -> list[str]:
        """What each line of its metrics says, the headline first."""
        return [metric.name for metric in self.task.problem.measured]

    def check_config(self) -> None:
        """Checks that what lies in the directory was begun as this run.

        Raises:
          UserError: naming what differs.
        """
        path, digest = self.directory / "config.json", self.task.experiment.digest
        if not path.exists():
            return
        config = load_config(path)
        found, before, now = config["digest"], config["task"], json.loads(json.dumps(task_to_json(self.task)))
        if found != digest:
            raise UserError(f"{path} is of a run with the digest {found!r}; accepted here: {digest!r}, or --fresh.")
        for name, value in now.items():
            if before.get(name) != value and not _near(before.get(name), value):
                raise UserError(
                    f"{path} is of other data: task.{name} was {before.get(name)} and is {value}; accepted: "
                    "the same data, or --fresh."
                )

    def begin(self, step: int, told: int, tensorboard: bool) -> None:
        """Opens its metrics, or goes on with them, and removes what is written at the end.

        Args:
          step: the last step made.
          told: the last step that its lines of training metrics tell of.
          tensorboard: whether event files are written too.
        """
        self.records = records.MetricsFile(self.directory / "metrics.jsonl", step, told)
        for file in ("summary.json", EVALUATION):
            remove_regular(self.directory / file)
        if tensorboard:
            self.events = Events(self.directory, step)

    def close(self) -> None:
        """Closes its event files."""
        if self.events is not None:
            self.events.close()

    def sync(self) -> None:
        """Brings its metrics and events to the disk, before a checkpoint from which the run could continue."""
        self.records.sync()
        if self.events is not None:
            self.events.flush()

    def record(self, lines: Sequence[records.Record]) -> None:
        """Writes lines of metrics."""
        self.records.append(lines)
        if self.events is not None:
            self.events.write(lines)

    def write_config(
        self,
        recording: Config,
        home: pathlib.Path,
        members: int,
        here: Mapping[str, Any],
        rules: Sequence[Share] = (),
    ) -> Sequence[str]:
        """Writes its config.json, and returns how the environment differs from that in which it was trained before.

        Args:
          recording: what is written of it and how often.
          home: the folder in which its checkpoints lie.
          members: how many runs they hold.
          here: the environment, and the step from which on it is this one.
          rules: the parts of the network that the optimizer's inner rules update.
        """
        path = self.directory / "config.json"
        config = load_config(path) if path.exists() else {}
        earlier = config.get("environments", [])
        same = earlier and {**earlier[-1], "step": here["step"]} == here
        config |= {
            "experiment": self.task.experiment.to_json(),
            "digest": self.task.experiment.digest,
            "task": task_to_json(self.task),
            "metrics": [metric.to_json() for metric in self.task.problem.measured],
            "recording": recording.to_json(),
            "checkpoints": checkpoints_entry(self.directory, home, self.place, members),
            "environments": earlier if same else [*earlier, here],
        }
        if isinstance(optimizer := self.task.experiment.optimizer, Imported):
            config["optimizer_form"] = {**optimizer.form.to_json(), "words": optimizer.in_words}
        if rules:
            config["inner_rules"] = [dataclasses.asdict(rule) for rule in rules]
        write_json(path, config)
        return changes(earlier[-1], here) if here["step"] and earlier else []

    def end(self, status: str, step: int, parameters: int, **more: Any) -> None:
        """Writes its summary.json: how it ended, after how many steps, of what size, and whatever else is to say."""
        lines = self.records.records
        best = records.best_step(lines)
        speeds = [r["examples_per_second"] for r in lines if r.get("examples_per_second") is not None]
        summary = {
            "status": status,
            "experiment": self.task.experiment.name,
            "digest": self.task.experiment.digest,
            "steps": step,
            "epochs": step / self.task.steps_per_epoch,
            "evaluations": records.evaluations(lines),
            "parameters": parameters,
            "seconds": sum(r["seconds"] for r in lines if r["split"] != "train"),
            "examples_per_second": float(np.median(speeds)) if speeds else None,
            "final": self._result(step),
            "best": None if best is None else self._result(best),
        }
        write_json(self.directory / "summary.json", summary | more)

    def not_finite(self, step: int) -> records.Record | None:
        """Returns the first line at the last or the best epoch's end whose loss is not finite; None if all are finite.

        Args:
          step: the last step.
        """
        reported = (step, records.best_step(self.records.records))
        lines = (r for r in self.records.records if r["step"] in reported and r["split"] in records.SPLITS)
        return next((r for r in lines if r["loss"] is None), None)

    def _result(self, step: int) -> dict[str, Any]:
        values = records.at_step(self.records.records, step, self.metric_names)
        return {"step": step, "epoch": step / self.task.steps_per_epoch, **values}


def checkpoints_entry(directory: pathlib.Path, home: pathlib.Path, place: int, members: int) -> dict[str, Any]:
    """Returns what config.json says of a run's checkpoints: their folder, its place among the runs that they hold."""
    return {"path": os.path.relpath(home / "checkpoints", directory), "member": place, "members": members}


def _near(before: Any, now: Any) -> bool:
    """Returns whether lists of floats are the same but for how another version of NumPy rounds."""
    try:
        return np.shape(before) == np.shape(now) != () and np.allclose(before, now, rtol=1e-6, atol=0)
    except (TypeError, ValueError):
        return False
