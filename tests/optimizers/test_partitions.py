"""The inner rules of partitioned optimizers and the parameters that each updates, read from optax states."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax
import pytest
from optax import contrib

from jaxopt_bench.models import MODELS
from jaxopt_bench.optimizers import OPTIMIZERS, ParameterGroup, inner_rules, read_parameter_groups

PARAMS = {
    "conv": {"kernel": jnp.zeros((3, 3, 2, 4)), "bias": jnp.zeros(4)},
    "dense": {"kernel": jnp.zeros((8, 4)), "bias": jnp.zeros(4)},
}


def resnet18():
    """Returns the parameter shapes of the ResNet-18 for CIFAR-10, which has 11.2 million numbers."""
    module, images = MODELS["resnet18"].module(10), jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(lambda x: module.init(jax.random.key(0), x, train=False), images)["params"]


def found(transform, params=PARAMS):
    rules = inner_rules(jax.eval_shape(transform.init, params), params)
    return {rule.name: (rule.arrays, rule.numbers) for rule in rules}


def by_dimensions(names):
    """Returns a function that labels arrays by their number of dimensions."""
    return lambda params: jax.tree.map(lambda leaf: names[leaf.ndim], params)


def test_muon_without_dimension_numbers_trains_only_the_head_of_a_resnet():
    params = resnet18()
    numbers = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert numbers == pytest.approx(11.2e6, rel=0.01)
    head = math.prod(params["head"]["kernel"].shape)
    assert found(contrib.muon(0.1), params) == {"muon": (1, head), "adam": (61, numbers - head)}


def test_the_muon_of_the_table_trains_all_kernels_except_the_head():
    params, muon = resnet18(), OPTIMIZERS["muon"]
    rules = inner_rules(jax.eval_shape(muon.transform(muon.hyperparameters()).init, params), params)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    (own,) = (rule for rule in rules if rule.name == "muon")
    assert (own.arrays, own.numbers) == (len(kernels), sum(map(math.prod, kernels)))
    assert sum(rule.share for rule in rules) == pytest.approx(1)
    assert {rule.of_arrays for rule in rules} == {62}


def test_an_optimizer_with_a_single_rule_has_no_inner_rules():
    assert found(optax.adam(0.1)) == {}


def test_a_rule_without_state_gets_the_remaining_arrays():
    labels = by_dimensions({4: "adam", 2: "sgd", 1: "sgd"})
    transform = optax.partition({"adam": optax.adam(0.1), "sgd": optax.sgd(0.1)}, labels)
    assert found(transform) == {"adam": (1, 72), "sgd": (3, 40)}


def test_rules_without_state_that_cannot_be_distinguished_are_listed_together():
    labels = by_dimensions({4: "adam", 2: "sgd", 1: "frozen"})
    rules = {"adam": optax.adam(0.1), "sgd": optax.sgd(0.1), "frozen": optax.set_to_zero()}
    assert found(optax.partition(rules, labels)) == {"adam": (1, 72), "frozen or sgd": (3, 40)}


def test_a_rule_without_arrays_is_listed():
    labels = by_dimensions({4: "adam", 2: "adam", 1: "adam"})
    rules = {"adam": optax.adam(0.1), "momentum": optax.sgd(0.1, 0.9)}
    assert found(optax.partition(rules, labels)) == {"adam": (4, 112), "momentum": (0, 0)}


def test_partitions_are_found_anywhere_in_the_state():
    outer = by_dimensions({4: "rest", 2: "rest", 1: "small"})
    rules = {"rest": contrib.muon(0.1), "small": optax.sgd(0.1, 0.9)}
    transform = optax.MultiSteps(optax.chain(optax.clip(1.0), optax.partition(rules, outer)), 2)
    params = {"network": PARAMS}
    assert found(transform, params) == {"rest/muon": (1, 32), "rest/adam": (1, 72), "small": (2, 8)}


def test_labels_for_whole_layers_are_supported():
    transform = optax.partition({"a": optax.adam(0.1), "b": optax.sgd(0.1, 0.9)}, {"conv": "a", "dense": "b"})
    assert found(transform) == {"a": (2, 76), "b": (2, 36)}


@pytest.mark.parametrize("damaged", [None, "muon", {}, [1], [{"name": "muon"}], [{"name": 1, "arrays": "x"}]])
def test_records_of_another_form_have_no_shares(damaged):
    assert read_parameter_groups(damaged) == ()


def test_shares_are_read_as_they_were_written():
    share = ParameterGroup("muon", 2, 8, 64, 0.64)
    assert read_parameter_groups([{**vars(share), "later": 1}]) == (share,)
