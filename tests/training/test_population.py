"""Populations: the results of a member are those of a single run and do not depend on the other members."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MODELS, CifarResNet
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, Cosine
from jaxopt_bench.problems import take_examples
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.training import (
    NEVER,
    CodePath,
    Program,
    Task,
    choose_code_path,
    initial_states,
    largest_population,
    member,
    padded_batches,
)
from tests.tasks import changed, drawn_images, task_on

EXAMPLES = 96
MAP = CodePath("pure", "compiled", "map")
VMAP = CodePath("pure", "compiled", "vmap")
THREADS = [dataclasses.replace(MAP, side_by_side=threads) for threads in (1, 2, 3, 7)]


@pytest.fixture
def data() -> LabelledInputs:
    return drawn_images(EXAMPLES)


def tasks_of(experiment, code_path, *changes) -> list[Task]:
    experiments = [changed(experiment, batch_size=16, **change) for change in changes]
    return [task_on(e, EXAMPLES, code_path=code_path) for e in experiments]


def train(tasks: list[Task], data: LabelledInputs, epochs: int = 2):
    """Returns the metrics of the last epoch, the states, and the results of an evaluation of 40 images."""
    count, task = len(tasks), tasks[0]
    program = Program(task, count)
    states = initial_states(tasks)
    for epoch in range(epochs):
        steps = jnp.full(count, task.steps_per_epoch)
        order = program.epoch_permutations(states.seed, epoch)
        states, metrics = program.advance(states, program.empty_metrics(), data, order, steps)
    split = jax.tree.map(np.asarray, take_examples(data, slice(40)))
    return metrics, states, program.evaluator.evaluate(states, list(padded_batches(split, 16)))


CHANGES = (
    {"seed": 3, "optimizer": AdamW(learning_rate=1e-2)},
    {"seed": 4, "optimizer": AdamW(learning_rate=1e-3, b1=0.5, weight_decay=0.3)},
    {"seed": 3, "optimizer": AdamW(learning_rate=3e-3), "schedule": Cosine(warmup=1, final=0.2)},
)


@pytest.mark.parametrize(
    "path",
    [THREADS[0], *(pytest.param(path, marks=pytest.mark.slow) for path in THREADS[1:])],
    ids=lambda path: f"{path.side_by_side}-threads",
)
def test_members_in_turn_or_in_threads_are_bit_identical_to_single_runs(tiny, data, path):
    population = train(tasks_of(tiny, path, *CHANGES), data)
    for i, change in enumerate(CHANGES):
        single = train(tasks_of(tiny, MAP, change), data)
        jax.tree.map(np.testing.assert_array_equal, member(population, i), member(single, 0))


@pytest.mark.parametrize("model", ["normed", pytest.param("resnet20", marks=pytest.mark.slow)])
def test_members_with_batch_statistics_are_bit_identical_to_single_runs(model, tiny, data, normed):
    def advanced(*seeds: int):
        changes = [{"model": MODELS[model], "seed": seed, "optimizer": SGD(momentum=0.9)} for seed in seeds]
        tasks, count = tasks_of(tiny, MAP, *changes), len(seeds)
        states, program = initial_states(tasks), Program(tasks[0], count)
        order = program.epoch_permutations(states.seed, 0)
        return program.advance(states, program.empty_metrics(), data, order, jnp.full(count, 3))

    jax.tree.map(np.testing.assert_array_equal, member(advanced(0, 1), 1), member(advanced(1), 0))


@pytest.mark.slow
@pytest.mark.parametrize("path", [VMAP, *(choose_code_path(b) for b in ("gpu", "metal"))], ids=str)
def test_members_computed_together_are_close_to_single_runs(tiny, data, path):
    """The losses agree to 1% after twelve steps of AdamW, which normalizes even rounding errors in its first steps."""
    metrics, states, evaluated = train(tasks_of(tiny, path, *CHANGES), data)
    for i, change in enumerate(CHANGES):
        own, own_states, own_evaluated = member(train(tasks_of(tiny, path, change), data), 0)
        np.testing.assert_allclose(metrics.means["loss"].total[i], own.means["loss"].total, rtol=1e-2)
        np.testing.assert_allclose(evaluated["loss"][i], own_evaluated["loss"], rtol=1e-2)
        jax.tree.map(np.testing.assert_array_equal, states.seed[i], own_states.seed)


@pytest.mark.parametrize(
    "name",
    ["padam"]
    + [
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("noisy_sgd", "schedule_free_adamw", "lion", "muon", "prodigy")
    ],
)
def test_members_do_not_depend_on_their_order_in_the_population(name, tiny, data):
    optimizer, own = OPTIMIZERS[name], OPTIMIZERS[name].learning_rate
    changes = [{"optimizer": dataclasses.replace(optimizer, learning_rate=rate)} for rate in (own / 2, own)]
    population = train(tasks_of(tiny, MAP, *changes), data, epochs=1)
    turned = train(tasks_of(tiny, MAP, *reversed(changes)), data, epochs=1)
    for place in (0, 1):
        jax.tree.map(np.testing.assert_array_equal, member(population, place), member(turned, 1 - place))
    kernels = population[1].params["head"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.mark.parametrize(
    "path", [pytest.param(MAP, marks=pytest.mark.slow), VMAP, THREADS[1]], ids=["map", "vmap", "side-by-side"]
)
def test_a_member_that_diverges_does_not_affect_the_others(tiny, data, path):
    healthy, wild = {"optimizer": SGD(learning_rate=0.1)}, {"optimizer": SGD(learning_rate=1e30)}
    metrics, states, _ = train(tasks_of(tiny, path, healthy, wild, healthy), data)
    calm = train(tasks_of(tiny, path, healthy, healthy, healthy), data)
    jax.tree.map(np.testing.assert_array_equal, member(states, 0), member(calm[1], 0))
    assert metrics.diverged.step[1] < NEVER
    assert metrics.diverged.step[0] == metrics.diverged.step[2] == NEVER


@pytest.mark.parametrize("path", THREADS[:2], ids=lambda path: f"{path.side_by_side}-threads")
def test_each_member_makes_its_own_number_of_steps(tiny, data, path):
    tasks = tasks_of(tiny, path, *CHANGES)
    program = Program(tasks[0], 3)
    states, counts = initial_states(tasks), jnp.array([2, 0, 5])
    before = jax.tree.map(np.asarray, states)
    order = program.epoch_permutations(states.seed, 0)
    states, metrics = program.advance(states, program.empty_metrics(), data, order, counts)
    assert states.step.tolist() == metrics.steps.tolist() == [2, 0, 5]
    jax.tree.map(np.testing.assert_array_equal, member(states, 1), member(before, 1))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"optimizer": SGD()}, "optimizer"),
        ({"optimizer": AdamW(decay_mask="kernels")}, "optimizer.decay_mask"),
        ({"schedule": Cosine(warmup=1), "batch_size": 32}, "batch_size"),
        ({"model": CifarResNet()}, "model"),
        ({"label_smoothing": 0.2}, "label_smoothing"),
    ],
)
def test_members_that_one_program_cannot_train_are_refused_with_the_field(tiny, change, field):
    tasks = tasks_of(tiny, MAP, {})
    other = dataclasses.replace(tasks[0], experiment=changed(tasks[0].experiment, **change))
    with pytest.raises(UserError, match=rf"members differ in {field}.* Expected: differences only in float fields"):
        initial_states([*tasks, other])


def test_members_with_and_without_an_optional_number_are_refused(tiny):
    tasks = tasks_of(tiny, MAP, {"optimizer": SGD()}, {"optimizer": SGD(momentum=0.9)})
    with pytest.raises(UserError, match=r"members differ in optimizer\.momentum"):
        initial_states(tasks)


@pytest.mark.parametrize(
    ("wanted", "available", "expected"), [(8, 180, 8), (8, 179, 7), (8, 125, 2), (8, 109, 1), (8, 0, 1), (1, 0, 1)]
)
def test_the_largest_population_that_fits_has_at_least_one_member(wanted, available, expected):
    assert largest_population(lambda members: 100 + 10 * members, wanted, available) == expected


def test_a_population_too_large_to_compile_is_halved_until_it_compiles():
    need = lambda members: math.inf if members > 8 else 100.0 + 10 * members  # noqa: E731
    assert largest_population(need, 64, 1000) == 8
    assert largest_population(need, 64, 150) == 5


@pytest.mark.slow
def test_the_memory_of_a_population_grows_in_proportion_to_its_members(tiny, data):
    (task,) = tasks_of(tiny, MAP, {})
    needs = [Program(task, members).needed_bytes(data) for members in (1, 2, 4)]
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(initial_states([task])))
    assert needs[2] - needs[1] == pytest.approx(2 * (needs[1] - needs[0]), rel=0.5)
    assert 3 * state < needs[1] - needs[0] < 20 * state
    assert Program(dataclasses.replace(task, code_path=CodePath()), 4).needed_bytes(data) == 0


def test_the_compiler_accepts_the_options_for_determinism(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    options = choose_code_path("gpu", deterministic=True).compiler_options()
    assert options
    assert jax.jit(lambda x: x + 1, compiler_options=options)(1) == 2  # an unknown option is an error
    assert choose_code_path("gpu").compiler_options() is None


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu", "METAL"])
def test_every_backend_has_a_code_path_with_a_python_loop_if_it_is_unknown(backend):
    path = choose_code_path(backend, deterministic=True)
    assert path.deterministic
    assert (path.loop == "python") == (backend == "METAL")
