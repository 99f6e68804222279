"""Runs with finite training whose last evaluation is not finite have diverged; they are never "completed"."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxopt_bench import load_run, train, train_population
from jaxopt_bench.optimizers import SGD, AdamW, Constant, wrap_optimizer
from jaxopt_bench.results import rows_by_setting
from jaxopt_bench.runs import EVALUATION, Interrupted, Options, Recording, Run, finish, session
from jaxopt_bench.runs.signals import WorkStopped
from tests.copies import copied
from tests.runs.test_train import QUIET, Killed, KilledAt, MessageRecorder, assert_same
from tests.tasks import changed

EPOCH = 20  # steps per epoch of `tiny`


def mine(learning_rate: float = 0.01) -> optax.GradientTransformation:
    return optax.adam(learning_rate)


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {
        "data_dir": digits_dir,
        "recording": dataclasses.replace(QUIET, evaluation=True),
        "reporter": MessageRecorder(),
    }


@pytest.fixture
def broken_at(tiny, monkeypatch):
    """Returns a function that returns an experiment whose evaluated parameters are NaN after the given steps."""

    def experiment(*steps: int):
        def evaluated(opt_state: Any, params: Any) -> Any:
            broken = jnp.isin(optax.tree.get(opt_state, "count"), jnp.asarray(steps))
            return jax.tree.map(lambda leaf: jnp.where(broken, jnp.nan, leaf), params)

        optimizer = wrap_optimizer(mine)()
        monkeypatch.setattr(type(optimizer), "evaluated", staticmethod(evaluated))
        monkeypatch.setattr(type(optimizer), "own_average", True)
        return dataclasses.replace(tiny, optimizer=optimizer)

    return experiment


def summary_of(run: Run) -> dict[str, Any]:
    assert run.summary is not None
    return dict(run.summary)


def losses(run: Run, split: str) -> list[float | None]:
    return [line["loss"] for line in run.metrics if line["split"] == split]


def test_a_run_whose_last_evaluation_is_not_finite_has_diverged(broken_at, tmp_path, options):
    experiment = broken_at(2 * EPOCH)
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    summary = summary_of(run)
    assert summary["status"] == "diverged"
    reason = "the train_clean loss at the end of epoch 2 was not finite"
    assert summary["reason"] == run.divergence == reason
    assert options["reporter"].messages[-1] == f"diverged: {reason}"
    assert summary["steps"] == summary["diverged_step"] == 2 * EPOCH
    assert all(loss is not None for loss in losses(run, "train_steps"))
    assert summary["best"]["step"] == EPOCH
    assert summary["best"]["validation_loss"] is not None
    assert losses(run, "test") == []  # its results would not be reported
    assert not (run.path / EVALUATION).exists()
    assert [row.diverged for row in rows_by_setting([run], [])] == [1]
    again = train(experiment, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    assert (again.summary, again.metrics) == (run.summary, run.metrics)


def test_a_run_stopped_at_an_evaluation_that_is_not_finite_has_diverged(broken_at, tmp_path, options):
    summary = summary_of(train(broken_at(EPOCH), Options(runs_dir=tmp_path, until_epoch=1, **options)))
    assert (summary["status"], summary["steps"]) == ("diverged", EPOCH)
    assert summary["reason"] == "the train_clean loss at the end of epoch 1 was not finite"


def test_a_run_of_which_only_the_first_evaluation_is_not_finite_completes(broken_at, tmp_path, options):
    run = train(broken_at(EPOCH), Options(runs_dir=tmp_path, **options))
    summary = summary_of(run)
    assert summary["status"] == "completed"
    assert run.divergence is None
    for split in ("train_clean", "validation"):
        assert [loss is None for loss in losses(run, split)] == [True, False]
    assert summary["best"]["step"] == 2 * EPOCH
    assert summary["final"]["test_loss"] is not None
    assert (run.path / EVALUATION).exists()


@pytest.fixture
def one_step(tiny):
    """Returns a function that returns an experiment of one step with a given learning rate."""

    def experiment(learning_rate: float):
        optimizer = AdamW(learning_rate=learning_rate)
        return changed(tiny, optimizer=optimizer, schedule=Constant(), epochs=1, batch_size=1024)

    return experiment


def test_a_run_whose_network_overflows_after_its_last_update_has_diverged(one_step, tmp_path, options):
    """The only step is finite, and no other step follows. The other member of the population completes."""
    experiments = [one_step(5e-3), one_step(1e14)]
    runs = train_population(experiments, Options(runs_dir=tmp_path / "together", **options))
    assert [summary_of(run)["status"] for run in runs] == ["completed", "diverged"]
    assert losses(runs[1], "train_steps") == losses(runs[0], "train_steps")  # computed before the update
    assert losses(runs[1], "train_clean") == [None]
    assert [(run.path / EVALUATION).exists() for run in runs] == [True, False]
    alone = train(experiments[1], Options(runs_dir=tmp_path / "alone", **options))
    assert summary_of(alone)["reason"] == summary_of(runs[1])["reason"]
    assert_same(alone, runs[1])


def test_a_population_in_which_no_evaluation_is_finite_ends_as_diverged(one_step, tmp_path, options):
    runs = train_population([one_step(1e14), one_step(1e15)], Options(runs_dir=tmp_path, **options))
    assert [summary_of(run)["status"] for run in runs] == ["diverged"] * 2
    assert [row.diverged for row in rows_by_setting(runs, ["optimizer.learning_rate"])] == [1, 1]


def test_a_run_killed_before_its_summary_is_also_recorded_as_diverged(broken_at, tmp_path, options, monkeypatch):
    experiment = broken_at(2 * EPOCH)

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(session, "finish", killed)
        with pytest.raises(Killed):
            train(experiment, Options(runs_dir=tmp_path, **options))
    path = tmp_path / "tiny" / experiment.digest
    assert load_run(path).summary is None
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    assert summary_of(run)["reason"] == "the train_clean loss at the end of epoch 2 was not finite"


def test_a_test_split_whose_loss_is_not_finite_is_a_divergence(tiny, tmp_path, options, train_once):
    """The files are those of a run that was killed after the line of the test split and before its summary."""
    (whole,) = train_once([tiny], QUIET)
    run = copied(whole, tmp_path)
    (run.path / "summary.json").unlink()
    lines = [line | ({"loss": None} if line["split"] == "test" else {}) for line in run.metrics]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = train(tiny, Options(runs_dir=tmp_path, **options))
    assert summary_of(again)["status"] == "diverged"
    assert summary_of(again)["reason"] == "the test loss at the end of epoch 2 was not finite"
    assert summary_of(again)["final"]["test_loss"] is None
    assert not (run.path / EVALUATION).exists()


def test_a_signal_before_the_summaries_does_not_change_diverged_members(one_step, tmp_path, options, monkeypatch):
    experiments = [one_step(5e-3), one_step(1e14)]

    def stopped(*_: Any) -> None:
        raise WorkStopped

    with monkeypatch.context() as patch:
        patch.setattr(finish, "write_evaluations", stopped)
        with pytest.raises(Interrupted):
            train_population(experiments, Options(runs_dir=tmp_path, **options))
    statuses = [summary_of(load_run(tmp_path / "tiny" / e.digest))["status"] for e in experiments]
    assert statuses == ["interrupted", "diverged"]
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    assert [summary_of(run)["status"] for run in runs] == ["completed", "diverged"]


def test_runs_recorded_without_a_reason_get_it_from_the_diverged_step(tiny, tmp_path, options):
    experiment = dataclasses.replace(tiny, optimizer=SGD(learning_rate=1e15), schedule=Constant())
    run = train(experiment, Options(runs_dir=tmp_path, **{**options, "recording": Recording(tensorboard=False)}))
    summary = summary_of(run)
    reason = summary.pop("reason")
    assert reason == f"the loss, the gradient or the update of step {summary['diverged_step']} was not finite"
    (run.path / "summary.json").write_text(json.dumps(summary))
    assert load_run(run.path).divergence == reason
