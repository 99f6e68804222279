"""The start of a population's training: from its last checkpoint, or from the initial states."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxopt_bench.runs.checkpoints import restore_latest
from jaxopt_bench.runs.population import Population, check_states
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.training import Program, StepMetrics, TrainState, initial_states, shard_over_devices, shardings


@dataclasses.dataclass(frozen=True)
class Start:
    """The step and the states from which training starts.

    Attributes:
      step: the number of steps made so far.
      states: the states of the members, stacked.
      metrics: the metrics of the steps since the last line of training metrics, stacked.
    """

    step: int
    states: TrainState
    metrics: StepMetrics


def restore(population: Population, program: Program, reporter: Reporter) -> Start:
    """Returns the start from the last checkpoint of a population, or from the initial states if there is none.

    Raises:
      UserError: if all checkpoints are damaged, or the last one holds the states of other runs.
    """
    found = None
    if population.has_checkpoint:
        found = restore_latest(population.checkpoints, program.abstract_checkpoint(), warn=reporter.say)
    if found is None:  # if the folder has checkpoints, they belong to runs whose directories were removed
        if any((member.directory / "metrics.jsonl").exists() for member in population.active):
            reporter.say("the run has no complete checkpoint: it starts again from step 0")
        return Start(0, initial_states([member.task for member in population.members]), program.empty_metrics())
    step, tree = found
    check_states(tree["state"], population.active, population.checkpoints / str(step))
    stacked = shardings(program.task.code_path, program.members)[0]
    on_device = shard_over_devices(jax.tree.map(jnp.asarray, tree), stacked)
    return Start(step, on_device["state"], on_device["metrics"])
