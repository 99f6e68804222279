"""Language: a network predicts the next token of a sequence, a letter of a word or a byte of a text."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Bool, Float, Int32, Key, PyTree, UInt8

from jaxopt_bench.config import ConfigTable, number_field
from jaxopt_bench.data import file_name, tokens
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MODELS, Layers, Model, Transformer, check_inputs, model_label
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.base import Params, Problem, SplitProblem
from jaxopt_bench.problems.metrics import LOSS, Metric, Statistics
from jaxopt_bench.problems.networks import apply_network, initial_variables, parameter_shapes
from jaxopt_bench.problems.views import Lines, Texts, View

LENGTH = 64
"""The default number of predicted bytes in a window of a text."""
_GIVEN_LETTERS = 3  # letters of a word that the network gets before it continues the word
_CONTINUED_BYTES = 16  # bytes that the network writes at the end of a window of a text
_SHOWN = 16  # number of sequences with continuations that are shown

Sequences = UInt8[Array, "batch length+1"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Language(SplitProblem):
    """A network is trained to predict the next token. The loss is the mean cross-entropy of predicted tokens in nats.

    Tokens are the letters of English words, or the bytes of a text file. A record contains the name of the file
    without its folder. The boundary after a word is predicted like a letter. Padding is neither predicted nor counted.

    Raises:
      UserError: if the model does not accept tokens, `length` is given for words or `limit` for a text file, or a field
        has the wrong type or is out of bounds.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"model": MODELS}
    metric_names: ClassVar[tuple[str, ...] | None] = (LOSS, "bits")
    added_later: ClassVar[tuple[str, ...]] = ("limit",)

    dataset: str = tokens.WORDS
    """Either "words" (the letters of 63,500 English words) or the path of a text file in UTF-8 (its bytes)."""
    model: Model = Transformer()  # noqa: RUF009 (it is frozen)
    """The network."""
    length: int | None = number_field(None, at_least=2)
    """The number of predicted bytes in a window of a text file; None means 64. With "words" it must be None."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type of the computations of the network. Parameters are always float32."""
    validation_fraction: float = number_field(0.1, at_least=0, below=1)
    """The share of the examples outside the test split that is used for validation instead of training; 0 for none."""
    limit: int | None = number_field(None, at_least=1)
    """The number of words outside the test split that are used for training and validation together; None for all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_inputs(self.model, "tokens", f"the data set {self.dataset}")
        if not self._of_words:
            object.__setattr__(self, "dataset", file_name(self.dataset))
        if self._of_words and self.length is not None:
            raise UserError(
                f"Language.length is {self.length}, but the data set {tokens.WORDS} has a fixed length. Expected None."
            )
        if not self._of_words and self.limit is not None:
            raise UserError(
                f"Language.limit is {self.limit}, but the data set {self.dataset} is a text file. Expected None, or "
                f"the data set {tokens.WORDS}."
            )

    @property
    def title(self) -> str:
        """The data and the network, such as "words_transformer"."""
        return f"{self.data_name}_{model_label(self.model)}"

    @property
    def data_name(self) -> str:
        """The name of the data: "words", or the name of a text file without its ending."""
        stem = re.sub(r"[^\w-]+", "_", pathlib.PurePath(self.dataset).stem).strip("_")
        return stem[:60] or "text"

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes and types of the parameters. It reads no data and computes nothing."""
        module = self.model.module(27 if self._of_words else 256, Layers(self.dtype))
        return parameter_shapes(module, jax.ShapeDtypeStruct((1, self._positions), jnp.int32))

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Reads the words or the text and returns the problem; see `ProblemConfig.load`."""
        if self._of_words:
            found = tokens.words(self.validation_fraction, self.limit)
        else:
            name = file_name(self.dataset)
            found = tokens.text(name.path or pathlib.Path(name), self._positions, self.validation_fraction)
        module = self.model.module(found.vocabulary, Layers(self.dtype, layers))
        model = _LanguageModel(module, self._positions, self._given)
        return Problem(
            train=found.train,
            validation=found.validation,
            test=found.test,
            init=model.init,
            loss=model.loss,
            evaluate=model.evaluate,
            metrics=_metrics(found.vocabulary, self._unit),
            outputs=model.outputs,
            views=self._views,
            random=self.model.has_dropout,
            facts={"vocabulary": found.vocabulary, "length": self._positions, "sha256": found.digest},
        )

    @property
    def _of_words(self) -> bool:
        return self.dataset == tokens.WORDS

    @property
    def _unit(self) -> str:
        return "letter" if self._of_words else "byte"

    @property
    def _positions(self) -> int:
        return tokens.LONGEST_WORD + 1 if self._of_words else self.length or LENGTH

    @property
    def _given(self) -> int:
        """The number of tokens of a sequence that the network gets before it continues the sequence."""
        if self._of_words:
            return _GIVEN_LETTERS + 1
        return self._positions + 1 - min(_CONTINUED_BYTES, self._positions // 2)

    def _views(self, examples: Sequences, outputs: Mapping[str, Any]) -> Sequence[View]:
        sequences = np.asarray(examples)
        nats, real = np.asarray(outputs["nats"]), sequences[:, 1:] != tokens.PAD
        counts = real.sum(0)
        reached = counts > 0
        by_position = Lines(
            title="Loss by position",
            text=f"For each position: the mean loss over all sequences that have a {self._unit} there.",
            x=np.arange(1.0, len(counts) + 1)[reached],
            lines={"mean": np.where(real, nats, 0).sum(0)[reached] / counts[reached]},
            x_title=f"position of the predicted {self._unit}",
            y_title=f"nats per {self._unit}",
        )
        longer = np.flatnonzero(sequences[:, self._given] != tokens.PAD)
        shown = longer[:: -(-len(longer) // _SHOWN)] if len(longer) else longer
        vocabulary = 27 if self._of_words else 256
        lines = []
        for index in shown:
            written = np.asarray(outputs["continued"][index])
            parts = (written[: self._given], written[self._given :], sequences[index][self._given :])
            given, continued, true = (tokens.spell(part, vocabulary) for part in parts)
            lines.append(f"{given}|{continued}  (data: {given if self._of_words else '…'}{true})")
        continuations = Texts(
            title="Continuations",
            text=f"The network reads the part before the bar. Then it writes the most likely {self._unit} each time.",
            texts=lines,
        )
        return [by_position, continuations]


@dataclasses.dataclass(frozen=True, eq=False)
class _LanguageModel:
    """The functions of a problem for a network that predicts the next token; see `Problem`.

    Attributes:
      module: the network.
      positions: the number of predicted tokens in a sequence.
      given: the number of tokens of a sequence that the network gets before it continues the sequence.
    """

    module: nn.Module
    positions: int
    given: int

    def init(self, key: Key[Array, ""]) -> Params:
        return initial_variables(self.module, key, jnp.zeros((1, self.positions), jnp.int32))[0]

    def logits(
        self, params: Params, sequences: Sequences, key: Key[Array, ""] | None = None
    ) -> Float[Array, "batch length vocabulary"]:
        given = sequences[:, :-1].astype(jnp.int32)
        # Padding comes after all tokens that count, so their predictions do not depend on its value.
        given = jnp.where(given == tokens.PAD, tokens.BOUNDARY, given)
        return apply_network(self.module, params, given, key)

    def loss(
        self, params: Params, batch: Sequences, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        sums = _sums(*token_nats(self.logits(params, batch, key), batch[:, 1:]))
        means = {name: values.mean() for name, values in sums.items()}
        return _nats_per_token(means), means

    def evaluate(self, params: Params, batch: Sequences) -> dict[str, Float[Array, " batch"]]:
        sums = _sums(*token_nats(self.logits(params, batch), batch[:, 1:]))
        return {LOSS: sums["nats"] / sums["tokens"], **sums}

    def outputs(self, params: Params, batch: Sequences) -> dict[str, Array]:
        nats, _ = token_nats(self.logits(params, batch), batch[:, 1:])

        def write(position: Int32[Array, ""], sequences: Sequences) -> Sequences:
            likely = self.logits(params, sequences)[:, position - 1].argmax(-1)
            return sequences.at[:, position].set(likely.astype(jnp.uint8))

        return {"nats": nats, "continued": lax.fori_loop(self.given, self.positions + 1, write, batch)}


def token_nats(
    logits: Float[Array, "batch length vocabulary"], targets: UInt8[Array, "batch length"]
) -> tuple[Float[Array, "batch length"], Bool[Array, "batch length"]]:
    """Returns the cross-entropy of each token in nats (in float32, 0 for padding), and a mask of the other tokens.

    Args:
      logits: unnormalised log-probabilities of the token at each position.
      targets: the tokens, `PAD` after the end of a sequence.
    """
    real = targets != tokens.PAD
    chosen = jax.nn.one_hot(targets, logits.shape[-1])
    return jnp.where(real, -(chosen * jax.nn.log_softmax(logits.astype(jnp.float32))).sum(-1), 0.0), real


def _sums(nats: Float[Array, "batch length"], real: Bool[Array, "batch length"]) -> dict[str, Float[Array, " batch"]]:
    return {"nats": nats.sum(1), "tokens": real.sum(1).astype(jnp.float32)}


def _metrics(vocabulary: int, unit: str) -> tuple[Metric, ...]:
    """Returns the cross-entropy in nats and in bits. An untrained model gives all tokens the same probability."""
    needs = ("nats", "tokens")
    loss = Metric(
        name=LOSS,
        unit=f"nats per {unit}",
        untrained=math.log(vocabulary),
        least=0.0,
        resampling="ratio",
        of=_nats_per_token,
        needs=needs,
    )
    bits = Metric(
        name="bits",
        words=f"bits per {unit}",
        untrained=math.log2(vocabulary),
        least=0.0,
        resampling="ratio",
        of=lambda means: _nats_per_token(means) / math.log(2),
        needs=needs,
    )
    return loss, bits


def _nats_per_token(means: Statistics) -> Any:
    return means["nats"] / means["tokens"]
