"""Reads a user's arrays from a `.npz` file: images, vectors or sequences, each with a class."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_bench.data.user_files import UserData, check_labels, digest_of_file, split_or_shuffle
from jaxopt_bench.errors import UserError

_EXPECTED = (
    "Expected train_images, train_labels, test_images and test_labels; or images and labels, of which a part becomes "
    "the test split; or the same with inputs in place of images"
)


def read_npz(path: Path) -> UserData:
    """Returns the contents of a `.npz` file.

    Its arrays are `train_images`, `train_labels`, `test_images` and `test_labels`; or `images` and `labels`, of which
    the share `TEST_SHARE` becomes the test split. Images are bytes, [examples, height, width] or [examples, height,
    width, channels] with 1 or 3 channels. Instead of images, the file may have `inputs` (`train_inputs`,
    `test_inputs`): finite numbers, [examples, features] (vectors) or [examples, length, channels] (sequences). Labels
    are integers from 0 on. `class_names` is optional: one name for each label, in order.

    Raises:
      UserError: if the file cannot be read or an array is wrong. The message names the file, the array, and the
        expected form.
    """
    arrays = _read(path)
    kinds = [kind for kind in ("images", "inputs") if {kind, f"train_{kind}"} & arrays.keys()]
    if len(kinds) != 1:
        raise UserError(f"{path} contains the arrays {', '.join(arrays) or 'none'}. {_EXPECTED}.")
    kind = kinds[0]
    known = {f"{split}{name}" for split in ("", "train_", "test_") for name in (kind, "labels")} | {"class_names"}
    if others := sorted(arrays.keys() - known):
        raise UserError(f"{path} contains the array {others[0]!r}. {_EXPECTED}, and class_names.")
    parts = ("train_", "test_") if f"train_{kind}" in arrays else ("",)
    missing = [f"{part}{name}" for part in parts for name in (kind, "labels") if f"{part}{name}" not in arrays]
    if missing:
        raise UserError(f"{path} has no array {missing[0]!r} (it contains {', '.join(arrays)}). {_EXPECTED}.")
    read = [_inputs(arrays[f"{part}{kind}"], kind, f"{path}: {part}{kind}") for part in parts]
    labels = [check_labels(arrays[f"{part}labels"], f"{path}: {part}labels") for part in parts[:1]]
    labels += [_test_labels(arrays[f"{part}labels"], labels[0], f"{path}: {part}labels") for part in parts[1:]]
    for part, inputs, own in zip(parts, read, labels, strict=True):
        if len(inputs) != len(own):
            raise UserError(
                f"{path}: {part}{kind} has {len(inputs)} examples and {part}labels {len(own)}. Expected equal numbers."
            )
    if len(parts) == 2 and read[0].shape[1:] != read[1].shape[1:]:
        raise UserError(
            f"{path}: test_{kind} has the shape {list(read[1].shape)} and train_{kind} {list(read[0].shape)}. "
            "Expected shapes that differ in the number of examples only."
        )
    train, *tests = zip(read, labels, strict=True)
    train, test = split_or_shuffle(train, tests[0] if tests else None, path)
    count = int(labels[0].max()) + 1
    return UserData(
        kind="images" if kind == "images" else "vectors" if read[0].ndim == 2 else "sequences",
        train=train,
        test=test,
        class_names=_class_names(arrays, count, path),
        digest=digest_of_file(path),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise UserError(f"{path} contains one array without a name. Expected a .npz file.")
        with opened as file:
            found: dict[str, Any] = {}
            for name in file.files:
                try:
                    found[name] = file[name]
                except ValueError as error:
                    raise UserError(f"{path}: {name} cannot be read: {error} Expected an array of numbers.") from error
            return found
    except UserError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(
            f"{path} is damaged or not a .npz file: {error}. Expected a file written by numpy.savez."
        ) from error


def _inputs(array: np.ndarray, kind: str, where: str) -> np.ndarray:
    """Returns images as bytes with channels, or other inputs as float32.

    Raises:
      UserError: if an array has another type or shape, or a number is not finite.
    """
    if kind == "images":
        images = array[..., None] if array.ndim == 3 else array
        if array.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            hint = " For vectors and sequences, use the name inputs instead of images." if array.ndim in (2, 3) else ""
            raise UserError(
                f"{where} is an array of {array.dtype} of shape {list(array.shape)}. Expected uint8 of shape "
                f"[examples, height, width] or [examples, height, width, channels] with 1 or 3 channels.{hint}"
            )
        return np.ascontiguousarray(images)
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3) or 0 in array.shape[1:]:
        raise UserError(
            f"{where} is an array of {array.dtype} of shape {list(array.shape)}. Expected numbers of shape [examples, "
            "features] or [examples, length, channels]."
        )
    converted = array.astype(np.float32)
    for index in np.argwhere(~np.isfinite(converted))[:1]:
        position = ", ".join(map(str, index))
        raise UserError(f"{where}[{position}] is {array[tuple(index)]}. Expected finite numbers.")
    return converted


def _test_labels(labels: np.ndarray, train: np.ndarray, where: str) -> np.ndarray:
    largest = int(train.max())
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise UserError(
            f"{where} is an array of {labels.dtype} of shape {list(labels.shape)}. Expected integers of shape "
            "[examples]."
        )
    for index in np.flatnonzero((labels < 0) | (labels > largest))[:1]:
        raise UserError(f"{where}[{index}] is {labels[index]}. Expected 0 to {largest}, the classes of train_labels.")
    return labels.astype(np.int32)


def _class_names(arrays: Mapping[str, np.ndarray], count: int, path: Path) -> tuple[str, ...]:
    if "class_names" not in arrays:
        return tuple(map(str, range(count)))
    names = tuple(map(str, arrays["class_names"].ravel()))
    if len(names) != count or len(set(names)) != count:
        raise UserError(
            f"{path}: class_names has {len(set(names))} different names. Expected {count}, one for each label."
        )
    return names
