"""The loops that are composed from the steps: every example once, in an order that counts epochs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.data import Split
from jaxopt_bench.training import Batch, StepMetrics, Task, initial_state, make_advance, make_evaluate, make_train_step
from jaxopt_bench.training.loop import EVALUATION_BATCH, epoch_order, padded_batches

EXAMPLES = 205
SEED = jnp.uint32(0)


@pytest.fixture
def data() -> Batch:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (EXAMPLES, 8, 8, 1), dtype=np.uint8)
    return Batch(jnp.asarray(images), jnp.asarray(rng.integers(0, 10, EXAMPLES, dtype=np.int32)))


@pytest.fixture
def task(tiny) -> Task:
    return Task(dataclasses.replace(tiny, batch_size=40), (8, 8, 1), 10, EXAMPLES, (0.3,), (0.35,))


def test_an_epoch_goes_through_every_example_in_an_order_of_its_own(task):
    orders = [np.asarray(epoch_order(task, SEED, epoch)) for epoch in range(3)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(EXAMPLES))
    assert not (orders[0] == orders[1]).all()
    np.testing.assert_array_equal(orders[2], epoch_order(task, SEED, 2))
    assert not (orders[0] == np.asarray(epoch_order(task, SEED + 1, 0))).all()


def test_advancing_is_stepping_through_the_batches_of_the_order(task, data):
    advance, step = make_advance(task, data), jax.jit(make_train_step(task))
    state = initial_state(task)
    for epoch in range(2):
        for indices in np.asarray(epoch_order(task, state.seed, epoch))[:200].reshape(5, 40):
            state, _ = step(state, Batch(data.images[indices], data.labels[indices]))
    ours, metrics = initial_state(task), StepMetrics.empty()
    for steps in (5, 2, 3):
        ours, metrics = advance(ours, metrics, steps)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), ours, state)
    assert int(ours.step) == 10


def test_the_order_follows_the_seed_in_the_state(task, data):
    """The seed is an array like any other: one compiled program serves all seeds."""
    other = dataclasses.replace(task, experiment=dataclasses.replace(task.experiment, seed=2**32 - 1))
    own, _ = make_advance(other, data)(initial_state(other), StepMetrics.empty(), 5)
    borrowed, _ = make_advance(task, data)(initial_state(other), StepMetrics.empty(), 5)
    jax.tree.map(np.testing.assert_array_equal, own, borrowed)


def test_the_division_into_calls_changes_no_bit(task, data):
    advance = make_advance(task, data)
    results = []
    for division in ([5], [1, 4], [2, 2, 1]):
        state, metrics = initial_state(task), StepMetrics.empty()
        for steps in division:
            state, metrics = advance(state, metrics, steps)
        results.append(jax.tree.map(np.asarray, (state, metrics)))
    for other in results[1:]:
        jax.tree.map(np.testing.assert_array_equal, results[0], other)


def test_metrics_are_means_over_steps(task, data):
    advance = make_advance(task, data)
    single = []
    state = initial_state(task)
    for _ in range(4):
        state, metrics = advance(state, StepMetrics.empty(), 1)
        single.append({k: float(v) for k, v in metrics.compute().items()})
    _, merged = advance(initial_state(task), StepMetrics.empty(), 4)
    for name in ("loss", "accuracy", "grad_norm", "update_norm"):
        np.testing.assert_allclose(merged.compute()[name], np.mean([s[name] for s in single]), rtol=1e-5)
    assert int(merged.loss.count) == 4


@pytest.mark.parametrize("count", [1, EVALUATION_BATCH - 1, EVALUATION_BATCH, 2 * EVALUATION_BATCH + 3])
def test_evaluation_counts_every_example_once(task, count):
    rng = np.random.default_rng(1)
    split = Split(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), rng.integers(0, 10, count).astype(np.int32))
    state = initial_state(task)
    module = task.experiment.model.module(10)
    logits = np.asarray(module.apply({"params": state.params}, (split.images / 255.0 - 0.3) / 0.35, train=False))
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    metrics = make_evaluate(task)(state, split).compute()
    np.testing.assert_allclose(metrics["loss"], -log_p[np.arange(count), split.labels].mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(1) == split.labels).mean(), rtol=1e-6)


def test_padding_is_masked():
    split = Split(np.ones((7, 2, 2, 1), np.uint8), np.arange(7, dtype=np.int32))
    batches = list(padded_batches(split, 4))
    assert [batch.images.shape[0] for batch, _ in batches] == [4, 4]
    assert np.concatenate([mask for _, mask in batches]).tolist() == [True] * 7 + [False]
