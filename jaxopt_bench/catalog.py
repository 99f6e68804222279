"""Experiments by name: the Python files in `experiments/`, or in a folder of the user's.

An experiment file is code and is run. It exports `EXPERIMENTS`, a dictionary of `Experiment` by name.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib

from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment

_PACKAGE = pathlib.Path(__file__).resolve().parent


def experiments_dir() -> pathlib.Path:
    """Returns the project's own experiments: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "experiments"
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments"


def load_file(path: pathlib.Path) -> dict[str, Experiment]:
    """Runs one experiment file and returns what it exports, each experiment under its own name.

    Raises:
      UserError: where the file cannot be run, or exports no `EXPERIMENTS`.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file; accepted: the path of an experiment file (.py).")
    spec = importlib.util.spec_from_file_location(f"jaxopt_bench_experiments_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; accepted: the path of an experiment file (.py).")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:  # a script may end itself
        raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    exported = getattr(module, "EXPERIMENTS", None)
    if not isinstance(exported, dict) or not all(isinstance(e, Experiment) for e in exported.values()):
        raise UserError(f"{path} exports no EXPERIMENTS; accepted: a dictionary of Experiment by name.")
    return {name: dataclasses.replace(experiment, name=name) for name, experiment in exported.items()}


def load_folder(folder: pathlib.Path | None = None) -> dict[str, Experiment]:
    """Returns every experiment of a folder's files by name, the project's own folder by default.

    Raises:
      UserError: where the folder does not exist, or two files export one name.
    """
    folder = experiments_dir() if folder is None else folder
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; accepted by --experiments: a folder of experiment files.")
    found: dict[str, Experiment] = {}
    for path in sorted(folder.glob("*.py")):
        for name, experiment in load_file(path).items():
            if name in found:
                raise UserError(f"{path} exports {name!r}, which another file in {folder} exports as well.")
            found[name] = experiment
    return found


def find(name: str, folder: pathlib.Path | None = None) -> Experiment:
    """Returns one experiment.

    Args:
      name: an experiment's name, the path of a file that exports one, or `path.py:name`.
      folder: where names are looked up; the project's own folder by default.

    Raises:
      UserError: where there is none, or the file exports several and none is named.
    """
    path, _, chosen = name.partition(".py:")
    if chosen or name.endswith(".py"):
        experiments = load_file(pathlib.Path(path + ".py" if chosen else name).expanduser())
        if not chosen and len(experiments) != 1:
            raise UserError(
                f"{name} exports {len(experiments)} experiments; accepted: {name}:NAME, where NAME is "
                f"one of {', '.join(experiments)}."
            )
        chosen = chosen or next(iter(experiments))
        if chosen not in experiments:
            raise unknown_name(f"experiment of {path}.py", chosen, experiments)
        return experiments[chosen]
    experiments = load_folder(folder)
    if name not in experiments:
        raise unknown_name("experiment", name, experiments)
    return experiments[name]
