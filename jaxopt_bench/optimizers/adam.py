"""The Adam family: Adam, AdamW, Nadam, NAdamW, AMSGrad, composed from optax's transforms."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import optax

from jaxopt_bench.config import number
from jaxopt_bench.optimizers.base import DecayForm, Hyperparameters, Moment, Rescaling


@dataclasses.dataclass(frozen=True)
class _Moments(Rescaling):
    """What divides a first moment of the gradients by the root of a second."""

    b1: float = number(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number(1e-8, at_least=0)
    """Added to the root of the second moment."""

    nesterov: ClassVar[bool] = False

    def scale(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Rescaling.scale`."""
        b1, b2, eps = (hyperparameters[name] for name in ("b1", "b2", "eps"))
        return optax.scale_by_adam(b1, b2, eps, nesterov=self.nesterov)


@dataclasses.dataclass(frozen=True)
class Adam(_Moments):
    r"""Adam (Kingma & Ba, "Adam: A method for stochastic optimization", 2015, Algorithm 1), L2 decay.

    .. math::
      m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2 \\
      \theta_t &= \theta_{t-1} - \eta_t \,
        \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Weight decay is coupled: it enters :math:`g_t`, and so both moments.
    """

    source = "Kingma & Ba, 2015, Algorithm 1"


@dataclasses.dataclass(frozen=True)
class AdamW(_Moments):
    r"""Adam with decoupled weight decay (Loshchilov & Hutter, 2019, Algorithm 2).

    :math:`\theta_t = \theta_{t-1} - \eta_t (\hat m_t / (\sqrt{\hat v_t} + \epsilon) + \lambda \theta_{t-1})`, with
    Adam's moments. As in PyTorch and optax the decay is multiplied by the learning rate; in the paper only by
    the schedule's multiplier, so its :math:`\lambda` is ours times the learning rate.
    """

    source = "Loshchilov & Hutter, 2019, Algorithm 2"
    decay_form: ClassVar[DecayForm] = "decoupled"

    weight_decay: float = number(0.01, at_least=0)
    """Decoupled decay, applied to the parameters beside Adam's step."""


@dataclasses.dataclass(frozen=True)
class Nadam(_Moments):
    r"""Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016), L2 decay.

    .. math::
      \theta_t = \theta_{t-1} - \eta_t \, \frac{
        \beta_1 m_t / (1 - \beta_1^{t+1}) + (1 - \beta_1) g_t / (1 - \beta_1^t)
      }{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    with a constant :math:`\beta_1`, as in optax. PyTorch's NAdam instead follows the momentum schedule of the
    paper's experiments; and the paper's Algorithm 2 has a further factor :math:`\beta_2` on the second moment,
    which neither library keeps.
    """

    source = "Dozat, 2016, Algorithm 2, with a constant b1"
    nesterov = True


@dataclasses.dataclass(frozen=True)
class NAdamW(_Moments):
    """Nadam with decoupled weight decay, `AdamW`'s: the strongest baseline of AlgoPerf (Dahl et al., 2023)."""

    source = "Dozat, 2016, Algorithm 2, with a constant b1; Loshchilov & Hutter, 2019 (its decay)"
    nesterov = True
    decay_form: ClassVar[DecayForm] = "decoupled"

    weight_decay: float = number(0.01, at_least=0)
    """Decoupled decay, applied to the parameters beside Nadam's step."""


@dataclasses.dataclass(frozen=True)
class AMSGrad(_Moments):
    r"""AMSGrad (Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018, Algorithm 2), L2 decay.

    .. math::
      \hat v_t = \max(\hat v_{t-1}, v_t), \qquad
      \theta_t = \theta_{t-1} - \eta_t \, m_t / (\sqrt{\hat v_t} + \epsilon)

    with Adam's moments. The paper corrects no bias and has no :math:`\epsilon`: that is `bias_correction=False,
    eps=0`. With bias correction, the default, both moments are corrected and the maximum is taken of the
    corrected second moment, as in optax; PyTorch takes it of the raw one and corrects the maximum.
    """

    source = "Reddi et al., 2018, Algorithm 2"

    bias_correction: bool = True
    """Correct both moments for starting at zero; the paper does not."""

    def scale(self, hyperparameters: Hyperparameters, moment: Moment) -> optax.GradientTransformation:
        """See `Rescaling.scale`."""
        b1, b2, eps = (hyperparameters[name] for name in ("b1", "b2", "eps"))
        corrected = self.bias_correction
        return optax.scale_by_amsgrad(b1, b2, eps, bias_correction_mu=corrected, bias_correction_nu=corrected)
