"""The measured properties of optimizers agree with their papers, and with the functions in this file."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, measure_optimizer
from jaxopt_bench.reports.conformance import describe_facts
from tests.optimizers.conformance.measured import NETWORK, TRAINED, kinds, measured, of_function, scaling

# For each optimizer: the kind of the first update, the scaling, the bytes of state for each number, the form of the
# decay, and whether a coupled decay equals a decoupled one.
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
def test_optimizers_agree_with_their_papers(name):
    kind, scale, size, form, both = PAPERS[name]
    facts = measured(name)
    assert set(kinds(facts).values()) == {kind}
    assert scaling(facts) == {(scale, scale)}
    assert facts.bytes_per_number == pytest.approx(size, abs=0.01)  # without counters
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


def test_soap_is_measured_from_its_second_step():
    """The first step of SOAP changes nothing. SOAP is Adam for vectors, and takes signs in other bases for matrices."""
    facts = measured("soap")
    assert {kind for name, kind in kinds(facts).items() if not name.endswith("kernel")} == {"first_sign"}
    assert {kind for name, kind in kinds(facts).items() if name.endswith("kernel")} <= {"orthogonal", "other"}
    assert all(array.first == pytest.approx(1, rel=1e-3) for array in facts.network)
    assert (facts.decay.form, facts.decay.shrinks) == ("decoupled", pytest.approx(3e-3 * 0.01, rel=1e-3))
    assert set(facts.decay.decayed) == TRAINED
    squares = sum(2 * size**2 for array in facts.network for size in array.shape if len(array.shape) > 1 and size > 1)
    assert facts.state_bytes == 4 * (2 * facts.numbers + squares + 1)
    assert facts.finite_at_zero
    assert facts.programs == 1
    assert not facts.missed


def keyed(learning_rate: float = 0.1, noise: float = 0.1, key=None):
    return optax.chain(optax.add_noise(noise, 0.55, key), optax.sgd(learning_rate))


def own_noise(learning_rate: float = 0.1):
    return optax.chain(optax.add_noise(0.1, 0.55, jax.random.key(7)), optax.sgd(learning_rate))


def test_random_numbers_from_the_key_of_the_run_and_from_an_own_key_differ():
    network = {"dense": {"kernel": jnp.zeros((8, 4))}}
    theirs, own = of_function(keyed, network), of_function(own_noise, network)
    assert (theirs.draws, theirs.own_draws) == (True, False)
    assert (own.draws, own.own_draws) == (False, True)
    assert own.deterministic
    assert own.own_decay.form == "absent"  # the noise is not a decay
    assert "SAME FOR ALL SEEDS" in describe_facts(own)["determinism"]


def test_functions_whose_updates_change_between_calls_are_not_deterministic():
    generator = np.random.default_rng(0)

    optimizer = OPTIMIZERS["sgd"]

    class Restless(type(optimizer)):
        def scale(self, hyperparameters, context):
            return optax.scale(float(generator.uniform(1, 2)))

    facts = measure_optimizer(Restless(), NETWORK)
    assert not facts.deterministic
    assert "THE SAME INPUTS GIVE OTHER BITS" in describe_facts(facts)["determinism"]


def divides_by_the_norm(learning_rate: float = 0.1):
    def update(grads, state, params=None):
        norm = optax.global_norm(grads)
        return jax.tree.map(lambda g: -learning_rate * g / norm, grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def test_updates_that_are_not_finite_on_zero_gradients_are_found():
    optimizer = OPTIMIZERS["sgd"]

    class Dividing(type(optimizer)):
        def rule(self, hyperparameters, context):
            return divides_by_the_norm(hyperparameters["learning_rate"] * context.multiplier)

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
        def scale(self, hyperparameters, context):
            raise RuntimeError("no idea")

    with pytest.raises(UserError, match="the optimizer Failing fails in an update: RuntimeError: no idea"):
        measure_optimizer(Failing(), NETWORK)


def test_the_facts_can_be_written_as_json():
    facts = measured("muon")
    values = json.loads(json.dumps(facts.to_json(), allow_nan=False))
    assert values["bytes_per_number"] == facts.bytes_per_number
    assert values["rules"][0].keys() == {"name", "arrays", "of_arrays", "numbers", "share"}
    assert {array["name"] for array in values["network"]} == set(kinds(facts))


# Measured forms of decay that differ from the form that the class states, and the reasons.
OTHERWISE = {
    "mechanic_adam": "absent",  # it changes the learning of the factor, not the updates of these steps
    "novograd": "momentum",  # added to the normalized gradient, as in its paper, and thus to the momentum
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(name for name in OPTIMIZERS if not OPTIMIZERS[name].line_search))
def test_every_optimizer_has_the_expected_properties(name):
    facts, optimizer = measured(name), OPTIMIZERS[name]
    assert facts.deterministic
    assert facts.draws == (name == "noisy_sgd")
    assert not facts.own_draws
    assert facts.programs == 1
    assert not facts.static
    assert facts.decay.form == OTHERWISE.get(name, optimizer.decay_form)
    assert (facts.own_decay.form != "absent") == (name == "fromage")  # it shrinks parameters in each update
    assert set(kinds(facts).values()) & {"none", "not_finite"} == set()
    assert all(ratio != pytest.approx(1) for ratio in facts.learning_rate.later_step.values())
    assert bool(facts.rules) == (name == "muon")
    # From independent random gradients, SOAP makes nearly independent numbers of one size.
    assert ("orthogonal" in kinds(facts).values()) == (name in ("muon", "soap"))
    assert not facts.missed


def test_an_optimizer_with_a_line_search_cannot_be_measured_on_random_gradients():
    with pytest.raises(
        UserError, match=r"lbfgs evaluates the loss several times in a step .* has no loss function\. Expected an"
    ):
        measured("lbfgs")
