"""Checkpoints: Orbax writes and reads the arrays. A manifest, written last by this module, marks a complete checkpoint.

Orbax restores most flipped bytes without an error, and it accepts a folder that is incomplete because the process was
killed. So a checkpoint counts only if it has a manifest, which is written after its arrays were read back. A checkpoint
is restored only if every file in the manifest has the SHA-256 sum listed there.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import numpy as np

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import (
    TEMPORARY,
    scratch_folder,
    temporary_name,
)
from jaxopt_bench.runs.checkpoint_folders import (
    ARRAYS,
    MANIFEST,
    MARKER,
    hash_files,
    is_linked,
    is_ours,
    list_steps,
    remove_folder,
    verify_folder,
)
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.strict_json import write_json

if TYPE_CHECKING:  # Orbax is imported when the first checkpoint is written or read, because the import is slow
    import orbax.checkpoint as ocp

T = TypeVar("T")


class Checkpoints:
    """The checkpoints of one run or of a population. Each checkpoint has a folder, which is named by its step.

    Saving copies the arrays to the host and returns; one background thread writes them. A save waits for the previous
    save, so no checkpoint is skipped. If several processes train together, only the first process writes.

    The folder of a checkpoint holds `marker.json`, which is written first and identifies the folder as made by this
    program; the folder `arrays`, which Orbax writes; and `manifest.json`, which is written last. The folder has a
    temporary name until the manifest is written.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        keep: int = 2,
        after: int | None = None,
        last: int | None = None,
        warn: Callable[[str], None] = logging.warning,
    ):
        """Opens the folder for writing and removes the remains of interrupted saves.

        Args:
          directory: the folder of checkpoints. It is created if it does not exist; its parent must exist.
          keep: the number of latest checkpoints to keep, in addition to the best one.
          after: the step from which the run continues; None keeps all complete checkpoints. Later checkpoints are
            removed, so that new checkpoints can have their names. They are damaged, since otherwise the run would
            continue from the last of them.
          last: the last step of the run. Folders of the user with numbers above it stay, because no checkpoint will
            have their names. If it is None, all later numbers count.
          warn: called with a message if something cannot be removed.

        Raises:
          UserError: if a later checkpoint cannot be removed, for example because this program did not make it, or
            because `directory` is reached through a symbolic link.
        """
        self.directory = directory.absolute()
        self.keep, self.warn = keep, warn
        self._warnings: dict[str, bool] = {}  # by text: whether the warning was already given
        self._written: set[str] = set()  # names of folders
        self.directory.mkdir(exist_ok=True)
        if jax.process_index() == 0:
            self._clean(after, last)
        self._worker = concurrent.futures.ThreadPoolExecutor(1, "checkpoints")
        self._pending: concurrent.futures.Future[None] | None = None

    def save(self, step: int, tree: Any, best: Collection[int] = ()) -> None:
        """Starts to save a pytree of arrays for a step. An existing checkpoint of that step stays unchanged.

        Args:
          step: the number of updates made so far.
          tree: the arrays; they are copied before this method returns.
          best: steps whose checkpoints are kept, regardless of their age.

        Raises:
          UserError: if the previous save failed.
        """
        self.wait()
        if jax.process_index() == 0 and step not in checkpoint_steps(self.directory):
            copied = jax.tree.map(lambda leaf: np.array(leaf), tree)
            self._pending = self._worker.submit(self._write, step, copied, best)

    def prune(self, best: Collection[int]) -> None:
        """Removes all checkpoints except the latest ones and those of the steps in `best`."""
        steps = checkpoint_steps(self.directory)
        for step in steps[: -self.keep]:
            if step not in best:
                self._remove(str(step))

    def wait(self) -> None:
        """Waits until the last save is on the disk, and raises the exception of that save if it failed."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending.result()
        for text in [text for text, given in self._warnings.items() if not given]:
            self._warnings[text] = True
            self.warn(text)

    def close(self) -> None:
        """Waits for the last save, and stops the background thread."""
        try:
            self.wait()
        finally:
            self._worker.shutdown()
            if "_checkpointer" in vars(self):
                self._checkpointer.close()

    @functools.cached_property
    def _checkpointer(self) -> ocp.Checkpointer:
        return _checkpointer()

    def _clean(self, after: int | None, last: int | None) -> None:
        """Removes incomplete checkpoints, and those after a step."""
        complete = set(map(str, checkpoint_steps(self.directory)))
        for name in os.listdir(self.directory):
            half_removed = name not in complete and is_ours(self.directory / name)
            if TEMPORARY.fullmatch(name) or half_removed:
                self._remove(name)
        if after is None:
            return
        for step in (step for step in list_steps(self.directory) if step > after):
            if last is not None and step > last and not is_ours(self.directory / str(step)):
                continue
            self._remove(str(step))
            if os.path.lexists(self.directory / str(step)):
                raise UserError(
                    f"{self.directory / str(step)} has the name of a checkpoint that this run will write, but it "
                    "cannot be removed. Move it away; then the same command continues."
                )

    def _remove(self, name: str) -> None:
        """Removes the files of a checkpoint that this program made. `wait` warns if something could not be removed."""
        folder = self.directory / name
        if is_linked(self.directory) and name not in self._written:
            self._warnings.setdefault(
                f"{self.directory} is reached through a symbolic link, so checkpoints that earlier processes wrote "
                "there are not removed. Remove old ones yourself.",
                False,
            )
        elif not is_ours(folder):
            self._warnings.setdefault(f"{folder} was not made by this program, so it is not removed.", False)
        else:
            try:
                remove_folder(folder)
            except OSError as error:
                self._warnings.setdefault(f"an old checkpoint cannot be removed ({error}); training continues.", False)

    def _write(self, step: int, tree: Any, best: Collection[int]) -> None:
        folder = self.directory / str(step)
        temporary = self.directory / temporary_name()
        try:
            temporary.mkdir()
            write_json(temporary / MARKER, {"step": step, "made_by": "jaxopt-bench"})
            with _through_link(temporary) as link:
                _save(self._checkpointer, link / ARRAYS, tree)
                _check_equal(_restore(self._checkpointer, link / ARRAYS, tree), tree)
            write_json(temporary / MANIFEST, {"step": step, "sha256": hash_files(temporary)})
            temporary.rename(folder)
            self._written.add(folder.name)
        except (OSError, ValueError, RuntimeError) as error:  # TensorStore raises ValueError on a full disk
            with contextlib.suppress(OSError):
                remove_folder(temporary)
            earlier = max(checkpoint_steps(self.directory), default=None)
            place = "starts again" if earlier is None else f"continues from the checkpoint of step {earlier:,}"
            raise UserError(
                f"the checkpoint {folder} could not be written ({_first_line(error)}). When the cause is removed, the "
                f"same command {place}."
            ) from error
        self.prune(best)


def checkpoint_steps(directory: pathlib.Path) -> list[int]:
    """Returns the steps that have a complete checkpoint, in ascending order."""
    return [step for step in list_steps(directory) if (directory / str(step) / MANIFEST).exists()]


def remove_checkpoints(directory: pathlib.Path) -> None:
    """Removes all checkpoints in a folder, and the folder itself if it is then empty.

    Files that this program did not make stay. If the folder is reached through a symbolic link, nothing is removed.
    """
    if directory.is_dir() and not is_linked(directory):
        for name in os.listdir(directory):
            if is_ours(directory / name):
                with contextlib.suppress(OSError):
                    remove_folder(directory / name)
        with contextlib.suppress(OSError):
            directory.rmdir()


def restore(directory: pathlib.Path, step: int, like: Any = None) -> Any:
    """Returns the pytree of the checkpoint of a step, as NumPy arrays, after verifying every file of the checkpoint.

    If several processes train together, only the first process reads.

    Args:
      directory: the folder of checkpoints.
      step: the step of the checkpoint.
      like: a pytree of arrays, or of shapes and types, with the structure of the saved pytree. If it is None, nodes
        other than dictionaries are returned as dictionaries.

    Raises:
      UserError: if a file is missing, changed or unreadable (the message names it), if the checkpoint is a copy of that
        of another step, or if its arrays have other names or shapes than those of `like`.
    """
    folder = directory.absolute() / str(step)
    if like is None:
        return run_on_first_process(lambda: _read(folder, step, None))
    leaves = run_on_first_process(lambda: jax.tree.leaves(_read(folder, step, like)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def restore_latest(
    directory: pathlib.Path, like: T, warn: Callable[[str], None] = logging.warning
) -> tuple[int, T] | None:
    """Returns the step and the pytree of the last undamaged checkpoint; None if the folder has no complete checkpoint.

    Args:
      directory: the folder of checkpoints.
      like: the structure of the pytree; see `restore`.
      warn: called with a message for each damaged checkpoint.

    Raises:
      UserError: if there are checkpoints and all are damaged.
    """
    errors = []
    for step in reversed(run_on_first_process(lambda: checkpoint_steps(directory))):
        try:
            return step, restore(directory, step, like)
        except UserError as error:
            errors.append(str(error))
            warn(f"{error} The next older checkpoint is tried, if there is one.")
    if errors:
        raise all_damaged(directory, errors)
    return None


def all_damaged(directory: pathlib.Path, errors: Sequence[str]) -> UserError:
    """Returns the error for a folder whose checkpoints are all damaged, with the messages about each of them."""
    return UserError(
        f"every checkpoint in {directory} is damaged, and nothing was changed. Restore one of them from a copy, or "
        f"move this folder away and use the same command again: training then starts from step 0. {' '.join(errors)}"
    )


def _read(folder: pathlib.Path, step: int, like: Any) -> Any:
    """Returns the pytree in the folder of a checkpoint; see `restore`."""
    verify_folder(folder, step)
    target = None if like is None else jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), like)
    with _checkpointer() as checkpointer, _through_link(folder) as link:
        try:
            found = _restore(checkpointer, link / ARRAYS, target)
        except Exception as error:  # Orbax raises exceptions of many types if a file has unexpected content
            raise UserError(
                f"checkpoint {folder} holds other arrays than this experiment has ({_first_line(error)})."
            ) from error
    if target is None:
        return found
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(target), strict=True):
        if one.shape != other.shape:
            raise UserError(
                f"checkpoint {folder} holds other arrays than this experiment has: an array has the shape {one.shape}. "
                f"Expected {other.shape}."
            )
    return found


def _check_equal(found: Any, saved: Any) -> None:
    """Checks that the arrays that were read back are equal to the saved ones, including NaNs.

    Raises:
      ValueError: if an array differs.
    """
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(saved), strict=True):
        if one.dtype != other.dtype or one.shape != other.shape or one.tobytes() != other.tobytes():
            raise ValueError("its arrays were read back with other values than were written")


@contextlib.contextmanager
def _through_link(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a symbolic link to a folder, for use by Orbax.

    Orbax treats absolute paths as patterns: it finds nothing below a folder called `[1]`, and saves an unreadable
    checkpoint there. Orbax also creates missing parent folders: if the run's directory is removed during a save, Orbax
    would create it again. Through a link it cannot create it, so the save fails.
    """
    with scratch_folder() as scratch:
        link = scratch / "checkpoint"
        link.symlink_to(folder, target_is_directory=True)
        yield link


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _checkpointer() -> ocp.Checkpointer:
    """Returns Orbax's synchronous checkpointer. After a failed save, the threads of the asynchronous one wait minutes.

    Only the first process uses it. If several processes train together, each process has the whole arrays.
    """
    import orbax.checkpoint as ocp

    own = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0}, barrier_sync_key_prefix="first")
    return ocp.Checkpointer(ocp.StandardCheckpointHandler(multiprocessing_options=own), multiprocessing_options=own)


def _save(checkpointer: ocp.Checkpointer, folder: pathlib.Path, tree: Any) -> None:
    import orbax.checkpoint as ocp

    checkpointer.save(folder, args=ocp.args.StandardSave(tree))


def _restore(checkpointer: ocp.Checkpointer, folder: pathlib.Path, like: Any) -> Any:
    import orbax.checkpoint as ocp

    return checkpointer.restore(folder, args=ocp.args.StandardRestore(like))
