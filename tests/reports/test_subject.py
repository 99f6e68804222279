"""What charts read: means with bands, thinned curves, and names for runs of no study."""

from __future__ import annotations

import dataclasses

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench.reports.html import Items
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.subject import bands, named, of_runs, of_study, thinned
from jaxopt_bench.results import estimate, verdict, without_repeats
from jaxopt_bench.results.words import repeats_in_words
from tests.reports.made import made_results, made_study

values = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 6))


@given(st.lists(st.lists(values, min_size=1, max_size=19), min_size=1, max_size=4), st.sampled_from(["loss", "error"]))
def test_bands_are_the_estimates_of_each_epoch(epochs: list[list[float]], value: str):
    curves = pl.DataFrame(
        [
            {
                "series": "a",
                "repetition": 0,
                "epoch": float(epoch),
                "step": epoch,
                "seconds": 2.0 * epoch,
                value: each,
            }
            for epoch, seeds in enumerate(epochs)
            for each in seeds
        ]
    )
    found = bands(curves, value).sort("epoch")
    unit, domain = (1, "positive") if value == "loss" else (100, "fraction")
    for row, seeds in zip(found.to_dicts(), epochs, strict=True):
        one = estimate([each / unit for each in seeds], domain=domain)
        assert row["mean"] == pytest.approx(unit * one.mean, rel=1e-9, abs=1e-9)
        assert row["seeds"] == len(seeds)
        if len(seeds) == 1:
            assert (row["low"], row["high"]) == (None, None)
        else:
            assert row["low"] == pytest.approx(unit * one.low, rel=1e-6, abs=1e-6)
            assert row["high"] == pytest.approx(unit * one.high, rel=1e-6, abs=1e-6)


def test_of_repetitions_each_is_one_value_of_a_band():
    rows = [
        {"series": "a", "repetition": r, "epoch": 1.0, "step": 1, "seconds": 1.0, "loss": loss}
        for r, losses in enumerate([[1.0, 2.0, 3.0], [4.0, 6.0]])
        for loss in losses
    ]
    (row,) = bands(pl.DataFrame(rows), "loss").to_dicts()
    one = estimate([2.0, 5.0], domain="positive")
    assert (row["mean"], row["seeds"]) == (one.mean, 2)
    assert row["low"] == pytest.approx(one.low)


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(-9, 9), min_size=1, max_size=120), min_size=1),
    st.integers(4, 40),
)
def test_thinning_keeps_ends_and_extremes_and_no_more_points_than_asked_for(series: dict[str, list[int]], most: int):
    rows = [{"series": n, "x": x, "y": float(y)} for n, ys in series.items() for x, y in enumerate(ys)]
    found = thinned(pl.DataFrame(rows), ["series"], "y", most)
    for name, ys in series.items():
        kept = found.filter(pl.col("series") == name)
        assert len(kept) <= max(most, 4)
        assert kept["x"].is_sorted()
        assert [ys[x] for x in kept["x"]] == kept["y"].to_list()
        assert (kept["x"][0], kept["x"][-1]) == (0, len(ys) - 1)
        assert (kept["y"].min(), kept["y"].max()) == (min(ys), max(ys))
        if len(ys) <= most:
            assert len(kept) == len(ys)


def test_a_study_s_subjects_are_its_workloads_the_best_contender_first():
    study = made_study(["adam", "sgd", "nadam"])
    results, document = made_results(study)
    (subject,) = of_study(results, document, verdict(results, document))
    assert subject.series == ("nadam", "sgd", "adam")  # the later their place, the faster their losses fall
    assert set(subject.curves["phase"]) == {"confirmation"}
    assert len(subject.trials) == 3 * 4
    assert len(subject.final_runs) == 3 * 5


def test_a_confirmation_that_diverged_counts_as_chance_as_in_the_verdict():
    study = made_study(["adam", "sgd"])
    results, document = made_results(study)
    lost = (pl.col("phase") == "confirmation") & (pl.col("seed") == 5000) & (pl.col("contender") == "sgd")
    runs = results.runs.with_columns(
        pl.when(lost).then(pl.lit("diverged")).otherwise("status").alias("status"),
        pl.when(lost).then(None).otherwise("final.test_accuracy").alias("final.test_accuracy"),
    )
    results = dataclasses.replace(results, runs=runs)
    found = verdict(results, document)
    (subject,) = of_study(results, document, found)
    standing = found.rankings[0].standing("sgd")
    assert standing is not None
    own = subject.final_runs.filter(pl.col("series") == "sgd")["test_accuracy"]
    assert own.mean() == pytest.approx(standing.results["test_accuracy"].mean)
    assert own.min() == 0.1


def test_runs_of_no_study_are_named_for_what_tells_settings_of_an_optimizer_apart():
    runs = pl.DataFrame(
        {
            "optimizer.name": ["sgd", "sgd", "adam"],
            "optimizer.learning_rate": [0.1, 0.01, 0.001],
            "optimizer.momentum": [0.9, 0.9, None],
            "schedule.name": ["cosine", "constant", "cosine"],
            "epochs": [3, 3, 3],
        }
    )
    found, note = named(runs)
    assert set(found["series"]) == {"sgd, learning_rate 0.1, cosine", "sgd, learning_rate 0.01, constant", "adam"}
    assert (note, found["shown"].all()) == ("", True)


def test_of_many_settings_the_best_of_each_optimizer_is_shown_and_nothing_is_averaged_over_settings():
    rates = [0.1 / (i + 1) for i in range(10)]
    runs = pl.DataFrame(
        {
            "optimizer.name": ["sgd"] * 20,
            "optimizer.learning_rate": rates * 2,
            "seed": [0] * 10 + [1] * 10,
            "final.validation_loss": [abs(rate - rates[4]) for rate in rates] * 2,
        }
    )
    found, note = named(runs)
    assert set(found["series"]) == {"sgd"}
    assert found.filter("shown")["optimizer.learning_rate"].to_list() == [rates[4]] * 2
    assert "There are 10 settings" in note
    assert "sgd, learning_rate 0.02" in note


def test_a_run_that_was_begun_anew_or_copied_is_not_another_seed():
    results, _ = made_results(made_study(["adam", "sgd"]))
    none = [pl.lit(None, pl.String).alias(name) for name in ("study", "phase", "workload", "contender")]
    one = results.runs.head(1).with_columns(*none, path=pl.lit("runs/a/0123"))
    again = one.with_columns(path=pl.lit("runs/a/0123.2"))
    copied = one.with_columns(path=pl.lit("runs/b/0123"))
    for runs, kept in (
        ([again, one], "runs/a/0123.2"),
        ([one, copied], "runs/b/0123"),
        ([again, copied, one], "runs/a/0123.2"),
    ):
        found, repeats = without_repeats(dataclasses.replace(results, runs=pl.concat(runs)))
        assert (found.runs["path"].to_list(), repeats) == ([kept], len(runs) - 1)
        page = report_of(dataclasses.replace(results, runs=pl.concat(runs)), "made")
        (said, *_) = page.sections[-1].blocks
        assert isinstance(said, Items)
        assert said.sentences[-1] == f"{repeats_in_words(len(runs) - 1)} left out"


def test_a_copy_of_a_study_is_left_out():
    results, document = made_results(made_study(["adam", "sgd"]))
    copied = results.runs.with_columns(path="copy/" + pl.col("path"))
    both = dataclasses.replace(results, runs=pl.concat([results.runs, copied]), documents=(document, document))
    found, repeats = without_repeats(both)
    assert found.runs["path"].to_list() == copied["path"].to_list()
    assert (repeats, found.documents) == (len(copied), (document,))
    lines = pl.concat([results.curves, results.curves.with_columns(path="copy/" + pl.col("path"))])
    again, _ = without_repeats(dataclasses.replace(both, curves=lines))
    assert again.curves["path"].to_list() == lines["path"][len(results.curves) :].to_list()
    assert report_of(both, "made").title == "made"


def test_runs_of_no_study_are_told_apart_by_data_set_and_model():
    results, _ = made_results(made_study(["adam", "sgd"]))
    none = results.runs.with_columns(
        *[pl.lit(None, pl.String).alias(name) for name in ("study", "phase", "workload", "contender")]
    )
    (subject,) = of_runs(type(results)(none, results.curves))
    assert subject.workload == "digits_cnn"
    assert set(subject.runs["phase"]) == {"run"}
