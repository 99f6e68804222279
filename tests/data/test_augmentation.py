"""Augmentation against NumPy loops and SciPy, and the distributions of its random draws."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats
from jaxtyping import Float

from jaxopt_bench.data import Augmentation, denormalise, normalise
from jaxopt_bench.data import augment as augment_uncompiled
from jaxopt_bench.data.augmentation import _crop, _cutout, _flip, _rotate
from jaxopt_bench.errors import UserError

augment = jax.jit(augment_uncompiled, static_argnums=0)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
EVERYTHING = Augmentation(crop_padding=4, flip=True, rotation=15.0, cutout=8)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 10, 14, 3), np.uint8)


def float_images(images: np.ndarray) -> Float[np.ndarray, "batch height width channels"]:
    return images.astype(np.float32)


def test_crop_is_a_window_of_the_padded_image(images: np.ndarray) -> None:
    padding = 3
    corners = np.array([[0, 0], [6, 6], [3, 3], [1, 5], [6, 0], [2, 4]])
    padded = np.pad(float_images(images), [(0, 0), (padding, padding), (padding, padding), (0, 0)])
    expected = [padded[i, y : y + 10, x : x + 14] for i, (y, x) in enumerate(corners)]
    np.testing.assert_array_equal(
        jax.jit(_crop)(jnp.asarray(float_images(images)), jnp.asarray(corners - padding)), expected
    )


def test_flip_mirrors_only_the_chosen_images(images: np.ndarray) -> None:
    chosen = np.array([True, False, True, True, False, False])
    expected = [image[:, ::-1] if flip else image for image, flip in zip(images, chosen, strict=True)]
    np.testing.assert_array_equal(jax.jit(_flip)(jnp.asarray(float_images(images)), jnp.asarray(chosen)), expected)


@pytest.mark.parametrize("side", [1, 4, 5, 40])
def test_cutout_zeroes_a_clipped_square(images: np.ndarray, side: int) -> None:
    centres = np.array([[0, 0], [9, 13], [5, 7], [0, 13], [4, 2], [8, 8]])
    expected = float_images(images)
    for i, (y, x) in enumerate(centres):
        top, left = y - side // 2, x - side // 2
        for row in range(10):
            for column in range(14):
                if top <= row < top + side and left <= column < left + side:
                    expected[i, row, column] = 0
    np.testing.assert_array_equal(
        jax.jit(_cutout, static_argnums=2)(jnp.asarray(float_images(images)), jnp.asarray(centres), side), expected
    )


def test_rotation_interpolates_as_scipy_does(images: np.ndarray) -> None:
    angles = np.array([0.0, 15.0, -15.0, 90.0, 180.0, -77.7])
    turned = jax.jit(_rotate)(jnp.asarray(float_images(images)), jnp.deg2rad(jnp.asarray(angles)))
    for i, angle in enumerate(angles):
        expected = scipy.ndimage.rotate(
            images[i].astype(np.float64), angle, axes=(1, 0), reshape=False, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(turned[i], expected, atol=0.02)


def test_a_quarter_turn_of_a_square_is_exact_to_rounding() -> None:
    square = np.random.default_rng(1).integers(0, 256, (1, 9, 9, 3), np.uint8)
    turned = np.asarray(jax.jit(_rotate)(jnp.asarray(float_images(square)), jnp.asarray([np.pi / 2])))[0]
    either = [np.rot90(square[0], k) for k in (1, -1)]
    assert min(np.abs(turned - other).max() for other in either) < 0.01


def test_an_empty_augmentation_only_normalises(images: np.ndarray) -> None:
    plain = augment(Augmentation(), images, 0, 0, MEAN, STD)
    np.testing.assert_array_equal(plain, jax.jit(normalise)(images, MEAN, STD))
    expected = (images / 255 - np.array(MEAN)) / np.array(STD)
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-6)
    assert plain.dtype == jnp.float32


def test_cutout_fills_with_the_mean(images: np.ndarray) -> None:
    cut = augment(Augmentation(cutout=40), images, 0, 0, MEAN, STD)
    half = np.abs(cut) < 1e-7
    assert half.all(axis=(1, 2, 3)).all(), "a square larger than twice the image covers it from any centre"


def test_crop_offsets_are_uniform() -> None:
    # The value of each pixel is its index, so that the value of the middle pixel gives the offset of the crop.
    size, padding, batch = 16, 2, 4000
    place = np.arange(size * size, dtype=np.uint8).reshape(1, size, size, 1)
    seen = augment(Augmentation(crop_padding=padding), np.repeat(place, batch, 0), 3, 5, (0.0,), (1 / 255,))
    middle = np.asarray(seen)[:, 8, 8, 0].round().astype(int)
    counts = np.zeros((5, 5))
    np.add.at(counts, (middle // size - 6, middle % size - 6), 1)
    chi_squared = ((counts - batch / 25) ** 2 / (batch / 25)).sum()
    assert chi_squared < scipy.stats.chi2.isf(1e-4, 24)
    assert counts.min() > 0


def test_half_of_the_images_are_flipped() -> None:
    image = np.zeros((4000, 2, 2, 1), np.uint8)
    image[:, :, 0] = 255
    flipped = np.asarray(augment(Augmentation(flip=True), image, 0, 1, (0.0,), (1.0,)))[:, 0, 1, 0] == 1
    assert abs(flipped.mean() - 0.5) < 4 * 0.5 / np.sqrt(4000)


def test_rotation_angles_are_uniform_within_the_limit() -> None:
    # One bright pixel, away from the centre. After the rotation, its centre of mass gives the angle.
    image = np.zeros((500, 41, 41, 1), np.uint8)
    image[:, 20, 36] = 255
    turned = np.asarray(augment(Augmentation(rotation=30.0), image, 0, 0, (0.0,), (1.0,)))[..., 0]
    total = turned.sum((1, 2))
    y = (turned.sum(2) @ (np.arange(41) - 20)) / total
    x = (turned.sum(1) @ (np.arange(41) - 20)) / total
    angles = np.rad2deg(np.arctan2(y, x))
    assert scipy.stats.kstest(angles, scipy.stats.uniform(-30, 60).cdf).pvalue > 1e-3
    assert np.abs(angles).max() < 31


def test_cutout_centres_reach_every_pixel() -> None:
    cut = np.asarray(augment(Augmentation(cutout=1), np.full((2000, 4, 6, 1), 255, np.uint8), 0, 0, (0.0,), (1.0,)))
    holes = (cut[..., 0] == 0).sum(0)
    assert holes.sum() == 2000, "one pixel in each image"
    assert ((holes - 2000 / 24) ** 2 / (2000 / 24)).sum() < scipy.stats.chi2.isf(1e-4, 23)


def test_seed_and_step_determine_the_draws(images: np.ndarray) -> None:
    first = augment(EVERYTHING, images, 1, 2, MEAN, STD)
    np.testing.assert_array_equal(first, augment(EVERYTHING, images, 1, 2, MEAN, STD))
    for seed, step in [(1, 3), (2, 2)]:
        assert not np.array_equal(first, augment(EVERYTHING, images, seed, step, MEAN, STD))


def test_compiled_mapped_and_looped_draws_are_the_same(images: np.ndarray) -> None:
    def at(seed: jax.Array, step: jax.Array) -> jax.Array:
        return augment_uncompiled(EVERYTHING, jnp.asarray(images), seed, step, jnp.asarray(MEAN), jnp.asarray(STD))

    seeds, steps = jnp.array([0, 5, 9]), jnp.array([7, 0, 1])
    compiled = jax.jit(at)
    called = np.stack([compiled(seed, step) for seed, step in zip(seeds, steps, strict=True)])
    mapped = jax.jit(jax.vmap(at))(seeds, steps)
    _, looped = jax.lax.scan(lambda _, pair: (None, at(*pair)), None, (seeds, steps))
    np.testing.assert_allclose(mapped, called, atol=1e-3)
    np.testing.assert_allclose(looped, called, atol=1e-3)


@pytest.mark.parametrize("field", ["crop_padding", "rotation", "cutout"])
def test_negative_amounts_are_refused(field: str) -> None:
    with pytest.raises(UserError, match=f"Augmentation.{field} is -1"):
        Augmentation.from_json({field: -1})


def test_more_than_half_a_turn_is_refused() -> None:
    with pytest.raises(UserError, match=r"Augmentation.rotation is 181.0. Expected.*<= 180"):
        Augmentation(rotation=181.0)


def test_disabled_augmentations_are_not_computed() -> None:
    def primitives(augmentation: Augmentation) -> str:
        shape = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.uint8)
        return str(jax.make_jaxpr(lambda x: augment_uncompiled(augmentation, x, 0, 0, MEAN, STD))(shape))

    assert "gather" not in primitives(Augmentation())
    assert "random" not in primitives(Augmentation())
    assert "gather" in primitives(Augmentation(rotation=1.0))


def test_denormalise_restores_every_byte_and_clips_values_out_of_range() -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(denormalise(normalise(every, MEAN, STD), MEAN, STD), every)
    beyond = normalise(jnp.asarray([-3.0, 2.4, 2.6, 260.0]).reshape(1, 2, 2, 1), (0.5,), (0.2,))
    assert denormalise(beyond, (0.5,), (0.2,)).ravel().tolist() == [0, 2, 3, 255]
