"""Residual networks: the forward pass against NumPy in both modes, parameter counts by formula, initial values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.models import CifarResNet, ResNet, count_parameters
from jaxopt_bench.models.resnet import padded_shortcut

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def conv_norm_size(side: int, inputs: int, outputs: int) -> int:
    """Counts the parameters of a convolution without bias and of batch normalisation."""
    return side * side * inputs * outputs + 2 * outputs


@pytest.mark.parametrize(("depth", "published"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")])
def test_cifar_resnet_has_the_published_parameters(shapes_of: Callable[..., Any], depth: Any, published: str) -> None:
    n = (depth - 2) // 6
    by_hand = conv_norm_size(3, 3, 16) + 64 * 10 + 10
    for inputs, outputs in ((16, 16), (16, 32), (32, 64)):  # option A: the shortcuts have no parameters
        by_hand += conv_norm_size(3, inputs, outputs) + (2 * n - 1) * conv_norm_size(3, outputs, outputs)
    count = count_parameters(shapes_of(CifarResNet(depth=depth).module(10), 32, 32, 3)["params"])
    assert count == by_hand
    assert f"{count / 1e6:.{len(published) - 2}f}" == published


def test_resnet20_has_no_projections(shapes_of: Callable[..., Any]) -> None:
    # With projections, it would have 272,474 parameters.
    assert count_parameters(shapes_of(CifarResNet().module(10), 32, 32, 3)["params"]) == 269_722


@pytest.mark.parametrize(("depth", "total"), [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842)])
def test_resnet_has_as_many_parameters_as_the_formula(shapes_of: Callable[..., Any], depth: Any, total: int) -> None:
    expansion = 4 if depth == 50 else 1
    by_hand, inputs = conv_norm_size(3, 3, 64), 64
    for stage, count in enumerate(BLOCKS[depth]):
        for _ in range(count):
            width = 64 * 2**stage
            outputs = expansion * width
            if depth == 50:
                sizes = [(1, inputs, width), (3, width, width), (1, width, outputs)]
            else:
                sizes = [(3, inputs, width), (3, width, width)]
            sizes += [(1, inputs, outputs)] if inputs != outputs else []
            by_hand += sum(conv_norm_size(*size) for size in sizes)
            inputs = outputs
    by_hand += inputs * 10 + 10
    assert count_parameters(shapes_of(ResNet(depth=depth).module(10), 32, 32, 3)["params"]) == by_hand == total


class NumPyResNet:
    """The forward pass in NumPy. It also collects the expected running averages after a training step."""

    def __init__(self, layers: Any, variables: Any, train: bool) -> None:
        self.layers, self.train = layers, train
        self.params, self.averages = variables["params"], variables["batch_stats"]
        self.moved: dict[tuple[str, str], dict[str, np.ndarray]] = {}

    def conv_norm(self, x: Any, path: str, name: str, stride: int = 1) -> Any:
        params = self.params[path] if path else self.params
        averages = self.averages[path] if path else self.averages
        kernel = params[f"conv{name}"]
        x = self.layers.conv(x, kernel, stride, padding=kernel["kernel"].shape[0] // 2)
        old = {key: np.asarray(averages[f"norm{name}"][key], np.float64) for key in ("mean", "var")}
        batch = {"mean": x.mean((0, 1, 2)), "var": x.var((0, 1, 2))}
        self.moved[path, f"norm{name}"] = {key: 0.9 * old[key] + 0.1 * batch[key] for key in old}
        used = batch if self.train else old
        return self.layers.batch_norm(x, params[f"norm{name}"], used["mean"], used["var"])

    def basic(self, x: Any, path: str, stride: int) -> Any:
        y = self.layers.relu(self.conv_norm(x, path, "1", stride))
        return self.conv_norm(y, path, "2")

    def bottleneck(self, x: Any, path: str, stride: int) -> Any:
        y = self.layers.relu(self.conv_norm(x, path, "1"))
        y = self.layers.relu(self.conv_norm(y, path, "2", stride))
        return self.conv_norm(y, path, "3")

    def projected(self, x: Any, path: str, stride: int) -> Any:
        has_projection = "conv_shortcut" in self.params[path]
        return self.conv_norm(x, path, "_shortcut", stride) if has_projection else x

    def padded(self, x: Any, path: str, stride: int) -> Any:
        if stride == 1:
            return x
        batch, height, width, channels = x.shape
        out = np.zeros((batch, (height + 1) // 2, (width + 1) // 2, 2 * channels))
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                out[:, row, column, :channels] = x[:, 2 * row, 2 * column]
        return out

    def __call__(
        self, x: Any, blocks: tuple[int, ...], branch: Callable[..., Any], shortcut: Callable[..., Any]
    ) -> Any:
        x = self.layers.relu(self.conv_norm(x, "", "_stem"))
        for stage, count in enumerate(blocks, start=1):
            for block in range(1, count + 1):
                path, stride = f"stage{stage}_block{block}", 2 if stage > 1 and block == 1 else 1
                x = self.layers.relu(branch(self, x, path, stride) + shortcut(self, x, path, stride))
        return self.layers.dense(x.mean((1, 2)), self.params["head"])


@pytest.mark.parametrize(
    ("config", "side", "blocks", "branch", "shortcut", "train"),
    [
        (CifarResNet(depth=20), 9, (3, 3, 3), NumPyResNet.basic, NumPyResNet.padded, False),
        (CifarResNet(depth=20), 9, (3, 3, 3), NumPyResNet.basic, NumPyResNet.padded, True),
        (ResNet(depth=18), 8, BLOCKS[18], NumPyResNet.basic, NumPyResNet.projected, True),
        pytest.param(
            ResNet(depth=50),
            9,
            BLOCKS[50],
            NumPyResNet.bottleneck,
            NumPyResNet.projected,
            False,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["resnet20-evaluation", "resnet20-training", "resnet18-training", "resnet50-evaluation"],
)
def test_forward_pass_and_running_averages_are_those_of_numpy(
    numpy_layers: Any,
    random_variables: Callable[..., Any],
    random_images: Callable[..., Any],
    config: Any,
    side: int,
    blocks: tuple[int, ...],
    branch: Callable[..., Any],
    shortcut: Callable[..., Any],
    train: bool,
) -> None:
    module, images = config.module(10), random_images(4, side, side, 3)
    variables = random_variables(module, side, side, 3)
    oracle = NumPyResNet(numpy_layers, variables, train)
    expected = oracle(images.astype(np.float64), blocks, branch, shortcut)
    logits, moved = module.apply(variables, images, train=train, mutable=["batch_stats"])
    np.testing.assert_allclose(logits, expected, atol=2e-4 * np.abs(expected).max())
    if not train:
        assert jax.tree.all(jax.tree.map(np.array_equal, moved["batch_stats"], variables["batch_stats"]))
        return
    for (path, norm), averages in oracle.moved.items():
        got = moved["batch_stats"][path][norm] if path else moved["batch_stats"][norm]
        for key, value in averages.items():
            np.testing.assert_allclose(got[key], value, atol=2e-4 * max(1, np.abs(value).max()), err_msg=path + norm)


@pytest.mark.parametrize(("height", "width", "stride"), [(8, 8, 2), (7, 5, 2), (4, 4, 1)])
def test_padded_shortcut_keeps_every_other_pixel_and_appends_zeros(
    random_images: Callable[..., Any], height: int, width: int, stride: int
) -> None:
    x = random_images(2, height, width, 3)
    y = np.asarray(padded_shortcut(jnp.asarray(x), 8, stride))
    assert y.shape == (2, -(-height // stride), -(-width // stride), 8)
    for row in range(y.shape[1]):
        for column in range(y.shape[2]):
            np.testing.assert_array_equal(y[:, row, column, :3], x[:, stride * row, stride * column])
    assert not y[..., 3:].any()


@pytest.fixture(scope="module")
def initial(quick_key: Callable[[int], Any]) -> dict[bool, Any]:
    """The initial variables of ResNet-20, with and without zero residual scales."""

    def init(zero_init_residual: bool) -> Any:
        module = CifarResNet(zero_init_residual=zero_init_residual).module(10)
        return jax.jit(lambda key: module.init(key, jnp.zeros((1, 8, 8, 3)), train=False))(quick_key(0))

    return {zero: init(zero) for zero in (False, True)}


def test_initial_weights_are_he_normal_and_not_truncated(initial: dict[bool, Any]) -> None:
    params = initial[False]["params"]
    kernels = [params[f"stage3_block{block}"]["conv2"]["kernel"] for block in (1, 2, 3)]
    deviation = np.sqrt(2 / (3 * 3 * 64))
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(deviation, rel=0.02)
        assert np.mean(kernel) == pytest.approx(0, abs=0.02 * deviation)
        assert np.abs(kernel).max() > 3.5 * deviation  # truncated normals end at 2.3 deviations
    # The fourth standardised moment of a normal distribution is 3.
    assert np.mean((np.stack(kernels) / deviation) ** 4) == pytest.approx(3, rel=0.05)
    assert np.std(params["head"]["kernel"]) == pytest.approx(np.sqrt(2 / 64), rel=0.15)


def test_initial_biases_and_means_are_zero_and_scales_and_variances_one(initial: dict[bool, Any]) -> None:
    values = {"bias": 0, "scale": 1, "mean": 0, "var": 1}
    leaves = jax.tree_util.tree_leaves_with_path(initial[False])
    checked = [path for path, leaf in leaves if path[-1].key in values and (leaf == values[path[-1].key]).all()]
    assert len(checked) == 4 * 19 + 1  # four for each of 19 batch norms, and the head's bias
    assert len(leaves) == len(checked) + 19 + 1  # the rest are kernels


def test_zero_init_residual_zeroes_each_blocks_last_scale_and_nothing_else(initial: dict[bool, Any]) -> None:
    plain, zeroed = (jax.tree_util.tree_leaves_with_path(initial[zero]["params"]) for zero in (False, True))
    changed = {jax.tree_util.keystr(path) for (path, a), (_, b) in zip(plain, zeroed, strict=True) if (a != b).any()}
    assert changed == {f"['stage{s}_block{b}']['norm2']['scale']" for s in (1, 2, 3) for b in (1, 2, 3)}
    for path, leaf in zeroed:
        if jax.tree_util.keystr(path) in changed:
            assert not leaf.any()


def test_a_block_with_a_zero_residual_scale_is_the_identity_after_relu(
    initial: dict[bool, Any], random_images: Callable[..., Any]
) -> None:
    # If every branch is zero, ResNet-20 only subsamples its stem and pads channels. The head receives the stem's mean.
    variables, images = initial[True], random_images(2, 8, 8, 3)
    logits, state = (
        CifarResNet(zero_init_residual=True)
        .module(10)
        .apply(variables, images, train=False, capture_intermediates=True, mutable=["intermediates"])
    )
    stem = np.maximum(state["intermediates"]["norm_stem"]["__call__"][0], 0)
    features = np.concatenate([stem[:, ::4, ::4].mean((1, 2)), np.zeros((2, 48))], axis=1)
    np.testing.assert_allclose(logits, features @ variables["params"]["head"]["kernel"], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (5, 12)])
def test_any_image_size_is_accepted(shapes_of: Callable[..., Any], shape: tuple[int, int]) -> None:
    for config in (CifarResNet(), ResNet(depth=50)):
        assert shapes_of(config.module(10), *shape, 1)["params"]["head"]["bias"].shape == (10,)
