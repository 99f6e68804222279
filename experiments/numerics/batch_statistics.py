"""Evaluates the same parameters with three kinds of batch statistics.

Run: `python -m experiments.numerics.batch_statistics`
"""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import tyro

from experiments.speed.output.hardware import hardware
from jaxopt_bench import catalog
from jaxopt_bench.models import CifarResNet
from jaxopt_bench.problems import Classification
from jaxopt_bench.runs import Options
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.training import (
    Program,
    TrainState,
    initial_states,
    member,
    padded_batches,
)

MOMENTUM = 0.9  # of the running statistics in all networks of the project


@dataclasses.dataclass(frozen=True)
class Flags:
    """Compare running, bias-corrected and re-estimated batch statistics on the validation split."""

    experiment: str = "digits_cnn_adam"
    """The experiment to train, with ResNet-20 as its network."""
    batch_size: int = 256
    """Number of images in a step."""
    steps: tuple[int, ...] = (5, 10, 20, 50, 200)
    """The steps after which the network is evaluated."""
    seeds: int = 3
    """Number of seeds."""
    data_dir: pathlib.Path | None = None
    """TFDS data directory."""


def main() -> None:
    """Runs the measurements that the command line requests, and prints a line for each seed and step."""
    flags = tyro.cli(Flags, prog="python -m experiments.numerics.batch_statistics")
    print(hardware()["name"])
    for seed in range(flags.seeds):
        measure(flags, seed)


def measure(flags: Flags, seed: int) -> None:
    """Trains one seed, and prints its validation accuracies and losses."""
    named = catalog.find(flags.experiment)
    problem = named.workload.problem
    assert isinstance(problem, Classification), "batch statistics are those of a network for images"
    problem = dataclasses.replace(problem, model=CifarResNet(depth=20))
    experiment = named.replace(problem=problem, batch_size=flags.batch_size, epochs=1000, seed=seed)
    task, splits = load_task(experiment, Options(data_dir=flags.data_dir))
    program = Program(task)
    batches = list(padded_batches(splits.named("validation")))
    states, metrics, step = initial_states([task]), program.empty_metrics(), 0
    for last in flags.steps:
        while step < last:
            epoch, done = divmod(step, task.steps_per_epoch)
            count = min(last - step, task.steps_per_epoch - done)
            order = program.epoch_permutations(states.seed, epoch)
            states, metrics = program.advance(states, metrics, splits.train, order, jnp.full(1, count))
            step += count
        kinds = {
            "running": states,
            "corrected": corrected(states, step),
            "re-estimated": program.evaluator.states_to_evaluate(states, splits.train),
        }
        metrics_of = task.problem.all_metrics
        found = {name: member(program.evaluator.evaluate(own, batches), 0) for name, own in kinds.items()}
        texts = (
            f"{name} {', '.join(metric.format(float(values[metric.name])) for metric in metrics_of)}"
            for name, values in found.items()
        )
        print(f"{experiment.name}, seed {seed}, step {step}: {'; '.join(texts)}", flush=True)


def corrected(states: TrainState, steps: int) -> TrainState:
    """Returns the states with running statistics corrected for their initial values, mean 0 and variance 1."""
    weight = MOMENTUM**steps

    def of(path: tuple[jax.tree_util.DictKey, ...], running: jax.Array) -> jax.Array:
        return (running - weight * (path[-1].key == "var")) / (1 - weight)

    return states.replace(variables=jax.tree_util.tree_map_with_path(of, states.variables))


if __name__ == "__main__":
    main()
