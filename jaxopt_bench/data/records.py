"""The prepared record files of a data set: where they lie, whether they are whole, and how they are decoded.

The layout is TFDS's own. TFDS itself is imported only where records are decoded; what else is asked of them is read
from their folder's `dataset_info.json`.
"""

from __future__ import annotations

import enum
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_bench.data.specs import SPLITS, DatasetSpec, Split, SplitName
from jaxopt_bench.errors import UserError

INFO = "dataset_info.json"
ARRAY_RECORD = "array_record"
_CHUNK = 4096  # records read at once


class State(enum.Enum):
    """What a version folder holds."""

    ABSENT = enum.auto()
    OTHER_FORMAT = enum.auto()  # TFRecord, as a rule: TFDS's default
    READY = enum.auto()


def data_directory(data_dir: Path | None) -> Path:
    """Returns `data_dir`, else the environment's TFDS_DATA_DIR, else TFDS's own default."""
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or Path("~", "tensorflow_datasets")
    return Path(chosen).expanduser()


def version_folder(spec: DatasetSpec, data_dir: Path) -> Path:
    """Returns the folder TFDS keeps this version of the data set in."""
    return data_dir / spec.name / spec.version


def state(folder: Path, spec: DatasetSpec) -> State:
    """Returns what `folder` holds.

    Raises:
      UserError: if it holds something that is neither nothing nor a whole data set.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        return State.ABSENT
    info = read_info(folder)
    if ARRAY_RECORD not in _formats(info):
        return State.OTHER_FORMAT
    for split in SPLITS:
        _check_split(folder, spec, split, shard_lengths(info, split))
    return State.READY


def shards(folder: Path, spec: DatasetSpec) -> dict[SplitName, list[Path]]:
    """Returns each split's ArrayRecord files in order."""
    info = read_info(folder)
    return {split: _shard_paths(folder, spec, split, len(shard_lengths(info, split))) for split in SPLITS}


def fingerprint(folder: Path, spec: DatasetSpec) -> dict[str, int]:
    """Returns the record files' names and sizes, by which a cache knows what it was made from."""
    return {path.name: path.stat().st_size for paths in shards(folder, spec).values() for path in paths}


def read_info(folder: Path) -> dict[str, Any]:
    """Returns the folder's `dataset_info.json`.

    Raises:
      UserError: if there is none, or it is damaged.
    """
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise broken(folder, f"it has no {INFO}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise broken(folder, f"{INFO} cannot be read ({error})") from error
    splits = info.get("splits") if isinstance(info, dict) else None
    if not isinstance(splits, list) or not all(map(_is_split, splits)):
        raise broken(folder, f"{INFO} lists no splits")
    return info


def shard_lengths(info: dict[str, Any], split: SplitName) -> list[int]:
    """Returns how many examples each record file of `split` has."""
    for entry in info["splits"]:
        if entry["name"] == split:
            return [int(length) for length in entry.get("shardLengths", [])]
    return []


def class_names(folder: Path) -> tuple[str, ...]:
    """Returns the names of the labels in order.

    Raises:
      UserError: if TFDS does not find them.
    """
    try:
        return tuple(_builder(folder).info.features["label"].names)
    except (KeyError, AttributeError, TypeError) as error:
        raise broken(folder, f"its labels have no names ({error})") from error


def decode(folder: Path, spec: DatasetSpec, split: SplitName) -> Split:
    """Returns the split's examples in record order, read and decoded in memory.

    Raises:
      UserError: if a record is damaged, or not an example of this data set.
    """
    import tensorflow_datasets as tfds

    builder = _builder(folder)
    images = np.empty((spec.examples(split), *spec.image_shape), np.uint8)
    labels = np.empty(spec.examples(split), np.int32)
    try:
        # The bytes are decoded below: TFDS's own decoding warns that OpenCV would be quicker, and takes as long.
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()}, file_format=ARRAY_RECORD)
        for start in range(0, len(labels), _CHUNK):
            indices = range(start, min(start + _CHUNK, len(labels)))
            for index, example in zip(indices, source.__getitems__(list(indices)), strict=True):
                images[index] = _decode_image(example["image"], spec)
                labels[index] = example["label"]
    except Exception as error:  # the readers raise whatever a damaged byte leads them to
        raise broken(folder, f"its {split} records cannot be decoded ({error})") from error
    if labels.min() < 0 or labels.max() >= spec.num_classes:
        raise broken(folder, f"its {split} split has labels from {labels.min()} to {labels.max()}")
    return Split(images, labels)


def broken(folder: Path, reason: str) -> UserError:
    """Returns the error for a folder that holds no whole data set."""
    name = folder.parent.name
    return UserError(
        f"{folder} does not hold the whole of {name}: {reason}. Remove this folder, then run "
        f"`jaxopt-bench data prepare {name}` again."
    )


def _builder(folder: Path) -> Any:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(
            f"{folder} has record files but no sound decoded arrays, and reading records needs a package that is not "
            f"installed here ({error}). Install tensorflow-datasets, array-record and pillow, or copy the folder from "
            f"a machine where `jaxopt-bench data prepare {folder.parent.name}` has run."
        ) from error
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # it raises whatever a damaged file leads it to
        raise broken(folder, f"TFDS cannot read it ({error})") from error


def _decode_image(encoded: bytes, spec: DatasetSpec) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(encoded))).reshape(spec.image_shape)


def _is_split(entry: Any) -> bool:
    """Returns whether an entry has a name, and lengths of files as TFDS writes them: integers as texts."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    lengths = entry.get("shardLengths", [])
    return isinstance(lengths, list) and all(re.fullmatch("[0-9]{1,12}", str(length)) for length in lengths)


def _formats(info: dict[str, Any]) -> list[Any]:
    others = info.get("alternativeFileFormats")
    return [info.get("fileFormat", "tfrecord"), *(others if isinstance(others, list) else ())]


def _check_split(folder: Path, spec: DatasetSpec, split: SplitName, lengths: list[int]) -> None:
    if sum(lengths) != spec.examples(split):
        raise broken(folder, f"its {split} split has {sum(lengths)} examples, not {spec.examples(split)}")
    for path in _shard_paths(folder, spec, split, len(lengths)):
        if not path.is_file():
            raise broken(folder, f"{path.name} is missing")


def _shard_paths(folder: Path, spec: DatasetSpec, split: SplitName, count: int) -> list[Path]:
    stem = f"{spec.name}-{split}.{ARRAY_RECORD}"
    return [folder / f"{stem}-{index:05d}-of-{count:05d}" for index in range(count)]
