"""Augmentation on the device: pure functions that convert a batch of bytes to normalised floats for a network.

This module reads no files. The seed and the step may be traced, so the functions work under `jit`, `vmap` and `scan`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, Num, UInt8

from jaxopt_bench.config import Config, number_field
from jaxopt_bench.prng import Purpose, key

Channels = Float[Array, " channels"] | Sequence[float]
Count = Integer[Array, ""] | int


@dataclasses.dataclass(frozen=True)
class Augmentation(Config):
    """The random changes of training images. The defaults change nothing.

    Attributes:
      crop_padding: Number of zero pixels added on each side before a random crop to the original size.
      flip: Flip each image horizontally with probability 1/2.
      rotation: Rotate each image about its centre by an angle drawn uniformly from -`rotation` to `rotation`, in
        degrees.
      cutout: Side in pixels of a square that is set to the mean. Its centre is uniform over the image (DeVries &
        Taylor, 2017, https://arxiv.org/abs/1708.04552).
    """

    crop_padding: int = number_field(0, at_least=0)
    flip: bool = False
    rotation: float = number_field(0.0, at_least=0.0, at_most=180.0)
    cutout: int = number_field(0, at_least=0)


def augment(
    augmentation: Augmentation,
    images: UInt8[Array, "batch height width channels"],
    seed: Count,
    step: Count,
    mean: Channels,
    std: Channels,
) -> Float[Array, "batch height width channels"]:
    """Returns the batch after crop, flip, rotation, normalisation and cutout, in this order.

    Args:
      augmentation: the operations to apply. It is static, so an operation that is switched off costs nothing.
      images: bytes, 0 to 255.
      seed: the seed of the run; may be traced.
      step: the training step for which random numbers are drawn; may be traced.
      mean: per channel, on the scale of 0 to 1.
      std: per channel, on the scale of 0 to 1.

    Returns:
      float32 images. The same seed and step give the same random numbers.
    """
    batch, height, width, _ = images.shape
    pixels = images.astype(jnp.float32)
    if augmentation.crop_padding:
        shape, span = (batch, 2), 2 * augmentation.crop_padding + 1
        offsets = jax.random.randint(key(seed, Purpose.CROP, step), shape, 0, span)
        pixels = _crop(pixels, offsets - augmentation.crop_padding)
    if augmentation.flip:
        pixels = _flip(pixels, jax.random.bernoulli(key(seed, Purpose.FLIP, step), 0.5, (batch,)))
    if augmentation.rotation:
        limit = jnp.deg2rad(augmentation.rotation)
        pixels = _rotate(pixels, jax.random.uniform(key(seed, Purpose.ROTATION, step), (batch,), None, -limit, limit))
    pixels = normalise(pixels, mean, std)
    if augmentation.cutout:
        size = jnp.asarray([height, width])
        centres = jax.random.randint(key(seed, Purpose.CUTOUT, step), (batch, 2), 0, size)
        pixels = _cutout(pixels, centres, augmentation.cutout)
    return pixels


def standardise(inputs: Float[Array, "batch ..."], mean: Channels, std: Channels) -> Float[Array, "batch ..."]:
    """Returns vectors or sequences whose features, or channels, have mean 0 and standard deviation 1.

    Args:
      inputs: numbers.
      mean: of each feature or channel.
      std: of each feature or channel; greater than 0.
    """
    return ((inputs - jnp.asarray(mean)) / jnp.asarray(std)).astype(jnp.float32)


def normalise(
    images: Num[Array, "batch height width channels"], mean: Channels, std: Channels
) -> Float[Array, "batch height width channels"]:
    """Returns `(images / 255 - mean) / std` in float32.

    Args:
      images: values from 0 to 255, bytes or floats.
      mean: per channel, on the scale of 0 to 1.
      std: per channel, on the scale of 0 to 1.
    """
    scaled = images.astype(jnp.float32) / 255
    return (scaled - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)


def denormalise(
    pixels: Float[Array, "batch height width channels"], mean: Channels, std: Channels
) -> UInt8[Array, "batch height width channels"]:
    """Returns normalised images as bytes: the inputs of `normalise`, or the nearest bytes for outputs of `augment`."""
    values = 255 * (pixels * jnp.asarray(std, jnp.float32) + jnp.asarray(mean, jnp.float32))
    return jnp.clip(jnp.round(values), 0, 255).astype(jnp.uint8)


def _crop(
    images: Float[Array, "batch height width channels"], shifts: Integer[Array, "batch 2"]
) -> Float[Array, "batch height width channels"]:
    """Returns windows with the size of the images and corners at `shifts`. Pixels outside the image are zero."""
    _, height, width, _ = images.shape
    rows = jnp.arange(height) + shifts[:, :1]
    columns = jnp.arange(width) + shifts[:, 1:]
    return _pixels_at(images, rows[:, :, None], columns[:, None, :])


def _flip(
    images: Float[Array, "batch height width channels"], chosen: Bool[Array, " batch"]
) -> Float[Array, "batch height width channels"]:
    return jnp.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def _rotate(
    images: Float[Array, "batch height width channels"], angles: Float[Array, " batch"]
) -> Float[Array, "batch height width channels"]:
    """Returns the images rotated about their centres by `angles` (radians), bilinear. Pixels outside are zero."""
    _, height, width, _ = images.shape
    y = jnp.arange(height)[:, None] - (height - 1) / 2
    x = jnp.arange(width)[None, :] - (width - 1) / 2
    cos, sin = jnp.cos(angles)[:, None, None], jnp.sin(angles)[:, None, None]
    return _bilinear(images, y * cos + x * sin + (height - 1) / 2, x * cos - y * sin + (width - 1) / 2)


def _bilinear(
    images: Float[Array, "batch height width channels"],
    y: Float[Array, "batch height width"],
    x: Float[Array, "batch height width"],
) -> Float[Array, "batch height width channels"]:
    """Returns the values of each image at the points (y, x), interpolated between the four nearest pixels."""
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    row, column = top.astype(jnp.int32), left.astype(jnp.int32)
    above = (1 - right) * _pixels_at(images, row, column) + right * _pixels_at(images, row, column + 1)
    below = (1 - right) * _pixels_at(images, row + 1, column) + right * _pixels_at(images, row + 1, column + 1)
    return (1 - down) * above + down * below


def _pixels_at(
    images: Float[Array, "batch height width channels"],
    rows: Integer[Array, "batch #height #width"],
    columns: Integer[Array, "batch #height #width"],
) -> Float[Array, "batch height width channels"]:
    """Returns the pixels of each image at (rows, columns), and zero outside the image."""
    _, height, width, channels = images.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    flat = jnp.where(inside, rows * width + columns, 0)
    read = jax.vmap(lambda image, index: image[index])(images.reshape(-1, height * width, channels), flat)
    return jnp.where(inside[..., None], read, 0)


def _cutout(
    images: Float[Array, "batch height width channels"], centres: Integer[Array, "batch 2"], side: int
) -> Float[Array, "batch height width channels"]:
    """Returns the images with a square of zeros around each centre, clipped at the border."""
    _, height, width, _ = images.shape
    first = centres - side // 2
    rows = jnp.arange(height) - first[:, :1]
    columns = jnp.arange(width) - first[:, 1:]
    hit_rows = (rows >= 0) & (rows < side)
    hit_columns = (columns >= 0) & (columns < side)
    hit = hit_rows[:, :, None] & hit_columns[:, None, :]
    return jnp.where(hit[..., None], 0, images)
