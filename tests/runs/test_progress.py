"""What a person sees while a run trains."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jaxopt_bench.formatting import format_duration
from jaxopt_bench.problems import Metric
from jaxopt_bench.problems.classification import classification_metrics
from jaxopt_bench.runs import Lines, Live
from jaxopt_bench.runs.progress import Reporter, median_lines, reporter_for

METRICS = classification_metrics(10)
NAMES = ("accuracy", "loss")


def drive(reporter: Reporter) -> None:
    """Tells a reporter of one epoch of two."""
    reporter.start("an_experiment: 10 parameters", 0, 200, 100, METRICS)
    reporter.advance(50, 1234.0, 75.0)
    reporter.measured([{"step": 50, "epoch": 0.5, "split": "train_steps", "loss": 1.5, "accuracy": 0.25}])
    reporter.advance(100, 1234.0, 60.0)
    reporter.measured(
        [
            {"step": 100, "epoch": 1.0, "split": "train", "loss": 1.25, "accuracy": 0.5},
            {"step": 100, "epoch": 1.0, "split": "validation", "loss": None, "accuracy": 0.75},
        ]
    )
    reporter.say("about [bold] to end")
    reporter.stop()


def test_lines_are_plain_text_one_an_epoch():
    out = io.StringIO()
    drive(Lines(Console(file=out, width=200)))
    assert out.getvalue().splitlines() == [
        "an_experiment: 10 parameters",
        "epoch 1/2  train 1.2500 50.00%  validation – 75.00%  1,234 examples/s, 1 min left",
        "about [bold] to end",
    ]


def test_a_headline_metric_that_is_no_percentage_has_its_name_and_unit():
    out = io.StringIO()
    lines = Lines(Console(file=out, width=200))
    error = Metric(name="rms_error", words="RMS error", unit="N")
    for metrics in ((error, Metric(name="loss", unit="N²")), (Metric(name="loss"),)):
        lines.start("springs", 0, 100, 100, metrics)
        lines.measured([{"step": 100, "epoch": 1.0, "split": "validation", "loss": 1.5, "rms_error": 0.25}])
    assert out.getvalue().splitlines() == [
        "springs",
        "epoch 1/1  validation 1.5000 RMS error 0.2500 N",
        "springs",
        "epoch 1/1  validation 1.5000",
    ]


def test_lines_come_within_long_epochs_as_well():
    out = io.StringIO()
    drive(Lines(Console(file=out, width=200), every=0.0))
    assert "step 50/200    1,234 examples/s, 1 min left" in out.getvalue()


def test_the_live_display_shows_epoch_step_speed_metrics_and_time_left():
    out = io.StringIO()
    drive(Live(Console(file=out, width=200, force_terminal=True, color_system=None)))
    text = out.getvalue()
    for part in ("epoch 1/2", "step 100/200", "1,234 examples/s", "1 min left", "train 1.5000 25.00%", "validation"):
        assert part in text


def test_a_terminal_gets_the_live_display_and_a_file_plain_lines():
    assert isinstance(reporter_for(Console(file=io.StringIO())), Lines)
    assert isinstance(reporter_for(Console(file=io.StringIO(), force_terminal=True)), Live)


def test_a_population_shows_the_medians_of_what_is_finite():
    lines = [[{"step": 5, "split": "train", "loss": loss, "accuracy": 0.5}] for loss in (1.0, None, 4.0, 2.0)]
    assert median_lines(lines, NAMES) == [{"step": 5, "split": "train", "loss": 2.0, "accuracy": 0.5}]
    assert median_lines(lines[1:2], NAMES) == lines[1]
    assert median_lines(lines[1:2] * 2, NAMES) == [{"step": 5, "split": "train", "loss": None, "accuracy": 0.5}]
    assert median_lines([], NAMES) == []


@pytest.mark.parametrize("reporter", [Lines, Live])
def test_a_population_without_members_left_shows_nothing(reporter):
    shown = reporter(Console(file=io.StringIO()))
    shown.start("a population", 0, 200, 100, METRICS)
    shown.measured([])
    shown.stop()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.2, "3 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h 00 min"), (5400, "1 h 30 min"), (900_000, "10.4 days")],
)
def test_durations_are_readable(seconds, text):
    assert format_duration(seconds) == text
