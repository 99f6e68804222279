"""The results in `experiments/results`: they belong to the studies of the catalog, and can be read and judged."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pytest

from jaxopt_bench.results import load
from jaxopt_bench.study import STUDIES, Planned, confirmations, rungs, trials, units
from jaxopt_bench.verdict import paragraph, ranked, trial_scores, verdict

FOLDER = pathlib.Path(__file__).parents[2] / "experiments" / "results"
NAMES = sorted(path.name for path in FOLDER.iterdir())
SAID = {
    "digits": "On digits_cnn, adam has the highest mean test accuracy, 97.64% (97.36 to 97.92). It is ahead of sgd (by "
    "0.80 points, 0.01 to 1.59). Not settled among 15 comparisons: amsgrad (behind by 0.21 points, ",
    "cifar10_resnet20_short": "On cifar10_resnet20, nadam has the highest mean test accuracy, 74.33% (73.52 to 75.15). "
    "It is ahead of adam (by 3.31 points, 1.58 to 5.04), sgd (by 4.91 points, 1.63 to 8.19) and amsgrad (by 5.18 "
    "points, 2.87 to 7.49). Not settled among 15 comparisons: adamw (behind by ",
    "cifar100_alexnet_small": "On cifar100_alexnet_small, sgd has the highest mean test accuracy, 29.30% (27.12 to "
    "31.48). It wins: it is ahead of padam (by 3.09 points, 0.05 to 6.14) and adamw (by 4.20 points, 0.35 to 8.05).",
}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_runs_are_those_that_the_catalogs_study_plans(name):
    results = load(FOLDER / name)
    (document,) = results.documents
    planned: list[Planned] = []
    study = STUDIES.find(name)
    for unit in units(study):
        planned += trials(study, unit)
        chosen = document.selection(unit.key)
        assert chosen is not None
        assert chosen.trial is not None
        assert chosen.among == tuple(run.experiment.digest for run in trials(study, unit))
        planned += confirmations(study, unit, chosen.trial)
    assert set(results.runs["digest"]) == {run.experiment.digest for run in planned}
    assert [run.entry for run in planned] == list(document.runs)


@pytest.mark.parametrize("name", NAMES)
def test_recorded_results_are_judged_as_readme_and_study_say(name):
    results = load(FOLDER / name)
    (document,) = results.documents
    found = verdict(results, document)
    assert found.complete
    assert paragraph(found, found.rankings[0]).startswith(SAID[name])


HALVED = {
    ("cifar100_alexnet_small", 2): (3, 3, 85, 61),
    ("cifar100_alexnet_small", 3): (3, 3, 85, 35),
    ("cifar10_resnet20_short", 2): (6, 6, 72, 48),
    ("digits", 2): (6, 6, 480, 360),
    ("digits", 3): (1, 6, 480, 228),
}
"""By study and number of rungs: in how many of how many searches halving would have selected the same trial, and how
many epochs were trained and would have been trained. README says the same."""


@pytest.mark.parametrize(("name", "most"), HALVED)
def test_halving_would_have_selected_in_recorded_searches_what_readme_says(name, most):
    results = load(FOLDER / name)
    (document,) = results.documents
    study = document.study
    same, trained, needed = 0, 0, 0
    for unit in units(study):
        rows = results.runs.filter(
            pl.col("contender") == unit.contender.name, pl.col("phase") == "trial", pl.col("repetition") == 0
        ).sort("trial")
        part = dataclasses.replace(results, runs=rows)
        reached = np.zeros(study.trials, int)
        left = [*range(study.trials)]
        for trials_left, epochs in rungs(study.trials, unit.workload.epochs, 2, most):
            left = left[:trials_left]
            reached[left] = epochs
            scores = [score for score in trial_scores(study, part, epochs) if score.trial in left]
            left = [score.trial for score in ranked(scores, higher=False)]
        ends = [len(results.lines(path).filter(pl.col("split") == "validation")) for path in rows["path"]]
        found = document.selection(unit.key)
        assert found is not None
        same += left[0] == found.trial
        trained += sum(ends)
        needed += int(np.minimum(reached, ends).sum())
    assert (same, len(units(study)), trained, needed) == HALVED[name, most]
