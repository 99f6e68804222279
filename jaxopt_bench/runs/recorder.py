"""Writes the files of a population during training: lines of metrics, checkpoints, configurations and summaries."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxopt_bench.files import remove_leftovers
from jaxopt_bench.models import count_parameters
from jaxopt_bench.optimizers import inner_rules
from jaxopt_bench.runs import records
from jaxopt_bench.runs.checkpoints import Checkpoints, checkpoint_steps
from jaxopt_bench.runs.environment import environment
from jaxopt_bench.runs.examples import load_examples, save_examples
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.population import Population
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.runs.progress import median_lines
from jaxopt_bench.runs.restore import Start
from jaxopt_bench.runs.signals import Interrupted
from jaxopt_bench.strict_json import finite_or_none
from jaxopt_bench.training import NEVER, fetch_to_host
from jaxopt_bench.training import member as member_of

MOST_HELD = 256 * 2**20
"""The largest number of bytes of checkpoints that are kept in memory."""

Values = Mapping[str, np.ndarray | jax.Array]
"""Values on the host by name, each an array [members]."""


@dataclasses.dataclass(frozen=True)
class MeasuredSplit:
    """The results of an evaluation on a split.

    Attributes:
      values: the metrics of each member.
      seconds: the duration of the evaluation of all members.
      examples: the statistics of each example [members, examples], by name; empty if they are not known.
    """

    values: Values
    seconds: float
    examples: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Recorder:
    """Writes a population's metrics into the directories of its members, and its checkpoints.

    Attributes:
      population: the members.
      options: the recording options and the reporter.
      checkpoints: the checkpoints of the population.
      parameters: the number of parameters of a member's model.
    """

    def __init__(self, population: Population, options: Options, checkpoints: Checkpoints, parameters: int):
        self.population, self.options, self.checkpoints = population, options, checkpoints
        self.parameters = parameters
        self._held: dict[int, Any] = {}  # by step: checkpoints that are not written yet
        self._saved = time.monotonic()
        self._task, self._names = population.task, population.members[0].metric_names
        self._headline = self._task.problem.all_metrics[0]

    @property
    def active(self) -> list[Member]:
        """The members that have not finished."""
        return self.population.active

    # Metrics

    def is_line_due(self, step: int) -> bool:
        """Returns whether a line of training metrics is due after a step."""
        in_epoch = step % self._task.steps_per_epoch
        return in_epoch == 0 or in_epoch % self.options.recording.log_every == 0

    def next_stop(self, step: int) -> int:
        """Returns the next step after which something has to be written."""
        length, recording = self._task.steps_per_epoch, self.options.recording
        in_epoch = step % length
        periods = [recording.log_every, recording.checkpoint_every or length]
        return step + min(length - in_epoch, *(period - in_epoch % period for period in periods))

    def write_steps(self, step: int, values: Values, timing: Mapping[str, float | None]) -> None:
        """Writes a line of training metrics for each member, and ends the members that diverged.

        Args:
          step: the last of the steps.
          values: the means over the steps, with "steps" (the number of steps) and "diverged" (the first step whose
            loss, gradient or update was not finite, or `NEVER`).
          timing: seconds and speed.
        """
        values = dict(values)
        counts, diverged = values.pop("steps"), values.pop("diverged")
        written = []
        for member in self.active:
            own = self._values_of(member, values)
            line = self._line("train_steps", step, steps=int(counts[member.index]), **own, **timing)
            member.record([line])
            written.append([line])
            if (first := int(diverged[member.index])) < NEVER:
                self._diverge(
                    member, first, f"the loss, the gradient or the update of step {first:,} was not finite", step
                )
        self.options.reporter.report_metrics(median_lines(written, self._names))

    def write_epoch(self, step: int, splits: Mapping[str, MeasuredSplit], members: Sequence[Member]) -> None:
        """Writes a line for every split that is evaluated once per epoch.

        Args:
          step: the last step of the epoch.
          splits: the results of the evaluations, by split.
          members: the members whose lines are written.
        """
        written, after, sharing = [], step - self._task.steps_per_epoch, len(self.active)
        for member in members:
            means = records.mean_over_epoch(member.metrics.records, after, self._names)
            lines = [self._line("train", step, **means)]
            for split, found in splits.items():
                lines.append(self._evaluation_line(split, step, member, found, sharing))
            member.record(lines)
            written.append(lines)
        self.options.reporter.report_metrics(median_lines(written, self._names))

    def rewrite_epoch(self, step: int, splits: Mapping[str, MeasuredSplit], members: Sequence[Member]) -> None:
        """Replaces the lines at the end of an epoch whose evaluation was interrupted; see `write_epoch`."""
        for member in members:
            member.metrics.drop_epoch(step)
        self.write_epoch(step, splits, members)
        for member in members:
            member.sync()
        self.checkpoints.prune(self.best_steps())

    def write_test(self, step: int, members: Sequence[Member], indices: Sequence[int], found: MeasuredSplit) -> None:
        """Writes the results for the test examples, if the options request them, and then the lines of the test split.

        Args:
          step: the step whose parameters were evaluated.
          members: the members that were evaluated.
          indices: the index of each member in the values.
          found: the results of the evaluation.
        """
        written = []
        for member, index in zip(members, indices, strict=True):
            if self.lacks_examples(member, step):
                own = {name: values[index] for name, values in found.examples.items()}
                save_examples(member.directory, self._headline, step, own)
            if member.metrics.find("test", step) is None:
                lines = [self._evaluation_line("test", step, member, found, len(members), index)]
                member.record(lines)
                written.append(lines)
        self.options.reporter.report_metrics(median_lines(written, self._names))

    def lacks_examples(self, member: Member, step: int) -> bool:
        """Returns whether the results for the test examples at a step are requested and missing."""
        if not self.options.recording.test_examples or self._headline.resampling == "none":
            return False
        return step not in load_examples(member.directory, self._headline.name)

    def _evaluation_line(
        self, split: str, step: int, member: Member, found: MeasuredSplit, sharing: int, index: int | None = None
    ) -> records.MetricsLine:
        own = self._values_of(member, found.values, index)
        return self._line(split, step, **own, seconds=found.seconds / sharing)

    def _values_of(self, member: Member, values: Values, index: int | None = None) -> dict[str, float | None]:
        """Returns a member's values; None for a metric that was not measured or is not finite."""
        index = member.index if index is None else index
        found = {name: finite_or_none(float(value[index])) for name, value in values.items()}
        return found | {name: None for name in self._names if name not in found}

    def _line(self, split: str, step: int, /, **values: Any) -> records.MetricsLine:
        return {"step": step, "epoch": step / self._task.steps_per_epoch, "split": split, **values}

    # Checkpoints

    def is_checkpoint_due(self, step: int) -> bool:
        """Returns whether a checkpoint is due after a step."""
        in_epoch, every = step % self._task.steps_per_epoch, self.options.recording.checkpoint_every
        return in_epoch == 0 or (every is not None and in_epoch % every == 0)

    def save(self, step: int, snapshot: Any, last: bool = False) -> None:
        """Saves a checkpoint, or keeps it in memory if the last one is recent.

        If every member has diverged, no checkpoint is saved; the next line of metrics will show the divergence.

        Args:
          step: the number of steps made so far.
          snapshot: the states and the metrics since the last line, on the device.
          last: whether no other checkpoint will follow, so that this one is written at once.
        """
        snapshot, recording = fetch_to_host(snapshot), self.options.recording
        diverged = snapshot["metrics"].diverged.step
        if not any(diverged[member.index] == NEVER for member in self.active):
            return
        best = self.best_steps()
        self._held = {held: content for held, content in self._held.items() if held in best} | {step: snapshot}
        is_recent = time.monotonic() - self._saved < recording.checkpoint_seconds
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(self._held))
        if last or recording.checkpoint_every is not None or not is_recent or size > MOST_HELD:
            self._save_held()

    def _save_held(self) -> None:
        """Saves the checkpoints in memory: the latest one, and those of earlier best epochs."""
        best = self.best_steps()
        if self._held:
            for member in self.active:
                member.sync()
        for step in sorted(self._held):
            self.checkpoints.save(step, self._held.pop(step), best)
        self._saved = time.monotonic()

    def best_steps(self) -> set[int]:
        """Returns the steps whose checkpoints are kept, regardless of their age.

        For a population they are kept only if the test split will be evaluated with them, since each member may have
        another best step.
        """
        if len(self.population.members) > 1 and not self._task.reads_test:
            return set()
        best = (records.best_step(member.metrics.records) for member in self.active)
        return {step for step in best if step is not None}

    # Ends

    def diverge_where_not_finite(self, step: int) -> None:
        """Ends each member with results that are not finite, at the last step or the best epoch, as diverged."""
        for member in self.active:
            if (line := member.not_finite(step)) is not None:
                reason = f"the {line['split']} loss at the end of epoch {line['epoch']:g} was not finite"
                self._diverge(member, line["step"], reason, step)

    def _diverge(self, member: Member, step: int, reason: str, found: int) -> None:
        """Ends a member that diverged at `step`. This was detected after the step `found`, which may be later."""
        which = f"{member.directory.name} " if len(self.population.members) > 1 else ""
        self.options.reporter.report_divergence(f"{which}diverged: {reason}")
        if len(self.active) == 1:
            self._save_held()  # no other checkpoint will follow
        self.checkpoints.wait()
        member.end("diverged", found, self.parameters, diverged_step=step, reason=reason)
        member.finished = True

    def interrupt(self, step: int, signal: int) -> Interrupted:
        """Records that the members were interrupted after a step, and returns the exception to raise."""
        self.checkpoints.wait()
        for member in self.active:
            member.end("interrupted", step, self.parameters)
        saved = max(run_on_first_process(lambda: checkpoint_steps(self.checkpoints.directory)), default=0)
        return Interrupted(signal, self.population.folder, saved, self.options.fresh)

    def stop_early(self, step: int) -> None:
        """Records that the members were stopped after a step; a later training can continue them."""
        self.diverge_where_not_finite(step)
        for member in self.active:
            member.end("stopped", step, self.parameters)

    def complete(self, step: int) -> None:
        """Records that the members completed with the last step."""
        for member in self.active:
            member.end("completed", step, self.parameters)


@contextlib.contextmanager
def opened_recorder(population: Population, start: Start, options: Options) -> Iterator[Recorder]:
    """Yields a recorder for a population that continues from a step, and closes its files at the end.

    It first removes later lines and checkpoints, and the files that are written at the end of a run.
    """
    count, recorded = len(population.members), start.step - fetch_to_host(start.metrics.steps).astype(int)
    parameters = count_parameters(start.states.params) // count
    remove_leftovers(population.folder)
    for member in population.active:
        member.begin(start.step, int(recorded[member.index]), options.recording.tensorboard)
    with contextlib.ExitStack() as stack:  # if closing one file fails, for example on a full disk, it closes the others
        checkpoints = Checkpoints(
            population.checkpoints,
            options.recording.keep_checkpoints,
            after=start.step,
            last=population.task.steps,
            warn=options.reporter.say,
        )
        stack.callback(checkpoints.close)
        for member in population.members:
            stack.callback(member.close)
        stack.callback(options.reporter.stop)
        recorder = Recorder(population, options, checkpoints, parameters)
        _write_configs(population, start, options)
        checkpoints.prune(recorder.best_steps())  # a killed process may have saved one and removed none
        del start  # otherwise these states would stay in memory, beside those that are trained
        yield recorder


def _write_configs(population: Population, start: Start, options: Options) -> None:
    here = {"step": start.step, **environment(population.task.code_path, len(population.members))}
    one = jax.eval_shape(lambda states: member_of(states, 0), start.states)
    rules = inner_rules(one.opt_state, one.params)
    differing: Collection[str] = ()
    for member in population.active:
        found = member.write_config(options.recording, population.location(member), here, rules)
        differing = differing or found
    if differing:
        options.reporter.say(
            f"training continues in another environment, so its results may differ by rounding: {'; '.join(differing)}"
        )
