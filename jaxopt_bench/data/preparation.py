"""Puts a data set's record files into the data directory: checked first, written beside, never over what is there."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxopt_bench.data import records
from jaxopt_bench.data.archives import LAYOUTS, Contents, Examples, read_cifar
from jaxopt_bench.data.specs import PACKAGED, SPLITS, DatasetSpec
from jaxopt_bench.errors import UserError

_DIGITS = Path(__file__).parent / "digits" / "digits.npz"


def prepare_records(spec: DatasetSpec, source: Path | None, data_dir: Path) -> Path:
    """Returns the version folder, after writing the record files if they are not there yet.

    Where they are there and whole nothing is read or written, whether or not a source is given. Where the folder
    holds the data set in another format (TFRecord), ArrayRecord files are added to it and entered in its
    `dataset_info.json` as an alternative, in the way of TFDS's own `convert_format`; nothing is removed.

    Args:
      spec: the data set.
      source: the official archive or its unpacked folder; None downloads it.
      data_dir: TFDS's data directory.

    Raises:
      UserError: if the source is not what it must be, the download fails, or the folder cannot be written or holds
        something else.
    """
    folder = records.version_folder(spec, data_dir)
    state = records.state(folder, spec)
    if state is records.State.READY:
        return folder
    contents = _contents(spec, source, data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if state is records.State.OTHER_FORMAT:
            _add_array_records(spec, contents, folder, data_dir)
        else:
            _write_new(spec, contents, folder, data_dir)
    except OSError as error:
        if records.state(folder, spec) is not records.State.READY:  # unless another process was quicker
            raise UserError(f"cannot write {spec.name} to {folder}: {error}") from error
    return folder


def _contents(spec: DatasetSpec, source: Path | None, data_dir: Path) -> Contents:
    if spec.name in PACKAGED:
        if source is not None:
            raise UserError(f"--from {source}: {spec.name} comes with this package and takes no source; leave it out.")
        return _read_digits()
    if source is None:
        from jaxopt_bench.data.download import fetch

        source = fetch(LAYOUTS[spec.name], spec.name, data_dir)
    return read_cifar(source.expanduser(), spec)


def _read_digits() -> Contents:
    with np.load(_DIGITS) as arrays:
        images, labels, is_test = arrays["images"], arrays["labels"], arrays["is_test"]
    pixels = (15 * images)[..., None]  # intensities 0 to 16 become 0 to 240
    parts = {"train": ~is_test, "test": is_test}
    names = {"label": tuple(str(digit) for digit in range(10))}
    return Contents(names, {split: Examples(pixels[parts[split]], {"label": labels[parts[split]]}) for split in SPLITS})


def _write_new(spec: DatasetSpec, contents: Contents, folder: Path, data_dir: Path) -> None:
    if folder.is_dir():
        folder.rmdir()  # it is empty, and TFDS would take it for the data set
    _write(spec, contents, data_dir)


def _add_array_records(spec: DatasetSpec, contents: Contents, folder: Path, data_dir: Path) -> None:
    """Adds ArrayRecord files to a folder of another format, and enters them when all of them are there."""
    with tempfile.TemporaryDirectory(prefix=f".{spec.name}-", dir=data_dir) as staging:
        _write(spec, contents, Path(staging))
        made = records.version_folder(spec, Path(staging))
        _check_same_shards(folder, made)
        for paths in records.shards(made, spec).values():
            for path in paths:
                path.replace(folder / path.name)
        info = records.read_info(folder)
        formats = [*info.get("alternativeFileFormats", ()), records.ARRAY_RECORD]
        info["alternativeFileFormats"] = list(dict.fromkeys(formats))  # once, if two processes add them
        entry = Path(staging, records.INFO)
        entry.write_text(json.dumps(info, indent=2))
        entry.replace(folder / records.INFO)


def _check_same_shards(folder: Path, made: Path) -> None:
    """Refuses to mix formats whose records are cut into files differently: one `dataset_info.json` tells of both."""
    present, new = records.read_info(folder), records.read_info(made)
    for split in SPLITS:
        there, here = records.shard_lengths(present, split), records.shard_lengths(new, split)
        if there != here:
            raise UserError(
                f"{folder} holds another format of the data set whose {split} split has the shards {there}, not "
                f"{here}, so ArrayRecord files cannot stand beside it. Remove this folder, or give another data "
                f"directory (--data-dir or TFDS_DATA_DIR)."
            )


def _write(spec: DatasetSpec, contents: Contents, data_dir: Path) -> None:
    from jaxopt_bench.data import builders

    with _quiet() if spec.name in PACKAGED else contextlib.redirect_stdout(sys.stderr):
        builders.write(spec.name, contents, data_dir)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallows TFDS's notes and progress bars, which are for longer work than a second's."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
