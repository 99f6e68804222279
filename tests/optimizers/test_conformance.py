"""What optimizers are measured to do, against what their papers say and what functions written for this do."""

from __future__ import annotations

import functools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, Conformance, imported, measure_optimizer
from jaxopt_bench.reports.conformance import facts_in_words, missed_in_words

NETWORK = {
    "conv1": {"kernel": jnp.zeros((3, 3, 3, 16)), "bias": jnp.zeros(16)},
    "conv2": {"kernel": jnp.zeros((3, 3, 16, 32)), "bias": jnp.zeros(32)},
    "norm": {"scale": jnp.zeros(32), "bias": jnp.zeros(32)},
    "dense": {"kernel": jnp.zeros((256, 128)), "bias": jnp.zeros(128)},
    "head": {"kernel": jnp.zeros((128, 10)), "bias": jnp.zeros(10)},
}
NUMBERS = sum(leaf.size for leaf in jax.tree.leaves(NETWORK))
TRAINED = {"conv/kernel", "conv/bias", "norm/scale", "dense/kernel", "dense/bias", "gate/alpha"}


@functools.cache
def measured(name: str) -> Conformance:
    return measure_optimizer(OPTIMIZERS[name], NETWORK)


def of_function(function, network=NETWORK) -> Conformance:
    return measure_optimizer(imported(function)(), network)


def kinds(facts: Conformance) -> dict[str, str]:
    return {array.name: array.kind for array in facts.network}


def scaling(facts: Conformance) -> set[tuple[str, str]]:
    return {(scale.first, scale.last) for scale in facts.scale.values()}


# Of each the first update's kind, the scaling, the bytes of state for each number, the form of the decay, and whether
# a coupled decay is the same as a decoupled one.
PAPERS = {
    "sgd": ("gradient", "linear", 0, "coupled", True),
    "momentum": ("gradient", "linear", 4, "coupled", False),
    "adam": ("first_sign", "invariant", 8, "coupled", False),
    "adamw": ("first_sign", "invariant", 8, "decoupled", False),
    "lion": ("sign", "invariant", 4, "decoupled", False),
    "signum": ("sign", "invariant", 4, "coupled", False),
    "lars": ("gradient", "invariant", 4, "coupled", False),
}


@pytest.mark.parametrize("name", PAPERS)
def test_optimizers_do_what_their_papers_say(name):
    kind, scale, size, form, both = PAPERS[name]
    facts = measured(name)
    assert set(kinds(facts).values()) == {kind}
    assert scaling(facts) == {(scale, scale)}
    assert facts.bytes_per_number == pytest.approx(size, abs=0.01)  # beside counters
    assert (facts.decay.form, facts.decay.both) == (form, both)
    assert set(facts.decay.decayed) == TRAINED
    assert facts.own_decay.form == "absent"
    assert facts.deterministic
    assert not facts.draws
    assert not facts.own_draws
    assert facts.finite_at_zero
    assert facts.programs == 1 < facts.settings
    assert facts.learning_rate.doubles["learning_rate"] == len(TRAINED) - 1
    assert facts.learning_rate.first_step == pytest.approx(dict.fromkeys(TRAINED, 0.5), rel=1e-3)
    assert not facts.rules


def test_the_decay_of_adamw_is_that_of_its_equation():
    optimizer, facts = OPTIMIZERS["adamw"], measured("adamw")
    assert facts.decay.weight_decay == facts.decay.default == optimizer.weight_decay
    assert facts.decay.shrinks == pytest.approx(optimizer.learning_rate * optimizer.weight_decay, rel=1e-3)
    assert facts.decay.times_learning_rate
    assert facts.decay.times_schedule


def test_the_sizes_of_first_updates_are_those_of_the_equations():
    adam = {array.name: array for array in measured("adam").network}
    assert all(array.first == pytest.approx(1, rel=1e-3) for array in adam.values())  # every number is a sign
    kernel = adam["dense/kernel"]
    he = math.sqrt(2 / 256)
    assert kernel.relative == pytest.approx(OPTIMIZERS["adam"].learning_rate / he, rel=0.02)
    assert kernel.shape == (256, 128)


def test_muon_is_on_all_kernels_but_the_heads():
    facts = measured("muon")
    kernels = {"conv1/kernel", "conv2/kernel", "dense/kernel"}
    assert {name for name, kind in kinds(facts).items() if kind == "orthogonal"} == kernels
    assert {array.name for array in facts.network if array.rule == "muon"} == kernels
    assert {rule.name: rule.arrays for rule in facts.rules} == {"muon": 3, "adam": 7}
    assert set(facts.decay.decayed) == {"conv/kernel", "dense/kernel"}  # Adam's part has a decay of its own
    assert not facts.missed
    assert missed_in_words(facts) is None


def plain_muon(learning_rate: float = 0.02):
    return contrib.muon(learning_rate, muon_weight_dimension_numbers=None)


def written_muon(learning_rate: float = 0.02):
    """Muon for matrices and the sign of the gradient for all others, without `optax.partition`."""

    def update(grads, state, params=None):
        def of_leaf(g):
            if g.ndim != 2:
                return -learning_rate * jnp.sign(g)
            left, _, right = jnp.linalg.svd(g, full_matrices=False)
            return -learning_rate * left @ right

        return jax.tree.map(of_leaf, grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@pytest.mark.parametrize(("function", "others"), [(plain_muon, "first_sign"), (written_muon, "sign")])
def test_a_muon_that_leaves_out_convolutions_is_said_first(function, others):
    facts = of_function(function)
    expected = {name: "orthogonal" if name in ("dense/kernel", "head/kernel") else others for name in kinds(facts)}
    assert kinds(facts) == expected
    assert [array.name for array in facts.missed] == ["conv1/kernel", "conv2/kernel"]
    share = (3 * 3 * 3 * 16 + 3 * 3 * 16 * 32) / NUMBERS
    said = missed_in_words(facts)
    assert said is not None
    assert f"2 convolution kernels, with {100 * share:.1f}% of the network's numbers, are not updated as matr" in said


def test_adafactor_keeps_sums_over_rows_and_columns():
    network = {"dense": {"kernel": jnp.zeros((256, 512))}}
    facts = measure_optimizer(OPTIMIZERS["adafactor"], network)
    assert 4 * (256 + 512) <= facts.state_bytes <= 4 * (256 + 512) + 32
    assert facts.decay.form == "decoupled"
    assert facts.decay.times_learning_rate is False  # as in Shazeer and Stern's code


def keyed(learning_rate: float = 0.1, noise: float = 0.1, key=None):
    return optax.chain(optax.add_noise(noise, 0.55, key), optax.sgd(learning_rate))


def own_noise(learning_rate: float = 0.1):
    return optax.chain(optax.add_noise(0.1, 0.55, jax.random.key(7)), optax.sgd(learning_rate))


def test_random_numbers_are_told_apart_by_whose_key_they_are_from():
    network = {"dense": {"kernel": jnp.zeros((8, 4))}}
    theirs, own = of_function(keyed, network), of_function(own_noise, network)
    assert (theirs.draws, theirs.own_draws) == (True, False)
    assert (own.draws, own.own_draws) == (False, True)
    assert own.deterministic
    assert own.own_decay.form == "absent"  # the noise is none
    assert "SAME FOR ALL SEEDS" in facts_in_words(own)["determinism"]


def test_functions_that_give_other_updates_each_time_they_are_called_are_not_deterministic():
    generator = np.random.default_rng(0)

    optimizer = OPTIMIZERS["sgd"]

    class Restless(type(optimizer)):
        def scale(self, hyperparameters, moment):
            return optax.scale(float(generator.uniform(1, 2)))

    facts = measure_optimizer(Restless(), NETWORK)
    assert not facts.deterministic
    assert "THE SAME INPUTS GIVE OTHER BITS" in facts_in_words(facts)["determinism"]


def frozen_biases(learning_rate: float = 0.1, ignored: float = 0.5):
    labels = functools.partial(jax.tree.map, lambda leaf: "trained" if leaf.ndim > 1 else "frozen")
    rules = {"trained": optax.sgd(learning_rate, 0.9), "frozen": optax.set_to_zero()}
    return optax.partition(rules, labels)


def test_arrays_that_are_not_trained_and_arguments_without_effect_are_named():
    facts = of_function(frozen_biases)
    assert {name for name, kind in kinds(facts).items() if kind == "none"} == {
        name for name in kinds(facts) if not name.endswith("kernel")
    }
    assert {rule.name: rule.arrays for rule in facts.rules} == {"trained": 4, "frozen": 6}
    assert facts.unused == ("ignored",)
    assert "ignored: other values change no update" in facts_in_words(facts)["no effect"]
    assert set(facts.learning_rate.later_step) == {"conv/kernel", "dense/kernel"}


def hidden_decay(learning_rate: float = 0.1):
    decay = optax.add_decayed_weights(0.3, lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
    return optax.chain(optax.scale_by_adam(), decay, optax.scale_by_learning_rate(learning_rate))


def hidden_penalty(learning_rate: float = 0.1):
    return optax.chain(optax.add_decayed_weights(0.3), optax.sgd(learning_rate, 0.9))


def decay_in_momentum(learning_rate: float = 0.1):
    parts = optax.scale_by_sign(), optax.add_decayed_weights(0.3), optax.trace(0.9)
    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def test_a_decay_that_no_argument_names_is_found():
    facts = of_function(hidden_decay)
    assert facts.own_decay.form == "decoupled"
    assert facts.own_decay.decayed == ("conv/kernel", "dense/kernel")
    assert set(facts.own_decay.left_out) == TRAINED - {"conv/kernel", "dense/kernel"}
    assert facts.own_decay.shrinks == pytest.approx(0.1 * 0.3, rel=1e-3)
    assert facts.own_decay.times_learning_rate
    assert of_function(hidden_penalty).own_decay.form == "coupled"
    assert of_function(decay_in_momentum).own_decay.form == "momentum"


def half_deaf(learning_rate: float = 0.1):
    labels = functools.partial(jax.tree.map, lambda leaf: "deaf" if leaf.ndim > 1 else "heeding")
    return optax.partition({"deaf": optax.sgd(0.1), "heeding": optax.sgd(learning_rate)}, labels)


def test_arrays_that_ignore_the_schedule_are_named():
    facts = of_function(half_deaf)
    deaf = {name for name, ratio in facts.learning_rate.later_step.items() if ratio == pytest.approx(1)}
    assert deaf == {"conv/kernel", "dense/kernel"}
    words = facts_in_words(facts)
    assert "IGNORED by conv/kernel and dense/kernel" in words["schedule"]
    assert "of 3 of 5 arrays" in words["learning rate"]


def divides_by_the_norm(learning_rate: float = 0.1):
    def update(grads, state, params=None):
        norm = optax.global_norm(grads)
        return jax.tree.map(lambda g: -learning_rate * g / norm, grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def test_updates_that_are_not_finite_on_zero_gradients_are_found():
    optimizer = OPTIMIZERS["sgd"]

    class Dividing(type(optimizer)):
        def rule(self, hyperparameters, moment):
            return divides_by_the_norm(hyperparameters["learning_rate"] * moment.multiplier)

    facts = measure_optimizer(Dividing(), NETWORK)
    assert not facts.finite_at_zero
    assert scaling(facts) == {("invariant", "invariant")}
    assert set(kinds(facts).values()) == {"gradient"}
    json.dumps(facts.to_json(), allow_nan=False)


def for_this_network(learning_rate: float = 0.1):
    labels = {"conv1": "a", "conv2": "a", "norm": "b", "dense": "b", "head": "b"}
    return optax.partition({"a": optax.adam(learning_rate), "b": optax.sgd(learning_rate, 0.9)}, labels)


def test_an_optimizer_for_one_network_is_measured_on_that_network():
    facts = of_function(for_this_network)
    assert not facts.sample
    assert {array.name: array.kind for array in facts.arrays} == kinds(facts)
    assert {name for name, kind in kinds(facts).items() if kind == "first_sign"} == {
        f"{layer}/{name}" for layer in ("conv1", "conv2") for name in ("kernel", "bias")
    }


def test_an_optimizer_that_fails_is_refused_in_one_message():
    optimizer = OPTIMIZERS["sgd"]

    class Failing(type(optimizer)):
        def scale(self, hyperparameters, moment):
            raise RuntimeError("no idea")

    with pytest.raises(UserError, match="the optimizer Failing fails in an update: RuntimeError: no idea"):
        measure_optimizer(Failing(), NETWORK)


def test_the_facts_are_json():
    facts = measured("muon")
    values = json.loads(json.dumps(facts.to_json(), allow_nan=False))
    assert values["bytes_per_number"] == facts.bytes_per_number
    assert values["rules"][0].keys() == {"name", "arrays", "of_arrays", "numbers", "share"}
    assert {array["name"] for array in values["network"]} == set(kinds(facts))


# Decays that do not act as the class says, and why.
OTHERWISE = {
    "mechanic_adam": "absent",  # it changes how the factor is learned, not the updates of these steps
    "novograd": "momentum",  # beside the normalised gradient, as in its paper, but into the momentum
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in OPTIMIZERS if not OPTIMIZERS[name].line_search))
def test_every_optimizer_passes(name):
    facts, optimizer = measured(name), OPTIMIZERS[name]
    assert facts.deterministic
    assert facts.draws == (name == "noisy_sgd")
    assert not facts.own_draws
    assert facts.programs == 1
    assert not facts.static
    assert facts.decay.form == OTHERWISE.get(name, optimizer.decay_form)
    assert (facts.own_decay.form != "absent") == (name == "fromage")  # which shrinks parameters with each update
    assert set(kinds(facts).values()) & {"none", "not_finite"} == set()
    assert all(ratio != pytest.approx(1) for ratio in facts.learning_rate.later_step.values())
    assert bool(facts.rules) == (name == "muon")
    assert ("orthogonal" in kinds(facts).values()) == (name == "muon")


def test_an_optimizer_with_a_line_search_cannot_be_measured_on_random_gradients():
    with pytest.raises(
        UserError, match=r"lbfgs evaluates the loss several times in a step .* has no loss\. Expected an"
    ):
        measured("lbfgs")
