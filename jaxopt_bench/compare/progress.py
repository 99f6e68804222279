"""The progress of a study: bars on a terminal, and plain lines in other output."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jaxopt_bench.compare.folder import StudyFolder
from jaxopt_bench.compare.jobs import Job
from jaxopt_bench.compare.rungs import current_rung
from jaxopt_bench.formatting import format_count, format_duration, join_words
from jaxopt_bench.measures import Measure
from jaxopt_bench.problems import Metric
from jaxopt_bench.runs import LiveDisplay, Reporter
from jaxopt_bench.study import (
    HALVING,
    STEPS,
    PlannedRun,
    Rung,
    Selection,
    Study,
    Unit,
    UnitKey,
    describe_budget,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    training_epochs,
    units,
)

ESTIMATE_AFTER = 2.0
"""Seconds of training, after the first timed steps, until `StudyLines` prints an estimate."""
MOST_JOBS = 4
"""The maximum number of running jobs that a terminal shows."""
UnitTrials = Sequence[tuple[Unit, Sequence[PlannedRun]]]
"""Units, or parts of units, with their trials."""


class Progress:
    """Receives the progress of a study, and displays nothing."""

    def start(self, study: Study, folder: StudyFolder, own: UnitTrials, judged: Mapping[str, Measure]) -> None:
        """The study starts, or is continued.

        Args:
          study: the study.
          folder: its folder.
          own: the trials of this process, which also trains the finalists and confirmations of these trials.
          judged: the measure that judges trials, by workload.
        """

    def begin(self, job: Job) -> Reporter:
        """A job starts. The returned reporter receives its progress."""
        return Reporter()

    def end(self, job: Job) -> None:
        """A job has ended."""

    def report_selection(self, unit: Unit, selection: Selection) -> None:
        """The selection among a unit's trials has been made."""

    def say(self, text: str) -> None:
        """Tells the user something about the study."""

    def stop(self) -> None:
        """The study has ended, also if it failed or was interrupted."""


@dataclasses.dataclass
class UnitCounts:
    """Numbers of a unit's runs, and its winner.

    Attributes:
      planned, done, running, diverged: numbers of its trials. With halving, trials that are not promoted are done.
      epochs: the total of the remaining epochs of its trials, at the end of the last job.
      rungs: the rungs of its trials.
      best: the winner, in words.
      again, repeated: numbers of runs of finalists, planned and ended.
      wanted, confirmed: the same numbers for confirmations.
    """

    planned: int
    wanted: int
    done: int = 0
    running: int = 0
    diverged: int = 0
    epochs: int = 0
    rungs: Sequence[Rung] = ()
    best: str = ""
    again: int = 0
    repeated: int = 0
    confirmed: int = 0

    def epoch_before(self, epoch: int) -> int:
        """Returns the epoch of the previous rung; 0 if `epoch` is that of the first rung."""
        return max((rung.epochs for rung in self.rungs if rung.epochs < epoch), default=0)

    def epochs_after(self, epoch: int) -> int:
        """Returns the number of epochs in the rungs after the rung of `epoch`, with one seed."""
        return training_epochs(self.rungs, sum(rung.epochs <= epoch for rung in self.rungs))


@dataclasses.dataclass
class _RunningJob:
    """A running job.

    Attributes:
      job: the job.
      began: the start time, on the monotonic clock.
      first: the epochs that its runs had trained before the start.
      epochs: the epochs that its runs have trained.
      left: the estimated seconds until it ends; None if unknown.
      where: its progress, in words.
    """

    job: Job
    began: float
    first: float = 0.0
    epochs: float = 0.0
    left: float | None = None
    where: str = "compiling"

    @property
    def spent(self) -> tuple[float, float]:
        """The total epochs that its runs have trained since the start, and the seconds for them."""
        return len(self.job.runs) * (self.job.epochs - self.first), time.monotonic() - self.began

    @property
    def ahead(self) -> tuple[float, float]:
        """The total epochs that its runs have left, and the estimated seconds for them."""
        return len(self.job.runs) * (self.job.epochs - self.epochs), self.left or 0.0


class DisplayedProgress(Progress):
    """Counts the runs of each phase, and estimates the remaining time. Its subclasses display both."""

    def __init__(self, console: Console):
        self.console = console
        self.counts: dict[UnitKey, UnitCounts] = {}
        self.seconds: dict[str, list[tuple[float, float]]] = {}  # of a workload's jobs: epochs, and their seconds
        self.begun: dict[int, _RunningJob] = {}

    def start(self, study: Study, folder: StudyFolder, own: UnitTrials, judged: Mapping[str, Measure]) -> None:
        """See `Progress.start`."""
        self.study, self.judged, document = study, judged, folder.document
        self.own = {unit.key: len(runs) for unit, runs in own}
        for unit in units(study):
            planned = plan_trials(study, unit)
            left, epoch = current_rung(study, folder, unit, planned, judged[unit.workload.name])
            running = len(folder.unfinished(left, epoch))
            rungs = study.rungs_on(unit.workload, len(planned) // study.trial_seeds)
            counts = UnitCounts(len(planned), study.seeds, done=len(planned) - running, rungs=rungs)
            counts.epochs = running * (epoch - counts.epoch_before(epoch))
            counts.epochs += study.trial_seeds * counts.epochs_after(epoch)
            self.counts[unit.key] = counts
            again = plan_finalists(study, unit, document.finalists(unit.key))
            expected = study.finalists_among(rungs[-1].trials) * study.finalist_seeds
            counts.again = len(again) or expected
            counts.repeated = len(again) - len(folder.unfinished(again))
            found = document.selection(unit.key)
            if found is not None:
                self._choose(unit, found)
                winners = [] if found.trial is None else plan_confirmations(study, unit, found.trial)
                counts.confirmed = len(winners) - len(folder.unfinished(winners))
        optimizers = format_count(len(study.contenders), "optimizer")
        loads = ", ".join(w.name for w in study.workloads)
        self.say(f"{study.name}: {optimizers} on {loads}; {_describe_runs(study)} each")
        self.say(str(folder.path))

    def begin(self, job: Job) -> Reporter:
        """See `Progress.begin`."""
        self.begun[id(job)] = begun = _RunningJob(job, time.monotonic())
        counts = self.counts[job.unit.key]
        if job.kind == "trial":
            if self.study.search == HALVING:
                counts.done = counts.planned - len(job.runs)
            counts.running = counts.planned - counts.done
        if job.kind == "finalist":
            counts.again = len(job.runs)
        self.show(job, begins=True)
        return _JobReporter(self, begun, counts)

    def end(self, job: Job) -> None:
        """See `Progress.end`."""
        begun = self.begun.pop(id(job))
        counts = self.counts[job.unit.key]
        if job.kind == "trial":
            counts.done, counts.running = counts.done + counts.running, 0
            counts.epochs = self.study.trial_seeds * counts.epochs_after(job.epochs)
        if job.kind == "finalist":
            counts.repeated = len(job.runs)
        if job.kind == "confirmation":
            counts.confirmed = len(job.runs)
        if job.kind != "timing" and begun.spent[0]:
            self.seconds.setdefault(job.unit.workload.name, []).append(begun.spent)
        self.show(job, begins=False)

    def report_selection(self, unit: Unit, selection: Selection) -> None:
        """See `Progress.report_selection`."""
        self._choose(unit, selection)
        counts = self.counts[unit.key]
        if counts.planned:
            diverged = f"; {counts.diverged} diverged" if counts.diverged else ""
            judged = self.judged[unit.workload.name]
            measure = f"{judged.words} " if selection.trial is not None else ""
            self.say(f"  {unit.label}: {measure}{counts.best}{diverged}")

    def seconds_left(self) -> float | None:
        """Returns an estimate of the time of this process's remaining work, from the time of an epoch of each workload.

        None if no epoch has been timed.
        """
        known = {name: list(pairs) for name, pairs in self.seconds.items()}
        under_way: dict[UnitKey, float] = {}
        for begun in self.begun.values():
            before = self.counts[begun.job.unit.key].epoch_before(begun.job.epochs) if begun.job.kind == "trial" else 0
            under_way[begun.job.unit.key] = len(begun.job.runs) * max(0.0, begun.epochs - before)
            if begun.left:
                known.setdefault(begun.job.unit.workload.name, []).append(begun.ahead)
        everything = [pair for pairs in known.values() for pair in pairs]
        left = 0.0
        for key, own in self.own.items():
            counts, workload = self.counts[key], self.study.workload(key.workload)
            share = own / counts.planned if counts.planned else 0.0
            runs = counts.again - counts.repeated + counts.wanted - counts.confirmed
            epochs = counts.epochs * share + runs * workload.epochs - under_way.get(key, 0.0)
            pairs = known.get(workload.name) or everything
            if epochs > 0 and not pairs:
                return None
            if epochs > 0:
                left += epochs * sum(seconds for _, seconds in pairs) / sum(made for made, _ in pairs)
        return left

    def say(self, text: str) -> None:
        """Prints a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, job: Job, begins: bool) -> None:
        """Shows that a job starts or has ended."""

    def refresh(self, begun: _RunningJob) -> None:
        """Shows that the state of a job has changed."""

    def _choose(self, unit: Unit, selection: Selection) -> None:
        counts = self.counts[unit.key]
        counts.diverged = selection.diverged
        counts.again = len(selection.finalists) * self.study.finalist_seeds
        if selection.trial is None:
            counts.best, counts.wanted = "no trial survived", 0
        elif not counts.planned:
            counts.best = "not tuned"
        else:
            value = self._value(self.judged[unit.workload.name], selection.value)
            among = f", of {len(selection.finalists)} finalists" if selection.finalists else ""
            counts.best = f"{value} (trial {selection.trial}{among})"

    def _value(self, judged: Measure, value: float | None) -> str:
        if value is None:
            return "target not reached" if self.study.select == STEPS else "–"
        return f"{value:,.0f}" if self.study.select == STEPS else judged.metric.format(value)

    def _left(self) -> str:
        seconds = self.seconds_left()
        return "" if not seconds else f"; about {format_duration(seconds)} to go"


class StudyLines(DisplayedProgress):
    """A line when a job starts, a line every `every` seconds during the job, and once an early estimate of the time."""

    def __init__(self, console: Console, every: float = 60.0):
        super().__init__(console)
        self.every = every
        self.last = time.monotonic()
        self.first_timed: float | None = None
        self.estimated = False

    def say(self, text: str) -> None:
        """See `DisplayedProgress.say`."""
        self.last = time.monotonic()
        super().say(text)

    def show(self, job: Job, begins: bool) -> None:
        """See `DisplayedProgress.show`."""
        if begins and job.kind != "timing":
            self.say(f"{job.unit.label}: {_many(job)}{self._left()}")

    def refresh(self, begun: _RunningJob) -> None:
        """See `DisplayedProgress.refresh`."""
        if begun.left and not self.estimated:
            now = time.monotonic()
            self.first_timed = self.first_timed or now
            if now - self.first_timed >= ESTIMATE_AFTER and (left := self.seconds_left()):
                self.estimated = True
                self.say(f"  about {format_duration(left)} of training to go")
        if time.monotonic() - self.last > self.every:
            diverged = self.counts[begun.job.unit.key].diverged
            lost = f", {diverged} diverged" if diverged and begun.job.kind == "trial" else ""
            self.say(f"{begun.job.unit.label}: {_many(begun.job)}, {begun.where}{lost}{self._left()}")


class StudyBars(DisplayedProgress):
    """A line for each selection, and bars below: one for each running job, and one for the whole study.

    This fits 80 columns and a terminal of any height, for any number of optimizers and workloads.
    """

    def start(self, study: Study, folder: StudyFolder, own: UnitTrials, judged: Mapping[str, Measure]) -> None:
        """See `Progress.start`."""
        super().start(study, folder, own, judged)
        self.live = LiveDisplay(self._bars, self.console)
        self.live.start()

    def stop(self) -> None:
        """See `Progress.stop`."""
        if hasattr(self, "live"):
            self.live.stop()

    def _bars(self) -> Group:
        bars = Table.grid(padding=(0, 1), expand=True)
        bars.add_column(ratio=1)
        bars.add_column(no_wrap=True)
        lines: list[RenderableType] = []
        done, all_runs = self._runs()
        for begun in list(self.begun.values())[:MOST_JOBS]:
            job = begun.job
            share = begun.epochs / job.epochs if job.epochs else 0.0
            done += share * len(job.runs) if job.kind != "timing" else 0
            diverged = self.counts[job.unit.key].diverged
            lost = f", {diverged} diverged" if diverged and job.kind == "trial" else ""
            lines.append(Text(f"{job.unit.label}: {_many(job)}{lost}", no_wrap=True, overflow="ellipsis"))
            bars.add_row(ProgressBar(1.0, share), begun.where)
        bars.add_row(ProgressBar(max(all_runs, 1), done), f"{int(done):,} of {all_runs:,} runs{self._left()}")
        return Group(*lines, bars)

    def _runs(self) -> tuple[float, int]:
        """Returns the number of this process's runs that have ended, and the total number of its runs."""
        done, planned = 0.0, 0
        for key, own in self.own.items():
            counts = self.counts[key]
            done += counts.done * (own / counts.planned if counts.planned else 0.0) + counts.repeated + counts.confirmed
            planned += own + counts.again + counts.wanted
        return done, planned


def progress_for(console: Console) -> DisplayedProgress:
    """Returns bars for a terminal, or plain lines for a file or a notebook; see `reporter_for`."""
    return StudyBars(console) if console.is_terminal else StudyLines(console)


class _JobReporter(Reporter):
    """Receives the progress of a population, and messages about members that diverge."""

    def __init__(self, shown: DisplayedProgress, begun: _RunningJob, counts: UnitCounts):
        self.shown, self.begun, self.counts = shown, begun, counts

    def start(self, title: str, step: int, steps: int, steps_per_epoch: int, metrics: Sequence[Metric]) -> None:
        """See `Reporter.start`."""
        self.steps_per_epoch, self.epochs = steps_per_epoch, steps // steps_per_epoch
        if self.begun.left is None:
            self.begun.first = step / steps_per_epoch

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """See `Reporter.advance`."""
        self.begun.epochs, self.begun.left = step / self.steps_per_epoch, seconds_left
        self.begun.where = f"epoch {self.begun.epochs:.1f} of {self.epochs}"
        self.shown.refresh(self.begun)

    def report_divergence(self, message: str) -> None:
        """See `Reporter.report_divergence`."""
        self.counts.diverged += 1
        self.shown.refresh(self.begun)


def _describe_runs(study: Study) -> str:
    """Returns the numbers of runs of each contender, in words."""
    parts = []
    if any(contender.searched for contender in study.contenders):
        parts.append(describe_budget(study))
        if study.finalists:
            parts.append(f"{study.finalists} finalists with {_seeds(study.finalist_seeds, 'other')}")
    return join_words([*parts, _seeds(study.seeds, "confirmation")])


def _seeds(count: int, kind: str) -> str:
    return format_count(count, f"{kind} seed")


def _many(job: Job) -> str:
    if job.kind == "timing":
        return "measuring the time of a step"
    end = "s" * (len(job.runs) != 1)
    words = {"trial": f"trial{end}", "finalist": f"re-run{end} of finalists", "confirmation": f"confirmation{end}"}
    until = f" up to epoch {job.until_epoch}" if job.until_epoch is not None else ""
    trials = len({run.trial for run in job.runs})
    if job.kind == "trial" and trials < len(job.runs):
        return f"{len(job.runs)} runs of {format_count(trials, 'trial')}{until}"
    return f"{len(job.runs)} {words[job.kind]}{until}"
