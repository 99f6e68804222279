"""The losses and gradients of the doctor's small problems, in NumPy float64 from the papers' definitions.

Losses are functions of complex numbers, so that gradients are exact to the last digits: a gradient is the imaginary
part of the loss at θ + i h, divided by h, for a tiny h (Squire and Trapp, 1998).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.special

from jaxopt_bench.problems.functions import matrix
from tests import threefry

Arrays = dict[str, np.ndarray]
DENSE = lambda rows, columns: {"bias": (columns,), "kernel": (rows, columns)}  # noqa: E731
NORM = {"bias": (4,), "scale": (4,)}
MODULUS, PAD = 5, 255


def _autoencoder(encoded: int) -> dict[str, Any]:
    return {
        "decoder": {"dense1": DENSE(2, 4), "head": DENSE(4, 64)},
        "encoder": {"dense1": DENSE(64, 4), "head": DENSE(4, encoded)},
    }


def _transformer_layout(vocabulary: int, length: int) -> dict[str, Any]:
    square = DENSE(4, 4)
    return {
        "block1": {
            "dense1": DENSE(4, 16),
            "dense2": DENSE(16, 4),
            "key": square,
            "norm1": NORM,
            "norm2": NORM,
            "out": square,
            "query": square,
            "value": square,
        },
        "embed": {"embedding": (vocabulary, 4)},
        "head": DENSE(4, vocabulary),
        "norm": NORM,
        "positions": (length, 4),
    }


LAYOUTS: Mapping[str, Any] = {
    "autoencoder": _autoencoder(2),
    "burgers": {"dense1": DENSE(2, 4), "head": DENSE(4, 1)},
    "classification": {"dense1": DENSE(6, 5), "head": DENSE(5, 3)},
    "deep linear": [(3, 3)] * 3,
    "language": _transformer_layout(27, 16),
    "matrix factorisation": {"left": (4, 2), "right": (3, 2)},
    "modular addition": _transformer_layout(6, 3),
    "noisy quadratic": (9,),
    "poisson": {"dense1": DENSE(1, 4), "head": DENSE(4, 1)},
    "regression": {"dense1": DENSE(6, 5), "head": DENSE(5, 1), "norm1": {"bias": (5,), "scale": (5,)}},
    "rosenbrock": (6,),
    "variational autoencoder": _autoencoder(4),
}
"""The shapes of each problem's parameters, in their order in one vector."""


def inputs(name: str, rng: np.random.Generator) -> Arrays:
    """Returns parameters and examples."""
    count, batch = _count(LAYOUTS[name]), 3
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    given = {"parameters": normal(count) if name in ("rosenbrock", "noisy quadratic") else 0.6 * normal(count)}
    if "autoencoder" in name:
        return given | {"pixels": (rng.integers(0, 17, (batch, 64)) / 16).astype(np.float32)}
    if name == "burgers":
        places, times = rng.uniform(-1, 1, (2, batch)), rng.uniform(0, 1, (2, batch))
        points = np.stack([places, times], axis=-1).astype(np.float32)
        return given | _collocation(points[0], points[1], normal(batch), normal(batch))
    if name == "poisson":
        ends = np.array([[0], [1], [0]], np.float32)
        return given | _collocation(rng.uniform(0, 1, (batch, 1)), ends, normal(batch), np.zeros(batch))
    if name == "classification":
        return given | {"features": normal(batch, 6), "labels": np.array([2, 0, 1], np.int32)}
    if name == "regression":
        return given | {"features": normal(batch, 6), "targets": normal(batch)}
    if name == "language":
        words = ("second", "letters", "ax")
        sequences = np.full((batch, 17), PAD, np.uint8)
        for row, word in zip(sequences, words, strict=True):
            row[: len(word) + 2] = [0, *(ord(letter) - ord("a") + 1 for letter in word), 0]
        return given | {"sequences": sequences}
    if name == "modular addition":
        terms = np.column_stack([rng.integers(0, MODULUS, (batch, 2)), np.full(batch, MODULUS)]).astype(np.int32)
        return given | {"terms": terms, "sums": (terms[:, :2].sum(1) % MODULUS).astype(np.int32)}
    return given | {"examples": np.arange(2, dtype=np.int32)}


def _collocation(interior: Any, boundary: Any, solution: Any, values: Any) -> Arrays:
    named = {"interior": interior, "solution": solution, "boundary": boundary, "boundary_values": values}
    return {name: array.astype(np.float32) for name, array in named.items()}


def results(name: str, given: Arrays) -> Arrays:
    """Returns the losses of the examples and the gradient of their sum."""
    vector, h = given["parameters"].astype(np.float64), 1e-30
    steps = vector + 1j * h * np.eye(len(vector))
    gradient = [losses(name, step, given).sum().imag / h for step in steps]
    return {"losses": losses(name, vector, given).real, "parameters gradient": np.array(gradient)}


def losses(name: str, vector: np.ndarray, given: Arrays) -> np.ndarray:
    """Returns the losses of the examples, for parameters that may be complex."""
    params, _ = _unpack(LAYOUTS[name], vector)
    if name == "classification":
        hidden = _relu(_dense(params["dense1"], given["features"]))
        return _cross_entropy(_dense(params["head"], hidden), given["labels"])
    if name == "regression":
        hidden = _relu(_layer_norm(params["norm1"], _dense(params["dense1"], given["features"])))
        return (_dense(params["head"], hidden)[:, 0] - given["targets"]) ** 2
    if name == "modular addition":
        return _cross_entropy(_transformer(params, given["terms"])[:, -1, :MODULUS], given["sums"])
    if name == "language":
        return _nats_per_token(params, given["sequences"])
    if name in ("burgers", "poisson"):
        return _equation(name, params, given)
    if name == "autoencoder":
        pixels = given["pixels"]
        return _bernoulli(_decode(params, _encode(params, pixels)), pixels).sum(-1)
    if name == "variational autoencoder":
        return _bound(params, given["pixels"])
    value = {
        "deep linear": lambda: 0.5 * ((params[2] @ params[1] @ params[0] - _target(3, 3)) ** 2).sum(),
        "matrix factorisation": lambda: 0.5 * ((params["left"] @ params["right"].T - _target(4, 3)) ** 2).sum(),
        "noisy quadratic": lambda: 0.5 * (params**2 / np.arange(1, 10)).sum(),
        "rosenbrock": lambda: (100 * (params[1:] - params[:-1] ** 2) ** 2 + (1 - params[:-1]) ** 2).sum(),
    }[name]()
    return np.full(len(given["examples"]), value)


def _count(layout: Any) -> int:
    if isinstance(layout, tuple):
        return math.prod(layout)
    return sum(map(_count, layout.values() if isinstance(layout, dict) else layout))


def _unpack(layout: Any, vector: np.ndarray) -> tuple[Any, np.ndarray]:
    """Returns the parameters at the beginning of a vector, and the rest of it."""
    if isinstance(layout, tuple):
        size = math.prod(layout)
        return vector[:size].reshape(layout), vector[size:]
    found = []
    for part in layout.values() if isinstance(layout, dict) else layout:
        params, vector = _unpack(part, vector)
        found.append(params)
    return (dict(zip(layout, found, strict=True)) if isinstance(layout, dict) else found), vector


def _target(rows: int, columns: int) -> np.ndarray:
    """Returns the target matrix, rounded to float32 as in training."""
    return matrix(rows, columns, np.geomspace(1, 0.01, 3)).astype(np.float32).astype(np.float64)


def _dense(params: Any, x: np.ndarray) -> np.ndarray:
    return x @ params["kernel"] + params["bias"]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.where(x.real > 0, x, 0)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.where(
        x.real > 0, x + np.log1p(np.exp(np.where(x.real > 0, -x, 0))), np.log1p(np.exp(np.where(x.real > 0, 0, x)))
    )


def _layer_norm(params: Any, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * params["scale"] + params["bias"]


def _softmax(x: np.ndarray) -> np.ndarray:
    exponentials = np.exp(x - x.real.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(_softmax(logits)[np.arange(len(labels)), labels])


def _bernoulli(logits: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """The cross-entropy of each pixel."""
    return pixels * _softplus(-logits) + (1 - pixels) * _softplus(logits)


def _encode(params: Any, pixels: np.ndarray) -> np.ndarray:
    return _dense(params["encoder"]["head"], np.tanh(_dense(params["encoder"]["dense1"], pixels)))


def _decode(params: Any, code: np.ndarray) -> np.ndarray:
    return _dense(params["decoder"]["head"], np.tanh(_dense(params["decoder"]["dense1"], code)))


def _bound(params: Any, pixels: np.ndarray) -> np.ndarray:
    """The negative evidence lower bound, a mean over 8 draws of the code and their negatives."""
    lowest = np.nextafter(np.float32(-1), np.float32(0))
    uniform = threefry.uniform((0, 0), 16) * (np.float32(1) - lowest) + lowest
    half = math.sqrt(2) * scipy.special.erfinv(uniform.astype(np.float64)).reshape(8, 1, 2)
    encoded = _encode(params, pixels)
    mean, log_variance = encoded[:, :2], encoded[:, 2:]
    codes = mean + np.exp(log_variance / 2) * np.concatenate([half, -half])
    counts = 16 * pixels
    combinations = scipy.special.gammaln(17) - scipy.special.gammaln(counts + 1) - scipy.special.gammaln(17 - counts)
    likelihood = combinations.sum(-1) - 16 * _bernoulli(_decode(params, codes), pixels).sum(-1).mean(0)
    return 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum(-1) - likelihood


def _equation(name: str, params: Any, given: Arrays) -> np.ndarray:
    """The squared residual and boundary error of u(x) = v · tanh(W x + b) + c, whose derivatives are known."""
    kernel, out = params["dense1"]["kernel"], params["head"]["kernel"][:, 0]

    def hidden(points: np.ndarray) -> np.ndarray:
        return np.tanh(_dense(params["dense1"], points))

    x, t = given["interior"], hidden(given["interior"])
    value, slope = t @ out + params["head"]["bias"], 1 - t**2
    second = (-2 * t * slope * kernel[0] ** 2) @ out
    if name == "burgers":
        residual = (slope * kernel[1]) @ out + value * ((slope * kernel[0]) @ out) - 0.01 / np.pi * second
        weight = 1.0
    else:
        source = np.pi**2 * np.sin(np.pi * x[:, 0]) + 8 * np.pi**2 * np.sin(4 * np.pi * x[:, 0])
        residual, weight = -second - source, 10.0
    boundary = hidden(given["boundary"]) @ out + params["head"]["bias"] - given["boundary_values"]
    return residual**2 + weight * boundary**2


def _nats_per_token(params: Any, sequences: np.ndarray) -> np.ndarray:
    """The mean cross-entropy of each word's letters and of the boundary after it."""
    found = []
    for tokens in sequences:
        tokens = tokens[tokens != PAD].astype(int)
        context, targets = np.zeros(16, int), tokens[1:]
        context[: len(targets)] = tokens[:-1]
        found.append(_cross_entropy(_transformer(params, context[None])[0, : len(targets)], targets).mean())
    return np.array(found)


def _transformer(params: Any, tokens: np.ndarray) -> np.ndarray:
    """Radford et al. 2019: a block of causal attention with two heads, and dense layers with GELU."""
    x, block = params["embed"]["embedding"][tokens] + params["positions"], params["block1"]
    normalised = _layer_norm(block["norm1"], x)
    query, key, value = (
        _dense(block[n], normalised).reshape(*tokens.shape, 2, 2).swapaxes(1, 2) for n in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(-1, -2) / math.sqrt(2)
    scores = np.where(np.tri(tokens.shape[1], dtype=bool), scores, -1e30)
    attended = (_softmax(scores) @ value).swapaxes(1, 2).reshape(x.shape)
    x = x + _dense(block["out"], attended)
    hidden = _dense(block["dense1"], _layer_norm(block["norm2"], x))
    gelu = hidden * 0.5 * (1 + scipy.special.erf(hidden / math.sqrt(2)))
    x = x + _dense(block["dense2"], gelu)
    return _dense(params["head"], _layer_norm(params["norm"], x))
