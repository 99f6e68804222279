"""The suite's workloads on the JAX side: the losses of the first steps of the project's own program, to compare."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.speed.inputs.suite import STEPS, FirstSteps, variables_of
from experiments.speed.jax_side.training import Population
from jaxopt_bench.prng import Draw, Purpose
from jaxopt_bench.problems import LOSS, NoisyQuadratic, VariationalAutoencoder
from jaxopt_bench.training import Task, initial_state
from jaxopt_bench.training.batches import epoch_permutation


def first_steps(task: Task, steps: int = STEPS) -> FirstSteps:
    """Returns the start of a task's run with seed 0: its weights, its batches, and the random numbers of its loss."""
    size = task.experiment.workload.batch_size
    if steps > task.steps_per_epoch:
        raise ValueError(f"{task.experiment.name} has {task.steps_per_epoch} steps an epoch. Expected {steps} or more.")
    order = np.asarray(epoch_permutation(task, jnp.uint32(0), 0))[: steps * size]
    drawn = [_draw(task, step) for step in range(steps)]
    return FirstSteps(variables_of(initial_state(task)), order.reshape(steps, size), drawn)


def first_losses(task: Task, steps: int = STEPS) -> list[float]:
    """Returns the losses of the first steps of the run with seed 0, measured by the compiled program."""
    population = Population(task, task.problem.train)
    losses = []
    for _ in range(steps):
        population.forget_metrics()
        population.run(1)
        losses.append(float(population.values()[LOSS][0]))
    return losses


def _draw(task: Task, step: int) -> Float[np.ndarray, "..."] | None:
    """Returns the random numbers that the loss draws in a step of the run with seed 0, except those of dropout."""
    key = Draw(0, step).key(Purpose.LOSS)
    problem = task.experiment.workload.problem
    if isinstance(problem, VariationalAutoencoder):
        _, _, of_code = jax.random.split(key, 3)
        return np.asarray(jax.random.normal(of_code, (1, task.experiment.workload.batch_size, problem.code))[0])
    if isinstance(problem, NoisyQuadratic):
        return np.asarray(jax.random.normal(key, (problem.dimensions,)))
    return None
