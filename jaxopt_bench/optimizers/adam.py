"""The Adam family: Adam, AdamW, Nadam, AMSGrad, composed from optax's transforms."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import optax
from jaxtyping import Array, Float

from jaxopt_bench.config import number
from jaxopt_bench.optimizers.base import Decay, Hyperparameters, Optimizer


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
    r"""Adam (Kingma & Ba, "Adam: A method for stochastic optimization", 2015, Algorithm 1), L2 decay.

    .. math::
      m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
      \theta_t &= \theta_{t-1} - \eta_t \,
        \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Weight decay is coupled: it enters :math:`g_t`, and so both moments.
    """

    b1: float = number(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number(1e-8, at_least=0)
    """Added to the root of the second moment."""

    def scale(self, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
        """See `Optimizer.scale`."""
        return optax.scale_by_adam(*_moments(hyperparameters))


@dataclasses.dataclass(frozen=True)
class AdamW(Optimizer):
    r"""Adam with decoupled weight decay (Loshchilov & Hutter, 2019, Algorithm 2).

    :math:`\theta_t = \theta_{t-1} - \eta_t (\hat m_t / (\sqrt{\hat v_t} + \epsilon) + \lambda \theta_{t-1})`, with
    Adam's moments. As in PyTorch and optax the decay is multiplied by the learning rate; in the paper only by
    the schedule's multiplier, so its :math:`\lambda` is ours times the learning rate.
    """

    decay: ClassVar[Decay] = "decoupled"

    weight_decay: float = number(0.01, at_least=0)
    """Decoupled decay, applied to the parameters beside Adam's step."""
    b1: float = number(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number(1e-8, at_least=0)
    """Added to the root of the second moment."""

    def scale(self, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
        """See `Optimizer.scale`."""
        return optax.scale_by_adam(*_moments(hyperparameters))


@dataclasses.dataclass(frozen=True)
class Nadam(Optimizer):
    r"""Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016), L2 decay.

    .. math::
      \theta_t = \theta_{t-1} - \eta_t \, \frac{
        \beta_1 m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1) g_t / (1 - \beta_1^t)
      }{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    with a constant :math:`\beta_1`, as in optax. PyTorch's NAdam instead follows the momentum schedule of the
    paper's experiments; and the paper's Algorithm 2 has a further factor :math:`\beta_2` on the second moment,
    which neither library keeps.
    """

    b1: float = number(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number(1e-8, at_least=0)
    """Added to the root of the second moment."""

    def scale(self, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
        """See `Optimizer.scale`."""
        return optax.scale_by_adam(*_moments(hyperparameters), nesterov=True)


@dataclasses.dataclass(frozen=True)
class AMSGrad(Optimizer):
    r"""AMSGrad (Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018, Algorithm 2), L2 decay.

    .. math::
      \hat v_t = \max(\hat v_{t-1}, v_t), \qquad
      \theta_t = \theta_{t-1} - \eta_t \, m_t / (\sqrt{\hat v_t} + \epsilon)

    with Adam's moments. The paper corrects no bias and has no :math:`\epsilon`: that is `bias_correction=False,
    eps=0`. With bias correction, the default, both moments are corrected and the maximum is taken of the
    corrected second moment, as in optax; PyTorch takes it of the raw one and corrects the maximum.
    """

    b1: float = number(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number(1e-8, at_least=0)
    """Added to the root of the maximal second moment."""
    bias_correction: bool = True
    """Correct both moments for starting at zero; the paper does not."""

    def scale(self, hyperparameters: Hyperparameters) -> optax.GradientTransformation:
        """See `Optimizer.scale`."""
        corrected = self.bias_correction
        return optax.scale_by_amsgrad(
            *_moments(hyperparameters), bias_correction_mu=corrected, bias_correction_nu=corrected
        )


def _moments(hyperparameters: Hyperparameters) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    return hyperparameters["b1"], hyperparameters["b2"], hyperparameters["eps"]
