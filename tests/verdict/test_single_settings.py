"""Single settings for all workloads, compared with their definitions written as loops."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import polars as pl
import pytest
import scipy.stats

from jaxopt_bench.optimizers import Cosine, Padam
from jaxopt_bench.results import Results
from jaxopt_bench.study import Document
from jaxopt_bench.verdict import (
    compute_single_settings,
    compute_suite_verdict,
    describe_single_setting,
    describe_suite_verdict,
    verdict,
)
from tests.verdict.builders import recorded, row
from tests.verdict.suites import KINDS, kind_of, suite

WORKLOADS = ["digits_a", "gap_a", "loss_a", "loss_b"]
QUALITIES = {name: dict.fromkeys(WORKLOADS, 1.0) for name in ("adamw", "sgd")}
TRIALS = 6


def losses() -> dict[str, np.ndarray]:
    """Returns the clean training losses of trials by contender [workloads, trials]; inf is a diverged trial."""
    random = np.random.default_rng(5)
    found = {name: np.exp(random.normal(-3, 1, size=(len(WORKLOADS), TRIALS))) for name in QUALITIES}
    found["sgd"][1, 2] = math.inf
    return found


def tried(shift: float = 0.0, **fields) -> tuple[Results, Document]:
    """Returns a suite with trials; `shift` is added to the learning rates of the last workload."""
    made, document = suite(QUALITIES, trials=TRIALS, **fields)
    rows = []
    for name, table in losses().items():
        for (i, workload), trial in itertools.product(enumerate(WORKLOADS), range(TRIALS)):
            loss = table[i, trial]
            values = {"loss": loss, "gap": loss, "accuracy": 1 - 0.9 * loss / 2.302585}
            finals = {f"final.train_clean_{m.name}": values[m.name] for m in KINDS[kind_of(workload)]}
            rate = 10.0 ** (trial - 5) + shift * (i == len(WORKLOADS) - 1)
            gone = math.isinf(loss)
            rows.append(
                row(
                    "trial", name, workload=workload, trial=trial, metrics=recorded(KINDS[kind_of(workload)]),
                    status="diverged" if gone else "completed",
                    **{"optimizer.learning_rate": rate}, **({} if gone else finals),
                )
            )  # fmt: skip
    runs = pl.concat([made.runs, pl.DataFrame(rows, infer_schema_length=None)], how="diagonal_relaxed")
    return dataclasses.replace(made, runs=runs), document


def positions(workload: int, values: np.ndarray) -> np.ndarray:
    """Returns positions between an untrained model (0) and the best trial of both contenders (1)."""
    every = np.concatenate([table[workload] for table in losses().values()])
    best = every[np.isfinite(every)].min()
    kind = kind_of(WORKLOADS[workload])
    if kind == "digits":
        accuracy = 1 - 0.9 * values / 2.302585
        found = (accuracy - 0.1) / (1 - 0.9 * best / 2.302585 - 0.1)
    else:
        start = 24.2 if kind == "gap" else 2.302585092994046
        with np.errstate(divide="ignore"):  # for a diverged trial
            found = np.log(start / values) / np.log(start / best)
    return np.maximum(found, 0)


def scores(name: str) -> np.ndarray:
    table = losses()[name]
    return np.array([positions(w, table[w]) for w in range(len(WORKLOADS))])


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_single_setting_has_the_best_mean_and_is_judged_on_left_out_workloads(name):
    made, document = tried()
    found = next(each for each in compute_single_settings(made, document, WORKLOADS) if each.contender == name)
    table = scores(name)
    assert np.array([*found.scores.values()]) == pytest.approx(table, abs=1e-6)
    best = int(table.mean(axis=0).argmax())
    assert found.values == {"optimizer.learning_rate": 10.0 ** (best - 5)}
    left_out = [table[w, np.delete(table, w, axis=0).mean(axis=0).argmax()] for w in range(4)]
    assert [*found.left_out.values()] == pytest.approx(left_out, abs=1e-6)
    assert found.single.mean == pytest.approx(np.mean(left_out), abs=1e-6)
    interval = scipy.stats.t.interval(0.95, 3, np.mean(left_out), scipy.stats.sem(left_out))
    assert found.single.interval == pytest.approx(interval, abs=1e-5)


def test_tuning_for_each_workload_is_judged_by_fresh_seeds():
    made, document = tried()
    found = {each.contender: each for each in compute_single_settings(made, document, WORKLOADS)}
    confirmed = made.runs.filter(pl.col("phase") == "confirmation")
    for name, each in found.items():
        assert each.fresh
        for w, workload in enumerate(WORKLOADS):
            column = "final.train_clean_loss"
            own = confirmed.filter(pl.col("workload") == workload, pl.col("contender") == name)[column].to_numpy()
            assert each.tuned[workload] == pytest.approx(positions(w, own).mean(), abs=1e-6)
        assert each.gain.mean == pytest.approx(np.mean([*each.tuned.values()]) - each.single.mean)


def test_the_expected_best_is_the_mean_over_workloads_and_all_subsets_of_trials():
    made, document = tried()
    found = {each.contender: each for each in compute_single_settings(made, document, WORKLOADS)}
    for name, each in found.items():
        table = scores(name)
        for k in (1, 2, TRIALS):
            best = [max(subset) for own in table for subset in itertools.combinations(own, k)]
            assert each.expected_best[k - 1] == pytest.approx(np.mean(best), abs=1e-6)


def test_without_the_same_trials_on_several_workloads_there_is_no_single_setting():
    made, document = tried(shift=1e-9)
    assert compute_single_settings(made, document, WORKLOADS) == ()
    made, document = tried()
    assert compute_single_settings(made, document, WORKLOADS[:1]) == ()
    halving = dataclasses.replace(document, study=dataclasses.replace(document.study, search="halving"))
    assert compute_single_settings(made, halving, WORKLOADS) == ()


def test_a_grid_has_no_expected_best():
    made, document = tried(search="grid")
    assert all(each.expected_best == () for each in compute_single_settings(made, document, WORKLOADS))


def test_without_matching_confirmations_tuning_is_judged_by_the_best_trials():
    made, document = tried()
    gone = [c for c in made.runs.columns if c.startswith("final.train_clean_")]
    confirmations = pl.col("phase") == "confirmation"
    kept = [
        pl.when(confirmations & (pl.col("workload") != "gap_a")).then(None).otherwise(pl.col(c)).alias(c) for c in gone
    ]
    made = dataclasses.replace(made, runs=made.runs.with_columns(kept))
    found = compute_single_settings(made, document, WORKLOADS)
    assert not any(each.fresh for each in found)
    assert found[0].tuned == pytest.approx({w: max(own) for w, own in found[0].scores.items()})
    said = describe_suite_verdict(compute_suite_verdict(made, document, verdict(made, document)))
    assert "by the results that chose the settings, so this is too good" in said


def test_the_paragraph_names_the_contender_with_the_best_single_setting():
    made, document = tried()
    found = compute_suite_verdict(made, document, verdict(made, document))
    best = max(found.single_settings, key=lambda each: each.single.mean)
    said = describe_suite_verdict(found)
    assert f"{best.contender} has the highest mean score, {best.single.mean:.2f}; tuning for each" in said
    assert said.count(". ") <= 5


def test_a_contender_without_recorded_trials_is_left_out():
    made, document = tried()
    known = dataclasses.replace(
        made, runs=made.runs.filter((pl.col("contender") != "sgd") | (pl.col("phase") != "trial"))
    )
    both, one = (compute_single_settings(each, document, WORKLOADS) for each in (made, known))
    assert ({each.contender for each in both}, [each.contender for each in one]) == ({"adamw", "sgd"}, ["adamw"])
    assert one[0].values == next(each for each in both if each.contender == "adamw").values


def test_a_single_setting_is_printed_with_all_differences_from_the_defaults():
    made, document = tried()
    padam = dataclasses.replace(document.study.contenders[0], optimizer=Padam(partial=0.25), schedule=Cosine(1.0))
    study = dataclasses.replace(document.study, contenders=(padam, *document.study.contenders[1:]))
    found = next(
        each
        for each in compute_single_settings(made, dataclasses.replace(document, study=study), WORKLOADS)
        if each.contender == padam.name
    )
    table = scores(padam.name)
    rate = 10.0 ** (int(table.mean(axis=0).argmax()) - 5)
    said = describe_single_setting(study, found)
    assert said.startswith(f"learning_rate {rate:g}, partial 0.25, with the schedule cosine (warmup 1) over 4 epochs.")
    assert f"Of {TRIALS} settings, this one has the highest mean score on the 4 workloads of the recorded study" in said
    left_out = [table[w, np.delete(table, w, axis=0).mean(axis=0).argmax()] for w in range(4)]
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(left_out), scipy.stats.sem(left_out))
    assert f"has the score {np.mean(left_out):.2f} on that one" in said
    assert f"(95% interval over workloads {max(0, low):.2f} to {min(1, high):.2f})" in said
    assert ("adds nothing" in said) == (found.gain.mean < 0.005)
