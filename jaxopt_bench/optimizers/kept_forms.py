"""Stores on disk how users' functions must be called. Each is examined only once, so later starts are faster."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import cache_folder, read_regular, replacing
from jaxopt_bench.optimizers.factories import Form
from jaxopt_bench.strict_json import sha256_of_json

_PACKAGES = ("jax", "jaxlib", "numpy", "optax")


def find(identity: Mapping[str, Any], examine: Callable[[], Form]) -> Form:
    """Returns how a function must be called: the stored form if there is one, else the result of an examination.

    Args:
      identity: the JSON values on which the form depends. The versions of the packages that it
        depends on, and a digest of the code that examines it, are added.
      examine: finds the form. If it raises `UserError`, nothing is stored.
    """
    path = _path(identity)
    if path is not None:
        try:
            return Form.from_json(json.loads(read_regular(path)))
        except (OSError, ValueError, UserError):  # the file is missing or invalid in this version
            pass
    form = examine()
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as (file, _):
                file.write(json.dumps(form.to_json()).encode())
        except (OSError, UserError):  # the function will be examined again
            pass
    return form


def _path(identity: Mapping[str, Any]) -> pathlib.Path | None:
    try:
        root = cache_folder()
    except RuntimeError:  # the user has no home folder
        return None
    name = sha256_of_json({**identity, "versions": _versions()})[:24]
    return None if root is None else root / "optimizers" / f"{name}.json"


@functools.cache
def _versions() -> list[str]:
    """Returns the versions of packages, and a digest of the code that examines and calls functions."""
    folder = pathlib.Path(__file__).parent
    names = ("factories", "signatures", "wrappers", "custom", "base", "adapters", "../arguments")
    files = [*(folder / f"{name}.py" for name in names), *sorted((folder / "equivalence").glob("*.py"))]
    own = b"".join(file.read_bytes() for file in files)
    return [*map(importlib.metadata.version, _PACKAGES), hashlib.sha256(own).hexdigest()]
