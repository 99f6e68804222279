"""Complete runs on the digits data set: their records, resuming to the bit, divergence and interruption."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from rich.console import Console

from jaxopt_bench import Experiment, UserError, load_run, train
from jaxopt_bench.data import Dataset
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Constant
from jaxopt_bench.results import load
from jaxopt_bench.runs import SPLITS, Interrupted, LineReporter, LiveReporter, Options, Recording, Reporter, Run
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from jaxopt_bench.runs.directory import lock_directory
from jaxopt_bench.runs.environment import changes, environment
from jaxopt_bench.runs.signals import StopRequest
from jaxopt_bench.training import CodePath, choose_code_path
from tests.copies import copied
from tests.tasks import changed

ROOT = pathlib.Path(__file__).parents[2]
QUIET = Recording(log_every=6, checkpoint_every=7, tensorboard=False)


class Killed(BaseException):
    """Simulates that the process is killed: no code of the project catches this exception."""


class KilledAt(Reporter):
    """Raises `Killed` once the run has reached a step."""

    def __init__(self, step: int):
        self.step = step

    def advance(self, step: int, *_: Any) -> None:
        if step >= self.step:
            raise Killed


class StoppedAt(Reporter):
    """Sends SIGTERM to the process, once, when the run has reached or passed a step."""

    def __init__(self, step: int):
        self.step = step

    def advance(self, step: int, *_: Any) -> None:
        if step >= self.step:
            self.step = 10**9
            os.kill(os.getpid(), signal.SIGTERM)


def without_timings(run: Run) -> list[dict[str, Any]]:
    """Returns the metrics without timings."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "examples_per_second")} for r in run.metrics]


def assert_same(one: Run, other: Run) -> None:
    """Asserts that two runs have the same state and metrics to the bit."""
    jax.tree.map(np.testing.assert_array_equal, one.state(), other.state())
    assert without_timings(one) == without_timings(other)


class MessageRecorder(Reporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        self.messages.append(message)


@pytest.fixture
def options(digits_dir: pathlib.Path) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": QUIET, "reporter": Reporter()}


@pytest.fixture
def whole(tiny, train_once) -> Run:
    """Returns the uninterrupted run of `tiny`, which the tests share."""
    (run,) = train_once([tiny], QUIET)
    return run


@pytest.fixture
def copy(tmp_path, whole) -> Run:
    """Returns a copy of the uninterrupted run, in a folder of runs of the test."""
    return copied(whole, tmp_path)


AROUND = {"accumulate": 2, "clip_norm": 1.0, "clip_adaptive": 0.1}


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(
            dataclasses.replace(OPTIMIZERS["padam"], weight_decay=1e-3, swa_start=0.4, **AROUND), marks=pytest.mark.slow
        ),
        pytest.param(dataclasses.replace(OPTIMIZERS["momo"], ema_decay=0.9, **AROUND), marks=pytest.mark.slow),
        pytest.param(OPTIMIZERS["noisy_sgd"], marks=pytest.mark.slow),
        pytest.param(OPTIMIZERS["schedule_free_sgd"], marks=pytest.mark.slow),
        pytest.param(
            dataclasses.replace(OPTIMIZERS["soap"], precondition_frequency=4, cautious=True, mars_gamma=0.1),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["padam", "momo", "noisy_sgd", "schedule_free_sgd", "soap"],
)
def test_a_run_stopped_in_the_middle_of_epochs_resumes_to_the_bit(optimizer, tiny, tmp_path, options):
    experiment = dataclasses.replace(tiny, optimizer=optimizer)
    whole = train(experiment, Options(runs_dir=tmp_path / "whole", **options))
    for step in (9, 17, 33):  # an epoch has 20 steps
        with pytest.raises(Killed):
            train(experiment, Options(runs_dir=tmp_path / "stopped", **{**options, "reporter": KilledAt(step)}))
    resumed = train(experiment, Options(runs_dir=tmp_path / "stopped", **options))
    assert whole.summary is not None
    assert whole.summary["status"] == "completed"
    assert len(without_timings(whole)) == 8 + 2 * 3 + 1 + (whole.best_step != 40)
    assert_same(whole, resumed)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "normed"},
        *(pytest.param(c, marks=pytest.mark.slow) for c in ({"dtype": "bfloat16"}, {"model": "resnet20"})),
    ],
    ids=str,
)
def test_batch_statistics_and_bfloat16_also_resume_to_the_bit(change, tiny, tmp_path, options, normed):
    named = {"model": MODELS[change["model"]]} if "model" in change else change
    experiment = changed(tiny, epochs=1, **named)
    whole = train(experiment, Options(runs_dir=tmp_path / "whole", **options))
    with pytest.raises(Killed):
        train(experiment, Options(runs_dir=tmp_path / "stopped", **{**options, "reporter": KilledAt(11)}))
    resumed = train(experiment, Options(runs_dir=tmp_path / "stopped", **options))
    assert bool(jax.tree.leaves(whole.state().variables)) == ("model" in change)
    assert_same(whole, resumed)


@pytest.mark.parametrize("keep", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_previous_one(keep, tiny, tmp_path, options, train_once):
    options["recording"] = dataclasses.replace(QUIET, keep_checkpoints=keep)
    (whole,) = train_once([tiny], options["recording"])
    stopped = {**options, "recording": dataclasses.replace(QUIET, keep_checkpoints=2)}
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path / "damaged", **{**stopped, "reporter": KilledAt(36)}))
    directory = tmp_path / "damaged" / "tiny" / tiny.digest / "checkpoints"
    (directory / "34" / "manifest.json").write_text("{}")
    resumed = train(tiny, Options(runs_dir=tmp_path / "damaged", **options))
    assert_same(whole, resumed)
    assert checkpoint_steps(directory) == checkpoint_steps(whole.path / "checkpoints")


@pytest.mark.parametrize("live", [False, True])
def test_a_run_stopped_before_its_summary_is_completed_from_its_last_checkpoint(
    live, tiny, tmp_path, options, whole, copy
):
    (copy.path / "summary.json").unlink()
    out = io.StringIO()
    console = Console(file=out, force_terminal=live)
    again = train(
        tiny,
        Options(runs_dir=tmp_path, **{**options, "reporter": LiveReporter(console) if live else LineReporter(console)}),
    )
    assert again.path == copy.path
    assert_same(whole, again)
    assert again.summary is not None
    assert again.summary["final"] == whole.summary["final"]
    assert "continued from step 40" in out.getvalue()


LAST = dataclasses.replace(QUIET, keep_checkpoints=1)


@pytest.fixture
def early(tiny) -> Experiment:
    """Returns an experiment of 8 epochs, 20 steps each, whose best epoch is not the last one."""
    return changed(tiny, epochs=8, optimizer=SGD(learning_rate=0.5), schedule=Constant())


def test_the_test_results_of_a_damaged_best_checkpoint_are_left_out(early, tmp_path, options, train_once):
    (whole,) = train_once([early], LAST)
    run = copied(whole, tmp_path)
    assert run.best_step != 160
    (run.path / "checkpoints" / str(run.best_step) / "manifest.json").write_text("{}")
    (run.path / "summary.json").unlink()
    lines = [line for line in run.metrics if line["split"] != "test"]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    again = train(early, Options(runs_dir=tmp_path, **options))
    assert again.path == run.path
    assert again.summary is not None
    assert again.summary["status"] == "completed"
    assert again.summary["best"]["test_loss"] is None
    assert again.summary["final"] == run.summary["final"]


@pytest.mark.parametrize("step", [*(pytest.param(step, marks=pytest.mark.slow) for step in (1, 20)), 30])
def test_a_run_stopped_by_a_signal_at_any_step_resumes_to_the_same_result(step, tiny, tmp_path, options, whole):
    with pytest.raises(Interrupted, match="from step") as stop:
        train(tiny, Options(runs_dir=tmp_path / "stopped", **{**options, "reporter": StoppedAt(step)}))
    assert stop.value.signal == signal.SIGTERM
    assert_same(whole, train(tiny, Options(runs_dir=tmp_path / "stopped", **options)))


@pytest.mark.parametrize(
    "batch", [18, *(pytest.param(b, marks=pytest.mark.slow) for b in (3, 7, 14, 20, 21, 22, 23, 25))]
)
def test_a_signal_during_an_evaluation_stops_it_before_its_next_batch(
    batch, tiny, tmp_path, options, monkeypatch, train_once
):
    """Batches: 6 of training images and 1 of validation per epoch, 2 of the test split, and 1 and 2 for the logits."""
    counted, original = [], StopRequest.until_requested

    def stopping(request, batches):
        for each in original(request, batches):
            counted.append(None)
            if len(counted) == batch:
                os.kill(os.getpid(), signal.SIGTERM)
            yield each

    recording = dataclasses.replace(options["recording"], evaluation=True)
    experiment = changed(tiny, epochs=3)
    (whole,) = train_once([experiment], recording)
    monkeypatch.setattr(StopRequest, "until_requested", stopping)
    with pytest.raises(Interrupted) as stop:
        train(experiment, Options(runs_dir=tmp_path / "stopped", **{**options, "recording": recording}))
    assert len(counted) == batch
    step = 20 * min(3, 1 + (batch - 1) // 7)
    assert stop.value.step == step
    stopped = load_run(stop.value.path)
    assert stopped.summary is not None
    assert (stopped.summary["status"], stopped.summary["steps"]) == ("interrupted", step)
    again = train(experiment, Options(runs_dir=tmp_path / "stopped", **{**options, "recording": recording}))
    assert_same(whole, again)
    assert checkpoint_steps(again.checkpoints.folder) == checkpoint_steps(whole.checkpoints.folder)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_an_evaluation_of_which_some_lines_are_missing_is_repeated(kept, tiny, tmp_path, options, train_once):
    options["recording"] = dataclasses.replace(QUIET, checkpoint_every=20)
    (whole,) = train_once([tiny], options["recording"])
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path / "torn", **{**options, "reporter": KilledAt(21)}))
    (metrics,) = (tmp_path / "torn").rglob("metrics.jsonl")
    lines = [line for line in metrics.read_text().splitlines(keepends=True) if json.loads(line)["step"] <= 20]
    epoch = [line for line in lines if json.loads(line)["split"] != "train_steps"]
    assert len(epoch) == 3
    metrics.write_text("".join(line for line in lines if line not in epoch[kept:]))
    assert_same(whole, train(tiny, Options(runs_dir=tmp_path / "torn", **options)))


def test_a_run_finished_by_another_process_during_the_wait_is_not_changed(tiny, tmp_path, options, monkeypatch):
    @contextlib.contextmanager
    def waiting(directory):
        monkeypatch.undo()
        train(tiny, Options(runs_dir=tmp_path, **options))
        files = {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.name != "lock"}
        with lock_directory(directory):
            yield
        assert {path: path.stat().st_mtime_ns for path in files} == files

    monkeypatch.setattr(importlib.import_module("jaxopt_bench.runs.population"), "lock_directory", waiting)
    run = train(tiny, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    assert run.summary is not None
    assert run.summary["status"] == "completed"


def test_a_run_is_not_resumed_with_other_data(tiny, tmp_path, options):
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(21)}))
    (path,) = tmp_path.rglob("config.json")
    config = json.loads(path.read_text())
    nearly = config["task"] | {"mean": [value * (1 + 1e-7) for value in config["task"]["mean"]]}
    for task, message in (
        (config["task"] | {"train_examples": 9}, r"task\.train_examples was 9 and is \d+"),
        (config["task"] | {"mean": [0.5]}, r"task\.mean was \[0\.5\]"),
    ):
        path.write_text(json.dumps(config | {"task": task}))
        with pytest.raises(UserError, match=message):
            train(tiny, Options(runs_dir=tmp_path, **options))
    path.write_text(json.dumps(config | {"task": nearly}))
    assert train(tiny, Options(runs_dir=tmp_path, **options)).summary is not None


def test_an_interrupted_run_is_resumed_without_fresh_only_if_it_was_given(tiny, tmp_path, options):
    """`compare` has no such flag."""
    for fresh in (False, True):
        with pytest.raises(Interrupted) as stop:
            train(tiny, Options(runs_dir=tmp_path, fresh=fresh, **{**options, "reporter": StoppedAt(10)}))
        assert ("(without --fresh)" in str(stop.value)) == fresh
        assert str(pickle.loads(pickle.dumps(stop.value))) == str(stop.value)


def test_an_interruption_can_be_pickled_for_another_process():
    stop = Interrupted(signal.SIGTERM, pathlib.Path("runs/tiny"), 1000)
    again = pickle.loads(pickle.dumps(stop))
    assert str(again) == str(stop)
    assert str(again) == "interrupted. Run the same command to resume runs/tiny from step 1,000."
    assert again.signal == signal.SIGTERM
    assert not isinstance(again, Exception)  # so a notebook's `except Exception` does not start the next run


def test_the_number_of_threads_of_xla_is_recorded(monkeypatch):
    monkeypatch.delenv("NPROC", raising=False)
    assert environment(CodePath())["threads"] == len(os.sched_getaffinity(0))
    monkeypatch.setenv("NPROC", "3")
    assert environment(CodePath())["threads"] == 3


def test_options_of_jax_that_change_rounding_are_recorded(monkeypatch):
    variables = ("XLA_FLAGS", "OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE")
    for name in variables:
        monkeypatch.delenv(name, raising=False)
    expected = {**dict.fromkeys(variables), "matmul_precision": None}
    assert environment(CodePath())["options"] == expected
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")
    with jax.default_matmul_precision("bfloat16"):
        found = environment(CodePath())["options"]
    assert found == expected | {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "matmul_precision": "bfloat16"}


@pytest.mark.parametrize(
    ("option", "message"),
    [(jax.enable_x64(True), "X64 is on"), (jax.threefry_partitionable(False), "THREEFRY_PARTITIONABLE is off")],
)
def test_options_of_jax_that_change_the_computation_are_refused(option, message, tiny, tmp_path, options):
    with option, pytest.raises(UserError, match=message):
        train(tiny, Options(runs_dir=tmp_path, **options))
    assert not list(tmp_path.iterdir())


def test_differences_between_two_environments_are_named():
    before = {"step": 0, "packages": {"jax": "1", "optax": "2"}, "threads": 2}
    after = {"step": 9, "packages": {"jax": "1.1", "optax": "2"}, "threads": 1, "backend": "cpu"}
    expected = ["packages.jax was 1 and is 1.1", "threads was 2 and is 1", "backend was None and is cpu"]
    assert changes(before, after) == expected


def test_the_record_has_the_results_the_cost_and_the_environment(tiny, tmp_path, options):
    run = train(tiny, Options(runs_dir=tmp_path, **options))
    assert run.path == tmp_path / "tiny" / tiny.digest
    assert run.experiment == tiny
    summary = run.summary
    assert summary is not None
    assert summary["steps"] == 40
    assert summary["epochs"] == 2
    assert summary["experiment"] == "tiny"
    assert summary["parameters"] == 4 * (9 + 1) + 8 * (4 * 4 * 4 + 1) + 10 * (8 + 1)
    assert summary["seconds"] > 0
    assert summary["examples_per_second"] > 0
    expected = {f"{split}_{name}" for split in SPLITS for name in ("loss", "accuracy")} | {"step", "epoch"}
    assert set(summary["final"]) == set(summary["best"]) == expected
    assert all(value is not None for value in [*summary["final"].values(), *summary["best"].values()])
    environment = run.config["environments"][0]
    assert environment["packages"]["jax"] == jax.__version__
    assert environment["code_path"] == dataclasses.asdict(choose_code_path())


def test_which_inner_rule_updates_which_parameters_is_recorded(tiny, tmp_path, options):
    run = train(changed(tiny, optimizer=OPTIMIZERS["muon"], epochs=1), Options(runs_dir=tmp_path, **options))
    kernels = [leaf.size for leaf in (run.parameters()["conv1"]["kernel"], run.parameters()["dense"]["kernel"])]
    found = {rule["name"]: rule for rule in run.config["inner_rules"]}
    assert run.summary is not None
    share = sum(kernels) / run.summary["parameters"]
    muon = {"name": "muon", "arrays": 2, "of_arrays": 6, "numbers": sum(kernels), "share": pytest.approx(share)}
    assert found["muon"] == muon
    assert found["adam"]["arrays"] == 4
    (row,) = load(tmp_path).runs.to_dicts()
    assert json.loads(row["inner_rules"]) == run.config["inner_rules"]


def test_a_single_inner_rule_is_not_recorded(whole):
    assert "inner_rules" not in whole.config
    assert load(whole.path).runs["inner_rules"].to_list() == [None]


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_steps(whole):
    for epoch in (1, 2):
        lines = [r for r in whole.metrics if r["split"] == "train_steps" and epoch - 1 < r["epoch"] <= epoch]
        assert [r["steps"] for r in lines] == [6, 6, 6, 2]
        mean = sum(r["loss"] * r["steps"] for r in lines) / 20
        (line,) = [r for r in whole.metrics if r["split"] == "train" and r["epoch"] == epoch]
        assert line["loss"] == pytest.approx(mean, rel=1e-12)


def test_the_best_epoch_has_the_lowest_validation_loss_and_is_checkpointed(early, train_once):
    (run,) = train_once([early], LAST)
    losses = {r["step"]: r["loss"] for r in run.metrics if r["split"] == "validation"}
    best = min(losses, key=lambda step: losses[step])
    assert run.summary is not None
    assert run.summary["best"]["step"] == run.best_step == best
    assert int(run.state("best").step) == best
    tests = {r["step"]: r["loss"] for r in run.metrics if r["split"] == "test"}
    assert set(tests) == {best, 160}
    assert run.summary["best"]["test_loss"] == tests[best]


def test_without_validation_no_best_epoch_is_chosen(tiny, tmp_path, options):
    run = train(changed(tiny, validation_fraction=0.0), Options(runs_dir=tmp_path, **options))
    assert run.summary is not None
    assert run.summary["best"] is None
    assert run.summary["final"]["validation_loss"] is None
    assert run.summary["final"]["validation_accuracy"] is None
    assert run.summary["final"]["test_loss"] is not None
    assert run.config["task"]["train_examples"] == 1437


def test_the_test_split_is_read_only_on_request_and_only_at_the_end(tiny, tmp_path, options, monkeypatch):
    happened: list[Any] = []
    original = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: (happened.append(name), original(self, name))[1])

    class Steps(Reporter):
        def advance(self, step: int, *_: Any) -> None:
            happened.append(step)

    options["reporter"] = Steps()
    train(dataclasses.replace(tiny, evaluate_test=False), Options(runs_dir=tmp_path, **options))
    assert 40 in happened
    assert "test" not in happened
    happened.clear()
    run = train(tiny, Options(runs_dir=tmp_path, **options))
    assert happened.index("test") > happened.index(40)
    lines = [r["split"] for r in run.metrics]
    assert set(lines[lines.index("test") :]) == {"test"}


def test_a_tracked_test_split_is_measured_every_epoch_without_other_effects(tiny, tmp_path, options, whole):
    tracked = train(dataclasses.replace(tiny, track_test=True), Options(runs_dir=tmp_path, **options))
    assert tracked.path.name != whole.path.name
    assert [r["epoch"] for r in tracked.metrics if r["split"] == "test"] == [1, 2]
    jax.tree.map(np.testing.assert_array_equal, tracked.parameters(), whole.parameters())


def test_a_finished_run_is_returned_and_not_trained_again(tiny, tmp_path, options, copy):
    before = (copy.path / "metrics.jsonl").read_bytes()
    again = train(tiny, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    assert again.path == copy.path
    assert (copy.path / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_fresh_starts_a_second_run_which_later_calls_resume(tiny, tmp_path, options):
    first = train(tiny, Options(runs_dir=tmp_path, **options))
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path, fresh=True, **{**options, "reporter": KilledAt(25)}))
    second = train(tiny, Options(runs_dir=tmp_path, **options))
    assert second.path.name == first.path.name + ".2"
    assert_same(first, second)


def test_recording_options_do_not_change_the_parameters(tiny, tmp_path, options, whole):
    recording = Recording(log_every=1000, tensorboard=True)
    other = train(tiny, Options(runs_dir=tmp_path / "other", **{**options, "recording": recording}))
    assert whole.path.name == other.path.name
    jax.tree.map(np.testing.assert_array_equal, whole.parameters(), other.parameters())
    assert list((other.path / "tensorboard").iterdir())
    assert not (whole.path / "tensorboard").exists()


@pytest.mark.slow
def test_resuming_on_another_code_path_is_printed_and_both_are_recorded(tiny, tmp_path, options):
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path, code_path=CodePath(), **{**options, "reporter": KilledAt(25)}))
    reporter = MessageRecorder()
    run = train(tiny, Options(runs_dir=tmp_path, code_path=CodePath("pure"), **{**options, "reporter": reporter}))
    said = reporter.messages[0]
    assert said.startswith("training continues in another environment, so its results may differ by rounding: ")
    assert "code_path.layers was plain and is pure" in said
    assert [place["code_path"]["layers"] for place in run.config["environments"]] == ["plain", "pure"]


@pytest.mark.slow
@pytest.mark.parametrize("loop", ["python", "compiled"])
def test_two_processes_have_the_same_results_to_the_bit(loop, tmp_path, digits_dir):
    """On any backend: on a deterministic code path, autotuning and scatters must not affect the results."""
    runs = []
    for name in ("one", "other"):
        program = f"""
from jaxopt_bench import catalog, train
from jaxopt_bench.runs import Options, Recording, Reporter
from jaxopt_bench.training import CodePath, choose_code_path
from jaxopt_bench.models import CNN
import dataclasses
found = catalog.find("digits_cnn_adamw")
problem = dataclasses.replace(found.workload.problem, model=CNN(channels=(4,), dense=8))
experiment = found.replace(epochs=2, problem=problem)
path = dataclasses.replace(choose_code_path(deterministic=True), loop={loop!r})
train(experiment, Options(runs_dir={str(tmp_path / name)!r}, data_dir={str(digits_dir)!r}, reporter=Reporter(),
      recording=Recording(tensorboard=False), code_path=path))
"""
        # Each process has its own cache, so that it also tunes its programs by itself.
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / f"cache-{name}")}
        command = [sys.executable, "-c", program]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300, env=environment)
        runs.append(load_run(next((tmp_path / name).glob("*/*"))))
    assert runs[0].config["environments"][0]["code_path"]["deterministic"]
    assert_same(*runs)


def test_the_path_of_the_runs_may_contain_parent_references(tiny, tmp_path, options):
    detour = tmp_path / "here" / ".." / "runs"
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=detour, **{**options, "reporter": KilledAt(30)}))
    run = train(tiny, Options(runs_dir=detour, **options))
    assert run.path == tmp_path.resolve() / "runs" / "tiny" / tiny.digest
    assert run.summary is not None
    assert run.summary["status"] == "completed"


def test_a_diverged_run_is_recorded_with_its_step_and_not_trained_again(tiny, tmp_path, options):
    experiment = dataclasses.replace(tiny, optimizer=SGD(learning_rate=1e15), schedule=Constant())
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    assert run.summary is not None
    assert run.summary["status"] == "diverged"
    assert 1 < run.summary["diverged_step"] <= 6
    assert run.metrics[-1]["update_norm"] is None
    assert not list((run.path / "checkpoints").iterdir())
    again = train(experiment, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(0)}))
    assert again.summary == run.summary


def test_an_estimate_after_all_members_have_diverged_causes_no_error(tiny, tmp_path, options, monkeypatch):
    monkeypatch.setattr("jaxopt_bench.runs.clock.Clock.first_estimate", lambda clock: True)
    experiment = dataclasses.replace(tiny, optimizer=SGD(learning_rate=1e15), schedule=Constant())
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    assert run.summary is not None
    assert run.summary["status"] == "diverged"


def test_a_network_that_does_not_fit_the_images_is_refused_before_any_write(tiny, tmp_path, options):
    from jaxopt_bench.models import AlexNet

    with pytest.raises(UserError, match="too small"):
        train(changed(tiny, model=AlexNet()), Options(runs_dir=tmp_path, **options))
    assert not list(tmp_path.iterdir())
