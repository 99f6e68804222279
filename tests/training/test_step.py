"""The train step and the evaluation step are pure functions, follow their equations, and compile once."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench import kernels
from jaxopt_bench.data import Augmentation
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Constant, Padam
from jaxopt_bench.problems import take_examples
from jaxopt_bench.problems.classification import correct, cross_entropy
from jaxopt_bench.training import (
    NEVER,
    CodePath,
    StepMetrics,
    Task,
    initial_state,
    make_evaluation_step,
    make_train_step,
)
from tests.tasks import changed, drawn_images, task_on


def computed(metrics: StepMetrics, task: Task) -> dict[str, jax.Array]:
    return metrics.compute(task.step_metrics)


def plain(experiment):
    """Returns the experiment with plain SGD and without any randomness in its step."""
    return changed(
        experiment,
        model=CNN(channels=(4,), dense=8, dropout=0.0),
        augmentation=Augmentation(),
        optimizer=SGD(learning_rate=0.1),
        schedule=Constant(),
    )


def test_cross_entropy_with_smoothing_matches_its_definition():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 5)), rng.integers(0, 5, 6)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    targets = 0.8 * np.eye(5)[labels] + 0.2 / 5
    ours = cross_entropy(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), 0.2)
    np.testing.assert_allclose(ours, -(targets * log_p).sum(1), rtol=1e-5)


def test_a_step_of_plain_sgd_is_the_parameters_minus_the_gradient(tiny):
    task, batch = task_on(plain(tiny)), drawn_images(64)
    state = initial_state(task)

    def loss(params):
        images = (batch.inputs / 255.0 - 0.3) / 0.35
        logits = task.experiment.workload.problem.model.module(10).apply({"params": params}, images, train=False)
        smooth = 0.9 * jax.nn.one_hot(batch.labels, 10) + 0.01
        return -(smooth * jax.nn.log_softmax(logits)).sum(-1).mean()

    value, gradient = jax.value_and_grad(loss)(state.params)
    after, metrics = make_train_step(task)(state, batch)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.params, expected)
    measured = computed(metrics, task)
    np.testing.assert_allclose(measured["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(measured["grad_norm"], optax.tree.norm(gradient), rtol=1e-5)
    np.testing.assert_allclose(measured["update_norm"], 0.1 * optax.tree.norm(gradient), rtol=1e-5)
    assert int(after.step) == 1
    assert int(measured["diverged"]) == NEVER


@pytest.fixture(scope="module")
def compiled(tiny):
    """Returns the task of `tiny`, its initial state and its compiled step, which some tests share."""
    task = task_on(tiny)
    return task, initial_state(task), jax.jit(make_train_step(task))


def test_a_step_is_a_pure_function_of_its_arguments(compiled):
    (_, state, step), batch = compiled, drawn_images(64)
    before = jax.tree.map(np.array, state)
    first, again = step(state, batch)[0], step(state, batch)[0]
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(np.testing.assert_array_equal, state, before)


def test_each_step_and_seed_has_its_own_random_draws(compiled):
    (task, state, step), batch = compiled, drawn_images(64)
    losses = {
        float(step(state.replace(step=jnp.int32(t), seed=jnp.uint32(s)), batch)[1].compute(task.step_metrics)["loss"])
        for t in range(3)
        for s in range(3)
    }
    assert len(losses) == 9


def test_other_hyperparameters_schedules_and_seeds_need_no_new_compilation(tiny):
    task, batch = task_on(tiny), drawn_images(64)
    state, step = initial_state(task), jax.jit(make_train_step(task))
    for scale in (1.0, 0.5, 0.1):
        changed = state.replace(
            hyperparameters={k: v * jnp.float32(scale) for k, v in state.hyperparameters.items()},
            schedule={k: v * jnp.float32(scale) for k, v in state.schedule.items()},
            seed=jnp.uint32(100 * scale),
        )
        state_after, _ = step(changed, batch)
        step(state_after, batch)
    assert step._cache_size() == 1


def test_the_learning_rate_of_a_step_follows_the_schedule(tiny):
    task, batch = task_on(changed(tiny, epochs=4)), drawn_images(64)  # 10 steps per epoch, 5 of warmup
    state, step = initial_state(task), jax.jit(make_train_step(task))
    rates = [
        float(step(state.replace(step=jnp.int32(t)), batch)[1].compute(task.step_metrics)["learning_rate"])
        for t in (0, 1, 5, 40)
    ]
    np.testing.assert_allclose(rates, [5e-3 / 5, 2 * 5e-3 / 5, 5e-3, 0], atol=1e-9)


def test_a_loss_that_is_not_finite_is_recorded_with_its_step(tiny):
    task, batch = task_on(plain(tiny)), drawn_images(64)
    state = initial_state(task)
    poisoned = state.replace(step=jnp.int32(6), params=jax.tree.map(lambda p: p * jnp.nan, state.params))
    _, metrics = make_train_step(task)(poisoned, batch)
    assert int(computed(metrics, task)["diverged"]) == 7


@pytest.mark.parametrize(
    ("optimizer", "scale"),
    [(SGD(learning_rate=3e38), 1.0), (SGD(learning_rate=1e-30), 1e25), (OPTIMIZERS["signum"], 1e25)],
    ids=["update", "gradient", "gradient of which only signs are used"],
)
def test_an_overflowing_update_or_gradient_is_a_divergence_and_is_skipped(tiny, optimizer, scale):
    experiment = dataclasses.replace(plain(tiny), optimizer=optimizer)
    task, batch = task_on(experiment), drawn_images(64)
    state = initial_state(task)
    state = state.replace(params={**state.params, "head": jax.tree.map(lambda p: p * scale, state.params["head"])})
    after, metrics = make_train_step(task)(state, batch)
    measured = computed(metrics, task)
    assert int(measured["diverged"]) == 1
    assert np.isfinite(measured["loss"])
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)


@pytest.mark.skipif(kernels.library() is None, reason="the CPU kernels are not built (make kernels)")
@pytest.mark.parametrize("name", ["nesterov", "adamw", "amsgrad", "lion"])
def test_steps_with_fused_updates_equal_those_of_optax_up_to_rounding(tiny, name):
    """Lion has no fused form, so optax computes it on both code paths."""
    experiment = dataclasses.replace(plain(tiny), optimizer=OPTIMIZERS[name])
    batch = drawn_images(64)
    ends = []
    for updates in ("optax", "fused"):
        task = task_on(experiment, code_path=CodePath(updates=updates))
        step = jax.jit(make_train_step(task))
        state, metrics = step(initial_state(task), batch)
        state, metrics = step(state, batch)
        ends.append((state.params, state.opt_state, computed(metrics, task)))
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6), *ends)


def test_merged_metrics_keep_the_first_divergence_and_the_last_learning_rate(compiled):
    (task, state, step), batch = compiled, drawn_images(64)
    _, good = step(state, batch)
    bad_params = jax.tree.map(lambda p: p * jnp.inf, state.params)
    merged = good
    for t in (3, 4, 5):
        merged = merged.merge(step(state.replace(step=jnp.int32(t), params=bad_params), batch)[1])
    measured = computed(merged, task)
    assert int(measured["diverged"]) == 4
    np.testing.assert_allclose(measured["learning_rate"], 5e-3, rtol=1e-6)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters(tiny):
    task, batch = task_on(changed(plain(tiny), dtype="bfloat16")), drawn_images(64)
    state, metrics = make_train_step(task)(initial_state(task), batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    exact = make_train_step(task_on(plain(tiny)))(initial_state(task), batch)[1].compute(task.step_metrics)["loss"]
    loss = computed(metrics, task)["loss"]
    assert loss.dtype == jnp.float32
    assert 0 < abs(float(loss) - float(exact)) < 0.05  # a small rounding error


def test_training_updates_the_running_averages_and_evaluation_only_reads_them(tiny, normed):
    experiment = changed(tiny, model=normed, optimizer=Padam(), batch_size=8)
    task, batch = task_on(experiment, shape=(8, 8, 3)), drawn_images(8, (8, 8, 3))
    state = initial_state(task)
    after, _ = jax.jit(make_train_step(task))(state, batch)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), after.variables, state.variables)
    assert all(jax.tree.leaves(moved))
    evaluate = make_evaluation_step(task)
    kept = jax.tree.map(np.array, after.variables)
    metrics, found = evaluate(after.params, after.variables, batch, jnp.ones(8, bool))
    assert np.isfinite(float(metrics.compute(task.problem.all_metrics)["loss"]))
    jax.tree.map(np.testing.assert_array_equal, after.variables, kept)
    _, alone = evaluate(after.params, after.variables, take_examples(batch, slice(3)), jnp.ones(3, bool))
    np.testing.assert_allclose(alone["loss"], found["loss"][:3], rtol=1e-5)  # unlike in training
    _, before = evaluate(after.params, state.variables, batch, jnp.ones(8, bool))
    assert (found["loss"] != before["loss"]).any()


def test_masked_examples_do_not_count(tiny):
    task, batch = task_on(tiny), drawn_images(16)
    state, evaluate = initial_state(task), make_evaluation_step(task)
    mask = jnp.arange(16) < 5
    first = take_examples(batch, slice(5))
    masked = evaluate(state.params, state.variables, batch, mask)[0].compute(task.problem.all_metrics)
    alone = evaluate(state.params, state.variables, first, jnp.ones(5, bool))[0].compute(task.problem.all_metrics)
    np.testing.assert_allclose(masked["loss"], alone["loss"], rtol=1e-6)
    np.testing.assert_allclose(masked["accuracy"], alone["accuracy"], rtol=1e-6)


def test_accuracy_counts_the_largest_logit():
    logits = jnp.asarray([[1.0, 2.0], [3.0, 0.0], [-jnp.inf, 0.0]])
    assert correct(logits, jnp.asarray([1, 1, 1])).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("label", [0, 1, 2])
@pytest.mark.parametrize(
    "logits",
    [
        [np.nan, np.nan, np.nan],
        [np.nan, 2, 3],
        [1, np.nan, 3],
        [np.inf, np.inf, np.inf],
        [1, 2, np.inf],
        [-np.inf, -np.inf, -np.inf],
    ],
)
def test_an_example_whose_largest_logit_is_not_finite_is_wrong_for_any_label(logits, label):
    for compiled in (correct, jax.jit(correct)):
        assert compiled(jnp.asarray([logits]), jnp.asarray([label])).tolist() == [0.0]


@pytest.mark.parametrize("model", [CNN(), CNN(dropout=0.0)])
def test_the_initial_state_is_a_function_of_the_seed(tiny, model):
    one, two, other = (initial_state(task_on(changed(tiny, model=model, seed=seed))).params for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
