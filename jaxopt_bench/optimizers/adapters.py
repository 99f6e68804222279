"""Functions of `optax` and `optax.contrib` in the form that the table needs: flat arguments, a mask, a fix."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree
from optax import contrib

from jaxopt_bench.optimizers.wrappers import find_states

Mask = Callable[[PyTree[Array]], PyTree[bool]] | None
"""The mask of the parameters that decay; None for all."""


def dog(
    learning_rate: float = 1.0,
    init_step: float = 1e-6,
    init_rule: Literal["heuristic", "distance", "learning_rate"] = "heuristic",
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    mask: Mask = None,
) -> optax.GradientTransformation:
    """Distance over Gradients (DoG): the largest distance from the start, over the root of all squared gradients.

    Args:
      learning_rate: a factor on the step size that DoG finds.
      init_step: the size of the first step, see `init_rule`; its authors use 1e-4 with batch normalisation.
      init_rule: the meaning of `init_step`: a factor on (1 + the norm of the initial parameters) ("heuristic"), a
        distance, or a learning rate.
      eps: added to the sum of squared gradients.
      weight_decay: coefficient of the coupled weight decay.
      mask: the parameters that decay.
    """
    return contrib.dog(learning_rate, (init_rule, init_step), eps, weight_decay, mask)


def mechanic_adam(
    learning_rate: float = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    s_init: float = 1e-6,
    num_betas: int = 6,
    weight_decay: float = 0.01,
) -> optax.GradientTransformation:
    """Mechanic around Adam: learns the factor on Adam's updates.

    Args:
      learning_rate: Adam's learning rate, times the schedule; it is also multiplied by the learned factor.
      b1: decay of Adam's first moment.
      b2: decay of Adam's second moment.
      eps: added to the root of Adam's second moment, and to Mechanic's denominators.
      s_init: the initial factor.
      num_betas: the number of time scales of its averages.
      weight_decay: Mechanic's own coupled weight decay, relative to the norms of the gradient and the parameters.
    """
    return contrib.mechanize(optax.adam(learning_rate, b1, b2, eps), weight_decay, eps, s_init, num_betas)


def idle_until_a_gradient(factory: Callable[..., optax.GradientTransformation]) -> Callable[..., Any]:
    """Returns optax's D-Adaptation or Prodigy with a guard, since it divides by zero if the first gradient is zero.

    Both divide by the sum of the absolute values of `grad_sum`. If that is zero, their authors' code
    (facebookresearch/dadaptation, `dadapt_adam.py`; konstmish/prodigy, `prodigy.py`) ends the step after it has updated
    the averages of gradients: the parameters, the step size, its numerator and the step count do not change.

    Args:
      factory: the function of optax. The result has its signature and docstring.
    """

    @functools.wraps(factory)
    def guarded(*arguments: Any, **named: Any) -> optax.GradientTransformationExtraArgs:
        inner = optax.with_extra_args_support(factory(*arguments, **named))

        def update_fn(
            updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None, **extra: Any
        ) -> tuple[PyTree[Array], optax.OptState]:
            updates, new = inner.update(updates, state, params, **extra)
            idle = optax.tree.norm(new.grad_sum, ord=1) == 0
            kept = {
                name: jnp.where(idle, getattr(state, name), getattr(new, name))
                for name in ("estim_lr", "numerator_weighted", "count")
            }
            return jax.tree.map(lambda u: jnp.where(idle, 0, u), updates), new._replace(**kept)

        return optax.GradientTransformationExtraArgs(inner.init, update_fn)

    return guarded


dadapt_adamw = idle_until_a_gradient(contrib.dadapt_adamw)
prodigy = idle_until_a_gradient(contrib.prodigy)


def rprop(
    learning_rate: float = 1e-3,
    eta_minus: float = 0.5,
    eta_plus: float = 1.2,
    min_step_size: float = 1e-6,
    max_step_size: float = 50.0,
) -> optax.GradientTransformation:
    """Rprop: each parameter has a step size, which grows if the gradient keeps its sign, and shrinks if it does not.

    optax 0.2.8 returns the update of the previous step (google-deepmind/optax, pull request 1725). Its state holds the
    update of the current step, which this function returns.

    Args:
      learning_rate: the first step size.
      eta_minus: factor on the step size if the gradient has changed its sign; such a step is left out.
      eta_plus: factor on the step size if the gradient has kept its sign.
      min_step_size: the smallest step size.
      max_step_size: the largest step size.
    """
    inner = optax.scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size)

    def update_fn(
        updates: PyTree[Array], state: optax.OptState, params: PyTree[Array] | None = None
    ) -> tuple[PyTree[Array], optax.OptState]:
        state = inner.update(updates, state, params)[1]
        return jax.tree.map(jnp.negative, state.prev_updates), state

    return optax.GradientTransformation(inner.init, update_fn)


def schedule_free_adamw(
    learning_rate: float = 0.0025,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    weight_lr_power: float = 2.0,
    mask: Mask = None,
) -> optax.GradientTransformation:
    """Schedule-Free AdamW: averaging in place of a schedule and of the first moment.

    It is `optax.contrib.schedule_free_adamw` with a mask for its weight decay.

    Args:
      learning_rate: AdamW's learning rate.
      b1: weight of the average in the parameters at which gradients are computed.
      b2: decay of the second moment.
      eps: added to the root of the second moment.
      weight_decay: coefficient of the decoupled weight decay.
      weight_lr_power: the exponent p: a step has the weight (largest learning rate so far)^p in the average.
      mask: the parameters that decay.
    """
    scale = optax.scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    decay = optax.add_decayed_weights(weight_decay, mask)
    adamw = optax.chain(scale, decay, optax.scale_by_learning_rate(learning_rate))
    return contrib.schedule_free(adamw, learning_rate, b1, weight_lr_power)


NOT_MATRICES = ("head", "embedding", "positions")
"""The names of layers and parameters that do not count as matrices, although they have two or more axes."""


class MatrixAxes(contrib.MuonDimensionNumbers, contrib.GaLoreDimensionNumbers):
    """The axes that make a parameter a matrix, for all functions of optax that need them."""


def matrices(params: PyTree[Array]) -> PyTree[MatrixAxes | None]:
    """Returns, for each parameter, the axes that make it a matrix; None if it is not a matrix.

    The kernels of convolutions and dense layers map inputs (all axes but the last) to outputs (the last axis). Biases
    and scales are not matrices. The layer named `head`, token embeddings and learned positions (`NOT_MATRICES`) do not
    count as matrices either: Jordan et al. (2024) leave them to Adam.
    """

    def of_leaf(path: Sequence[object], leaf: Array) -> MatrixAxes | None:
        left = any(getattr(part, "key", None) in NOT_MATRICES for part in path)
        return None if leaf.ndim < 2 or left else MatrixAxes(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(of_leaf, params)


def schedule_free_parameters(opt_state: optax.OptState, params: PyTree[Array]) -> PyTree[Array]:
    """Returns the parameters to evaluate of a Schedule-Free optimizer: its average.

    If there are several Schedule-Free states, as in a partition, each holds the average of its own parameters.

    Args:
      opt_state: the state of the optimizer.
      params: the trained parameters.
    """

    def is_masked(node: object) -> bool:
        return isinstance(node, optax.MaskedNode)

    for state in find_states(opt_state, contrib.ScheduleFreeState):
        b1 = state.b1
        params = jax.tree.map(
            lambda z, y: y if is_masked(z) else (y - (1.0 - b1) * z) / b1,  # noqa: B023
            state.z,
            params,
            is_leaf=is_masked,
        )
    return params
