"""The sources of the variance of results: the search, the seed, and the choice of test examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jaxopt_bench.statistics.checks import check_finite


def variance_shares(
    results: Sequence[Sequence[Sequence[float]]], sampling: float | None = None
) -> dict[str, float] | None:
    """Returns the shares of the variance of a single result that come from the search, the seed and the test examples.

    The model of the result of contender c in its search s with seed e is

        y_cse = μ_c + a_cs + ε_cse

    with independent random effects: a_cs with variance σ²_search (another search selects other hyperparameters), and
    ε_cse with variance σ²_seed. Both variances are the same for all contenders. The estimators are those of the
    analysis of variance (method of moments): the mean square within searches, and the sum of squares between searches
    minus the contribution of the seeds,

        σ²_seed = Σ_cs Σ_e (y_cse − ȳ_cs)² / Σ_c (N_c − S_c),
        σ²_search = [Σ_cs n_cs (ȳ_cs − ȳ_c)² − Σ_c (S_c − 1) σ²_seed] / Σ_c (N_c − Σ_s n_cs² / N_c),

    with S_c searches of a contender, n_cs seeds in a search, and N_c results. If the second estimate is negative, it is
    set to zero. Otherwise the estimators are unbiased, also if the results are not normal. With few searches the
    estimates are inaccurate: for 6 contenders with 3 searches of 8 seeds each, and half of the variance from each
    source, the share of the search is between 0.23 and 0.69 in 95% of cases.

    Args:
      results: the results by contender, search and seed, in any unit; at least one of each. Searches may have different
        numbers of seeds.
      sampling: the variance that the choice of test examples adds to a result in a comparison with another contender:
        half of `Difference.sampling`; None if it is not known.

    Returns:
      The shares of "search", "seed" and, if it is known, "examples", which sum to 1. None if the search and the seed
      cannot be separated (no contender has several searches, or no search has several seeds), or if all results are
      equal.

    Raises:
      UserError: if a search has no results, or a result is not finite.

    Source: Searle, Casella and McCulloch 1992, "Variance components", chapter 3 (the one-way classification).
    """
    within, between, seed_freedom, search_freedom, coefficient = 0.0, 0.0, 0, 0, 0.0
    for contender in results:
        for seeds in contender:
            check_finite("results", seeds)
        searches = [np.asarray(seeds, np.float64) - contender[0][0] for seeds in contender]  # equal results become zero
        counts, means = np.array([len(seeds) for seeds in searches]), np.array([seeds.mean() for seeds in searches])
        center = np.average(means, weights=counts)
        within += float(sum(np.sum((seeds - mean) ** 2) for seeds, mean in zip(searches, means, strict=True)))
        between += float(np.sum(counts * (means - center) ** 2))
        seed_freedom += int(counts.sum()) - len(counts)
        search_freedom += len(counts) - 1
        coefficient += float(counts.sum() - np.sum(counts**2) / counts.sum())
    if not seed_freedom or not search_freedom:
        return None
    seed = within / seed_freedom
    search = max(0.0, (between - search_freedom * seed) / coefficient)
    parts = {"search": search, "seed": seed} | ({} if sampling is None else {"examples": sampling})
    total = sum(parts.values())
    return {source: part / total for source, part in parts.items()} if total > 0 else None
