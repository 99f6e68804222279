"""Checkpoints: Orbax writes and reads the arrays; a manifest of ours, written last, says that one is whole.

Orbax restores most flipped bytes without a word, and counts a folder left half-written by a kill. So a checkpoint
counts only when its manifest is there, and is restored only when every file has the manifest's SHA-256 sum.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import logging
import pathlib
import shutil
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs.directory import check_object, parse_json, write_json
from jaxopt_bench.runs.processes import found_by_first

T = TypeVar("T")
MANIFEST = "manifest.json"


class Checkpoints:
    """The checkpoints of one run, or of a population, a folder each, named by step.

    Saving copies the arrays to the host and returns; one background thread writes them. A save waits for the one
    before it, so none is skipped. Of several processes that train together the first one alone writes.
    """

    def __init__(self, directory: pathlib.Path, keep: int = 2, after: int | None = None):
        """Opens the folder for writing and removes what an interrupted save has left.

        Args:
          directory: created where it does not exist.
          keep: how many of the last checkpoints to keep, beside the best.
          after: the step from which the run goes on. Checkpoints of later steps were found damaged, or the run would
            have gone on from them; they are removed, so that they take no place of a good one.
        """
        self.directory = directory.absolute()
        self.keep = keep
        self.directory.mkdir(parents=True, exist_ok=True)
        usable = {str(step) for step in checkpoint_steps(self.directory) if after is None or step <= after}
        for path in self.directory.iterdir():
            if path.is_dir() and path.name not in usable:
                _remove(path)
        self._checkpointer = _checkpointer() if jax.process_index() == 0 else None
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._pending: concurrent.futures.Future[None] | None = None

    def save(self, step: int, tree: Any, best: Collection[int] = ()) -> None:
        """Begins to save a tree of arrays under a step; an existing checkpoint of that step is left as it is.

        Args:
          step: updates made so far.
          tree: arrays; they are copied before this returns.
          best: steps whose checkpoints are kept however old they become.

        Raises:
          UserError: where the save before this one failed.
        """
        self.wait()
        if jax.process_index() == 0 and step not in checkpoint_steps(self.directory):
            copied = jax.tree.map(lambda leaf: np.array(leaf), tree)
            self._pending = self._worker.submit(self._write, step, copied, best)

    def prune(self, best: Collection[int]) -> None:
        """Removes all checkpoints but the last, and those of the steps that are kept however old they become."""
        steps = checkpoint_steps(self.directory)
        for step in steps[: -self.keep]:
            if step not in best:
                _remove(self.directory / str(step))

    def wait(self) -> None:
        """Waits until the last save is on the disk, and raises what it raised."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()

    def close(self) -> None:
        """Waits, and stops the background thread."""
        try:
            self.wait()
        finally:
            self._worker.shutdown()
            if self._checkpointer is not None:
                self._checkpointer.close()

    def _write(self, step: int, tree: Any, best: Collection[int]) -> None:
        folder = self.directory / str(step)
        try:
            assert self._checkpointer is not None, "the first process writes"
            self._checkpointer.save(folder / "arrays", args=ocp.args.StandardSave(tree))
            write_json(folder / MANIFEST, {"step": step, "sha256": _sums(folder)})
        except (OSError, ValueError, RuntimeError) as error:  # ValueError is TensorStore's, of a full disk too
            shutil.rmtree(folder, ignore_errors=True)
            earlier = max(checkpoint_steps(self.directory), default=None)
            on = "from the beginning" if earlier is None else f"from that of step {earlier:,}, which is whole"
            raise UserError(
                f"the checkpoint {folder} could not be written ({_first_line(error)}). Once it can be, the same "
                f"command goes on {on}."
            ) from error
        self.prune(best)


def checkpoint_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps that have a whole checkpoint, ascending."""
    names = [path.parent.name for path in directory.glob(f"*/{MANIFEST}")]
    return sorted(int(name) for name in names if name.isdecimal())


def restore(directory: pathlib.Path, step: int, like: T) -> T:
    """Returns the tree saved under a step, as NumPy arrays, after checking every file of it.

    Of several processes that train together the first one alone reads.

    Args:
      directory: the folder of checkpoints.
      step: which one.
      like: a tree of arrays or of shapes and types, as the one that was saved.

    Raises:
      UserError: naming the file that is missing, extra or changed.
    """
    leaves = found_by_first(lambda: _read(directory.absolute() / str(step), like))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _read(folder: pathlib.Path, like: Any) -> list[np.ndarray]:
    """Returns the leaves of the tree in a checkpoint's folder; see `restore`."""
    _verify(folder)
    target = jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
    with _checkpointer() as checkpointer:
        try:
            found = checkpointer.restore(folder / "arrays", args=ocp.args.StandardRestore(target))
        except Exception as error:  # Orbax raises whatever a file that is not as it wrote it leads it to
            raise UserError(f"checkpoint {folder} holds other arrays than this experiment has: {error}") from error
    leaves = jax.tree.leaves(found)
    for one, other in zip(leaves, jax.tree.leaves(target), strict=True):
        if one.shape != other.shape:
            raise UserError(
                f"checkpoint {folder} holds other arrays than this experiment has: one is {one.shape} for {other.shape}"
            )
    return leaves


def restore_latest(
    directory: pathlib.Path, like: T, warn: Callable[[str], None] = logging.warning
) -> tuple[int, T] | None:
    """Returns the last undamaged checkpoint's step and tree; None where none was ever finished.

    Args:
      directory: the folder of checkpoints.
      like: what the tree looks like; see `restore`.
      warn: told of each damaged checkpoint that is passed over.

    Raises:
      UserError: where there are checkpoints and all are damaged.
    """
    errors = []
    for step in reversed(found_by_first(lambda: checkpoint_steps(directory))):
        try:
            return step, restore(directory, step, like)
        except UserError as error:
            errors.append(str(error))
            warn(f"{error} Trying the checkpoint before it.")
    if errors:
        raise UserError("every checkpoint is damaged, and nothing was changed: " + " ".join(errors))
    return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _remove(folder: pathlib.Path) -> None:
    """Removes a checkpoint, its manifest first, so that one half removed does not count."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _checkpointer() -> ocp.Checkpointer:
    """Returns Orbax's synchronous checkpointer: after a failed save the asynchronous one's threads wait for minutes.

    It is the first process's alone: of several that train together each has whole arrays.
    """
    own = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(multiprocessing_options=own), multiprocessing_options=own)


def _verify(folder: pathlib.Path) -> None:
    try:
        manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        expected = check_object(MANIFEST, manifest, {"sha256": dict})["sha256"]
    except (OSError, ValueError, RecursionError, UserError) as error:
        raise UserError(f"checkpoint {folder} is damaged: {MANIFEST} cannot be read ({error}).") from error
    try:
        found = _sums(folder)
    except OSError as error:
        raise UserError(f"checkpoint {folder} cannot be read: {error}.") from error
    if found != expected:
        differing = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        names = ", ".join(name if name.isprintable() else ascii(name) for name in differing)
        raise UserError(f"checkpoint {folder} is damaged: {names} changed since it was written.")


def _sums(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 sum of each file below a checkpoint's folder, the manifest apart."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    return {path.relative_to(folder).as_posix(): _sum(path) for path in files}


def _sum(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
