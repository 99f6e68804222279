"""A classifier's views: the confusion matrix against scikit-learn, the worst mistakes, and augmented images."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import sklearn.metrics

from jaxopt_bench.data import normalise
from jaxopt_bench.problems.classification import LabelledInputs
from jaxopt_bench.problems.classification_views import (
    classification_training_views,
    classification_views,
    cross_entropies,
    predictions,
)
from jaxopt_bench.problems.views import Images, Matrix

NAMES = ("cat", "dog", "emu")


def drawn(count: int, seed: int = 0) -> tuple[LabelledInputs, dict[str, np.ndarray]]:
    """Returns random images with random classes, and random outputs."""
    rng = np.random.default_rng(seed)
    examples = LabelledInputs(
        rng.integers(0, 256, (count, 3, 4, 1), dtype=np.uint8), rng.integers(0, 3, count, dtype=np.int32)
    )
    logits = (3 * rng.standard_normal((count, 3))).astype(np.float32)
    return examples, {"labels": examples.labels, "logits": logits}


def test_the_matrix_counts_the_predictions_for_each_class():
    examples, outputs = drawn(500)
    matrix, _ = classification_views(NAMES, examples, outputs)
    assert isinstance(matrix, Matrix)
    expected = sklearn.metrics.confusion_matrix(examples.labels, outputs["logits"].argmax(1))
    np.testing.assert_array_equal(matrix.values, expected)
    assert (matrix.rows, matrix.columns) == (NAMES, NAMES)
    assert (matrix.row_title, matrix.column_title) == ("label", "prediction")


def test_the_mistakes_are_the_wrong_examples_with_the_highest_losses():
    examples, outputs = drawn(500)
    _, worst = classification_views(NAMES, examples, outputs)
    assert isinstance(worst, Images)
    losses = -scipy.special.log_softmax(outputs["logits"].astype(np.float64), axis=1)[np.arange(500), examples.labels]
    np.testing.assert_allclose(cross_entropies(outputs["logits"], examples.labels), losses, rtol=1e-12)
    guesses = outputs["logits"].argmax(1)
    wrong = sorted((i for i in range(500) if guesses[i] != examples.labels[i]), key=lambda i: -losses[i])[:32]
    np.testing.assert_array_equal(worst.images, examples.inputs[wrong])
    first = wrong[0]
    assert worst.captions[0] == (
        f"{NAMES[examples.labels[first]]}, predicted {NAMES[guesses[first]]}; loss {losses[first]:.1f}"
    )
    assert len(worst.captions) == 32


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_class_is_predicted_if_the_largest_logit_is_not_finite(bad, place):
    logits = np.array([[0, 1, 2], [0, 1, 2], [-np.inf, 0, -np.inf]], np.float32)
    logits[1, place] = bad
    assert predictions(logits).tolist() == [2, -1, 1]
    for label in range(3):
        labels = np.full(3, label, np.int32)
        examples = LabelledInputs(np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), labels)
        matrix, worst = classification_views(NAMES, examples, {"labels": labels, "logits": logits})
        assert matrix.values.sum() == 2
        assert "1 of 3 examples have no prediction" in matrix.text
        assert 1 in worst.images.ravel()
        assert any(caption.startswith(f"{NAMES[label]}, predicted no class; loss") for caption in worst.captions)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_few_mistakes_are_all_shown_and_one_without_a_finite_loss_is_first(bad):
    logits = np.zeros((6, 3), np.float32)
    logits[:, 1] = [1, 2, 5, 9, 1, 0]
    logits[4, 2] = bad
    labels = np.array([1, 0, 2, 1, 1, 0], np.int32)
    examples = LabelledInputs(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), labels)
    _, worst = classification_views(NAMES, examples, {"labels": labels, "logits": logits})
    assert worst.images.ravel().tolist() == [4, 2, 1]
    assert worst.text == "The 3 wrong answers with the highest losses."


def test_without_wrong_answers_there_is_a_message_and_no_images():
    examples, outputs = drawn(5)
    sure = {**outputs, "logits": np.eye(3, dtype=np.float32)[examples.labels]}
    _, worst = classification_views(NAMES, examples, sure)
    assert (worst.text, len(worst.images)) == ("There are no wrong answers.", 0)


def test_inputs_that_are_not_images_have_a_matrix_and_no_images():
    examples, outputs = drawn(5)
    for inputs in (np.zeros((5, 40), np.float32), np.zeros((5, 16), np.int32), np.zeros((5, 3, 4, 2), np.uint8)):
        other = LabelledInputs(inputs, examples.labels)
        (matrix,) = classification_views(NAMES, other, outputs)
        assert isinstance(matrix, Matrix)
        assert classification_training_views(NAMES, (0.5,), (0.2,), other, other) == []


def test_training_images_are_shown_beside_the_inputs_of_the_network():
    examples, _ = drawn(40)
    mirrored = normalise(examples.inputs[:, :, ::-1], (0.4,), (0.3,))
    prepared = examples._replace(inputs=mirrored)
    (view,) = classification_training_views(NAMES, (0.4,), (0.3,), examples, prepared)
    np.testing.assert_array_equal(view.images[:, :, :4], examples.inputs[:32])
    np.testing.assert_array_equal(view.images[:, :, 4:], examples.inputs[:32, :, ::-1])
    assert view.captions == tuple(NAMES[label] for label in examples.labels[:32])
