"""diamonds_mlp_*: the price of a diamond from nine measures, one experiment for each optimizer.

Trains:  two hidden layers of 100 units (11,201 parameters) on 7,200 diamonds (800 validate, 2,000 test).
From:    the data set `diamonds` of ggplot2; a subset comes with this package, so nothing is downloaded.
Expect:  TODO
Run:     make run EXP=diamonds_mlp_adamw
"""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Regression


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(
        problem=Regression(dataset="diamonds", model=MLP()),
        optimizer=optimizer,
        schedule=Cosine(warmup=1),
        epochs=30,
        batch_size=64,
    )


EXPERIMENTS = {
    "diamonds_mlp_sgd": experiment(SGD(learning_rate=0.02, momentum=0.9)),
    "diamonds_mlp_adam": experiment(Adam(learning_rate=3e-3)),
    "diamonds_mlp_adamw": experiment(AdamW(learning_rate=3e-3, weight_decay=0.05)),
}
