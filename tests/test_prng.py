"""Keys agree with threefry in plain Python, written from its paper; the numbers of purposes never change."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench import prng
from jaxopt_bench.prng import Purpose
from tests.threefry import folded, threefry_2x32

seeds = st.integers(0, 2**32 - 1)
purposes = st.sampled_from(Purpose)


def bits(key: Any) -> tuple[int, ...]:
    return tuple(int(word) for word in jax.random.key_data(key))


def test_the_oracle_gives_the_published_vectors() -> None:
    # Random123's known answers for threefry2x32 with 20 rounds.
    assert threefry_2x32((0, 0), (0, 0)) == (0x6B200159, 0x99BA4EFE)
    ones = (0xFFFFFFFF, 0xFFFFFFFF)
    assert threefry_2x32(ones, ones) == (0x1CB996FC, 0xBB002BE7)


@given(seeds, purposes, seeds)
def test_a_key_is_the_seed_folded_with_its_purpose_and_then_its_index(seed: int, purpose: Purpose, index: int) -> None:
    assert bits(prng.key(seed, purpose, index)) == folded(seed, int(purpose), index)


def test_the_index_is_zero_by_default() -> None:
    assert bits(prng.key(3, Purpose.INITIALISATION)) == bits(prng.key(3, Purpose.INITIALISATION, 0))


def test_purposes_keep_their_numbers() -> None:
    pinned = {"INITIALISATION": 0, "SHUFFLE": 1, "LOSS": 2, "CROP": 3, "FLIP": 4, "ROTATION": 5, "CUTOUT": 6}
    assert {name: Purpose[name].value for name in pinned} == pinned
    assert sorted(Purpose) == list(range(len(Purpose)))  # no number is left out


def test_different_seeds_purposes_and_indices_have_different_keys() -> None:
    keys = [bits(prng.key(s, purpose, i)) for s in range(3) for purpose in Purpose for i in range(5)]
    assert len(set(keys)) == len(keys)


def test_a_traced_seed_and_index_give_the_same_key() -> None:
    traced = jax.jit(lambda seed, index: prng.key(seed, Purpose.CROP, index))
    assert bits(traced(jnp.uint32(7), jnp.int32(11))) == bits(prng.key(7, Purpose.CROP, 11))
    many = jax.vmap(lambda index: prng.key(7, Purpose.CROP, index))(jnp.arange(4))
    assert [bits(key) for key in many] == [bits(prng.key(7, Purpose.CROP, index)) for index in range(4)]


@pytest.mark.parametrize("default", ["rbg", "unsafe_rbg"])
def test_the_generator_is_threefry_even_if_jax_has_another_default(default: str) -> None:
    expected = bits(prng.key(5, Purpose.SHUFFLE, 2))
    with jax.default_prng_impl(default):
        key = prng.key(5, Purpose.SHUFFLE, 2)
    assert bits(key) == expected
    assert str(jax.random.key_impl(key)) == "threefry2x32"
