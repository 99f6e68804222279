"""poisson_mlp_* and burgers_mlp_*: networks that solve a differential equation, one experiment for each optimizer.

Trains:  hidden layers of 32 units with tanh: 3 (2,209 parameters) on 1,000 points for the Poisson equation, 4 (3,297
         parameters) on 2,000 points for Burgers' equation.
From:    Raissi, Perdikaris & Karniadakis (2019). They reach a relative L2 error of 6.7e-4 on Burgers' equation with
         L-BFGS, 8 hidden layers of 20 units and 10,000 points.
Expect:  these relative L2 errors on the test grid with seed 0, after 2,000 steps on small batches, or with L-BFGS after
         the steps in brackets on all points.
           poisson   momentum 0.075 (called sgd)   Adam 0.0040   L-BFGS 0.017 (200 steps, 458 evaluations)
           burgers   momentum 0.54 (called sgd)    Adam 0.42     L-BFGS 0.31 (400 steps, 836 evaluations)
         With --epochs 1000, L-BFGS reaches 0.18 on Burgers' equation (2,086 evaluations).
         A run took 34 to 90 s, and the last one 227 s, on two CPU cores of a machine shared with other programs (load
         10).
Run:     make run EXP=poisson_mlp_adam
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, Cosine, Optimizer
from jaxopt_bench.problems import Burgers, Poisson
from jaxopt_bench.problems.physics import DifferentialEquation

LBFGS = OPTIMIZERS["lbfgs"]


# small batches: 2,000 steps
POISSON = Workload(name="poisson_mlp", problem=Poisson(), epochs=100, batch_size=Poisson().points // 20)
BURGERS = Workload(name="burgers_mlp", problem=Burgers(), epochs=100, batch_size=Burgers().points // 20)


def experiment(workload: Workload, optimizer: Optimizer) -> Experiment:
    """Returns a workload of small batches with one optimizer."""
    return Experiment(workload=workload, optimizer=optimizer, schedule=Cosine())


def line_search(name: str, problem: DifferentialEquation, epochs: int) -> Experiment:
    """Returns an equation with L-BFGS. Each batch contains all points."""
    workload = Workload(name=f"{name}_full_batch", problem=problem, epochs=epochs, batch_size=problem.points)
    return Experiment(workload=workload, optimizer=LBFGS)


EXPERIMENTS = {
    "poisson_mlp_sgd": experiment(POISSON, SGD(learning_rate=1e-5, momentum=0.9)),
    "poisson_mlp_adam": experiment(POISSON, Adam(learning_rate=3e-3)),
    "poisson_mlp_lbfgs": line_search("poisson_mlp", Poisson(), 200),
    "burgers_mlp_sgd": experiment(BURGERS, SGD(learning_rate=1e-2, momentum=0.9)),
    "burgers_mlp_adam": experiment(BURGERS, Adam(learning_rate=5e-3)),
    "burgers_mlp_lbfgs": line_search("burgers_mlp", Burgers(), 400),
}
