"""Tables of optimizers and their fields, and pictures of their trajectories."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SGD
from jaxopt_bench.optimizers.conformance import ArrayFacts
from jaxopt_bench.reports import (
    SURFACES,
    arrays_table,
    equal_paths,
    hyperparameters_table,
    optimizers_table,
    trajectories_on,
    trajectory,
)
from jaxopt_bench.reports.optimizers import field_documentation
from jaxopt_bench.reports.trajectory_picture import draw_trajectories


def text(table, width: int = 200) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def test_every_optimizer_has_a_row_with_its_source():
    shown = text(optimizers_table(OPTIMIZERS))
    for name, optimizer in OPTIMIZERS.items():
        (row,) = [line for line in shown.splitlines() if line.split()[:1] == [name]]
        assert optimizer.source.partition(";")[0] in row


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_field_has_a_row_with_a_meaning(name):
    optimizer = OPTIMIZERS[name]
    shown = text(hyperparameters_table(name, optimizer))
    meanings = field_documentation(type(optimizer))
    for field in dataclasses.fields(optimizer):
        assert any(line.split()[:1] == [field.name] for line in shown.splitlines()), field.name
        assert meanings[field.name]
    for field, axis in optimizer.search_space().items():
        (row,) = [line for line in shown.splitlines() if line.split()[:1] == [field] and len(line.split()) > 1]
        assert "★" in row
        assert f"{axis.low:g}" in row


def test_the_table_of_update_sizes_fits_a_terminal_of_80_columns():
    large = {"kind": "first_sign", "last": 1.0, "rule": "adam"}
    kernels = [
        ArrayFacts(f"c{i}/kernel", (3, 3, 512, 512), first=1.5, relative=x, **large) for i, x in enumerate((0.1, 1.4))
    ]
    head = ArrayFacts("head/kernel", (512, 10), "orthogonal", 0.041, 0.04, 0.0129, "muon")
    lines = text(arrays_table("network", [*kernels, head]), width=80).splitlines()
    (row,) = [line for line in lines if line.startswith(" kernel, 4-D")]
    assert row.split()[2:] == ["adam", "as", "Adam's", "2", f"{2 * 9 * 512**2:,}", "1.5", "0.1–1.4"]
    (row,) = [line for line in lines if line.startswith(" head/kernel")]
    assert row.split()[-2:] == ["0.041", "0.013"]


def test_a_trajectory_is_the_optimizers_path_at_the_chosen_learning_rate():
    found = trajectory("ravine", "sgd", SGD(), 30)
    x, y = np.array(SURFACES["ravine"].start)
    rate = found.learning_rate
    expected = np.stack([x * (1 - rate) ** np.arange(31), y * (1 - 50 * rate) ** np.arange(31)], axis=1)
    np.testing.assert_allclose(found.points, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.losses, (expected[:, 0] ** 2 + 50 * expected[:, 1] ** 2) / 2, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.step_sizes, rate, rtol=1e-4)


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces_are_lowest_at_their_minima(name):
    surface = SURFACES[name]
    x, y = (np.linspace(*bounds, 201) for bounds in (surface.x, surface.y))
    grid = np.array([[float(surface.function(np.array([a, b]))) for a in x] for b in y])
    lowest = min(float(surface.function(np.array(point, float))) for point in surface.minima)
    assert lowest <= grid.min() + 1e-9
    for point in surface.minima:
        assert float(surface.function(np.array(point, float))) == pytest.approx(lowest, abs=1e-6)


def test_the_picture_shows_every_optimizer_in_its_own_color(tmp_path):
    names = ("sgd", "adam")
    drawn = [trajectory(surface, name, OPTIMIZERS[name], 60) for surface in ("ravine", "beale") for name in names]
    draw_trajectories(drawn, tmp_path / "picture.png")
    pixels = np.asarray(Image.open(tmp_path / "picture.png").convert("RGB")).reshape(-1, 3).astype(int)
    for color in ((0, 114, 178), (213, 94, 0)):  # the colours of sgd and adam in all reports
        assert (np.abs(pixels - color).max(1) < 40).sum() > 300
    other = (np.abs(pixels - (0, 158, 115)).max(1) < 20).sum()  # the colour of nadam, which is not drawn
    assert other == 0


def test_trajectories_on_all_surfaces_at_once_match_those_on_each_alone():
    for together in trajectories_on(list(SURFACES), "adam", OPTIMIZERS["adam"], 20):
        alone = trajectory(together.surface, "adam", OPTIMIZERS["adam"], 20)
        assert together.learning_rate == alone.learning_rate
        np.testing.assert_allclose(together.points, alone.points, rtol=1e-3, atol=1e-5)


def test_optimizers_that_take_the_same_steps_are_named():
    drawn = [trajectory("ravine", name, OPTIMIZERS[name], 30) for name in ("sgd", "nadam", "muon", "adam")]
    assert equal_paths(drawn) == [["nadam", "muon"]]  # two numbers are not a matrix, so Muon takes NAdam's steps
    assert equal_paths(drawn[:2]) == []


def test_an_optimizer_that_diverges_everywhere_is_refused(monkeypatch):
    monkeypatch.setattr("jaxopt_bench.reports.trajectories.RATES", (1e3, 1e4))
    with pytest.raises(UserError, match=r"sgd diverges on rosenbrock at every learning rate from 1000 to 10000"):
        trajectory("rosenbrock", "sgd", SGD(), 50)
