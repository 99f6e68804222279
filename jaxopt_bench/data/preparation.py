"""Writes the record files of a data set to the data directory, after a check of the source, and replaces no file.

TFDS writes to a new temporary folder and has no access to the rest of the data directory. Then the files are moved to
names that do not exist yet. Only `dataset_info.json` may be replaced, to add another format to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxopt_bench.data import records
from jaxopt_bench.data.archives import LAYOUTS, Contents, Examples, read_cifar
from jaxopt_bench.data.idx import IDX_DATASETS, read_idx
from jaxopt_bench.data.specs import DATASET_SPLITS, PACKAGED, DatasetSpec, SplitName
from jaxopt_bench.errors import UserError
from jaxopt_bench.files import TEMPORARY, replacing, temporary_name

_LOCK = "in-use"  # the file that marks a temporary folder of this program; it is locked during use
_DIGITS = Path(__file__).parent / "digits" / "digits.npz"


def prepare_records(spec: DatasetSpec, source: Path | None, data_dir: Path) -> Path:
    """Writes the record files if they do not exist yet, and returns the version folder.

    If the record files exist and are complete, nothing is read or written, even if a source is given. If the folder
    contains the data set in another format (TFRecord), ArrayRecord files are added to it and listed in its
    `dataset_info.json` as an alternative format, like TFDS's own `convert_format` does. No file is removed.

    Args:
      spec: the data set.
      source: the official archive or its unpacked folder; None downloads it.
      data_dir: the data directory of TFDS.

    Raises:
      UserError: if the source is invalid, the download fails, or the folder cannot be written or contains another file
        with the name of a file to write.
    """
    folder = records.version_folder(spec, data_dir)
    state = records.state(folder, spec)
    if state is records.State.READY:
        return folder
    contents = _contents(spec, source, data_dir)
    try:
        with _staging(folder if folder.is_dir() else folder.parent) as staging:
            _write(spec, contents, staging)
            made = records.version_folder(spec, staging)
            if state is records.State.OTHER_FORMAT:
                _add_array_records(spec, made, folder)
            elif folder.is_dir():  # empty, or with files that do not belong to a data set
                _add_files(made, folder)
            else:
                made.rename(folder)
    except OSError as error:
        if records.state(folder, spec) is not records.State.READY:  # another process may have written it
            raise UserError(
                f"cannot write {spec.name} to {folder}: {error}. Name another data directory with --data-dir or in the "
                f"environment variable TFDS_DATA_DIR."
            ) from error
    return folder


@contextlib.contextmanager
def _staging(parent: Path) -> Iterator[Path]:
    """Creates a temporary folder and removes it at the end; also removes temporary folders of killed processes."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if TEMPORARY.fullmatch(left.name) and left.is_dir() and not left.is_symlink():
            _remove_leftover(left)
    folder = parent / temporary_name()
    folder.mkdir()
    try:
        with open(folder / temporary_name(), "xb") as lock:
            with contextlib.suppress(OSError):  # the file system has no locks
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(lock.name, folder / _LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_leftover(folder: Path) -> None:
    """Removes a temporary folder of this program, unless a process is using it."""
    path = folder / _LOCK
    with contextlib.suppress(OSError):
        if path.is_file() and not path.is_symlink():
            with open(path, "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _contents(spec: DatasetSpec, source: Path | None, data_dir: Path) -> Contents:
    if spec.name in PACKAGED:
        if source is not None:
            raise UserError(f"--from {source}: {spec.name} comes with this package. Expected no --from.")
        return _read_digits()
    if spec.name in IDX_DATASETS:
        assert source is not None, "it is not downloaded"
        return read_idx(source, spec)
    if source is None:
        from jaxopt_bench.data.download import fetch

        source = fetch(LAYOUTS[spec.name], spec.name, data_dir)
    return read_cifar(source, spec)


def _read_digits() -> Contents:
    with np.load(_DIGITS) as arrays:
        images, labels, is_test = arrays["images"], arrays["labels"], arrays["is_test"]
    pixels = (15 * images)[..., None]  # intensities 0 to 16 become 0 to 240
    parts: dict[SplitName, np.ndarray] = {"train": ~is_test, "test": is_test}
    names = {"label": tuple(str(digit) for digit in range(10))}
    examples = {split: Examples(pixels[part], {"label": labels[part]}) for split, part in parts.items()}
    return Contents(names, examples)


def _add_files(made: Path, folder: Path) -> None:
    """Moves all files of a data set to a folder. The file that marks the data set as complete is moved last."""
    for path in sorted(made.iterdir(), key=lambda path: path.name == records.INFO):
        _move(path, folder / path.name)


def _add_array_records(spec: DatasetSpec, made: Path, folder: Path) -> None:
    """Adds ArrayRecord files to a folder with another format, and then lists them in `dataset_info.json`."""
    _check_same_shards(folder, made)
    for paths in records.shards(made, spec).values():
        for path in paths:
            _move(path, folder / path.name)
    info = records.read_info(folder)
    formats = [*info.get("alternativeFileFormats", ()), records.ARRAY_RECORD]
    info["alternativeFileFormats"] = list(dict.fromkeys(formats))  # no duplicate, if two processes add it
    with replacing(folder / records.INFO, follow_links=False) as (file, _):
        file.write(json.dumps(info, indent=2).encode())


def _move(path: Path, target: Path) -> None:
    """Moves a file to a new name. If an equal file of an earlier attempt has this name, that file is kept.

    Raises:
      OSError: if a different file has this name.
    """
    if not os.path.lexists(target):
        path.rename(target)
    elif target.is_symlink() or not target.is_file() or not filecmp.cmp(path, target, shallow=False):
        raise FileExistsError(errno.EEXIST, "another file that this program did not write has this name", str(target))


def _check_same_shards(folder: Path, made: Path) -> None:
    """Raises an error if two formats divide the records into files differently: they share one `dataset_info.json`."""
    present, new = records.read_info(folder), records.read_info(made)
    for split in DATASET_SPLITS:
        there, here = records.shard_lengths(present, split), records.shard_lengths(new, split)
        if there != here:
            raise UserError(
                f"{folder} contains another format of the data set whose {split} split has the shards {there}, not "
                f"{here}, so ArrayRecord files cannot be added. Remove this folder or move it away, or name another "
                f"data directory (--data-dir or TFDS_DATA_DIR)."
            )


def _write(spec: DatasetSpec, contents: Contents, data_dir: Path) -> None:
    from jaxopt_bench.data import builders

    errors = contextlib.redirect_stderr(io.StringIO()) if spec.name in PACKAGED else contextlib.nullcontext()
    # The messages of TFDS name the temporary folder. Its progress bars (standard error) are useful only for long tasks.
    with contextlib.redirect_stdout(io.StringIO()), errors:
        builders.write(spec.name, contents, data_dir)
