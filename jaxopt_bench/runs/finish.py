"""The work after the last step: evaluates the test split if that is requested, and writes evaluations and summaries."""

from __future__ import annotations

import time
from collections.abc import Sequence

import jax

from jaxopt_bench.errors import UserError
from jaxopt_bench.runs import checkpoints, records
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.predictions import write_evaluations
from jaxopt_bench.runs.recorder import MeasuredSplit, Recorder
from jaxopt_bench.runs.signals import StopRequest
from jaxopt_bench.runs.splits import Splits
from jaxopt_bench.training import (
    Program,
    TrainState,
    fetch_to_host,
    padded_batches,
    replicated_sharding,
    shard_over_devices,
)


def finish(program: Program, states: TrainState, splits: Splits, recorder: Recorder, stop: StopRequest) -> None:
    """Evaluates the test split if the experiment requests it, and writes evaluations and the final summaries.

    The test split is evaluated with the parameters of the last step, and with those of the best epoch if that is not
    the last one.

    Args:
      program: the program of the population.
      states: the states after the last step.
      splits: the examples.
      recorder: writes the results.
      stop: whether the process was asked to stop.

    Raises:
      WorkStopped: if the process is asked to stop before all work is done. Evaluations that were written are not
        repeated when the run is resumed.
    """
    step = program.task.steps
    recorder.diverge_where_not_finite(step)
    if program.task.reads_test and recorder.active:
        _test_last(program, states, splits, recorder, stop)
        for best in sorted(recorder.best_steps() - {step}):
            _test_best(best, program, splits, recorder, stop)
        recorder.diverge_where_not_finite(step)
    if recorder.options.recording.evaluation and recorder.active:
        directories = {member.index: member.directory for member in recorder.active}
        write_evaluations(directories, states, program, splits, stop.until_requested)
    recorder.complete(step)


def _test_last(program: Program, states: TrainState, splits: Splits, recorder: Recorder, stop: StopRequest) -> None:
    """Evaluates the test split at the last step, for the members that do not have this evaluation yet."""
    step = program.task.steps
    if untested := _untested(recorder, recorder.active, step):
        states = program.evaluator.states_to_evaluate(states, splits.train, stop.until_requested)
        found = _measured(program, states, splits, stop)
        recorder.write_test(step, untested, [member.index for member in untested], found)


def _test_best(step: int, program: Program, splits: Splits, recorder: Recorder, stop: StopRequest) -> None:
    """Evaluates the test split with the checkpoint of a step, for untested members with this best step."""
    members = [member for member in recorder.active if records.best_step(member.metrics.records) == step]
    if not (untested := _untested(recorder, members, step)):
        return
    try:
        like = program.abstract_checkpoint()
        states = checkpoints.restore(recorder.checkpoints.directory, step, like)["state"]
    except UserError as error:
        recorder.options.reporter.say(f"{error} The test split is not evaluated with the parameters of the best epoch.")
        return
    one, where = program.for_one(), replicated_sharding(program.task.code_path)
    for member in untested:  # one after the other: the other members have other best steps
        own = jax.tree.map(lambda leaf, at=member.index: leaf[at : at + 1], states)
        own = one.evaluator.states_to_evaluate(shard_over_devices(own, where), splits.train, stop.until_requested)
        recorder.write_test(step, [member], [0], _measured(one, own, splits, stop))


def _untested(recorder: Recorder, members: Sequence[Member], step: int) -> list[Member]:
    """Returns the members that lack the line of the test split at a step, or the results for its examples."""
    return [m for m in members if m.metrics.find("test", step) is None or recorder.lacks_examples(m, step)]


def _measured(program: Program, states: TrainState, splits: Splits, stop: StopRequest) -> MeasuredSplit:
    began = time.perf_counter()
    batches = stop.until_requested(padded_batches(splits.named("test")))
    values, examples = program.evaluator.evaluate_examples(states, batches)
    return MeasuredSplit(fetch_to_host(values), time.perf_counter() - began, examples)
