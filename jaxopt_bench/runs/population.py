"""Populations: runs that one program trains together. They share checkpoints; each writes records of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax

from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.directory import locked
from jaxopt_bench.runs.index import CONFIG, Entry, Index
from jaxopt_bench.runs.load import CheckpointLocation, checkpoint_location_to_json
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.processes import found_by_first
from jaxopt_bench.strict_json import write_json
from jaxopt_bench.training import Program, Task


@dataclasses.dataclass(frozen=True)
class Population:
    """Runs that are trained together. A single run is a population of one.

    Attributes:
      members: in the order of the stacked arrays.
      folder: it holds the folder of checkpoints: the directory of a single run, or `population-…` beside the runs.
      begun: whether there is a checkpoint to continue from.
    """

    members: Sequence[Member]
    folder: pathlib.Path
    begun: bool = False

    @property
    def task(self) -> Task:
        """The task of the first member; those of the others differ in numbers and seeds alone."""
        return self.members[0].task

    @property
    def active(self) -> list[Member]:
        """The members that are still trained."""
        return [member for member in self.members if not member.finished]

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    def location(self, member: Member) -> CheckpointLocation:
        """Returns where a member's checkpoints are."""
        return CheckpointLocation(self.checkpoints, member.index, len(self.members))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the population and the active members' directories for this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            for directory in dict.fromkeys([self.folder, *(member.directory for member in self.active)]):
                stack.enter_context(locked(directory))
            yield


def new_population(entries: Sequence[Entry], task_of: Callable[[Entry], Task]) -> Population:
    """Returns a population of runs that have no checkpoint. Nothing is written."""
    members = [Member(task_of(entry), entry, index) for index, entry in enumerate(entries)]
    directories = [entry.directory for entry in entries]
    if len(directories) == 1:
        return Population(members, directories[0])
    name = hashlib.sha256("\n".join(directory.name for directory in directories).encode()).hexdigest()[:12]
    return Population(members, directories[0].parent / f"population-{name}")


def continued_population(
    index: Index, location: CheckpointLocation, task_of: Callable[[Entry], Task], largest: int | None = None
) -> Population:
    """Returns the population that has checkpoints in a folder, or one of a part of its runs.

    A part is taken out, with its part of the checkpoints, if only some of the runs are to be trained now, since the
    others must find the checkpoints as they are; or if more are to be trained than can be at once.

    Args:
      index: of the runs that are to be trained, and of those that have finished.
      location: the folder and the number of members.
      task_of: returns the task of a run.
      largest: how many runs can be trained at once; None for any number.

    Raises:
      UserError: if another process uses the checkpoints, or they are damaged.
    """
    sharing = index.sharing(location)
    members = [Member(task_of(entry), entry, i, entry.finished) for i, entry in sorted(sharing.items())]
    active = [member for member in members if not member.finished]
    if len(members) == location.members and (largest is None or len(active) <= largest):
        return Population(members, location.folder.parent, begun=True)
    parts = 1 if largest is None else math.ceil(len(active) / largest)
    return _taken_out(index, location, active[: math.ceil(len(active) / parts)])


def _taken_out(index: Index, location: CheckpointLocation, members: Sequence[Member]) -> Population:
    """Makes a population of some of another's members, with their part of its checkpoints."""
    old = Population(members, location.folder.parent)
    tasks = {member.directory: member.task for member in members}
    new = new_population([member.entry for member in members], lambda entry: tasks[entry.directory])
    with old.locked():
        _copy_checkpoints(location, [member.index for member in members], new)
        for member in new.members:
            config = {**(member.entry.config or {})}
            config["checkpoints"] = checkpoint_location_to_json(member.directory, new.location(member))
            write_json(member.directory / CONFIG, config)
    index.reread(member.entry for member in members)
    return dataclasses.replace(new, begun=True)


def _copy_checkpoints(location: CheckpointLocation, indices: Sequence[int], new: Population) -> None:
    """Saves the part of some members of all checkpoints in a folder as those of a new population."""
    steps = found_by_first(lambda: checkpoints.checkpoint_steps(location.folder))
    like = Program(new.task, location.members).abstract_checkpoint()
    new.folder.mkdir(exist_ok=True)
    saved = checkpoints.Checkpoints(new.checkpoints, keep=len(steps))
    with contextlib.closing(saved):
        for step in steps:
            tree = checkpoints.restore(location.folder, step, like)
            saved.save(step, jax.tree.map(lambda leaf: leaf[list(indices)], tree))
