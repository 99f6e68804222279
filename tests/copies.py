"""Copies of runs, for tests that change the files of a run that other tests read."""

from __future__ import annotations

import pathlib
import shutil

from jaxopt_bench import Run, load_run


def copied(run: Run, runs_dir: pathlib.Path) -> Run:
    """Returns a copy of a run in another folder of runs."""
    return load_run(shutil.copytree(run.path, runs_dir / run.path.parent.name / run.path.name))
