"""The best trials are trained again with other seeds, and these results alone select the winner."""

from __future__ import annotations

import dataclasses
import math
import pathlib

import jax
import pytest

from jaxopt_bench import problems
from jaxopt_bench.compare import compare
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import SGD, Space
from jaxopt_bench.prng import Purpose, key
from jaxopt_bench.reports import tables
from jaxopt_bench.results import load
from jaxopt_bench.study import Document, Study
from jaxopt_bench.study.study import MOST_SEEDS
from jaxopt_bench.verdict import verdict
from tests.compare.conftest import contender

SOURCE = """
import jax
import jax.numpy as jnp
import numpy as np
from jaxopt_bench import Problem

def well():
    return Problem(
        train=np.zeros(16, np.float32),
        validation=np.zeros(4, np.float32),
        init=lambda key: jnp.where(jax.random.bernoulli(key), 10.0, 1.0),
        loss=lambda w, batch, key: w**4 / 4 + 0 * batch,
    )
"""
"""A loss that is so steep far from its minimum that a seed that starts there needs a small learning rate."""
STEPS = 6
RATES = (1e-3, 1.0)


def begins_far(seed: int) -> bool:
    return bool(jax.random.bernoulli(key(seed, Purpose.INITIALISATION)))


def final_loss(rate: float, start: float) -> float:
    """Returns the loss after all steps of gradient descent; infinity if it diverges."""
    w = start
    for _ in range(STEPS):
        w -= rate * w**3
        if abs(w) > 1e9:
            return math.inf
    return w**4 / 4


def well(tmp_path: pathlib.Path, **fields) -> Study:
    """Returns a study whose trials start near the minimum, and whose finalists start far from it."""
    (tmp_path / "well.py").write_text(SOURCE)
    problem = problems.load(f"{tmp_path / 'well.py'}:well")()
    seed = next(s for s in range(99) if not begins_far(s) and begins_far(s + 2 * MOST_SEEDS))
    defaults = {
        "name": "wells",
        "workloads": (Workload(name="well", problem=problem, epochs=3, batch_size=8),),
        "contenders": (contender("sgd", SGD(), *RATES),),
        "trials": 4,
        "finalist_seeds": 1,
        "seeds": 1,
        "seed": seed,
    }
    return Study(**defaults | fields)


def trials_by_loss(folder: pathlib.Path, start: float) -> dict[int, float]:
    """Returns the final loss of each trial's learning rate from a starting point, the lowest loss first."""
    rows = load(folder).runs.filter(phase="trial").select("trial", "optimizer.learning_rate").rows()
    losses = {trial: final_loss(rate, start) for trial, rate in rows}
    return dict(sorted(losses.items(), key=lambda pair: pair[1]))


def phases(document: Document) -> list[str]:
    return [run.phase for run in document.runs]


def test_a_finalist_that_diverges_with_another_seed_comes_last(tmp_path):
    document = compare(well(tmp_path, finalists=4), tmp_path / "study")
    (chosen,) = document.selections
    near, far = trials_by_loss(tmp_path / "study", 1.0), trials_by_loss(tmp_path / "study", 10.0)
    assert math.inf in far.values()
    assert document.finalists(chosen.unit) == (*near,) == (*chosen.finalists,)
    for trial, value in chosen.finalists.items():
        assert value == (None if far[trial] == math.inf else pytest.approx(far[trial], rel=1e-4))
    assert chosen.trial == next(iter(far))
    assert chosen.trial != next(iter(near))
    assert chosen.value == chosen.finalists[chosen.trial]
    assert chosen.diverged == 0  # all of them completed as trials
    results = load(tmp_path / "study")
    found = verdict(results, document)
    table = tables.finalists_table(found, found.rankings[0])
    assert table is not None
    assert [row[1] for row in table.rows] == [str(trial) for trial in near]
    assert [row[0] for row in table.rows if row[3] == "yes"] == ["sgd"]
    assert {row[2] for row in table.rows if far[int(row[1])] == math.inf} == {"–"}
    assert found.rankings[0].standings[0].cost == pytest.approx(results.runs["seconds"].sum())


def test_if_all_finalists_diverge_the_best_trial_is_selected(tmp_path):
    document = compare(well(tmp_path, finalists=2), tmp_path / "study")
    (chosen,) = document.selections
    assert (*chosen.finalists.items(),) == tuple((t, None) for t in (*trials_by_loss(tmp_path / "study", 1.0),)[:2])
    assert (chosen.trial, chosen.value) == (next(iter(chosen.finalists)), None)
    assert phases(document) == ["trial"] * 4 + ["finalist"] * 2 + ["confirmation"]


def test_with_fewer_trials_than_finalists_all_are_trained_again(tmp_path):
    document = compare(well(tmp_path, trials=2, finalists=3, finalist_seeds=2), tmp_path / "study")
    assert phases(document) == ["trial"] * 2 + ["finalist"] * 4 + ["confirmation"]


def test_no_trial_is_trained_again_if_there_are_not_two_to_select_from(tmp_path):
    study = well(tmp_path, trials=1, finalists=3)
    untuned = dataclasses.replace(contender("fixed", SGD(learning_rate=1e-3)), space=Space())
    lost = contender("lost", SGD(), 1e8, 1e9)  # both of its trials diverge
    study = dataclasses.replace(study, contenders=(*study.contenders, untuned))
    document = compare(study, tmp_path / "study")
    assert phases(document) == ["trial", "confirmation", "confirmation"]
    assert all(chosen.finalists == {} for chosen in document.selections)
    study = dataclasses.replace(study, name="lost", trials=2, contenders=(lost,))
    document = compare(study, tmp_path / "lost")
    assert phases(document) == ["trial", "trial"]
    assert document.selections[0].trial is None
