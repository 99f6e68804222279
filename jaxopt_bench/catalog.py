"""Experiments, and what else is kept in files, by name: the files of `experiments/`, or of a folder of the user's.

Such a file is code and is run. One of experiments exports `EXPERIMENTS`, a dictionary of `Experiment` by name.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from typing import Generic, TypeVar

from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment

_PACKAGE = pathlib.Path(__file__).resolve().parent

C = TypeVar("C", bound=Config)


def experiments_dir() -> pathlib.Path:
    """Returns the project's own experiments: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "experiments"
    return installed if installed.is_dir() else _PACKAGE.parent / "experiments"


@dataclasses.dataclass(frozen=True)
class Catalog(Generic[C]):
    """Files that export configurations with names.

    Attributes:
      cls: of what class they are; it has a field `name`.
      kind: what one is called, in the singular.
      exported: the name of the dictionary that a file exports.
      folder: where they are looked up, below the project's own experiments.
    """

    cls: type[C]
    kind: str
    exported: str
    folder: str = "."

    def load_file(self, path: pathlib.Path) -> dict[str, C]:
        """Runs one file and returns what it exports, each under its own name.

        Raises:
          UserError: where the file cannot be run, or does not export the dictionary.
        """
        if not path.is_file():
            raise UserError(f"{path} is no file; accepted: the path of a file with a {self.kind} (.py).")
        spec = importlib.util.spec_from_file_location(f"jaxopt_bench_{self.exported.lower()}_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise UserError(f"{path} is no Python file; accepted: the path of a file with a {self.kind} (.py).")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (Exception, SystemExit) as error:  # a script may end itself
            raise UserError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
        found = getattr(module, self.exported, None)
        if not isinstance(found, dict) or not all(isinstance(item, self.cls) for item in found.values()):
            name = self.cls.__name__
            raise UserError(f"{path} exports no {self.exported}; accepted: a dictionary of {name} by name.")
        return {name: dataclasses.replace(item, name=name) for name, item in found.items()}

    def load_folder(self, folder: pathlib.Path | None = None) -> dict[str, C]:
        """Returns all that a folder's files export by name, the project's own folder by default.

        Raises:
          UserError: where the folder does not exist, or two files export one name.
        """
        folder = experiments_dir() / self.folder if folder is None else folder
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; accepted: a folder of files that export {self.exported}.")
        found: dict[str, C] = {}
        for path in sorted(folder.glob("*.py")):
            for name, item in self.load_file(path).items():
                if name in found:
                    raise UserError(f"{path} exports {name!r}, which another file in {folder} exports as well.")
                found[name] = item
        return found

    def find(self, name: str, folder: pathlib.Path | None = None) -> C:
        """Returns one of them.

        Args:
          name: its name, the path of a file that exports one alone, or `path.py:name`.
          folder: where names are looked up; the project's own folder by default.

        Raises:
          UserError: where there is none, or the file exports several and none is named.
        """
        path, _, chosen = name.partition(".py:")
        if not chosen and not name.endswith(".py"):
            return self._among(self.load_folder(folder), name, self.kind)
        items = self.load_file(pathlib.Path(path + ".py" if chosen else name).expanduser())
        if not chosen and len(items) != 1:
            raise UserError(
                f"{name} exports {len(items)} of them; accepted: {name}:NAME, where NAME is one of {', '.join(items)}."
            )
        return self._among(items, chosen or next(iter(items)), f"{self.kind} of {path}.py")

    def _among(self, items: dict[str, C], name: str, kind: str) -> C:
        if name not in items:
            raise unknown_name(kind, name, items)
        return items[name]


EXPERIMENTS = Catalog(Experiment, "experiment", "EXPERIMENTS")
load_file, load_folder, find = EXPERIMENTS.load_file, EXPERIMENTS.load_folder, EXPERIMENTS.find
