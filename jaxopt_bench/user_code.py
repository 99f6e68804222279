"""Code of users, by reference: `FILE.py:NAME`, or `MODULE:NAME` of an installed module or one in the working directory.

Optimizers, models, problems, experiments and studies are all loaded here. A file is run once for each version of its
text and of the texts of the modules beside it that it imports. These texts identify the code.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import pathlib
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from jaxopt_bench.errors import UserError, shortened, unknown_name
from jaxopt_bench.files import sha256_of_file

REFERENCES = "MODULE:NAME or FILE.py:NAME"
_PREFIX = "jaxopt_bench_user_"


class Loaded(NamedTuple):
    """The object that a reference names.

    Attributes:
      value: the object.
      module: the module that defines it.
      reference: `MODULE:NAME` or `FILE.py:NAME`, the file without its folder.
      code: twelve hexadecimal digits that identify the texts.
      file: the absolute path of its file; empty if it has none.
    """

    value: Any
    module: ModuleType
    reference: str
    code: str
    file: str


def is_reference(name: str) -> bool:
    """Returns whether a name refers to a user's code. Names in a table do not."""
    return ":" in name or name.endswith(".py")


def load_object(kind: str, reference: str) -> Loaded:
    """Returns the object that a reference names; its file or module is run.

    Args:
      kind: the kind of the object, in the singular, such as "optimizer", for messages.
      reference: `package.module:name`, also for a module in the working directory, or `path/to/file.py:name`.

    Raises:
      UserError: if the module cannot be run, or has no such name.
    """
    location, _, name = reference.rpartition(":")
    if not location and name.endswith(".py"):
        functions = ", ".join(_functions(run_file(f"the {kind} {reference!r}", name)[0])) or "none"
        raise UserError(
            f"the {kind} {reference!r} names a file, but no function or class in it. Expected {name}:NAME. Possible "
            f"names: {functions}."
        )
    if not location or not name:
        raise UserError(f"the {kind} {reference!r} is not a reference. Expected {REFERENCES}.")
    module, code = load_module(f"the {kind} {reference!r}", location)
    value = getattr(module, name, None)
    if value is None:
        raise unknown_name(f"function of {location}", name, _functions(module))
    path = getattr(module, "__file__", None)
    short = f"{pathlib.Path(location).name}:{name}" if location.endswith(".py") else reference
    return Loaded(value, module, short, code, str(pathlib.Path(path).absolute()) if path else "")


def load_again(kind: str, reference: str, file: str, code: str) -> Loaded:
    """Returns the object that another process, maybe on another machine, has loaded under the same reference.

    Its module is imported if that is possible and if it has the same text; otherwise its file is run.

    Args:
      kind: the kind of the object, in the singular, for messages.
      reference: the value of `Loaded.reference` in the other process.
      file: the value of `Loaded.file` in the other process.
      code: the value of `Loaded.code` in the other process.

    Raises:
      UserError: if this process finds neither with that text; and for the same reasons as in `load_object`.
    """
    module, _, name = reference.rpartition(":")
    if not module.endswith(".py"):
        with contextlib.suppress(UserError):  # if this fails, the file may still be found
            found = load_object(kind, reference)
            if found.code == code:
                return found
    loaded = load_object(kind, f"{file}:{name}")
    if loaded.code != code:
        raise UserError(
            f"the {kind} {reference!r}: the code of {file} is {loaded.code} here, but was {code} when it was "
            "loaded first. Expected the same file on all machines, without changes during the run."
        )
    return loaded._replace(reference=reference)


def describe(value: Any) -> Loaded:
    """Returns the result of `load_object` for a function or a class that the caller already has.

    Args:
      value: a function or a class at the top level of a file, whose text distinguishes it from others with the same
        name.

    Raises:
      UserError: for any other value.
    """
    name, module = getattr(value, "__qualname__", ""), inspect.getmodule(value)
    path = getattr(module, "__file__", None)
    is_named = inspect.isfunction(value) or inspect.isclass(value)
    if not is_named or not name.isidentifier() or module is None or path is None:
        raise UserError(
            f"{shortened(value)} is not a function at the top level of a file. Expected such a function: its file "
            "identifies the code of a run."
        )
    file = str(pathlib.Path(path).absolute())
    if module.__name__.startswith(_PREFIX):  # a file that was run by its path
        return Loaded(value, module, f"{pathlib.Path(path).name}:{name}", module.__name__.rpartition("_")[2], file)
    return Loaded(value, module, f"{value.__module__}:{name}", code_of(module), file)


def find_module(reference: str) -> ModuleType | None:
    """Returns the module in which a reference's name is looked up, if it is imported under its own name."""
    return sys.modules.get(reference.rpartition(":")[0])


def load_module(what: str, location: str) -> tuple[ModuleType, str]:
    """Returns a module and the digits that identify its code.

    Args:
      what: the purpose of loading it, for messages.
      location: the path of a file (`.py`), or the name of an installed module or of one in the working directory.

    Raises:
      UserError: if there is no such file or module, or running it fails.
    """
    return run_file(what, location) if location.endswith(".py") else _import_module(what, location)


_FILES: dict[tuple[pathlib.Path, str], ModuleType] = {}  # modules of files that were run, by path and code


def run_file(what: str, file: str) -> tuple[ModuleType, str]:
    """Returns the module of a file, which is run if necessary, and the digits that identify its code.

    While it runs, it can import modules beside it, like a script.

    Args:
      what: the purpose of running the file, for messages.
      file: its path.

    Raises:
      UserError: if it is not a file, or running it fails.
    """
    path = pathlib.Path(file).expanduser().resolve()
    if not path.is_file():
        raise UserError(f"{what}: {path} is not a file. Expected {REFERENCES}.")
    sources = _sources(path, path.parent)
    code = _digest(path, sources)
    if (path, code) not in _FILES:
        name = f"{_PREFIX}{path.stem}_{code}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # `inspect`, dataclasses and tyro look it up there
        try:
            with _importing_from(path.parent, sources):
                spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a script may exit
            del sys.modules[name]
            raise _import_error(what, error) from error
        _FILES[path, code] = module
    return _FILES[path, code], code


def _functions(module: ModuleType) -> list[str]:
    """Returns the names of a module's callables: only those that it defines itself, if there are any."""
    found = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in found.items() if getattr(value, "__module__", None) == module.__name__]
    return own or list(found)


@functools.cache
def code_of(module: ModuleType) -> str:
    """Returns the digits of a module's code at the time of the first call; zeros if it has no file."""
    file = getattr(module, "__file__", None)
    if not file:
        return "0" * 12
    path = pathlib.Path(file).resolve()
    depth = len((module.__spec__.name if module.__spec__ else module.__name__).split(".")) - 1
    root = path.parents[depth + (path.name == "__init__.py")]
    return _digest(path, set() if _is_installed(path) else _sources(path, root))


def failed_at(error: BaseException) -> str | None:
    """Returns the last line of an exception's traceback that is neither in this package nor in an installed one.

    It has the form "mine.py, line 12"; None if there is no such line.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = pathlib.Path(frame.filename)
        if path.is_file() and not _is_installed(path.resolve()) and not path.resolve().is_relative_to(_PACKAGE):
            return f"{path.name}, line {frame.lineno}"
    return None


def describe_error(error: BaseException) -> str:
    """Returns an exception as text, with the line of the user's code that failed: "mine.py, line 12: ValueError: …"."""
    line = failed_at(error)
    return f"{f'{line}: ' if line else ''}{type(error).__name__}: {error}"


_PACKAGE = pathlib.Path(__file__).resolve().parent


def packages_of(module: ModuleType | None) -> str:
    """Returns digits that identify the installed packages whose modules, functions or classes a module uses."""
    values = [] if module is None else [module, *vars(module).values()]
    names = {getattr(v, "__name__" if isinstance(v, ModuleType) else "__module__", None) for v in values}
    packages = {name.split(".")[0] for name in names if isinstance(name, str)} - _VERSIONED
    found = []
    for name, used in sorted(sys.modules.items()):
        file = getattr(used, "__file__", None)
        if name.split(".")[0] in packages and file and _is_installed(path := pathlib.Path(file)):
            with contextlib.suppress(OSError):
                found.append(f"{name} {path.stat().st_mtime_ns} {path.stat().st_size}")
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


_VERSIONED = {"builtins", "jax", "jaxlib", "numpy", "optax", "jaxopt_bench", *sys.stdlib_module_names}
"""Packages that are identified by their versions."""


def _import_module(what: str, name: str) -> tuple[ModuleType, str]:
    """Imports an installed module, or one in the working directory, which the path of a command does not include."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _import_error(what, error) from error
    return module, code_of(module)


def _import_error(what: str, error: BaseException) -> UserError:
    if isinstance(error, UserError):
        return UserError(f"{what}: {error}")
    is_complete = isinstance(error, SyntaxError)  # its text contains the line
    text = f"{type(error).__name__}: {error}" if is_complete else describe_error(error)
    return UserError(f"{what} cannot be imported: {text}.")


def _is_installed(path: pathlib.Path) -> bool:
    """Returns whether a file belongs to an installed package, whose version identifies it."""
    library = pathlib.Path(os.__file__).resolve().parent
    return bool({"site-packages", "dist-packages"} & set(path.parts)) or path.is_relative_to(library)


def _digest(path: pathlib.Path, sources: set[pathlib.Path]) -> str:
    """Returns the digits that identify a file and the sources that it imports, independent of their common location."""
    own = hashlib.sha256(path.read_bytes())
    for source in sorted(sources):
        relative = os.path.relpath(source, path.parent)
        own.update(f"\n{relative} {sha256_of_file(source)}".encode())
    return own.hexdigest()[:12]


def _sources(path: pathlib.Path, root: pathlib.Path) -> set[pathlib.Path]:
    """Returns the files below a folder that a file imports, directly or through other files.

    Args:
      path: the file.
      root: the folder in which absolute imports are looked up.
    """
    found: set[pathlib.Path] = set()
    left = [path]
    while left:
        for source in _imports(left.pop(), root):
            if source != path and source not in found:
                found.add(source)
                left.append(source)
    return found


def _imports(path: pathlib.Path, root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the files below a folder that are named in the import statements of one file."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # running the file reports this error
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(root, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[node.level - 1] if node.level else root
            parts = node.module.split(".") if node.module else []
            for alias in node.names:
                yield from _files_of(base, [*parts, alias.name])


def _files_of(base: pathlib.Path, parts: list[str]) -> Iterator[pathlib.Path]:
    """Yields the existing files of a module and of the packages that contain it."""
    for part in parts:
        for file in (base / f"{part}.py", base / part / "__init__.py"):
            if file.is_file():
                yield file.resolve()
        base = base / part


@contextlib.contextmanager
def _importing_from(folder: pathlib.Path, sources: set[pathlib.Path]) -> Iterator[None]:
    """Makes a folder's modules importable, before others with the same names. It restores the others at the end.

    Modules of this folder are imported again if this process has imported them with an earlier text.
    """
    names = {source.relative_to(folder).parts[0].removesuffix(".py") for source in sources}
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}
    kept = {name: module for name, module in others.items() if _is_current(module, sources)}
    for name in others.keys() - kept.keys():
        del sys.modules[name]
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # its time stamp in seconds could hide a new text
    try:
        yield
        for source in sources:  # also sources that functions import when they are called
            with contextlib.suppress(Exception):
                parts = source.relative_to(folder).with_suffix("").parts
                importlib.import_module(".".join(part for part in parts if part != "__init__"))
    finally:
        sys.dont_write_bytecode = written
        sys.path.remove(str(folder))
        _TEXTS.update({source: source.read_bytes() for source in sources})
        for name, module in others.items():
            if name not in kept and pathlib.Path(getattr(module, "__file__", None) or "").resolve() not in sources:
                sys.modules[name] = module


def _is_current(module: ModuleType, sources: set[pathlib.Path]) -> bool:
    """Returns whether a module comes from one of these files and, as far as is known, has the file's current text."""
    path = pathlib.Path(getattr(module, "__file__", None) or "").resolve()
    return path in sources and _TEXTS.setdefault(path, path.read_bytes()) == path.read_bytes()


_TEXTS: dict[pathlib.Path, bytes] = {}  # texts of the modules beside users' files at the time of their import
