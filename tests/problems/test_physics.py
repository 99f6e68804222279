"""Differential equations: solutions against published numbers and finite differences, residuals against PyTorch."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench import prng
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MLP
from jaxopt_bench.problems import Burgers, Poisson, Problem
from jaxopt_bench.problems.physics import VISCOSITY, burgers_solution
from jaxopt_bench.problems.views import Lines, Points

torch: Any = pytest.importorskip("torch")

SMALL = MLP(widths=(7, 5), activation="tanh")
EQUATIONS = (Poisson(model=SMALL, points=40), Burgers(model=SMALL, points=40))


def initial(problem: Problem) -> Any:
    return problem.initial(prng.key(3, prng.Purpose.INITIALISATION))[0]


def evaluated(problem: Problem, params: Any, examples: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(values, np.float64) for name, values in problem.evaluation(params, {}, examples).items()}


def test_burgers_solution_is_as_steep_as_published():
    """Basdevant et al. 1986, table 1: the slope at x = 0 is largest, 152.00516, at t = 1.6037 / π."""

    def slope(time: Any) -> Any:
        step = 1e-5
        return -burgers_solution(np.full_like(time, step), time) / step  # the solution is odd

    times = np.linspace(0.45, 0.57, 1201)
    slopes = slope(times)
    assert slopes.max() == pytest.approx(152.00516, rel=1e-4)
    assert np.pi * times[slopes.argmax()] == pytest.approx(1.6037, abs=1e-3)


def test_burgers_solution_satisfies_the_equation_and_the_given_values():
    x, t = (axis.ravel() for axis in np.meshgrid(np.linspace(-0.95, 0.95, 20), np.linspace(0.05, 0.95, 10)))

    def u(dx: float = 0.0, dt: float = 0.0) -> Any:
        return burgers_solution(x + dx, t + dt)

    h = 1e-4
    in_time, in_space = (u(dt=h) - u(dt=-h)) / (2 * h), (u(h) - u(-h)) / (2 * h)
    second = (u(h) - 2 * u() + u(-h)) / h**2
    residual = in_time + u() * in_space - VISCOSITY * second
    assert np.abs(residual).max() < 1e-4 * np.abs(in_time).max()
    np.testing.assert_allclose(u(), burgers_solution(x, t, nodes=200), atol=1e-10)
    places = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(burgers_solution(places, np.zeros(9)), -np.sin(np.pi * places), atol=1e-12)
    np.testing.assert_allclose(burgers_solution(np.array([-1.0, 1.0]), np.array([0.3, 0.9])), 0, atol=1e-12)


@pytest.mark.parametrize("frequency", [1, 4])
def test_the_solution_of_the_poisson_equation_has_no_residual(frequency):
    config = Poisson(frequency=frequency)

    def solution(point: Any) -> Any:
        return jnp.sin(jnp.pi * point[0]) + 0.5 * jnp.sin(frequency * jnp.pi * point[0])

    points = np.linspace(0, 1, 11)[:, None]
    residuals = jax.vmap(lambda point: config.residual(solution, point))(jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(residuals, 0, atol=1e-6 * frequency**2 * 100)
    np.testing.assert_allclose(jax.vmap(solution)(points), config.solution(points), atol=1e-5)
    np.testing.assert_allclose(config.solution(config.boundary(4, np.random.default_rng(0))), 0, atol=1e-12)


def network(params: Any) -> Any:
    """Returns a copy in float64 of a network with two hidden tanh layers."""
    layers = []
    for name in ("dense1", "dense2", "head"):
        kernel = torch.tensor(np.asarray(params[name]["kernel"]).T, dtype=torch.float64)
        layer = torch.nn.Linear(kernel.shape[1], kernel.shape[0]).double()
        layer.weight.data, layer.bias.data = kernel, torch.tensor(np.asarray(params[name]["bias"]), dtype=torch.float64)
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


def torch_losses(config: Any, u: Any, batch: Any) -> Any:
    """Returns the losses of examples by PyTorch's automatic differentiation, in float64."""
    points = torch.tensor(batch.interior, dtype=torch.float64, requires_grad=True)
    values = u(points)[:, 0]
    (first,) = torch.autograd.grad(values.sum(), points, create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), points, create_graph=True)
    if isinstance(config, Burgers):
        residual = first[:, 1] + values * first[:, 0] - 0.01 / np.pi * second[:, 0]
    else:
        x, pi, k = points[:, 0], np.pi, config.frequency
        residual = -second[:, 0] - pi**2 * torch.sin(pi * x) - 0.5 * (k * pi) ** 2 * torch.sin(k * pi * x)
    boundary = u(torch.tensor(batch.boundary, dtype=torch.float64))[:, 0]
    given = torch.tensor(batch.boundary_values, dtype=torch.float64)
    return residual**2 + config.boundary_weight * (boundary - given) ** 2


@pytest.mark.parametrize("config", EQUATIONS, ids=lambda config: config.title)
def test_losses_and_gradient_are_those_of_pytorch(config):
    problem = dataclasses.replace(config, boundary_weight=3.0).load()
    params = initial(problem)
    u = network(params)
    losses = torch_losses(dataclasses.replace(config, boundary_weight=3.0), u, problem.train)
    np.testing.assert_allclose(
        evaluated(problem, params, problem.train)["loss"], losses.detach(), rtol=2e-3, atol=1e-5 * losses.max().item()
    )
    losses.mean().backward()
    gradient = jax.grad(lambda p: problem.training(p, {}, problem.train, prng.Draw(0, 0))[0])(params)
    for name, layer in zip(("dense1", "dense2", "head"), u[::2], strict=True):
        expected = layer.weight.grad.T.numpy()
        np.testing.assert_allclose(gradient[name]["kernel"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("config", EQUATIONS, ids=lambda config: config.title)
def test_the_relative_error_is_the_error_norm_divided_by_the_solution_norm(config):
    problem = config.load()
    params, test = initial(problem), problem.split("test")
    predicted = np.asarray(problem.predictions(params, {}, test)["network"], np.float64)
    means = {name: values.mean() for name, values in evaluated(problem, params, test).items()}
    solution = np.asarray(test.solution, np.float64)
    expected = np.linalg.norm(predicted - solution) / np.linalg.norm(solution)
    assert problem.headline.value(means) == pytest.approx(expected, rel=1e-5)
    zero = jax.tree.map(jnp.zeros_like, params)
    means = {name: values.mean() for name, values in evaluated(problem, zero, test).items()}
    assert problem.headline.value(means) == pytest.approx(problem.headline.untrained, rel=1e-6)


@pytest.mark.parametrize("config", EQUATIONS, ids=lambda config: config.title)
def test_points_lie_in_the_domain_and_on_its_boundary(config):
    problem = config.load()
    low = np.array([-1, 0] if isinstance(config, Burgers) else [0])
    sets = [problem.train, problem.validation, problem.split("test")]
    for points in sets:
        assert (points.interior >= low).all()
        assert (points.interior <= 1).all()
        ends = np.abs(points.boundary[:, 0] - (low[0] + 1) / 2) == (1 - low[0]) / 2
        at_start = points.boundary[:, 1] == 0 if isinstance(config, Burgers) else np.zeros_like(ends)
        assert (ends | at_start).all()
        np.testing.assert_allclose(points.boundary_values[ends & ~at_start], 0, atol=1e-6)
        np.testing.assert_allclose(
            points.boundary_values[at_start], -np.sin(np.pi * points.boundary[at_start, 0]), atol=1e-6
        )
    assert not np.isin(sets[0].interior[:, 0], sets[1].interior[:, 0]).any()
    cells = np.floor((sets[0].interior - low) / (1 - low) * len(sets[0].interior))
    for axis in cells.T:  # a Latin hypercube has one point in each of as many equal intervals
        assert len(np.unique(axis)) >= len(axis) - 2  # rounding to float32 may move a point across a border
    assert not problem.random


def test_pages_show_lines_on_the_grid_and_dots_elsewhere():
    for config, titles in (
        (EQUATIONS[0], ["Network and solution"]),
        (EQUATIONS[1], [f"Network and solution at t = {t}" for t in ("0", "0.25", "0.5", "0.75", "1")]),
    ):
        problem = config.load()
        params, test = initial(problem), problem.split("test")
        views = problem.views(test, problem.predictions(params, {}, test))
        assert [view.title for view in views] == titles
        assert all(isinstance(view, Lines) and (np.diff(view.x) > 0).all() for view in views)
        first = views[0]
        x = first.x[:, None] if isinstance(config, Poisson) else np.stack([first.x, np.zeros_like(first.x)], axis=1)
        np.testing.assert_allclose(first.lines["solution"], config.solution(x), atol=1e-6)
    validation = problem.validation
    (dots,) = problem.views(validation, problem.predictions(params, {}, validation))
    assert isinstance(dots, Points)


def test_networks_that_cannot_solve_an_equation_are_refused():
    with pytest.raises(UserError, match=r"Poisson.model.activation is 'relu', whose second derivative is 0"):
        Poisson(model=MLP())
    with pytest.raises(UserError, match=r"Burgers.model.dropout is 0.5\. Expected 0"):
        Burgers(model=MLP(activation="tanh", dropout=0.5))


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.title)
def test_the_loss_weighs_residuals_and_boundary_errors(equation):
    def losses(residual: float, boundary: float) -> np.ndarray:
        config = dataclasses.replace(equation, residual_weight=residual, boundary_weight=boundary)
        problem = config.load()
        moved = jax.tree.map(lambda leaf: leaf + 0.5, initial(problem))  # initially u(0) is 0, as on the boundary
        return evaluated(problem, moved, problem.train)["loss"]

    residuals, boundaries = losses(2, 1) - losses(1, 1), losses(1, 2) - losses(1, 1)
    np.testing.assert_allclose(losses(0.5, 3), 0.5 * residuals + 3 * boundaries, rtol=1e-4, atol=0.01)
    assert min(residuals.max(), boundaries.max()) > 0.1
    assert type(equation).from_json(dataclasses.replace(equation, residual_weight=0.5).to_json()).residual_weight == 0.5
    assert "residual_weight" not in equation.to_json()  # older runs do not have this field
