"""A short run writes few checkpoints, and its results are the same as with all checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from jaxopt_bench import Experiment, train
from jaxopt_bench.optimizers import SGD, Constant, MultiStep
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter, recorder, train_population
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from tests.runs.test_train import Killed, KilledAt, StoppedAt, assert_same
from tests.tasks import changed

ALL = Recording(log_every=6, tensorboard=False, checkpoint_seconds=0, keep_checkpoints=100)
FEW = dataclasses.replace(ALL, checkpoint_seconds=1e9)


@pytest.fixture
def early(tiny) -> Experiment:
    """Returns an experiment of 8 epochs, 20 steps each, whose best epoch is not the last one."""
    return changed(tiny, epochs=8, optimizer=SGD(learning_rate=0.5), schedule=Constant())


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": FEW, "reporter": Reporter()}


def test_a_short_run_checkpoints_only_its_best_and_last_epoch(early, tmp_path, options):
    few = train(early, Options(runs_dir=tmp_path / "few", **options))
    every = train(early, Options(runs_dir=tmp_path / "every", **{**options, "recording": ALL}))
    assert few.best_step is not None
    assert few.best_step < 160
    assert checkpoint_steps(few.checkpoints.folder) == [few.best_step, 160]
    assert checkpoint_steps(every.checkpoints.folder) == [*range(20, 161, 20)]
    assert few.summary is not None
    assert few.summary["best"]["test_loss"] is not None
    assert_same(few, every)


def test_a_population_has_checkpoints_of_the_best_epoch_of_each_member(early, tmp_path, options):
    members = [dataclasses.replace(early, seed=seed) for seed in range(3)]
    few = train_population(members, Options(runs_dir=tmp_path, **options))
    best = {run.best_step for run in few if run.best_step is not None}
    assert len(best) > 1
    assert set(checkpoint_steps(few[0].checkpoints.folder)) == {*best, 160}
    assert all(run.summary is not None and run.summary["best"]["test_loss"] is not None for run in few)


def test_checkpoints_that_need_too_much_memory_are_written_at_once(early, tmp_path, options, monkeypatch):
    monkeypatch.setattr(recorder, "MOST_HELD", 0)
    run = train(early, Options(runs_dir=tmp_path, **options))
    assert checkpoint_steps(run.checkpoints.folder) == [*range(20, 161, 20)]


@pytest.mark.slow
def test_a_run_that_a_signal_or_a_kill_interrupts_resumes_to_the_bit(early, tmp_path, options):
    whole = train(early, Options(runs_dir=tmp_path / "whole", **options))
    stopped = Options(runs_dir=tmp_path / "stopped", **{**options, "reporter": KilledAt(70)})
    with pytest.raises(Killed):
        train(early, stopped)
    assert not list((tmp_path / "stopped").glob("tiny/*/checkpoints/*"))
    with pytest.raises(Interrupted) as interrupted:
        train(early, dataclasses.replace(stopped, reporter=StoppedAt(150)))
    folder = interrupted.value.path / "checkpoints"
    assert whole.best_step in checkpoint_steps(folder)
    assert max(checkpoint_steps(folder)) == interrupted.value.step >= 150
    with pytest.raises(Killed):
        train(early, dataclasses.replace(stopped, reporter=KilledAt(159)))
    assert_same(train(early, dataclasses.replace(stopped, reporter=Reporter())), whole)
    assert whole.best_step in checkpoint_steps(folder)


def test_a_run_that_diverges_keeps_its_last_finite_state(tiny, tmp_path, options):
    """The learning rate is 0.1 at first, and 1e29 after three epochs."""
    experiment = changed(
        tiny, epochs=8, optimizer=SGD(learning_rate=0.1), schedule=MultiStep(boundaries=(3.0,), factor=1e30)
    )
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    assert run.summary is not None
    assert (run.summary["status"], run.summary["diverged_step"]) == ("diverged", 61)
    assert checkpoint_steps(run.checkpoints.folder)[-1] == 60
    assert run.state() is not None
