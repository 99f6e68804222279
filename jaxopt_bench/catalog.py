"""Experiments and other configurations in files, by name.

The files are in `experiments/`, `experiments/suite/` or a folder of the user. Such a file is Python code and is
executed, see `user_code`. A file of experiments exports `EXPERIMENTS`, a dictionary of `Experiment` by name.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Generic, TypeVar

from jaxopt_bench import user_code
from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment

_PACKAGE = pathlib.Path(__file__).resolve().parent

C = TypeVar("C", bound=Config)


def experiments_dir() -> pathlib.Path:
    """Returns the folder of the project's own experiments: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "experiments"
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments"


@dataclasses.dataclass(frozen=True)
class Catalog(Generic[C]):
    """Files that export configurations with names.

    Attributes:
      cls: the class of the configurations; it has a field `name`.
      kind: the name of one configuration, in the singular.
      exported: the name of the dictionary that a file exports.
      folders: the folders that are searched for files, below the folder of the project's own experiments.
    """

    cls: type[C]
    kind: str
    exported: str
    folders: tuple[str, ...] = (".",)

    def load_file(self, location: str | pathlib.Path) -> dict[str, C]:
        """Runs one file and returns its exported configurations, each under its own name.

        Args:
          location: the path of a file, or the name of a module.

        Raises:
          UserError: if it cannot be run, or does not export the dictionary.
        """
        location = str(location)
        module, _ = user_code.load_module(f"the {self.kind} {location!r}", location)
        found = getattr(module, self.exported, None)
        if not isinstance(found, dict) or not all(isinstance(item, self.cls) for item in found.values()):
            raise UserError(f"{location} has no {self.exported}. Expected a dictionary of {self.cls.__name__} by name.")
        return {name: dataclasses.replace(item, name=name) for name, item in found.items()}

    def load_folder(self, folder: pathlib.Path | None = None) -> dict[str, C]:
        """Returns all configurations that a folder's files export, by name; by default of the project's own folders.

        Raises:
          UserError: if the folder does not exist, or two files export the same name.
        """
        folders = [experiments_dir() / own for own in self.folders] if folder is None else [folder]
        found: dict[str, C] = {}
        for each in folders:
            if not each.is_dir():
                raise UserError(f"{each} is not a folder. Expected a folder of files that export {self.exported}.")
            for path in sorted(each.glob("*.py")):
                for name, item in self.load_file(path).items():
                    if name in found:
                        raise UserError(
                            f"{path} exports {name!r}, but another file in {' or '.join(map(str, folders))} exports "
                            "the same name. Expected different names."
                        )
                    found[name] = item
        return found

    def find(self, name: str, folder: pathlib.Path | None = None) -> C:
        """Returns one configuration.

        Args:
          name: its name, the path of a file that exports only one, `FILE.py:NAME` or `MODULE:NAME`.
          folder: the folder in which names are looked up; the project's own folders by default.

        Raises:
          UserError: if it does not exist, or if the file exports several and the reference names none of them.
        """
        if not user_code.is_reference(name):
            return self._among(self.load_folder(folder), name, self.kind)
        location, _, chosen = (name, "", "") if name.endswith(".py") else name.rpartition(":")
        items = self.load_file(location)
        if not chosen and len(items) != 1:
            raise UserError(
                f"{name}: {self.exported} has {len(items)} entries. Expected {name}:NAME, where NAME is one of "
                f"{', '.join(items)}."
            )
        return self._among(items, chosen or next(iter(items)), f"{self.kind} of {location}")

    def _among(self, items: dict[str, C], name: str, kind: str) -> C:
        if name not in items:
            raise unknown_name(kind, name, items)
        return items[name]


EXPERIMENTS = Catalog(Experiment, "experiment", "EXPERIMENTS", (".", "suite"))
load_file, load_folder, find = EXPERIMENTS.load_file, EXPERIMENTS.load_folder, EXPERIMENTS.find
