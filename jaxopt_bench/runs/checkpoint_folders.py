"""The folders of checkpoints: which ones this program made, how they are verified, and how they are removed.

Users keep other files in these folders, and link the folders to other disks. So a checkpoint is removed file by file:
only files that this program made are removed, and never through a symbolic link.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import SYSTEM_FILES, TEMPORARY, read_regular, remove_leftovers, sha256_of_file
from jaxopt_bench.strict_json import check_object, parse_json, read_json

MANIFEST, MARKER, ARRAYS = "manifest.json", "marker.json", "arrays"
_STEP = re.compile(r"0|[1-9][0-9]{0,17}")
_UNFINISHED = f"{ARRAYS}.orbax-checkpoint-tmp"  # the name of Orbax's folder until the arrays are complete


def is_ours(folder: pathlib.Path) -> bool:
    """Returns whether this program made a folder, as a complete or an incomplete checkpoint.

    The folder of a complete checkpoint is not a symbolic link, and has a marker or a manifest with the step that is
    also its name: a copy under another name does not count. The folder of an incomplete checkpoint has a temporary
    name, and contains a marker or nothing.
    """
    unfinished = TEMPORARY.fullmatch(folder.name) is not None
    if folder.is_symlink() or not folder.is_dir() or not (unfinished or _STEP.fullmatch(folder.name)):
        return False
    if unfinished and all(TEMPORARY.fullmatch(name) or name == _UNFINISHED for name in os.listdir(folder)):
        return True  # the marker was being written, or Orbax wrote more while the folder was removed from a full disk
    for name in (MARKER, MANIFEST):
        with contextlib.suppress(UserError, OSError):
            step = check_object(name, read_json(folder / name), {"step": int})["step"]
            if unfinished or step == int(folder.name):
                return True
    return False


def list_steps(directory: pathlib.Path) -> list[int]:
    """Returns the step numbers that occur as names in a folder, in ascending order."""
    names = os.listdir(directory) if directory.is_dir() else []
    return sorted(int(name) for name in names if _STEP.fullmatch(name))


def is_linked(directory: pathlib.Path) -> bool:
    """Returns whether the folder of checkpoints, or the run's folder that contains it, is a symbolic link."""
    return directory.is_symlink() or directory.parent.is_symlink()


def remove_folder(folder: pathlib.Path) -> None:
    """Removes the files of a checkpoint and then its empty folders. The manifest is removed first, the marker last.

    The manifest lists the files. If it is missing or damaged, all regular files below Orbax's folders are removed. A
    single byte of it may have changed, in a name or in a sum, so a file counts if either is listed.

    Raises:
      OSError: if a file of the checkpoint cannot be removed.
    """
    try:
        listed: dict[str, str] | None = read_manifest(folder)["sha256"]
    except UserError:
        listed = None
    remove_leftovers(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    for where, inside, files in os.walk(folder, topdown=False):  # it does not follow links
        below = pathlib.Path(where).relative_to(folder)
        for name in files:
            path = pathlib.Path(where, name)
            may_be_own = below.parts[:1] != () and below.parts[0].startswith(ARRAYS) and not path.is_symlink()
            if may_be_own and _is_listed(path, (below / name).as_posix(), listed):
                path.unlink()
        for name in inside:
            with contextlib.suppress(OSError):  # it is not empty, or it is a link
                pathlib.Path(where, name).rmdir()
    (folder / MARKER).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _is_listed(path: pathlib.Path, name: str, listed: Mapping[str, str] | None) -> bool:
    """Returns whether a manifest lists a file's name or its sum, or, for None, is not known."""
    return listed is None or name in listed or (path.is_file() and sha256_of_file(path) in listed.values())


def read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the manifest of a checkpoint: its `step`, and the SHA-256 sum of each of its files in `sha256`.

    Raises:
      UserError: if it is missing or damaged.
    """
    try:
        text = read_regular(folder / MANIFEST).decode()
        return check_object(MANIFEST, parse_json(text), {"step": int, "sha256": dict})
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"checkpoint {folder} is damaged: {MANIFEST} cannot be read ({error}).") from error


def verify_folder(folder: pathlib.Path, step: int) -> None:
    """Verifies every file that the manifest of a checkpoint lists. Other files are ignored.

    Raises:
      UserError: if files are missing or changed; the message names them.
    """
    manifest, differing = read_manifest(folder), []
    if manifest["step"] != step:
        raise UserError(f"checkpoint {folder} is a copy of that of step {manifest['step']}.")
    for name, expected in manifest["sha256"].items():
        try:
            if sha256_of_file(folder / name) != expected:
                differing.append(name)
        except (FileNotFoundError, NotADirectoryError):
            differing.append(name)
        except OSError as error:
            raise UserError(f"checkpoint {folder} cannot be read: {error}.") from error
    if differing:
        names = ", ".join(name if name.isprintable() else ascii(name) for name in sorted(differing))
        raise UserError(f"checkpoint {folder} is damaged: these files are missing or have changed: {names}.")


def hash_files(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 sum of each file that Orbax wrote into the folder of a checkpoint."""
    files = sorted(path for path in (folder / ARRAYS).rglob("*") if path.is_file())
    own = [path for path in files if not SYSTEM_FILES.fullmatch(path.name)]
    return {path.relative_to(folder).as_posix(): sha256_of_file(path) for path in own}
