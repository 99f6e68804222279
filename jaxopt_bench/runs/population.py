"""Populations: many runs that one program trains, each with a directory of its own, and one of checkpoints for all."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import re
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import psutil
from rich.console import Console

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.directory import choose_directory, locked
from jaxopt_bench.runs.evaluation import evaluate_finished
from jaxopt_bench.runs.forms import check_optimizer
from jaxopt_bench.runs.load import Run, checkpointed, finished, load_config, load_run
from jaxopt_bench.runs.member import Member, checkpoints_entry
from jaxopt_bench.runs.processes import agreed, found_by_first, least
from jaxopt_bench.runs.progress import Reporter, reporter_for
from jaxopt_bench.runs.session import Interrupted, Recording, Session
from jaxopt_bench.runs.splits import Splits, load_task
from jaxopt_bench.strict_json import check_object, read_json, write_json
from jaxopt_bench.training import (
    CodePath,
    Task,
    abstract_states,
    check_batch,
    largest_population,
    needed_bytes,
)

POPULATION = "population.json"
BESIDE = re.compile(r"\.\./(\.\./(?!\.)[^/]+/)?(?!\.)[^/]+")  # a run of the same name, or of another
MEBIBYTE = 1 << 20
SHARE_OF_MEMORY = 0.9  # of what is free, that a population may fill
FILES_EACH, USUAL_FILES = 8, 512  # that a member keeps open (its lock and event files), and all else


def train_population(
    experiments: Sequence[Experiment],
    *,
    runs_dir: str | pathlib.Path = "runs",
    data_dir: str | pathlib.Path | None = None,
    fresh: bool = False,
    recording: Recording | None = None,
    reporter: Reporter | None = None,
    code_path: CodePath | None = None,
    largest: int | None = None,
) -> list[Run]:
    """Trains experiments, as many at once as one program can train and as fit into memory.

    One program trains those that differ in numbers and seeds alone; of others each kind takes its turn. Those that have
    finished are left as they are, but for an evaluation that `recording` asks for and they lack; those that were begun
    go on from their last checkpoint, in the population they were begun in.

    Args:
      experiments: what to train.
      runs_dir: each run's directory is `<runs_dir>/<name>/<digest>`.
      data_dir: where TFDS keeps its data sets; TFDS's own default where None.
      fresh: begin other runs beside those there are.
      recording: what and how often to write; the defaults of `Recording` where None.
      reporter: what is told of the progress; by default a live display on a terminal, else plain lines.
      code_path: how to compute it; as suits the backend where None.
      largest: at most so many members at once; populations that were begun with more are divided.

    Returns:
      The runs, in the experiments' order. The status of each is "completed" or "diverged".

    Raises:
      UserError: if two are the same; and as `train` does.
      Interrupted: after SIGINT or SIGTERM, once a checkpoint is written.
    """
    reporter, recording = reporter or reporter_for(Console()), recording or Recording()
    data_dir = None if data_dir is None else pathlib.Path(data_dir)
    directories = [choose_directory(experiment, pathlib.Path(runs_dir), fresh) for experiment in experiments]
    if len(set(directories)) < len(directories):
        raise UserError(f"two of the {len(experiments)} experiments are the same; accepted: experiments that differ.")
    of_directory = dict(zip(directories, experiments, strict=True))
    if recording.evaluation:
        evaluate_finished(of_directory, data_dir, code_path, reporter)
    if unfinished := _unfinished(of_directory):
        unlike = {(e.problem, e.optimizer.static_fields): e for e in experiments}  # numbers change no shape
        for experiment in unlike.values():
            check_optimizer(experiment, reporter.say)
        keep_compiled_programs()
        programs = [_loaded(group, data_dir, code_path) for group in _by_program(of_directory)]
        for tasks, _ in programs:  # a model that does not fit the examples fails here, before anything is written
            abstract_states(next(iter(tasks.values())))
        left = [tasks for tasks, _ in programs if _unfinished(tasks)]
        if len(left) > 1:
            reporter.say(f"{len(unfinished)} runs are {len(left)} programs, which are compiled and trained in turn")
        for tasks in left:
            first = next(iter(tasks.values()))
            check_batch(first.code_path, len(_unfinished(tasks)), first.experiment.batch_size)
        for directory in directories:  # all of them, so that those of later waves are found without `fresh` again
            directory.mkdir(parents=True, exist_ok=True)
        while programs:
            tasks, splits = programs.pop(0)  # so that the examples leave the device before the next program's come
            _train_all(tasks, splits, recording, reporter, largest)
            del splits
    return [load_run(directory) for directory in directories]


def discard_checkpoints(directories: Sequence[pathlib.Path]) -> None:
    """Removes the checkpoints of finished runs, and of the populations that they were, once all of these have finished.

    Their records stay.
    """
    for home in {home for run in directories if finished(run) and (home := _home(run)) is not None}:
        entries = _entries(home) if (home / POPULATION).exists() else [{"directory": "."}]
        if all(finished(home / entry["directory"]) for entry in entries):
            checkpoints.remove_checkpoints(home / "checkpoints")


def check_not_shared(directory: pathlib.Path) -> None:
    """Checks that a run's checkpoints are its own.

    Raises:
      UserError: where it is being trained as one of a population.
    """
    home = _home(directory)
    if home not in (None, directory):
        raise UserError(
            f"{directory} is one of the population {home}, which has not finished; accepted: the command that began "
            "the population, to continue it, or --fresh, to train this one beside it."
        )


def _by_program(experiments: Mapping[pathlib.Path, Experiment]) -> list[dict[pathlib.Path, Experiment]]:
    """Returns the experiments in groups, each of which one program can train."""
    groups: dict[str, dict[pathlib.Path, Experiment]] = {}
    for directory, experiment in experiments.items():
        groups.setdefault(json.dumps(experiment.program()), {})[directory] = experiment
    return list(groups.values())


def _loaded(
    experiments: Mapping[pathlib.Path, Experiment], data_dir: pathlib.Path | None, code_path: CodePath | None
) -> tuple[dict[pathlib.Path, Task], Splits]:
    """Returns the tasks of experiments that one program can train, and the examples of all of them."""
    task, splits = load_task(next(iter(experiments.values())), data_dir, code_path)
    return {d: dataclasses.replace(task, experiment=e) for d, e in experiments.items()}, splits


def _train_all(
    tasks: dict[pathlib.Path, Task], splits: Splits, recording: Recording, reporter: Reporter, largest: int | None
) -> None:
    """Trains wave after wave until every directory holds a finished run."""
    while unfinished := _unfinished(tasks):
        begun = next((home for d in unfinished if (home := _home(d)) is not None), None)
        if begun is None:
            if largest is None:
                largest = agreed(_largest(tasks[unfinished[0]], splits, len(unfinished)))
            waves = math.ceil(len(unfinished) / largest)
            if waves > 1:
                reporter.say(f"{len(unfinished)} runs in {waves} waves: {largest} fit at once")
            wave = unfinished[: _size(len(unfinished), waves, largest, tasks[unfinished[0]].code_path.devices)]
            begun = _begin([(d, tasks[d].experiment) for d in wave])
        members = _members(begun, tasks[unfinished[0]])
        active = [member for member in members if not member.finished]
        if largest is not None and len(active) > largest:
            _divide(begun, active, largest)
            continue
        session = Session(members, splits, begun, recording, reporter, waiting=max(0, len(unfinished) - len(active)))
        if not _fits(session):
            largest = math.ceil(len(session.active) / 2)
            reporter.say(f"out of memory with {len(session.active)} runs at once; going on with {largest}")
        elif session.stopping() and (left := _unfinished(tasks)):
            raise Interrupted(session.heeded or signal.SIGINT, left[0], 0)


def _size(count: int, waves: int, largest: int, devices: int) -> int:
    """Returns how many runs the next of so many waves has: a multiple of the devices where there are as many."""
    even = math.ceil(count / waves)
    full = min(math.ceil(even / devices) * devices, largest // devices * devices)
    return full if devices <= full <= count else even


def _unfinished(directories: dict[pathlib.Path, Task] | dict[pathlib.Path, Experiment]) -> list[pathlib.Path]:
    return [directory for directory in directories if not finished(directory)]


def _largest(task: Task, splits: Splits, wanted: int) -> int:
    def need(members: int) -> float:
        try:
            return needed_bytes(task, splits.train, members)
        except jax.errors.JaxRuntimeError as error:  # compiling tries things out on the device
            if _is_out_of_memory(error):
                return math.inf
            raise

    return largest_population(need, wanted, SHARE_OF_MEMORY * _free_memory())


def _is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


def _free_memory() -> float:
    """Returns the bytes that are free where programs are run; with several processes, where there are fewest."""
    stats = jax.local_devices()[0].memory_stats() or {}
    known = "bytes_limit" in stats
    free = stats["bytes_limit"] - stats["bytes_in_use"] if known else psutil.virtual_memory().available
    return least(free // MEBIBYTE) * MEBIBYTE


def _fits(session: Session) -> bool:
    """Trains a wave to its end, and returns whether the device's memory sufficed."""
    _allow_open_files(FILES_EACH * len(session.active))
    try:
        with _held(session.home, session.active):
            if not any(finished(member.directory) for member in session.active):  # by another process, in the meantime
                with session:
                    session.run()
    except jax.errors.JaxRuntimeError as error:
        if not _is_out_of_memory(error) or len(session.active) < 2 or jax.process_count() > 1:
            raise  # of several processes the others had room, and wait
        return False
    return True


@contextlib.contextmanager
def _held(home: pathlib.Path, members: Sequence[Member]) -> Iterator[None]:
    """Holds a population, and the runs of some members, for this process."""
    with contextlib.ExitStack() as stack:
        for directory in {home, *(member.directory for member in members)}:
            stack.enter_context(locked(directory))
        yield


def _allow_open_files(more: int) -> None:
    """Raises this process's limit of open files, where it is lower than that and the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = USUAL_FILES + more
    if soft != resource.RLIM_INFINITY and soft < wanted:
        within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))


def _begin(wave: Sequence[tuple[pathlib.Path, Experiment]]) -> pathlib.Path:
    """Returns the folder of a new population's checkpoints: of one run, its own."""
    directories = [directory for directory, _ in wave]
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
    if len(wave) == 1:
        return directories[0]
    name = hashlib.sha256("\n".join(directory.name for directory in directories).encode()).hexdigest()[:12]
    home = directories[0].parent / f"population-{name}"
    home.mkdir(exist_ok=True)
    members = [{"directory": os.path.relpath(d, home), "experiment": e.to_json()} for d, e in wave]
    write_json(home / POPULATION, {"members": members})
    return home


def _entries(home: pathlib.Path) -> list[dict[str, Any]]:
    """Returns a population's members as its file has them."""
    path = home / POPULATION
    entries = check_object(str(path), read_json(path), {"members": list})["members"]
    for i, entry in enumerate(entries):
        directory = check_object(f"{path}: members[{i}]", entry, {"directory": str, "experiment": dict})["directory"]
        if not BESIDE.fullmatch(directory):
            raise UserError(f"{path}: members[{i}] is damaged: {directory!r} is no run's folder beside it.")
    return entries


def _members(home: pathlib.Path, task: Task) -> list[Member]:
    """Returns all members of a population in their places, as finished also those that went elsewhere or were removed.

    As long as no member was begun, all of them belong to it.
    """
    if not (home / POPULATION).exists():
        config = home / "config.json"
        experiment = Experiment.from_json(load_config(config)["experiment"]) if config.exists() else task.experiment
        return [Member(dataclasses.replace(task, experiment=experiment), home)]
    entries = _entries(home)
    directories = [pathlib.Path(os.path.normpath(home / entry["directory"])) for entry in entries]
    homes = [_home(directory) for directory in directories]
    begun = any(found is not None for found in homes)
    members = []
    for place, (directory, entry, found) in enumerate(zip(directories, entries, homes, strict=True)):
        own = dataclasses.replace(task, experiment=Experiment.from_json(entry["experiment"]))
        elsewhere = finished(directory) or (begun and found != home)
        members.append(Member(own, directory, place, finished=elsewhere))
    return members


def _home(directory: pathlib.Path) -> pathlib.Path | None:
    """Returns the folder that holds a run's checkpoints: its own or a population's; None where it was never begun."""
    if not (directory / "config.json").exists():
        return None
    path = load_config(directory / "config.json").get("checkpoints", {}).get("path", "checkpoints")
    home = pathlib.Path(os.path.normpath(directory / path)).parent
    own = pathlib.Path(os.path.normpath(directory))
    if home != own and not (home / POPULATION).exists():
        raise UserError(
            f"{directory} was trained in the population {home}, which holds its checkpoints and is missing. Copy that "
            "folder too, to the same place relative to the run, or train the run again with --fresh."
        )
    if home != own and own not in [pathlib.Path(os.path.normpath(home / e["directory"])) for e in _entries(home)]:
        raise UserError(
            f"{directory / 'config.json'} is damaged: {home / POPULATION} does not name the run; accepted: --fresh."
        )
    return home


def _divide(home: pathlib.Path, members: Sequence[Member], largest: int) -> None:
    """Makes populations of at most `largest` out of one's members, as even as can be."""
    size = math.ceil(len(members) / math.ceil(len(members) / largest))
    with _held(home, members):
        for start in range(0, len(members), size):
            _move(home, members[start : start + size])


def _move(home: pathlib.Path, members: Sequence[Member]) -> None:
    """Makes a population of some of another's members, with their part of its checkpoints."""
    half = _begin([(member.directory, member.task.experiment) for member in members])
    places = [member.place for member in members]
    of_all = len(_members(home, members[0].task))
    steps = found_by_first(lambda: checkpoints.checkpoint_steps(home / "checkpoints"))
    saved = checkpoints.Checkpoints(half / "checkpoints", keep=len(steps))
    with contextlib.closing(saved):
        for step in steps:
            tree = checkpoints.restore(home / "checkpoints", step, checkpointed(members[0].task, of_all))
            saved.save(step, jax.tree.map(lambda leaf: leaf[places], tree))
    for place, member in enumerate(members):
        config = load_config(member.directory / "config.json")
        config["checkpoints"] = checkpoints_entry(member.directory, half, place, len(members))
        write_json(member.directory / "config.json", config)
