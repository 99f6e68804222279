"""The results in `experiments/results` match the recorded studies, and can be read and judged."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pytest

from jaxopt_bench.results import load
from jaxopt_bench.study import (
    STUDIES,
    PlannedRun,
    experiment_of,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    rungs,
    units,
)
from jaxopt_bench.verdict import paragraphs, rank_trials, trial_scores, verdict

FOLDER = pathlib.Path(__file__).parents[2] / "experiments" / "results"
NAMES = sorted(path.name for path in FOLDER.iterdir())
SAID = {
    "digits": "On digits_cnn, nadam has the highest mean test accuracy, 97.71% (97.32 to 98.10). Not settled "
    "(corrected for 15 comparisons): adam (behind by 0.14 points, -0.95 to 1.23), ",
    "cifar10_resnet20_short": "On cifar10_resnet20, nadam has the highest mean test accuracy, 74.33% (73.52 to 75.15). "
    "It is ahead of adam (by 3.31 points, 1.58 to 5.04), sgd (by 4.91 points, 1.63 to 8.19) and amsgrad (by 5.18 "
    "points, 2.87 to 7.49). Not settled (corrected for 15 comparisons): adamw (behind by ",
    "cifar100_alexnet_small": "On cifar100_alexnet_small, sgd has the highest mean test accuracy, 29.30% (27.12 to "
    "31.48). It wins: it is ahead of padam (by 3.09 points, 0.05 to 6.14) and adamw (by 4.20 points, 0.35 to 8.05).",
}


@pytest.mark.parametrize("name", NAMES)
def test_recorded_runs_match_the_recorded_contenders_and_values(name):
    results = load(FOLDER / name)
    study = results.documents[0].study
    for row in results.runs.to_dicts():
        contender, confirms = study.contender(row["contender"]), row["phase"] == "confirmation"
        at = contender.at({field: row[field] for field in contender.searched})
        workload, track_test = study.workload(row["workload"]), confirms and study.track_test
        expected = experiment_of(workload, at, seed=row["seed"], evaluate_test=confirms, track_test=track_test)
        assert row["digest"] == expected.digest


@pytest.mark.parametrize("name", SAID)
def test_all_runs_that_a_study_plans_are_recorded(name):
    results = load(FOLDER / name)
    (document,) = results.documents
    study, runs = document.study, document.runs
    planned: list[PlannedRun] = []
    for unit in units(study):
        chosen = document.selection(unit.key)
        assert chosen is not None
        assert chosen.trial is not None
        planned += plan_trials(study, unit)
        planned += plan_finalists(study, unit, document.finalists(unit.key))
        planned += plan_confirmations(study, unit, chosen.trial)
        own = tuple(run.digest for run in runs if run.unit == unit.key and run.phase == "trial")
        assert chosen.among == own
    assert set(results.runs["digest"]) == {run.digest for run in runs}
    if document.shares_points:
        assert list(runs) == [run.entry for run in planned]
    else:  # earlier versions drew other points
        assert [(run.phase, run.unit, run.seed) for run in runs] == [
            (run.phase, run.unit.key, run.experiment.seed) for run in planned
        ]


@pytest.mark.parametrize("name", ["digits", "suite"])
def test_recorded_studies_equal_those_of_the_catalog(name):
    (document,) = load(FOLDER / name).documents
    assert document.study == STUDIES.find(name)


def test_each_recorded_part_of_the_suite_is_complete():
    """Optimizers are recorded one after the other. Each one has all its runs on a workload."""
    results = load(FOLDER / "suite")
    (document,) = results.documents
    recorded, planned = set(results.runs["digest"]), set()
    for unit in units(document.study):
        chosen = document.selection(unit.key)
        if chosen is not None and chosen.trial is not None:
            runs = [
                *plan_trials(document.study, unit),
                *plan_finalists(document.study, unit, document.finalists(unit.key)),
                *plan_confirmations(document.study, unit, chosen.trial),
            ]
            planned |= {run.entry.digest for run in runs}
    assert planned == recorded


@pytest.mark.parametrize("name", SAID)
def test_recorded_results_have_the_documented_verdicts(name):
    results = load(FOLDER / name)
    (document,) = results.documents
    found = verdict(results, document)
    assert found.complete
    assert " ".join(paragraphs(found, found.rankings[0])).startswith(SAID[name])


HALVED = {
    ("cifar100_alexnet_small", 2): (3, 3, 85, 61),
    ("cifar100_alexnet_small", 3): (3, 3, 85, 35),
    ("cifar10_resnet20_short", 2): (6, 6, 72, 48),
    ("digits", 2): (6, 6, 471, 356),
    ("digits", 3): (3, 6, 471, 227),
}
"""By study and number of rungs: the number of searches in which halving would have kept the best trial, the number of
searches, the epochs that were trained, and the epochs that halving would have trained. The same numbers are in
`jaxopt_bench/study/README.md`."""


@pytest.mark.parametrize(("name", "most"), HALVED)
def test_halving_of_recorded_searches_gives_the_numbers_of_the_readme(name, most):
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
            left = [score.trial for score in rank_trials(scores, higher=False)]
        ends = [len(results.lines(path).filter(pl.col("split") == "validation")) for path in rows["path"]]
        same += left[0] == rank_trials(trial_scores(study, part), higher=False)[0].trial
        trained += sum(ends)
        needed += int(np.minimum(reached, ends).sum())
    assert (same, len(units(study)), trained, needed) == HALVED[name, most]
