"""The decoder against PyTorch's encoder layers with a causal mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import Transformer, count_parameters

SMALL = Transformer(width=12, depth=2, heads=3)


def pytorch_block(own: Any) -> torch.nn.TransformerEncoderLayer:
    """Returns PyTorch's layer with the weights of a block."""
    layer = torch.nn.TransformerEncoderLayer(
        12, 3, 48, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True,
        dtype=torch.float64,
    )  # fmt: skip
    own = jax.tree.map(lambda leaf: torch.tensor(np.asarray(leaf, np.float64)), own)
    parts = [own[name] for name in ("query", "key", "value")]
    values = {
        "self_attn.in_proj_weight": torch.cat([part["kernel"].T for part in parts]),
        "self_attn.in_proj_bias": torch.cat([part["bias"] for part in parts]),
    }
    names = {"self_attn.out_proj": "out", "linear1": "dense1", "linear2": "dense2", "norm1": "norm1", "norm2": "norm2"}
    for theirs, ours in names.items():
        values[f"{theirs}.weight"] = own[ours]["scale"] if "norm" in ours else own[ours]["kernel"].T
        values[f"{theirs}.bias"] = own[ours]["bias"]
    layer.load_state_dict(values)
    return layer.eval()


def test_logits_are_those_of_pytorch(numpy_layers: Any, random_variables: Callable[..., Any]) -> None:
    module, tokens = SMALL.module(5), np.random.default_rng(2).integers(0, 5, (3, 7))
    variables = random_variables(module, 7, dtype=np.int32)
    params = variables["params"]
    x = torch.tensor(np.asarray(params["embed"]["embedding"], float)[tokens] + np.asarray(params["positions"], float))
    mask = torch.nn.Transformer.generate_square_subsequent_mask(7, dtype=torch.float64)
    with torch.no_grad():
        for block in ("block1", "block2"):
            x = pytorch_block(params[block])(x, src_mask=mask)
        norm = [torch.tensor(np.asarray(params["norm"][name], float)) for name in ("scale", "bias")]
        x = torch.nn.functional.layer_norm(x, (12,), *norm, eps=1e-6)
    expected = numpy_layers.dense(x.numpy(), params["head"])
    logits = module.apply(variables, tokens, train=False)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_array_equal(logits, module.apply(variables, tokens, train=True))


def test_logits_do_not_depend_on_later_tokens(random_variables: Callable[..., Any]) -> None:
    module, tokens = SMALL.module(5), np.random.default_rng(2).integers(0, 5, (1, 7))
    variables = random_variables(module, 7, dtype=np.int32)
    changed = tokens.copy()
    changed[:, 4] = (tokens[:, 4] + 1) % 5
    one, other = (np.asarray(module.apply(variables, given, train=False)) for given in (tokens, changed))
    np.testing.assert_array_equal(one[:, :4], other[:, :4])
    assert (one[:, 4:] != other[:, 4:]).any(-1).all()


def test_parameters_on_words(shapes_of: Callable[..., Any]) -> None:
    block = 4 * (32 * 32 + 32) + (32 * 128 + 128) + (128 * 32 + 32) + 2 * 2 * 32
    by_hand = 27 * 32 + 16 * 32 + 2 * block + 2 * 32 + (32 * 27 + 27)
    assert count_parameters(shapes_of(Transformer().module(27), 16, dtype=np.int32)["params"]) == by_hand == 27_739


def test_initial_logits_are_zero_and_dropout_is_active_only_in_training(
    random_variables: Callable[..., Any], quick_key: Callable[[int], Any]
) -> None:
    tokens = np.arange(6).reshape(2, 3)
    assert not np.asarray(SMALL.module(6).init_with_output(quick_key(0), tokens, train=False)[0]).any()
    module = Transformer(width=12, depth=2, heads=3, dropout=0.3).module(6)
    variables = random_variables(module, 3, dtype=np.int32)
    one, other = (module.apply(variables, tokens, train=True, rngs={"dropout": quick_key(seed)}) for seed in (1, 2))
    assert (np.asarray(one) != np.asarray(other)).any()
    np.testing.assert_array_equal(
        module.apply(variables, tokens, train=False), SMALL.module(6).apply(variables, tokens, train=False)
    )


def test_a_width_that_the_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"Transformer\.width is 32\. Expected a multiple of .* attention heads, 5\."):
        Transformer(heads=5)
