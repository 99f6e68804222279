"""Runs the compiled program of a population, from its start to its end or an interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_bench import catalog
from jaxopt_bench.errors import UserError
from jaxopt_bench.formatting import format_duration
from jaxopt_bench.optimizers import SCHEDULES, WarmupSchedule
from jaxopt_bench.runs.clock import Clock
from jaxopt_bench.runs.finish import finish
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.processes import broadcast_from_first_process
from jaxopt_bench.runs.recorder import MeasuredSplit, Recorder
from jaxopt_bench.runs.restore import Start
from jaxopt_bench.runs.signals import Interrupted, StopRequest, WorkStopped, handle_stop_signals
from jaxopt_bench.runs.splits import Splits
from jaxopt_bench.training import (
    Program,
    StepMetrics,
    Task,
    copied,
    fetch_to_host,
    padded_batches,
    replicated_sharding,
    shard_over_devices,
)

HOUR = 3600.0


@dataclasses.dataclass
class Chunk:
    """Some steps that the device makes, and the values that the host writes for them.

    Attributes:
      step: the last of the steps.
      metrics: the metrics of the steps since the last line of training metrics, stacked.
      is_line_due: whether such a line is written after these steps.
      measured: the values in that line; they may still be on the device.
      evaluations: the values in the lines of each split, if an epoch ends.
      snapshot: the content of the checkpoint, if one is due.
    """

    step: int
    metrics: StepMetrics
    is_line_due: bool
    measured: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluations: dict[str, MeasuredSplit] = dataclasses.field(default_factory=dict)
    snapshot: Any = None


class Session:
    """The part of one process in the training of a population.

    While the device makes a chunk of steps, the host writes the metrics of the previous chunk.

    Attributes:
      step: the number of steps that were sent to the device.
      last: the step at which training ends: the last step, or the end of an epoch; see `Options.until_epoch`.
      states: the members' states after these steps.
      metrics: the metrics of the steps since the last line of training metrics.
    """

    def __init__(self, program: Program, splits: Splits, recorder: Recorder, start: Start, waiting: int = 0):
        """Stores the arguments; it compiles nothing and writes nothing yet.

        Args:
          program: the program of the population.
          splits: its examples.
          recorder: writes metrics and checkpoints.
          start: the step and the states from which training starts.
          waiting: the number of runs that will be trained after these, to estimate the time.
        """
        self.program, self.splits, self.recorder, self.waiting = program, splits, recorder, waiting
        self.task, self.reporter = program.task, recorder.options.reporter
        self.step, self.states, self.metrics = start.step, start.states, start.metrics
        self.last = self._last_step(recorder.options.until_epoch)
        self.stop = StopRequest()
        self.clock = Clock(self.task.experiment.workload.batch_size)
        self._batches: dict[str, list[Any]] = {}  # of the splits that are evaluated repeatedly
        self._permutations: tuple[int, Any] = (-1, None)  # an epoch, and the members' permutations in it
        self._evaluation_seconds = 0.0  # for the evaluations of the last epoch

    def _last_step(self, until_epoch: int | None) -> int:
        length = self.task.steps_per_epoch
        if until_epoch is None:
            return self.task.steps
        return min(self.task.steps, max(until_epoch, math.ceil(self.step / length)) * length)

    def run(self) -> None:
        """Trains to the end, or up to the end of the epoch at which the runs are stopped.

        Raises:
          Interrupted: after a signal, when the steps that were made are in a checkpoint.
        """
        self._introduce()
        self.recorder.options.on_training_start()
        with handle_stop_signals(self.stop):
            if unevaluated := self._unevaluated():
                self._evaluate_again(unevaluated)
            self._make_steps()
            self.recorder.checkpoints.wait()
            if self.recorder.active and (self.step < self.last or self._unevaluated()):
                raise self._interrupted()
            if self.last < self.task.steps:
                self.recorder.stop_early(self.last)
                return
            try:
                finish(self.program, self.states, self.splits, self.recorder, self.stop)
            except WorkStopped:
                raise self._interrupted() from None

    def _interrupted(self) -> Interrupted:
        return self.recorder.interrupt(self.step, self.stop.any_signal or signal.SIGINT)

    def _introduce(self) -> None:
        task, population = self.task, self.recorder.population
        many = f" × {len(population.members)}" if len(population.members) > 1 else ""
        resumed = f", continued from step {self.step:,}" if self.step else ""
        size = f"{self.recorder.parameters:,} parameters, {task.steps:,} steps"
        title = f"{task.experiment.name}{many}: {size}{resumed}\n{population.folder}"
        self.reporter.start(title, self.step, self.last, task.steps_per_epoch, task.problem.all_metrics)
        schedules, epochs = [m.task.experiment.schedule for m in population.members], task.experiment.workload.epochs
        warmup = max((s.warmup_epochs(epochs) for s in schedules if isinstance(s, WarmupSchedule)), default=0.0)
        if warmup >= epochs:
            self.reporter.say(f"schedule.warmup is {warmup:g} of {epochs} epochs, so the whole training is warm-up")
        schedule, intended = SCHEDULES.name_of(task.experiment.schedule), task.experiment.optimizer.schedule
        if intended.name == "constant" != schedule:
            self.reporter.say(
                f"the optimizer is meant for a constant learning rate ({intended.source}), but the schedule is "
                f"{schedule}. Use `--schedule constant` for a constant learning rate."
            )

    # Steps

    def _make_steps(self) -> None:
        """Makes steps until the last one or until the process is asked to stop, and then saves a checkpoint."""
        done: Chunk | None = None
        while self.step < self.last and self.recorder.active and not self.stop.requested():
            under_way = self._dispatch()
            if done is not None:
                self._write(done)
            self._await(under_way)
            done = under_way
        if done is not None:
            done.snapshot = done.snapshot or self._snapshot()
            self._write(done, last=True)

    def _dispatch(self) -> Chunk:
        """Sends the steps up to the next stop to the device, or fewer, so that the display is updated often enough."""
        members, recorder = self.recorder.population.members, self.recorder
        steps = broadcast_from_first_process(self.clock.next_chunk_steps(recorder.next_stop(self.step) - self.step))
        epoch = self.step // self.task.steps_per_epoch
        if self._permutations[0] != epoch:
            self._permutations = (epoch, self.program.epoch_permutations(self.states.seed, epoch))
        counts = jnp.asarray([0 if member.finished else steps for member in members], jnp.int32)
        self.clock.start(steps, len(recorder.active))
        self.states, self.metrics = self.program.advance(
            self.states, self.metrics, self.splits.train, self._permutations[1], counts
        )
        self.step += steps
        dispatched = Chunk(self.step, self.metrics, recorder.is_line_due(self.step))
        if dispatched.is_line_due:
            self.metrics = self.program.empty_metrics()
        return dispatched

    def _await(self, under_way: Chunk) -> None:
        """Waits until the steps are made. Then does all work on the states, before the next steps change them."""
        jax.block_until_ready(under_way.metrics)
        self.clock.stop()
        left = self._seconds_for(self.last - self.step)
        self.reporter.advance(self.step, self.clock.examples_per_second, left)
        if self.clock.first_estimate():
            self._say_duration(left + self.waiting * self._seconds_for(self.last) / self.clock.members)
        if under_way.is_line_due:
            values = self.program.step_values(under_way.metrics)
            under_way.measured = {"steps": under_way.metrics.steps, **values}
        if under_way.step % self.task.steps_per_epoch == 0:
            under_way.evaluations = self._evaluations()
        if self.recorder.is_checkpoint_due(self.step):
            under_way.snapshot = self._snapshot()

    def _write(self, done: Chunk, last: bool = False) -> None:
        """Writes the metrics of a chunk, then its checkpoint. The checkpoint of the last chunk is written at once."""
        if done.is_line_due:
            self.recorder.write_steps(done.step, fetch_to_host(done.measured), self.clock.lap())
        if done.evaluations:
            self.recorder.write_epoch(done.step, done.evaluations, self.recorder.active)
        if done.snapshot is not None:
            self.recorder.save(done.step, done.snapshot, last)
            done.snapshot = None

    def _snapshot(self) -> Any:
        """Returns a copy of the states and metrics on the device, which stays valid when the original is donated."""
        return copied({"state": self.states, "metrics": self.metrics})

    # Evaluations at the ends of epochs

    def _splits_of_epoch(self) -> list[str]:
        tracked = self.task.experiment.track_test and self.task.reads_test
        return [*self.splits.evaluated, *(["test"] if tracked else [])]

    def _evaluations(self) -> dict[str, MeasuredSplit]:
        """Returns the results for each split; {} if the process is asked to stop before all are known."""
        found: dict[str, MeasuredSplit] = {}
        began = time.perf_counter()
        if self.stop.requested():
            return found
        try:
            evaluator = self.program.evaluator
            states = evaluator.states_to_evaluate(self.states, self.splits.train, self.stop.until_requested)
            for split in self._splits_of_epoch():
                batches = self.stop.until_requested(self._batches_of(split))
                values = fetch_to_host(evaluator.evaluate(states, batches))
                now = time.perf_counter()
                found[split], began = MeasuredSplit(values, now - began), now
        except WorkStopped:
            return {}
        self._evaluation_seconds = sum(measured.seconds for measured in found.values())
        return found

    def _batches_of(self, split: str) -> list[Any]:
        """Returns the batches of a split, which stay on the device."""
        if split not in self._batches:
            batches = list(padded_batches(self.splits.named(split)))
            self._batches[split] = shard_over_devices(batches, replicated_sharding(self.task.code_path))
        return self._batches[split]

    def _unevaluated(self) -> list[Member]:
        """Returns the members whose last completed epoch is not fully evaluated, if the last step ends an epoch."""
        if not self.step or self.step % self.task.steps_per_epoch:
            return []
        wanted = ["train", *self._splits_of_epoch()]
        active = self.recorder.active
        return [m for m in active if any(m.metrics.find(split, self.step) is None for split in wanted)]

    def _evaluate_again(self, members: list[Member]) -> None:
        """Repeats the evaluation that was interrupted at the end of an epoch, for the members that lack it."""
        if evaluations := self._evaluations():
            self.recorder.rewrite_epoch(self.step, evaluations, members)

    # Estimates

    def _seconds_for(self, steps: int) -> float:
        """Estimates the seconds of steps from the last chunk, and those of evaluations from the last epoch."""
        epochs = math.ceil(steps / self.task.steps_per_epoch)
        return steps * self.clock.seconds_per_step + epochs * self._evaluation_seconds

    def _say_duration(self, left: float) -> None:
        self.reporter.say(f"about {format_duration(left)} to go at {self.clock.examples_per_second:,.0f} examples/s")
        if left > HOUR:
            self.reporter.say(_shorter(self.task))


def _shorter(task: Task) -> str:
    """Returns a message that names flags and experiments with a shorter training."""
    experiment = task.experiment
    flags = "to shorten the training, use fewer --epochs or a larger --batch-size"
    with contextlib.suppress(UserError):
        others = catalog.load_folder().values()
        sizes = {
            e.name: e.workload.epochs * (task.train_examples // e.workload.batch_size)
            for e in others
            if e.workload.problem.data_name == experiment.workload.problem.data_name
        }
        fewer = sorted((steps, name) for name, steps in sizes.items() if steps < task.steps)
        if fewer:
            flags += "; experiments on the same data with fewer steps: "
            flags += ", ".join(f"{name} ({steps:,})" for steps, name in fewer[:6])
    return flags
