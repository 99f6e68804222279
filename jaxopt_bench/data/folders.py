"""Reads a user's images from a folder with a subfolder for each class, and caches the decoded images."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from jaxopt_bench.data.specs import DATASET_SPLITS
from jaxopt_bench.data.user_files import UserData, split_or_shuffle
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import SYSTEM_FILES, cache_folder, read_regular, sha256_of_file, temporary_name

_SUFFIXES = (".png", ".jpg", ".jpeg")
_FORMAT = 1
_INFO = "images.json"
_EXPECTED = "Expected a folder for each class with PNG or JPEG images in it, or such folders in train/ and test/"


def read_folder(folder: Path, resize: tuple[int, int] | None = None) -> UserData:
    """Returns the images of a folder and their classes. The names of the subfolders are the class names.

    The first call decodes all images. The arrays are kept in the user's cache until a file changes.

    Args:
      folder: a folder with a subfolder for each class; or with the subfolders `train` and `test`, which each have a
        subfolder for each class.
      resize: height and width to which images are scaled (bilinear); None if all images already have the same size.

    Raises:
      UserError: if a file cannot be decoded, has a size different from the others, or is in a place for folders. The
        message names the file.
    """
    files = _files(folder)
    images, labels, info = _load_or_decode(folder, files, resize)
    count = sum(split == "train" for split, _, _ in files)  # the files of train come first
    given = (images[count:], labels[count:]) if count < len(labels) else None
    train, test = split_or_shuffle((images[:count], labels[:count]), given, folder)
    return UserData("images", train, test, tuple(info["class_names"]), info["digest"])


def _files(folder: Path) -> list[tuple[str, str, Path]]:
    """Returns the split, the class and the path of each image: the training images first, sorted by class and name.

    Raises:
      UserError: if there is no image, only one class, or a file in place of a folder.
    """
    names = {entry.name for entry in _entries(folder)}
    is_divided = names == set(DATASET_SPLITS)
    splits = {split: folder / split for split in DATASET_SPLITS} if is_divided else {"train": folder}
    found: list[tuple[str, str, Path]] = []
    classes: dict[str, list[str]] = {}
    for split, root in splits.items():
        classes[split] = []
        for entry in sorted(_entries(root), key=lambda entry: entry.name):
            if not entry.is_dir():
                raise UserError(f"{entry.path} is not a folder. {_EXPECTED}.")
            inside = sorted(_entries(Path(entry.path)), key=lambda image: image.name)
            images = [
                Path(image.path) for image in inside if image.name.lower().endswith(_SUFFIXES) and image.is_file()
            ]
            if not images:
                raise UserError(f"{entry.path} contains no PNG or JPEG image. {_EXPECTED}.")
            classes[split].append(entry.name)
            found += [(split, entry.name, path) for path in images]
    if len(classes["train"]) < 2:
        raise UserError(
            f"{splits['train']} contains {len(classes['train'])} folders of images "
            f"({', '.join(classes['train']) or 'none'}). Expected at least two, one for each class."
        )
    if unknown := sorted(set(classes.get("test", [])) - set(classes["train"])):
        raise UserError(
            f"{splits['test'] / unknown[0]} is not a class in {splits['train']}. Expected the same classes."
        )
    return found


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yields the entries of a folder, except hidden files and files that operating systems create."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and not SYSTEM_FILES.fullmatch(entry.name):
                    yield entry
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error}. {_EXPECTED}.") from error


def _load_or_decode(
    folder: Path, files: list[tuple[str, str, Path]], resize: tuple[int, int] | None
) -> tuple[UInt8[np.ndarray, "examples height width channels"], Int32[np.ndarray, " examples"], dict[str, Any]]:
    """Returns the decoded images, their labels, and a dictionary with the class names and the content digest."""
    cached = _cache_path(folder, resize)
    state = [[str(path.relative_to(folder)), (found := path.stat()).st_size, found.st_mtime_ns] for _, _, path in files]
    if cached is not None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, UserError):  # absent or damaged
            return _open(cached, state)
    images, digest = _decode(folder, [path for _, _, path in files], resize)
    class_names = sorted({name for _, name, _ in files})
    labels = np.array([class_names.index(name) for _, name, _ in files], np.int32)
    info = {"format": _FORMAT, "files": state, "class_names": class_names, "digest": digest}
    if cached is not None:
        with contextlib.suppress(OSError):  # if they are not cached, the next call decodes them again
            _write(cached, images, labels, info)
            return _open(cached, state)
    return images, labels, info


def _cache_path(folder: Path, resize: tuple[int, int] | None) -> Path | None:
    """Returns the path of the decoded images of a folder; None if there is no cache."""
    with contextlib.suppress(RuntimeError):  # the user has no home folder
        root = cache_folder()
        if root is not None:
            name = hashlib.sha256(f"{folder.resolve()} {resize}".encode()).hexdigest()[:24]
            return root / "images" / name
    return None


def _open(cached: Path, state: list[list[Any]]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Returns the cached images and labels, memory-mapped, and their description.

    Raises:
      ValueError: if they were made from other files, or a file differs from its checksum.
    """
    info = json.loads(read_regular(cached / _INFO))
    if info["format"] != _FORMAT or info["files"] != state:
        raise ValueError("other files")
    for name in ("images.npy", "labels.npy"):
        if sha256_of_file(cached / name) != info["sha256"][name]:
            raise ValueError(f"{name} differs from its checksum")
    images, labels = (np.lib.format.open_memmap(cached / name, mode="r") for name in ("images.npy", "labels.npy"))
    return images, labels, info


def _write(cached: Path, images: np.ndarray, labels: np.ndarray, info: dict[str, Any]) -> None:
    """Writes a folder under a temporary name next to its final path, and then renames it."""
    cached.parent.mkdir(parents=True, exist_ok=True)
    beside = cached.parent / temporary_name()
    beside.mkdir()
    try:
        sums = {}
        for name, array in (("images.npy", images), ("labels.npy", labels)):
            np.save(beside / name, array)
            sums[name] = sha256_of_file(beside / name)
        (beside / _INFO).write_text(json.dumps({**info, "sha256": sums}))
        if cached.exists():
            cached.rename(old := cached.parent / temporary_name())
            shutil.rmtree(old, ignore_errors=True)
        beside.rename(cached)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _decode(
    folder: Path, paths: list[Path], resize: tuple[int, int] | None
) -> tuple[UInt8[np.ndarray, "examples height width channels"], str]:
    """Returns all images, with one channel if all are grey, and the digest of the names and contents of the files."""
    digest = hashlib.sha256(json.dumps(resize).encode())
    decoded: list[np.ndarray] = []
    for path in paths:
        try:
            content = read_regular(path)
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error}.") from error
        digest.update(f"{path.relative_to(folder).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
        decoded.append(_decode_image(path, content, resize))
        if decoded[-1].shape[:2] != decoded[0].shape[:2]:
            (height, width), (first_height, first_width) = decoded[-1].shape[:2], decoded[0].shape[:2]
            raise UserError(
                f"{path} has {height} × {width} pixels, and {paths[0]} has {first_height} × {first_width}. Expected "
                "images of one size, or --resize HEIGHT WIDTH."
            )
    if any(image.shape[-1] == 3 for image in decoded):
        decoded = [np.broadcast_to(image, (*image.shape[:2], 3)) for image in decoded]
    return np.stack(decoded), digest.hexdigest()[:12]


def _decode_image(
    path: Path, content: bytes, resize: tuple[int, int] | None
) -> UInt8[np.ndarray, "height width channels"]:
    """Returns an image as bytes, with one channel if it is grey, else three. Transparency is removed.

    Raises:
      UserError: if it is not a valid image with 8 bits per channel.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Pillow reads some of the other formats with external programs (EPS with Ghostscript).
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as opened:
            if opened.mode.startswith(("I", "F")):
                raise UserError(f"{path} has more than 8 bits a channel. Expected an image of 8 bits a channel.")
            upright = ImageOps.exif_transpose(opened)
            image = upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB")
            if resize is not None:
                image = image.resize((resize[1], resize[0]), Image.Resampling.BILINEAR)
            array = np.asarray(image)
    except UnidentifiedImageError as error:
        raise UserError(f"{path} cannot be decoded: it is not an image. Expected a PNG or JPEG image.") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} cannot be decoded: {error}. Expected a PNG or JPEG image.") from error
    return array[..., None] if array.ndim == 2 else array
