"""One process's part of a run: it drives the compiled steps, and writes down what they measure."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

import jax
import numpy as np

from jaxopt_bench import catalog
from jaxopt_bench.config import Config, number
from jaxopt_bench.data import Split
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import count_parameters
from jaxopt_bench.runs import checkpoints, records
from jaxopt_bench.runs.clock import Clock
from jaxopt_bench.runs.directory import read_json, write_json
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.events import event_writer, write_events
from jaxopt_bench.runs.load import checkpointed, task_to_json
from jaxopt_bench.runs.progress import Reporter, format_duration
from jaxopt_bench.runs.splits import Splits
from jaxopt_bench.training import (
    NEVER,
    StepMetrics,
    Task,
    TrainState,
    initial_state,
    make_advance,
    make_evaluate,
)

HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class Recording(Config):
    """How often a run writes, which changes nothing that it computes."""

    log_every: int = number(50, at_least=1)
    """Steps between two lines of training metrics; every epoch's end has one."""
    checkpoint_every: int | None = number(None, at_least=1)
    """Steps between two checkpoints within an epoch; every epoch's end has one."""
    keep_checkpoints: int = number(2, at_least=1)
    """How many of the last checkpoints stay, beside the best epoch's."""
    tensorboard: bool = True
    """Write TensorBoard event files."""


class Interrupted(Exception):  # noqa: N818 (it was asked for)
    """A run was asked to stop, and did so after writing a checkpoint.

    Attributes:
      signal: the signal's number.
    """

    def __init__(self, number: int, path: pathlib.Path, step: int):
        super().__init__(f"interrupted; the same command (without --fresh) goes on from step {step:,} of {path}")
        self.signal = number


class Session:
    """One process's part of a run, from the last checkpoint to the end or to an interruption."""

    def __init__(self, task: Task, splits: Splits, directory: pathlib.Path, recording: Recording, reporter: Reporter):
        self.task, self.splits, self.directory = task, splits, directory
        self.recording, self.reporter = recording, reporter
        self.evaluate = make_evaluate(task)
        self._advance = make_advance(task, splits.train)
        self.evaluation_seconds = 0.0
        self.signal: int | None = None

    def __enter__(self) -> Self:
        self.step, self.state, self.metrics = self._restore()
        self.began = self.step
        self.records = records.MetricsFile(self.directory / "metrics.jsonl", self.step)
        (self.directory / "summary.json").unlink(missing_ok=True)
        self._write_config()
        self.checkpoints = checkpoints.Checkpoints(
            self.directory / "checkpoints", self.recording.keep_checkpoints, after=self.step
        )
        self.events = event_writer(self.directory, self.step) if self.recording.tensorboard else None
        self.clock = Clock(self.task.experiment.batch_size)
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.stop()
        if self.events is not None:
            self.events.close()
        self.checkpoints.close()

    def run(self) -> None:
        """Trains to the end."""
        task = self.task
        resumed = f", continued from step {self.began:,}" if self.began else ""
        title = f"{task.experiment.name}: {count_parameters(self.state.params):,} parameters, {task.steps:,} steps"
        self.reporter.start(f"{title}{resumed}\n{self.directory}", self.step, task.steps, task.steps_per_epoch)
        warmup = getattr(task.experiment.schedule, "warmup", 0.0)
        if warmup >= task.experiment.epochs:
            self.reporter.say(f"schedule.warmup is {warmup:g} of {task.experiment.epochs} epochs: all of it is warm-up")
        with _signals(self):
            while self.step < task.steps and self.signal is None:
                self._advance_to(self._next_stop())
                if self._report_steps():
                    return
                if self.step % task.steps_per_epoch == 0:
                    self._finish_epoch()
                if self._checkpoint_due():
                    self._checkpoint()
            if self.step < task.steps:
                self._interrupt()
        self.checkpoints.wait()
        self._complete()

    def _restore(self) -> tuple[int, TrainState, StepMetrics]:
        found = checkpoints.restore_latest(
            self.directory / "checkpoints", checkpointed(self.task), warn=self.reporter.say
        )
        if found is None:
            return 0, initial_state(self.task), StepMetrics.empty()
        step, tree = found
        return step, tree["state"], tree["metrics"]

    def _next_stop(self) -> int:
        """Returns the next step at which something is written."""
        in_epoch = self.step % self.task.steps_per_epoch
        periods = [self.recording.log_every, self.recording.checkpoint_every or self.task.steps_per_epoch]
        return self.step + min(
            self.task.steps_per_epoch - in_epoch, *(period - in_epoch % period for period in periods)
        )

    def _advance_to(self, stop: int) -> None:
        """Makes the steps up to `stop`, in slices short enough for a display; a signal ends it after a slice."""
        while True:
            steps = self.clock.slice(stop - self.step)
            with self.clock.measuring(steps):
                self.state, self.metrics = self._advance(self.state, self.metrics, steps)
                jax.block_until_ready(self.state.step)
            self.step += steps
            left = self._seconds_left()
            self.reporter.advance(self.step, self.clock.images_per_second, left)
            if self.clock.first_estimate():
                self._say_duration(left)
            if self.step == stop or self.signal is not None:
                return

    def _seconds_left(self) -> float:
        """Returns an estimate: the last slice's speed for the steps, the last epoch's evaluations for those to come."""
        steps = self.task.steps - self.step
        epochs = math.ceil(steps / self.task.steps_per_epoch)
        return steps * self.clock.seconds_per_step + epochs * self.evaluation_seconds

    def _say_duration(self, left: float) -> None:
        self.reporter.say(f"about {format_duration(left)} to go at {self.clock.images_per_second:,.0f} images/s")
        if left > HOUR:
            self.reporter.say(_shorter(self.task))

    def _report_steps(self) -> bool:
        """Writes a line of training metrics where one is due; returns whether the run has diverged."""
        in_epoch = self.step % self.task.steps_per_epoch
        if in_epoch and in_epoch % self.recording.log_every:
            return False
        steps = int(self.metrics.loss.count)
        values = {name: float(value) for name, value in self.metrics.compute().items()}
        diverged = int(values.pop("diverged"))
        timing = self.clock.lap()
        line = {name: records.finite(value) for name, value in values.items()}
        self._record([self._line("train_steps", steps=steps, **line, **timing)])
        self.metrics = StepMetrics.empty()
        if diverged < NEVER:
            self._diverge(diverged)
        return diverged < NEVER

    def _finish_epoch(self) -> None:
        """Measures every split that is measured once an epoch."""
        start = self.step - self.task.steps_per_epoch
        lines = [self._line("train", **records.mean_over_epoch(self.records.records, start))]
        lines.append(self._evaluated("train_clean", self.splits.clean))
        if self.splits.validation is not None:
            lines.append(self._evaluated("validation", self.splits.validation))
        if self.task.experiment.track_test:
            lines.append(self._evaluated("test", self.splits.test))
        self.evaluation_seconds = sum(line["seconds"] for line in lines[1:])
        self._record(lines)

    def _evaluated(self, split: str, images: Split, state: TrainState | None = None, step: int | None = None) -> Any:
        began = time.perf_counter()
        measured = self.evaluate(state or self.state, images).compute()
        values = {name: records.finite(float(value)) for name, value in measured.items()}
        return self._line(split, step, **values, seconds=time.perf_counter() - began)

    def _line(self, split: str, step: int | None = None, /, **values: Any) -> records.Record:
        step = self.step if step is None else step
        return {"step": step, "epoch": step / self.task.steps_per_epoch, "split": split, **values}

    def _record(self, lines: list[records.Record]) -> None:
        self.records.append(lines)
        self.reporter.measured(lines)
        if self.events is not None:
            write_events(self.events, lines)

    def _checkpoint_due(self) -> bool:
        in_epoch, every = self.step % self.task.steps_per_epoch, self.recording.checkpoint_every
        return in_epoch == 0 or (every is not None and in_epoch % every == 0)

    def _checkpoint(self) -> None:
        """Saves the state, unless it has diverged: such a state is found out at the next line of metrics."""
        if int(self.metrics.diverged.compute()) < NEVER:
            return
        best = records.best_step(self.records.records)
        self.checkpoints.save(self.step, {"state": self.state, "metrics": self.metrics}, best)

    def _interrupt(self) -> None:
        self._checkpoint()
        self.checkpoints.wait()
        write_json(self.directory / "summary.json", self._summary("interrupted"))
        saved = max(checkpoints.checkpoint_steps(self.checkpoints.directory), default=0)
        raise Interrupted(self.signal or signal.SIGINT, self.directory, saved)

    def _diverge(self, step: int) -> None:
        self.reporter.say(f"diverged: the loss or a parameter was not finite after step {step:,}")
        self.checkpoints.wait()
        write_json(self.directory / "summary.json", {**self._summary("diverged"), "diverged_step": step})

    def _complete(self) -> None:
        """Reads the test split, once, for the last epoch and the best; writes the summary last of all."""
        best = records.best_step(self.records.records)
        if self.task.experiment.evaluate_test:
            self._test_at(self.task.steps, self.state)
            if best is not None and best != self.task.steps:
                self._test_at(best, None)
        write_json(self.directory / "summary.json", self._summary("completed"))

    def _test_at(self, step: int, state: TrainState | None) -> None:
        """Evaluates the test split at a step, from its checkpoint where no state is given, unless it has been."""
        if self.records.find("test", step) is not None:
            return
        if state is None:
            try:
                state = checkpoints.restore(self.checkpoints.directory, step, checkpointed(self.task))["state"]
            except UserError as error:
                self.reporter.say(f"{error} So the best epoch's parameters are not tested.")
                return
        self._record([self._evaluated("test", self.splits.test, state, step)])

    def _summary(self, status: str) -> dict[str, Any]:
        lines = self.records.records
        best = records.best_step(lines)
        speeds = [r["images_per_second"] for r in lines if r.get("images_per_second") is not None]
        return {
            "status": status,
            "experiment": self.task.experiment.name,
            "digest": self.task.experiment.digest,
            "steps": self.step,
            "epochs": self.step / self.task.steps_per_epoch,
            "parameters": count_parameters(self.state.params),
            "seconds": sum(r["seconds"] for r in lines if r["split"] != "train"),
            "images_per_second": float(np.median(speeds)) if speeds else None,
            "final": self._result(self.step),
            "best": None if best is None else self._result(best),
        }

    def _result(self, step: int) -> dict[str, Any]:
        return {"step": step, "epoch": step / self.task.steps_per_epoch, **records.at_step(self.records.records, step)}

    def _write_config(self) -> None:
        path = self.directory / "config.json"
        config = read_json(path) if path.exists() else {}
        here = {"step": self.began, **environment()}
        earlier = config.get("environments", [])
        same = earlier and {**earlier[-1], "step": self.began} == here
        config |= {
            "experiment": self.task.experiment.to_json(),
            "digest": self.task.experiment.digest,
            "task": task_to_json(self.task),
            "recording": self.recording.to_json(),
            "environments": earlier if same else [*earlier, here],
        }
        write_json(path, config)


@contextlib.contextmanager
def _signals(session: Session) -> Iterator[None]:
    """Turns the first SIGINT or SIGTERM into a request to stop; the second acts at once."""

    def request(number: int, frame: FrameType | None) -> None:
        session.signal = number
        restore()
        with contextlib.suppress(OSError):  # whoever read the output may be gone; and print is not safe in here
            os.write(2, b"\nstopping after a checkpoint; once more to stop at once\n")

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    previous: dict[int, Any] = {}
    with contextlib.suppress(ValueError):  # not the main thread: signals are its affair
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()


def _shorter(task: Task) -> str:
    """Returns what a person who has less time could run instead."""
    experiment = task.experiment
    flags = "shorter: --epochs N, --batch-size N"
    with contextlib.suppress(UserError):
        others = catalog.load_folder().values()
        sizes = {
            e.name: e.epochs * (task.train_examples // e.batch_size) for e in others if e.dataset == experiment.dataset
        }
        fewer = sorted((steps, name) for name, steps in sizes.items() if steps < task.steps)
        if fewer:
            flags += "; experiments on the same data with fewer steps: "
            flags += ", ".join(f"{name} ({steps:,})" for steps, name in fewer[:6])
    return flags
