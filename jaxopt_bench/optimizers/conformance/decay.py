"""Measures how weight decay enters: from updates for zero gradients, and for the gradient of an L2 penalty."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from jaxopt_bench.optimizers.base import Optimizer
from jaxopt_bench.optimizers.conformance.comparison import (
    ALIKE,
    CLOSE,
    ROUNDING,
    all_finite,
    closest_factor,
    ratios_at,
    rms,
    subtract,
)
from jaxopt_bench.optimizers.conformance.facts import DecayFacts, MeasuredDecayForm
from jaxopt_bench.optimizers.conformance.laboratory import Laboratory
from jaxopt_bench.optimizers.conformance.scale import scaling_of

_DECAYS = (0.1, 100.0)  # measured if the weight decay in the settings has no effect; Prodigy's first steps are tiny


def measure_own_decay(laboratory: Laboratory) -> DecayFacts:
    """Returns the weight decay that an optimizer has if its field `weight_decay` is 0, from zero gradients."""
    optimizer = dataclasses.replace(laboratory.optimizer, weight_decay=0.0)
    alone = laboratory.decayed_by_zero(optimizer)
    if not all_finite(alone):
        return _absent_decay(optimizer, laboratory)
    return _describe_decay(laboratory, optimizer, alone, coupled=False)


def measure_decay(laboratory: Laboratory) -> DecayFacts:
    """Returns the effect of the field `weight_decay`, at its value in the settings or, if needed, at another value."""
    own = laboratory.optimizer
    for value in (own.weight_decay, *_DECAYS):
        found = _decay_at(laboratory, dataclasses.replace(own, weight_decay=value)) if value else None
        if found is not None and found.form != "absent":
            return found
    return _absent_decay(own, laboratory)


def _decay_at(laboratory: Laboratory, optimizer: Optimizer) -> DecayFacts:
    without = dataclasses.replace(optimizer, weight_decay=0.0)
    updates = laboratory.run(optimizer)
    effect = subtract(updates, laboratory.run(without))
    alone = laboratory.decayed_by_zero(optimizer)
    alone = subtract(alone, laboratory.decayed_by_zero(without)) if all_finite(alone) else effect
    if not all_finite(alone):
        return _absent_decay(optimizer, laboratory)
    return _describe_decay(laboratory, optimizer, alone, _is_coupled(laboratory, optimizer, alone, updates, effect))


def _absent_decay(optimizer: Optimizer, laboratory: Laboratory) -> DecayFacts:
    values = optimizer.weight_decay, laboratory.optimizer.weight_decay
    return DecayFacts("absent", False, *values, None, None, None, (), _trained_arrays(laboratory))


def _trained_arrays(laboratory: Laboratory) -> tuple[str, ...]:
    return tuple(name for name, update in zip(laboratory.names, laboratory.base, strict=True) if update.any())


def _describe_decay(laboratory: Laboratory, optimizer: Optimizer, alone: list[np.ndarray], coupled: bool) -> DecayFacts:
    """Returns the facts of a weight decay.

    Args:
      laboratory: the laboratory of the optimizer.
      optimizer: the optimizer with the weight decay to describe.
      alone: the updates that weight decay makes if all gradients are zero.
      coupled: whether it has the same effect as the gradient of an L2 penalty; see `_is_coupled`.
    """
    where = [i for i, update in enumerate(alone) if _moves(update, laboratory.params[i])]
    if not where:
        return _absent_decay(optimizer, laboratory)
    step = next(step for step in range(laboratory.steps) if any(alone[i][step].any() for i in where))
    first = [closest_factor(alone[i][step], laboratory.params[i]) for i in where]
    proportional = all(residual < ALIKE for _, residual in first)
    grows = proportional and any(_grows(alone[i][step:], laboratory.params[i]) for i in where)
    both = _is_linear(laboratory, where)
    form: MeasuredDecayForm = "momentum" if grows else "decoupled"
    if coupled or not proportional or (grows and both):
        form = "coupled"
    shares = [-factor for factor, _ in first]
    equal = proportional and max(shares) - min(shares) <= ALIKE * abs(max(shares))
    doubled = dataclasses.replace(optimizer, learning_rate=2 * optimizer.learning_rate)
    decayed = tuple(laboratory.names[i] for i in where)
    return DecayFacts(
        form=form,
        both=both and proportional and not grows,
        weight_decay=optimizer.weight_decay,
        default=laboratory.optimizer.weight_decay,
        shrinks=float(np.mean(shares)) if equal else None,
        times_learning_rate=_follows(laboratory, doubled, 1.0, alone, where, step),
        times_schedule=_follows(laboratory, optimizer, 0.5, alone, where, step),
        decayed=decayed,
        left_out=tuple(name for name in _trained_arrays(laboratory) if name not in decayed),
    )


def _is_linear(laboratory: Laboratory, where: list[int]) -> bool:
    """Returns whether the last updates of some arrays, without those of zero gradients, are linear in the gradients."""
    zero = laboratory.run(gradients=0.0)
    base = subtract(laboratory.base, zero)
    scaled = {factor: subtract(updates, zero) for factor, updates in laboratory.scaled.items()}
    return all(scaling_of(base[i][-1], {f: u[i][-1] for f, u in scaled.items()}) == "linear" for i in where)


def _moves(alone: np.ndarray, params: np.ndarray) -> bool:
    """Returns whether weight decay alone moves an array by more than rounding does."""
    return rms(alone.sum(0)) > len(alone) * ROUNDING * rms(params)


def _is_coupled(
    laboratory: Laboratory,
    optimizer: Optimizer,
    alone: list[np.ndarray],
    updates: list[np.ndarray],
    effect: list[np.ndarray],
) -> bool:
    """Returns whether weight decay has the same effect as the gradient of an L2 penalty on the same arrays."""
    arrays = zip(laboratory.names, alone, laboratory.params, strict=True)
    penalty = {name: optimizer.weight_decay for name, update, params in arrays if _moves(update, params)}
    penalised = laboratory.run(dataclasses.replace(optimizer, weight_decay=0.0), penalty=penalty)
    return any(e.any() for e in effect) and all(
        rms(u - p) <= CLOSE * rms(e) + ROUNDING * rms(u) for u, p, e in zip(updates, penalised, effect, strict=True)
    )


def _grows(alone: np.ndarray, params: np.ndarray) -> bool:
    """Returns whether weight decay alone removes a larger share of the parameters in later steps, as in a momentum."""
    moved = params + np.concatenate([np.zeros_like(alone[:1]), np.cumsum(alone, 0)[:-1]])
    shares = [-closest_factor(update, before)[0] for update, before in zip(alone, moved, strict=True)]
    return shares[-1] > (1 + ALIKE) * shares[0]


def _follows(
    laboratory: Laboratory,
    optimizer: Optimizer,
    multiplier: float,
    alone: list[np.ndarray],
    where: list[int],
    step: int,
) -> bool | None:
    """Returns whether weight decay is multiplied by a factor if the learning rate or the schedule is.

    Returns None if it is neither multiplied by the factor nor unchanged.
    """
    own = laboratory.optimizer.learning_rate
    factor = optimizer.learning_rate / own * multiplier if own else math.nan
    found = laboratory.decayed_by_zero(optimizer, multipliers=multiplier)
    ratios = [ratio for i, ratio in enumerate(ratios_at(found, alone, step)) if i in where]
    for expected, follows in ((factor, True), (1.0, False)):
        if all(ratio is not None and abs(ratio - expected) < CLOSE * expected for ratio in ratios):
            return follows
    return None
