"""Stochastic gradient descent: plain, with heavy-ball momentum, with Nesterov's momentum."""

from __future__ import annotations

import dataclasses

import optax

from jaxopt_bench.config import number
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Hyperparameters, Moment, Rescaling


@dataclasses.dataclass(frozen=True)
class SGD(Rescaling):
    r"""Stochastic gradient descent with coupled (L2) weight decay.

    With gradient :math:`g_t`, weight decay :math:`\lambda`, momentum :math:`\mu` and learning rate :math:`\eta_t`:

    .. math::
      g_t \leftarrow g_t + \lambda \theta_{t-1}, \quad
      b_t = \mu b_{t-1} + g_t, \quad
      \theta_t = \theta_{t-1} - \eta_t u_t

    where :math:`u_t = g_t` without momentum, :math:`b_t` with heavy-ball momentum and :math:`g_t + \mu b_t` with
    Nesterov's. This is the form of Sutskever et al., "On the importance of initialization and momentum in deep
    learning" (2013), with the learning rate outside the buffer, as in PyTorch: a change of the learning rate
    acts on the whole buffer at once.

    Raises:
      UserError: where Nesterov's momentum is asked for without a momentum.
    """

    source = "Robbins & Monro, 1951; Polyak, 1964 (heavy ball); Sutskever et al., 2013 (both momenta)"

    learning_rate: float = number(0.1, at_least=0)
    """Step size at the schedule's multiplier 1."""
    momentum: float | None = number(None, at_least=0, below=1)
    """Decay of the velocity; None keeps no velocity."""
    nesterov: bool = False
    """Look ahead by one more application of the momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum is None:
            raise UserError("SGD.nesterov is True but SGD.momentum is None; accepted: a momentum in [0, 1).")

    def scale(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Rescaling.scale`."""
        if self.momentum is None:
            return optax.identity()
        return optax.trace(hyperparameters["momentum"], nesterov=self.nesterov)
