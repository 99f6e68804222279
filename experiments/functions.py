"""rosenbrock_*, noisy_quadratic_*, deep_linear_*, matrix_factorisation_*: functions with a known minimum.

Trains:  Rosenbrock's function in 2 dimensions; the noisy quadratic model in 1,000 dimensions with batch size 16; three
         layers of a deep linear network, 16 × 16 each; factors of rank 8 of a 32 × 24 matrix.
From:    Rosenbrock (1960); Zhang et al. (2019); Saxe, McClelland & Ganguli (2014). There are no data.
Expect:  these gaps to the minimum with seed 0, after 2,000 steps, or with L-BFGS after the steps in brackets. The gap
         of the matrix factorisation has an accuracy of about 4e-9 in float32.
           rosenbrock            momentum 2.7e-5 (called sgd)   Adam 4.5e-6                    L-BFGS 0 (100)
           noisy_quadratic       SGD 0.117    momentum 0.041    Adam 0.026
           deep_linear           SGD 5.3e-4   momentum 2.4e-6   Adam 5.0e-5                    L-BFGS 1.6e-12 (200)
           matrix_factorisation  SGD 1.0e-6   momentum 0        Adam 0                         L-BFGS 0 (100)
         L-BFGS evaluated the function 2.0 to 2.3 times per step. A run took 7 to 37 s on two CPU cores of a machine
         shared with other programs (load 10).
Run:     make run EXP=rosenbrock_adam
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, Cosine, Optimizer
from jaxopt_bench.problems import DeepLinear, MatrixFactorisation, NoisyQuadratic, ProblemConfig, Rosenbrock

LBFGS = OPTIMIZERS["lbfgs"]


# 2,000 steps each
ROSENBROCK = Workload(name="rosenbrock", problem=Rosenbrock(), epochs=20, batch_size=1)
NOISY = Workload(name="noisy_quadratic", problem=NoisyQuadratic(examples=1600), epochs=20, batch_size=16)
LINEAR = Workload(name="deep_linear", problem=DeepLinear(), epochs=20, batch_size=1)
MATRIX = Workload(name="matrix_factorisation", problem=MatrixFactorisation(), epochs=20, batch_size=1)


def experiment(workload: Workload, optimizer: Optimizer) -> Experiment:
    """Returns a function with an optimizer."""
    return Experiment(workload=workload, optimizer=optimizer, schedule=Cosine())


def line_search(name: str, problem: ProblemConfig) -> Experiment:
    """Returns a function with L-BFGS: 10 epochs of few steps. Each step evaluates the function several times."""
    workload = Workload(name=f"{name}_few_steps", problem=problem, epochs=10, batch_size=1)
    return Experiment(workload=workload, optimizer=LBFGS)


EXPERIMENTS = {
    "rosenbrock_sgd": experiment(ROSENBROCK, SGD(learning_rate=1e-3, momentum=0.9)),
    "rosenbrock_adam": experiment(ROSENBROCK, Adam(learning_rate=0.1)),
    "rosenbrock_lbfgs": line_search("rosenbrock", Rosenbrock(examples=10)),
    "noisy_quadratic_sgd": experiment(NOISY, SGD(learning_rate=0.5)),
    "noisy_quadratic_momentum": experiment(NOISY, SGD(learning_rate=0.1, momentum=0.9)),
    "noisy_quadratic_adam": experiment(NOISY, Adam(learning_rate=0.03)),
    "deep_linear_sgd": experiment(LINEAR, SGD(learning_rate=0.1)),
    "deep_linear_momentum": experiment(LINEAR, SGD(learning_rate=0.1, momentum=0.9)),
    "deep_linear_adam": experiment(LINEAR, Adam(learning_rate=0.01)),
    "deep_linear_lbfgs": line_search("deep_linear", DeepLinear(examples=20)),
    "matrix_factorisation_sgd": experiment(MATRIX, SGD(learning_rate=0.1)),
    "matrix_factorisation_momentum": experiment(MATRIX, SGD(learning_rate=0.1, momentum=0.9)),
    "matrix_factorisation_adam": experiment(MATRIX, Adam(learning_rate=0.01)),
    "matrix_factorisation_lbfgs": line_search("matrix_factorisation", MatrixFactorisation(examples=10)),
}
