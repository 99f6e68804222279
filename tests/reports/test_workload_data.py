"""The data of charts: means with bands, thinned curves, and names for runs outside studies."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.problems import Metric
from jaxopt_bench.reports.html import Items
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.workload_data import bands, split_runs, split_study, thin_out, with_series
from jaxopt_bench.results import Results, describe_repeats, drop_repeated_runs
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.statistics import estimate
from jaxopt_bench.verdict import verdict
from tests.reports.builders import ACCURACY, ENERGY, R2, make_results, make_study

values = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 6))


@given(
    st.lists(st.lists(values, min_size=1, max_size=19), min_size=1, max_size=4),
    st.sampled_from([(None, None), (0.0, None), (0.0, 100.0), (None, 100.0), (20.0, None), (None, 60.0), (20.0, 60.0)]),
)
def test_bands_are_the_estimates_of_each_epoch(epochs: list[list[float]], limits: tuple[float | None, float | None]):
    curves = pl.DataFrame(
        [
            {
                "series": "a",
                "repetition": 0,
                "epoch": float(epoch),
                "step": epoch,
                "seconds": 2.0 * epoch,
                "value": each,
            }
            for epoch, seeds in enumerate(epochs)
            for each in seeds
        ]
    )
    least, greatest = limits
    found = bands(curves, limits).sort("epoch")
    for row, seeds in zip(found.to_dicts(), epochs, strict=True):
        one = estimate(seeds, least=least, greatest=greatest)
        assert row["mean"] == pytest.approx(one.mean, rel=1e-9, abs=1e-9)
        assert row["seeds"] == len(seeds)
        if len(seeds) == 1:
            assert (row["low"], row["high"]) == (None, None)
        else:
            assert row["low"] == pytest.approx(one.low, rel=1e-6, abs=1e-6)
            assert row["high"] == pytest.approx(one.high, rel=1e-6, abs=1e-6)


def test_each_repetition_is_one_value_of_a_band():
    rows = [
        {"series": "a", "repetition": r, "epoch": 1.0, "step": 1, "seconds": 1.0, "value": loss}
        for r, losses in enumerate([[1.0, 2.0, 3.0], [4.0, 6.0]])
        for loss in losses
    ]
    (row,) = bands(pl.DataFrame(rows), (0.0, None)).to_dicts()
    one = estimate([2.0, 5.0], least=0.0)
    assert (row["mean"], row["seeds"]) == (one.mean, 2)
    assert row["low"] == pytest.approx(one.low)


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(-9, 9), min_size=1, max_size=120), min_size=1),
    st.integers(4, 40),
)
def test_thinning_keeps_ends_and_extremes_and_limits_the_number_of_points(series: dict[str, list[int]], most: int):
    rows = [{"series": n, "x": x, "y": float(y)} for n, ys in series.items() for x, y in enumerate(ys)]
    found = thin_out(pl.DataFrame(rows), ["series"], "y", most)
    for name, ys in series.items():
        kept = found.filter(pl.col("series") == name)
        assert len(kept) <= max(most, 4)
        assert kept["x"].is_sorted()
        assert [ys[x] for x in kept["x"]] == kept["y"].to_list()
        assert (kept["x"][0], kept["x"][-1]) == (0, len(ys) - 1)
        assert (kept["y"].min(), kept["y"].max()) == (min(ys), max(ys))
        if len(ys) <= most:
            assert len(kept) == len(ys)


def test_subjects_of_a_study_are_its_workloads_with_the_best_contender_first():
    study = make_study(["adam", "sgd", "nadam"])
    results, document = make_results(study)
    (subject,) = split_study(results, document, verdict(results, document))
    assert subject.series == ("nadam", "sgd", "adam")  # the losses of later contenders fall faster
    assert set(subject.curves["phase"]) == {"confirmation"}
    assert len(subject.trials) == 3 * 4
    assert len(subject.final_runs) == 3 * 5


def test_a_diverged_classifier_has_the_accuracy_of_chance_as_in_the_verdict():
    study = make_study(["adam", "sgd"])
    results, document = make_results(study)
    lost = (pl.col("phase") == "confirmation") & (pl.col("seed") == 5000) & (pl.col("contender") == "sgd")
    runs = results.runs.with_columns(
        pl.when(lost).then(pl.lit("diverged")).otherwise("status").alias("status"),
        pl.when(lost).then(None).otherwise("final.test_accuracy").alias("final.test_accuracy"),
    )
    results = dataclasses.replace(results, runs=runs)
    found = verdict(results, document)
    (subject,) = split_study(results, document, found)
    standing = found.rankings[0].standing("sgd")
    assert standing is not None
    own = subject.final_runs.filter(pl.col("series") == "sgd")["test_accuracy"]
    assert own.mean() == pytest.approx(standing.results["test_accuracy"].mean)
    assert own.min() == 0.1


def test_runs_outside_studies_are_named_by_the_fields_that_differ():
    runs = pl.DataFrame(
        {
            "optimizer.name": ["sgd", "sgd", "adam"],
            "optimizer.learning_rate": [0.1, 0.01, 0.001],
            "optimizer.momentum": [0.9, 0.9, None],
            "schedule.name": ["cosine", "constant", "cosine"],
            "epochs": [3, 3, 3],
        }
    )
    found, note = with_series(runs)
    assert set(found["series"]) == {"sgd, learning_rate 0.1, cosine", "sgd, learning_rate 0.01, constant", "adam"}
    assert (note, found["shown"].all()) == ("", True)


def test_with_many_settings_only_runs_of_each_optimizers_best_one_are_shown():
    rates = [0.1 / (i + 1) for i in range(10)]
    runs = pl.DataFrame(
        {
            "optimizer.name": ["sgd"] * 20,
            "optimizer.learning_rate": rates * 2,
            "seed": [0] * 10 + [1] * 10,
            "final.validation_loss": [abs(rate - rates[4]) for rate in rates] * 2,
        }
    )
    found, note = with_series(runs)
    assert set(found["series"]) == {"sgd"}
    assert found.filter("shown")["optimizer.learning_rate"].to_list() == [rates[4]] * 2
    assert "There are 10 settings" in note
    assert "sgd, learning_rate 0.02" in note


def test_a_fresh_run_or_a_copy_does_not_count_as_another_seed():
    results, _ = make_results(make_study(["adam", "sgd"]))
    none = [pl.lit(None, pl.String).alias(name) for name in ("study", "phase", "workload", "contender")]
    one = results.runs.head(1).with_columns(*none, path=pl.lit("runs/a/0123"))
    again = one.with_columns(path=pl.lit("runs/a/0123.2"))
    copied = one.with_columns(path=pl.lit("runs/b/0123"))
    for runs, kept in (
        ([again, one], "runs/a/0123.2"),
        ([one, copied], "runs/b/0123"),
        ([again, copied, one], "runs/a/0123.2"),
    ):
        found, repeats = drop_repeated_runs(dataclasses.replace(results, runs=pl.concat(runs)))
        assert (found.runs["path"].to_list(), repeats) == ([kept], len(runs) - 1)
        page = report_of(dataclasses.replace(results, runs=pl.concat(runs)), "made")
        (said, *_) = page.sections[-1].blocks
        assert isinstance(said, Items)
        assert said.sentences[-1] == f"{describe_repeats(len(runs) - 1)} left out"


def test_a_copy_of_a_study_is_left_out():
    results, document = make_results(make_study(["adam", "sgd"]))
    copied = results.runs.with_columns(path="copy/" + pl.col("path"))
    both = dataclasses.replace(results, runs=pl.concat([results.runs, copied]), documents=(document, document))
    found, repeats = drop_repeated_runs(both)
    assert found.runs["path"].to_list() == copied["path"].to_list()
    assert (repeats, found.documents) == (len(copied), (document,))
    lines = pl.concat([results.curves, results.curves.with_columns(path="copy/" + pl.col("path"))])
    again, _ = drop_repeated_runs(dataclasses.replace(both, curves=lines))
    assert again.curves["path"].to_list() == lines["path"][len(results.curves) :].to_list()
    assert report_of(both, "made").title == "made"


def loose(*changes: dict[str, object], metrics: Sequence[Metric] = ACCURACY) -> Results:
    """Returns the runs of a study as runs outside studies: one copy for each change, with the changed columns."""
    results, _ = make_results(make_study(["adam", "sgd"], trials=1), metrics=metrics)
    names = ("study", "phase", "workload", "contender")
    none = results.runs.with_columns(pl.lit(None, pl.String).alias(name) for name in names)
    runs, curves = [], []
    for i, change in enumerate(changes):
        paths = pl.concat_str(pl.lit(f"{i}/"), "path").alias("path")
        others = [pl.lit(value).alias(name) for name, value in change.items()]
        runs.append(none.with_columns(paths, *others))
        curves.append(results.curves.with_columns(paths))
    return Results(pl.concat(runs, how="diagonal"), pl.concat(curves))


def test_runs_outside_studies_are_grouped_by_their_problem():
    (subject,) = split_runs(loose({"dataset": "digits"}))
    assert subject.workload == "digits_cnn"
    assert set(subject.runs["phase"]) == {"run"}
    several = split_runs(
        loose(
            {"dataset": "digits", "label_smoothing": 0.0},
            {"dataset": "digits", "label_smoothing": 0.1},
            {"dataset": "mnist", "label_smoothing": 0.1},
            {"problem.name": "springs", "dataset": None, "model.name": None, "stiffness": 2.0},
            {"problem.name": "file.py:pendulum", "dataset": None, "model.name": None, "problem.length": 3},
        )
    )
    assert [each.workload for each in several] == [
        "digits_cnn, label_smoothing 0",
        "digits_cnn, label_smoothing 0.1",
        "mnist_cnn",
        "springs",
        "file.py:pendulum",
    ]


def test_runs_with_different_epochs_are_settings_of_one_problem():
    (subject,) = split_runs(loose({"dataset": "digits", "epochs": 3}, {"dataset": "digits", "epochs": 4}))
    assert {series.rpartition(", ")[2] for series in subject.series} == {"epochs 3", "epochs 4"}


@pytest.mark.parametrize("metrics", [ACCURACY, ENERGY, R2])
def test_the_best_series_comes_first_in_the_direction_of_the_metric(metrics: Sequence[Metric]):
    (subject,) = split_runs(loose({"optimizer.learning_rate": 0.1}, metrics=metrics))
    assert subject.series == ("sgd", "adam")  # the loss of sgd falls faster
    assert subject.headline is not None
    assert subject.headline.name == f"test_{metrics[0].name}"


@pytest.mark.parametrize("splits", [SPLITS, SPLITS[:3], SPLITS[:2]])
def test_without_test_results_validation_or_clean_training_results_are_used(splits: Sequence[str]):
    study = make_study(["adam", "sgd"])
    results, document = make_results(study, metrics=ENERGY, splits=splits)
    (subject,) = split_study(results, document, verdict(results, document))
    expected = {4: "test", 3: "validation", 2: "train_clean"}[len(splits)]
    names = ("study", "phase", "workload", "contender")
    none = results.runs.with_columns(pl.lit(None, pl.String).alias(name) for name in names)
    (alone,) = split_runs(Results(none, results.curves))
    for each in (subject, alone):
        assert each.headline is not None
        assert each.headline.name == f"{expected}_energy_error"


@pytest.mark.parametrize("metrics", [ENERGY, R2])
def test_a_confirmation_that_diverged_counts_as_an_untrained_model(metrics: Sequence[Metric]):
    results, document = make_results(make_study(["adam", "sgd"]), metrics=metrics)
    lost = (pl.col("phase") == "confirmation") & (pl.col("seed") == 5000) & (pl.col("contender") == "sgd")
    measures = [pl.when(~lost).then(pl.col(n)).alias(n) for n in results.runs.columns if n.startswith("final.test_")]
    status = pl.when(lost).then(pl.lit("diverged")).otherwise("status").alias("status")
    results = dataclasses.replace(results, runs=results.runs.with_columns(status, *measures))
    (subject,) = split_study(results, document, found := verdict(results, document))
    (reached,) = subject.final_runs.filter(pl.col("status") == "diverged").to_dicts()
    for metric in metrics:
        assert reached[f"test_{metric.name}"] == metric.untrained
    standing = found.rankings[0].standing("sgd")
    assert standing is not None
    own = subject.final_runs.filter(pl.col("series") == "sgd")[f"test_{metrics[0].name}"]
    assert own.mean() == pytest.approx(standing.results[f"test_{metrics[0].name}"].mean)


def test_runs_of_finalists_are_neither_trials_nor_results_and_have_no_curves():
    results, document = make_results(make_study(["adam", "sgd"]))
    (subject,) = split_study(results, document, verdict(results, document))
    phases = dict(subject.runs.group_by("phase").len().rows())
    assert phases == {"trial": 2 * 4, "finalist": 2 * 3 * 2, "confirmation": 2 * 5}
    assert set(subject.trials["phase"]) == {"trial"}
    assert set(subject.final_runs["phase"]) == set(subject.curves["phase"]) == {"confirmation"}
