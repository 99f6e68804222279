"""The Adam family: Adam, AdamW, Nadam, NAdamW, AMSGrad, composed from optax's transforms."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import optax

from jaxopt_bench.config import number_field
from jaxopt_bench.optimizers.base import DecayForm, Hyperparameters, RescalingOptimizer, StepContext


@dataclasses.dataclass(frozen=True)
class _Moments(RescalingOptimizer):
    """Base of the optimizers that divide the first moment of the gradients by the root of the second moment."""

    b1: float = number_field(0.9, at_least=0, below=1)
    """Decay of the first moment."""
    b2: float = number_field(0.999, at_least=0, below=1)
    """Decay of the second moment."""
    eps: float = number_field(1e-8, at_least=0)
    """Added to the root of the second moment."""

    nesterov: ClassVar[bool] = False

    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `RescalingOptimizer.scale`."""
        b1, b2, eps = (hyperparameters[name] for name in ("b1", "b2", "eps"))
        return optax.scale_by_adam(b1, b2, eps, nesterov=self.nesterov)


@dataclasses.dataclass(frozen=True)
class Adam(_Moments):
    """Adam (Kingma & Ba, "Adam: A method for stochastic optimization", 2015, Algorithm 1), L2 decay.

    With the gradient g and the learning rate η:

        m_t = b1 m_{t−1} + (1 − b1) g_t    v_t = b2 v_{t−1} + (1 − b2) g_t²
        m̂_t = m_t / (1 − b1^t)             v̂_t = v_t / (1 − b2^t)
        θ_t = θ_{t−1} − η_t m̂_t / (√v̂_t + eps)

    Weight decay is coupled: it is added to the gradient, and so enters both moments.
    """

    source = "Kingma & Ba, 2015, Algorithm 1"


@dataclasses.dataclass(frozen=True)
class AdamW(_Moments):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019, Algorithm 2).

    With Adam's moments m̂ and v̂, the learning rate η and the weight decay λ:

        θ_t = θ_{t−1} − η_t (m̂_t / (√v̂_t + eps) + λ θ_{t−1})

    As in PyTorch and optax, the decay is multiplied by the learning rate. In the paper it is multiplied by the
    schedule's multiplier alone, so the paper's λ is this λ times the learning rate.
    """

    source = "Loshchilov & Hutter, 2019, Algorithm 2"
    decay_form: ClassVar[DecayForm] = "decoupled"

    weight_decay: float = number_field(0.01, at_least=0)
    """Coefficient of the decoupled decay, which is applied to the parameters in addition to Adam's step."""


@dataclasses.dataclass(frozen=True)
class Nadam(_Moments):
    """Adam with Nesterov's momentum (Dozat, "Incorporating Nesterov momentum into Adam", 2016), L2 decay.

    With Adam's moments m and v̂, the gradient g and the learning rate η:

        n_t = b1 m_t / (1 − b1^{t+1}) + (1 − b1) g_t / (1 − b1^t)
        θ_t = θ_{t−1} − η_t n_t / (√v̂_t + eps)

    b1 is constant, as in optax. PyTorch's NAdam follows the momentum schedule of the paper's experiments instead. The
    paper's Algorithm 2 has a further factor b2 on the second moment, which neither library has.
    """

    source = "Dozat, 2016, Algorithm 2, with a constant b1"
    nesterov = True


@dataclasses.dataclass(frozen=True)
class NAdamW(_Moments):
    """Nadam with the decoupled weight decay of `AdamW`: the strongest baseline of AlgoPerf (Dahl et al., 2023)."""

    source = "Dozat, 2016, Algorithm 2, with a constant b1; Loshchilov & Hutter, 2019 (its decay)"
    nesterov = True
    decay_form: ClassVar[DecayForm] = "decoupled"

    weight_decay: float = number_field(0.01, at_least=0)
    """Coefficient of the decoupled decay, which is applied to the parameters in addition to Nadam's step."""


@dataclasses.dataclass(frozen=True)
class AMSGrad(_Moments):
    """AMSGrad (Reddi, Kale & Kumar, "On the convergence of Adam and beyond", 2018, Algorithm 2), L2 decay.

    With Adam's moments m and v, and the learning rate η:

        w_t = max(w_{t−1}, v_t)
        θ_t = θ_{t−1} − η_t m_t / (√w_t + eps)

    The paper has neither a bias correction nor an eps: this is `bias_correction=False, eps=0`. With bias correction,
    which is the default, both moments are corrected, and the maximum is that of the corrected second moments, as in
    optax. PyTorch takes the maximum of the uncorrected second moments, and corrects the maximum.
    """

    source = "Reddi et al., 2018, Algorithm 2"

    bias_correction: bool = True
    """Correct both moments for their start at zero; the paper does not."""

    def scale(self, hyperparameters: Hyperparameters, context: StepContext) -> optax.GradientTransformation:
        """See `RescalingOptimizer.scale`."""
        b1, b2, eps = (hyperparameters[name] for name in ("b1", "b2", "eps"))
        corrected = self.bias_correction
        return optax.scale_by_amsgrad(b1, b2, eps, bias_correction_mu=corrected, bias_correction_nu=corrected)
