"""Reads NumPy archives that may be damaged or changed."""

from __future__ import annotations

import pathlib
import zipfile

import numpy as np

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import open_regular


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an uncompressed archive by name. Pickled arrays are rejected.

    Raises:
      UserError: if the archive is damaged.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > path.stat().st_size:
                raise ValueError("its entries claim to be larger than it is")  # and could fill the memory
            names = archive.namelist()
            if len(set(names)) < len(names):
                raise ValueError("it has two arrays of one name")
            return {name.removesuffix(".npy"): _array(archive, name) for name in names}
    except Exception as error:  # damaged bytes can make zipfile and NumPy raise any exception
        raise UserError(f"{path} is damaged: {error or type(error).__name__}.") from error


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
