"""Regression: the diamonds, standardisation and metrics against scikit-learn, loss and gradient against PyTorch."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error
from sklearn.preprocessing import StandardScaler

from jaxopt_bench import prng
from jaxopt_bench.data.tables import Table, load_table
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN, MLP
from jaxopt_bench.problems import Problem, Regression
from jaxopt_bench.problems.regression import regression_problem


def made(rows: int = 60, constant: bool = False) -> Table:
    random = np.random.default_rng(0)
    features = random.normal([5, -3, 0], [2, 0.1, 1], (rows, 3))
    targets = np.full(rows, 7.0) if constant else 100 + 20 * features[:, 0] + random.normal(size=rows)
    return Table(features, targets, np.arange(rows) % 4 == 0, ("a", "b", "c"), "weight", "kg")


def initial(problem: Problem) -> tuple[Any, Any]:
    return problem.initial(prng.key(0, prng.Purpose.INITIALISATION))


def measured(problem: Problem, params: Any, variables: Any, split: str) -> dict[str, float]:
    statistics = problem.evaluation(params, variables, problem.split(split))
    means = {name: np.asarray(values, np.float64).mean() for name, values in statistics.items()}
    return {metric.name: float(metric.value(means)) for metric in problem.all_metrics}


def test_the_diamonds_are_those_of_ggplot2():
    """ggplot2 documents prices from 326 to 18,823 dollars, 0.2 to 5.01 carat, and depth = z / mean(x, y)."""
    table = load_table("diamonds")
    assert table.features.shape == (10_000, 9)
    column = dict(zip(table.feature_names, table.features.T, strict=True))
    assert 326 <= table.targets.min() < table.targets.max() <= 18_823
    assert abs(table.targets.mean() - 3932.8) < 4 * 3989.44 / 100  # mean of all 53,940; standard error
    assert 0.2 <= column["carat"].min() < column["carat"].max() <= 5.01
    depth = 200 * column["z"] / (column["x"] + column["y"])
    assert np.mean(np.abs(depth - column["depth"]) < 0.2) > 0.99  # the source has some typing errors
    for name, levels in (("cut", 5), ("color", 7), ("clarity", 8)):
        assert set(column[name]) == set(range(levels))
    assert np.corrcoef(column["carat"], table.targets)[0, 1] == pytest.approx(0.92, abs=0.01)
    assert len(np.unique(np.column_stack([table.features, table.targets]), axis=0)) == 10_000


def test_splits_are_standardised_as_by_scikit_learn():
    table = made()
    problem = regression_problem(table, MLP(), 0.2)
    train, validation, test = (problem.split(name) for name in ("train", "validation", "test"))
    assert [len(rows.targets) for rows in (train, validation, test)] == [36, 9, 15]
    rest = ~table.is_test
    in_train = np.isin(np.round(table.features[:, 0], 9), np.round(_restored(table, problem, train), 9)) & rest
    assert in_train.sum() == 36
    scaler = StandardScaler().fit(np.column_stack([table.features, table.targets])[in_train])
    expected = scaler.transform(np.column_stack([table.features, table.targets])[table.is_test])
    np.testing.assert_allclose(test.features, expected[:, :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(test.targets, expected[:, 3], rtol=1e-5, atol=1e-6)
    everything = np.concatenate([_restored(table, problem, rows) for rows in (train, validation, test)])
    np.testing.assert_allclose(np.sort(everything), np.sort(table.features[:, 0]), atol=1e-5)


def _restored(table: Table, problem: Problem, rows: Any) -> np.ndarray:
    """Returns the first feature of rows, as in the table: the nearest value there, because rows are in float32."""
    values = problem.facts["mean"][0] + problem.facts["std"][0] * np.asarray(rows.features[:, 0], np.float64)
    return table.features[np.abs(table.features[:, :1] - values).argmin(axis=0), 0]


def test_rmse_and_r2_are_those_of_scikit_learn():
    table = made()
    problem = regression_problem(table, MLP(widths=(8,)), 0.2)
    params, variables = initial(problem)
    for split in ("validation", "test"):
        rows = problem.split(split)
        predicted = problem.predictions(params, variables, rows)["predictions"]
        true = problem.facts["mean"][-1] + problem.facts["std"][-1] * np.asarray(rows.targets, np.float64)
        found = measured(problem, params, variables, split)
        assert found["rmse"] == pytest.approx(root_mean_squared_error(true, predicted), rel=1e-5)
        assert found["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-5)


def test_a_model_that_predicts_the_mean_has_the_untrained_values():
    problem = regression_problem(made(), MLP(widths=()), 0.0)
    params, variables = jax.tree.map(jnp.zeros_like, initial(problem))
    found = measured(problem, params, variables, "train")
    for metric in problem.all_metrics:
        assert found[metric.name] == pytest.approx(metric.untrained, abs=1e-5)
    assert problem.headline.title("test") == "test RMSE (kg)"
    assert problem.validation is None


def test_loss_and_gradient_are_those_of_pytorch():
    torch: Any = pytest.importorskip("torch")
    problem = regression_problem(made(), MLP(widths=(8, 5)), 0.2)
    params, variables = initial(problem)
    network = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)
    ).double()
    layers = list(zip(("dense1", "dense2", "head"), network[::2], strict=True))
    for name, layer in layers:
        layer.weight.data = torch.tensor(np.asarray(params[name]["kernel"]).T, dtype=torch.float64)
        layer.bias.data = torch.tensor(np.asarray(params[name]["bias"]), dtype=torch.float64)
    batch = problem.train
    outputs = network(torch.tensor(batch.features, dtype=torch.float64))[:, 0]
    loss = torch.nn.functional.mse_loss(outputs, torch.tensor(batch.targets, dtype=torch.float64))
    loss.backward()
    (ours, _), gradient = jax.value_and_grad(
        lambda p: problem.training(p, variables, batch, prng.Draw(0, 0)), has_aux=True
    )(params)
    assert ours == pytest.approx(loss.item(), rel=1e-5)
    for name, layer in layers:
        np.testing.assert_allclose(gradient[name]["kernel"], layer.weight.grad.T, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(gradient[name]["bias"], layer.bias.grad, rtol=1e-4, atol=1e-6)


def test_dropout_makes_training_random():
    plain, random = (regression_problem(made(), MLP(dropout=rate), 0.2) for rate in (0.0, 0.5))
    assert (plain.random, random.random) == (False, True)
    params, variables = initial(random)
    losses = [random.training(params, variables, random.train, prng.Draw(0, step))[0] for step in (0, 1)]
    assert losses[0] != losses[1]


def test_the_page_shows_predicted_against_true_values():
    problem = regression_problem(made(), MLP(), 0.2)
    params, variables = initial(problem)
    test = problem.split("test")
    (view,) = problem.views(test, problem.predictions(params, variables, test))
    np.testing.assert_allclose(view.x, made().targets[made().is_test], rtol=1e-5)
    assert view.diagonal
    assert view.x_title == "true weight (kg)"


def test_a_constant_column_becomes_zero_and_a_constant_target_is_refused():
    table = made()
    table.features[:, 1] = 3.0
    np.testing.assert_array_equal(regression_problem(table, MLP(), 0.2).train.features[:, 1], 0)
    with pytest.raises(UserError, match=r"the target 'weight' is 7 in every training row\. Expected a column with"):
        regression_problem(made(constant=True), MLP(), 0.2)


@pytest.mark.parametrize(("fraction", "empty"), [(1e-3, "validation"), (0.999, "training")])
def test_a_fraction_that_empties_a_split_is_refused(fraction, empty):
    with pytest.raises(UserError, match=rf"leaves the {empty} split of 45 rows empty\. Expected 0, or a fraction"):
        regression_problem(made(), MLP(), fraction)


def test_unknown_tables_and_networks_of_images_are_refused():
    with pytest.raises(UserError, match="unknown table 'diamond'; did you mean diamonds"):
        Regression(dataset="diamond")
    with pytest.raises(UserError, match="the model cnn takes images, but the table diamonds consists of vectors"):
        Regression(model=CNN())


def test_without_validation_its_rows_are_used_for_training():
    config = dataclasses.replace(Regression(), validation_fraction=0.25)
    assert config.load().train_examples == 6000
    assert config.without_validation().load().train_examples == 8000
