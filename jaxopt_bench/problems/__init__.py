"""Problems: what an optimizer minimises. A file for each kind, and a table of them by name.

A problem is examples and pure functions of parameters. Optimizers and training loops have no place here.
"""

from __future__ import annotations

from jaxopt_bench.config import Named
from jaxopt_bench.problems.algorithmic import ModularAddition
from jaxopt_bench.problems.base import Examples, Problem, ProblemConfig, count_examples, take_examples
from jaxopt_bench.problems.classification import Classification
from jaxopt_bench.problems.language import Language
from jaxopt_bench.problems.metrics import LOSS, Metric, metric_named

PROBLEMS: Named[ProblemConfig] = Named(
    "problem",
    classification=Classification(),
    language=Language(),
    modular_addition=ModularAddition(),
)

__all__ = [
    "LOSS",
    "PROBLEMS",
    "Classification",
    "Examples",
    "Language",
    "Metric",
    "ModularAddition",
    "Problem",
    "ProblemConfig",
    "count_examples",
    "metric_named",
    "take_examples",
]
