"""Optimizers and learning-rate schedules, by name. They do not depend on models, data or training."""

from __future__ import annotations

from jaxopt_bench.optimizers.adam import Adam, AdamW, AMSGrad, Nadam, NAdamW
from jaxopt_bench.optimizers.axes import Axis, Choice, Space
from jaxopt_bench.optimizers.base import Hyperparameters, Optimizer, StepContext
from jaxopt_bench.optimizers.conformance import Conformance, measure_optimizer
from jaxopt_bench.optimizers.custom import USERS, ImportedOptimizer, load, wrap_optimizer
from jaxopt_bench.optimizers.optax_table import EXCLUDED_OPTIMIZERS, optax_optimizers
from jaxopt_bench.optimizers.padam import Padam, ScaleByPadamState, scale_by_padam
from jaxopt_bench.optimizers.parse import parse_schedule, parse_searched, parse_space, parse_values
from jaxopt_bench.optimizers.partitions import ParameterGroup, inner_rules, read_parameter_groups
from jaxopt_bench.optimizers.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Schedule,
    WarmupSchedule,
    WarmupStableDecay,
)
from jaxopt_bench.optimizers.sgd import SGD
from jaxopt_bench.optimizers.soap import SOAP, ScaleBySoapState, scale_by_soap
from jaxopt_bench.user_config import UserTable

OPTIMIZERS: UserTable[Optimizer] = UserTable(
    USERS,
    sgd=SGD(),
    momentum=SGD(momentum=0.9),
    nesterov=SGD(momentum=0.9, nesterov=True),
    adam=Adam(),
    adamw=AdamW(),
    nadam=Nadam(),
    nadamw=NAdamW(),
    amsgrad=AMSGrad(),
    padam=Padam(),
    soap=SOAP(),
    **optax_optimizers(),
)

__all__ = [
    "EXCLUDED_OPTIMIZERS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "SOAP",
    "AMSGrad",
    "Adam",
    "AdamW",
    "Axis",
    "Choice",
    "Conformance",
    "Constant",
    "Cosine",
    "Exponential",
    "Hyperparameters",
    "ImportedOptimizer",
    "Linear",
    "MultiStep",
    "NAdamW",
    "Nadam",
    "OneCycle",
    "Optimizer",
    "Padam",
    "ParameterGroup",
    "ScaleByPadamState",
    "ScaleBySoapState",
    "Schedule",
    "Space",
    "StepContext",
    "WarmupSchedule",
    "WarmupStableDecay",
    "inner_rules",
    "load",
    "measure_optimizer",
    "parse_schedule",
    "parse_searched",
    "parse_space",
    "parse_values",
    "read_parameter_groups",
    "scale_by_padam",
    "scale_by_soap",
    "wrap_optimizer",
]
