"""The measurement of the record, here on digits, and the lower bound of its prediction, against sums by hand."""

from __future__ import annotations

import json
import math
import pathlib
import statistics

import pytest
import scipy.stats

from experiments.speed import record
from experiments.speed.inputs.workloads import DIGITS, make_task
from experiments.speed.jax_side.networks import forward_jaxpr
from experiments.speed.measure import flops, roofline
from experiments.speed.measure.roofline import CHIPS, Chip, least_seconds
from jaxopt_bench import catalog, load_run

KERNELS = (9 * 16, 9 * 16 * 32, 2 * 2 * 32 * 64, 64 * 10)
INPUTS = tuple(32 * n for n in (8 * 8, 4 * 4 * 16, 2 * 2 * 32, 64))
OUTPUTS = tuple(32 * n for n in (8 * 8 * 16, 4 * 4 * 32, 64, 10))
PARAMETERS = 1000


@pytest.fixture(scope="module")
def products() -> list[flops.Product]:
    return flops.products(forward_jaxpr(make_task(DIGITS, "float32", 64)))


def test_products_are_counted_with_the_sizes_of_their_inputs_and_outputs(products: list[flops.Product]) -> None:
    assert tuple(p.kernel for p in products) == KERNELS
    assert tuple(p.images for p in products) == INPUTS
    assert tuple(p.outputs for p in products) == OUTPUTS


def test_with_infinite_bandwidth_the_bound_is_the_time_of_the_operations(products: list[flops.Product]) -> None:
    chip = Chip("quick", 1e9, math.inf, "here")
    found = least_seconds(products, PARAMETERS, 4, chip)
    forward = forward_jaxpr(make_task(DIGITS, "float32", 64))
    assert found == pytest.approx(flops.training_flops(forward) / 1e9)


@pytest.mark.parametrize("number_bytes", [2, 4])
def test_with_infinite_flops_the_bound_is_the_time_of_the_memory_transfers(
    products: list[flops.Product], number_bytes: int
) -> None:
    """Each use of an array counts: 3 at a product, 8 at a normalisation, and 5 of each parameter in the update."""
    kernels, inputs, outputs = sum(KERNELS), sum(INPUTS), sum(OUTPUTS)
    forward = number_bytes * (inputs + kernels + outputs)
    kernel_gradients = number_bytes * (inputs + outputs) + 4 * kernels
    input_gradients = forward - number_bytes * (INPUTS[0] + KERNELS[0] + OUTPUTS[0])
    normalised = 8 * number_bytes * (outputs - OUTPUTS[-1])
    expected = forward + kernel_gradients + input_gradients + normalised + 5 * 4 * PARAMETERS
    found = least_seconds(products, PARAMETERS, number_bytes, Chip("wide", math.inf, 1e6, "here"))
    assert found == pytest.approx(expected / 1e6)


def test_faster_chips_have_lower_bounds(products: list[flops.Product]) -> None:
    bounds = [least_seconds(products, PARAMETERS, 2, chip) for chip in CHIPS]
    assert bounds == sorted(bounds, reverse=True)
    assert len(set(bounds)) == len(CHIPS)


def test_the_record_is_resnet_18_on_all_images() -> None:
    found = catalog.find("cifar10_resnet18_sgd_record")
    assert found.workload.problem.validation_fraction == 0.0
    assert found.evaluate_test
    task = record._task(found)
    products = flops.products(forward_jaxpr(task))
    forward = sum(p.operations for p in products) / found.workload.batch_size
    assert forward == pytest.approx(2 * 0.556e9, rel=0.01)  # the known number of multiply-adds of this network


def test_the_accuracies_of_all_seeds_are_written(
    tmp_path: pathlib.Path, digits_dir: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    words = ["record", "--experiment", "digits_cnn_adamw", "--seeds", "3", "--epochs", "1", "--data-dir", digits_dir]
    words += ["--runs-dir", tmp_path / "runs", "--out", tmp_path / "record.json"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    record.main()
    written = json.loads((tmp_path / "record.json").read_text())
    (row,) = written["rows"]
    runs = sorted(
        (load_run(p.parent) for p in tmp_path.rglob("summary.json")), key=lambda r: r.config["experiment"]["seed"]
    )
    assert [r.summary["final"]["test_accuracy"] for r in runs if r.summary] == row["accuracies"]
    assert row["accuracy"] == pytest.approx(statistics.fmean(row["accuracies"]))
    expected = scipy.stats.t.interval(0.95, 2, row["accuracy"], scipy.stats.sem(row["accuracies"]))
    assert row["accuracy_interval"] == pytest.approx(list(expected))
    assert (row["reached"], row["diverged"], row["path"]["members"]) == (0, 0, "map")
    assert 0 < row["training_seconds"] < row["wall_seconds"]
    assert "experiments.speed.record --experiment digits_cnn_adamw" in written["command"]
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.slow
def test_the_prediction_has_the_attained_share_of_this_machines_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "this_chip", lambda dtype: Chip("here", 1e9, 1e12, dtype))
    rows = record.predicted(catalog.find("digits_cnn_adamw"))
    assert [row["chip"] for row in rows] == [*(chip.name for chip in CHIPS), "here"]
    assert rows[-1]["source"] == "float32"
    assert rows[-1]["attained"] > 0
