"""Problems, which optimizers minimise: one file for each kind of problem, and a table of the kinds by name.

A problem consists of examples and pure functions of parameters. Optimizers and training loops do not belong here.
"""

from __future__ import annotations

from jaxopt_bench.problems.algorithmic import ModularAddition
from jaxopt_bench.problems.base import Examples, Problem, ProblemConfig, count_examples, take_examples
from jaxopt_bench.problems.choose import choose_problem
from jaxopt_bench.problems.classification import Classification
from jaxopt_bench.problems.custom import USERS, ImportedProblem, load, wrap_problem
from jaxopt_bench.problems.functions import DeepLinear, MatrixFactorisation, NoisyQuadratic, Rosenbrock
from jaxopt_bench.problems.language import Language
from jaxopt_bench.problems.metrics import LOSS, Metric, metric_named
from jaxopt_bench.problems.physics import Burgers, Poisson
from jaxopt_bench.problems.reconstruction import Autoencoder, VariationalAutoencoder
from jaxopt_bench.problems.regression import Regression
from jaxopt_bench.user_config import UserTable

PROBLEMS: UserTable[ProblemConfig] = UserTable(
    USERS,
    autoencoder=Autoencoder(),
    burgers=Burgers(),
    classification=Classification(),
    deep_linear=DeepLinear(),
    language=Language(),
    matrix_factorisation=MatrixFactorisation(),
    modular_addition=ModularAddition(),
    noisy_quadratic=NoisyQuadratic(),
    poisson=Poisson(),
    regression=Regression(),
    rosenbrock=Rosenbrock(),
    variational_autoencoder=VariationalAutoencoder(),
)

__all__ = [
    "LOSS",
    "PROBLEMS",
    "Autoencoder",
    "Burgers",
    "Classification",
    "DeepLinear",
    "Examples",
    "ImportedProblem",
    "Language",
    "MatrixFactorisation",
    "Metric",
    "ModularAddition",
    "NoisyQuadratic",
    "Poisson",
    "Problem",
    "ProblemConfig",
    "Regression",
    "Rosenbrock",
    "VariationalAutoencoder",
    "choose_problem",
    "count_examples",
    "load",
    "metric_named",
    "take_examples",
    "wrap_problem",
]
