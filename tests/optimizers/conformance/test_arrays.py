"""The measured kinds and sizes of first updates agree with equations, and with the functions in this file."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import optax
import pytest
from optax import contrib

from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.reports.conformance import describe_facts, describe_missed_arrays
from tests.optimizers.conformance.measured import NUMBERS, kinds, measured, of_function


def test_the_sizes_of_first_updates_match_the_equations():
    adam = {array.name: array for array in measured("adam").network}
    assert all(array.first == pytest.approx(1, rel=1e-3) for array in adam.values())  # all numbers are signs
    kernel = adam["dense/kernel"]
    he = math.sqrt(2 / 256)
    assert kernel.relative == pytest.approx(OPTIMIZERS["adam"].learning_rate / he, rel=0.02)
    assert kernel.shape == (256, 128)


def test_muon_updates_all_kernels_except_that_of_the_head():
    facts = measured("muon")
    kernels = {"conv1/kernel", "conv2/kernel", "dense/kernel"}
    assert {name for name, kind in kinds(facts).items() if kind == "orthogonal"} == kernels
    assert {array.name for array in facts.network if array.rule == "muon"} == kernels
    assert {rule.name: rule.arrays for rule in facts.rules} == {"muon": 3, "adam": 7}
    assert set(facts.decay.decayed) == {"conv/kernel", "dense/kernel"}  # the part with Adam has a separate decay
    assert not facts.missed
    assert describe_missed_arrays(facts) is None


def plain_muon(learning_rate: float = 0.02):
    return contrib.muon(learning_rate, muon_weight_dimension_numbers=None)


def written_muon(learning_rate: float = 0.02):
    """Muon for matrices and the sign of the gradient for all other arrays, without `optax.partition`."""

    def update(grads, state, params=None):
        def of_leaf(g):
            if g.ndim != 2:
                return -learning_rate * jnp.sign(g)
            left, _, right = jnp.linalg.svd(g, full_matrices=False)
            return -learning_rate * left @ right

        return jax.tree.map(of_leaf, grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@pytest.mark.parametrize(("function", "others"), [(plain_muon, "first_sign"), (written_muon, "sign")])
def test_a_muon_that_leaves_out_convolutions_causes_a_warning(function, others):
    facts = of_function(function)
    expected = {name: "orthogonal" if name in ("dense/kernel", "head/kernel") else others for name in kinds(facts)}
    assert kinds(facts) == expected
    assert [array.name for array in facts.missed] == ["conv1/kernel", "conv2/kernel"]
    share = (3 * 3 * 3 * 16 + 3 * 3 * 16 * 32) / NUMBERS
    said = describe_missed_arrays(facts)
    assert said is not None
    assert f"2 convolution kernels, with {100 * share:.1f}% of the network's numbers, are not updated as matr" in said


def frozen_biases(learning_rate: float = 0.1, ignored: float = 0.5):
    labels = functools.partial(jax.tree.map, lambda leaf: "trained" if leaf.ndim > 1 else "frozen")
    rules = {"trained": optax.sgd(learning_rate, 0.9), "frozen": optax.set_to_zero()}
    return optax.partition(rules, labels)


def test_untrained_arrays_and_arguments_without_effect_are_reported():
    facts = of_function(frozen_biases)
    assert {name for name, kind in kinds(facts).items() if kind == "none"} == {
        name for name in kinds(facts) if not name.endswith("kernel")
    }
    assert {rule.name: rule.arrays for rule in facts.rules} == {"trained": 4, "frozen": 6}
    assert facts.unused == ("ignored",)
    assert "ignored: other values change no update" in describe_facts(facts)["no effect"]
    assert set(facts.learning_rate.later_step) == {"conv/kernel", "dense/kernel"}
