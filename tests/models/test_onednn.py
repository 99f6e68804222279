"""oneDNN's convolution against XLA's in float64, its bitwise equality in loops, and the errors if it is not built."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxopt_bench import UserError, kernels, train, train_population
from jaxopt_bench.models import MODELS, Layers, convolution, onednn
from jaxopt_bench.models.convolution import NHWC
from jaxopt_bench.runs import Options, Reporter
from jaxopt_bench.training import CodePath, choose_code_path
from tests.models.test_convolution import assert_all_same, draw, trained, value_and_gradients
from tests.runs.test_train import QUIET, Killed, KilledAt, assert_same

PATH = CodePath("onednn", "compiled", "map", updates="fused")


@pytest.fixture
def convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes oneDNN compute small convolutions, too. Skips the test if the kernels are not built."""
    if kernels.onednn_version() is None:
        pytest.skip("the CPU kernels are not built, or without oneDNN (make kernels)")
    monkeypatch.setattr(onednn, "SMALLEST", 0)


@pytest.fixture
def absent(kernels_at: Callable[[pathlib.Path], None], tmp_path: pathlib.Path) -> None:
    """Makes the kernels appear not to be built."""
    kernels_at(tmp_path / "kernels.so")


def assert_computed(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: Any, padding: Any, groups: int = 1
) -> None:
    """Asserts that oneDNN computes the value and both gradients, and that they agree with XLA's in float64."""
    kwargs = {"dimension_numbers": NHWC, "feature_group_count": groups}
    images, weights = draw(1, *size), draw(2, *kernel)
    with jax.enable_x64(True):
        arguments = jnp.asarray(images), jnp.asarray(weights), strides, padding
        exact = value_and_gradients(lax.conv_general_dilated, *arguments, **kwargs)
    arguments = jnp.asarray(images, jnp.float32), jnp.asarray(weights, jnp.float32), strides, padding
    ours = value_and_gradients(onednn.conv_general_dilated, *arguments, **kwargs)
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.dtype == jnp.float32
        theirs = np.asarray(theirs)
        assert np.linalg.norm(np.asarray(mine, float) - theirs) <= 3e-6 * np.linalg.norm(theirs)
    assert called(*arguments, **kwargs) == 3


def called(images: Any, kernel: Any, *args: Any, **kwargs: Any) -> int:
    """Returns the number of calls of the kernels for the value and both gradients, or -1 if they are never called."""
    conv = lambda x, w: onednn.conv_general_dilated(x, w, *args, **kwargs)  # noqa: E731
    both = lambda x, w: jax.vjp(conv, x, w)[1](conv(x, w))  # noqa: E731
    return str(jax.make_jaxpr(both)(images, kernel)).count(onednn.TARGET) - 1  # not the one for the cotangent


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (0, 3)), ((4, 5), (3, 4))])
def test_values_and_gradients_are_those_of_xla_in_float64(convolutions: None, strides: Any, padding: Any) -> None:
    assert_computed((3, 7, 8, 4), (3, 3, 4, 5), strides, padding)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((3, 7, 8, 4), (1, 1, 4, 5), 1, "SAME"),
        ((3, 7, 8, 4), (2, 5, 4, 3), 2, "SAME"),
        ((2, 3, 4, 4), (4, 4, 4, 6), 1, "SAME"),  # the kernel is larger than the image
        ((2, 5, 7, 3), (5, 5, 3, 2), 1, "VALID"),  # a single row of outputs
        ((2, 6, 6, 3), (2, 2, 3, 2), 3, "VALID"),  # the strides skip some pixels
        ((2, 5, 6, 3), (1, 1, 3, 2), 2, ((1, 2), (0, 1))),
        ((2, 16, 16, 3), (7, 7, 3, 4), 4, ((5, 5), (5, 5))),
        ((8, 33, 31, 3), (3, 3, 3, 16), 1, "SAME"),  # oneDNN has its own layouts for these sizes
        ((5, 15, 17, 64), (3, 3, 64, 128), 2, ((1, 1), (1, 1))),
        ((4, 8, 8, 128), (1, 1, 128, 64), 1, "SAME"),
        ((3, 4, 4, 256), (3, 3, 256, 256), 1, "SAME"),  # images and outputs are reordered, too
        ((3, 4, 5, 260), (3, 3, 260, 259), 1, "SAME"),
        ((2, 6, 6, 256), (3, 3, 256, 272), 2, ((1, 1), (1, 1))),
    ],
)
def test_unusual_sizes_agree_with_xla(
    convolutions: None, size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: Any
) -> None:
    assert_computed(size, kernel, (stride, stride), padding)


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (2, 2), (4, 1), (16, 1), (16, 2)])
@pytest.mark.parametrize("size", [(6, 7), (2, 2)])
def test_grouped_convolutions_agree_with_xla(
    convolutions: None, size: tuple[int, int], groups: int, stride: int
) -> None:
    assert_computed((2, *size, 16), (3, 3, 16 // groups, 32), (stride, stride), "SAME", groups)


@pytest.mark.parametrize(
    ("dtype", "padding", "kwargs"),
    [
        ("bfloat16", "SAME", {}),
        ("float32", ((-1, 0), (0, -2)), {}),
        ("float32", "SAME", {"rhs_dilation": (2, 2)}),
        ("float32", "SAME", {"batch_group_count": 2}),
    ],
)
def test_unsupported_arguments_are_computed_without_onednn(
    convolutions: None, dtype: str, padding: Any, kwargs: dict[str, Any]
) -> None:
    images, kernel = jnp.asarray(draw(1, 4, 9, 8, 4), dtype), jnp.asarray(draw(2, 3, 3, 4, 6), dtype)
    arguments = (images, kernel, (1, 1), padding)
    kwargs = {"dimension_numbers": NHWC} | kwargs
    ours, plain = (
        value_and_gradients(conv, *arguments, **kwargs)
        for conv in (onednn.conv_general_dilated, lax.conv_general_dilated)
    )
    for mine, theirs in zip(ours, plain, strict=True):
        assert mine.dtype == theirs.dtype
        error = np.linalg.norm(np.asarray(mine, float) - np.asarray(theirs, float))
        assert error <= {"bfloat16": 1e-2, "float32": 1e-5}[dtype] * np.linalg.norm(np.asarray(theirs, float))
    assert called(*arguments, **kwargs) == -1


@pytest.mark.parametrize(
    ("size", "channels"), [(8, 4), (2, 64)], ids=["few operations", "images with fewer pixels than the kernel"]
)
def test_small_convolutions_of_one_group_are_computed_without_onednn(size: int, channels: int) -> None:
    kwargs: dict[str, Any] = {"dimension_numbers": NHWC}
    images, kernel = draw(1, 256, size, size, channels), draw(2, 3, 3, channels, 2 * channels)
    arguments = (jnp.asarray(images, jnp.float32), jnp.asarray(kernel, jnp.float32), (1, 1), "SAME")
    assert called(*arguments, **kwargs) == -1
    pure = value_and_gradients(convolution.conv_general_dilated, *arguments, **kwargs)
    for mine, theirs in zip(value_and_gradients(onednn.conv_general_dilated, *arguments, **kwargs), pure, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_loops_of_every_kind_agree_bit_for_bit(convolutions: None) -> None:
    assert_all_same(trained(onednn.conv_general_dilated, vmap=True))


@pytest.mark.slow
def test_a_network_gives_the_same_outputs_with_onednn_and_plain_layers(convolutions: None) -> None:
    images = jnp.asarray(draw(1, 4, 32, 32, 3), jnp.float32)
    variables = MODELS["resnet20"].module(10).init(jax.random.key(0), images, train=False)
    plain, ours = (
        jax.jit(MODELS["resnet20"].module(10, Layers(path=path)).apply, static_argnames="train")(
            variables, images, train=False
        )
        for path in ("plain", "onednn")
    )
    np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-5)


def test_runs_use_and_record_onednn_and_are_reproducible(
    convolutions: None, tiny: Any, tmp_path: pathlib.Path, digits_dir: pathlib.Path
) -> None:
    assert choose_code_path("cpu") == PATH
    options: Any = {"data_dir": digits_dir, "recording": QUIET, "reporter": Reporter()}
    whole = train(tiny, Options(runs_dir=tmp_path / "whole", **options))
    environment = whole.config["environments"][0]
    assert environment["code_path"]["layers"] == "onednn"
    assert environment["packages"]["onednn"] == kernels.onednn_version()
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path / "killed", **{**options, "reporter": KilledAt(25)}))
    assert_same(whole, train(tiny, Options(runs_dir=tmp_path / "killed", **options)))
    _, member = train_population(
        [dataclasses.replace(tiny, seed=1), tiny], Options(runs_dir=tmp_path / "together", **options)
    )
    assert_same(whole, member)


def test_without_onednn_pure_layers_are_chosen_and_direct_use_is_refused(absent: None) -> None:
    assert choose_code_path("cpu") == CodePath("pure", "compiled", "map")
    arrays = jnp.zeros((128, 32, 32, 4)), jnp.zeros((3, 3, 4, 8))
    with pytest.raises(
        UserError,
        match=r"kernels\.so is not built, cannot be loaded, or was built without oneDNN\. .*`jaxopt-bench kernels`",
    ):
        onednn.conv_general_dilated(*arrays, (1, 1), "SAME", dimension_numbers=NHWC)


@pytest.mark.parametrize(
    ("named", "path"),
    [
        ("plain", CodePath("plain", "python", "vmap")),
        ("native", CodePath("native", "python", "vmap")),
        ("", CodePath("pure", "compiled", "map")),
    ],
)
def test_an_environment_variable_selects_the_layers(
    absent: None, monkeypatch: pytest.MonkeyPatch, named: str, path: CodePath
) -> None:
    monkeypatch.setenv("JAXOPT_BENCH_LAYERS", named)
    assert choose_code_path("cpu") == path


@pytest.mark.parametrize(
    ("named", "backend", "message"),
    [
        ("onednn", "gpu", "LAYERS is 'onednn'. It needs a CPU as the only device"),
        ("fast", "cpu", "LAYERS is 'fast'. Expected: plain, native, pure, onednn"),
        ("onednn", "cpu", "but oneDNN's convolutions are not built. `jaxopt-bench kernels`"),
    ],
)
def test_unknown_and_unavailable_layers_are_refused(
    absent: None, monkeypatch: pytest.MonkeyPatch, named: str, backend: str, message: str
) -> None:
    monkeypatch.setenv("JAXOPT_BENCH_LAYERS", named)
    with pytest.raises(UserError, match=message):
        choose_code_path(backend)
