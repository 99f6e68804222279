"""What a search finds within a budget of trials."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.statistics.checks import check_ordered

# By method of search: whether some of its trials are a smaller search of that kind; None where in no sense.
_SUBSETS_ARE_SEARCHES: dict[str, bool | None] = {"random": True, "sobol": False, "grid": None, "halving": None}


def expected_best(values: Sequence[float], *, higher: bool, worst: float | None = None) -> list[float]:
    """Returns what the best of k trials is expected to be, for every budget k from 1 to all of them.

    Of n trials it is the mean, over all subsets of k, of the subset's best: the draw is without replacement, so that
    the estimate has no bias at any k, while one with replacement looks worse than the search is. With x_i the i-th
    best, and d_i = C(n − i, k) / C(n, k) the probability that the i best are all missed, it is
    x_1 + Σ_i d_i (x_{i+1} − x_i).

    A trial that diverged is a trial of the budget: give it as inf where lower is better, as −inf where higher is.
    While k is no larger than the number of such trials the expectation is then infinite too. Give `worst` for curves
    that are finite everywhere: the value of an untrained model.

    Args:
      values: of all trials, in any order and unit.
      higher: whether higher values are better, such as of an accuracy; else lower ones are, such as of a loss.
      worst: what stands for every value that is worse, so for those of trials that diverged.

    Returns:
      A value for each k, in the values' unit; the last is the best of all.

    Raises:
      UserError: where there are no values, one is NaN or infinitely good, or `worst` is not finite.

    Source: Dodge et al. 2019, "Show your work: improved reporting of experimental results", with replacement; Tang et
    al. 2020, "Showing your work doesn't always work", without.
    """
    check_ordered("values", values)
    losses = np.sort(np.asarray(values, np.float64) * (-1 if higher else 1))
    if losses[0] == -math.inf:
        raise UserError(f"values has the value {math.inf if higher else -math.inf}. Expected: none infinitely good.")
    if worst is not None:
        if not math.isfinite(worst):
            raise UserError(f"worst is {worst}. Expected: a finite number.")
        losses = np.minimum(losses, -worst if higher else worst)
    curve = _expected_minimum(losses)
    return (0.0 - curve if higher else curve).tolist()  # 0.0 − 0.0 is not −0.0


def _expected_minimum(ascending: np.ndarray) -> np.ndarray:
    """Returns the expected least of k values, for every k."""
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
    """Returns whether `expected_best` is what a smaller search of this kind would find, in expectation.

    Some trials of a random search are a random search. Some points of a Sobol' sequence, drawn at random, are spread
    less evenly than a sequence of as many: there it is an approximation. Some points of a grid are no grid, and
    successive halving knows the results of its best trials only.

    Args:
      search: "random", "sobol", "grid" or "halving".

    Returns:
      True where it is exact, False where it is an approximation.

    Raises:
      UserError: where it means nothing, or for a method of search that is not known.
    """
    if search not in _SUBSETS_ARE_SEARCHES:
        raise unknown_name("search", search, _SUBSETS_ARE_SEARCHES)
    exact = _SUBSETS_ARE_SEARCHES[search]
    if exact is None:
        accepted = " or ".join(name for name, subsets in _SUBSETS_ARE_SEARCHES.items() if subsets is not None)
        raise UserError(f"search is {search!r}, of which no part is a smaller {search}. Expected: {accepted}.")
    return exact
