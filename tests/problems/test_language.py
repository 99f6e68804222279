"""Language models: the loss by hand and by PyTorch, metrics as ratios of sums, outputs, views, and a run on a text."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxopt_bench import load_run, train
from jaxopt_bench.data.tokens import PAD
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN, GRU, Model, Transformer
from jaxopt_bench.optimizers import Adam
from jaxopt_bench.prng import Draw
from jaxopt_bench.problems import PROBLEMS, Language, Problem
from jaxopt_bench.problems.language import token_nats
from jaxopt_bench.problems.views import Lines, Texts
from jaxopt_bench.runs import Options, Recording
from jaxopt_bench.runs.evaluation import load_evaluation

SMALL = Transformer(width=8, depth=1, heads=2)
TEXT = "The quick brown fox jumps over the lazy dog. Ça va? 你好!\n" * 40


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("text") / "fox.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def words() -> Problem:
    return Language(model=SMALL).load()


def moved(problem: Problem, seed: int = 0) -> Any:
    """Returns random parameters, in which no value is special, such as zero."""
    shapes, rng = jax.eval_shape(problem.initial, jax.random.key(0))[0], np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: (0.4 * rng.normal(size=leaf.shape)).astype(np.float32), shapes)


@functools.cache
def applied(model: Model) -> Any:
    """Returns the compiled network for words."""
    return jax.jit(lambda params, tokens: model.module(27).apply({"params": params}, tokens, train=False))


def logits_of(model: Model, params: Any, tokens: np.ndarray) -> np.ndarray:
    """Returns a network's logits for words without padding, in float64."""
    return np.asarray(applied(model)(params, tokens.astype(np.int32)), np.float64)


def test_the_loss_of_tokens_is_the_one_calculated_by_hand() -> None:
    """Two sequences over three tokens; the second ends after one token."""
    half, rest = math.log(2), math.log(1 / 4)
    logits = jnp.array([[[half, 0, 0], [0, 0, 0]], [[rest, 0, 0], [7, -7, 0]]])  # targets: p = 1/2, 1/3; 1/9
    nats, real = token_nats(logits, jnp.array([[0, 2], [0, PAD]], jnp.uint8))
    np.testing.assert_allclose(nats, [[math.log(2), math.log(3)], [math.log(9), 0]], rtol=1e-6)
    np.testing.assert_array_equal(real, [[True, True], [True, False]])


def test_losses_and_gradients_are_those_of_pytorch(words: Problem) -> None:
    """The loss is the mean over all tokens of a batch, so longer words have larger weights."""
    batch, params = words.train[:6], moved(words)
    lengths = (batch[:, 1:] != PAD).sum(1)
    assert len(set(lengths)) > 1
    loss, (statistics, variables) = jax.jit(words.training)(params, {}, batch, Draw(0, 0))
    assert variables == {}
    targets = torch.tensor(np.where(batch == PAD, -100, batch.astype(int))[:, 1:])
    own = torch.tensor(logits_of(SMALL, params, np.where(batch == PAD, 0, batch)[:, :-1]))
    each = torch.nn.functional.cross_entropy(own.permute(0, 2, 1), targets, reduction="none")
    expected = torch.nn.functional.cross_entropy(own.permute(0, 2, 1), targets)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    evaluated = jax.jit(words.evaluation)(params, {}, batch)
    np.testing.assert_allclose(evaluated["nats"], each.sum(1), rtol=1e-5)
    np.testing.assert_array_equal(evaluated["tokens"], lengths)
    np.testing.assert_allclose(evaluated["loss"], each.sum(1).numpy() / lengths, rtol=1e-5)
    np.testing.assert_allclose(statistics["nats"], each.sum(1).mean(), rtol=1e-5)


def test_metrics_are_sums_over_tokens(words: Problem) -> None:
    loss, bits = words.all_metrics
    means = {"nats": np.float64(3.0), "tokens": np.float64(2.0)}  # not the mean of the words' own means
    assert loss.value(means) == 1.5
    assert bits.value(means) == pytest.approx(1.5 / math.log(2))
    assert (loss.title("test"), bits.title("test")) == ("test loss (nats per letter)", "test bits per letter")
    assert (loss.resampling, bits.resampling) == ("ratio", "ratio")
    assert words.headline is loss
    assert Language.metric_names == tuple(metric.name for metric in words.all_metrics)


@pytest.mark.parametrize("of_words", [True, False])
def test_an_untrained_transformer_has_the_untrained_loss(text: pathlib.Path, of_words: bool) -> None:
    """The initial weights of its last layer are zero."""
    config = Language(model=SMALL) if of_words else Language(dataset=str(text), model=SMALL, length=8)
    problem, vocabulary = config.load(), 27 if of_words else 256
    start = jax.jit(lambda batch: problem.evaluation(*problem.initial(jax.random.key(1)), batch))
    found = start(problem.train[:9])
    means = {name: float(values.mean()) for name, values in found.items()}
    assert (
        problem.all_metrics[0].value(means) == pytest.approx(math.log(vocabulary)) == problem.all_metrics[0].untrained
    )
    assert (
        problem.all_metrics[1].value(means) == pytest.approx(math.log2(vocabulary)) == problem.all_metrics[1].untrained
    )


@pytest.mark.parametrize("model", [SMALL, GRU(width=8)])
def test_tokens_after_the_end_do_not_affect_the_loss(model: Any) -> None:
    problem = Language(model=model).load()
    params, batch = moved(problem), problem.train[:4]
    assert (batch[:, -2] == PAD).any()
    found = jax.jit(problem.evaluation)(params, {}, batch)
    with_letters = np.where(batch == PAD, 13, batch)[:, :-1]  # instead of the padding
    nats, _ = token_nats(jnp.asarray(logits_of(model, params, with_letters)), jnp.asarray(batch[:, 1:]))
    np.testing.assert_allclose(found["nats"], nats.sum(1), rtol=1e-6)


def test_dropout_is_active_only_in_training() -> None:
    problem = Language(model=dataclasses.replace(SMALL, dropout=0.5)).load()
    params, batch = moved(problem), problem.train[:4]
    training = jax.jit(lambda step: problem.training(params, {}, batch, Draw(0, step))[0])
    assert training(0) != training(1)
    evaluated = jax.jit(problem.evaluation)(params, {}, batch)["nats"]
    nats, _ = token_nats(jnp.asarray(logits_of(SMALL, params, np.where(batch == PAD, 0, batch)[:, :-1])), batch[:, 1:])
    np.testing.assert_allclose(evaluated, nats.sum(1), rtol=1e-6)  # without dropout


def test_continuations_are_the_most_likely_letters_one_by_one(words: Problem) -> None:
    params, batch = moved(words), words.split("test")[:3]
    outputs = jax.jit(words.predictions)(params, {}, batch)
    written = batch.astype(int)
    written[written == PAD] = 0
    for position in range(4, 17):
        written[:, position] = logits_of(SMALL, params, written[:, :-1])[:, position - 1].argmax(-1)
    np.testing.assert_array_equal(outputs["continued"], written)
    sums = jax.jit(words.evaluation)(params, {}, batch)["nats"]
    np.testing.assert_allclose(np.asarray(outputs["nats"]).sum(1), sums, rtol=1e-5)


def test_views_show_continuations_and_the_loss_by_position(words: Problem) -> None:
    spelt = ["absolute", "cat", "dogs"]
    sequences = np.full((3, 17), PAD, np.uint8)
    for row, word in zip(sequences, spelt, strict=True):
        row[: len(word) + 2] = [0, *(ord(letter) - 96 for letter in word), 0]
    nats = np.where(sequences[:, 1:] == PAD, 0.0, np.arange(1.0, 17.0) * [[1], [2], [3]])
    continued = np.where(sequences == PAD, 0, sequences)
    continued[0, 4:8] = [19, 0, 1, 2]
    assert words.views is not None
    by_position, continuations = words.views(sequences, {"nats": nats, "continued": continued})
    assert isinstance(by_position, Lines)
    assert isinstance(continuations, Texts)
    np.testing.assert_array_equal(by_position.x, np.arange(1, 10))  # the 8 letters of "absolute" and its final boundary
    np.testing.assert_allclose(by_position.lines["mean"], [2, 4, 6, 8, 10, 6, 7, 8, 9])
    assert tuple(continuations.texts) == ("abs|s  (data: absolute)", "cat|  (data: cat)", "dog|s  (data: dogs)")


def test_a_run_learns_a_text_and_records_its_evaluation(text: pathlib.Path, tmp_path: pathlib.Path) -> None:
    problem = Language(dataset=str(text), model=SMALL, length=16)
    workload = Workload(problem=problem, epochs=3, batch_size=8)
    experiment = Experiment(workload=workload, optimizer=Adam(learning_rate=0.02))
    recording = Recording(tensorboard=False, evaluation=True)
    run = train(experiment, Options(runs_dir=tmp_path, recording=recording))
    final = load_run(run.path).summary["final"]  # type: ignore[index]
    assert final["test_loss"] < 0.75 * math.log(256)
    assert final["test_bits"] == pytest.approx(final["test_loss"] / math.log(2))
    evaluation = load_evaluation(run.path)
    assert evaluation is not None
    split = evaluation.splits["test"]
    found = split.statistics["nats"].sum() / split.statistics["tokens"].sum()
    assert found == pytest.approx(final["test_loss"], rel=1e-5)
    assert [type(view) for view in split.views] == [Lines, Texts]
    # The record identifies the text, so that a run resumes only with the same text.
    assert run.config["task"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()


def test_names_parts_and_shapes(text: pathlib.Path) -> None:
    config = Language(dataset=str(text), model=SMALL)
    assert (config.title, config.data_name) == ("fox_transformer", "fox")
    assert Language(dataset="/some/where/a b.c.txt").title == "a_b_c_transformer"
    assert Language().title == "words_transformer"
    assert config.validates
    problem, refit = config.load(), config.without_validation().load()
    assert refit.validation is None
    assert problem.facts["length"] == 64
    assert refit.train.size > problem.train.size
    for one in (config, Language(model=GRU(width=8))):
        shapes = jax.tree.map(lambda leaf: leaf.shape, one.parameter_shapes())
        initial = jax.eval_shape(one.load().initial, jax.random.key(0))[0]
        assert shapes == jax.tree.map(lambda leaf: leaf.shape, initial)
    written = {"name": "language", **config.to_json()}
    assert written["dataset"] == "fox.txt"  # without the folder
    assert PROBLEMS.from_json(written) == config
    assert PROBLEMS.from_json(written).load().facts == problem.facts


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"the model cnn takes images, .* Expected a model that takes tokens: gru, tra"):
        Language(model=CNN())
    with pytest.raises(UserError, match=r"Language\.length is 32, but the data set words has a fixed length"):
        Language(length=32)
    with pytest.raises(UserError, match=r"dataset is 'gone\.txt', but there is no such file"):
        Language(dataset="gone.txt").load()


def test_words_can_be_limited_and_texts_cannot(text):
    few = Language(model=SMALL, limit=200, validation_fraction=0.25)
    assert len(few.load().train) == 150
    assert Language.from_json(few.to_json()) == few
    assert "limit" not in Language(model=SMALL).to_json()  # older runs do not have this field
    with pytest.raises(UserError, match=r"Language\.limit is 200, but the data set .* is a text file"):
        Language(dataset=str(text), model=SMALL, limit=200)
