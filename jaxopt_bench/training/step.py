"""The train step and the evaluation step: pure functions, from which every loop is composed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int32, Integer, PyTree, UInt8, UInt32

from jaxopt_bench import prng
from jaxopt_bench.data import augment, normalise
from jaxopt_bench.training.metrics import NEVER, EvaluationMetrics, StepMetrics
from jaxopt_bench.training.state import TrainState, make_module, moment
from jaxopt_bench.training.task import Task

NEGLIGIBLE = 1e-30  # smaller batch statistics are taken as 0: near the smallest float32, a ratio has few correct digits


class Batch(NamedTuple):
    """Images as they are stored, and their classes, on the device."""

    images: UInt8[Array, "batch height width channels"]
    labels: Int32[Array, " batch"]


TrainStep = Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]
StatisticsStep = Callable[[PyTree[Array], Batch, UInt32[Array, ""], Integer[Array, ""]], PyTree[Array]]
LogitsStep = Callable[
    [PyTree[Array], PyTree[Array], UInt8[Array, "batch height width channels"]], Float[Array, "batch classes"]
]
EvaluationStep = Callable[[PyTree[Array], PyTree[Array], Batch, Bool[Array, " batch"]], EvaluationMetrics]


def make_train_step(task: Task) -> TrainStep:
    """Returns `train_step(state, batch) -> (state, metrics)` for one task; it is not compiled yet.

    The step augments the batch, follows the gradient of the mean cross-entropy (nats per example, with the
    experiment's label smoothing) and counts itself. Its metrics are those of this one step, before the update. Where
    the loss, the gradient or the update is not finite the parameters stay what they were, and the metrics say so.
    """
    module, optimizer = make_module(task), task.experiment.optimizer

    def forward(
        params: PyTree[Array], state: TrainState, batch: Batch
    ) -> tuple[Float[Array, ""], tuple[Float[Array, "batch classes"], PyTree[Array]]]:
        logits, changed = module.apply(
            {"params": params, "batch_stats": state.batch_stats},
            augment(task.experiment.augmentation, batch.images, state.seed, state.step, task.mean, task.std),
            train=True,
            rngs={"dropout": prng.key(state.seed, prng.Purpose.LOSS, state.step)},
            mutable=["batch_stats"],
        )
        loss = cross_entropy(logits, batch.labels, task.experiment.label_smoothing).mean()
        return loss, (logits, changed.get("batch_stats", {}))

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
        gradient = jax.value_and_grad(forward, has_aux=True)
        (loss, (logits, batch_stats)), grads = gradient(state.params, state, batch)
        now = moment(task, state.schedule, state.seed, state.step)
        transform = optimizer.transform(state.hyperparameters, now)
        updates, opt_state = transform.update(grads, state.opt_state, state.params, value=loss)
        grad_norm, update_norm = optax.tree.norm(grads), optax.tree.norm(updates)
        sound = jnp.isfinite(loss) & jnp.isfinite(grad_norm) & jnp.isfinite(update_norm)
        params = optax.apply_updates(state.params, updates)
        # chosen by the norm, so that XLA knows no reader of the old parameters comes later, and writes over them
        params = jax.tree.map(lambda new, old: jnp.where(sound, new, old), params, state.params)
        metrics = StepMetrics.single_from_model_output(
            loss=loss,
            accuracy=correct(logits, batch.labels).mean(),
            grad_norm=grad_norm,
            update_norm=update_norm,
            learning_rate=jnp.asarray(optimizer.learning_rate_at(state.hyperparameters, now)),
            diverged=jnp.where(sound, NEVER, state.step + 1),
        )
        step = state.step + 1
        return state.replace(step=step, params=params, batch_stats=batch_stats, opt_state=opt_state), metrics

    return train_step


def make_logits_step(task: Task) -> LogitsStep:
    """Returns `logits_step(params, batch_stats, images) -> logits` for one task, not compiled yet.

    Images are normalised, not augmented; dropout is off; batch normalisation uses the given statistics.
    """
    module = make_module(task)

    def logits_step(
        params: PyTree[Array], batch_stats: PyTree[Array], images: UInt8[Array, "batch height width channels"]
    ) -> Float[Array, "batch classes"]:
        pixels = normalise(images, task.mean, task.std)
        return module.apply({"params": params, "batch_stats": batch_stats}, pixels, train=False)

    return logits_step


def make_evaluation_step(task: Task) -> EvaluationStep:
    """Returns `evaluation_step(params, batch_stats, batch, mask) -> metrics` for one task, not compiled yet.

    The logits are those of `make_logits_step`, labels are not smoothed; examples whose mask is False do not count.
    """
    logits_step = make_logits_step(task)

    def evaluation_step(
        params: PyTree[Array], batch_stats: PyTree[Array], batch: Batch, mask: Bool[Array, " batch"]
    ) -> EvaluationMetrics:
        logits = logits_step(params, batch_stats, batch.images)
        return EvaluationMetrics.single_from_model_output(
            loss=cross_entropy(logits, batch.labels), accuracy=correct(logits, batch.labels), mask=mask
        )

    return evaluation_step


def make_statistics_step(task: Task) -> StatisticsStep:
    """Returns `statistics_step(params, batch, seed, index) -> batch_stats` for one task, not compiled yet.

    These are the statistics of one batch, augmented as that of the step `index` and with its dropout. A batch with the
    statistic s changes a running statistic r with momentum m to m · r + (1 − m) · s. So r = 0 becomes a = (1 − m) · s,
    and r = a becomes b = (1 − m²) · s. Thus s = a / (2 − b / a), for any m and without cancellation if s is large.
    """
    module = make_module(task)

    def statistics_step(
        params: PyTree[Array], batch: Batch, seed: UInt32[Array, ""], index: Integer[Array, ""]
    ) -> PyTree[Array]:
        images = augment(task.experiment.augmentation, batch.images, seed, index, task.mean, task.std)
        dropout = {"dropout": prng.key(seed, prng.Purpose.LOSS, index)}

        def moved(start: PyTree[Array]) -> PyTree[Array]:
            variables = {"params": params, "batch_stats": start}
            return module.apply(variables, images, train=True, rngs=dropout, mutable=["batch_stats"])[1]["batch_stats"]

        shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), images, train=False)["batch_stats"])
        once = moved(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
        twice = moved(once)
        return jax.tree.map(lambda a, b: jnp.where(jnp.abs(a) < NEGLIGIBLE, 0, a / (2 - b / a)), once, twice)

    return statistics_step


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Integer[Array, " batch"], smoothing: float = 0.0
) -> Float[Array, " batch"]:
    """Returns the cross-entropy of each example in nats, computed in float32.

    Args:
      logits: unnormalised log-probabilities.
      labels: the classes.
      smoothing: probability mass spread evenly over all classes (Szegedy et al., 2016, section 7).
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), optax.smooth_labels(targets, smoothing))


def correct(logits: Float[Array, "batch classes"], labels: Integer[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns 1 for each example whose largest logit is the label's and finite, else 0.

    The largest logit is NaN if any is, and infinite if some overflow. `argmax` would then name the first such class.
    """
    return ((logits.argmax(-1) == labels) & jnp.isfinite(logits.max(-1))).astype(jnp.float32)
