"""The optimizers' equations in NumPy float64, written from the papers: oracles that share no code with the package.

Each function returns a function from a gradient and its step, counted from 1, to a direction. `updates` multiplies the
direction by the learning rate, and adds the weight decay.
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
    """Yields the change of the parameters in each step, given the parameters before the step."""
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


def lion(b1: float, b2: float) -> Direction:
    """Chen et al. 2023, Algorithm 2."""
    m = 0.0

    def direction(g, t):
        nonlocal m
        made = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
        return made

    return direction


class Soap:
    """Vyas et al. 2024, Algorithms 3 and 4, along each axis of an array, with the first step of the authors' code.

    As in Algorithm 3, the first moment is kept in the original basis and rotated in each step.
    """

    def __init__(
        self, b1: float, b2: float, shampoo_beta: float | None, eps: float, frequency: int, largest: int = 10_000
    ):
        self.b1, self.b2, self.eps, self.frequency, self.largest = b1, b2, eps, frequency, largest
        self.beta = b2 if shampoo_beta is None else shampoo_beta
        self.m, self.v, self.t = 0.0, 0.0, -1
        self.grams: dict[int, np.ndarray] = {}
        self.bases: dict[int, np.ndarray] = {}

    def __call__(self, g: np.ndarray, t: int) -> np.ndarray:
        self.t += 1
        made = np.zeros_like(g) if self.t == 0 else self._adam(g)
        for axis, size in enumerate(g.shape):
            if g.ndim > 1 and size <= self.largest:
                rows = np.moveaxis(g, axis, 0).reshape(size, -1)
                old = self.grams.get(axis, np.zeros((size, size)))
                self.grams[axis] = self.beta * old + (1 - self.beta) * rows @ rows.T
        if self.t == 0:
            self.bases = {axis: np.linalg.eigh(gram)[1][:, ::-1] for axis, gram in self.grams.items()}
        elif self.t % self.frequency == 0:
            self._refresh()
        return made

    def _adam(self, g: np.ndarray) -> np.ndarray:
        turned = self.turn(g)
        self.m = self.b1 * self.m + (1 - self.b1) * g
        self.v = self.b2 * self.v + (1 - self.b2) * turned**2
        made = self.turn(self.turn(self.m) / (np.sqrt(self.v) + self.eps), back=True)
        return made * np.sqrt(1 - self.b2**self.t) / (1 - self.b1**self.t)

    def _refresh(self) -> None:
        for axis, gram in self.grams.items():
            basis = self.bases[axis]
            order = np.argsort(-np.diag(basis.T @ gram @ basis))
            self.v = np.take(self.v, order, axis)
            self.bases[axis] = np.linalg.qr(gram @ basis[:, order])[0]

    def turn(self, array: np.ndarray, back: bool = False) -> np.ndarray:
        """Returns an array rotated into the eigenbases or, with `back`, rotated back from them."""
        for axis, basis in self.bases.items():
            array = np.moveaxis(np.moveaxis(array, axis, -1) @ (basis.T if back else basis), -1, axis)
        return array


def cautious(direction: Direction) -> Direction:
    """Liang et al. 2024, Algorithm 1, with the bound of the authors' code on the mean of the mask."""

    def masked(g, t):
        u = direction(g, t)
        mask = (u * g > 0).astype(float)
        return u * mask / max(mask.mean(), 1e-3)

    return masked


def mars(direction: Direction, gamma: float, b1: float) -> Direction:
    """Yuan et al. 2024, the correction of gradients in MARS-approx and its clipping, for any optimizer."""
    previous = 0.0

    def corrected(g, t):
        nonlocal previous
        c = g + gamma * b1 / (1 - b1) * (g - previous)
        previous = g
        norm = np.sqrt(np.sum(c**2))
        return direction(c / norm if norm > 1 else c, t)

    return corrected


def _quotient(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns the quotient, with 0/0 = 0."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
