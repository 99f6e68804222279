"""Optimizers and learning-rate schedules, by name. Imports neither models, data nor training."""

from __future__ import annotations

from jaxopt_bench.config import Named
from jaxopt_bench.optimizers.adam import Adam, AdamW, AMSGrad, Nadam
from jaxopt_bench.optimizers.base import Hyperparameters, Multiplier, Optimizer
from jaxopt_bench.optimizers.padam import Padam, ScaleByPadamState, scale_by_padam
from jaxopt_bench.optimizers.schedules import Constant, Cosine, Exponential, MultiStep, OneCycle, Schedule
from jaxopt_bench.optimizers.sgd import SGD

OPTIMIZERS: Named[Optimizer] = Named(
    "optimizer",
    sgd=SGD(),
    adam=Adam(),
    adamw=AdamW(),
    nadam=Nadam(),
    amsgrad=AMSGrad(),
    padam=Padam(),
)

SCHEDULES: Named[Schedule] = Named(
    "schedule",
    constant=Constant(),
    multi_step=MultiStep(),
    exponential=Exponential(),
    cosine=Cosine(),
    one_cycle=OneCycle(),
)

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "AMSGrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Exponential",
    "Hyperparameters",
    "MultiStep",
    "Multiplier",
    "Nadam",
    "OneCycle",
    "Optimizer",
    "Padam",
    "ScaleByPadamState",
    "Schedule",
    "scale_by_padam",
]
