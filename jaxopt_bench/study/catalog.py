"""Studies by name: the Python files in `experiments/studies/`, the user's files, and folders with a study.

A study file is code and is executed. It exports `STUDIES`, a dictionary of `Study` by name. A folder's `study.json` is
data.
"""

from __future__ import annotations

import os
import pathlib

from jaxopt_bench.catalog import Catalog
from jaxopt_bench.study.document import DOCUMENT, read_document
from jaxopt_bench.study.study import Study

STUDIES = Catalog(Study, "study", "STUDIES", ("studies",))


def find_study(name: str) -> Study:
    """Returns one study: by its name, its file (see `Catalog.find`), or a folder with a study.

    Raises:
      UserError: if there is no such study, or the file exports several studies and none is named.
    """
    folder = pathlib.Path(name)
    is_there = os.path.exists(folder / DOCUMENT)  # `Path.exists` raises for a name that is too long
    return read_document(folder / DOCUMENT).study if is_there else STUDIES.find(name)
