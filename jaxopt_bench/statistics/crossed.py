"""Results of seeds crossed with test examples: the effect of the choice of the examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxopt_bench.errors import UserError


@dataclasses.dataclass(frozen=True)
class CrossedErrors:
    """Variances of differences between optimizers that were tested on the same sample of examples.

    The result of seed s of optimizer A on example e is yₛₑ = μ + aₛ + bₑ + cₛₑ, with random a, b and c. The terms b of
    two optimizers are correlated, because an example that is difficult for one is often difficult for the other. The
    variance of the difference of two means over nA and nB seeds and N examples is

        Var(aA)/nA + Var(aB)/nB + Var(bA − bB)/N + (Var(cA)/nA + Var(cB)/nB)/N.

    The variance between the means of seeds, divided by the number of seeds, estimates the first two terms and the last
    term. The variance between examples of the differences of their means over seeds, divided by N, estimates the last
    two terms. The sum of both estimates contains the last term, the interaction, twice, so it is subtracted once.

    Attributes:
      covariance: the covariance between examples of the optimizers' means over seeds, divided by N
        [optimizers, optimizers].
      interactions: Var(c)/(n N) of each optimizer [optimizers].
      freedom: the degrees of freedom of the variance between examples, N − 1.

    Source: Searle, Casella and McCulloch 1992, "Variance components", chapter 4; Owen 2007, "The pigeonhole bootstrap",
    which describes data of this form.
    """

    covariance: Float[np.ndarray, "optimizers optimizers"]
    interactions: Float[np.ndarray, " optimizers"]
    freedom: int

    @classmethod
    def of(cls, results: Sequence[Float[np.ndarray, "values examples"]]) -> CrossedErrors:
        """Returns the variances, given the results of each optimizer.

        Args:
          results: one array for each optimizer. The rows are its seeds; the columns are the examples, the same for all
            optimizers, at least 2.

        Raises:
          UserError: if the numbers of examples differ, or there are fewer than 2.
        """
        counts = sorted({array.shape[1] for array in results})
        if len(counts) != 1 or counts[0] < 2:
            raise UserError(f"the numbers of test examples are {counts}. Expected the same number, at least 2.")
        examples = counts[0]
        means = np.stack([array.mean(0, dtype=np.float64) for array in results])
        centred = means - means.mean(1, keepdims=True)
        covariance = centred @ centred.T / (examples - 1) / examples
        return cls(covariance, np.array([_interaction(array) for array in results]), examples - 1)

    def examples(self, first: int, second: int) -> float:
        """Returns the variance between examples of the difference of two optimizers, divided by the number N."""
        found = self.covariance
        return max(float(found[first, first] + found[second, second] - 2 * found[first, second]), 0.0)

    def interaction(self, first: int, second: int) -> float:
        """Returns the part of `examples` that decreases with more seeds."""
        return min(float(self.interactions[first] + self.interactions[second]), self.examples(first, second))

    def sampling(self, first: int, second: int) -> float:
        """Returns the part of `examples` that does not depend on the number of seeds."""
        return self.examples(first, second) - self.interaction(first, second)


def _interaction(results: Float[np.ndarray, "values examples"]) -> float:
    """Returns the mean square of the residuals of a two-way table, divided by its size; 0 for a single row."""
    values, examples = results.shape
    if values == 1:
        return 0.0
    table = np.asarray(results, np.float64)
    residuals = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    return float((residuals**2).sum() / ((values - 1) * (examples - 1)) / (values * examples))
