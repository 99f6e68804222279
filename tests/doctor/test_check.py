"""Correct items pass on every code path. Wrong items are found and named, and exceptions are results."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.data import augmentation
from jaxopt_bench.doctor import check, describe_low_precision, give_advice, items, make_items
from jaxopt_bench.doctor.check import DEFAULT_PRODUCTS, TF32
from jaxopt_bench.doctor.expected import load_expected
from jaxopt_bench.models import Layers, convolution, normalization, pooling
from jaxopt_bench.optimizers import Adam
from jaxopt_bench.training import CodePath, choose_code_path

STORED = load_expected()
NAMES = [item.name for item in make_items(Layers())]
CPU, GPU, OTHER = choose_code_path("cpu"), choose_code_path("gpu"), choose_code_path("METAL")
QUICK = ("convolution", "batch normalisation", "max-pooling")  # they differ most between code paths


def checked(name: str, path: CodePath = CPU, layers: Layers | None = None):
    """Returns the result of an item, which is made again from the present contents of the modules."""
    (item,) = (item for item in make_items(layers or Layers(path=path.layers)) if item.name == name)
    return check(item, STORED[name], path)


@pytest.mark.parametrize("path", [GPU, OTHER], ids=["gpu", "other"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NAMES])
def test_the_code_paths_of_other_backends_pass_too(name, path):
    result = checked(name, path)
    assert result.passed, result
    assert result.error is not None
    assert result.error.size < result.tolerance / 5


def swapped_kernel_gradient(window, images, kernel, cotangent, right=convolution._kernel_gradient):
    return right(window, images, kernel, cotangent).swapaxes(0, 1)


def vertical_flip(images, chosen):
    return jnp.where(chosen[:, None, None, None], images[:, ::-1], images)


class Shifted(Layers):
    """Layers with XLA's padding "SAME" instead of one pixel on all sides."""

    def conv(self, *arguments, **options):
        return super().conv(*arguments, **{**options, "padding": "SAME"})


def sums_that_are_too_large(in_cpp, first, second, shift):
    del in_cpp
    return 1.001 * first.sum((0, 1, 2)), (first * (second - shift)).sum((0, 1, 2))


@pytest.mark.parametrize(
    ("name", "module", "attribute", "broken", "where"),
    [
        ("convolution", convolution, "_kernel_gradient", swapped_kernel_gradient, "kernel gradient"),
        ("batch normalisation", normalization, "_sums", sums_that_are_too_large, ""),
        ("max-pooling", pooling, "_choice", lambda candidates: jnp.zeros(candidates[0].shape, jnp.int16), "gradient"),
        ("cross-entropy", items, "cross_entropy", lambda logits, *_: logits.sum(-1) * jnp.nan, "losses"),
        ("flip", augmentation, "_flip", vertical_flip, "pixels"),
    ],
)  # fmt: skip
def test_wrong_items_are_found_and_named(monkeypatch, name, module, attribute, broken, where):
    monkeypatch.setattr(module, attribute, broken)
    result = checked(name)
    assert not result.passed
    assert result.error is not None
    assert where in result.error.where
    (wrong, *elsewhere) = give_advice([result], "cpu", CPU)
    assert wrong.startswith(f"{name}: wrong")
    assert "doctor --plain" in elsewhere[0]
    assert "other versions of jax, jaxlib" in elsewhere[1]


def test_padding_on_the_wrong_sides_is_found():
    result = checked("convolution, stride 2", layers=Shifted(path="pure"))
    assert not result.passed
    assert result.error is not None
    assert result.error.size > 0.1


@pytest.mark.parametrize("optimizer", [Adam(learning_rate=0.1, weight_decay=0.01, b1=0.89),
                                       Adam(learning_rate=0.1, weight_decay=0.01, b2=0.99),
                                       Adam(learning_rate=0.1, weight_decay=0.01, eps=1e-7),
                                       Adam(learning_rate=0.1)])  # fmt: skip
def test_an_optimizer_with_another_setting_is_found(monkeypatch, optimizer):
    monkeypatch.setitem(items.OPTIMIZERS, "Adam", optimizer)
    assert not checked("Adam").passed


def test_draws_of_another_generator_are_found():
    with jax.threefry_partitionable(False):
        result = checked("random numbers")
    assert not result.passed


@pytest.mark.parametrize("name", ["convolution", "dense layer", "batch normalisation"])
def test_layers_in_bfloat16_are_found(name):
    result = checked(name, layers=Layers("bfloat16", "pure"))
    assert result.error is not None
    assert result.error.size > result.tolerance


@pytest.fixture
def few_digits(monkeypatch):
    """Returns a function that rounds the dense layer's inputs to some bits of mantissa, as an accelerator would."""

    def rounded(array, bits):
        mantissa, exponent = jnp.frexp(array)
        return jnp.ldexp(jnp.round(mantissa * 2**bits) / 2**bits, exponent)

    def see(bits):
        right = items._dense
        monkeypatch.setattr(items, "_dense", lambda layers, inputs: right(
            layers, {name: rounded(array, bits) for name, array in inputs.items()}))  # fmt: skip

    return see


def test_tf32_is_accepted_only_if_it_is_the_default(few_digits, monkeypatch):
    few_digits(11)
    result = checked("dense layer")
    assert not result.passed
    assert (
        "JAX_DEFAULT_MATMUL_PRECISION=float32 selects float32; it is not set now" in give_advice([result], "x", CPU)[0]
    )
    monkeypatch.setitem(DEFAULT_PRODUCTS, "cpu", TF32)
    result = checked("dense layer")
    assert result.passed
    assert give_advice([result], "cpu", CPU) == []
    assert "TF32 on GPUs" in (describe_low_precision([result]) or "")
    with jax.default_matmul_precision("float32"):
        result = checked("dense layer")
        assert not result.passed
        assert "it is 'float32' now" in give_advice([result], "cpu", CPU)[0]


def test_bfloat16_is_not_accepted_as_tf32(few_digits, monkeypatch):
    few_digits(8)
    monkeypatch.setitem(DEFAULT_PRODUCTS, "cpu", TF32)
    assert not checked("dense layer").passed


def test_an_exception_is_a_result(monkeypatch):
    def unimplemented(*_):
        raise NotImplementedError("MLIR translation rule for primitive 'log_softmax' not found for platform METAL")

    monkeypatch.setattr(items, "cross_entropy", unimplemented)
    result = checked("cross-entropy")
    assert not result.passed
    assert isinstance(result.raised, NotImplementedError)
    lines = give_advice([result], "METAL", OTHER)
    assert lines[0] == "cross-entropy: JAX cannot compile or run these items on this backend."
    assert "JAX_PLATFORMS=cpu" in lines[-1]
    assert not any("--plain" in line for line in lines)  # the plain code path was checked


def test_another_shape_is_a_failure():
    (item,) = (item for item in make_items(Layers()) if item.name == "cross-entropy")
    expected = STORED["cross-entropy"]._replace(results={"losses": np.zeros(5)})
    assert "losses has the shape (6,) in place of (5,)" in str(check(item, expected, CPU).raised)
