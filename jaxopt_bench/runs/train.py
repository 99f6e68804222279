"""Trains runs: reads their directories, trains populations, and writes their files."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
from collections.abc import Sequence

import jax

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.forms import check_optimizer
from jaxopt_bench.runs.index import IndexedRun, RunIndex
from jaxopt_bench.runs.load import Run, task_to_json
from jaxopt_bench.runs.memory import is_out_of_memory, largest_that_fits, size_of_wave
from jaxopt_bench.runs.options import Options
from jaxopt_bench.runs.population import Population, continued_population, new_population
from jaxopt_bench.runs.predictions import evaluate_finished
from jaxopt_bench.runs.problems import Problems
from jaxopt_bench.runs.processes import check_same
from jaxopt_bench.runs.recorder import opened_recorder
from jaxopt_bench.runs.restore import restore
from jaxopt_bench.runs.session import Session
from jaxopt_bench.runs.side_by_side import choose_side_by_side, with_recorded_threads
from jaxopt_bench.runs.signals import Interrupted, StopRequest
from jaxopt_bench.runs.splits import Splits, load_task
from jaxopt_bench.training import Program, Task, abstract_states, check_batch


def train(experiment: Experiment, options: Options | None = None) -> Run:
    """Trains an experiment, or continues it from its last checkpoint, or returns it if it has finished.

    If the run was started in a population, it continues alone, and the other runs stay unchanged. If the options
    request an evaluation and a finished run lacks it, the evaluation is computed from the last checkpoint.

    Args:
      experiment: the experiment to train.
      options: settings for training; the defaults of `Options` if it is None.

    Returns:
      The run. Its summary's status is "completed" or "diverged", or "stopped" after `Options.until_epoch`.

    Raises:
      UserError: for a mistake that the user can correct, such as a missing data set or checkpoint.
      Interrupted: after SIGINT, SIGTERM or SIGHUP, when the steps that were made are in a checkpoint.
    """
    options = options or Options()
    index = RunIndex.read([experiment], options.runs_dir, options.fresh, options.until_epoch)
    if not index.unfinished:
        options.reporter.say(
            f"{index.entries[0].directory} needs no further training. To train it again in a new folder, use --fresh "
            "(in Python: fresh=True)."
        )
    return _train(index, options)[0]


def train_population(experiments: Sequence[Experiment], options: Options | None = None) -> list[Run]:
    """Trains experiments, as many together as one program can train and as fit into memory.

    Experiments that differ only in names, seeds, and float fields of the optimizer or the schedule are trained by one
    program. If several programs are needed, they are used one after the other. Finished runs stay unchanged, except
    that an evaluation is added if the options request it and the run lacks it. Runs that were started earlier continue
    from their last checkpoint, in their previous population. If only some runs of a population are given, these
    continue without the others.

    Args:
      experiments: the experiments to train.
      options: settings for training; the defaults of `Options` if it is None.

    Returns:
      The runs, in the order of the experiments. The status of each is "completed" or "diverged", or "stopped" after
      `Options.until_epoch`.

    Raises:
      UserError: if two experiments are the same; and for the same mistakes as in `train`.
      Interrupted: after SIGINT, SIGTERM or SIGHUP, when the steps that were made are in a checkpoint.
    """
    options = options or Options()
    return _train(RunIndex.read(experiments, options.runs_dir, options.fresh, options.until_epoch), options)


def _train(index: RunIndex, options: Options) -> list[Run]:
    """Trains the unfinished runs of an index, and returns all runs."""
    options = dataclasses.replace(options, problems=options.problems or Problems())
    if options.recording.evaluation:
        evaluate_finished(index.entries, options)
    if unfinished := index.unfinished:
        unlike = {
            (e.experiment.workload.problem, e.experiment.optimizer.static_fields): e.experiment for e in unfinished
        }
        for experiment in unlike.values():  # one of each kind is enough: numbers do not change shapes
            check_optimizer(experiment, options.reporter.say)
        keep_compiled_programs()
        programs = [Group(entries, *load_task(entries[0].experiment, options)) for entries in _by_program(unfinished)]
        for group in programs:
            group.check()
        if len(programs) > 1:
            options.reporter.say(
                f"the {len(unfinished)} runs need {len(programs)} different programs, so they are trained in "
                f"{len(programs)} groups, one after the other"
            )
        for entry in index.entries:  # also those of later waves, so that the command without --fresh finds them
            entry.directory.mkdir(parents=True, exist_ok=True)
        while programs:  # dropping each one frees the device memory of its examples before the next one starts
            _train_group(programs.pop(0), index, options)
    return [entry.run() for entry in index.entries]


def _by_program(entries: Sequence[IndexedRun]) -> list[list[IndexedRun]]:
    """Returns the runs in groups; one program can train each group."""
    groups: dict[str, list[IndexedRun]] = {}
    for entry in entries:
        groups.setdefault(json.dumps(entry.experiment.program()), []).append(entry)
    return list(groups.values())


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that one program can train, with their task and examples.

    Attributes:
      entries: the entries of the runs.
      task: the task of one of the runs.
      splits: the examples, which all runs share.
      largest: the number of runs that can be trained together; None if it is not known yet.
    """

    entries: Sequence[IndexedRun]
    task: Task
    splits: Splits
    largest: int | None = None

    def check(self) -> None:
        """Checks, before anything is written, that the model fits the examples and that the devices can share the work.

        Raises:
          UserError: if one of these is not the case.
        """
        abstract_states(self.task)
        check_batch(self.task.code_path, len(self.entries), self.task.experiment.workload.batch_size)

    def task_of(self, entry: IndexedRun) -> Task:
        """Returns the task of a run."""
        return dataclasses.replace(self.task, experiment=entry.experiment)

    @property
    def unfinished(self) -> list[IndexedRun]:
        """The runs that still have to be trained."""
        return [entry for entry in self.entries if not entry.trained]


def _train_group(group: Group, index: RunIndex, options: Options) -> None:
    """Trains waves of runs until all runs of a group are trained."""
    group = dataclasses.replace(group, largest=options.largest)
    while unfinished := group.unfinished:
        population, group = _next_population(group, index, options)
        if population is None:
            continue
        waiting = len(unfinished) - len(population.active)
        try:
            stop = _train_wave(population, group.splits, index, options, waiting)
        except jax.errors.JaxRuntimeError as error:
            if not is_out_of_memory(error) or len(population.active) < 2 or jax.process_count() > 1:
                raise  # with several processes, the others had enough memory and are waiting
            active = len(population.active)
            group = dataclasses.replace(group, largest=math.ceil(active / 2))
            options.reporter.say(f"out of memory with {active} runs at once; continuing with {group.largest}")
            index.reread(member.entry for member in population.members)
            continue
        if stop is not None and stop.requested() and (left := group.unfinished):
            raise Interrupted(stop.any_signal or signal.SIGINT, left[0].directory, 0, options.fresh)


def _next_population(group: Group, index: RunIndex, options: Options) -> tuple[Population | None, Group]:
    """Returns the runs to train next, and the group with updated information on how to train it.

    The runs are None if another process changed them after they were read.
    """
    unfinished, largest = group.unfinished, group.largest
    begun = (location for entry in unfinished if (location := index.checkpoints_of(entry)) is not None)
    if (location := next(begun, None)) is not None:
        return continued_population(index, location, group.task_of, options.reporter.say, largest), group
    if largest is None:
        largest, task = largest_that_fits(group.task, group.splits.train, len(unfinished))
        group = dataclasses.replace(group, task=task, largest=largest)
    if (waves := math.ceil(len(unfinished) / largest)) > 1:
        options.reporter.say(f"{len(unfinished)} runs in {waves} waves: {largest} fit at once")
    size = size_of_wave(len(unfinished), largest, group.task.code_path.devices)
    return new_population(unfinished[:size], group.task_of), group


def _train_wave(
    population: Population, splits: Splits, index: RunIndex, options: Options, waiting: int
) -> StopRequest | None:
    """Trains a population to its end, and reads its files again.

    Args:
      population: the runs.
      splits: their examples.
      index: the index of all runs of the command.
      options: settings for training.
      waiting: the number of runs that will be trained afterwards.

    Raises:
      UserError: if a directory holds another run, or its run was started with other data.

    Returns:
      The request to stop, which says whether a signal came during training; None if another process changed the runs.
    """
    entries = [member.entry for member in population.active]
    with population.lock():
        if index.reread_changed(entries):
            return None
        for member in population.active:
            member.check_config()
        same = [(member.task.experiment.to_json(), task_to_json(member.task)) for member in population.members]
        check_same((options.recording.to_json(), options.until_epoch, population.task.code_path.to_json(), same))
        if len(population.members) == 1:  # there is nothing to measure
            population = with_recorded_threads(population)
        program = Program(population.task, len(population.members))
        if (
            options.compile_in_background and program.members == jax.process_count() == 1
        ):  # otherwise it was compiled earlier
            program.start_compiling(splits.train)
        start = restore(population, program, options.reporter)
        if population.task.code_path.side_by_side is None:
            population, program = choose_side_by_side(population, start, splits.train, options.recording.log_every)
        with opened_recorder(population, start, options) as recorder:
            session = Session(program, splits, recorder, start, waiting)
            del start  # otherwise these states would stay in memory, beside those that are trained
            session.run()
    index.reread(entries)
    return session.stop
