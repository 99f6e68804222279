"""The train step and the evaluation step: the pure functions that all loops use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer, PyTree, UInt32

from jaxopt_bench.prng import Draw
from jaxopt_bench.problems import LOSS, Examples
from jaxopt_bench.training.metrics import EVALUATIONS, NEVER, EvaluationMetrics, StepMetrics
from jaxopt_bench.training.state import TrainState, make_step_context
from jaxopt_bench.training.task import Task
from jaxopt_bench.training.update import update_parameters

NEGLIGIBLE = 1e-30  # smaller batch statistics count as 0: near the smallest float32, a ratio has few correct digits

TrainStep = Callable[[TrainState, Examples], tuple[TrainState, StepMetrics]]
AveragesStep = Callable[[PyTree[Array], PyTree[Array], Examples, UInt32[Array, ""], Integer[Array, ""]], PyTree[Array]]
EvaluationStep = Callable[
    [PyTree[Array], PyTree[Array], Examples, Bool[Array, " batch"]],
    tuple[EvaluationMetrics, dict[str, Float[Array, " batch"]]],
]


def make_train_step(task: Task) -> TrainStep:
    """Returns `train_step(state, batch) -> (state, metrics)` for one task; it is not compiled yet.

    The step updates the parameters with the gradient of the problem's loss, and increments the step number. Its metrics
    are those of this one step, before the update. If the loss, the gradient or the update is not finite, the parameters
    stay unchanged, and the metrics record it. The step number, variables and optimizer's state change even then.
    """
    problem, optimizer = task.problem, task.experiment.optimizer

    def forward(params: PyTree[Array], state: TrainState, batch: Examples) -> tuple[Float[Array, ""], Any]:
        return problem.training(params, state.variables, batch, Draw(state.seed, state.step))

    def train_step(state: TrainState, batch: Examples) -> tuple[TrainState, StepMetrics]:
        gradient = jax.value_and_grad(forward, has_aux=True)
        (loss, (statistics, variables)), grads = gradient(state.params, state, batch)
        now = make_step_context(task.experiment, task.steps_per_epoch, state.schedule, state.seed, state.step)
        update = update_parameters(
            optimizer,
            state.hyperparameters,
            now,
            grads,
            state.opt_state,
            state.params,
            loss,
            fused=task.code_path.updates == "fused",
            value_fn=lambda params: forward(params, state, batch)[0],
        )
        metrics = StepMetrics.of_step(
            {
                LOSS: loss,
                **{name: statistics[name] for name in task.step_statistics},
                "grad_norm": update.gradient_norm,
                "update_norm": update.update_norm,
                **(
                    {EVALUATIONS: jnp.asarray(optimizer.evaluations(update.opt_state))} if optimizer.line_search else {}
                ),
            },
            learning_rate=jnp.asarray(optimizer.learning_rate_at(state.hyperparameters, now)),
            diverged=jnp.where(update.sound, NEVER, state.step + 1),
        )
        after = state.replace(
            step=state.step + 1, params=update.params, variables=variables, opt_state=update.opt_state
        )
        return after, metrics

    return train_step


def make_evaluation_step(task: Task) -> EvaluationStep:
    """Returns `evaluation_step(params, variables, batch, mask) -> (metrics, statistics)`, not compiled yet.

    It uses no randomness. Examples whose mask is False do not count in the metrics. The statistics are those of each
    example, by name.
    """
    problem = task.problem

    def evaluation_step(
        params: PyTree[Array], variables: PyTree[Array], batch: Examples, mask: Bool[Array, " batch"]
    ) -> tuple[EvaluationMetrics, dict[str, Float[Array, " batch"]]]:
        found = problem.evaluation(params, variables, batch)
        statistics = {name: found[name] for name in problem.statistics}
        return EvaluationMetrics.of_batch(statistics, mask), statistics

    return evaluation_step


def make_averages_step(task: Task) -> AveragesStep:
    """Returns `averages_step(params, variables, batch, seed, index) -> variables` for one task, not compiled yet.

    It is for problems whose variables are running averages; only the shapes of the given variables are used. It returns
    the statistics of one batch, with the random draws of the step `index`. A batch with the statistic s changes a
    running average r with momentum m to m · r + (1 − m) · s. So r = 0 becomes a = (1 − m) · s, and r = a becomes
    b = (1 − m²) · s.
    Thus s = a / (2 − b / a), for any m and without cancellation if s is large.
    """
    problem = task.problem

    def averages_step(
        params: PyTree[Array],
        variables: PyTree[Array],
        batch: Examples,
        seed: UInt32[Array, ""],
        index: Integer[Array, ""],
    ) -> PyTree[Array]:
        def moved(start: PyTree[Array]) -> PyTree[Array]:
            return problem.training(params, start, batch, Draw(seed, index))[1][1]

        once = moved(jax.tree.map(jnp.zeros_like, variables))
        twice = moved(once)
        return jax.tree.map(lambda a, b: jnp.where(jnp.abs(a) < NEGLIGIBLE, 0, a / (2 - b / a)), once, twice)

    return averages_step
