"""Results on several devices, compared with one. `test_devices` runs this file in a process with eight devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench import UserError, train, train_population
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import take_examples
from jaxopt_bench.runs import Options, Recording, Reporter
from jaxopt_bench.runs.memory import size_of_wave
from jaxopt_bench.training import (
    CodePath,
    Program,
    Task,
    abstract_states,
    choose_code_path,
    initial_states,
    padded_batches,
    replicated_sharding,
)
from tests.networks import Normed
from tests.runs.test_train import Killed, KilledAt, MessageRecorder, assert_same
from tests.tasks import changed, drawn_images, task_on

PURE, NATIVE, PLAIN = (choose_code_path(backend) for backend in ("cpu", "gpu", "metal"))
PURE = dataclasses.replace(PURE, layers="pure")
IMAGES = jax.tree.map(np.asarray, drawn_images(640))


@pytest.fixture(autouse=True)
def normed() -> Iterator[None]:
    """Registers a network with batch statistics during a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "normed", Normed())
        yield


def task_of(experiment: Any, path: CodePath, devices: int) -> Task:
    return task_on(experiment, IMAGES, code_path=dataclasses.replace(path, devices=devices))


def trained(experiment: Any, path: CodePath, members: int, devices: int) -> dict[str, Any]:
    """Returns the results of seven steps of a population, and over how many rows of devices its members are divided."""
    task = task_of(experiment, path, devices)
    tasks = [
        dataclasses.replace(task, experiment=dataclasses.replace(task.experiment, seed=seed)) for seed in range(members)
    ]
    program = Program(task, members)
    states, metrics = initial_states(tasks), program.empty_metrics()
    images = jax.device_put(IMAGES, replicated_sharding(task.code_path))
    order = program.epoch_permutations(states.seed, 0)
    for steps in (3, 4):
        states, metrics = program.advance(states, metrics, images, order, jnp.full(members, steps, jnp.int32))
    where = jax.tree.leaves(states.params)[0].sharding
    seen = program.evaluator.states_to_evaluate(states, images)
    some = take_examples(IMAGES, slice(300))
    return {
        "params": _flat(seen.params),
        "variables": _flat(seen.variables),
        "steps": program.step_values(metrics),
        "evaluation": program.evaluator.evaluate(seen, padded_batches(some)),
        "logits": program.evaluator.predict(seen, padded_batches(some))[1]["logits"],
        "rows": where.mesh.shape["members"] if devices > 1 else 1,
    }


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.zeros(1), *(np.ravel(leaf) for leaf in jax.tree.leaves(tree))])


def test_there_are_eight_devices() -> None:
    assert len(jax.devices()) == 8


@pytest.mark.parametrize(
    ("path", "members", "devices", "rows"),
    [
        pytest.param(PURE, 1, 8, 1, marks=pytest.mark.slow),
        (PURE, 16, 8, 8),
        pytest.param(NATIVE, 3, 2, 1, marks=pytest.mark.slow),
        pytest.param(NATIVE, 6, 4, 2, marks=pytest.mark.slow),
        pytest.param(PLAIN, 2, 4, 2, marks=pytest.mark.slow),
    ],
)
def test_several_devices_compute_the_same_as_one(
    tiny: Any, path: CodePath, members: int, devices: int, rows: int
) -> None:
    """This includes augmentation, and the statistics of whole batches, also those of averaged parameters."""
    experiment = changed(tiny, model=Normed(), optimizer=SGD(learning_rate=0.05, ema_decay=0.5))
    alone, together = (trained(experiment, path, members, count) for count in (1, devices))
    assert together["rows"] == rows
    for name in ("params", "variables"):
        error = np.linalg.norm(together[name] - alone[name])
        assert error <= 2e-6 * np.linalg.norm(alone[name]), name
    for name in ("steps", "evaluation"):
        for key, value in alone[name].items():
            np.testing.assert_allclose(together[name][key], value, rtol=1e-5, err_msg=f"{name}.{key}")
    np.testing.assert_allclose(together["logits"], alone["logits"], rtol=1e-4, atol=1e-5)


def compiled(experiment: Any, path: CodePath, members: int, devices: int) -> str:
    """Returns the text of the compiled program of one device."""
    task = task_of(experiment, path, devices)
    program = Program(task, members)
    shapes: Any = (
        abstract_states(task, members),
        program.abstract_metrics(),
        jax.eval_shape(lambda: IMAGES),
        jax.ShapeDtypeStruct((members, 640), np.int32),
        jax.ShapeDtypeStruct((members,), np.int32),
    )
    return program._advance.lower(*shapes).compile().as_text()  # type: ignore[attr-defined]


def test_members_do_not_communicate_and_parts_of_a_batch_sum_their_gradients(tiny: Any) -> None:
    experiment = changed(tiny, model=Normed())
    apart = compiled(experiment, dataclasses.replace(PURE, layers="native"), 8, 8)
    assert not any(word in apart for word in ("all-reduce(", "all-gather(", "all-to-all(", "collective-permute("))
    shared = compiled(experiment, NATIVE, 1, 8)
    assert "all-reduce(" in shared
    assert "f32[8,8,8,4]" in shared  # the output of the convolution for 8 of 64 images
    assert "f32[64,8,8,4]" not in shared


def test_runs_use_and_record_their_devices_and_resume_bit_for_bit(tiny: Any, tmp_path: Any) -> None:
    path = dataclasses.replace(choose_code_path(devices=8), layers="pure")
    options: Any = {"data_dir": tmp_path / "data", "recording": Recording(6, 7, tensorboard=False)}
    quiet = {**options, "reporter": Reporter()}
    single = train(tiny, Options(runs_dir=tmp_path / "single", **quiet, code_path=PURE))
    whole = train(tiny, Options(runs_dir=tmp_path / "whole", **quiet, code_path=path))
    assert whole.config["environments"][0]["code_path"]["devices"] == 8
    assert whole.config["digest"] == single.config["digest"]
    assert whole.summary is not None
    assert single.summary is not None
    assert abs(whole.summary["final"]["test_loss"] - single.summary["final"]["test_loss"]) < 1e-4
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path / "killed", **options, reporter=KilledAt(25), code_path=path))
    assert_same(whole, train(tiny, Options(runs_dir=tmp_path / "killed", **quiet, code_path=path)))
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path / "moved", **options, reporter=KilledAt(25), code_path=path))
    said = MessageRecorder()
    moved = train(tiny, Options(runs_dir=tmp_path / "moved", **options, reporter=said, code_path=PURE))
    assert any("code_path.devices was 8 and is 1" in message for message in said.messages)
    assert [place["code_path"]["devices"] for place in moved.config["environments"]] == [8, 1]


@pytest.mark.slow
def test_a_population_on_four_devices_matches_one_device_and_resumes(tiny: Any, tmp_path: Any) -> None:
    experiments = [dataclasses.replace(tiny, seed=seed) for seed in (0, 1)]
    options: Any = {"data_dir": tmp_path / "data"}
    options |= {"recording": Recording(tensorboard=False, checkpoint_every=7, evaluation=True)}
    path = dataclasses.replace(PURE, devices=4)
    together, alone = (
        train_population(
            experiments, Options(runs_dir=tmp_path / name, **options, reporter=Reporter(), code_path=chosen)
        )
        for name, chosen in (("four", path), ("one", PURE))
    )
    with pytest.raises(Killed):
        train_population(
            experiments, Options(runs_dir=tmp_path / "killed", **options, reporter=KilledAt(25), code_path=path)
        )
    again = train_population(
        experiments, Options(runs_dir=tmp_path / "killed", **options, reporter=Reporter(), code_path=path)
    )
    for one, other, resumed in zip(together, alone, again, strict=True):
        assert one.summary is not None
        assert other.summary is not None
        assert abs(one.summary["final"]["test_loss"] - other.summary["final"]["test_loss"]) < 1e-4
        assert (one.path / "evaluation.npz").exists()
        assert_same(one, resumed)


@pytest.mark.parametrize(
    ("members", "devices"), [(1, 4), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((8, 4), (2, 1)))]
)
def test_the_steps_are_compiled_once(tiny: Any, members: int, devices: int) -> None:
    task = task_of(tiny, PURE, devices)
    path, tasks = task.code_path, [task] * members
    program = Program(task, members)
    states, metrics = initial_states(tasks), program.empty_metrics()
    images = jax.device_put(IMAGES, replicated_sharding(path))
    order = program.epoch_permutations(states.seed, 0)
    for emptied in (False, True, False):
        states, metrics = program.advance(states, metrics, images, order, jnp.full(members, 1, jnp.int32))
        metrics = program.empty_metrics() if emptied else metrics
    assert program._advance._cache_size() == 1  # type: ignore[attr-defined]


def test_work_that_cannot_be_divided_among_devices_is_refused_before_writing(tiny: Any, tmp_path: Any) -> None:
    with pytest.raises(UserError, match=r"devices is 9. Expected: 1 to 8, the number of cpu devices \(XLA_FLAGS="):
        choose_code_path(devices=9)
    with pytest.raises(UserError, match=r"CodePath.devices is 0. Expected: an integer >= 1"):
        choose_code_path(devices=0)
    options: Any = {"data_dir": tmp_path / "data", "code_path": choose_code_path(devices=8), "reporter": Reporter()}
    odd = [changed(tiny, batch_size=60, seed=seed) for seed in range(8)]
    with pytest.raises(UserError, match=r"neither 1 run nor Workload.batch_size, which is 60, can be divided among 8"):
        train(odd[0], Options(runs_dir=tmp_path / "runs", **options))
    with pytest.raises(UserError, match=r"neither 3 runs nor Workload.batch_size, which is 60, can be divided among 8"):
        train_population(odd[:3], Options(runs_dir=tmp_path / "runs", **options))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("count", "largest", "devices", "size"),
    [(20, 8, 8, 8), (20, 8, 1, 7), (20, 12, 8, 8), (20, 18, 4, 12), (3, 8, 8, 3), (9, 7, 8, 5)],
)
def test_waves_fill_the_devices(count: int, largest: int, devices: int, size: int) -> None:
    assert size_of_wave(count, largest, devices) == size
