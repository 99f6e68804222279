"""The data of the sections with complete runs: the user's data, or noise in the layout of the official archives."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np

from jaxopt_bench import UserError, data
from jaxopt_bench.data.archives import LAYOUTS

SOURCE = "JAXOPT_BENCH_CIFAR_DIR"


def prepare(name: str, data_dir: pathlib.Path) -> str:
    """Prepares a data set if necessary, and returns its origin.

    A prepared data set is not changed. Otherwise CIFAR comes from the folder in the environment variable
    JAXOPT_BENCH_CIFAR_DIR, or it is noise, because speed does not depend on the content of the images.

    Args:
      name: the data set.
      data_dir: TFDS data directory; it is created if it does not exist.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    try:
        data.load(name, data_dir)
    except UserError:
        if source := os.environ.get(SOURCE):
            data.prepare(name, pathlib.Path(source) / LAYOUTS[name].folder, data_dir)
            return "official"
        with tempfile.TemporaryDirectory() as folder:
            write_noise(name, pathlib.Path(folder))
            data.prepare(name, pathlib.Path(folder), data_dir)
        return "noise"
    return "prepared"


def write_noise(name: str, folder: pathlib.Path) -> None:
    """Writes files of noise in the layout of an official archive."""
    layout, spec, rng = LAYOUTS[name], data.dataset(name), np.random.default_rng(0)
    for split, files in layout.files.items():
        for file in files:
            count = spec.examples(split) // len(files)
            labels = [rng.integers(0, label.count, (count, 1), np.uint8) for label in layout.labels]
            pixels = rng.integers(0, 256, (count, layout.record_bytes - len(labels)), np.uint8)
            (folder / file).write_bytes(np.hstack([*labels, pixels]).tobytes())
    for label in layout.labels:
        (folder / label.names_file).write_text("".join(f"class {i}\n" for i in range(label.count)))
