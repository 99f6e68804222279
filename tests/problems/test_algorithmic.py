"""Modular addition: the pairs, the loss against PyTorch, and the training of a small case."""

from __future__ import annotations

import math

import jax
import numpy as np
import optax
import pytest
import torch

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MLP, Transformer
from jaxopt_bench.prng import Draw
from jaxopt_bench.problems import PROBLEMS, ModularAddition
from jaxopt_bench.problems.views import Matrix

SMALL = ModularAddition(modulus=7, train_fraction=0.8, model=Transformer(width=16, depth=1, heads=2))


@pytest.mark.parametrize(("modulus", "fraction", "counts"), [(7, 0.8, [39, 5, 5]), (59, 0.3, [1044, 1218, 1219])])
def test_each_pair_is_in_one_split(modulus: int, fraction: float, counts: list[int]) -> None:
    problem = ModularAddition(modulus=modulus, train_fraction=fraction).load()
    parts = [problem.split(name) for name in ("train", "validation", "test")]
    assert [len(part.sums) for part in parts] == counts
    terms, sums = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    assert sorted(map(tuple, terms)) == [(a, b, modulus) for a in range(modulus) for b in range(modulus)]
    np.testing.assert_array_equal(sums, [(int(a) + int(b)) % modulus for a, b, _ in terms])
    again = ModularAddition(modulus=modulus, train_fraction=fraction).load()
    np.testing.assert_array_equal(again.train.terms, parts[0].terms)


def test_the_loss_is_the_cross_entropy_of_the_sums_at_the_last_position() -> None:
    problem, rng = SMALL.load(), np.random.default_rng(0)
    shapes = jax.eval_shape(problem.initial, jax.random.key(0))[0]
    params = jax.tree.map(lambda leaf: (0.4 * rng.normal(size=leaf.shape)).astype(np.float32), shapes)
    found = jax.jit(problem.evaluation)(params, {}, problem.train)
    apply = jax.jit(lambda p, x: SMALL.model.module(8).apply({"params": p}, x, train=False))
    logits = apply(params, problem.train.terms)[:, 2, :7]
    own, sums = torch.tensor(np.asarray(logits, np.float64)), torch.tensor(problem.train.sums).long()
    expected = torch.nn.functional.cross_entropy(own, sums, reduction="none")
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)
    np.testing.assert_array_equal(found["accuracy"], own.argmax(1) == sums)
    loss, (statistics, _) = jax.jit(problem.training)(params, {}, problem.train, Draw(0, 0))
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(statistics["accuracy"], (own.argmax(1) == sums).double().mean(), rtol=1e-5)


def test_training_starts_at_the_untrained_values_and_learns_all_pairs() -> None:
    problem = SMALL.load()
    params, optimizer = jax.jit(problem.initial)(jax.random.key(0))[0], optax.adam(1e-2)
    evaluation = jax.jit(problem.evaluation)
    before = evaluation(params, {}, problem.train)
    accuracy, loss = problem.all_metrics
    assert float(before["loss"].mean()) == pytest.approx(math.log(7)) == loss.untrained
    assert accuracy.untrained == pytest.approx(1 / 7)
    assert problem.headline is accuracy

    def step(_: int, carry: tuple) -> tuple:
        params, state = carry
        grads = jax.grad(lambda p: problem.training(p, {}, problem.train, Draw(0, 0))[0])(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params, _ = jax.jit(lambda carry: jax.lax.fori_loop(0, 300, step, carry))((params, optimizer.init(params)))
    assert evaluation(params, {}, problem.train)["accuracy"].mean() == 1


def test_wrong_sums_are_shown_at_their_terms() -> None:
    problem = SMALL.load()
    assert problem.views is not None
    logits = np.eye(7)[problem.train.sums]
    logits[3] = np.roll(logits[3], 1)
    (view,) = problem.views(problem.train, {"logits": logits})
    assert isinstance(view, Matrix)
    a, b, _ = problem.train.terms[3]
    assert view.values[a, b] == view.values.sum() == 1
    assert "sum modulo 7: 1 of 39" in view.text


def test_names_and_shapes() -> None:
    assert SMALL.title == "modular_addition_7_transformer"
    shapes = jax.tree.map(lambda leaf: leaf.shape, SMALL.parameter_shapes())
    initial = jax.eval_shape(SMALL.load().initial, jax.random.key(0))[0]
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, initial)
    assert PROBLEMS.from_json({"name": "modular_addition", **SMALL.to_json()}) == SMALL
    assert ModularAddition.metric_names == tuple(metric.name for metric in SMALL.load().all_metrics)


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"the model mlp takes .*, but modular addition consists of tokens"):
        ModularAddition(model=MLP())
    with pytest.raises(UserError, match=r"ModularAddition\.train_fraction is 0\.99, which leaves 9 training pairs and"):
        ModularAddition(modulus=3, train_fraction=0.99)
    with pytest.raises(UserError, match=r"cannot be trained on its validation examples\. Expected Study\.refit=False"):
        SMALL.without_validation()
