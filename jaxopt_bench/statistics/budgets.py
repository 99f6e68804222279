"""The expected result of a search within a budget of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.statistics.checks import check_ordered

# By search method: whether a subset of its trials is a smaller search of the same kind; None if it has no such meaning.
_SUBSETS_ARE_SEARCHES: dict[str, bool | None] = {"random": True, "sobol": False, "grid": None, "halving": None}


def expected_best(values: Sequence[float], *, higher: bool, worst: float | None = None) -> list[float]:
    """Returns the expected best of k trials, for every budget k from 1 to all trials.

    The expectation for n trials is the mean, over all subsets of k trials, of the best trial in the subset. The draw is
    without replacement, so the estimator has no bias for any k. A draw with replacement would make the search look
    worse than it is. Let x_i be the i-th best value and d_i = C(n − i, k) / C(n, k) the probability that the subset
    contains none of the i best. Then the expectation is x_1 + Σ_i d_i (x_{i+1} − x_i).

    A diverged trial counts in the budget. Pass its value as inf if lower is better, or as −inf if higher is better. If
    k is at most the number of diverged trials, the expectation is also infinite. To get finite curves, set `worst` to
    the value of an untrained model.

    Args:
      values: the values of all trials, in any order and unit.
      higher: whether higher values are better (such as accuracies) or lower values (such as losses).
      worst: the replacement for all values that are worse, including those of diverged trials.

    Returns:
      A value for each k, in the unit of the values. The last one is the best of all values.

    Raises:
      UserError: if there are no values, a value is NaN or infinitely good, or `worst` is not finite.

    Source: Dodge et al. 2019, "Show your work: improved reporting of experimental results", with replacement; Tang et
    al. 2020, "Showing your work doesn't always work", without.
    """
    check_ordered("values", values)
    losses = np.sort(np.asarray(values, np.float64) * (-1 if higher else 1))
    if losses[0] == -math.inf:
        raise UserError(f"values has the value {math.inf if higher else -math.inf}. Expected: not infinitely good.")
    if worst is not None:
        if not math.isfinite(worst):
            raise UserError(f"worst is {worst}. Expected: a finite number.")
        losses = np.minimum(losses, -worst if higher else worst)
    curve = _expected_minimum(losses)
    return (0.0 - curve if higher else curve).tolist()  # 0.0 − 0.0 is not −0.0


def _expected_minimum(ascending: np.ndarray) -> np.ndarray:
    """Returns the expected minimum of k values, for every k."""
    count, finite = len(ascending), int(np.isfinite(ascending).sum())
    curve = np.full(count, math.inf)
    gaps = np.diff(ascending[:finite])
    better = np.arange(1, len(gaps) + 1)
    missed = np.ones(len(gaps))  # the probability that k draws miss the 1, 2, … best; no term is negative
    for k in range(1, count + 1):
        missed *= (count - better - k + 1) / (count - k + 1)
        if k > count - finite:
            curve[k - 1] = ascending[0] + missed @ gaps
    return curve


def expected_best_is_exact(search: str) -> bool:
    """Returns whether `expected_best` is the exact expected result of a smaller search of this kind.

    A subset of the trials of a random search is also a random search. A random subset of a Sobol' sequence is spread
    less evenly than a sequence of the same length, so the result is an approximation. A subset of the points of a grid
    is not a grid, and successive halving knows only the results of its best trials.

    Args:
      search: "random", "sobol", "grid" or "halving".

    Returns:
      True if it is exact, False if it is an approximation.

    Raises:
      UserError: if `expected_best` has no meaning for this search, or the method of search is unknown.
    """
    if search not in _SUBSETS_ARE_SEARCHES:
        raise unknown_name("search", search, _SUBSETS_ARE_SEARCHES)
    exact = _SUBSETS_ARE_SEARCHES[search]
    if exact is None:
        accepted = " or ".join(name for name, subsets in _SUBSETS_ARE_SEARCHES.items() if subsets is not None)
        raise UserError(f"search is {search!r}, but a part of it is not a smaller {search}. Expected: {accepted}.")
    return exact
