"""Properties of every model in the table of models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import (
    CNN1D,
    GRU,
    MLP,
    MODELS,
    VGG,
    AlexNet,
    CifarResNet,
    Layers,
    Model,
    ResNet,
    Transformer,
    ViT,
    WideResNet,
    check_inputs,
)

SMALL = {"alexnet_small": 32, "cnn": 8, "resnet20": 8, "wrn16_4": 8, "vit_tiny": 8}  # name -> side of a small image
QUICK = ("cnn", "resnet20", "alexnet_small")
EXAMPLES: dict[str, tuple[tuple[int, ...], Any]] = {  # kind of inputs -> shape and type of an example
    "images": ((32, 32, 3), jnp.float32),
    "vectors": ((40,), jnp.float32),
    "sequences": ((40, 1), jnp.float32),
    "tokens": ((12,), jnp.int32),
}


def test_the_table_contains_the_documented_models() -> None:
    resnets = [f"resnet{depth}" for depth in (18, 20, 32, 34, 44, 50, 56, 110)]
    vggs = [f"vgg{depth}" for depth in (11, 13, 16, 19)]
    others = [
        "alexnet",
        "alexnet_small",
        "cnn",
        "vit_tiny",
        "wrn16_4",
        "wrn28_10",
        "mlp",
        "cnn1d",
        "gru",
        "transformer",
    ]
    assert sorted(MODELS) == sorted([*others, *resnets, *vggs])
    assert {name: MODELS[name].to_json()["depth"] for name in vggs} == {name: int(name[3:]) for name in vggs}
    assert {name: MODELS[name].to_json()["depth"] for name in resnets} == {name: int(name[6:]) for name in resnets}


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, model in MODELS.items() for kind in model.inputs])
def test_parameters_and_outputs_are_float32_if_the_rest_is_bfloat16(
    shapes_of: Callable[..., Any], name: str, kind: str
) -> None:
    module, (size, dtype) = MODELS[name].module(7, Layers("bfloat16")), EXAMPLES[kind]
    variables = shapes_of(module, *size, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    examples = jax.ShapeDtypeStruct((2, *size), dtype)
    outputs = jax.eval_shape(lambda v, x: module.apply(v, x, train=False), variables, examples)
    assert (outputs.shape, outputs.dtype) == ((2, 12, 7) if kind == "tokens" else (2, 7), jnp.float32)


@pytest.mark.parametrize(
    ("name", "others"),  # an attention block has two products besides those with kernels
    [("alexnet", 0), ("alexnet_small", 0), ("cnn", 0), ("resnet20", 0), ("resnet50", 0), ("vgg16", 0),
     ("wrn16_4", 0), ("vit_tiny", 2 * 12), ("mlp", 0), ("cnn1d", 0), ("gru", 0), ("transformer", 2 * 2)],
)  # fmt: skip
def test_every_convolution_and_product_computes_in_the_dtype(
    shapes_of: Callable[..., Any], name: str, others: int
) -> None:
    module, (size, dtype) = MODELS[name].module(7, Layers("bfloat16")), EXAMPLES[MODELS[name].inputs[0]]
    variables = shapes_of(module, *size, dtype=dtype)
    examples = jax.ShapeDtypeStruct((2, *size), dtype)
    program = str(jax.make_jaxpr(lambda v, x: module.apply(v, x, train=False))(variables, examples))
    found = re.findall(r":(\w+)\[[\d,]*\] = (?:conv_general_dilated|dot_general)", program)
    kernels = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables) if path[-1].key == "kernel"]
    assert len(found) == len(kernels) + others
    assert set(found) <= {"bf16", "f32"} if others else set(found) == {"bf16"}
    assert found.count("f32") <= others // 2  # attention's weights, before the softmax


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SMALL if name not in QUICK)]
)
def test_training_in_bfloat16_is_near_float32_and_both_are_finite(
    name: str, random_variables: Callable[..., Any], random_images: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    side = SMALL[name]
    images = random_images(8, side, side, 3)
    variables = random_variables(MODELS[name].module(10), side, side, 3)

    def logits(dtype: Any) -> np.ndarray:
        module, rngs = MODELS[name].module(10, Layers(dtype)), {"dropout": quick_key(2)}
        train = jax.jit(lambda v, x: module.apply(v, x, train=True, rngs=rngs, mutable=["batch_stats"])[0])
        return np.asarray(train(variables, images))

    full, half = logits("float32"), logits("bfloat16")
    assert np.isfinite(full).all()
    assert np.std(full) > 0.01
    assert (full != half).any()
    assert np.linalg.norm(full - half) < 0.1 * np.linalg.norm(full)


def test_the_small_network_accepts_the_digits(shapes_of: Callable[..., Any]) -> None:
    assert shapes_of(MODELS["cnn"].module(10), 8, 8, 1)["params"]["conv1"]["kernel"].shape == (3, 3, 1, 16)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_restored_from_its_name_and_json(name: str) -> None:
    model = MODELS[name]
    assert MODELS.name_of(model) == name
    written = json.loads(json.dumps({"name": name, **model.to_json()}))
    assert MODELS.from_json(written) == model
    assert MODELS.from_json({"name": name}) == model
    assert hash(MODELS.from_json(written)) == hash(model)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (CifarResNet(depth=56, zero_init_residual=True), "resnet56"),
        (ResNet(depth=34, zero_init_residual=True), "resnet34"),
        (VGG(depth=13), "vgg13"),
        (WideResNet(depth=28, width=2, dropout=0.3), "wrn28_10"),
        (ViT(width=384, heads=6, hidden=1536), "vit_tiny"),
        (MLP(widths=(3,), activation="tanh", layer_norm=True), "mlp"),
        (GRU(width=5, depth=2), "gru"),
        (CNN1D(channels=(4,), kernel=3), "cnn1d"),
        (Transformer(width=6, heads=2), "transformer"),
        (AlexNet(stem="imagenet", groups=True, local_response_normalization=True, dense=7, dropout=0), "alexnet"),
    ],
)
def test_a_changed_model_is_named_after_the_nearest_default(model: Model, name: str) -> None:
    assert MODELS.name_of(model) == name
    assert MODELS.from_json(json.loads(json.dumps({"name": name, **model.to_json()}))) == model


def test_errors_for_unknown_names_and_depths_list_the_accepted_values() -> None:
    with pytest.raises(UserError, match=r"unknown model 'resnet21'; did you mean .*resnet20"):
        MODELS["resnet21"]
    with pytest.raises(UserError, match=r"CifarResNet\.depth is 21. Expected: 20, 32, 44, 56, 110"):
        CifarResNet(depth=21)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"ResNet\.depth is True. Expected: 18, 34, 50"):
        ResNet(depth=True)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"AlexNet\.stem is 'mnist'. Expected: 'cifar', 'imagenet'"):
        AlexNet(stem="mnist")  # type: ignore[arg-type]


def test_a_model_is_refused_for_examples_of_another_kind() -> None:
    message = (
        r"the model cnn takes images, but the data set words consists of tokens\. Expected a model that takes tokens: "
        r"gru, transformer\."
    )
    with pytest.raises(UserError, match=message):
        check_inputs(MODELS["cnn"], "tokens", "the data set words")
    for name, model in MODELS.items():
        for kind in EXAMPLES:
            if kind in model.inputs:
                check_inputs(model, kind, "the data")  # type: ignore[arg-type]
            else:
                with pytest.raises(UserError, match=f"the model {name} takes .*Expected a model that takes {kind}: "):
                    check_inputs(model, kind, "the data")  # type: ignore[arg-type]


def test_a_model_without_a_module_cannot_be_instantiated() -> None:
    with pytest.raises(TypeError, match="module"):
        Model()  # type: ignore[abstract]
