"""Stochastic gradient descent: plain, with heavy-ball momentum, with Nesterov's momentum."""

from __future__ import annotations

import dataclasses

import optax

from jaxopt_bench.config import number_field
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers.base import Hyperparameters, RescalingOptimizer, StepContext


@dataclasses.dataclass(frozen=True)
class SGD(RescalingOptimizer):
    """Stochastic gradient descent with coupled (L2) weight decay.

    With the gradient g, the weight decay λ, the momentum μ and the learning rate η:

        d_t = g_t + λ θ_{t−1}
        b_t = μ b_{t−1} + d_t
        θ_t = θ_{t−1} − η_t u_t

    The update u is d without momentum, b with heavy-ball momentum, and d + μ b with Nesterov's. This is the form of
    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), but b does not
    contain the learning rate, as in PyTorch: a change of the learning rate acts on all of b at once.

    Raises:
      UserError: if `nesterov` is True but `momentum` is None.
    """

    source = "Robbins & Monro, 1951; Polyak, 1964 (heavy ball); Sutskever et al., 2013 (both momenta)"

    learning_rate: float = number_field(0.1, at_least=0)
    """Step size at the schedule's multiplier 1."""
    momentum: float | None = number_field(None, at_least=0, below=1)
    """Decay of the velocity; None means no velocity."""
    nesterov: bool = False
    """Look ahead by one more application of the momentum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum is None:
            raise UserError("SGD.nesterov is True but SGD.momentum is None. Expected: a momentum in [0, 1).")

    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `RescalingOptimizer.scale`."""
        if self.momentum is None:
            return optax.identity()
        return optax.trace(hyperparameters["momentum"], nesterov=self.nesterov)
