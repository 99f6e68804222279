"""Studies by name: the Python files in `experiments/studies/`, files of the user's, and folders that hold a study.

A study file is code and is run. It exports `STUDIES`, a dictionary of `Study` by name. A folder's `study.json` is data.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

from jaxopt_bench.catalog import Catalog
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, Schedule, load
from jaxopt_bench.results.document import DOCUMENT, read_document
from jaxopt_bench.results.study import Contender, Study

STUDIES = Catalog(Study, "study", "STUDIES", "studies")


def find_study(name: str) -> Study:
    """Returns one study: by its name, its file as `Catalog.find` takes it, or a folder that holds one.

    Raises:
      UserError: where there is none, or the file exports several and none is named.
    """
    folder = pathlib.Path(name)
    is_there = os.path.exists(folder / DOCUMENT)  # `Path.exists` raises for a name that is too long
    return read_document(folder / DOCUMENT).study if is_there else STUDIES.find(name)


def newcomer(study: Study, reference: str) -> Contender:
    """Returns an optimizer as one more contender of a study, tuned in its own search space.

    Its schedule is the others', where they all have the same and it is not meant for a constant one; else the one that
    it is meant for.

    Args:
      study: the study.
      reference: an optimizer's name, or `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    Raises:
      UserError: where there is no such optimizer, or an argument of it other than the learning rate has no default.
    """
    optimizer = _users(reference) if ":" in reference else OPTIMIZERS[reference]
    schedules = {contender.schedule for contender in study.contenders}
    meant = optimizer.schedule.name
    schedule: Schedule = schedules.pop() if len(schedules) == 1 and meant != "constant" else SCHEDULES[meant]
    return Contender(name=reference.rpartition(":")[2], optimizer=optimizer, schedule=schedule)


def _users(reference: str) -> Optimizer:
    """Returns a user's optimizer; where its learning rate has no default it is the middle of the range to search."""
    cls = load(reference)
    required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    given: dict[str, Any] = {"learning_rate": cls.learning_rates.value(0.5)} if "learning_rate" in required else {}
    for name in required:
        if name not in given:
            raise UserError(
                f"{reference} has the argument {name!r} without a default; accepted in a study: a default for all but "
                "the learning rate, or a study file that gives it."
            )
    return cls(**given)
