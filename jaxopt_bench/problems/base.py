"""The base classes of problems: examples, and pure functions of parameters. Kinds of problems do not belong here."""

from __future__ import annotations

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from jaxopt_bench import prng
from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.prng import Draw, Purpose
from jaxopt_bench.problems.metrics import LOSS, Metric
from jaxopt_bench.problems.views import View

Params: TypeAlias = Any
"""A pytree of floating-point arrays that are trained."""
Variables: TypeAlias = Any
"""A pytree of arrays that a model has in addition to its parameters, such as running averages; {} if it has none."""
Examples: TypeAlias = Any
"""A pytree of arrays with a leading axis of examples; also a batch of them."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """A problem, which an optimizer minimises.

    The functions are pure and can be traced by JAX. Their arguments and results are pytrees of arrays, so the functions
    can use any library. `batch` is a pytree of examples with a leading axis. `key` is the JAX key of a training step,
    or None in evaluation, which is deterministic.

    Attributes:
      train: the training examples, a pytree of arrays with a leading axis of examples.
      init: `init(key) -> params`, a pytree of floating-point arrays.
      loss: `loss(params, batch, key)` returns the losses of the examples, [batch], or their mean, a scalar; or the
        pair (losses, statistics), where statistics is a dictionary of arrays of the same shape. A training step uses
        the gradient of the mean.
      validation: the examples for the selection of settings, with the structure of `train`; None for none.
      test: the examples for the reported results, or a function that opens them; None for none.
      metrics: the metrics to measure. The first one is the headline metric, by which optimizers are ranked. The loss is
        always measured too. Metrics are computed from means of the statistics over examples.
      stateful: whether the model has variables that are not trained. Then `init(key) -> (params, variables)`, and
        `loss(params, batch, key, variables) -> (losses, statistics, variables)`.
      running_averages: whether the variables are running averages over batches, for example of batch normalisation.
        They are estimated again for the parameters that are evaluated.
      prepare: `prepare(batch, draw)` converts stored examples into the batch that the loss takes. It decodes and
        normalises, and in training it augments. `draw.key(purpose)` gives random keys; `draw` is None in evaluation.
      evaluate: `evaluate(params, batch)`, or `evaluate(params, batch, variables)` for a stateful problem, returns
        statistics of the examples, including "loss". None: `loss` is called with the key None.
      outputs: `outputs(params, batch)`, or with `variables`, returns the model's predictions, a dictionary of arrays
        [batch, …]. A run records them if --evaluation is given.
      views: `views(examples, outputs)` returns the views of a split for a page; see `views`. Both arguments are on the
        host.
      training_views: `training_views(batch, prepared)` returns the views of the first training batch for a page. The
        arguments are the batch before and after `prepare`.
      random: whether the loss uses its key, or `prepare` uses its draw.
      full_batch: whether the loss is the same for all batches, for example because it depends only on the parameters.
      facts: properties of the data that a run records, as JSON values, such as a digest. A run is resumed only if they
        are unchanged.
    """

    train: Examples
    init: Callable[[Key[Array, ""]], Any]
    loss: Callable[..., Any]
    validation: Examples | None = None
    test: Examples | Callable[[], Examples] | None = None
    metrics: Sequence[Metric] = ()
    stateful: bool = False
    running_averages: bool = False
    prepare: Callable[[Examples, Draw | None], Examples] | None = None
    evaluate: Callable[..., Mapping[str, Float[Array, " batch"]]] | None = None
    outputs: Callable[..., Mapping[str, Array]] | None = None
    views: Callable[[Examples, Mapping[str, Any]], Sequence[View]] | None = None
    training_views: Callable[[Examples, Examples], Sequence[View]] | None = None
    random: bool = True
    full_batch: bool = False
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def all_metrics(self) -> tuple[Metric, ...]:
        """All metrics. The loss is added at the end if the problem does not list it."""
        given = tuple(self.metrics)
        return given if any(metric.name == LOSS for metric in given) else (*given, Metric(name=LOSS))

    @property
    def headline(self) -> Metric:
        """The metric by which optimizers are ranked."""
        return self.all_metrics[0]

    @property
    def statistics(self) -> tuple[str, ...]:
        """The names of the statistics that are averaged over examples for all metrics. The loss is the first."""
        return tuple(dict.fromkeys([LOSS, *(name for metric in self.all_metrics for name in metric.statistics)]))

    @property
    def train_examples(self) -> int:
        """The number of training examples."""
        return count_examples(self.train)

    def split(self, name: str) -> Examples:
        """Returns the examples of "train", "validation" or "test".

        Raises:
          UserError: if the problem has no such split.
        """
        found = {"train": self.train, "validation": self.validation, "test": self.test}[name]
        if found is None:
            raise UserError(f"the problem has no {name} examples.")
        return found() if callable(found) else found

    def initial(self, key: Key[Array, ""]) -> tuple[Params, Variables]:
        """Returns the parameters and the variables before training."""
        return self.init(key) if self.stateful else (self.init(key), {})

    def training(
        self, params: Params, variables: Variables, batch: Examples, draw: Draw
    ) -> tuple[Float[Array, ""], tuple[dict[str, Float[Array, ""]], Variables]]:
        """Returns the loss of a training step, its statistics, and the variables after the step.

        Args:
          params: the parameters.
          variables: the variables of the model.
          batch: the stored examples, before `prepare`.
          draw: the source of random keys for the seed of the run and the step.
        """
        prepared = self.prepared(batch, draw)
        losses, statistics, variables = self._loss(params, prepared, draw.key(Purpose.LOSS), variables)
        return _mean(losses), ({name: _mean(value) for name, value in statistics.items()}, variables)

    def evaluation(self, params: Params, variables: Variables, batch: Examples) -> dict[str, Float[Array, " batch"]]:
        """Returns the statistics of examples, [batch] each, including "loss". The result is deterministic."""
        batch = self.prepared(batch, None)
        if self.evaluate is not None:
            return dict(self.evaluate(params, batch, *([variables] if self.stateful else [])))
        losses, statistics, _ = self._loss(params, batch, None, variables)
        if losses.ndim:
            return {LOSS: losses, **statistics}

        def of_one(example: Examples) -> dict[str, Float[Array, ""]]:
            alone = jax.tree.map(lambda leaf: leaf[None], example)
            loss, statistics, _ = self._loss(params, alone, None, variables)
            return {name: _mean(value) for name, value in {LOSS: loss, **statistics}.items()}

        return jax.vmap(of_one)(batch)

    def predictions(self, params: Params, variables: Variables, batch: Examples) -> Mapping[str, Array]:
        """Returns the predictions of `outputs` for stored examples; {} if the problem has no such function."""
        if self.outputs is None:
            return {}
        return self.outputs(params, self.prepared(batch, None), *([variables] if self.stateful else []))

    def prepared(self, batch: Examples, draw: Draw | None) -> Examples:
        """Returns stored examples after `prepare`. `draw` is None in evaluation."""
        return batch if self.prepare is None else self.prepare(batch, draw)

    def _loss(
        self, params: Params, batch: Examples, key: Key[Array, ""] | None, variables: Variables
    ) -> tuple[Array, Mapping[str, Array], Variables]:
        if self.stateful:
            losses, statistics, variables = self.loss(params, batch, key, variables)
            return losses, statistics, variables
        found = self.loss(params, batch, key)
        losses, statistics = found if isinstance(found, tuple) else (found, {})
        return losses, statistics, variables


@dataclasses.dataclass(frozen=True)
class ProblemConfig(Config, abc.ABC):
    """The configuration of a problem. Its fields determine the `Problem` that is loaded."""

    metric_names: ClassVar[tuple[str, ...] | None] = None
    """The names of the metrics, the headline metric first; None if they are not known before the data are loaded."""

    @abc.abstractmethod
    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Reads the examples and returns the problem.

        Args:
          data_dir: the data directory of TFDS; None means TFDS's own default.
          layers: the implementation of the layers of a network; see `models.Layers.path`.

        Raises:
          UserError: if the data cannot be read, or do not fit the other fields.
        """

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """The default name of a workload with this problem, such as "digits_cnn"."""

    @property
    def data_name(self) -> str:
        """The name of the examples. Two problems of one kind with the same name have the same examples."""
        return self.title

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes and types of the parameters. Nothing is computed, and some kinds read no data."""
        return jax.eval_shape(lambda: self.load().initial(prng.key(0, Purpose.INITIALISATION))[0])

    def without_validation(self) -> Self:
        """Returns the same problem with the validation examples as a part of the training examples.

        Raises:
          UserError: if this kind of problem cannot do that.
        """
        raise UserError(
            f"{type(self).__name__} cannot be trained on its validation examples. Expected Study.refit=False."
        )

    @property
    def validates(self) -> bool:
        """Whether the problem has validation examples."""
        return True


class SplitProblem(ProblemConfig):
    """A problem with a data set. The field `validation_fraction` divides it into training and validation examples."""

    dataset: str
    validation_fraction: float

    @property
    def data_name(self) -> str:
        """The name of the data set."""
        return self.dataset

    @property
    def validates(self) -> bool:
        """Whether a part of the data set is used for validation."""
        return self.validation_fraction > 0

    def without_validation(self) -> Self:
        """Returns the same problem, trained on all examples that are not in the test split."""
        return dataclasses.replace(self, validation_fraction=0.0)  # type: ignore[call-arg]  # a field of each kind


def count_examples(examples: Examples) -> int:
    """Returns the number of examples in a pytree of arrays."""
    return len(jax.tree.leaves(examples)[0])


def take_examples(examples: Examples, index: Any) -> Examples:
    """Returns the examples that a slice or an array of indices selects."""
    return jax.tree.map(lambda leaf: leaf[index], examples)


def _mean(values: Array) -> Float[Array, ""]:
    return values.mean() if jnp.ndim(values) else values
