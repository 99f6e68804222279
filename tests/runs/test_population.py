"""Populations on disk: the records of their members equal those of single runs, also after interruptions."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from experiments.speed.measure.reads import ReadCounter
from jaxopt_bench import Experiment, Run, UserError, load_run, train, train_population
from jaxopt_bench.optimizers import SGD, AdamW, Constant
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter, discard_checkpoints, restore
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from jaxopt_bench.strict_json import read_json, write_json
from jaxopt_bench.training import CodePath, Program
from tests.runs.test_train import Killed, KilledAt, MessageRecorder, StoppedAt, assert_same, without_timings
from tests.tasks import changed

QUIET = Recording(log_every=6, checkpoint_every=7, tensorboard=False)
PATH = CodePath("pure", "compiled", "map")  # members equal their single runs to the bit


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": QUIET, "reporter": Reporter(), "code_path": PATH}


@pytest.fixture
def trained_alone(train_once) -> Callable[[Experiment], Run]:
    """Returns a function that trains an experiment alone, once for all tests, and returns its run."""
    return lambda experiment: train_once([experiment], QUIET, PATH)[0]


@pytest.fixture
def together(experiments, train_once) -> list[Run]:
    """Returns the runs of the four experiments, which were trained together, once for all tests."""
    return train_once(experiments, QUIET, PATH)


@pytest.fixture
def experiments(tiny):
    """Returns four experiments: two learning rates, two seeds."""
    return [
        dataclasses.replace(tiny, optimizer=AdamW(learning_rate=rate), seed=seed)
        for rate in (2e-3, 2e-2)
        for seed in (0, 1)
    ]


def test_the_record_of_a_member_equals_that_of_its_single_run(experiments, together, trained_alone):
    assert [run.experiment for run in together] == experiments
    for run, experiment in zip(together, experiments, strict=True):
        single = trained_alone(experiment)
        assert run.path.name == single.path.name
        assert_same(run, single)
        assert run.summary is not None
        assert single.summary is not None
        for name in ("status", "final", "best", "parameters", "digest", "steps"):
            assert run.summary[name] == single.summary[name]
        assert run.config["environments"][0]["members"] == 4
        if run.best_step != 40:
            jax.tree.map(np.testing.assert_array_equal, run.parameters("best"), single.parameters("best"))


def test_a_population_that_was_killed_resumes_to_the_bit(experiments, tmp_path, options, together):
    for step in (9, 33):
        with pytest.raises(Killed):
            train_population(
                experiments, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": KilledAt(step)})
            )
    resumed = train_population(experiments, Options(runs_dir=tmp_path / "killed", **options))
    for one, other in zip(together, resumed, strict=True):
        assert_same(one, other)


def test_a_signal_ends_a_population_with_a_checkpoint(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Interrupted, match="step"):
        train_population(
            experiments[:2], Options(runs_dir=tmp_path / "stopped", **{**options, "reporter": StoppedAt(10)})
        )
    stopped = [load_run(path.parent) for path in (tmp_path / "stopped").glob("tiny/*/summary.json")]
    assert [run.summary["status"] for run in stopped if run.summary] == ["interrupted"] * 2
    assert all(10 <= int(run.state().step) < 40 for run in stopped)
    resumed = train_population(experiments[:2], Options(runs_dir=tmp_path / "stopped", **options))
    for run, experiment in zip(resumed, experiments[:2], strict=True):
        assert_same(run, trained_alone(experiment))


def test_a_member_that_diverges_is_recorded_and_the_others_continue(tiny, tmp_path, options, trained_alone):
    calm = dataclasses.replace(tiny, optimizer=SGD(learning_rate=0.1), schedule=Constant())
    wild = dataclasses.replace(calm, optimizer=SGD(learning_rate=1e30))
    first, second = train_population([calm, wild], Options(runs_dir=tmp_path / "together", **options))
    assert first.summary is not None
    assert second.summary is not None
    assert first.summary["status"] == "completed"
    assert second.summary["status"] == "diverged"
    assert second.metrics[-1]["step"] <= 6
    assert_same(first, trained_alone(calm))
    alone = trained_alone(wild)
    assert without_timings(alone) == without_timings(second)
    assert alone.summary is not None
    assert alone.summary["diverged_step"] == second.summary["diverged_step"]


def test_a_population_ends_if_all_members_diverge(tiny, tmp_path, options):
    wild = [
        dataclasses.replace(tiny, optimizer=SGD(learning_rate=1e30), schedule=Constant(), seed=seed) for seed in (0, 1)
    ]
    runs = train_population(wild, Options(runs_dir=tmp_path, **options))
    assert [run.summary["status"] for run in runs if run.summary] == ["diverged"] * 2
    assert not checkpoint_steps(next(tmp_path.glob("tiny/population-*")) / "checkpoints")


@pytest.mark.slow
def test_runs_that_do_not_fit_at_once_are_trained_in_waves(experiments, tmp_path, options, trained_alone):
    said = MessageRecorder()
    runs = train_population(
        experiments[:3], Options(runs_dir=tmp_path / "waves", largest=2, **{**options, "reporter": said})
    )
    assert said.messages[0] == "3 runs in 2 waves: 2 fit at once"
    assert [run.config["environments"][0]["members"] for run in runs] == [2, 2, 1]
    for run, experiment in zip(runs, experiments[:3], strict=True):
        assert_same(run, trained_alone(experiment))


class Crowded:
    """Simulates a device that runs out of memory after some calls, if more than two members are trained."""

    def __init__(self, patch: pytest.MonkeyPatch, after: int):
        self.advance, self.after, self.calls = Program.advance, after, 0
        patch.setattr(Program, "advance", lambda program, *arguments: self(program, *arguments))

    def __call__(self, program: Program, *arguments: Any) -> Any:
        self.calls += program.members > 2
        if program.members > 2 and self.calls > self.after:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return self.advance(program, *arguments)


@pytest.mark.parametrize("after", [0, 9])
@pytest.mark.slow
def test_a_wave_that_runs_out_of_memory_resumes_at_half_its_size(
    after, experiments, tmp_path, options, monkeypatch, trained_alone
):
    said = MessageRecorder()
    with monkeypatch.context() as patch:
        crowded = Crowded(patch, after)
        runs = train_population(experiments, Options(runs_dir=tmp_path / "halves", **{**options, "reporter": said}))
    assert crowded.calls == after + 1
    assert [m for m in said.messages if "memory" in m] == ["out of memory with 4 runs at once; continuing with 2"]
    (began,) = {run.config["environments"][-1]["step"] for run in runs}
    assert began in ((0,) if after == 0 else (7, 14, 20, 27))
    for run, experiment in zip(runs, experiments, strict=True):
        assert run.config["environments"][-1]["members"] == 2
        assert_same(run, trained_alone(experiment))


def test_a_single_run_that_runs_out_of_memory_raises_the_error(experiments, tmp_path, options, monkeypatch):
    def crowded(program: Program, *_: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(Program, "advance", crowded)
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE_EXHAUSTED"):
        train_population(experiments[:1], Options(runs_dir=tmp_path, **options))


@pytest.mark.slow
def test_finished_runs_are_not_changed_and_unfinished_ones_resume_in_place(
    experiments, tmp_path, options, trained_alone
):
    finished = train(experiments[0], Options(runs_dir=tmp_path, **options))
    before = (finished.path / "metrics.jsonl").read_bytes()
    with pytest.raises(Killed):
        train(experiments[1], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    assert (finished.path / "metrics.jsonl").read_bytes() == before
    assert [run.config["environments"][-1]["members"] for run in runs] == [1, 1, 2, 2]
    for run, experiment in zip(runs[1:], experiments[1:], strict=True):
        assert_same(run, trained_alone(experiment))


def test_a_finished_population_is_returned_and_not_trained_again(experiments, tmp_path, options, together):
    shutil.copytree(together[0].path.parents[1], tmp_path, dirs_exist_ok=True)
    again = train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    assert [run.path for run in again] == [tmp_path / run.path.relative_to(run.path.parents[1]) for run in together]
    assert [run.summary for run in again] == [run.summary for run in together]


@pytest.mark.slow
def test_a_member_of_an_unfinished_population_can_resume_alone(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    alone = train(experiments[1], Options(runs_dir=tmp_path, **options))
    assert alone.config["environments"][-1]["step"] >= 14  # it did not start at step 0
    assert alone.checkpoints.folder == alone.path / "checkpoints"
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    assert [run.config["environments"][-1]["members"] for run in runs] == [3, 1, 3, 3]
    for run, experiment in zip(runs, experiments, strict=True):
        assert_same(run, trained_alone(experiment))


@pytest.mark.slow
def test_resuming_some_members_of_a_population_does_not_change_the_others(
    experiments, tmp_path, options, trained_alone
):
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    others = [tmp_path / "tiny" / experiment.digest for experiment in experiments[:2]]
    before = [(path / "config.json").read_bytes() for path in others]
    runs = train_population(experiments[2:], Options(runs_dir=tmp_path, **options))
    assert [(path / "config.json").read_bytes() for path in others] == before
    assert not any((path / "summary.json").exists() for path in others)
    assert [run.config["environments"][-1]["members"] for run in runs] == [2, 2]
    for run, experiment in zip(runs, experiments[2:], strict=True):
        assert_same(run, trained_alone(experiment))


def test_each_file_is_read_once_when_a_population_is_resumed(experiments, tmp_path, options):
    """Checkpoints are not counted: each is read once to verify it, and once to restore it."""
    with pytest.raises(Interrupted):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": StoppedAt(20)}))
    counter = ReadCounter(tmp_path)
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    reads = {path: count for path, count in counter.reads.items() if "/checkpoints/" not in path and "lock" not in path}
    files = ("config.json", "metrics.jsonl", "summary.json")
    assert reads == {f"tiny/{e.digest}/{name}": 1 for e in experiments for name in files}


def test_a_config_with_the_checkpoints_of_another_run_is_refused(experiments, tmp_path, options):
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    paths = [tmp_path / "tiny" / experiment.digest / "config.json" for experiment in experiments[:2]]
    configs = [read_json(path) for path in paths]
    for path, config, other in zip(paths, configs, configs[::-1], strict=True):
        write_json(path, {**config, "checkpoints": other["checkpoints"]})
    advice = "or move the run's folder away and use the same command again"
    with pytest.raises(UserError, match=rf"member 0 is of another run: seed is 0\. Expected 1\. Perhaps .*, {advice}"):
        train_population(experiments, Options(runs_dir=tmp_path, **options))
    with pytest.raises(UserError, match="is of another run: seed is"):
        load_run(paths[0].parent).state()


def test_equal_experiments_are_refused_before_anything_is_written(experiments, tmp_path, options):
    with pytest.raises(UserError, match=rf"two of the 2 experiments are the same: .*/{experiments[0].digest}\. Remove"):
        train_population([experiments[0]] * 2, Options(runs_dir=tmp_path, **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_experiments_that_cannot_share_a_program_are_trained_by_several(experiments, tmp_path, options):
    smoother, shorter = changed(experiments[0], label_smoothing=0.3), changed(experiments[0], validation_fraction=0.2)
    runs = train_population([experiments[0], smoother, experiments[1], shorter], Options(runs_dir=tmp_path, **options))
    assert [run.experiment for run in runs] == [experiments[0], smoother, experiments[1], shorter]
    assert_same(runs[1], train(smoother, Options(runs_dir=tmp_path / "alone", **options)))
    assert_same(runs[3], train(shorter, Options(runs_dir=tmp_path / "alone", **options)))


@pytest.mark.slow
def test_without_a_test_split_a_population_keeps_only_its_last_checkpoints(experiments, tmp_path, options):
    experiments = [changed(e, epochs=4, evaluate_test=False) for e in experiments[:2]]
    run, _ = train_population(experiments, Options(runs_dir=tmp_path, **options))
    folder = next(tmp_path.glob("tiny/population-*")) / "checkpoints"
    assert checkpoint_steps(folder) == [74, 80]
    assert run.summary is not None
    assert run.summary["final"]["test_loss"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [CodePath("pure", "compiled", "vmap"), CodePath()],
    ids=["vmap", "python"],
)
def test_members_computed_together_diverge_separately_and_resume_to_the_bit(path, tiny, tmp_path, options):
    options = {**options, "code_path": path}
    calm = dataclasses.replace(tiny, optimizer=SGD(learning_rate=0.1), schedule=Constant())
    experiments = [calm, dataclasses.replace(calm, optimizer=SGD(learning_rate=1e30))]
    whole = train_population(experiments, Options(runs_dir=tmp_path / "whole", **options))
    assert [run.summary["status"] for run in whole if run.summary] == ["completed", "diverged"]
    for step in (9, 33):
        with pytest.raises(Killed):
            train_population(
                experiments, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": KilledAt(step)})
            )
    resumed = train_population(experiments, Options(runs_dir=tmp_path / "killed", **options))
    assert_same(whole[0], resumed[0])
    assert without_timings(whole[1]) == without_timings(resumed[1])


@pytest.mark.slow
def test_fresh_runs_of_a_wave_that_had_not_started_are_found_again(experiments, tmp_path, options):
    train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
    with pytest.raises(Killed):
        train_population(
            experiments[:2], Options(runs_dir=tmp_path, fresh=True, largest=1, **{**options, "reporter": KilledAt(20)})
        )
    again = train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
    assert [run.path.name[-2:] for run in again] == [".2", ".2"]


@pytest.mark.slow
def test_runs_that_were_removed_are_trained_again(experiments, tmp_path, options):
    first = train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
    before = [without_timings(run) for run in first]
    for run in first:
        shutil.rmtree(run.path)  # the population's folder and its checkpoints remain
    again = train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
    assert [without_timings(run) for run in again] == before


@pytest.mark.slow
def test_a_removed_member_does_not_prevent_the_others_from_resuming(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Killed):
        train_population(experiments[:3], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    shutil.rmtree(tmp_path / "tiny" / experiments[1].digest)
    runs = train_population(experiments[:3], Options(runs_dir=tmp_path, **options))
    assert [run.config["environments"][0]["step"] for run in runs] == [0, 0, 0]
    assert [run.config["environments"][-1]["members"] for run in runs] == [2, 1, 2]  # the other two leave it
    for run, experiment in zip(runs, experiments[:3], strict=True):
        assert_same(run, trained_alone(experiment))


@pytest.mark.slow
def test_an_unfinished_population_is_divided_if_fewer_members_are_allowed(
    experiments, tmp_path, options, trained_alone
):
    with pytest.raises(Killed):
        train_population(experiments[:3], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    runs = train_population(experiments[:3], Options(runs_dir=tmp_path, largest=2, **options))
    last = [run.config["environments"][-1] for run in runs]
    assert [environment["members"] for environment in last] == [2, 2, 1]
    assert all(environment["step"] > 0 for environment in last)
    for run, experiment in zip(runs, experiments[:3], strict=True):
        assert_same(run, trained_alone(experiment))


def test_a_population_without_memory_for_its_start_is_divided(experiments, tmp_path, options, monkeypatch):
    make = restore.initial_states

    def crowded(tasks: Any) -> Any:
        if len(tasks) > 2:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return make(tasks)

    monkeypatch.setattr(restore, "initial_states", crowded)
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    assert [run.config["environments"][0]["members"] for run in runs] == [2] * 4


@pytest.mark.slow
def test_diverged_members_do_not_move_if_memory_runs_out_later(tiny, tmp_path, options, monkeypatch, trained_alone):
    calm = dataclasses.replace(tiny, optimizer=SGD(learning_rate=0.1), schedule=Constant())
    wild = dataclasses.replace(calm, optimizer=SGD(learning_rate=1e30))
    experiments = [wild, calm, dataclasses.replace(calm, seed=1)]
    with monkeypatch.context() as patch:
        Crowded(patch, after=12)
        runs = train_population(experiments, Options(runs_dir=tmp_path / "divided", **options))
    assert [run.summary["status"] for run in runs if run.summary] == ["diverged", "completed", "completed"]
    assert [run.config["environments"][-1]["members"] for run in runs] == [3, 1, 1]
    for run, experiment in zip(runs[1:], experiments[1:], strict=True):
        assert_same(run, trained_alone(experiment))


@pytest.mark.slow
def test_a_signal_in_the_last_steps_of_a_wave_stops_before_the_next_wave(experiments, tmp_path, options):
    stopped = {**options, "reporter": StoppedAt(40)}
    with pytest.raises(Interrupted):
        train_population(experiments[:2], Options(runs_dir=tmp_path, largest=1, **stopped))
    first, second = (tmp_path / "tiny" / experiment.digest for experiment in experiments[:2])
    summary = read_json(first / "summary.json")
    assert (summary["status"], summary["steps"]) == ("interrupted", 40)  # only its test evaluation is missing
    assert not (second / "config.json").exists()
    runs = train_population(experiments[:2], Options(runs_dir=tmp_path, largest=1, **options))
    assert [run.summary and run.summary["status"] for run in runs] == ["completed"] * 2


@pytest.mark.slow
def test_each_member_has_its_own_event_files(experiments, tmp_path, options):
    recording = dataclasses.replace(QUIET, tensorboard=True)
    short = [changed(experiment, epochs=1) for experiment in experiments[:2]]
    for run in train_population(short, Options(runs_dir=tmp_path, **{**options, "recording": recording})):
        assert list((run.path / "tensorboard").iterdir())


@pytest.mark.slow
def test_a_member_copied_without_its_population_cannot_be_resumed(experiments, tmp_path, options):
    with pytest.raises(Interrupted):
        train_population(experiments[:2], Options(runs_dir=tmp_path / "runs", **{**options, "reporter": StoppedAt(10)}))
    name = experiments[0].digest
    shutil.copytree(tmp_path / "runs" / "tiny" / name, tmp_path / "copy" / "tiny" / name)
    missing = r"population-[0-9a-f]+, which holds its checkpoints and is missing.* or move the run's folder away"
    with pytest.raises(UserError, match=missing):
        train_population(experiments[:1], Options(runs_dir=tmp_path / "copy", **options))
    assert load_run(tmp_path / "copy" / "tiny" / name).experiment == experiments[0]


@pytest.mark.slow
def test_checkpoints_of_removed_runs_are_not_used(experiments, tmp_path, options, trained_alone):
    """Two runs move from their population to a folder that still has checkpoints of earlier, removed runs."""
    killed = {**options, "reporter": KilledAt(20)}
    for _ in range(2):
        with pytest.raises(Killed):
            train_population(experiments, Options(runs_dir=tmp_path, **killed))
        runs = train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
        for experiment in experiments:
            shutil.rmtree(tmp_path / "tiny" / experiment.digest)
    for run, experiment in zip(runs, experiments[:2], strict=True):
        single = trained_alone(experiment)
        assert without_timings(run) == without_timings(single)


def test_a_run_without_its_config_resumes_from_its_checkpoint(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Killed):
        train(experiments[0], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    (tmp_path / "tiny" / experiments[0].digest / "config.json").unlink()
    run = train(experiments[0], Options(runs_dir=tmp_path, **options))
    assert run.config["environments"][0]["step"] >= 14
    assert_same(run, trained_alone(experiments[0]))


@pytest.mark.slow
def test_a_run_can_leave_its_population_despite_a_damaged_checkpoint(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Killed):
        train_population(experiments, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    folder = next(tmp_path.glob("tiny/population-*")) / "checkpoints"
    last = max(checkpoint_steps(folder))
    damaged = max((path for path in (folder / str(last) / "arrays").rglob("*") if path.is_file()), key=os.path.getsize)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    said = MessageRecorder()
    run = train(experiments[0], Options(runs_dir=tmp_path, **{**options, "reporter": said}))
    assert any(f"{folder / str(last)} is damaged" in message and "not copied" in message for message in said.messages)
    assert 0 < run.config["environments"][-1]["step"] < last
    assert_same(run, trained_alone(experiments[0]))


def test_two_runs_with_the_same_index_are_refused(experiments, tmp_path, options, trained_alone):
    with pytest.raises(Killed):
        train_population(experiments[:2], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    paths = [tmp_path / "tiny" / experiment.digest / "config.json" for experiment in experiments[:2]]
    configs = [read_json(path) for path in paths]
    write_json(paths[1], {**configs[1], "checkpoints": configs[0]["checkpoints"]})
    damaged = rf"is member 0 of 2 in .*, but {paths[0].parent} is the same member.* or move the run's folder away"
    with pytest.raises(UserError, match=damaged):
        train_population(experiments[:2], Options(runs_dir=tmp_path, **options))
    paths[1].parent.rename(tmp_path / "away")  # as the message says, which users of `compare` read, too
    for run, experiment in zip(
        train_population(experiments[:2], Options(runs_dir=tmp_path, **options)), experiments, strict=False
    ):
        assert_same(run, trained_alone(experiment))


@pytest.mark.slow
def test_checkpoints_are_discarded_once_no_unfinished_run_needs_them(experiments, tmp_path, options):
    with pytest.raises(Killed):
        train_population(experiments[:3], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    folder = next(tmp_path.glob("tiny/population-*")) / "checkpoints"
    alone = train(experiments[0], Options(runs_dir=tmp_path, **options))
    rest = train(experiments[1], Options(runs_dir=tmp_path, **options))
    discard_checkpoints([alone.path, rest.path])
    assert not (alone.path / "checkpoints").exists()
    assert folder.is_dir()  # the third run needs it
    last = train(experiments[2], Options(runs_dir=tmp_path, **options))
    assert not folder.exists()
    discard_checkpoints([alone.path, rest.path, last.path])
    assert not (last.path / "checkpoints").exists()


def test_checkpoints_of_a_population_are_removed_when_its_last_run_has_left_it(
    experiments, tmp_path, options, trained_alone
):
    with pytest.raises(Killed):
        train_population(experiments[:2], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    folder = next(tmp_path.glob("tiny/population-*")) / "checkpoints"
    for experiment, others in zip(experiments[:2], (1, 0), strict=True):
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        run = train(experiment, Options(runs_dir=tmp_path, **options))
        assert run.config["environments"][-1]["step"] >= 14  # it has continued from the population's checkpoint
        assert_same(run, trained_alone(experiment))
        after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert after == (before if others else {})
    assert not folder.exists()
    assert int(run.state().step) == 40


def test_checkpoints_of_a_population_stay_for_a_member_that_diverged_in_it(tiny, tmp_path, options):
    calm = dataclasses.replace(tiny, optimizer=SGD(learning_rate=0.1), schedule=Constant())
    wild = dataclasses.replace(calm, optimizer=SGD(learning_rate=1e30))
    with pytest.raises(Killed):
        train_population([calm, wild], Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(20)}))
    train(calm, Options(runs_dir=tmp_path, **options))
    diverged = load_run(tmp_path / "tiny" / wild.digest)
    assert diverged.summary is not None
    assert diverged.summary["status"] == "diverged"
    assert int(diverged.state().step) <= 20
