"""modular_addition_59_*: a small transformer learns a + b modulo 59 from 30% of all pairs, and generalises late."""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Optimizer, WarmupStableDecay
from jaxopt_bench.problems import ModularAddition


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(
        problem=ModularAddition(),
        optimizer=optimizer,
        schedule=WarmupStableDecay(warmup=2, cooldown=0.25),
        epochs=240,
        batch_size=128,
    )


EXPERIMENTS = {
    "modular_addition_59_sgd": experiment(SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)),
    "modular_addition_59_adam": experiment(Adam(learning_rate=3e-3, b2=0.98)),
    "modular_addition_59_adamw": experiment(AdamW(learning_rate=3e-3, b2=0.98, weight_decay=1.0)),
}
