"""The progress that is shown while a run trains."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from jaxopt_bench.formatting import format_duration
from jaxopt_bench.problems import Metric
from jaxopt_bench.problems.classification import classification_metrics
from jaxopt_bench.runs import LineReporter, LiveReporter
from jaxopt_bench.runs.progress import Reporter, median_lines, reporter_for

METRICS = classification_metrics(10)
NAMES = ("accuracy", "loss")


def drive(reporter: Reporter) -> None:
    """Reports the first of two epochs to a reporter."""
    reporter.start("an_experiment: 10 parameters", 0, 200, 100, METRICS)
    reporter.advance(50, 1234.0, 75.0)
    reporter.report_metrics([{"step": 50, "epoch": 0.5, "split": "train_steps", "loss": 1.5, "accuracy": 0.25}])
    reporter.advance(100, 1234.0, 60.0)
    reporter.report_metrics(
        [
            {"step": 100, "epoch": 1.0, "split": "train", "loss": 1.25, "accuracy": 0.5},
            {"step": 100, "epoch": 1.0, "split": "validation", "loss": None, "accuracy": 0.75},
        ]
    )
    reporter.say("about [bold] to end")
    reporter.stop()


def test_lines_are_plain_text_with_one_line_per_epoch():
    out = io.StringIO()
    drive(LineReporter(Console(file=out, width=200)))
    assert out.getvalue().splitlines() == [
        "an_experiment: 10 parameters",
        "epoch 1/2  train 1.2500 50.00%  validation – 75.00%  1,234 examples/s, 1 min left",
        "about [bold] to end",
    ]


def test_a_headline_metric_that_is_not_a_percentage_has_its_name_and_unit():
    out = io.StringIO()
    lines = LineReporter(Console(file=out, width=200))
    error = Metric(name="rms_error", words="RMS error", unit="N")
    for metrics in ((error, Metric(name="loss", unit="N²")), (Metric(name="loss"),)):
        lines.start("springs", 0, 100, 100, metrics)
        lines.report_metrics([{"step": 100, "epoch": 1.0, "split": "validation", "loss": 1.5, "rms_error": 0.25}])
    assert out.getvalue().splitlines() == [
        "springs",
        "epoch 1/1  validation 1.5000 RMS error 0.2500 N",
        "springs",
        "epoch 1/1  validation 1.5000",
    ]


def test_lines_are_also_printed_within_long_epochs():
    out = io.StringIO()
    drive(LineReporter(Console(file=out, width=200), every=0.0))
    assert "step 50/200    1,234 examples/s, 1 min left" in out.getvalue()


@pytest.mark.parametrize(("width", "latest"), [(200, True), (80, False)])
def test_the_live_display_has_a_line_per_epoch_and_a_progress_bar(width, latest):
    out = io.StringIO()
    live = LiveReporter(Console(file=out, width=width, force_terminal=True, color_system=None))
    drive(live)
    lines = [line.strip("\r") for line in re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "", out.getvalue()).splitlines()]
    assert "epoch 1/2  train 1.2500 50.00%  validation – 75.00%" in [line.rstrip() for line in lines]
    (bar,) = {line for line in lines if line.startswith("epoch 1/2 ━") and "50%" in line}
    assert len(bar.rstrip()) <= width
    assert "1,234 examples/s  1 min left" in bar
    assert ("train 1.5000 25.00%" in bar) == latest


def test_a_terminal_gets_the_live_display_and_a_file_plain_lines():
    assert isinstance(reporter_for(Console(file=io.StringIO())), LineReporter)
    assert isinstance(reporter_for(Console(file=io.StringIO(), force_terminal=True)), LiveReporter)


def test_a_population_shows_the_medians_of_finite_values():
    lines = [[{"step": 5, "split": "train", "loss": loss, "accuracy": 0.5}] for loss in (1.0, None, 4.0, 2.0)]
    medians = {"step": 5, "split": "train", "loss": 2.0, "accuracy": 0.5, "runs": 4}
    assert median_lines(lines, NAMES) == [medians]
    assert median_lines(lines[1:2], NAMES) == lines[1]
    assert median_lines(lines[1:2] * 2, NAMES) == [{**medians, "loss": None, "runs": 2}]
    assert median_lines([], NAMES) == []
    out = io.StringIO()
    shown = LineReporter(Console(file=out, width=200))
    shown.start("a population", 0, 200, 100, METRICS)
    shown.report_metrics([{**medians, "epoch": 1.0}])
    assert "epoch 1/2, median of 4 runs  train 2.0000 50.00%" in out.getvalue()


@pytest.mark.parametrize("reporter", [LineReporter, LiveReporter])
def test_nothing_is_shown_for_an_epoch_of_a_population_without_active_members(reporter):
    texts = []
    for epochs in ([], [[]]):
        out = io.StringIO()
        shown = reporter(Console(file=out, width=200))
        shown.start("a population", 0, 200, 100, METRICS)
        for records in epochs:
            shown.report_metrics(records)
        shown.stop()
        texts.append(out.getvalue())
    assert texts[0].startswith("a population\n")
    assert texts[1] == texts[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h 00 min"), (5400, "1 h 30 min"), (900_000, "10.4 days")],
)
def test_durations_are_readable(seconds, text):
    assert format_duration(seconds) == text
