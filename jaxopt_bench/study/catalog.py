"""Studies by name: the Python files in `experiments/studies/`, files of the user's, and folders that hold a study.

A study file is code and is run. It exports `STUDIES`, a dictionary of `Study` by name. A folder's `study.json` is data.
"""

from __future__ import annotations

import os
import pathlib

from jaxopt_bench.catalog import Catalog
from jaxopt_bench.study.document import DOCUMENT, read_document
from jaxopt_bench.study.study import Study

STUDIES = Catalog(Study, "study", "STUDIES", ("studies",))


def find_study(name: str) -> Study:
    """Returns one study: by its name, its file as `Catalog.find` takes it, or a folder that holds one.

    Raises:
      UserError: where there is none, or the file exports several and none is named.
    """
    folder = pathlib.Path(name)
    is_there = os.path.exists(folder / DOCUMENT)  # `Path.exists` raises for a name that is too long
    return read_document(folder / DOCUMENT).study if is_there else STUDIES.find(name)
