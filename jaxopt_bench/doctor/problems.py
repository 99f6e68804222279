"""A small problem of each kind, to check its losses and gradient. Its examples are stored with the results."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from jaxopt_bench.data.tables import Table
from jaxopt_bench.models import MLP, Transformer
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems import (
    LOSS,
    Autoencoder,
    Burgers,
    Classification,
    DeepLinear,
    Language,
    MatrixFactorisation,
    ModularAddition,
    NoisyQuadratic,
    Poisson,
    Problem,
    Rosenbrock,
    VariationalAutoencoder,
)
from jaxopt_bench.problems.algorithmic import Sums
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.problems.physics import Collocation
from jaxopt_bench.problems.reconstruction import Network, Reconstruction
from jaxopt_bench.problems.regression import Rows, regression_problem

Arrays = Mapping[str, Array]

TANH = MLP(widths=(4,), activation="tanh")
CODE = 2
CLASSES = 3
MODULUS = 5
TRANSFORMER = Transformer(width=4, depth=1, heads=2)


@dataclasses.dataclass(frozen=True, eq=False)
class SmallProblem:
    """A small problem.

    Attributes:
      shapes: the shapes of its parameters.
      losses: returns the losses for the parameters and the stored inputs, without random numbers.
    """

    shapes: PyTree[jax.ShapeDtypeStruct]
    losses: Callable[[Any, Arrays], Array]

    def with_gradient(self, inputs: Arrays) -> Arrays:
        """Returns the losses of the examples, and the gradient of their sum by the parameters as one vector."""
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self.shapes)
        _, unravel = ravel_pytree(zeros)
        losses, pull = jax.vjp(lambda vector: self.losses(unravel(vector), inputs), inputs["parameters"])
        return {"losses": losses, "parameters gradient": pull(jnp.ones_like(losses))[0]}


def small_problems(layers: LayersPath) -> Mapping[str, SmallProblem]:
    """Returns the small problems by the names of their kinds.

    Args:
      layers: the implementation of the layers of networks.
    """
    return {
        "autoencoder": _reconstruction(Autoencoder(encoder=TANH, code=CODE), layers),
        "burgers": _from_problem(Burgers(model=TANH, points=2, validation_points=0).load(layers=layers), _collocation),
        "classification": _from_problem(_classification(layers), lambda i: LabelledInputs(i["features"], i["labels"])),
        "deep_linear": _from_problem(DeepLinear(width=3).load(), _number),
        "language": _from_problem(Language(model=TRANSFORMER).load(layers=layers), lambda i: i["sequences"]),
        "matrix_factorisation": _from_problem(MatrixFactorisation(rows=4, columns=3, rank=2).load(), _number),
        "modular_addition": _from_problem(
            ModularAddition(modulus=MODULUS, model=TRANSFORMER).load(layers=layers),
            lambda i: Sums(i["terms"], i["sums"]),
        ),
        "noisy_quadratic": _from_problem(NoisyQuadratic(dimensions=9).load(), _number),
        "poisson": _from_problem(Poisson(model=TANH, points=2, validation_points=0).load(layers=layers), _collocation),
        "regression": _from_problem(_regression(layers), lambda i: Rows(i["features"], i["targets"])),
        "rosenbrock": _from_problem(Rosenbrock(dimensions=6).load(), _number),
        "variational_autoencoder": _reconstruction(VariationalAutoencoder(encoder=TANH, code=CODE), layers),
    }


def _from_problem(problem: Problem, batch: Callable[[Arrays], Any]) -> SmallProblem:
    """Returns the small problem of a loaded problem, with the losses of its evaluation.

    Args:
      problem: the problem. Its own examples are not read.
      batch: returns the examples, given the stored inputs.
    """
    shapes, variables = jax.eval_shape(problem.initial, jax.random.key(0))
    assert not jax.tree.leaves(variables)
    return SmallProblem(shapes, lambda params, inputs: problem.evaluation(params, {}, batch(inputs))[LOSS])


def _reconstruction(config: Reconstruction, layers: LayersPath) -> SmallProblem:
    networks = config.networks(layers)

    def losses(params: Any, inputs: Arrays) -> Array:
        return config.losses(Network(networks, params), inputs["pixels"], None)[0]

    return SmallProblem(config.parameter_shapes(), losses)


def _classification(layers: LayersPath) -> Problem:
    rows = LabelledInputs(np.zeros((1, 6), np.float32), np.zeros(1, np.int32))
    names = [str(label) for label in range(CLASSES)]
    config = Classification(dataset="mnist1d", model=MLP(widths=(5,)))
    return config.on_examples(rows, class_names=names, mean=[0.0] * 6, std=[1.0] * 6, layers=layers)


def _regression(layers: LayersPath) -> Problem:
    rows = np.arange(12.0).reshape(2, 6)
    table = Table(rows, rows[:, 0], np.zeros(2, bool), tuple("abcdef"), "target")
    return regression_problem(table, MLP(widths=(5,), layer_norm=True), 0.0, layers)


def _collocation(inputs: Arrays) -> Collocation:
    return Collocation(*(inputs[name] for name in Collocation._fields))


def _number(inputs: Arrays) -> Array:
    return inputs["examples"]
