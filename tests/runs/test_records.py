"""The metrics file: incomplete lines, resumed runs, and the values that are derived from it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.records import MetricsFile, at_step, best_step, mean_over_epoch, read_metrics
from jaxopt_bench.strict_json import finite_or_none

NAMES = ("loss", "accuracy")


def line(step: int, split: str = "train_steps", **values) -> dict:
    return {"step": step, "split": split, "steps": 1, "loss": 1.0, "accuracy": 0.5, "seconds": 0.1, **values}


def test_an_incomplete_last_line_is_dropped_and_the_others_are_kept(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path, 0).append([line(1), line(2)])
    with path.open("a") as file:
        file.write('{"step": 3, "spl')
    assert read_metrics(path) == [line(1), line(2)]
    MetricsFile(path, 2).append([line(3)])
    assert [json.loads(text)["step"] for text in path.read_text().splitlines()] == [1, 2, 3]


def test_opening_drops_the_lines_after_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    MetricsFile(path, 0).append([line(1), line(2), line(3)])
    assert MetricsFile(path, 2).records == [line(1), line(2)]
    assert read_metrics(path) == [line(1), line(2)]


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"split": "train"}', '{"step": "one"}', '{"step": 2}', "NaN"])
def test_a_damaged_line_is_named(tmp_path, text):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps(line(1)) + "\n" + text + "\n" + json.dumps(line(3)) + "\n")
    with pytest.raises(UserError, match="line 2 is damaged"):
        read_metrics(path)


def test_an_absent_file_has_no_lines(tmp_path):
    assert read_metrics(tmp_path / "absent") == []


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10), st.floats(0, 1)), min_size=1, max_size=20))
def test_the_mean_over_an_epoch_weighs_lines_by_their_steps(parts):
    lines, step = [line(100, steps=7, loss=99.0, accuracy=0.5, seconds=1.0)], 100
    for steps, loss, accuracy in parts:
        step += steps
        lines.append(line(step, steps=steps, loss=loss, accuracy=accuracy, seconds=1.0))
    total = sum(steps for steps, _, _ in parts)
    mean = mean_over_epoch(lines, 100, NAMES)
    assert mean["loss"] == pytest.approx(sum(s * x for s, x, _ in parts) / total)
    assert mean["accuracy"] == pytest.approx(sum(s * x for s, _, x in parts) / total)
    assert mean["seconds"] == len(parts)


def test_the_mean_over_lines_of_which_one_is_not_finite_is_none():
    lines = [
        line(10, steps=10, loss=1.0, accuracy=0.5, seconds=1.0),
        line(20, steps=10, loss=None, accuracy=0.1, seconds=1.0),
    ]
    mean = mean_over_epoch(lines, 0, NAMES)
    assert mean["loss"] is None
    assert mean["accuracy"] == pytest.approx(0.3)


def test_the_best_step_is_the_earlier_of_equals_and_none_without_validation():
    losses = {10: 0.5, 20: 0.3, 30: 0.3, 40: None}
    lines = [line(step, "validation", loss=loss) for step, loss in losses.items()]
    assert best_step(lines) == 20
    assert best_step([line(10, "test", loss=0.1)]) is None


def test_splits_not_measured_are_none():
    values = at_step([line(5, "test", loss=1.0, accuracy=0.5), line(6, "validation", loss=9.0, accuracy=0.1)], 5, NAMES)
    assert values["test_accuracy"] == 0.5
    assert values["validation_loss"] is None


def test_only_finite_numbers_reach_json():
    assert (finite_or_none(1.5), finite_or_none(float("nan")), finite_or_none(float("inf"))) == (1.5, None, None)
