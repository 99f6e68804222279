"""Small classic optimization problems with known minima. Their parameters are one float32 kernel of shape 5 × 2."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

Kernel = Float[Array, "5 2"]

SHAPE = (5, 2)
CURVATURES = np.geomspace(1, 100, 10).reshape(SHAPE)
_RNG = np.random.default_rng(0)
FEATURES = _RNG.normal(size=(60, 10)) * np.geomspace(0.3, 3, 10)
LABELS = np.where(FEATURES @ _RNG.normal(size=10) + 2 * _RNG.normal(size=60) > 0, 1.0, -1.0)
PENALTY = 1e-2


def quadratic(kernel: Kernel) -> Any:
    """Half the sum of squares, weighted by curvatures from 1 to 100. The minimum is 0, at 0."""
    return (CURVATURES * kernel**2).sum() / 2


def rosenbrock(kernel: Kernel) -> Any:
    """The mean of Rosenbrock's function (1960) over the five rows. The minimum is 0, at 1."""
    x, y = kernel[:, 0], kernel[:, 1]
    return ((1 - x) ** 2 + 100 * (y - x**2) ** 2).mean()


def logistic(kernel: Kernel) -> Any:
    """The mean logistic loss of 60 examples with an L2 penalty. For its minimum, see `logistic_minimum`."""
    weights = kernel.reshape(-1)
    return jnp.logaddexp(0, -LABELS * (FEATURES @ weights)).mean() + PENALTY / 2 * (weights**2).sum()


def logistic_minimum() -> float:
    """Returns the minimum of the logistic loss that SciPy finds in float64."""

    def loss(weights: np.ndarray) -> float:
        return np.logaddexp(0, -LABELS * (FEATURES @ weights)).mean() + PENALTY / 2 * (weights**2).sum()

    found = scipy.optimize.minimize(loss, np.zeros(10), method="BFGS", options={"gtol": 1e-9})
    return float(found.fun)


PROBLEMS = (quadratic, rosenbrock, logistic)
STARTS = jnp.asarray(
    np.stack([np.ones(SHAPE), np.tile([-1.2, 1.0], (5, 1)), np.zeros(SHAPE)]), jnp.float32
)  # the second is Rosenbrock's own start


def loss(problem: Array | int, kernel: Kernel) -> Float[Array, ""]:
    """Returns the loss of the problem with this index."""
    return jax.lax.switch(problem, [lambda k, f=f: f(k).astype(jnp.float32) for f in PROBLEMS], kernel)
