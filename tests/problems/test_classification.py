"""Classification of vectors and sequences: standardised inputs, a step against NumPy, and refused settings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxopt_bench.data import Augmentation
from jaxopt_bench.data.specs import feature_mean_and_std
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN, CNN1D, GRU, MLP
from jaxopt_bench.prng import Draw
from jaxopt_bench.problems import Classification
from jaxopt_bench.problems.classification import LabelledInputs


def test_vectors_are_standardised_and_the_loss_is_the_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    inputs = (rng.normal(size=(50, 4)) * [1, 10, 0, 3] + [0, -5, 2, 100]).astype(np.float32)
    examples = LabelledInputs(inputs, rng.integers(0, 3, 50, np.int32))
    mean, std = feature_mean_and_std(inputs)
    np.testing.assert_allclose(std, [*inputs[:, :2].std(0, float), 1, inputs[:, 3].std(dtype=float)])
    problem = Classification(dataset="mnist1d", model=MLP(widths=())).on_examples(
        examples, class_names=("a", "b", "c"), mean=mean, std=std
    )
    params, variables = jax.jit(problem.initial)(jax.random.key(0))
    found = jax.jit(problem.evaluation)(params, variables, examples)
    standard = (inputs.astype(float) - mean) / std
    np.testing.assert_allclose(standard.mean(0), [0, 0, 0, 0], atol=1e-5)
    logits = standard @ np.asarray(params["head"]["kernel"], float)
    expected = -scipy.special.log_softmax(logits, axis=1)[np.arange(50), examples.labels]
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["accuracy"], logits.argmax(1) == examples.labels)
    loss, _ = jax.jit(problem.training)(params, variables, examples, Draw(0, 0))
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-4)


@pytest.mark.parametrize("model", [MLP(), GRU(width=4), CNN1D(channels=(4,))])
def test_sequences_of_mnist_1d_are_classified(model: MLP | GRU | CNN1D) -> None:
    config = Classification(dataset="mnist1d", model=model)
    problem = config.load()
    assert problem.train_examples == 3600
    assert len(problem.split("validation").labels) == 400
    assert len(problem.split("test").labels) == 1000
    params, variables = jax.jit(problem.initial)(jax.random.key(0))
    shapes = jax.tree.map(lambda leaf: leaf.shape, config.parameter_shapes())
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, params)
    batch = LabelledInputs(*(jnp.asarray(array[:8]) for array in problem.train))
    assert problem.prepared(batch, Draw(0, 0)).inputs.shape == (8, 40, 1)
    loss, _ = jax.jit(problem.training)(params, variables, batch, Draw(0, 0))
    found = jax.jit(problem.evaluation)(params, variables, batch)  # there is no dropout
    np.testing.assert_allclose(loss, found["loss"].mean(), rtol=1e-5)
    assert jax.eval_shape(problem.predictions, params, variables, batch)["logits"].shape == (8, 10)
    assert problem.training_views is not None
    assert list(problem.training_views(batch, problem.prepared(batch, Draw(0, 0)))) == []  # nothing is augmented


def test_models_and_augmentation_that_do_not_fit_the_data_are_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"the model cnn takes images, but the data set mnist1d consists of sequences\. Expected a model that "
        r"takes sequences: cnn1d, gru, mlp\.",
    ):
        Classification(dataset="mnist1d", model=CNN())
    with pytest.raises(UserError, match=r"the model gru takes sequences or tokens, but the data set digits consists"):
        Classification(dataset="digits", model=GRU())
    with pytest.raises(UserError, match=r"augmentation changes images, but the data set mnist1d consists of sequences"):
        Classification(dataset="mnist1d", model=GRU(), augmentation=Augmentation(flip=True))
