"""The expected results of the doctor's items, from their definitions in NumPy and SciPy float64.

They share with the checked code only the settings of augmentations and optimizers, the purposes of random numbers, and
the target matrices of two problems. `python -m tests.doctor.oracle` writes the results to the package. `test_oracle.py`
fails if they must be written again.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.ndimage
import scipy.special

from jaxopt_bench.doctor.expected import Expected, save_expected
from jaxopt_bench.doctor.items import AUGMENTATIONS, OPTIMIZERS
from jaxopt_bench.optimizers import Optimizer
from jaxopt_bench.prng import Purpose
from tests import threefry
from tests.doctor import small_problems
from tests.optimizers import references

Arrays = dict[str, np.ndarray]
SEED, INDEX = 5, 3  # with these, some images are flipped and some are not, and a cutout lies over an edge


def expected() -> dict[str, Expected]:
    """Returns the inputs and results of every item."""
    rng = np.random.default_rng(0)
    inputs = {
        "random numbers": {"seed": np.uint32(SEED), "index": np.int32(INDEX)},
        "convolution": _numbers(rng, images=(2, 5, 6, 8), kernel=(3, 3, 8, 12), bias=(12,), cotangent=(2, 5, 6, 12)),
        "convolution, stride 2": _numbers(
            rng, images=(2, 5, 6, 8), kernel=(3, 3, 8, 12), bias=(12,), cotangent=(2, 3, 3, 12)
        ),
        "dense layer": _numbers(rng, images=(8, 24), kernel=(24, 10), bias=(10,), cotangent=(8, 10)),
        "batch normalisation": _numbers(
            rng, images=(4, 5, 3, 6), scale=(6,), bias=(6,), mean=(6,), var=(6,), cotangent=(4, 5, 3, 6)
        ),
        "max-pooling": _numbers(rng, images=(2, 7, 8, 3), cotangent=(2, 3, 3, 3)),
        "cross-entropy": {**_numbers(rng, logits=(6, 10)), "labels": rng.integers(0, 10, 6, np.int32)},
        **{name: _images(rng) for name in AUGMENTATIONS},
        **{name: _gradients(rng) for name in OPTIMIZERS},
        **{name: small_problems.inputs(name, rng) for name in small_problems.LAYOUTS},
    }
    return {name: Expected(given, results(name, given)) for name, given in inputs.items()}


def results(name: str, inputs: Mapping[str, np.ndarray]) -> Arrays:
    """Returns the expected results of an item for its inputs, which are converted to float64."""
    given = {key: array.astype(np.float64) if array.dtype.kind == "f" else array for key, array in inputs.items()}
    if name in AUGMENTATIONS:
        return {"pixels": augmented(name, given)}
    if name in small_problems.LAYOUTS:
        return small_problems.results(name, given)
    if name in OPTIMIZERS:
        return {"updates": updates(name, OPTIMIZERS[name], given)}
    return {
        "random numbers": draws,
        "convolution": lambda given: convolution(given, 1),
        "convolution, stride 2": lambda given: convolution(given, 2),
        "dense layer": dense,
        "batch normalisation": batch_norm,
        "max-pooling": max_pool,
        "cross-entropy": cross_entropy,
    }[name](given)


def _numbers(rng: np.random.Generator, **shapes: tuple[int, ...]) -> Arrays:
    """Returns random float32 numbers with a mean that is not zero. Variances are positive."""
    drawn = {name: rng.normal(0.3, 1.0, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: np.abs(array) if name == "var" else array for name, array in drawn.items()}


def _images(rng: np.random.Generator) -> Arrays:
    return {
        "images": rng.integers(0, 256, (4, 5, 6, 3), np.uint8),
        "seed": np.uint32(SEED),
        "step": np.int32(INDEX),
        "mean": np.array([0.5, 0.4, 0.3], np.float32),
        "std": np.array([0.2, 0.25, 0.3], np.float32),
    }


def _gradients(rng: np.random.Generator) -> Arrays:
    """Returns parameters and gradients.

    Half of them are around 1, and half are smaller, down to 1e-8, so that every epsilon matters. The first parameter
    and its gradients are zero.
    """
    count = 24
    magnitudes = np.where(np.arange(count) % 2, 1.0, 10.0 ** rng.uniform(-8, 0, count))
    parameters = (rng.normal(size=count) * magnitudes).astype(np.float32)
    gradients = (rng.normal(size=(5, count)) * magnitudes).astype(np.float32)
    parameters[0] = gradients[:, 0] = 0
    return {"parameters": parameters, "gradients": gradients}


def draws(given: Arrays) -> Arrays:
    """Returns a key of threefry, and the bits and the permutation that are drawn with it."""
    key = threefry.folded(int(given["seed"]), Purpose.SHUFFLE, int(given["index"]))
    return {
        "key": np.array(key, np.float64),
        "bits": threefry.bits(key, 8).astype(np.float64),
        "permutation": threefry.permutation(key, 50).astype(np.float64),
    }


def convolution(given: Arrays, stride: int) -> Arrays:
    """Returns a convolution by its definition, on images with a border of one zero, and its adjoints."""
    images, kernel, cotangent = given["images"], given["kernel"], given["cotangent"]
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    outputs, padded_gradient, kernel_gradient = np.zeros(cotangent.shape), np.zeros_like(padded), np.zeros_like(kernel)
    for row, column in np.ndindex(*cotangent.shape[1:3]):
        seen = np.s_[:, stride * row : stride * row + 3, stride * column : stride * column + 3]
        outputs[:, row, column] = np.einsum("bijc,ijco->bo", padded[seen], kernel) + given["bias"]
        kernel_gradient += np.einsum("bijc,bo->ijco", padded[seen], cotangent[:, row, column])
        padded_gradient[seen] += np.einsum("bo,ijco->bijc", cotangent[:, row, column], kernel)
    return {
        "outputs": outputs,
        "images gradient": padded_gradient[:, 1:-1, 1:-1],
        "kernel gradient": kernel_gradient,
        "bias gradient": cotangent.sum((0, 1, 2)),
    }


def dense(given: Arrays) -> Arrays:
    """Returns a matrix product and its adjoints."""
    images, kernel, cotangent = given["images"], given["kernel"], given["cotangent"]
    return {
        "outputs": images @ kernel + given["bias"],
        "images gradient": cotangent @ kernel.T,
        "kernel gradient": images.T @ cotangent,
        "bias gradient": cotangent.sum(0),
    }


def batch_norm(given: Arrays) -> Arrays:
    """Ioffe and Szegedy 2015, Algorithm 1, and the gradients of their section 3."""
    x, scale, cotangent = given["images"], given["scale"], given["cotangent"]
    axes, eps = (0, 1, 2), 1e-5
    count = x.size / x.shape[-1]
    mean, var = x.mean(axes), x.var(axes)
    normalised = (x - mean) / np.sqrt(var + eps)
    of_normalised = cotangent * scale
    of_var = (of_normalised * (x - mean)).sum(axes) * -0.5 * (var + eps) ** -1.5
    of_mean = -of_normalised.sum(axes) / np.sqrt(var + eps) - 2 * of_var * (x - mean).mean(axes)
    return {
        "outputs": scale * normalised + given["bias"],
        "images gradient": of_normalised / np.sqrt(var + eps) + of_var * 2 * (x - mean) / count + of_mean / count,
        "scale gradient": (cotangent * normalised).sum(axes),
        "bias gradient": cotangent.sum(axes),
        "mean": 0.9 * given["mean"] + 0.1 * mean,
        "var": 0.9 * given["var"] + 0.1 * var,
    }


def max_pool(given: Arrays) -> Arrays:
    """Returns the maximum of each 3×3 window with stride 2. Its cotangent goes to the pixel of the maximum."""
    images, cotangent = given["images"], given["cotangent"]
    outputs, gradient = np.zeros(cotangent.shape), np.zeros(images.shape)
    for b, row, column, c in np.ndindex(*cotangent.shape):
        window = images[b, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3, c]
        i, j = np.unravel_index(window.argmax(), window.shape)
        outputs[b, row, column, c] = window[i, j]
        gradient[b, 2 * row + i, 2 * column + j, c] += cotangent[b, row, column, c]
    return {"outputs": outputs, "images gradient": gradient}


def cross_entropy(given: Arrays) -> Arrays:
    """Returns the cross-entropy of softmax. A tenth of the labels' mass is spread over all classes."""
    logits = given["logits"]
    targets = 0.9 * np.eye(logits.shape[-1])[given["labels"]] + 0.1 / logits.shape[-1]
    losses = -(targets * scipy.special.log_softmax(logits, -1)).sum(-1)
    return {"losses": losses, "logits gradient": scipy.special.softmax(logits, -1) - targets}


def normalised(given: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns images minus their mean, divided by their standard deviation."""
    return (given["images"] / 255.0 - given["mean"]) / given["std"]


def augmented(name: str, given: Arrays) -> np.ndarray:
    """Returns normalised images with an augmentation, by indexing and by SciPy."""
    augmentation, images = AUGMENTATIONS[name], given["images"].astype(np.float64)
    batch, height, width, _ = images.shape
    purpose = {"crop": Purpose.CROP, "flip": Purpose.FLIP, "rotation": Purpose.ROTATION, "cutout": Purpose.CUTOUT}[name]
    key = threefry.folded(int(given["seed"]), purpose, int(given["step"]))
    if name == "crop":
        pad = augmentation.crop_padding
        padded = np.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
        corners = threefry.integers(key, [2 * pad + 1] * 2 * batch).reshape(batch, 2)
        windows = zip(padded, corners, strict=True)
        images = np.stack([image[y : y + height, x : x + width] for image, (y, x) in windows])
    if name == "flip":
        chosen = threefry.uniform(key, batch) < 0.5
        images = np.stack([image[:, ::-1] if flip else image for image, flip in zip(images, chosen, strict=True)])
    if name == "rotation":
        degrees = augmentation.rotation * (2 * threefry.uniform(key, batch).astype(np.float64) - 1)
        turn = {"axes": (1, 0), "reshape": False, "order": 1, "mode": "grid-constant"}
        images = np.stack([scipy.ndimage.rotate(i, angle, **turn) for i, angle in zip(images, degrees, strict=True)])
    pixels = normalised({**given, "images": images})
    if name == "cutout":
        centres = threefry.integers(key, [height, width] * batch).reshape(batch, 2)
        for image, first in zip(pixels, centres - augmentation.cutout // 2, strict=True):
            (top, left), (bottom, right) = np.maximum(first, 0), first + augmentation.cutout
            image[top:bottom, left:right] = 0
    return pixels


def updates(name: str, optimizer: Optimizer, given: Arrays) -> np.ndarray:
    """Returns the sum of several updates by the papers' equations, with hyperparameters rounded to float32."""
    settings = {name: float(value) for name, value in optimizer.hyperparameters().items()}
    direction, taken = {
        "SGD with momentum": (references.sgd, ("momentum",)),
        "Adam": (references.adam, ("b1", "b2", "eps")),
        "AdamW": (references.adam, ("b1", "b2", "eps")),
        "Nadam": (references.nadam, ("b1", "b2", "eps")),
        "AMSGrad": (references.amsgrad, ("b1", "b2", "eps", "bias_correction")),
        "Padam": (references.padam, ("b1", "b2", "partial", "eps", "bias_correction")),
    }[name]
    rule = direction(**{field: settings.get(field, getattr(optimizer, field)) for field in taken})
    parameters, total = given["parameters"].copy(), np.zeros(given["parameters"].shape)
    rates = [settings["learning_rate"]] * len(given["gradients"])
    # `updates` reads `parameters` at each step, after the loop has changed it in place.
    for update in references.updates(
        rule, [parameters] * len(rates), given["gradients"], rates, settings["weight_decay"], name == "AdamW"
    ):
        parameters += update
        total += update
    return total


if __name__ == "__main__":
    save_expected(expected())
