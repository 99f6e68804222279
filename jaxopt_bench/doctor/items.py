"""The items to check: draws, layers, augmentation and updates as in training, each as a step on named arrays.

The expected results are not computed here. They are in `expected.npz`, which `tests/doctor/oracle.py` writes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, PyTree

from jaxopt_bench import prng
from jaxopt_bench.data import Augmentation, augment
from jaxopt_bench.doctor.problems import small_problems
from jaxopt_bench.models import Layers
from jaxopt_bench.models.layers import HE_NORMAL
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Nadam, Optimizer, Padam
from jaxopt_bench.problems.classification import cross_entropy

Arrays = Mapping[str, Array]
Carry = Mapping[str, Any]

# Tolerances, between the errors of float32 (on a CPU 5e-7, updates 1e-6) and of bfloat16 (2e-3, updates 6e-4).
FLOAT32 = 1e-5  # more than a hundred times the rounding error, 2^-24: the bound of the longest sums
UPDATES = 2e-4  # 1 - b2^t has three digits fewer than b2^t
BITS = 2.0**-33  # less than one unit of a 32-bit integer, so no bit may differ

AUGMENTATIONS: Mapping[str, Augmentation] = {
    "crop": Augmentation(crop_padding=2),
    "flip": Augmentation(flip=True),
    "rotation": Augmentation(rotation=30.0),
    "cutout": Augmentation(cutout=3),
}

OPTIMIZERS: Mapping[str, Optimizer] = {
    "SGD with momentum": SGD(learning_rate=0.1, momentum=0.9, weight_decay=0.01),
    "Adam": Adam(learning_rate=0.1, weight_decay=0.01),
    "AdamW": AdamW(learning_rate=0.1, weight_decay=0.01),
    "Nadam": Nadam(learning_rate=0.1, weight_decay=0.01),
    "AMSGrad": AMSGrad(learning_rate=0.1, weight_decay=0.01),
    "Padam": Padam(learning_rate=0.1, weight_decay=0.01),
}


_NO_PRODUCTS = ("noisy_quadratic", "rosenbrock")


class Item(NamedTuple):
    """One thing to check.

    Attributes:
      name: the name of the item, also in `expected.npz`.
      start: returns the carry before the first step, given the inputs.
      step: returns the carry after a step. After the last step, it contains the results by their names in
        `expected.npz`.
      tolerance: the accepted error, relative to the largest value of each result.
      products: whether the item consists of matrix products. A backend may choose their precision.
      steps: the number of steps.
      slack: the factor on the accepted error of one product if products have fewer digits than float32.
    """

    name: str
    start: Callable[[Arrays], Carry]
    step: Callable[[Carry, Arrays], Carry]
    tolerance: float = FLOAT32
    products: bool = False
    steps: int = 2  # the compiler could remove a loop of a single step
    slack: float = 1.0


def make_items(layers: Layers) -> list[Item]:
    """Returns all items.

    Args:
      layers: the layers that training would use.
    """
    convolution = functools.partial(_convolution, layers)
    return [
        _function("random numbers", _draws, BITS),
        _function("convolution", functools.partial(convolution, 1), products=True),
        _function("convolution, stride 2", functools.partial(convolution, 2), products=True),
        _function("dense layer", functools.partial(_dense, layers), products=True),
        _function("batch normalisation", functools.partial(_batch_norm, layers)),
        _function("max-pooling", functools.partial(_max_pool, layers)),
        _function("cross-entropy", _cross_entropy),
        *(_function(name, functools.partial(_augment, how)) for name, how in AUGMENTATIONS.items()),
        *(_optimizer(name, optimizer) for name, optimizer in OPTIMIZERS.items()),
        *(
            _function(name.replace("_", " "), small.with_gradient, products=name not in _NO_PRODUCTS)._replace(
                slack=10.0
            )
            for name, small in small_problems(layers.path).items()
        ),
    ]


def _function(
    name: str, function: Callable[[Arrays], Arrays], tolerance: float = FLOAT32, products: bool = False
) -> Item:
    """Returns the item of a function. All its steps compute the same."""

    def start(inputs: Arrays) -> Carry:
        return {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in jax.eval_shape(function, inputs).items()}

    return Item(name, start, lambda _, inputs: function(inputs), tolerance, products)


def _draws(inputs: Arrays) -> Arrays:
    key = prng.key(inputs["seed"], prng.Purpose.SHUFFLE, inputs["index"])
    return {
        "key": jax.random.key_data(key),
        "bits": jax.random.bits(key, (8,)),
        "permutation": jax.random.permutation(key, jnp.arange(50, dtype=jnp.int32)),
    }


def _with_gradients(module: nn.Module, inputs: Arrays) -> Arrays:
    """Returns a layer's outputs, the gradients of their product with the cotangent, and its running statistics."""
    params = {name: inputs[name] for name in ("kernel", "scale", "bias") if name in inputs}
    running = {name: inputs[name] for name in ("mean", "var") if name in inputs}

    def forward(images: Array, params: Arrays) -> tuple[Array, PyTree[Array]]:
        return module.apply({"params": params, "batch_stats": running}, images, mutable=["batch_stats"])

    outputs, pull, changed = jax.vjp(forward, inputs["images"], params, has_aux=True)
    images, gradients = pull(inputs["cotangent"].astype(outputs.dtype))
    named = {f"{name} gradient": gradient for name, gradient in gradients.items()}
    return {"outputs": outputs, "images gradient": images, **named, **changed.get("batch_stats", {})}


def _convolution(layers: Layers, stride: int, inputs: Arrays) -> Arrays:
    features, padding = inputs["kernel"].shape[-1], 1  # as in the ResNets
    module = layers.conv(features, 3, stride=stride, padding=padding, use_bias=True, kernel_init=HE_NORMAL, name="conv")
    return _with_gradients(module, inputs)


def _dense(layers: Layers, inputs: Arrays) -> Arrays:
    return _with_gradients(layers.dense(inputs["kernel"].shape[-1], kernel_init=HE_NORMAL, name="dense"), inputs)


def _batch_norm(layers: Layers, inputs: Arrays) -> Arrays:
    return _with_gradients(layers.batch_norm(train=True, name="norm"), inputs)


def _max_pool(layers: Layers, inputs: Arrays) -> Arrays:
    outputs, pull = jax.vjp(lambda images: layers.max_pool(images, 3, 2), inputs["images"])
    return {"outputs": outputs, "images gradient": pull(inputs["cotangent"])[0]}


def _cross_entropy(inputs: Arrays) -> Arrays:
    losses, pull = jax.vjp(lambda logits: cross_entropy(logits, inputs["labels"], 0.1), inputs["logits"])
    return {"losses": losses, "logits gradient": pull(jnp.ones_like(losses))[0]}


def _augment(augmentation: Augmentation, inputs: Arrays) -> Arrays:
    names = ("images", "seed", "step", "mean", "std")
    return {"pixels": augment(augmentation, *(inputs[name] for name in names))}


def _optimizer(name: str, optimizer: Optimizer) -> Item:
    """Returns the item of an optimizer. Its result is the sum of the updates of several steps."""

    def start(inputs: Arrays) -> Carry:
        hyperparameters, params = optimizer.hyperparameters(), inputs["parameters"]
        return {
            "step": jnp.int32(0),
            "parameters": params,
            "state": optimizer.transform(hyperparameters).init(params),
            "hyperparameters": dict(hyperparameters),  # in the carry, so that the compiler does not know their values
            "updates": jnp.zeros_like(params),
        }

    def step(carry: Carry, inputs: Arrays) -> Carry:
        gradient = jax.lax.dynamic_index_in_dim(inputs["gradients"], carry["step"], keepdims=False)
        transform = optimizer.transform(carry["hyperparameters"])
        update, state = transform.update(gradient, carry["state"], carry["parameters"])
        return {
            "step": carry["step"] + 1,
            "parameters": optax.apply_updates(carry["parameters"], update),
            "state": state,
            "hyperparameters": carry["hyperparameters"],
            "updates": carry["updates"] + update,
        }

    return Item(name, start, step, UPDATES, steps=5)
