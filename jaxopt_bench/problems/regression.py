"""Regression: a network predicts a number from the features of a row."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Key

from jaxopt_bench.config import ConfigTable, number_field
from jaxopt_bench.data.tables import TABLES, Table, load_table
from jaxopt_bench.data.user_files import file_name
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.models import MLP, MODELS, Layers, Model, check_inputs, model_label
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.problems.base import Params, Problem, SplitProblem, Variables
from jaxopt_bench.problems.metrics import LOSS, Metric, Statistics
from jaxopt_bench.problems.networks import apply_with_averages, initial_variables
from jaxopt_bench.problems.views import Points, View

_SHUFFLE_SEED = 0  # for the choice of validation rows


class Rows(NamedTuple):
    """Rows of a table. All columns have mean 0 and variance 1 over the training split."""

    features: Float[Array, "rows features"]
    targets: Float[Array, " rows"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression(SplitProblem):
    """Least squares: a network predicts the target of each row of a table.

    The features and the target are standardised by their means and standard deviations over the training split. The
    loss of a row is its squared error on this scale. For a model that predicts the mean, it is about 1 on average. The
    metrics are the root mean squared error (RMSE) in the unit of the target, and R², the explained share of the
    variance of the target.

    Raises:
      UserError: if the table is unknown, or a field has the wrong type or is out of bounds.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"model": MODELS}
    metric_names: ClassVar[tuple[str, ...] | None] = ("rmse", "r2", LOSS)
    added_later: ClassVar[tuple[str, ...]] = ("target",)

    dataset: str = "diamonds"
    """The name of a table, or the path of your own table (a .csv file)."""
    target: str | None = None
    """The column of a file to predict. Its numbers are the targets."""
    model: Model = MLP()
    """The network. It gets a vector of features and returns one number."""
    validation_fraction: float = number_field(0.1, at_least=0, below=1)
    """The share of the training rows that is used for validation, drawn at random; 0 for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset.endswith(".csv"):
            object.__setattr__(self, "dataset", file_name(self.dataset))
        elif self.dataset not in TABLES:
            raise unknown_name("table", self.dataset, TABLES)
        elif self.target is not None:
            raise UserError(f"target is {self.target!r}, but {self.dataset} is not a file. Expected None.")
        check_inputs(self.model, "vectors", f"the table {self.dataset}")

    @property
    def title(self) -> str:
        """The table and the network, such as "diamonds_mlp"."""
        return f"{self.dataset.removesuffix('.csv')}_{model_label(self.model)}"

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Reads the table and returns the problem; see `ProblemConfig.load`."""
        del data_dir
        table = load_table(self.dataset, self.target)
        return regression_problem(table, self.model, self.validation_fraction, layers)


def regression_problem(table: Table, model: Model, validation_fraction: float, layers: LayersPath = "plain") -> Problem:
    """Returns the problem of predicting a table's targets.

    Args:
      table: the rows.
      model: the network, with one output.
      validation_fraction: the share of the training rows that is used for validation.
      layers: the implementation of the layers of the network.

    Raises:
      UserError: if a requested split has no rows, or the target is constant over the training split.
    """
    data = _StandardisedTable.of(table, validation_fraction)
    module = model.module(1, Layers(path=layers))

    def init(key: Key[Array, ""]) -> tuple[Params, Variables]:
        return initial_variables(module, key, jnp.zeros((1, len(data.feature_mean))))

    def loss(
        params: Params, batch: Rows, key: Key[Array, ""] | None, variables: Variables
    ) -> tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]], Variables]:
        outputs, variables = apply_with_averages(module, params, variables, batch.features, key)
        predictions = outputs[:, 0]
        statistics = {"target": batch.targets, "squared_target": batch.targets**2}
        return (predictions - batch.targets) ** 2, statistics, variables

    def outputs(params: Params, batch: Rows, variables: Variables) -> dict[str, Array]:
        predicted, _ = apply_with_averages(module, params, variables, batch.features, None)
        return {"predictions": data.target_mean + data.target_std * predicted[:, 0]}

    return Problem(
        train=data.rows("train"),
        validation=data.rows("validation") if len(data.indices["validation"]) else None,
        test=functools.partial(data.rows, "test") if len(data.indices["test"]) else None,
        init=init,
        loss=loss,
        metrics=regression_metrics(data.target_std, table.target_unit),
        stateful=True,
        running_averages=True,
        random=model.has_dropout,
        outputs=outputs,
        views=data.views,
        facts={
            **({"digest": table.digest} if table.digest else {}),
            "columns": [*table.feature_names, table.target_name],
            "mean": [*data.feature_mean.tolist(), data.target_mean],
            "std": [*data.feature_std.tolist(), data.target_std],
        },
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _StandardisedTable:
    """A table whose columns have mean 0 and variance 1 over its training split.

    Attributes:
      table: the rows, in their own units.
      indices: the rows of each split.
      feature_mean: the mean of each feature over the training split.
      feature_std: the standard deviation of each feature over the training split; 0 if it is constant.
      target_mean: the mean of the target over the training split.
      target_std: the standard deviation of the target over the training split.
    """

    table: Table
    indices: Mapping[str, np.ndarray]
    feature_mean: Float64[np.ndarray, " features"]
    feature_std: Float64[np.ndarray, " features"]
    target_mean: float
    target_std: float

    @classmethod
    def of(cls, table: Table, validation_fraction: float) -> Self:
        """Divides a table into splits and computes the statistics of the training split; see `regression_problem`."""
        indices = _split(table, validation_fraction)
        features, targets = table.features[indices["train"]], table.targets[indices["train"]]
        target_mean, target_std = float(targets.mean()), float(targets.std())
        if target_std == 0:
            raise UserError(
                f"the target {table.target_name!r} is {target_mean:g} in every training row. Expected a column "
                "with at least two different values."
            )
        return cls(table, indices, features.mean(axis=0), features.std(axis=0), target_mean, target_std)

    def rows(self, split: str) -> Rows:
        """Returns the rows of a split; a constant column becomes 0."""
        chosen = self.indices[split]
        scale = np.where(self.feature_std > 0, self.feature_std, 1.0)
        features = (self.table.features[chosen] - self.feature_mean) / scale
        targets = (self.table.targets[chosen] - self.target_mean) / self.target_std
        return Rows(features.astype(np.float32), targets.astype(np.float32))

    def views(self, examples: Rows, outputs: Mapping[str, Any]) -> Sequence[View]:
        """Returns the plot of predicted against true targets, in their unit."""
        name, unit = self.table.target_name, f" ({self.table.target_unit})" if self.table.target_unit else ""
        return [
            Points(
                title=f"Predicted and true {name}",
                text="Each dot is a row. On the diagonal line, the prediction equals the true value.",
                x=self.target_mean + self.target_std * np.asarray(examples.targets, np.float64),
                y=np.asarray(outputs["predictions"], np.float64),
                x_title=f"true {name}{unit}",
                y_title=f"predicted {name}{unit}",
                diagonal=True,
            )
        ]


def regression_metrics(target_std: float, unit: str) -> tuple[Metric, ...]:
    """Returns the RMSE, R² and the loss. The untrained model is a model that predicts the mean.

    Args:
      target_std: the standard deviation of the target over the training split, in its unit.
      unit: the unit of the target.
    """

    def rmse(means: Statistics) -> Any:
        return target_std * means[LOSS] ** 0.5

    def r2(means: Statistics) -> Any:
        return 1 - means[LOSS] / (means["squared_target"] - means["target"] ** 2)

    return (
        Metric(
            name="rmse",
            words="RMSE",
            unit=unit,
            untrained=target_std,
            least=0.0,
            resampling="ratio",
            of=rmse,
            needs=(LOSS,),
        ),
        Metric(
            name="r2",
            words="R²",
            higher_is_better=True,
            untrained=0.0,
            greatest=1.0,
            resampling="ratio",
            of=r2,
            needs=(LOSS, "target", "squared_target"),
        ),
        Metric(name=LOSS, untrained=1.0, least=0.0),
    )


def _split(table: Table, validation_fraction: float) -> dict[str, np.ndarray]:
    """Returns the indices of the rows of each split."""
    rest, test = np.flatnonzero(~table.is_test), np.flatnonzero(table.is_test)
    count = round(validation_fraction * len(rest))
    if count == len(rest) or (validation_fraction > 0 and count == 0):
        empty = "validation" if count == 0 else "training"
        raise UserError(
            f"validation_fraction is {validation_fraction!r}, which leaves the {empty} split of {len(rest)} rows "
            "empty. Expected 0, or a fraction that leaves each split at least one row."
        )
    shuffled = np.random.default_rng(_SHUFFLE_SEED).permutation(rest)
    return {"train": np.sort(shuffled[count:]), "validation": np.sort(shuffled[:count]), "test": test}
