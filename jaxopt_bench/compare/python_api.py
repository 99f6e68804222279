"""Studies from Python: one call that trains a study and returns its results, for notebooks and scripts."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from jaxopt_bench.compare.newcomers import add_newcomers
from jaxopt_bench.compare.progress import progress_for
from jaxopt_bench.compare.study_runner import compare
from jaxopt_bench.errors import unknown_name
from jaxopt_bench.results import Results, load
from jaxopt_bench.study import Study, find_study


def run_study(
    study: Study | str,
    folder: str | pathlib.Path | None = None,
    *,
    workloads: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    add: Sequence[str] = (),
    data_dir: str | pathlib.Path | None = None,
    **changes: Any,
) -> Results:
    """Trains all unfinished runs of a study, shows the progress, and returns the results.

    An interrupted study is continued by the same call. If the study has grown, only its new runs are trained. A
    notebook shows the returned results as the answer in words, a table and charts; `jaxopt_bench.verdict.verdict` has
    the numbers.

    Args:
      study: the study; or its name, a file that exports one, or a folder that contains one.
      folder: the folder of the runs; `studies/NAME` if it is None.
      workloads: the names of the workloads to use; all of the study if it is empty.
      optimizers: the names of the study's optimizers to use; all if it is empty.
      add: further optimizers, which are tuned like the others: names, or `FILE.py:FUNCTION` or `MODULE:FUNCTION`.
      data_dir: the folder of TFDS data sets; TFDS's own default if it is None.
      **changes: new values of fields of the study, such as `trials=4`; see `Study`.

    Raises:
      UserError: for a mistake that the user can correct, such as an unknown name, or missing data.
      Interrupted: after an interrupt, when a checkpoint has been written.
    """
    named = find_study(study) if isinstance(study, str) else study
    fields = [field.name for field in dataclasses.fields(named)]
    for name in changes:
        if name not in fields:
            raise unknown_name("field of a study", name, fields)
    changed = dataclasses.replace(named.only(workloads, optimizers), **changes)
    changed = dataclasses.replace(changed, contenders=add_newcomers(changed, add))
    chosen = pathlib.Path("studies") / changed.name if folder is None else folder
    compare(changed, chosen, data_dir=data_dir, progress=progress_for(Console()))
    return load(chosen)
