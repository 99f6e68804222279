"""The optimizers' equations in NumPy float64, written from the papers: oracles that share no code with ours.

Each function returns what maps a gradient and its step, counted from 1, to the direction that the learning rate is
multiplied by; `updates` adds the weight decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Direction = Callable[[np.ndarray, int], np.ndarray]


def updates(
    direction: Direction,
    parameters: Sequence[np.ndarray],
    gradients: Sequence[np.ndarray],
    learning_rates: Sequence[float],
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Iterator[np.ndarray]:
    """Yields what each step adds to the parameters, given what they are before it."""
    for t, (theta, g, learning_rate) in enumerate(zip(parameters, gradients, learning_rates, strict=True), start=1):
        if decoupled:  # Loshchilov & Hutter 2019, Algorithm 2, line 12, with the decay times the learning rate
            yield -learning_rate * (direction(g, t) + weight_decay * theta)
        else:  # the gradient of the penalty weight_decay / 2 * |theta|^2 (their line 6)
            yield -learning_rate * direction(g + weight_decay * theta, t)


def sgd(momentum: float | None = None, nesterov: bool = False) -> Direction:
    """Sutskever et al. 2013, eqs. 1 to 4, with the learning rate outside the velocity."""
    velocity = 0.0

    def direction(g, t):
        nonlocal velocity
        if momentum is None:
            return g
        velocity = momentum * velocity + g
        return g + momentum * velocity if nesterov else velocity

    return direction


class Moments:
    """Kingma & Ba 2015, Algorithm 1, lines 7 and 8."""

    def __init__(self, b1: float, b2: float):
        self.b1, self.b2, self.m, self.v = b1, b2, 0.0, 0.0

    def update(self, g: np.ndarray) -> None:
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * g**2


def adam(b1: float, b2: float, eps: float) -> Direction:
    """Kingma & Ba 2015, Algorithm 1."""
    moments = Moments(b1, b2)

    def direction(g, t):
        moments.update(g)
        return moments.m / (1 - b1**t) / (np.sqrt(moments.v / (1 - b2**t)) + eps)

    return direction


def nadam(b1: float, b2: float, eps: float) -> Direction:
    """Dozat 2016, Algorithm 2, constant momentum, without its factor b2 on the second moment."""
    moments = Moments(b1, b2)

    def direction(g, t):
        moments.update(g)
        look_ahead = b1 * moments.m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        return look_ahead / (np.sqrt(moments.v / (1 - b2**t)) + eps)

    return direction


def amsgrad(b1: float, b2: float, eps: float, bias_correction: bool) -> Direction:
    """Reddi et al. 2018, Algorithm 2; with bias correction, the maximum of the corrected second moment."""
    moments, v_max = Moments(b1, b2), 0.0

    def direction(g, t):
        nonlocal v_max
        moments.update(g)
        v_max = np.maximum(v_max, moments.v / (1 - b2**t) if bias_correction else moments.v)
        m = moments.m / (1 - b1**t) if bias_correction else moments.m
        return _quotient(m, np.sqrt(v_max) + eps)

    return direction


def padam(b1: float, b2: float, partial: float, eps: float, bias_correction: bool) -> Direction:
    """Chen et al. 2020, Algorithm 1; with bias correction and eps, the form of its authors' code."""
    moments, v_max = Moments(b1, b2), 0.0

    def direction(g, t):
        nonlocal v_max
        moments.update(g)
        v_max = np.maximum(v_max, moments.v)
        scale = np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0
        return scale * _quotient(moments.m, (np.sqrt(v_max) + eps) ** (2 * partial))

    return direction


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the quotient, where 0/0 is 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
