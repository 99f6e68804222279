"""The views of a classifier for a page: its confusion matrix, its worst mistakes, and augmented training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int32, Int64, Num, UInt8

from jaxopt_bench.data import denormalise
from jaxopt_bench.problems.views import Images, Matrix, View

SHOWN = 32
"""The largest number of mistakes of a split, and of images of the first training batch, that are shown."""

Pixels = UInt8[np.ndarray, "images height width channels"]
Logits = Float32[np.ndarray, "examples classes"]
Labels = Int32[np.ndarray, " examples"]


class LabelledExamples(Protocol):
    """Examples of a classification problem."""

    @property
    def inputs(self) -> Num[Array | np.ndarray, "examples ..."]:
        """Images as bytes, or other inputs."""

    @property
    def labels(self) -> Int32[Array | np.ndarray, " examples"]:
        """The classes."""


def classification_views(
    class_names: Sequence[str], examples: LabelledExamples, outputs: Mapping[str, np.ndarray]
) -> list[View]:
    """Returns the confusion matrix of a split and, if the inputs are images, the mistakes with the highest losses.

    Args:
      class_names: the names of the labels, in order.
      examples: the stored split.
      outputs: "labels", int32 [examples], and "logits", float32 [examples, classes]. If the greatest logit of an
        example is not finite, no class is predicted.
    """
    labels, logits = outputs["labels"], outputs["logits"]
    predicted = predictions(logits)
    matrix = _confusion_matrix(class_names, labels, predicted)
    images = _images(examples.inputs)
    return [matrix] if images is None else [matrix, _mistakes(class_names, images, labels, logits, predicted)]


def classification_training_views(
    class_names: Sequence[str],
    mean: Sequence[float],
    std: Sequence[float],
    batch: LabelledExamples,
    prepared: LabelledExamples,
) -> list[View]:
    """Returns the stored images of a training batch next to the inputs of the network; [] if there are no images.

    Args:
      class_names: the names of the labels, in order.
      mean: the mean of the normalisation, per channel, on the scale of 0 to 1.
      std: the standard deviation of the normalisation, in the same form.
      batch: the stored examples.
      prepared: the same examples, augmented and normalised.
    """
    images = _images(batch.inputs)
    if images is None:
        return []
    stored = images[:SHOWN]
    augmented = np.asarray(denormalise(jnp.asarray(prepared.inputs[:SHOWN]), mean, std))
    return [
        Images(
            title="Augmented samples",
            text="Left: the stored image. Right: the augmented image that the network saw in the first step.",
            images=np.concatenate([stored, augmented], axis=2),
            captions=[class_names[label] for label in np.asarray(batch.labels[:SHOWN])],
        )
    ]


def predictions(logits: Logits) -> Int64[np.ndarray, " examples"]:
    """Returns the classes with the greatest logits, the first one if several are equal; −1 if it is not finite."""
    return np.where(np.isfinite(logits.max(1)), logits.argmax(1), -1)


def cross_entropies(logits: Logits, labels: Labels) -> Float64[np.ndarray, " examples"]:
    """Returns the losses of examples in nats."""
    with np.errstate(invalid="ignore"):  # for logits that are not finite
        below = logits.astype(np.float64) - logits.max(1, keepdims=True)
        return np.log(np.exp(below).sum(1)) - below[np.arange(len(labels)), labels]


def _confusion_matrix(class_names: Sequence[str], labels: Labels, predicted: Int64[np.ndarray, " examples"]) -> Matrix:
    known = predicted >= 0
    counts = np.zeros((len(class_names), len(class_names)), np.int64)
    np.add.at(counts, (labels[known], predicted[known]), 1)
    text = "Each row shows how the examples of one label were classified. Correct answers are on the diagonal."
    if not known.all():
        text += f" {np.sum(~known):,} of {len(known):,} examples have no prediction: their largest logit is not finite."
    return Matrix(
        title="Confusion matrix", text=text, values=counts, rows=class_names, columns=class_names, row_title="label",
        column_title="prediction", confusion=True,
    )  # fmt: skip


def _mistakes(
    class_names: Sequence[str],
    images: Pixels,
    labels: Labels,
    logits: Logits,
    predicted: Int64[np.ndarray, " examples"],
) -> Images:
    wrong = np.flatnonzero(predicted != labels)
    losses = cross_entropies(logits[wrong], labels[wrong])
    worst = np.argsort(-np.nan_to_num(losses, nan=np.inf, posinf=np.inf), kind="stable")[:SHOWN]
    captions = []
    for row, loss in zip(wrong[worst], losses[worst], strict=True):
        guess = "no class" if predicted[row] < 0 else class_names[predicted[row]]
        captions.append(f"{class_names[labels[row]]}, predicted {guess}; loss {loss:.1f}")
    text = f"The {len(worst)} wrong answers with the highest losses." if len(worst) else "There are no wrong answers."
    return Images(title="Worst mistakes", text=text, images=images[wrong[worst]], captions=captions)


def _images(inputs: Num[Array | np.ndarray, "examples ..."]) -> Pixels | None:
    """Returns inputs as images; None if they are not images."""
    if inputs.ndim != 4 or inputs.dtype != np.uint8 or inputs.shape[3] not in (1, 3):
        return None
    return np.asarray(inputs)
