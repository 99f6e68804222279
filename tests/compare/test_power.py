"""The differences that a study can show: in deviations and, if results are recorded, in the unit of its metric."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pytest
from scipy import stats

from jaxopt_bench.compare import StudyPower, compute_study_power, recorded_noise
from jaxopt_bench.statistics import minimum_detectable_difference
from jaxopt_bench.study import find_study

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"


def test_the_outlook_of_a_study_with_enough_seeds_states_its_least_difference():
    assert StudyPower(6, 8, of_searches=False).description == (
        "With 8 seeds for each of 6 optimizers, a difference must be 2.3 times the deviation between seeds to be seen "
        "with a probability of 80%."
    )


def test_three_seeds_of_49_optimizers_show_no_useful_difference():
    power = StudyPower(49, 3, of_searches=False)
    assert power.is_absurd
    assert power.description == (
        "This study can hardly show which optimizer is better: with 3 seeds for each of 49 optimizers, a difference "
        "must be 52 times the deviation between seeds to be seen with a probability of 80%; with --seeds 7, a "
        "difference of 4.3 times the deviation between seeds would be enough."
    )


def test_with_several_searches_the_searches_are_compared():
    study = dataclasses.replace(find_study("digits"), repetitions=3, seeds=8)
    power = compute_study_power(study, others=2)
    assert (power.optimizers, power.results) == (8, 3)
    assert "with 3 searches for each of 8 optimizers" in power.description
    assert "times the deviation between searches" in power.description
    assert "with --repetitions 5, " in power.description


@pytest.mark.parametrize(
    ("optimizers", "results", "absurd", "sentence"),
    [
        (1, 8, False, "There is only one optimizer, so there is nothing to compare."),
        (2, 1, True, "With a single seed for each optimizer, no difference can be tested; with --seeds 3, a "),
        (49, 2, True, "This study can hardly show which optimizer is better: with 2 seeds for each of 49 "),
    ],
)
def test_outlooks_of_studies_that_can_show_no_difference(optimizers, results, absurd, sentence):
    power = StudyPower(optimizers, results, of_searches=False)
    assert power.is_absurd is absurd
    assert power.description.startswith(sentence)


def test_the_noise_is_the_deviation_of_recorded_seeds_within_optimizers():
    study = find_study("digits")
    noise, folder = recorded_noise(study, [RESULTS / "none", *sorted(RESULTS.iterdir())])["digits_cnn"]
    runs = pl.read_parquet(RESULTS / "digits" / "runs.parquet").filter(pl.col("phase") == "confirmation")
    groups = [own["final.test_accuracy"].to_numpy() for _, own in runs.group_by("contender")]
    squares = sum(((own - own.mean()) ** 2).sum() for own in groups)
    assert noise.deviation == pytest.approx(np.sqrt(squares / (len(runs) - len(groups))))
    assert (noise.results, folder, noise.measure.words) == (len(runs), RESULTS / "digits", "test accuracy")


def test_the_least_difference_is_seen_with_80_percent_at_the_recorded_noise():
    (noise, _), random = (
        recorded_noise(find_study("digits"), [RESULTS / "digits"])["digits_cnn"],
        np.random.default_rng(0),
    )
    difference = noise.deviation * minimum_detectable_difference(6, 8)
    first, second = random.normal(0.97, noise.deviation, size=(2, 4000, 8))
    p_values = stats.ttest_ind(first + difference, second, axis=1, equal_var=False).pvalue
    assert np.mean(15 * p_values <= 0.05) == pytest.approx(0.8, abs=0.03)


def test_on_new_data_a_difference_must_be_larger():
    """The test examples add a normal error to the difference. Its variance is estimated from the records."""
    (noise, _), random = (
        recorded_noise(find_study("digits"), [RESULTS / "digits"])["digits_cnn"],
        np.random.default_rng(0),
    )
    power = StudyPower(6, 8, of_searches=False)
    difference = power.least_on_new_data(noise)
    assert noise.examples == 360
    assert difference > power.least * noise.deviation
    means = random.normal([[difference], [0]], noise.deviation / np.sqrt(8), size=(2, 20_000))
    shift = random.normal(0, np.sqrt(noise.sampling), 20_000)
    variances = noise.deviation**2 * random.chisquare(7, size=(2, 20_000)) / 7 / 8
    total = variances.sum(0) + noise.sampling
    freedom = total**2 / (variances**2 / 7).sum(0)
    seen = np.abs(means[0] - means[1] + shift) > stats.t(freedom).ppf(1 - 0.05 / 30) * np.sqrt(total)
    assert np.mean(seen) == pytest.approx(0.8, abs=0.02)
    assert power.least_on_new_data(dataclasses.replace(noise, sampling=None)) is None


@pytest.mark.parametrize(
    "changed", [{"workloads": "epochs"}, {"repetitions": 2}], ids=["another workload", "means of searches"]
)
def test_results_of_another_workload_or_kind_give_no_noise(changed):
    study = find_study("digits")
    if "workloads" in changed:
        changed = {"workloads": tuple(dataclasses.replace(w, epochs=3) for w in study.workloads)}
    assert recorded_noise(dataclasses.replace(study, **changed), [RESULTS / "digits"]) == {}
