"""The fast convolution against XLA's in float64, and its bitwise equality in different loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from jaxopt_bench.models import convolution, onednn
from jaxopt_bench.models.convolution import NHWC, conv_general_dilated


def draw(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape)


def value_and_gradients(conv: Callable[..., Any], images: Any, kernel: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns the convolution and its gradients for a random cotangent."""

    @jax.jit
    def run(images: Any, kernel: Any) -> Any:
        y, pull = jax.vjp(lambda x, w: conv(x, w, *args, **kwargs), images, kernel)
        return y, *pull(jnp.asarray(draw(9, *y.shape), y.dtype))

    return run(images, kernel)


def assert_same(
    size: tuple[int, ...], kernel: tuple[int, ...], strides: Any, padding: Any, groups: int = 1, **kwargs: Any
) -> None:
    kwargs = {"dimension_numbers": NHWC, "feature_group_count": groups, **kwargs}
    with jax.enable_x64(True):
        arrays = jnp.asarray(draw(1, *size)), jnp.asarray(draw(2, *kernel))
        ours, default = (
            value_and_gradients(conv, *arrays, strides, padding, **kwargs)
            for conv in (conv_general_dilated, lax.conv_general_dilated)
        )
        for mine, theirs in zip(ours, default, strict=True):
            assert mine.dtype == theirs.dtype == jnp.float64
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (4, 3)])
@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 0), (0, 3)), ((4, 5), (3, 4))])
def test_values_and_gradients_are_those_of_xla(strides: Any, padding: Any) -> None:
    assert_same((3, 7, 8, 4), (3, 3, 4, 5), strides, padding)


@pytest.mark.parametrize(("strides", "padding"), [((1, 1), "SAME"), ((2, 1), ((1, 2), (0, 3)))])
@pytest.mark.parametrize("kernel", [(1, 1, 4, 5), (2, 5, 4, 3)])
def test_kernels_that_are_not_three_by_three_agree_with_xla(
    strides: Any, padding: Any, kernel: tuple[int, ...]
) -> None:
    assert_same((3, 7, 8, 4), kernel, strides, padding)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((2, 4, 4, 4), (5, 5, 4, 6), 1, "SAME"),  # the kernel is larger than the image
        ((2, 2, 2, 4), (5, 5, 4, 6), 1, "SAME"),
        ((2, 4, 1, 3), (3, 3, 3, 2), 2, "SAME"),
        ((1, 1, 1, 3), (3, 3, 3, 2), 1, "SAME"),
        ((2, 5, 5, 3), (5, 5, 3, 2), 1, "VALID"),  # a single output
        ((2, 6, 6, 3), (2, 2, 3, 2), 3, "VALID"),  # the strides skip some pixels
        ((2, 5, 6, 3), (1, 1, 3, 2), 3, "VALID"),
        ((2, 5, 6, 3), (1, 1, 3, 2), 2, ((1, 2), (0, 1))),
        ((2, 16, 16, 3), (7, 7, 3, 4), 4, ((5, 5), (5, 5))),
        ((2, 7, 7, 3), (3, 3, 3, 4), 1, ((-1, 0), (0, -2))),  # negative padding crops
        ((2, 9, 9, 1), (3, 3, 1, 7), 1, "SAME"),  # many features of one channel: the kernel's gradient uses patches
    ],
)
def test_unusual_sizes_agree_with_xla(
    size: tuple[int, ...], kernel: tuple[int, ...], stride: int, padding: Any
) -> None:
    assert_same(size, kernel, (stride, stride), padding)


def has_small_images(
    size: tuple[int, int], extent: tuple[int, int], pads: Any, strides: tuple[int, int] = (1, 1)
) -> bool:
    window = convolution.Window(strides, pads)
    return convolution.is_small(window, jnp.zeros((1, *size, 1)), jnp.zeros((*extent, 1, 1)))


@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (4, 3)])
@pytest.mark.parametrize(
    ("size", "extent", "pads"),
    [
        ((2, 2), (3, 3), ((1, 1), (1, 1))),
        ((2, 2), (5, 5), ((3, 3), (2, 3))),
        ((2, 2), (5, 5), ((-1, 4), (3, 1))),
        ((1, 4), (1, 9), ((0, 0), (4, 4))),
        ((2, 3), (2, 3), ((0, 0), (0, 0))),
    ],
)
def test_small_images_agree_with_xla(
    size: tuple[int, int], extent: tuple[int, int], pads: Any, strides: tuple[int, int]
) -> None:
    images, kernel = (3, *size, 4), (*extent, 4, 5)
    assert has_small_images(size, extent, pads, strides)
    assert_same(images, kernel, strides, pads)


def test_the_convolution_of_small_images_is_one_product_for_the_value_and_one_for_each_gradient() -> None:
    def both(images: Any, kernel: Any) -> Any:
        y, pull = jax.vjp(
            lambda x, w: conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC), images, kernel
        )
        return pull(y)

    jaxpr = str(jax.make_jaxpr(both)(jnp.zeros((6, 2, 2, 4)), jnp.zeros((3, 3, 4, 5))))
    assert "conv_general_dilated" not in jaxpr
    assert jaxpr.count("dot_general[") == 3


@pytest.mark.parametrize(
    ("size", "extent", "pads", "strides", "small"),
    [
        ((2, 2), (3, 3), ((1, 1), (1, 1)), (1, 1), True),  # a matrix of 4×4 weights for a kernel of 9
        ((1, 2), (1, 2), ((0, 0), (1, 0)), (1, 1), True),  # 2×2 weights for a kernel of 2
        ((2, 3), (3, 3), ((1, 1), (1, 1)), (1, 1), False),
        ((3, 3), (5, 5), ((2, 2), (2, 2)), (1, 1), False),  # fewer pixels than the kernel, but 9×9 weights for 25
        ((3, 3), (3, 3), ((0, 0), (0, 0)), (1, 1), True),  # a single output
        ((3, 4), (3, 3), ((0, 0), (0, 0)), (2, 2), False),  # a single output, but more pixels than the kernel
        ((1, 1), (3, 3), ((5, 5), (5, 5)), (1, 1), False),  # many outputs of padding
    ],
)
def test_images_are_small_if_pixels_and_weights_are_few(
    size: tuple[int, int], extent: tuple[int, int], pads: Any, strides: tuple[int, int], small: bool
) -> None:
    assert has_small_images(size, extent, pads, strides) == small


@pytest.mark.parametrize("conv", [conv_general_dilated, onednn.conv_general_dilated], ids=["pure", "onednn"])
def test_a_kernel_larger_than_the_image_gives_an_empty_output(conv: Callable[..., Any]) -> None:
    arguments = jnp.ones((2, 2, 5, 3)), jnp.ones((3, 3, 3, 4)), (1, 1), "VALID"
    made, *gradients = value_and_gradients(conv, *arguments, dimension_numbers=NHWC)
    assert made.shape == lax.conv_general_dilated(*arguments, dimension_numbers=NHWC).shape == (2, 0, 3, 4)
    assert not any(jnp.any(gradient) for gradient in gradients)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("batch", [1, 6, 7])
def test_chunks_that_do_and_do_not_divide_the_batch_agree_with_xla(
    monkeypatch: pytest.MonkeyPatch, batch: int, stride: int
) -> None:
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 2 * 36 * 24 * 8)  # two images at stride 1
    assert_same((batch, 6, 6, 4), (3, 3, 4, 4), (stride, stride), "SAME")


@pytest.mark.parametrize(("groups", "stride"), [(2, 1), (2, 2), (16, 1)])
@pytest.mark.parametrize("size", [(6, 7), (1, 3)])
def test_grouped_convolutions_agree_with_xla(size: tuple[int, int], groups: int, stride: int) -> None:
    assert_same((2, *size, 16), (3, 3, 16 // groups, 32), (stride, stride), "SAME", groups)


@pytest.mark.parametrize("kwargs", [{"lhs_dilation": (2, 1)}, {"rhs_dilation": (2, 2)}, {"batch_group_count": 2}])
def test_unsupported_arguments_are_left_to_jax(kwargs: dict[str, Any]) -> None:
    assert_same((4, 9, 8, 4), (3, 3, 4, 6), (1, 1), ((1, 1), (0, 2)), **kwargs)


def test_other_layouts_and_ranks_are_left_to_jax() -> None:
    assert_same((2, 3, 8, 8), (5, 3, 3, 3), (1, 1), "SAME", dimension_numbers=None)
    assert_same((2, 8, 3), (3, 3, 5), (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
    assert_same((2, 4, 4, 4, 2), (3, 3, 3, 2, 3), (1, 1, 1), "SAME", dimension_numbers=("NDHWC", "DHWIO", "NDHWC"))


@pytest.mark.parametrize("side", [6, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_bfloat16_is_rounded_once(stride: int, side: int) -> None:
    sizes = (9, side, side, 64), (3, 3, 64, 8)
    images, kernel = (jnp.asarray(draw(seed, *size), jnp.bfloat16) for seed, size in enumerate(sizes, start=1))
    arguments = (stride, stride), "SAME"
    ours = value_and_gradients(conv_general_dilated, images, kernel, *arguments, dimension_numbers=NHWC)
    wide = (images.astype(jnp.float32), kernel.astype(jnp.float32))
    # the cotangent must be the same one, in bfloat16
    y, pull = jax.vjp(lambda x, w: lax.conv_general_dilated(x, w, *arguments, dimension_numbers=NHWC), *wide)
    exact = y, *pull(jnp.asarray(draw(9, *y.shape), jnp.bfloat16).astype(jnp.float32))
    for mine, theirs in zip(ours, exact, strict=True):
        assert mine.dtype == jnp.bfloat16
        np.testing.assert_allclose(mine.astype(jnp.float32), theirs, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(
    ("stride", "size", "axes"), [(1, 6, (0, 0)), (2, 6, (None, 0)), (1, 6, (0, None)), (1, 2, (None, 0))]
)
def test_vmap_gives_the_same_values_as_a_loop(stride: int, size: int, axes: Any) -> None:
    images, kernels = draw(1, 2, 3, size, size, 4), draw(2, 2, 3, 3, 4, 5)
    pick = lambda array, axis, member: array if axis == 0 and member is None else array[member or 0]  # noqa: E731

    def run(images: Any, kernel: Any) -> Any:
        return value_and_gradients(
            conv_general_dilated, images, kernel, (stride, stride), "SAME", dimension_numbers=NHWC
        )

    with jax.enable_x64(True):
        together = jax.vmap(run, axes)(pick(images, axes[0], None), pick(kernels, axes[1], None))
        for member in range(2):
            alone = run(*(pick(a, axis, member if axis == 0 else 0) for a, axis in zip((images, kernels), axes)))  # noqa: B905
            for mine, theirs in zip(together, alone, strict=True):
                np.testing.assert_allclose(mine[member], theirs, rtol=1e-10, atol=1e-10)


def test_a_batched_kernel_is_compiled_to_a_matrix_product() -> None:
    conv = lambda x, w: conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=NHWC)  # noqa: E731
    both = lambda x, w: jax.vjp(conv, x, w)[1](conv(x, w))  # noqa: E731
    text = jax.jit(jax.vmap(both)).lower(jnp.zeros((2, 3, 6, 6, 4)), jnp.zeros((2, 3, 3, 4, 5))).as_text()
    assert "stablehlo.dot_general" in text
    assert "stablehlo.convolution" not in text


class Small(nn.Module):
    """A network of convolutions of each kind, each followed by ReLU.

    Attributes:
      conv: the implementation.
      last: the side of the kernel of the last convolution. Its images have 5×5 pixels; for 19, they are small.
    """

    conv: Callable[..., Any]
    last: int

    @nn.compact
    def __call__(self, x: Any) -> Any:
        for kernel, stride, groups in ((3, 1, 1), (3, 2, 1), (1, 1, 1), (3, 1, 2), (self.last, 1, 1)):
            layer = nn.Conv(
                8, (kernel, kernel), strides=stride, feature_group_count=groups, conv_general_dilated=self.conv
            )
            x = nn.relu(layer(x))
        return x.mean()


def trained(conv: Callable[..., Any], last: int = 3, vmap: bool = False) -> dict[str, Any]:
    """Returns the parameters after four steps of gradient descent, for each kind of loop."""
    module, images = Small(conv, last), jnp.asarray(draw(1, 4, 32, 9, 9, 3), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), images[0])
    params = jax.tree.map(lambda leaf: jnp.asarray(draw(2, *leaf.shape) / 9, jnp.float32), shapes)
    step = lambda p, x: jax.tree.map(lambda a, g: a - g, p, jax.grad(module.apply)(p, x))  # noqa: E731
    jitted, found = jax.jit(step), params
    for x in images:
        found = jitted(found, x)

    @jax.jit
    def scanned(p: Any, xs: Any) -> Any:
        return lax.scan(lambda p, x: (step(p, x), None), p, xs)[0]

    def looped(p: Any, xs: Any, count: Any) -> Any:
        return lax.fori_loop(0, count, lambda i, p: step(p, xs[i]), p)

    made = {
        "Python's loop": found,
        "one scan": scanned(params, images),
        "two scans": scanned(scanned(params, images[:2]), images[2:]),
        "fori_loop": jax.jit(looped)(params, images, 4),
    }
    stacked = jax.tree.map(lambda a: jnp.stack([a + 1, a]), params)
    mapped = jax.jit(lambda ps, xs: lax.map(lambda p: looped(p, xs, 4), ps))(stacked, images)
    made["lax.map"] = jax.tree.map(lambda a: a[1], mapped)
    if vmap:
        together = jax.jit(jax.vmap(looped, (0, None, None)))(stacked, images, 4)
        made["vmap"] = jax.tree.map(lambda a: a[1], together)
    return made


def assert_all_same(made: dict[str, Any]) -> None:
    first = next(iter(made.values()))
    for name, value in made.items():
        jax.tree.map(lambda a, b, name=name: np.testing.assert_array_equal(a, b, name), value, first)


@pytest.mark.parametrize(("last", "small"), [(3, False), (19, True)])
def test_python_loops_scans_and_maps_agree_bit_for_bit(last: int, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    half = last // 2
    assert has_small_images((5, 5), (last, last), ((half, half), (half, half))) == small
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 2**17)  # several chunks
    assert_all_same(trained(conv_general_dilated, last))
