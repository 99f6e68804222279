"""Loads and prepares data sets by name: record files of TFDS on disk, decoded once and then memory-mapped.

TFDS and its dependencies are imported only if a data set must be prepared or decoded.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from jaxopt_bench.data import cache, records
from jaxopt_bench.data.archives import LAYOUTS
from jaxopt_bench.data.idx import ACCEPTED, IDX_DATASETS
from jaxopt_bench.data.specs import (
    DATASET_SPLITS,
    DATASETS,
    GENERATED,
    PACKAGED,
    DatasetSpec,
    Split,
    SplitName,
    dataset,
    feature_mean_and_std,
    train_validation,
)
from jaxopt_bench.errors import UserError, unknown_name

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetSpec",
    "Split",
    "dataset",
    "is_prepared",
    "load",
    "prepare",
    "train_validation",
]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that is ready to be read.

    Attributes:
      spec: the properties that are known from its name.
      class_names: the names of the labels, in order.
      mean: of the whole train split: for images per channel and on the scale of 0 to 1, for numbers see
        `feature_mean_and_std`.
      std: the standard deviation, in the same form.
    """

    spec: DatasetSpec
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    _open: Callable[[SplitName], Split] = dataclasses.field(repr=False)

    def split(self, name: SplitName) -> Split:
        """Returns the split `name`, "train" or "test". Its files are opened at the first call.

        Raises:
          UserError: if there is no such split.
        """
        if name not in DATASET_SPLITS:
            raise unknown_name("split", name, DATASET_SPLITS)
        return self._open(name)


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """Returns the data set called `name`. The first call decodes its records.

    `digits` is prepared if it does not exist yet, and `mnist1d` is generated. The other data sets must be prepared
    before, with this module or by TFDS as ArrayRecord.

    Args:
      name: a name in `DATASETS`.
      data_dir: TFDS's data directory; None means the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
      UserError: if there is no such data set, it is not prepared (the message says how to prepare it), or it is
        damaged.
    """
    spec = dataset(name)
    if name in GENERATED:
        return _generate(spec)
    if name in PACKAGED:
        return _open_dataset(spec, _prepare_packaged(spec, data_dir))
    folder = records.version_folder(spec, records.data_directory(data_dir))
    state = records.state(folder, spec)
    if state is records.State.ABSENT:
        raise UserError(f"{name} is not in {folder}. {_ways(name)}")
    if state is records.State.OTHER_FORMAT:
        raise UserError(
            f"{folder} contains {name} in a format that cannot be read without TensorFlow (no ArrayRecord files). "
            f"Add ArrayRecord files to it. {_ways(name)} Or, if TensorFlow and apache-beam are installed: "
            f"`python -m tensorflow_datasets.scripts.convert_format --dataset_version_dir={folder} "
            f"--out_file_format=array_record`."
        )
    return _open_dataset(spec, folder)


def prepare(name: str, source: Path | None = None, data_dir: Path | None = None) -> Path:
    """Prepares a data set, and returns its version folder, which contains the record files and the decoded arrays.

    If the data set already exists and is complete, it is not changed, and `source` is not read. To prepare it again,
    remove the folder first. If a folder contains the data set as TFRecord, these files are kept, and ArrayRecord files
    are added.

    Args:
      name: a name in `DATASETS`.
      source: the official archive (`cifar-100-binary.tar.gz`, or the Python version) or its unpacked folder; for MNIST
        and Fashion-MNIST the folder of the official files, which must be given. None downloads CIFAR-10 and CIFAR-100;
        for `digits` it must be None.
      data_dir: TFDS's data directory; None means the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Raises:
      UserError: if there is no such data set, it is generated, or it needs a source; if the source does not exist or is
        not complete; if the download fails (within 10 seconds if there is no connection); or if the folder cannot be
        written, or contains another file with the name of a file to write.
    """
    spec = dataset(name)
    if name in GENERATED:
        raise UserError(f"{name} is generated when it is used. Expected a data set that must be prepared.")
    if name not in LAYOUTS and name not in PACKAGED and name not in IDX_DATASETS:
        raise UserError(f"{name} cannot be prepared here. {_ways(name)}")
    directory = records.data_directory(data_dir)
    source = None if source is None else records.expand_home(source)
    if name in IDX_DATASETS and source is None and not is_prepared(name, data_dir):
        raise UserError(f"{name} is not downloaded by this program. {_ways(name)}")
    if name in LAYOUTS and source is not None and not source.exists():
        raise UserError(f"{source} does not exist. Expected {LAYOUTS[name].accepted}.")
    folder = _prepare_records(spec, source, directory)
    _open_dataset(spec, folder)
    return folder


def is_prepared(name: str, data_dir: Path | None = None) -> bool:
    """Returns whether the record files of a data set are complete, or the data set is generated.

    Raises:
      UserError: if there is no such data set, or its folder contains only a part of it.
    """
    spec = dataset(name)
    if name in GENERATED:
        return True
    folder = records.version_folder(spec, records.data_directory(data_dir))
    return records.state(folder, spec) is records.State.READY


def _generate(spec: DatasetSpec) -> Dataset:
    from jaxopt_bench.data import mnist1d  # the import of SciPy's filters takes a second

    def open_split(name: SplitName) -> Split:
        sequences, labels = mnist1d.generate()
        part = slice(None, spec.train_examples) if name == "train" else slice(spec.train_examples, None)
        return Split(sequences[part, :, None], labels[part])

    return Dataset(
        spec, tuple(map(str, range(spec.num_classes))), *feature_mean_and_std(open_split("train").inputs), open_split
    )


def _prepare_packaged(spec: DatasetSpec, data_dir: Path | None) -> Path:
    """Returns the version folder of a packaged data set. It is a temporary folder if no other can be written."""
    try:
        return _prepare_records(spec, None, records.data_directory(data_dir))
    except UserError as error:
        if not isinstance(error.__cause__, (OSError, RuntimeError)):  # the file system, or no home folder
            raise
        return _prepare_records(spec, None, _temporary_directory(spec, str(error)))


@functools.cache
def _temporary_directory(spec: DatasetSpec, reason: str) -> Path:
    """Returns a data directory that is removed when the program ends, and warns about it once."""
    warnings.warn(
        f"{reason} Now {spec.name} is prepared in a temporary folder, which is removed when the program ends.",
        stacklevel=4,
    )
    _temporary.append(tempfile.TemporaryDirectory(prefix="jaxopt-bench-"))
    return Path(_temporary[-1].name)


_temporary: list[tempfile.TemporaryDirectory[str]] = []  # kept, since each folder is removed with its object


def _prepare_records(spec: DatasetSpec, source: Path | None, directory: Path) -> Path:
    from jaxopt_bench.data.preparation import prepare_records

    return prepare_records(spec, source, directory)


def _open_dataset(spec: DatasetSpec, folder: Path) -> Dataset:
    decode = functools.cache(functools.partial(records.decode, folder, spec))
    try:
        manifest = _read_or_build_cache(spec, folder)
    except OSError as error:
        warnings.warn(
            f"the decoded arrays cannot be kept in {folder / cache.FOLDER} ({error}), so the records are decoded again "
            f"each time. To avoid that, name a data directory that can be written (--data-dir or TFDS_DATA_DIR). If "
            f"the reason is another file, rename that file.",
            stacklevel=3,
        )
        return Dataset(spec, records.class_names(folder, spec), *cache.mean_and_std(decode("train").inputs), decode)
    opened = functools.cache(functools.partial(_open_cached, spec, folder))
    return Dataset(spec, manifest.class_names, manifest.mean, manifest.std, opened)


def _read_or_build_cache(spec: DatasetSpec, folder: Path) -> cache.Manifest:
    """Returns the manifest of the cache. The cache is built if there is none, or if it cannot be used."""
    try:
        manifest = cache.read(folder / cache.FOLDER, spec, records.fingerprint(folder, spec))
    except cache.UnsoundCacheError as error:
        return _rebuild(spec, folder, str(error))
    return manifest or _build(spec, folder)


def _open_cached(spec: DatasetSpec, folder: Path, split: SplitName) -> Split:
    try:
        return cache.open_split(folder / cache.FOLDER, _read_or_build_cache(spec, folder), spec, split)
    except cache.UnsoundCacheError as error:
        try:
            return cache.open_split(folder / cache.FOLDER, _rebuild(spec, folder, str(error)), spec, split)
        except OSError:  # the damaged cache cannot be replaced
            return records.decode(folder, spec, split)


def _rebuild(spec: DatasetSpec, folder: Path, reason: str) -> cache.Manifest:
    warnings.warn(f"{reason}; the arrays are decoded again from the record files.", stacklevel=2)
    return _build(spec, folder)


def _build(spec: DatasetSpec, folder: Path) -> cache.Manifest:
    names, fingerprint = records.class_names(folder, spec), records.fingerprint(folder, spec)
    return cache.write(folder / cache.FOLDER, names, fingerprint, functools.partial(records.decode, folder, spec))


def _ways(name: str) -> str:
    """Returns a text that says how to get a data set."""
    if name in LAYOUTS:
        ways = (
            f"`jaxopt-bench data prepare {name}` downloads it; `jaxopt-bench data prepare {name} --from PATH` "
            f"reads the official {LAYOUTS[name].archive}, {LAYOUTS[name].python_archive} or the folder they unpack to."
        )
    elif name in IDX_DATASETS:
        ways = f"`jaxopt-bench data prepare {name} --from FOLDER` reads {ACCEPTED}."
    else:
        ways = f"`tfds build {name} --file_format=array_record` prepares it, if TensorFlow is installed."
    return (
        f"{ways} If it is in another place, name the data directory with --data-dir or in the environment variable "
        f"TFDS_DATA_DIR."
    )
