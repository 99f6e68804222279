"""The training loop and the evaluation: the order of examples, the division into calls, metrics and statistics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.data import Augmentation, augment
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import take_examples
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.training import (
    CodePath,
    Program,
    StepMetrics,
    Task,
    TrainState,
    choose_code_path,
    initial_state,
    initial_states,
    make_train_step,
    member,
    padded_batches,
)
from jaxopt_bench.training.batches import EVALUATION_BATCH, epoch_permutation
from tests.tasks import changed, drawn_images, task_on

EXAMPLES = 205
SEED = jnp.uint32(0)


@pytest.fixture
def data() -> LabelledInputs:
    return drawn_images(EXAMPLES)


@pytest.fixture(scope="module")
def task(tiny) -> Task:
    return task_on(changed(tiny, batch_size=40), EXAMPLES)


@pytest.fixture(scope="module")
def step(task) -> Any:
    """Returns the compiled step of the task, which the tests share."""
    return jax.jit(make_train_step(task))


def test_each_epoch_and_seed_has_its_own_order_of_all_examples(task):
    orders = [np.asarray(epoch_permutation(task, SEED, epoch)) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(EXAMPLES))
    assert not (orders[0] == orders[1]).all()
    np.testing.assert_array_equal(orders[2], epoch_permutation(task, SEED, 2))
    assert not (orders[0] == np.asarray(epoch_permutation(task, SEED + 1, 0))).all()


def advanced(
    task: Task, data: LabelledInputs, *divisions: int, tasks: Sequence[Task] = (), program: Program | None = None
) -> tuple[TrainState, StepMetrics]:
    """Returns states and metrics after calls with the given numbers of steps, from the start of the first epoch."""
    tasks = tasks or [task]
    program = program or Program(task, len(tasks))
    states, metrics = initial_states(tasks), program.empty_metrics()
    for steps in divisions:
        order = program.epoch_permutations(states.seed, int(states.step[0]) // task.steps_per_epoch)
        states, metrics = program.advance(states, metrics, data, order, jnp.full(len(tasks), steps))
    return states, metrics


@pytest.mark.parametrize("code_path", [choose_code_path(backend) for backend in ("metal", "cpu", "gpu")], ids=str)
def test_advancing_equals_single_steps_with_the_batches_of_the_order(task, step, data, code_path):
    state = initial_state(task)
    for epoch in range(2):
        for indices in np.asarray(epoch_permutation(task, state.seed, epoch))[:200].reshape(5, 40):
            state, _ = step(state, take_examples(data, indices))
    ours, _ = advanced(task_on(task.experiment, EXAMPLES, code_path=code_path), data, 5, 2, 3)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=2e-5, atol=1e-6), ours, state)
    assert int(ours.step[0]) == 10


def test_the_order_follows_the_seed_in_the_state(task, data):
    """The seed is an array in the state, so one compiled program serves all seeds."""
    other = dataclasses.replace(task, experiment=dataclasses.replace(task.experiment, seed=2**32 - 1))
    own, borrowed = advanced(other, data, 5), advanced(task, data, 5, tasks=[other])
    jax.tree.map(np.testing.assert_array_equal, own, borrowed)


@pytest.mark.parametrize("loop", ["python", "compiled"])
def test_the_division_into_calls_does_not_change_any_bit(task, data, loop):
    task = task_on(task.experiment, EXAMPLES, code_path=CodePath("pure", loop))
    program = Program(task)
    whole = advanced(task, data, 5, program=program)
    for division in ([1, 4], [2, 2, 1]):
        jax.tree.map(np.testing.assert_array_equal, whole, advanced(task, data, *division, program=program))


def test_one_compilation_serves_any_number_of_steps(task, data):
    compiled = task_on(task.experiment, EXAMPLES, code_path=CodePath("pure", "compiled"))
    program = Program(compiled)
    states, metrics = initial_states([compiled]), program.empty_metrics()
    for steps in (1, 2, 2):
        order = program.epoch_permutations(states.seed, 0)
        states, metrics = program.advance(states, metrics, data, order, jnp.full(1, steps))
    assert program._advance._cache_size() == 1  # type: ignore[attr-defined]


def test_metrics_are_means_over_steps(task, step, data):
    state = initial_state(task)
    order = np.asarray(epoch_permutation(task, SEED, 0))[:160].reshape(4, 40)
    expected = []
    for indices in order:
        state, metrics = step(state, take_examples(data, indices))
        expected.append({name: float(value) for name, value in metrics.compute(task.step_metrics).items()})
    _, merged = advanced(task, data, 4)
    for name in ("loss", "accuracy", "grad_norm", "update_norm"):
        mean = np.mean([values[name] for values in expected])
        np.testing.assert_allclose(member(merged, 0).compute(task.step_metrics)[name], mean, rtol=1e-5)
    assert int(merged.steps[0]) == 4


@pytest.mark.parametrize("count", [1, EVALUATION_BATCH - 1, EVALUATION_BATCH, 2 * EVALUATION_BATCH + 3])
def test_evaluation_counts_every_example_once(task, count):
    split = jax.tree.map(np.asarray, drawn_images(count, seed=1))
    state = initial_state(task)
    module = task.experiment.workload.problem.model.module(10)
    logits = np.asarray(module.apply({"params": state.params}, (split.inputs / 255.0 - 0.3) / 0.35, train=False))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    metrics = member(Program(task).evaluator.evaluate(initial_states([task]), list(padded_batches(split))), 0)
    np.testing.assert_allclose(metrics["loss"], -log_p[np.arange(count), split.labels].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(1) == split.labels).mean(), rtol=1e-6)


@pytest.mark.parametrize("code_path", [choose_code_path(backend) for backend in ("metal", "cpu")], ids=str)
def test_predictions_are_each_members_network_applied_to_each_example(task, code_path):
    split = jax.tree.map(np.asarray, drawn_images(EVALUATION_BATCH + 3, seed=1))
    tasks = [task_on(dataclasses.replace(task.experiment, seed=seed), EXAMPLES, code_path=code_path) for seed in (0, 1)]
    statistics, outputs = Program(tasks[0], 2).evaluator.predict(initial_states(tasks), padded_batches(split))
    found = outputs["logits"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(outputs["labels"], [split.labels] * 2)
    np.testing.assert_array_equal(statistics["accuracy"], found.argmax(-1) == split.labels)
    module = task.experiment.workload.problem.model.module(10)
    for own, each in zip(found, tasks, strict=True):
        params = initial_state(each).params
        expected = module.apply({"params": params}, (split.inputs / 255.0 - 0.3) / 0.35, train=False)
        np.testing.assert_allclose(own, expected, rtol=1e-4, atol=1e-5)


def test_the_first_batch_is_that_of_the_first_step(task, data):
    batch, prepared = Program(task).first_batch(data, jnp.uint32(3))
    indices = np.asarray(epoch_permutation(task, jnp.uint32(3), 0))[:40]
    np.testing.assert_array_equal(batch.inputs, data.inputs[indices])
    np.testing.assert_array_equal(batch.labels, data.labels[indices])
    seen = augment(task.experiment.workload.problem.augmentation, data.inputs[indices], 3, 0, (0.3,), (0.35,))
    np.testing.assert_allclose(prepared.inputs, seen, rtol=1e-5, atol=1e-5)


def test_padding_is_masked():
    split = LabelledInputs(np.ones((7, 2, 2, 1), np.uint8), np.arange(7, dtype=np.int32))
    batches = list(padded_batches(split, 4))
    assert [batch.inputs.shape[0] for batch, _ in batches] == [4, 4]
    assert np.concatenate([mask for _, mask in batches]).tolist() == [True] * 7 + [False]


def test_states_without_averages_and_batch_statistics_are_evaluated_unchanged(task, data):
    states = initial_states([task])
    assert Program(task).evaluator.states_to_evaluate(states, data) is states


@pytest.mark.parametrize(("members", "ema_decay", "scale"), [(1, 0.9, 1), (2, 0.9, 1), (2, None, 1), (1, None, 1e7)])
def test_parameters_are_evaluated_with_batch_statistics_of_their_own(members, ema_decay, scale, tiny, data, normed):
    """The batch statistics are those of the normalization's inputs for these parameters, not those of training."""
    optimizers = [SGD(learning_rate=rate, ema_decay=ema_decay) for rate in (0.01, 0.1)][:members]
    plain = {"batch_size": 40, "augmentation": Augmentation(), "model": normed}
    tasks = [task_on(changed(tiny, optimizer=o, **plain), EXAMPLES) for o in optimizers]
    states, _ = advanced(tasks[0], data, 5, tasks=tasks)
    states = states.replace(params={**states.params, "conv": jax.tree.map(lambda p: p * scale, states.params["conv"])})
    evaluated = Program(tasks[0], members).evaluator.states_to_evaluate(states, data)
    for place, optimizer in enumerate(optimizers):
        own, trained = member(evaluated, place), member(states, place)
        expected = optimizer.evaluation_parameters(trained.opt_state, trained.params)
        jax.tree.map(np.testing.assert_array_equal, own.params, expected)
        assert np.allclose(own.params["head"]["kernel"], trained.params["head"]["kernel"]) == (ema_decay is None)
        means, variances = [], []
        for batch in range(5):
            pixels = np.asarray(data.inputs[batch * 40 : batch * 40 + 40]) / 255
            _, seen = normed.module(10).apply(
                {"params": own.params, "batch_stats": own.variables},
                jnp.asarray((pixels - 0.3) / 0.35, jnp.float32),
                train=True,
                capture_intermediates=lambda module, _: module.name == "conv",
                mutable=["intermediates", "batch_stats"],
            )
            (inputs,) = seen["intermediates"]["conv"]["__call__"]
            means.append(np.asarray(inputs, np.float64).mean((0, 1, 2)))
            variances.append(np.asarray(inputs, np.float64).var((0, 1, 2)))
        found = own.variables["norm"]
        np.testing.assert_allclose(found["mean"], np.mean(means, 0), rtol=1e-3, atol=1e-5 * scale)
        np.testing.assert_allclose(found["var"], np.mean(variances, 0), rtol=1e-3)
        assert not np.allclose(found["var"], trained.variables["norm"]["var"], rtol=1e-2)


def test_equal_parameters_are_evaluated_alike_whether_or_not_they_are_an_average(tiny, data, normed):
    """An exponential average with decay 0 equals the parameters."""
    seen = []
    for ema_decay in (None, 0.0):
        optimizer = SGD(learning_rate=0.1, ema_decay=ema_decay)
        experiment = changed(tiny, batch_size=40, model=normed, optimizer=optimizer)
        task = task_on(experiment, EXAMPLES)
        states, _ = advanced(task, data, 3)
        seen.append(Program(task).evaluator.states_to_evaluate(states, data))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), seen[0].params, seen[1].params)
    statistics = (own.variables for own in seen)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), *statistics)


def test_non_finite_batch_statistics_of_training_do_not_affect_evaluation(tiny, data, normed):
    experiment = changed(tiny, batch_size=40, model=normed)
    task = task_on(experiment, EXAMPLES)
    states = initial_states([task])
    expected = Program(task).evaluator.states_to_evaluate(states, data)
    broken = states.replace(variables=jax.tree.map(lambda leaf: leaf * jnp.nan, states.variables))
    jax.tree.map(np.testing.assert_array_equal, Program(task).evaluator.states_to_evaluate(broken, data), expected)


def test_the_estimation_of_batch_statistics_can_be_stopped_before_each_batch(tiny, data, normed):
    def watched(batches):
        for number in batches:
            if number == 2:
                raise InterruptedError
            yield number

    task = task_on(changed(tiny, batch_size=40, model=normed), EXAMPLES)
    with pytest.raises(InterruptedError):
        Program(task).evaluator.states_to_evaluate(initial_states([task]), data, watched)


def test_other_hyperparameters_and_restored_states_need_no_new_compilation(task, data):
    task = task_on(task.experiment, EXAMPLES, code_path=choose_code_path("cpu"))
    program = Program(task)
    states, metrics = initial_states([task]), program.empty_metrics()
    for factor in (1.0, 0.5, 2.0):
        order = program.epoch_permutations(states.seed, 0)
        states, metrics = program.advance(states, metrics, data, order, jnp.ones(1, jnp.int32))
        saved = jax.tree.map(np.asarray, (states, metrics))  # as in a checkpoint
        states, metrics = jax.tree.map(jnp.asarray, saved)
        numbers = {name: value * jnp.float32(factor) for name, value in states.hyperparameters.items()}
        states = states.replace(hyperparameters=numbers, seed=states.seed + 1)
    assert program._advance._cache_size() == 1  # type: ignore[attr-defined]
