"""rosenbrock_*, noisy_quadratic_*, deep_linear_*, matrix_factorisation_*: functions with a known minimum.

Trains:  Rosenbrock's function in 2 dimensions; the noisy quadratic model in 1,000 dimensions at batch size 16; three
         layers of a deep linear network, 16 × 16 each; factors of rank 8 of a 32 × 24 matrix.
From:    Rosenbrock (1960); Zhang et al. (2019); Saxe, McClelland & Ganguli (2014). There are no data.
Expect:  TODO
Run:     make run EXP=rosenbrock_adam
"""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Adam, Cosine, Optimizer
from jaxopt_bench.problems import DeepLinear, MatrixFactorisation, NoisyQuadratic, ProblemConfig, Rosenbrock

LBFGS = OPTIMIZERS["lbfgs"]


def experiment(problem: ProblemConfig, optimizer: Optimizer, batch_size: int = 1) -> Experiment:
    """Returns a function with an optimizer: 2,000 steps at batch size 1."""
    return Experiment(problem=problem, optimizer=optimizer, schedule=Cosine(), epochs=20, batch_size=batch_size)


def line_search(problem: ProblemConfig) -> Experiment:
    """Returns a function with L-BFGS: 10 epochs of few steps, each of which evaluates the function several times."""
    return Experiment(problem=problem, optimizer=LBFGS, epochs=10, batch_size=1)


NOISY = NoisyQuadratic(examples=1600)

EXPERIMENTS = {
    "rosenbrock_sgd": experiment(Rosenbrock(), SGD(learning_rate=1e-3, momentum=0.9)),
    "rosenbrock_adam": experiment(Rosenbrock(), Adam(learning_rate=0.1)),
    "rosenbrock_lbfgs": line_search(Rosenbrock(examples=10)),
    "noisy_quadratic_sgd": experiment(NOISY, SGD(learning_rate=0.5), batch_size=16),
    "noisy_quadratic_momentum": experiment(NOISY, SGD(learning_rate=0.1, momentum=0.9), batch_size=16),
    "noisy_quadratic_adam": experiment(NOISY, Adam(learning_rate=0.03), batch_size=16),
    "deep_linear_sgd": experiment(DeepLinear(), SGD(learning_rate=0.1)),
    "deep_linear_momentum": experiment(DeepLinear(), SGD(learning_rate=0.1, momentum=0.9)),
    "deep_linear_adam": experiment(DeepLinear(), Adam(learning_rate=0.01)),
    "deep_linear_lbfgs": line_search(DeepLinear(examples=20)),
    "matrix_factorisation_sgd": experiment(MatrixFactorisation(), SGD(learning_rate=0.1)),
    "matrix_factorisation_momentum": experiment(MatrixFactorisation(), SGD(learning_rate=0.1, momentum=0.9)),
    "matrix_factorisation_adam": experiment(MatrixFactorisation(), Adam(learning_rate=0.01)),
    "matrix_factorisation_lbfgs": line_search(MatrixFactorisation(examples=10)),
}
