"""The stored results equal the oracle's, its gradients agree with its outputs, and tolerances separate precisions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from jaxopt_bench.doctor import make_items
from jaxopt_bench.doctor.check import BFLOAT16, TF32
from jaxopt_bench.doctor.expected import FILE, load_expected
from jaxopt_bench.doctor.items import AUGMENTATIONS
from jaxopt_bench.models import Layers
from jaxopt_bench.problems import PROBLEMS
from tests.doctor import oracle, small_problems

ITEMS = {item.name: item for item in make_items(Layers())}
STORED = load_expected()


def test_the_stored_results_equal_those_of_the_oracle():
    """After an intended change, write the results again: `python -m tests.doctor.oracle`."""
    made = oracle.expected()
    assert made.keys() == STORED.keys() == ITEMS.keys()
    for name, (inputs, results) in made.items():
        assert inputs.keys() == STORED[name].inputs.keys()
        assert results.keys() == STORED[name].results.keys()
        for key, array in inputs.items():
            assert array.dtype == STORED[name].inputs[key].dtype
            np.testing.assert_array_equal(array, STORED[name].inputs[key])
        for key, array in results.items():
            assert STORED[name].results[key].dtype == np.float64
            np.testing.assert_allclose(array, STORED[name].results[key], rtol=1e-10, atol=1e-12)


def test_there_is_a_small_problem_of_each_kind():
    assert {name.replace(" ", "_") for name in small_problems.LAYOUTS} == set(PROBLEMS)


def test_the_file_is_small():
    assert FILE.stat().st_size < 150_000


@pytest.mark.parametrize("name", [name for name in ITEMS if any("gradient" in n for n in STORED[name].results)])
def test_the_oracles_gradients_are_the_derivatives_of_its_outputs(name):
    """They are compared with central differences along random directions."""
    given = {key: array.astype(np.float64) if array.dtype == np.float32 else array
             for key, array in STORED[name].inputs.items()}  # fmt: skip
    rng, h = np.random.default_rng(0), 1e-6

    def value(key, step):
        results = oracle.results(name, {**given, key: given[key] + step})
        return results["losses"].sum() if "losses" in results else (results["outputs"] * given["cotangent"]).sum()

    gradients = {n.removesuffix(" gradient"): g for n, g in STORED[name].results.items() if n.endswith(" gradient")}
    for key, gradient in gradients.items():
        direction = rng.normal(size=gradient.shape)
        slope = (value(key, h * direction) - value(key, -h * direction)) / (2 * h)
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-6), key


def test_the_oracles_convolution_equals_scipys():
    given, results = STORED["convolution"]
    for image, output in zip(given["images"].astype(np.float64), results["outputs"], strict=True):
        for o in range(output.shape[-1]):
            planes = [
                scipy.signal.correlate(image[..., c], given["kernel"][..., c, o].astype(np.float64), "same")
                for c in range(image.shape[-1])
            ]
            np.testing.assert_allclose(sum(planes) + given["bias"][o], output[..., o], rtol=1e-12, atol=1e-12)


def test_the_draws_of_augmentations_include_every_case():
    """Some images are flipped and some are not, every crop moves, and squares are cut at an edge and inside."""
    plain = {name: oracle.normalised(STORED[name].inputs) for name in AUGMENTATIONS}
    changed = {name: (STORED[name].results["pixels"] != plain[name]).any((1, 2, 3)) for name in AUGMENTATIONS}
    assert set(changed["flip"]) == {True, False}
    assert changed["crop"].all()
    assert changed["rotation"].all()
    squares = {int(count) for count in (STORED["cutout"].results["pixels"] == 0).all(-1).sum((1, 2))}
    assert 9 in squares
    assert min(squares) < 9


def rounded(array: np.ndarray, bits: int) -> np.ndarray:
    """Returns floating-point numbers rounded to a number of bits of mantissa: 8 in bfloat16, 11 in TF32."""
    if array.dtype.kind != "f":
        return array
    mantissa, exponent = np.frexp(array.astype(np.float64))
    return np.ldexp(np.round(mantissa * 2**bits) / 2**bits, exponent)


def error(name: str, bits: int) -> float:
    """Returns the largest relative error of an item on rounded inputs; of rounded results if its inputs are bytes."""
    inputs, results = STORED[name]
    if name in AUGMENTATIONS:
        made = {key: rounded(array, bits) for key, array in results.items()}
    else:
        kept = ("bias", "scale", "mean", "var")
        made = oracle.results(name, {k: array if k in kept else rounded(array, bits) for k, array in inputs.items()})
    return max(np.abs(made[key] - results[key]).max() / np.abs(results[key]).max() for key in results)


@pytest.mark.parametrize("name", [name for name in ITEMS if name != "random numbers"])
def test_bfloat16_is_not_accepted_for_float32(name):
    assert error(name, bits=8) > 2 * ITEMS[name].tolerance
    assert error(name, bits=24) < ITEMS[name].tolerance / 10


@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if item.products])
def test_tf32_is_distinguished_from_float32_and_from_bfloat16(name):
    item = ITEMS[name]
    assert 10 * item.tolerance < error(name, bits=11) < item.slack * TF32 / (2 if item.slack == 1 else 1)
    assert TF32 < error(name, bits=8) < item.slack * BFLOAT16
