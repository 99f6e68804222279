"""The prepared record files of a data set: their paths, a check that they are complete, and their decoding.

The folder has the layout of TFDS, but TFDS does not open it: TFDS would import the modules that `features.json` names,
and a folder may come from an unknown source. This module uses only the message type of TFDS for records. It reads the
small files of the folder as JSON and text, and decodes images as PNG or JPEG only.
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

from jaxopt_bench.data.idx import IDX_DATASETS
from jaxopt_bench.data.specs import DATASET_SPLITS, DatasetSpec, Split, SplitName
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import open_regular

INFO = "dataset_info.json"
FEATURES = "features.json"
ARRAY_RECORD = "array_record"
_LABEL_NAMES = "label.labels.txt"
_CHUNK = 4096  # records read at once
_LARGEST_FILE = 16 << 20  # bytes, of the small files; those of CIFAR-100 have less than 3 KiB
_IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
_LABEL = "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
_FEATURE_CLASSES = {
    _IMAGE,
    _LABEL,
    "tensorflow_datasets.core.features.bounding_boxes.BBoxFeature",
    "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "tensorflow_datasets.core.features.scalar.Scalar",
    "tensorflow_datasets.core.features.sequence_feature.Sequence",
    "tensorflow_datasets.core.features.tensor_feature.Tensor",
    "tensorflow_datasets.core.features.text_feature.Text",
}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's names, by the number of channels


class State(enum.Enum):
    """The state of a version folder."""

    ABSENT = enum.auto()
    OTHER_FORMAT = enum.auto()  # usually TFRecord, the default of TFDS
    READY = enum.auto()


def data_directory(data_dir: Path | None) -> Path:
    """Returns `data_dir`, else the environment variable TFDS_DATA_DIR, else the default of TFDS.

    Raises:
      UserError: if neither is given and there is no home folder, or if the path is not text in UTF-8.
    """
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR")
    if chosen:
        if any("\ud800" <= character <= "\udfff" for character in str(chosen)):  # ArrayRecord accepts no such paths
            raise UserError(f"the data directory {str(chosen)!a} is not UTF-8 text. Expected a path in UTF-8.")
        return Path(os.path.abspath(expand_home(Path(chosen))))
    try:
        return Path.home() / "tensorflow_datasets"
    except RuntimeError as error:
        raise UserError(
            "data sets cannot be stored, because there is no home folder. Set HOME, or name a folder with --data-dir "
            "or in the environment variable TFDS_DATA_DIR."
        ) from error


def expand_home(path: Path) -> Path:
    """Returns a path in which a leading `~` or `~user` is replaced by the home folder, if it exists."""
    try:
        return path.expanduser()
    except RuntimeError:  # only a name that begins with `~`, or a user without a home folder
        return path


def version_folder(spec: DatasetSpec, data_dir: Path) -> Path:
    """Returns the folder in which TFDS keeps this version of the data set."""
    return data_dir / spec.name / spec.version


def state(folder: Path, spec: DatasetSpec) -> State:
    """Returns the state of `folder`. Files that do not belong to a data set are ignored.

    Raises:
      UserError: if the data set is incomplete or damaged, or the folder cannot be read (caused by an OSError).
    """
    try:
        if not folder.is_dir() or not any(_belongs(path.name, spec) for path in folder.iterdir()):
            return State.ABSENT
        info = read_info(folder)
        others = info.get("alternativeFileFormats")
        if ARRAY_RECORD not in (info.get("fileFormat", "tfrecord"), *(others if isinstance(others, list) else ())):
            return State.OTHER_FORMAT
        for split in DATASET_SPLITS:
            _check_split(folder, spec, split, shard_lengths(info, split))
    except OSError as error:
        raise UserError(
            f"{folder} cannot be read: {error}. Name another data directory with --data-dir or in the environment "
            f"variable TFDS_DATA_DIR."
        ) from error
    return State.READY


def _belongs(name: str, spec: DatasetSpec) -> bool:
    """Returns whether a file of this name in a version folder is part of the data set."""
    return name in (INFO, FEATURES) or name.endswith(".labels.txt") or name.startswith(f"{spec.name}-")


def shards(folder: Path, spec: DatasetSpec) -> dict[SplitName, list[Path]]:
    """Returns the ArrayRecord files of each split, in order."""
    info = read_info(folder)
    return {split: _shard_paths(folder, spec, split, len(shard_lengths(info, split))) for split in DATASET_SPLITS}


def fingerprint(folder: Path, spec: DatasetSpec) -> dict[str, int]:
    """Returns the names and sizes of the record files. A cache compares them with those it was made from."""
    return {path.name: path.stat().st_size for paths in shards(folder, spec).values() for path in paths}


def read_info(folder: Path) -> dict[str, Any]:
    """Returns the content of the folder's `dataset_info.json`.

    Raises:
      UserError: if the file does not exist or is damaged.
    """
    info = _read_json(folder, INFO)
    splits = info.get("splits") if isinstance(info, dict) else None
    if not isinstance(splits, list) or not all(map(_is_split, splits)):
        raise broken(folder, f"{INFO} lists no splits")
    return info


def shard_lengths(info: dict[str, Any], split: SplitName) -> list[int]:
    """Returns the number of examples in each record file of `split`."""
    for entry in info["splits"]:
        if entry["name"] == split:
            return [int(length) for length in entry.get("shardLengths", [])]
    return []


def class_names(folder: Path, spec: DatasetSpec) -> tuple[str, ...]:
    """Returns the names of the labels in order, or their numbers if the data set has no names for them.

    Raises:
      UserError: if `features.json` describes something other than images with labels, or the names do not match the
        number of classes.
    """
    _check_features(folder)
    content = _read(folder, _LABEL_NAMES)
    if content is None:
        return tuple(map(str, range(spec.num_classes)))
    try:
        names = [name.strip() for name in content.decode().split("\n") if name.strip()]
    except UnicodeDecodeError as error:
        raise broken(folder, f"{_LABEL_NAMES} is not text ({error})") from error
    if len(names) != spec.num_classes or len(set(names)) != spec.num_classes:
        raise broken(folder, f"{_LABEL_NAMES} has {len(set(names))} different names, not {spec.num_classes}")
    return tuple(names)


def decode(folder: Path, spec: DatasetSpec, split: SplitName) -> Split:
    """Returns the examples of a split in record order. They are decoded in memory.

    Raises:
      UserError: if a record is damaged or is not an example of this data set, or if a required package is missing.
    """
    try:
        from array_record.python.array_record_data_source import ArrayRecordDataSource
        from tensorflow_datasets.proto import tf_example_pb2
    except ImportError as error:
        raise UserError(
            f"{folder} has record files but no intact decoded arrays, and reading records needs a package that is not "
            f"installed here ({error}). Install tensorflow-datasets, array-record and pillow, or copy the folder from "
            f"a machine where `jaxopt-bench data prepare {folder.parent.name}` has run."
        ) from error
    _check_features(folder)
    images = np.empty((spec.examples(split), *spec.shape), np.uint8)
    labels = np.empty(spec.examples(split), np.int32)
    try:
        with ArrayRecordDataSource([str(path) for path in shards(folder, spec)[split]]) as source:
            if len(source) != len(labels):
                raise ValueError(f"{len(source)} records, not {len(labels)}")
            for start in range(0, len(labels), _CHUNK):
                indices = range(start, min(start + _CHUNK, len(labels)))
                for index, record in zip(indices, source.__getitems__(list(indices)), strict=True):
                    features = tf_example_pb2.Example.FromString(record).features.feature
                    (encoded,), (labels[index],) = (
                        features["image"].bytes_list.value,
                        features["label"].int64_list.value,
                    )
                    images[index] = _decode_image(encoded, spec)
    except Exception as error:  # damaged bytes can cause any exception in the readers
        raise broken(folder, f"its {split} records cannot be decoded ({error})") from error
    if labels.min() < 0 or labels.max() >= spec.num_classes:
        raise broken(folder, f"its {split} split has labels from {labels.min()} to {labels.max()}")
    return Split(images, labels)


def broken(folder: Path, reason: str) -> UserError:
    """Returns the error for a folder without a complete data set."""
    name = folder.parent.name
    return UserError(
        f"{folder} does not contain a complete {name}: {reason}. Remove this folder or move it away, then run "
        f"`jaxopt-bench data prepare {name}{' --from FOLDER' if name in IDX_DATASETS else ''}` again."
    )


def _check_features(folder: Path) -> None:
    """Checks that the features are an image and a label, and that all feature classes are usual classes of TFDS.

    TFDS imports the modules of the classes that a folder names. This function imports nothing. The record format of
    other classes is unknown, and a folder with such classes is not safe to open with TFDS.

    Raises:
      UserError: if the features do not satisfy this.
    """
    tree = _read_json(folder, FEATURES)
    pending: list[Any] = [tree]
    names: set[str] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            # old versions of TFDS use "type"
            names |= {value[key] for key in ("pythonClassName", "type") if isinstance(value.get(key), str)}
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    for name in sorted(names - _FEATURE_CLASSES):
        raise broken(
            folder, f"{FEATURES} names the class {shortened(name, 100)}, which is not one of those that are read"
        )
    try:
        features = tree["featuresDict"]["features"] if "featuresDict" in tree else tree["content"]
        found = tuple(features[name].get("pythonClassName", features[name].get("type")) for name in ("image", "label"))
    except (KeyError, TypeError, AttributeError) as error:
        raise broken(folder, f"{FEATURES} does not describe an image and a label") from error
    if found != (_IMAGE, _LABEL):
        raise broken(folder, f"{FEATURES} does not describe an image and a label, but {shortened(found, 200)}")


def _read_json(folder: Path, name: str) -> Any:
    content = _read(folder, name)
    if content is None:
        raise broken(folder, f"it has no {name}")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise broken(folder, f"{name} cannot be read ({error})") from error


def _read(folder: Path, name: str) -> bytes | None:
    """Returns the content of a small file of the folder, or None if the file does not exist."""
    try:
        with open_regular(folder / name) as file:
            content = file.read(_LARGEST_FILE + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise broken(folder, f"{name} cannot be read ({error})") from error
    if len(content) > _LARGEST_FILE:
        raise broken(folder, f"{name} has more than {_LARGEST_FILE} bytes")
    return content


def _decode_image(encoded: bytes, spec: DatasetSpec) -> np.ndarray:
    from PIL import Image

    height, width, channels = spec.shape
    # Pillow reads some of the other formats with external programs (EPS with Ghostscript).
    with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
        if image.size != (width, height) or image.mode != _MODES.get(channels):
            raise ValueError(f"an image is {image.size} {image.mode}, not {(width, height)} {_MODES.get(channels)}")
        return np.asarray(image).reshape(spec.shape)


def _is_split(entry: Any) -> bool:
    """Returns whether an entry has a name, and file lengths in the form of TFDS: integers written as texts."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return False
    lengths = entry.get("shardLengths", [])
    return isinstance(lengths, list) and all(re.fullmatch("[0-9]{1,12}", str(length)) for length in lengths)


def _check_split(folder: Path, spec: DatasetSpec, split: SplitName, lengths: list[int]) -> None:
    if sum(lengths) != spec.examples(split):
        raise broken(folder, f"its {split} split has {sum(lengths)} examples, not {spec.examples(split)}")
    for path in _shard_paths(folder, spec, split, len(lengths)):
        if not path.is_file():
            raise broken(folder, f"{path.name} is missing")


def _shard_paths(folder: Path, spec: DatasetSpec, split: SplitName, count: int) -> list[Path]:
    stem = f"{spec.name}-{split}.{ARRAY_RECORD}"
    return [folder / f"{stem}-{index:05d}-of-{count:05d}" for index in range(count)]
