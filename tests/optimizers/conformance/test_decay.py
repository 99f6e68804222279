"""The measured weight decay agrees with papers, and with the functions in this file."""

from __future__ import annotations

import dataclasses
import typing

import jax
import jax.numpy as jnp
import optax
import pytest

from jaxopt_bench.optimizers import OPTIMIZERS, measure_optimizer
from jaxopt_bench.optimizers.conformance import MeasuredDecayForm
from jaxopt_bench.reports.conformance import describe_facts
from tests.optimizers.conformance.measured import NETWORK, TRAINED, measured, of_function


def test_the_decay_of_adamw_matches_its_equation():
    optimizer, facts = OPTIMIZERS["adamw"], measured("adamw")
    assert facts.decay.weight_decay == facts.decay.default == optimizer.weight_decay
    assert facts.decay.shrinks == pytest.approx(optimizer.learning_rate * optimizer.weight_decay, rel=1e-3)
    assert facts.decay.times_learning_rate
    assert facts.decay.times_schedule


def test_a_changed_weight_decay_is_not_called_the_default():
    """The default of AdamW is 0.01. The decay of the setting 0 is measured at 0.1."""
    for value, said in ((0.01, "0.01 (as in the settings)"), (0.2, "0.2 (as in the settings)"), (0.0, "0.1 (0 in the")):
        facts = measure_optimizer(dataclasses.replace(OPTIMIZERS["adamw"], weight_decay=value), NETWORK)
        words = describe_facts(facts)["weight decay"]
        assert f"measured at weight_decay {said}" in words
        assert "default" not in words


def test_adafactor_keeps_sums_over_rows_and_columns():
    network = {"dense": {"kernel": jnp.zeros((256, 512))}}
    facts = measure_optimizer(OPTIMIZERS["adafactor"], network)
    assert 4 * (256 + 512) <= facts.state_bytes <= 4 * (256 + 512) + 32
    assert facts.decay.form == "decoupled"
    assert facts.decay.times_learning_rate is False  # as in Shazeer and Stern's code


def hidden_decay(learning_rate: float = 0.1):
    decay = optax.add_decayed_weights(0.3, lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
    return optax.chain(optax.scale_by_adam(), decay, optax.scale_by_learning_rate(learning_rate))


def hidden_penalty(learning_rate: float = 0.1):
    return optax.chain(optax.add_decayed_weights(0.3), optax.sgd(learning_rate, 0.9))


def decay_in_momentum(learning_rate: float = 0.1):
    parts = optax.scale_by_sign(), optax.add_decayed_weights(0.3), optax.trace(0.9)
    return optax.chain(*parts, optax.scale_by_learning_rate(learning_rate))


def test_a_decay_without_an_argument_is_found():
    facts = of_function(hidden_decay)
    assert facts.own_decay.form == "decoupled"
    assert facts.own_decay.decayed == ("conv/kernel", "dense/kernel")
    assert set(facts.own_decay.left_out) == TRAINED - {"conv/kernel", "dense/kernel"}
    assert facts.own_decay.shrinks == pytest.approx(0.1 * 0.3, rel=1e-3)
    assert facts.own_decay.times_learning_rate
    assert of_function(hidden_penalty).own_decay.form == "coupled"
    assert of_function(decay_in_momentum).own_decay.form == "momentum"


def test_every_form_of_decay_can_be_measured():
    functions = hidden_decay, hidden_penalty, decay_in_momentum
    found = {of_function(function).own_decay.form for function in functions} | {measured("adamw").own_decay.form}
    assert found == set(typing.get_args(MeasuredDecayForm))
