"""Problems: what an optimizer minimises. A file for each kind, and a table of them by name.

A problem is examples and pure functions of parameters. Optimizers and training loops have no place here.
"""

from __future__ import annotations

from jaxopt_bench.config import Named
from jaxopt_bench.problems.base import Examples, Problem, ProblemConfig, count_examples, take_examples
from jaxopt_bench.problems.classification import Classification
from jaxopt_bench.problems.metrics import LOSS, Metric, metric_named

PROBLEMS: Named[ProblemConfig] = Named(
    "problem",
    classification=Classification(),
)

__all__ = [
    "LOSS",
    "PROBLEMS",
    "Classification",
    "Examples",
    "Metric",
    "Problem",
    "ProblemConfig",
    "count_examples",
    "metric_named",
    "take_examples",
]
