"""Measurements find arrays that ignore the learning rate and its schedule."""

from __future__ import annotations

import functools

import jax
import optax
import pytest

from jaxopt_bench.reports.conformance import describe_facts
from tests.optimizers.conformance.measured import of_function


def half_deaf(learning_rate: float = 0.1):
    labels = functools.partial(jax.tree.map, lambda leaf: "deaf" if leaf.ndim > 1 else "heeding")
    return optax.partition({"deaf": optax.sgd(0.1), "heeding": optax.sgd(learning_rate)}, labels)


def test_arrays_that_ignore_the_schedule_are_reported():
    facts = of_function(half_deaf)
    deaf = {name for name, ratio in facts.learning_rate.later_step.items() if ratio == pytest.approx(1)}
    assert deaf == {"conv/kernel", "dense/kernel"}
    words = describe_facts(facts)
    assert "IGNORED by conv/kernel and dense/kernel" in words["schedule"]
    assert "of 3 of 5 arrays" in words["learning rate"]
