"""Shows the progress of training: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live as RichLive
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from jaxopt_bench.formatting import format_duration
from jaxopt_bench.problems import LOSS, Metric, metric_named
from jaxopt_bench.runs import signals
from jaxopt_bench.runs.records import MetricsLine

WIDE = 110
"""The number of columns from which on a terminal has room for the latest loss beside the bar."""
ECHO = 3
"""The number of columns that are left free at the end of a display's lines. When a user stops a run, the terminal shows
^C there; without free columns it would move the display down by a line."""


class Reporter:
    """Receives the progress of a run, and shows nothing. Steps count from the start of training, not of the process."""

    def start(self, title: str, step: int, steps: int, steps_per_epoch: int, metrics: Sequence[Metric]) -> None:
        """Called when a run starts or is resumed at a step. The first metric is the headline."""

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """Called after some steps."""

    def report_metrics(self, records: Sequence[MetricsLine]) -> None:
        """Called when lines were added to the metrics: one line for some steps, or all lines at the end of an epoch.

        For a population, the lines are the medians over its members; [] if no member is active.
        """

    def say(self, message: str) -> None:
        """Called with a message that is shown on a line of its own."""

    def report_divergence(self, message: str) -> None:
        """Called when a run diverges."""
        self.say(message)

    def stop(self) -> None:
        """Called when the run ends for any reason."""


class LineReporter(Reporter):
    """Prints a line for each epoch, and one every `every` seconds within an epoch."""

    shows_speed: ClassVar[bool] = True  # in the lines of epochs

    def __init__(self, console: Console, every: float = 60.0):
        self.console = console
        self.every = every
        self.last = time.monotonic()
        self.latest: Sequence[MetricsLine] = []
        self.speed = ""

    def start(self, title: str, step: int, steps: int, steps_per_epoch: int, metrics: Sequence[Metric]) -> None:
        """Prints the title of the run."""
        self.steps, self.steps_per_epoch, self.metrics = steps, steps_per_epoch, metrics
        self.say(title)

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """Prints a line if enough time has passed since the last one."""
        self.speed = f"{examples_per_second:,.0f} examples/s, {format_duration(seconds_left)} left"
        if time.monotonic() - self.last > self.every:
            self._line(f"step {step:,}/{self.steps:,}  {_splits(self.latest, self.metrics)}  {self.speed}")

    def report_metrics(self, records: Sequence[MetricsLine]) -> None:
        """Prints the line of an epoch."""
        if not records:
            return
        self.latest = records[:1]
        split, epoch = records[0]["split"], records[0]["epoch"]
        if split != "train_steps":
            several = f", median of {records[0]['runs']} runs" if "runs" in records[0] else ""
            where = f"epoch {epoch:g}/{self.steps // self.steps_per_epoch}{several}"
            measured_while_training = split == "train"  # the test split is evaluated after all training
            speed = f"  {self.speed}" if self.shows_speed and measured_while_training else ""
            self._line(f"{where}  {_splits(records, self.metrics)}{speed}")

    def say(self, message: str) -> None:
        """Prints the message."""
        self._line(message)

    def _line(self, text: str) -> None:
        self.last = time.monotonic()
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay:
    """A live display at the end of a terminal, which also shows that the process was asked to stop.

    If the signal handler itself wrote this message, the display would overwrite it.
    """

    def __init__(self, shown: Callable[[], RenderableType], console: Console):
        """Makes the display.

        Args:
          shown: returns the current content of the display. It is called in another thread, four times a second.
          console: the terminal.
        """
        self._shown, self._console, self._notice = shown, console, ""
        self._live = RichLive(console=console, get_renderable=self._all, refresh_per_second=4)

    def start(self) -> None:
        """Starts the display."""
        signals.NOTICES.append(self._take)
        self._live.start()

    def stop(self) -> None:
        """Stops the display; its last content stays on the terminal."""
        if self._take in signals.NOTICES:
            signals.NOTICES.remove(self._take)
        self._live.stop()  # also if the content cannot be rendered: its thread must end

    @property
    def is_started(self) -> bool:
        """Whether the display is shown now."""
        return self._live.is_started

    def _take(self, notice: str) -> None:
        self._notice = notice

    def _all(self) -> RenderableType:
        shown = Constrain(self._shown(), self._console.width - ECHO)
        return Group(shown, self._notice) if self._notice else shown


class LiveReporter(LineReporter):
    """Prints a line for each epoch. Below, a bar shows the progress, the speed and the remaining time.

    The display fits 80 columns. If there is room, the loss of the latest steps is shown beside the bar.
    """

    shows_speed = False

    def __init__(self, console: Console):
        super().__init__(console)
        self.progress = Progress(
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[metrics]}"),
            expand=True,
        )
        self.live = LiveDisplay(self.progress.get_renderable, console)

    def start(self, title: str, step: int, steps: int, steps_per_epoch: int, metrics: Sequence[Metric]) -> None:
        """Prints the title of the run and shows the bar."""
        super().start(title, step, steps, steps_per_epoch, metrics)
        self.task = self.progress.add_task("", total=steps, completed=step, epoch="compiling", speed="", metrics="")
        self.live.start()

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """Updates the bar."""
        epochs = self.steps // self.steps_per_epoch
        epoch = max(1, math.ceil(step / self.steps_per_epoch))
        speed = f"{examples_per_second:,.0f} examples/s  {format_duration(seconds_left)} left"
        self.progress.update(self.task, completed=step, epoch=f"epoch {epoch}/{epochs}", speed=speed)

    def report_metrics(self, records: Sequence[MetricsLine]) -> None:
        """Prints the line of an epoch above the bar, and shows the latest loss beside the bar."""
        super().report_metrics(records)
        latest = [record for record in records if record["split"] == "train_steps"]
        if latest and self.console.width >= WIDE:
            self.progress.update(self.task, metrics=_splits(latest, self.metrics))

    def stop(self) -> None:
        """Stops the bar; its last state stays on the terminal."""
        self.live.stop()


def reporter_for(console: Console) -> Reporter:
    """Returns the live display for a terminal, and plain lines for a file or a notebook.

    In a notebook, rich's live displays show nothing without ipywidgets, and with ipywidgets they erase the messages.
    """
    return LiveReporter(console) if console.is_terminal else LineReporter(console)


def median_lines(lines: Sequence[Sequence[MetricsLine]], names: Sequence[str]) -> Sequence[MetricsLine]:
    """Returns lines to show for several runs: the medians over their lines of the same steps and splits.

    These lines have the field `runs`, the number of runs. The lines of a single run are returned unchanged.

    Args:
      lines: the lines of each run.
      names: the names of the metrics.
    """
    if len(lines) < 2:
        return lines[0] if lines else []
    shown = []
    for same in zip(*lines, strict=True):
        medians = {}
        for name in names:
            values = [record[name] for record in same if record.get(name) is not None]
            medians[name] = statistics.median(values) if values else None
        shown.append({**same[0], **medians, "runs": len(lines)})
    return shown


def _splits(records: Sequence[MetricsLine], metrics: Sequence[Metric]) -> str:
    """Returns the loss and the headline metric of each split."""
    names = {"train_steps": "train", "train_clean": "clean"}
    loss = metric_named(metrics, LOSS)
    shown = [metric for metric in dict.fromkeys([loss, metrics[0]]) if metric is not None]
    parts = []
    for record in records:
        values = " ".join(_value(metric, record.get(metric.name)) for metric in shown)
        parts.append(f"{names.get(record['split'], record['split'])} {values}")
    return "  ".join(parts)


def _value(metric: Metric, value: float | None) -> str:
    """Returns a value as text: the loss without its unit, a percentage, or another metric with its name and unit."""
    text = metric.format(value)
    return text if metric.name == LOSS or metric.percent else f"{metric.words} {text} {metric.unit}".rstrip()
