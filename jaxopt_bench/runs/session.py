"""One process's part of a run: it drives the compiled steps, and writes down what they measure."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp

from jaxopt_bench import catalog
from jaxopt_bench.config import Config, number
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import remove_leftovers
from jaxopt_bench.formatting import format_duration
from jaxopt_bench.models import count_parameters
from jaxopt_bench.optimizers import SCHEDULES, inner_rules
from jaxopt_bench.runs import checkpoints, records
from jaxopt_bench.runs.clock import Clock
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.evaluation import write_evaluations
from jaxopt_bench.runs.load import checkpointed, task_to_json
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.processes import agreed, check_same, found_by_first, heard_by_any
from jaxopt_bench.runs.progress import Reporter, median_lines
from jaxopt_bench.runs.signals import stopped_by_signals
from jaxopt_bench.runs.splits import Splits
from jaxopt_bench.training import (
    NEVER,
    Evaluate,
    StepMetrics,
    Task,
    TrainState,
    empty_metrics,
    everywhere,
    fetched,
    initial_states,
    make_advance,
    make_evaluate,
    make_evaluated,
    make_orders,
    padded_batches,
    placed,
    shardings,
)
from jaxopt_bench.training import member as member_of

T = TypeVar("T")

HOUR = 3600.0


@dataclasses.dataclass(frozen=True)
class Recording(Config):
    """What a run writes and how often, which changes nothing that it computes."""

    log_every: int = number(50, at_least=1)
    """Steps between two lines of training metrics; every epoch's end has one."""
    checkpoint_every: int | None = number(None, at_least=1)
    """Steps between two checkpoints within an epoch; every epoch's end has one."""
    keep_checkpoints: int = number(2, at_least=1)
    """How many of the last checkpoints stay, beside the best epoch's (those of a population's members stay only where
    the test split will be read at them)."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    evaluation: bool = False
    """Write evaluation.npz at the end: what the network makes of each example of the evaluated splits, its worst
    mistakes, an augmented batch."""


class Interrupted(KeyboardInterrupt):
    """A run, or a study, was asked to stop, and did so after writing a checkpoint.

    As for Python's own `KeyboardInterrupt`, `except Exception` does not catch it.

    Attributes:
      signal: the signal's number.
    """

    def __init__(self, number: int, path: pathlib.Path, step: int | None = None):
        super().__init__(number, path, step)  # what pickle makes it of again
        self.signal, self.path, self.step = number, path, step

    def __str__(self) -> str:
        what = f"{self.path}" if self.step is None else f"{self.path} from step {self.step:,}"
        return f"interrupted. Run the same command (without --fresh) to resume {what}."


class _Stopped(Exception):  # noqa: N818 (it was asked for)
    """An evaluation was left unfinished, since the process was asked to stop."""


@dataclasses.dataclass
class Slice:
    """Some steps on their way through the device, and what is to be written of them.

    Attributes:
      step: the last of them.
      metrics: of the steps since the last line of training metrics, stacked.
      line: whether such a line is due.
      measured: what the line is to say, on its way to the host.
      evaluations: what each split's line is to say, and how many seconds it took, where an epoch ends.
      snapshot: what a checkpoint is to hold, where one is due.
    """

    step: int
    metrics: StepMetrics
    line: bool
    measured: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluations: dict[str, tuple[dict[str, Any], float]] = dataclasses.field(default_factory=dict)
    snapshot: Any = None


class Session:
    """One process's part of a run, or of a population of runs, from the last checkpoint to the end or interruption.

    While the device makes a slice of steps, the host writes down what the slice before it has measured.
    """

    def __init__(
        self,
        members: Sequence[Member],
        splits: Splits,
        home: pathlib.Path,
        recording: Recording,
        reporter: Reporter,
        waiting: int = 0,
    ):
        """Compiles nothing and writes nothing yet.

        Args:
          members: runs that one program can train.
          splits: their examples.
          home: the folder in which their checkpoints lie: the run's own, or the population's.
          recording: how often to write.
          reporter: what is told of the progress.
          waiting: how many runs are to be trained after these, for an estimate of the time.
        """
        self.members, self.splits, self.home = members, splits, home
        self.task, self.recording, self.reporter = members[0].task, recording, reporter
        self.waiting = waiting
        self._advance = make_advance(self.task, len(members))
        self._orders = make_orders(self.task, len(members))
        self._evaluated = make_evaluated(self.task, len(members))
        self._evaluate = make_evaluate(self.task, len(members))
        problem, step_metrics = self.task.problem, self.task.step_metrics
        self._names = members[0].metric_names
        self._step_values = jax.jit(jax.vmap(lambda own: own.compute(step_metrics)))
        self._values = jax.jit(jax.vmap(lambda own: own.compute(problem.measured)))
        self._batches: dict[str, list[Any]] = {}  # of the splits that are evaluated again and again
        self._order: tuple[int, Any] = (-1, None)  # an epoch, and the members' orders of it
        self.evaluation_seconds = 0.0
        self.signal: int | None = None  # that this process was sent
        self.heeded: int | None = None

    def __enter__(self) -> Self:
        same = [(member.task.experiment.to_json(), task_to_json(member.task)) for member in self.members]
        check_same((self.recording.to_json(), self.task.code_path.to_json(), same))
        self.step, self.states, self.metrics = self._restore()
        self.began = self.step
        counts = fetched(self.metrics.steps)  # of the steps since the last line of metrics
        for member in self.active:
            member.check_config()
        remove_leftovers(self.home)
        for member in self.active:
            member.begin(self.step, self.step - int(counts[member.place]), self.recording.tensorboard)
        self._write_configs()
        self.checkpoints = checkpoints.Checkpoints(
            self.home / "checkpoints",
            self.recording.keep_checkpoints,
            after=self.step,
            last=self.task.steps,
            warn=self.reporter.say,
        )
        self.checkpoints.prune(self._best_steps())  # a killed process may have saved one and removed none
        self.clock = Clock(self.task.experiment.batch_size)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:  # where one cannot be closed, as on a full disk, the others are
            stack.callback(self.checkpoints.close)
            for member in self.members:
                stack.callback(member.close)
            stack.callback(self.reporter.stop)

    @property
    def active(self) -> list[Member]:
        """The members that are still trained."""
        return [member for member in self.members if not member.finished]

    def run(self) -> None:
        """Trains to the end."""
        self._introduce()
        with stopped_by_signals(self):
            if unevaluated := self._unevaluated():
                self._evaluate_again(unevaluated)
            self._make_steps()
            if self.active and (self.step < self.task.steps or self._unevaluated()):
                self._interrupt()
            self.checkpoints.wait()
            try:
                self._complete()
            except _Stopped:
                self._interrupt()

    def stopping(self) -> bool:
        """Returns whether this process, or one that it trains with, was asked to stop."""
        self.heeded = heard_by_any(self.signal)
        return self.heeded is not None

    def _make_steps(self) -> None:
        """Makes steps to the last, or until the process is asked to stop, and saves a checkpoint of the last made."""
        done: Slice | None = None
        while self.step < self.task.steps and self.active and not self.stopping():
            under_way = self._dispatch()
            if done is not None:
                self._write(done)
            self._await(under_way)
            done = under_way
        if done is not None:
            done.snapshot = done.snapshot or self._snapshot()
            self._write(done)

    def _unevaluated(self) -> list[Member]:
        """Returns those for which the last step made ends an epoch whose evaluation was left unfinished."""
        if not self.step or self.step % self.task.steps_per_epoch:
            return []
        wanted = ["train", *self._measured_every_epoch()]
        return [m for m in self.active if any(m.records.find(split, self.step) is None for split in wanted)]

    def _evaluate_again(self, members: Sequence[Member]) -> None:
        """Evaluates the epoch at whose end some members were stopped, as it would have been."""
        made = Slice(self.step, self.metrics, line=False, evaluations=self._evaluations())
        if made.evaluations:
            for member in members:
                member.records.drop_epoch(self.step)
            self._write_epoch(made, members)
            for member in members:
                member.sync()
            self.checkpoints.prune(self._best_steps())

    @property
    def _parameters(self) -> int:
        return count_parameters(self.states.params) // len(self.members)

    def _introduce(self) -> None:
        task, count = self.task, len(self.members)
        many = f" × {count}" if count > 1 else ""
        resumed = f", continued from step {self.began:,}" if self.began else ""
        title = f"{task.experiment.name}{many}: {self._parameters:,} parameters, {task.steps:,} steps{resumed}"
        self.reporter.start(f"{title}\n{self.home}", self.step, task.steps, task.steps_per_epoch, task.problem.measured)
        warmup = max(getattr(member.task.experiment.schedule, "warmup", 0.0) for member in self.members)
        if warmup >= task.experiment.epochs:
            self.reporter.say(f"schedule.warmup is {warmup:g} of {task.experiment.epochs} epochs: all of it is warm-up")
        schedule, intended = SCHEDULES.name_of(task.experiment.schedule), task.experiment.optimizer.schedule
        if intended.name == "constant" != schedule:
            self.reporter.say(
                f"its optimizer is meant for a constant learning rate ({intended.source}), not {schedule}"
            )

    def _restore(self) -> tuple[int, TrainState, StepMetrics]:
        count, found = len(self.members), None
        if count == 1 or any((member.directory / "config.json").exists() for member in self.active):
            like = checkpointed(self.task, count)
            found = checkpoints.restore_latest(self.home / "checkpoints", like, warn=self.reporter.say)
        if found is None:  # or they are those of runs that someone removed
            if any((member.directory / "metrics.jsonl").exists() for member in self.active):
                self.reporter.say("no checkpoint of it was ever finished, or all are gone: it begins anew")
            return 0, initial_states([member.task for member in self.members]), self._no_metrics()
        step, tree = found
        on_device = placed(jax.tree.map(jnp.asarray, tree), shardings(self.task.code_path, count)[0])
        return step, on_device["state"], on_device["metrics"]

    def _next_stop(self) -> int:
        """Returns the next step at which something is written."""
        in_epoch = self.step % self.task.steps_per_epoch
        periods = [self.recording.log_every, self.recording.checkpoint_every or self.task.steps_per_epoch]
        return self.step + min(
            self.task.steps_per_epoch - in_epoch, *(period - in_epoch % period for period in periods)
        )

    def _dispatch(self) -> Slice:
        """Sends steps to the device: those up to the next stop, or as many of them as a display can wait for."""
        steps = agreed(self.clock.slice(self._next_stop() - self.step))
        epoch = self.step // self.task.steps_per_epoch
        if self._order[0] != epoch:
            self._order = (epoch, self._orders(self.states.seed, epoch))
        counts = jnp.asarray([0 if member.finished else steps for member in self.members], jnp.int32)
        self.clock.start(steps, len(self.active))
        self.states, self.metrics = self._advance(self.states, self.metrics, self.splits.train, self._order[1], counts)
        self.step += steps
        in_epoch = self.step % self.task.steps_per_epoch
        line = in_epoch == 0 or in_epoch % self.recording.log_every == 0
        made = Slice(self.step, self.metrics, line)
        if line:
            self.metrics = self._no_metrics()
        return made

    def _no_metrics(self) -> StepMetrics:
        return empty_metrics(self.task, len(self.members))

    def _await(self, made: Slice) -> None:
        """Waits until the steps are made, and computes what has to be before the next change them."""
        jax.block_until_ready(made.metrics)
        self.clock.stop()
        left = self._seconds_left()
        self.reporter.advance(self.step, self.clock.examples_per_second, left)
        if self.clock.first_estimate():
            self._say_duration(left + self.waiting * self._seconds_for(self.task.steps) / self.clock.members)
        if made.line:
            made.measured = {"steps": made.metrics.steps, **self._step_values(made.metrics)}
        if made.step % self.task.steps_per_epoch == 0:
            made.evaluations = self._evaluations()
        if self._checkpoint_due():
            made.snapshot = self._snapshot()

    def _snapshot(self) -> Any:
        return _copy({"state": self.states, "metrics": self.metrics})

    def _seconds_left(self) -> float:
        return self._seconds_for(self.task.steps - self.step)

    def _seconds_for(self, steps: int) -> float:
        """Returns an estimate: the last slice's speed for the steps, the last epoch's evaluations for those to come."""
        epochs = math.ceil(steps / self.task.steps_per_epoch)
        return steps * self.clock.seconds_per_step + epochs * self.evaluation_seconds

    def _say_duration(self, left: float) -> None:
        self.reporter.say(f"about {format_duration(left)} to go at {self.clock.examples_per_second:,.0f} examples/s")
        if left > HOUR:
            self.reporter.say(_shorter(self.task))

    def _write(self, made: Slice) -> None:
        """Writes what a slice has measured, then its checkpoint."""
        if made.line:
            self._write_steps(made)
        if made.evaluations:
            self._write_epoch(made, self.active)
        if made.snapshot is not None:
            self._save(made)

    def _write_steps(self, made: Slice) -> None:
        values = fetched(made.measured)
        counts, diverged = values.pop("steps"), values.pop("diverged")
        timing = self.clock.lap()
        written = []
        for member in self.active:
            line = self._own(values, member)
            steps = int(counts[member.place])
            lines = [self._line("train_steps", made.step, steps=steps, **line, **timing)]
            member.record(lines)
            written.append(lines)
            if diverged[member.place] < NEVER:
                step = int(diverged[member.place])
                reason = f"the loss, the gradient or the update of step {step:,} was not finite"
                self._diverge(member, step, reason, made.step)
        self.reporter.measured(median_lines(written, self._names))

    def _measured_every_epoch(self) -> list[str]:
        tracked = self.task.experiment.track_test and self.task.reads_test
        return [*self.splits.evaluated, *(["test"] if tracked else [])]

    def _evaluations(self) -> dict[str, tuple[dict[str, Any], float]]:
        """Returns each split's means and seconds; nothing where the process is asked to stop before all are known."""
        found: dict[str, tuple[dict[str, Any], float]] = {}
        began = time.perf_counter()
        if self.stopping():
            return found
        try:
            states = self._evaluated(self.states, self.splits.train, self._until_stopped)
            for split in self._measured_every_epoch():
                values = self._measured(split, states)
                now = time.perf_counter()
                found[split], began = (values, now - began), now
        except _Stopped:
            return {}
        return found

    def _measured(self, split: str, states: TrainState) -> dict[str, Any]:
        """Evaluates a split, whose examples stay on the device."""
        if split not in self._batches:
            batches = list(padded_batches(self.splits.named(split)))
            self._batches[split] = placed(batches, everywhere(self.task.code_path))
        return fetched(self._values(self._evaluate(states, self._until_stopped(self._batches[split]))))

    def _until_stopped(self, batches: Iterable[T]) -> Iterator[T]:
        for batch in batches:
            if self.stopping():
                raise _Stopped
            yield batch

    def _write_epoch(self, made: Slice, members: Sequence[Member]) -> None:
        """Writes a line for every split that is measured once an epoch."""
        lines: list[list[records.Record]] = []
        for member in members:
            means = records.mean_over_epoch(member.records.records, made.step - self.task.steps_per_epoch, self._names)
            lines.append([self._line("train", made.step, **means)])
        self.evaluation_seconds = sum(seconds for _, seconds in made.evaluations.values())
        for split, (values, seconds) in made.evaluations.items():
            for member, own in zip(members, lines, strict=True):
                own.append(self._evaluation_line(split, made.step, values, member, seconds / len(self.active)))
        for member, own in zip(members, lines, strict=True):
            member.record(own)
        self.reporter.measured(median_lines(lines, self._names))

    def _evaluation_line(
        self, split: str, step: int, values: Mapping[str, Any], member: Member, seconds: float
    ) -> records.Record:
        return self._line(split, step, **self._own(values, member), seconds=seconds)

    def _own(self, values: Mapping[str, Any], member: Member) -> dict[str, float | None]:
        """Returns a member's values; None for a metric that was not measured or is not finite."""
        found = {name: records.finite(float(value[member.place])) for name, value in values.items()}
        return found | {name: None for name in self._names if name not in found}

    def _line(self, split: str, step: int, /, **values: Any) -> records.Record:
        return {"step": step, "epoch": step / self.task.steps_per_epoch, "split": split, **values}

    def _checkpoint_due(self) -> bool:
        in_epoch, every = self.step % self.task.steps_per_epoch, self.recording.checkpoint_every
        return in_epoch == 0 or (every is not None and in_epoch % every == 0)

    def _save(self, made: Slice) -> None:
        """Saves a checkpoint, unless every member has diverged: such a state is found out at the next line."""
        snapshot = fetched(made.snapshot)
        diverged = snapshot["metrics"].diverged.step
        if any(diverged[member.place] == NEVER for member in self.active):
            for member in self.active:
                member.sync()
            self.checkpoints.save(made.step, snapshot, self._best_steps())
        made.snapshot = None

    def _best_steps(self) -> set[int]:
        """Returns the steps whose checkpoints are kept however old they become.

        For a population only where the test split will be read at them: there are as many as members.
        """
        if len(self.members) > 1 and not self.task.reads_test:
            return set()
        best = (records.best_step(member.records.records) for member in self.active)
        return {step for step in best if step is not None}

    def _interrupt(self) -> None:
        self.checkpoints.wait()
        for member in self.active:
            member.end("interrupted", self.step, self._parameters)
        saved = max(found_by_first(lambda: checkpoints.checkpoint_steps(self.checkpoints.directory)), default=0)
        raise Interrupted(self.heeded or signal.SIGINT, self.home, saved)

    def _diverge(self, member: Member, step: int, reason: str, found: int) -> None:
        """Ends a member that diverged at a step, which was found after a later step or the same."""
        which = f"{member.directory.name} " if len(self.members) > 1 else ""
        self.reporter.diverged(f"{which}diverged: {reason}")
        self.checkpoints.wait()
        member.end("diverged", found, self._parameters, diverged_step=step, reason=reason)
        member.finished = True

    def _diverge_where_not_finite(self) -> None:
        """Ends the members as diverged whose results at the last or the best epoch are not finite."""
        for member in self.active:
            if (line := member.not_finite(self.step)) is not None:
                reason = f"the {line['split']} loss at the end of epoch {line['epoch']:g} was not finite"
                self._diverge(member, line["step"], reason, self.step)

    def _complete(self) -> None:
        """Reads the test split, once, for the last epoch and the best; writes the summaries last of all."""
        self._diverge_where_not_finite()
        if self.task.reads_test and self.active:
            self._test_last()
            for step in sorted(self._best_steps() - {self.task.steps}):
                self._test_best(
                    step, [member for member in self.active if records.best_step(member.records.records) == step]
                )
            self._diverge_where_not_finite()
        if self.recording.evaluation and self.active:
            directories = {member.place: member.directory for member in self.active}
            write_evaluations(directories, self.states, self.task, self.splits, self._until_stopped)
        for member in self.active:
            member.end("completed", self.step, self._parameters)

    def _write_configs(self) -> None:
        here = {"step": self.began, **environment(self.task.code_path, len(self.members))}
        one = jax.eval_shape(lambda states: member_of(states, 0), self.states)
        rules = inner_rules(one.opt_state, one.params)
        written = [m.write_config(self.recording, self.home, len(self.members), here, rules) for m in self.active]
        if differing := next(filter(None, written), []):
            self.reporter.say(f"it goes on elsewhere, and may round differently: {'; '.join(differing)}")

    def _test_last(self) -> None:
        """Evaluates the test split at the last step, unless it has been."""
        untested = [member for member in self.active if member.records.find("test", self.step) is None]
        if untested:
            states = self._evaluated(self.states, self.splits.train, self._until_stopped)
            self._test(self.step, untested, states, self._evaluate)

    def _test_best(self, step: int, members: Sequence[Member]) -> None:
        """Evaluates the test split at the best step of some members, from its checkpoint, unless it has been."""
        untested = [member for member in members if member.records.find("test", step) is None]
        if not untested:
            return
        try:
            like = checkpointed(self.task, len(self.members))
            states = checkpoints.restore(self.checkpoints.directory, step, like)["state"]
        except UserError as error:
            self.reporter.say(f"{error} So the best epoch's parameters are not tested.")
            return
        evaluated, evaluate = make_evaluated(self.task), make_evaluate(self.task)
        for member in untested:  # one by one: the others' parameters of this step are nobody's best
            own = jax.tree.map(lambda leaf, place=member.place: leaf[place : place + 1], states)
            own = evaluated(placed(own, everywhere(self.task.code_path)), self.splits.train, self._until_stopped)
            self._test(step, [dataclasses.replace(member, place=0)], own, evaluate)

    def _test(self, step: int, members: Sequence[Member], states: TrainState, evaluate: Evaluate) -> None:
        began = time.perf_counter()
        measured = evaluate(states, self._until_stopped(padded_batches(self.splits.named("test"))))
        values = fetched(self._values(measured))
        seconds = (time.perf_counter() - began) / len(members)
        lines = [[self._evaluation_line("test", step, values, member, seconds)] for member in members]
        for member, own in zip(members, lines, strict=True):
            member.record(own)
        self.reporter.measured(median_lines(lines, self._names))


@jax.jit
def _copy(tree: Any) -> Any:
    """Returns a copy on the device, which outlives the donation of the original."""
    return jax.tree.map(jnp.copy, tree)


def _shorter(task: Task) -> str:
    """Returns what a person who has less time could run instead."""
    experiment = task.experiment
    flags = "shorter: --epochs N, --batch-size N"
    with contextlib.suppress(UserError):
        others = catalog.load_folder().values()
        sizes = {
            e.name: e.epochs * (task.train_examples // e.batch_size)
            for e in others
            if e.problem.data_name == experiment.problem.data_name
        }
        fewer = sorted((steps, name) for name, steps in sizes.items() if steps < task.steps)
        if fewer:
            flags += "; experiments on the same data with fewer steps: "
            flags += ", ".join(f"{name} ({steps:,})" for steps, name in fewer[:6])
    return flags
