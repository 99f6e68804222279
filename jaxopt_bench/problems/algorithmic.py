"""Algorithmic data: a network learns addition modulo a number from a part of all pairs.

It fits the training pairs long before it generalises to the other pairs ("grokking").
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from jaxopt_bench.config import ConfigTable, number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MODELS, Layers, Model, Transformer, check_inputs, model_label
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.base import Params, Problem, ProblemConfig
from jaxopt_bench.problems.classification import classification_metrics, correct, cross_entropy
from jaxopt_bench.problems.metrics import LOSS
from jaxopt_bench.problems.networks import apply_network, initial_variables, parameter_shapes
from jaxopt_bench.problems.views import Matrix, View


class Sums(NamedTuple):
    """Examples, on the host or the device.

    Attributes:
      terms: tokens a, b and "=", int32 [examples, 3].
      sums: their sums modulo the number, int32 [examples].
    """

    terms: Any
    sums: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModularAddition(ProblemConfig):
    """A network gets a, b and "=" as inputs, and is trained to predict a + b modulo a number at the last position.

    The training pairs are a random part of all pairs, drawn with a fixed seed. Half of the other pairs are the
    validation split, and half are the test split.

    Source: Power et al. 2022, "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets".

    Raises:
      UserError: if the model does not accept tokens, the fraction leaves a split empty, or a field has the wrong type
        or is out of bounds.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"model": MODELS}
    metric_names: ClassVar[tuple[str, ...] | None] = ("accuracy", LOSS)

    modulus: int = number_field(59, at_least=2, at_most=1000)
    """The modulus of the sums. Terms are 0 to this number − 1."""
    train_fraction: float = number_field(0.3, above=0, below=1)
    """The share of the pairs that are used for training."""
    model: Model = Transformer(width=64, depth=1)  # noqa: RUF009 (it is frozen)
    """The network."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type of the computations of the network. Parameters are always float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_inputs(self.model, "tokens", "modular addition")
        train, rest = self._counts
        if min(train, rest // 2) < 1:
            raise UserError(
                f"ModularAddition.train_fraction is {self.train_fraction}, which leaves {train} training pairs and "
                f"{rest} other pairs of {self.modulus**2}. Expected a fraction that leaves at least 1 training pair "
                "and 2 other pairs."
            )

    @property
    def title(self) -> str:
        """For example "modular_addition_23_transformer"."""
        return f"{self.data_name}_{model_label(self.model)}"

    @property
    def data_name(self) -> str:
        """For example "modular_addition_23"."""
        return f"modular_addition_{self.modulus}"

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes and types of the parameters. Nothing is computed."""
        module = self.model.module(self.modulus + 1, Layers(self.dtype))
        return parameter_shapes(module, jax.ShapeDtypeStruct((1, 3), jnp.int32))

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Returns the problem. It reads no files. See `ProblemConfig.load`."""
        modulus = self.modulus
        module = self.model.module(modulus + 1, Layers(self.dtype, layers))
        a, b = np.divmod(np.random.RandomState(0).permutation(modulus**2).astype(np.int32), modulus)
        everything = Sums(np.stack([a, b, np.full_like(a, modulus)], 1), (a + b) % modulus)
        train, rest = self._counts
        borders = (0, train, train + rest // 2, modulus**2)
        parts = [Sums(*(array[i:j] for array in everything)) for i, j in itertools.pairwise(borders)]

        def init(key: Key[Array, ""]) -> Params:
            return initial_variables(module, key, jnp.zeros((1, 3), jnp.int32))[0]

        def logits_of(params: Params, batch: Sums, key: Key[Array, ""] | None = None) -> Float[Array, "batch modulus"]:
            logits = apply_network(module, params, batch.terms, key)
            return logits[:, -1, :modulus]  # without the logit of "=", which is not a sum

        def loss(
            params: Params, batch: Sums, key: Key[Array, ""] | None
        ) -> tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]]]:
            logits = logits_of(params, batch, key)
            return cross_entropy(logits, batch.sums), {"accuracy": correct(logits, batch.sums)}

        def outputs(params: Params, batch: Sums) -> dict[str, Array]:
            return {"logits": logits_of(params, batch).astype(jnp.float32)}

        return Problem(
            train=parts[0],
            validation=parts[1],
            test=parts[2],
            init=init,
            loss=loss,
            metrics=classification_metrics(modulus),
            outputs=outputs,
            views=self._views,
            random=self.model.has_dropout,
            facts={"pairs": modulus**2},
        )

    @property
    def _counts(self) -> tuple[int, int]:
        """The number of training pairs, and the number of all other pairs."""
        train = round(self.train_fraction * self.modulus**2)
        return train, self.modulus**2 - train

    def _views(self, examples: Sums, outputs: Mapping[str, Any]) -> Sequence[View]:
        terms, sums = np.asarray(examples.terms), np.asarray(examples.sums)
        wrong = np.asarray(outputs["logits"]).argmax(-1) != sums
        values = np.zeros((self.modulus, self.modulus), int)
        values[terms[wrong, 0], terms[wrong, 1]] = 1
        names = tuple(map(str, range(self.modulus)))
        return [
            Matrix(
                title="Wrong sums",
                text=f"Pairs with a wrong prediction of the sum modulo {self.modulus}: {wrong.sum()} of {len(wrong)}.",
                values=values,
                rows=names,
                columns=names,
                row_title="first term",
                column_title="second term",
            )
        ]
