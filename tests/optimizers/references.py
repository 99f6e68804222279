"""The optimizers' equations in NumPy float64, written from the papers: oracles that share no code with ours.

Each takes the gradients of successive steps and yields the parameters after each. Weight decay is left to the
caller, so that where it enters is the test's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Gradient = Callable[[np.ndarray, int], np.ndarray]  # of the parameters and the step


def sgd(theta, gradient, steps, learning_rate, momentum=None, nesterov=False) -> Iterator[np.ndarray]:
    """Sutskever et al. 2013, eqs. 1 to 4, with the learning rate outside the velocity."""
    velocity = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta, t)
        velocity = g if momentum is None else momentum * velocity + g
        theta = theta - learning_rate * (g + momentum * velocity if nesterov else velocity)
        yield theta


def adam(theta, gradient, steps, learning_rate, b1, b2, eps) -> Iterator[np.ndarray]:
    """Kingma & Ba 2015, Algorithm 1."""
    m = v = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        theta = theta - learning_rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        yield theta


def nadam(theta, gradient, steps, learning_rate, b1, b2, eps) -> Iterator[np.ndarray]:
    """Dozat 2016, Algorithm 2, constant momentum, without its factor b2 on the second moment."""
    m = v = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        look_ahead = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        theta = theta - learning_rate * look_ahead / (np.sqrt(v / (1 - b2**t)) + eps)
        yield theta


def amsgrad(theta, gradient, steps, learning_rate, b1, b2, eps, bias_correction) -> Iterator[np.ndarray]:
    """Reddi et al. 2018, Algorithm 2; with bias correction, the maximum of the corrected second moment."""
    m = v = v_max = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v_max, v / (1 - b2**t) if bias_correction else v)
        theta = theta - learning_rate * (m / (1 - b1**t) if bias_correction else m) / (np.sqrt(v_max) + eps)
        yield theta


def padam(theta, gradient, steps, learning_rate, b1, b2, partial, eps, bias_correction) -> Iterator[np.ndarray]:
    """Chen et al. 2020, Algorithm 1; with bias correction and eps, the form of its authors' code. 0/0 is 0."""
    m = v = v_max = np.zeros_like(theta)
    for t in range(1, steps + 1):
        g = gradient(theta, t)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        v_max = np.maximum(v_max, v)
        scale = np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1.0
        denominator = (np.sqrt(v_max) + eps) ** (2 * partial)
        step = np.divide(m, denominator, out=np.zeros_like(m), where=denominator > 0)
        theta = theta - learning_rate * scale * step
        yield theta
