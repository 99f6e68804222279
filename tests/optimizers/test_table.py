"""Every optimizer of the table is documented and searchable, and uses one program for all values."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import EXCLUDED_OPTIMIZERS, OPTIMIZERS, SCHEDULES, Axis, Optimizer, StepContext
from jaxopt_bench.optimizers.adapters import matrices
from jaxopt_bench.optimizers.axes import SHARED_AXES
from jaxopt_bench.optimizers.wrappers import find_state
from tests.optimizers.few import slow_but_a_few

NAMES = sorted(OPTIMIZERS)
WITHOUT_LINE_SEARCH = [name for name in NAMES if not OPTIMIZERS[name].line_search]  # see test_line_search.py
STEPS = 4
PARAMS = {
    "conv": {"kernel": (3, 3, 2, 4), "bias": (4,)},
    "norm": {"scale": (4,)},
    "head": {"kernel": (5, 3), "bias": (3,)},
}


def random_tree(seed: int, leading: tuple[int, ...] = ()) -> Any:
    rng = np.random.default_rng(seed)

    def leaf(shape: tuple[int, ...]) -> jax.Array:
        return jnp.asarray(rng.normal(size=leading + shape), jnp.float32)

    return jax.tree.map(leaf, PARAMS, is_leaf=lambda node: isinstance(node, tuple))


def train(optimizer: Optimizer, hyperparameters: Any, gradients: Any) -> Any:
    """Returns the parameters after some steps with the given gradients, always from the same start."""

    def step(carry: Any, inputs: Any) -> Any:
        (params, state), (grads, progress) = carry, inputs
        transform = optimizer.transform(hyperparameters, StepContext(1 - progress / 2, progress, key=key))
        updates, state = transform.update(grads, state, params, value=jnp.float32(2.0))
        return (optax.apply_updates(params, updates), state), None

    params, key = random_tree(0), jax.random.key(0)
    state = optimizer.transform(hyperparameters, StepContext(key=key)).init(params)
    progress = jnp.arange(STEPS, dtype=jnp.float32) / STEPS
    return jax.lax.scan(step, (params, state), (gradients, progress))[0][0]


def eight_settings(optimizer: Optimizer) -> list[Any]:
    """Returns hyperparameters across the search space. Those without a range change slightly."""
    axes, arrays = optimizer.axes(), optimizer.hyperparameters()
    return [
        {
            name: jnp.float32(axes[name].value(i / 7)) if name in axes else value * jnp.float32(1 - i / 100)
            for name, value in arrays.items()
        }
        for i in range(8)
    ]


@pytest.mark.parametrize("name", slow_but_a_few(WITHOUT_LINE_SEARCH))
def test_eight_settings_share_one_program_and_give_the_same_results_stacked(name):
    optimizer, gradients = OPTIMIZERS[name], random_tree(1, (STEPS,))
    settings = eight_settings(optimizer)
    alone = jax.jit(lambda hyperparameters: train(optimizer, hyperparameters, gradients))
    results = [alone(setting) for setting in settings]
    assert alone._cache_size() == 1
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *settings)
    together = jax.jit(jax.vmap(lambda hyperparameters: train(optimizer, hyperparameters, gradients)))(stacked)
    for i, result in enumerate(results):
        ours = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-5), ours, result)
    heads = [np.asarray(result["head"]["kernel"]) for result in results]
    assert all(np.isfinite(head).all() for head in heads)
    assert not np.array_equal(heads[0], heads[-1])  # the settings have an effect


@pytest.mark.parametrize("name", NAMES)
def test_defaults_lie_inside_their_ranges(name):
    optimizer = OPTIMIZERS[name]
    for field, axis in optimizer.axes().items():
        value = getattr(optimizer, field)
        assert value == 0 or value in axis, f"{field} is {value}, outside {axis}"  # 0 means off
        assert axis.source
    assert set(optimizer.search_space()) <= set(optimizer.axes())
    assert "weight_decay" in optimizer.search_space()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_hyperparameter_has_the_same_range_in_every_optimizer(name):
    optimizer = OPTIMIZERS[name]
    own = {"learning_rate", "adam_learning_rate", "weight_decay", *optimizer.own_axes}
    assert all(axis == SHARED_AXES[field] for field, axis in optimizer.axes().items() if field not in own)
    assert not (own - {"b2", "eps", "alpha", "beta"}) & SHARED_AXES.keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_states_its_source_and_its_intended_schedule(name):
    optimizer = OPTIMIZERS[name]
    assert optimizer.source
    assert optimizer.schedule.name in SCHEDULES
    assert optimizer.schedule.source
    assert (type(optimizer).__doc__ or "").strip()


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_is_documented(name):
    """Hand-written classes document them in the source. Classes made from optax have the docstrings of optax."""
    cls = type(OPTIMIZERS[name])
    made = getattr(cls, "factory", None)
    sources = [inspect.getsource(base) for base in cls.__mro__ if issubclass(base, Optimizer) and not made]
    text = (cls.__doc__ or "") if made else "".join(sources)
    for field in dataclasses.fields(cls):
        if made and (field.name == "decay_mask" or field.name not in cls.arguments.values()):
            continue  # documented with `Optimizer`
        assert f"  {field.name}: " in text, field.name


@pytest.mark.parametrize("name", slow_but_a_few(WITHOUT_LINE_SEARCH))
def test_the_kernel_mask_excludes_biases_and_norm_scales_from_decay(name):
    """Optimizers whose decay cannot be masked refuse the mask."""
    if name in UNMASKED:
        with pytest.raises(UserError, match=r"decay_mask is 'kernels'\. Expected 'all'"):
            dataclasses.replace(OPTIMIZERS[name], decay_mask="kernels")
        return
    optimizer = dataclasses.replace(OPTIMIZERS[name], weight_decay=0.5, decay_mask="kernels")
    compiled = jax.jit(lambda hyperparameters: train(optimizer, hyperparameters, random_tree(1, (STEPS,))))
    decayed = compiled(optimizer.hyperparameters())
    not_decayed = compiled({**optimizer.hyperparameters(), "weight_decay": jnp.float32(0)})
    if name not in GLOBAL:  # these use a norm over all parameters, which depends on the decay
        np.testing.assert_allclose(decayed["norm"]["scale"], not_decayed["norm"]["scale"], rtol=1e-6)
        np.testing.assert_allclose(decayed["conv"]["bias"], not_decayed["conv"]["bias"], rtol=1e-6)
    assert not np.allclose(decayed["conv"]["kernel"], not_decayed["conv"]["kernel"], rtol=1e-7, atol=0)


MEANINGLESS = [  # name, field, a value that is refused, the nearest values that are accepted
    ("adafactor", "clipping_threshold", 0.0, None),
    ("adafactor", "decay_offset", 1, -5),
    ("adafactor", "decay_rate", -0.1, 1.5),
    ("adagrad", "initial_accumulator_value", -0.1, 0.0),
    ("dadapt_adamw", "betas", (0.9,), (0.0, 0.5)),
    ("dadapt_adamw", "eps", 0.0, 1e-12),
    ("galore", "rank", 0, 1),
    ("galore", "update_proj_gap", 0, 1),
    ("mechanic_adam", "eps", 0.0, 1e-12),
    ("mechanic_adam", "num_betas", 0, 1),
    ("momo", "beta", 1.0, 0.0),
    ("muon", "adam_b2", 1.0, 0.0),
    ("muon", "beta", 1.5, 0.0),
    ("muon", "ns_coeffs", (3.0, -4.0), (3.0, -4.0, 2.0)),
    ("noisy_sgd", "eta", -0.1, 0.0),
    ("optimistic_adam", "b1", 1.0, 0.0),
    ("polyak_sgd", "variant", "sps++", "sps+"),
    ("prodigy", "eps", 0.0, 1e-12),
    ("prodigy", "estim_lr0", 0.0, 1e-9),
    ("radam", "threshold", 3.9, 4.0),
    ("rmsprop", "initial_scale", -0.1, 1.0),
    ("rprop", "eta_minus", 1.1, 0.9),
    ("rprop", "eta_plus", 0.9, 1.1),
    ("schedule_free_adamw", "b1", 0.0, 0.1),
    ("signum", "beta", -0.1, 0.0),
]
ALWAYS = {"betas", "clipping_threshold", "ns_coeffs", "rank", "threshold", "variant", "estim_lr0", "eta_minus"}
"""The fields whose accepted values are always trained; the slow tests train the others."""


@pytest.mark.parametrize(("name", "field", "refused", "accepted"), MEANINGLESS)
def test_meaningless_values_are_refused(name, field, refused, accepted):
    """With these values, updates would be NaN, or the algorithm is not defined."""
    with pytest.raises(UserError, match=rf"{field} is .*. Expected: "):
        dataclasses.replace(OPTIMIZERS[name], **{field: refused})
    assert getattr(dataclasses.replace(OPTIMIZERS[name], **{field: accepted}), field) == accepted


@pytest.mark.parametrize(
    ("name", "field", "accepted"),
    [
        pytest.param(name, field, accepted, marks=() if field in ALWAYS else pytest.mark.slow)
        for name, field, _, accepted in MEANINGLESS
    ],
)
def test_accepted_values_beside_meaningless_ones_train(name, field, accepted):
    optimizer = dataclasses.replace(OPTIMIZERS[name], **{field: accepted})
    trained = jax.jit(lambda hyperparameters: train(optimizer, hyperparameters, random_tree(1, (STEPS,))))
    leaves = jax.tree.leaves(trained(optimizer.hyperparameters()))
    assert all(np.isfinite(leaf).all() for leaf in leaves)


@pytest.mark.parametrize("name", NAMES)
def test_values_that_float32_rounds_to_an_excluded_bound_are_refused(name):
    """For example, a decay of 1 would divide by zero in a bias correction, and keep an average at its start."""
    optimizer, found = OPTIMIZERS[name], set()
    for field in dataclasses.fields(optimizer):
        bounds, value = field.metadata.get("bounds"), getattr(optimizer, field.name)
        if bounds is None or isinstance(value, int):
            continue
        excluded = [(bounds.below, np.float64(-np.inf)), (bounds.above, np.float64(np.inf))]
        for bound, inwards in excluded:
            if bound is None:
                continue
            nearest = float(np.nextafter(np.float64(bound), inwards))
            with pytest.raises(UserError, match=rf"{field.name}.* is .* float32, where it rounds to {bound:g}"):
                dataclasses.replace(optimizer, **{field.name: (0.5, nearest) if field.name == "betas" else nearest})
            found.add(field.name)
    assert {"ema_decay", "swa_start", "clip_norm"} <= found


def test_the_coefficients_of_optimism_may_exceed_1():
    assert dataclasses.replace(OPTIMIZERS["optimistic_gradient_descent"], alpha=2.0, beta=1.5).beta == 1.5


UNMASKED = {"dadapt_adamw", "mechanic_adam", "momo", "momo_adam", "novograd", "prodigy"}
GLOBAL = {"dog", "dowg", "polyak_sgd"}


def optax_factories() -> set[str]:
    """Returns the names of optax's and contrib's functions that make a whole optimizer."""
    found = set()
    for module in (optax, contrib):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            arguments = inspect.signature(function).parameters
            whole = any(argument.endswith("learning_rate") for argument in arguments) or "base_optimizer" in arguments
            if whole and not name.startswith(("scale_by", "_")):
                found.add(name)
    return found


def test_the_table_has_every_optimizer_of_optax_that_is_not_left_out():
    own = {"sgd", "adam", "adamw", "nadam", "nadamw", "amsgrad"}  # implemented here, not made from optax's aliases
    as_named_here = {"optimistic_adam_v2": "optimistic_adam", "mechanize": "mechanic_adam"}
    parts = {"schedule_free"}  # schedule_free_sgd and schedule_free_adamw are made from it
    offered = optax_factories() - parts - EXCLUDED_OPTIMIZERS.keys()
    assert {as_named_here.get(name, name) for name in offered} <= set(OPTIMIZERS)
    assert own <= set(OPTIMIZERS)
    gone = {name for name in EXCLUDED_OPTIMIZERS if not hasattr(optax, name) and not hasattr(contrib, name)}
    assert not gone


@pytest.mark.parametrize(
    ("network", "classes", "muon", "adam"), [("resnet20", 10, 19, 40), ("cnn", 10, 3, 5), ("alexnet_small", 100, 5, 7)]
)
def test_muon_updates_the_kernels_of_hidden_layers(network, classes, muon, adam):
    """ResNet-20 has 19 convolutions. Adam updates the scales and biases of 19 normalization layers, and the head."""
    module = MODELS[network].module(classes)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), "float32")
    params = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), images)["params"]
    numbers = matrices(params)
    is_numbers = lambda node: node is None or isinstance(node, contrib.MuonDimensionNumbers)  # noqa: E731
    leaves = jax.tree.leaves(numbers, is_leaf=is_numbers)
    assert (sum(leaf is not None for leaf in leaves), sum(leaf is None for leaf in leaves)) == (muon, adam)
    state = jax.eval_shape(lambda p: OPTIMIZERS["muon"].transform(OPTIMIZERS["muon"].hyperparameters()).init(p), params)
    rules = find_state(state, optax.PartitionState).inner_states
    momenta = jax.tree.leaves(find_state(rules["muon"], contrib.MuonState).mu)
    assert len(momenta) == muon
    assert all(leaf.ndim >= 2 for leaf in momenta)


def test_floats_optional_floats_and_tuples_are_arrays_and_the_rest_is_static():
    arrays = OPTIMIZERS["muon"].hyperparameters()
    assert arrays["ns_coeffs"].shape == (3,)
    assert not {"ns_steps", "nesterov", "preconditioning", "adam_learning_rate"} & arrays.keys()
    given = dataclasses.replace(OPTIMIZERS["muon"], adam_learning_rate=1e-3)
    assert given.hyperparameters()["adam_learning_rate"] == np.float32(1e-3)
    assert OPTIMIZERS["adafactor"].hyperparameters()["clipping_threshold"] == 1
    assert dataclasses.replace(OPTIMIZERS["adafactor"], clipping_threshold=None).hyperparameters()


@pytest.mark.parametrize(
    ("axis", "shares", "outside"),
    [
        (Axis(1e-4, 1e-2, "log", ""), {0: 1e-4, 0.5: 1e-3, 1: 1e-2}, 2e-2),
        (Axis(0.01, 0.1, "log_one_minus", ""), {0: 0.99, 1: 0.9, 0.5: 1 - 10**-1.5}, 0.5),
        (Axis(1.0, 3.0, "linear", ""), {0: 1.0, 0.25: 1.5, 1: 3.0}, 0.9),
    ],
)
def test_axes_are_uniform_on_their_scale(axis, shares, outside):
    for share, value in shares.items():
        assert axis.value(share) == pytest.approx(value)
        assert axis.value(share) in axis
        assert outside not in axis
