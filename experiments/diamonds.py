"""diamonds_mlp_*: prediction of the price of a diamond from nine features, one experiment for each optimizer.

Trains:  two hidden layers of 100 units (11,201 parameters) on 7,200 diamonds (800 for validation, 2,000 for testing).
From:    the data set `diamonds` of ggplot2. A subset is part of this package, so nothing is downloaded.
Expect:  after 30 epochs (3,360 steps), seed 0, a test RMSE of 668 US dollars with SGD, 680 with Adam and 663 with AdamW
         (R² of 0.972 to 0.973). The standard deviation of the price is 3,959. A run took 27 to 50 s on two CPU cores of
         a machine shared with other programs (load 10).
Run:     make run EXP=diamonds_mlp_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Regression

WORKLOAD = Workload(name="diamonds_mlp", problem=Regression(dataset="diamonds", model=MLP()), epochs=30, batch_size=64)


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(workload=WORKLOAD, optimizer=optimizer, schedule=Cosine(warmup=1))


EXPERIMENTS = {
    "diamonds_mlp_sgd": experiment(SGD(learning_rate=0.02, momentum=0.9)),
    "diamonds_mlp_adam": experiment(Adam(learning_rate=3e-3)),
    "diamonds_mlp_adamw": experiment(AdamW(learning_rate=3e-3, weight_decay=0.05)),
}
