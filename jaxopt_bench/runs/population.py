"""Populations: runs that one program trains together. They share checkpoints; each run has its own other files."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import math
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.directory import lock_directory
from jaxopt_bench.runs.index import CONFIG, IndexedRun, RunIndex, remove_unused_checkpoints
from jaxopt_bench.runs.load import CheckpointLocation, check_state, checkpoint_location_to_json
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.memory import allow_open_files
from jaxopt_bench.runs.processes import run_on_first_process
from jaxopt_bench.strict_json import write_json
from jaxopt_bench.training import Program, Task, TrainState, member


@dataclasses.dataclass(frozen=True)
class Population:
    """Runs that are trained together. A single run is a population of one.

    Attributes:
      members: in the order of the stacked arrays.
      folder: the folder that contains the checkpoints: the directory of a single run, or `population-…` beside the
        runs.
      has_checkpoint: whether there is a checkpoint from which to continue.
    """

    members: Sequence[Member]
    folder: pathlib.Path
    has_checkpoint: bool = False

    @property
    def task(self) -> Task:
        """The task of the first member. Tasks differ in names, seeds, and float fields of optimizers and schedules."""
        return self.members[0].task

    @property
    def active(self) -> list[Member]:
        """The members that have not finished."""
        return [member for member in self.members if not member.finished]

    @property
    def checkpoints(self) -> pathlib.Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    def location(self, member: Member) -> CheckpointLocation:
        """Returns the location of a member's checkpoints."""
        return CheckpointLocation(self.checkpoints, member.index, len(self.members))

    def side_by_side(self, threads: int) -> Population:
        """Returns the population with a code path that trains `threads` members at the same time."""
        members = [dataclasses.replace(member, task=member.task.side_by_side(threads)) for member in self.members]
        return dataclasses.replace(self, members=members)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the population's folder and the active members' directories for this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        allow_open_files(len(self.active))
        with contextlib.ExitStack() as stack:
            for directory in dict.fromkeys([self.folder, *(member.directory for member in self.active)]):
                stack.enter_context(lock_directory(directory))
            yield


def new_population(entries: Sequence[IndexedRun], task_of: Callable[[IndexedRun], Task]) -> Population:
    """Returns a population of runs that have no checkpoint. Nothing is written."""
    members = [Member(task_of(entry), entry, index) for index, entry in enumerate(entries)]
    directories = [entry.directory for entry in entries]
    if len(directories) == 1:
        return Population(members, directories[0])
    name = hashlib.sha256("\n".join(directory.name for directory in directories).encode()).hexdigest()[:12]
    return Population(members, directories[0].parent / f"population-{name}")


def continued_population(
    index: RunIndex,
    location: CheckpointLocation,
    task_of: Callable[[IndexedRun], Task],
    warn: Callable[[str], None],
    largest: int | None = None,
) -> Population | None:
    """Returns the population whose checkpoints are in a folder, or a new population with a part of its runs.

    If only some of the runs are to be trained now, or more than can be trained at once, a part of them becomes a new
    population with a copy of its checkpoints. The old checkpoints stay unchanged for the other runs, if there are any.

    Args:
      index: the index of all runs of the command.
      location: the folder of the checkpoints, and the number of members.
      task_of: returns the task of a run.
      warn: called with a message for each damaged checkpoint.
      largest: how many runs can be trained at once; None for any number.

    Returns:
      The population; None if another process has changed the runs in the meantime.

    Raises:
      UserError: if another process uses the checkpoints, all of them are damaged, or they belong to other runs.
    """
    sharing = index.sharing(location)
    members = [Member(task_of(entry), entry, i, entry.finished) for i, entry in sorted(sharing.items())]
    active = [each for each in members if not each.finished]
    if len(members) == location.members and (largest is None or len(active) <= largest):
        return Population(members, location.folder.parent, has_checkpoint=True)
    parts = 1 if largest is None else math.ceil(len(active) / largest)
    return _take_out(index, location, active[: math.ceil(len(active) / parts)], warn)


def _take_out(
    index: RunIndex, location: CheckpointLocation, members: Sequence[Member], warn: Callable[[str], None]
) -> Population | None:
    """Makes a new population of some members of an existing one; see `continued_population`.

    The checkpoints of the existing one are removed if it has no other members.
    """
    old = Population(members, location.folder.parent)
    tasks = {each.directory: each.task for each in members}
    new = new_population([each.entry for each in members], lambda entry: tasks[entry.directory])
    with old.lock():
        if index.reread_changed([each.entry for each in members]):
            return None
        for each in members:
            each.check_config()
        _copy_checkpoints(location, members, new, warn)
        for each in new.members:
            config = {**(each.entry.config or {})}
            config["checkpoints"] = checkpoint_location_to_json(each.directory, new.location(each))
            write_json(each.directory / CONFIG, config)
        remove_unused_checkpoints(location.folder)
    index.reread(each.entry for each in members)
    return dataclasses.replace(new, has_checkpoint=True)


def _copy_checkpoints(
    location: CheckpointLocation, members: Sequence[Member], new: Population, warn: Callable[[str], None]
) -> None:
    """Copies all checkpoints of a folder to a new population, with the arrays of only some members.

    Damaged checkpoints are not copied.
    """
    steps = run_on_first_process(lambda: checkpoints.checkpoint_steps(location.folder))
    like = Program(new.task, location.members).abstract_checkpoint()
    indices = [each.index for each in members]
    new.folder.mkdir(exist_ok=True)
    copies = checkpoints.Checkpoints(new.checkpoints, keep=len(steps), after=0, warn=warn)
    errors = []
    with contextlib.closing(copies):
        for step in steps:
            try:
                tree = checkpoints.restore(location.folder, step, like)
            except UserError as error:
                errors.append(str(error))
                warn(f"{error} It is not copied.")
                continue
            check_states(tree["state"], members, location.folder / str(step))
            copies.save(step, jax.tree.map(lambda leaf: leaf[indices], tree))
    if len(errors) == len(steps):
        raise checkpoints.all_damaged(location.folder, errors)


def check_states(states: TrainState, members: Sequence[Member], checkpoint: pathlib.Path) -> None:
    """Checks that a checkpoint holds the states of the given members at their indices; see `check_state`."""
    for own in members:
        check_state(member(states, own.index), own.task.experiment, f"{checkpoint}, member {own.index}")
