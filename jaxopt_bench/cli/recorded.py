"""Recorded results: those that come with the project, and the baselines of --baselines."""

from __future__ import annotations

import pathlib

from jaxopt_bench import catalog
from jaxopt_bench.cli.answer import study_document
from jaxopt_bench.errors import UserError
from jaxopt_bench.results import Results, load


def recorded_folders() -> list[pathlib.Path]:
    """Returns the folders of the recorded results that come with the project."""
    return sorted(path for path in (catalog.experiments_dir() / "results").glob("*") if path.is_dir())


def load_baselines(given: pathlib.Path) -> Results:
    """Returns the recorded results of one study for --baselines.

    Args:
      given: the path of their folder, or the name of results that come with the project.

    Raises:
      UserError: if there is no such folder, or it does not hold exactly one study.
    """
    known = {path.name: path for path in recorded_folders()}
    if not given.exists() and str(given) not in known:
        raise UserError(
            f"--baselines is {str(given)!r}, which is not a folder. Expected a folder with a study's results, or the "
            f"name of results that come with the project: {', '.join(known)}."
        )
    recorded = load(given if given.exists() else known[str(given)])
    study_document(recorded, given, "--baselines")
    return recorded
