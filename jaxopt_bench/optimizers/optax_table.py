"""The optimizers of `optax` and `optax.contrib` by name: a row for each, with facts that its signature lacks.

A row adds to a signature the source of the algorithm, a default learning rate and the schedule that the optimizer is
meant for. It also sets properties that the signature leaves open.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import optax
from optax import contrib

from jaxopt_bench.config import Bounds
from jaxopt_bench.optimizers.adapters import (
    dadapt_adamw,
    dog,
    mechanic_adam,
    prodigy,
    rprop,
    schedule_free_adamw,
    schedule_free_parameters,
)
from jaxopt_bench.optimizers.axes import Axis
from jaxopt_bench.optimizers.base import AVERAGES, IntendedSchedule
from jaxopt_bench.optimizers.factories import BOUNDS, SHARE, FactoryOptimizer, optimizer_class
from jaxopt_bench.user_config import field_values

EXCLUDED_OPTIMIZERS: Mapping[str, str] = {
    "sam": "needs a second gradient, at other parameters, in every step",
    "sophia": "needs an estimate of the Hessian's diagonal",
    "dpsgd": "needs the gradient of each example by itself",
    "optimistic_adam": "optax replaced it by optimistic_adam_v2, which the table has under the name optimistic_adam",
}
"""The functions of optax that are not in the table, and the reasons."""

_BY_ITSELF = IntendedSchedule("constant", "its authors: the step sizes shrink by themselves")
_LINE = IntendedSchedule("constant", "its authors: the loss sets the step size")
_RATE_FREE = ("weight_decay",)  # searched if an optimizer finds its learning rate: its authors leave the factor at 1
_NOT_NEGATIVE, _POSITIVE, _COUNT = Bounds(at_least=0), Bounds(above=0), Bounds(at_least=1)

_OPTIMISM = {name: Axis(0.1, 10.0, "log", "ours, around Daskalakis et al.'s 1") for name in ("alpha", "beta")}


_SCHEDULE_FREE: Mapping[str, Any] = {
    "source": "Defazio et al., 2024 (arXiv 2405.15682), Algorithm 1",
    "schedule": AVERAGES,
    "own_average": True,
    "bounds": {"b1": Bounds(above=0, below=1)},  # the evaluated parameters are divided by it
    "evaluated": staticmethod(schedule_free_parameters),
}

_ROWS: Mapping[str, Mapping[str, Any]] = {
    "acprop": {
        "factory": contrib.acprop,
        "source": "Zhuang et al., 2021 (arXiv 2110.05454)",
        "learning_rate": 1e-3,
        "decay_form": "decoupled",
    },
    "adabelief": {
        "factory": optax.adabelief,
        "source": "Zhuang et al., 2020 (arXiv 2010.07468), Algorithm 2",
        "learning_rate": 1e-3,
    },
    "adadelta": {
        "factory": optax.adadelta,
        "source": "Zeiler, 2012 (arXiv 1212.5701), Algorithm 1",
        "learning_rate": 1.0,
        "schedule": _BY_ITSELF,
    },
    "adafactor": {
        "factory": optax.adafactor,
        "source": "Shazeer & Stern, 2018 (arXiv 1804.04235), Algorithm 4",
        "learning_rate": 1e-2,
        "renamed": {"weight_decay_rate": "weight_decay"},
        "kinds": {"decay_offset": int},
        "decay_form": "unscaled",
        "own_axes": {
            "eps": Axis(1e-30, 1e-3, "log", "from the 1e-30 of Shazeer & Stern, 2018"),
            "decay_rate": Axis(0.5, 1.0, "linear", "Shazeer & Stern, 2018, section 7.2"),
            "clipping_threshold": Axis(0.5, 2.0, "log", "Shazeer & Stern, 2018, section 6: 1 and 2"),
        },
        "bounds": {
            "decay_rate": _NOT_NEGATIVE,
            "decay_offset": Bounds(at_most=0),  # runs count their steps from 0, and the offset is subtracted
            "clipping_threshold": _POSITIVE,
        },
    },
    "adagrad": {
        "factory": optax.adagrad,
        "source": "Duchi et al., 2011, figure 1, diagonal",
        "learning_rate": 1e-2,
        "schedule": _BY_ITSELF,
        "bounds": {"initial_accumulator_value": _NOT_NEGATIVE},
    },
    "adamax": {
        "factory": optax.adamax,
        "source": "Kingma & Ba, 2015, Algorithm 2",
        "learning_rate": 2e-3,
    },
    "adamaxw": {
        "factory": optax.adamaxw,
        "source": "Kingma & Ba, 2015, Algorithm 2; Loshchilov & Hutter, 2019 (its decay)",
        "learning_rate": 2e-3,
        "decay_form": "decoupled",
    },
    "adan": {
        "factory": optax.adan,
        "source": "Xie et al., 2022 (arXiv 2208.06677), Algorithm 1",
        "learning_rate": 1e-3,
        "decay_form": "decoupled",
    },
    "ademamix": {
        "factory": contrib.ademamix,
        "source": "Pagliardini et al., 2024 (arXiv 2409.03137), Algorithm 1, without its schedulers",
        "learning_rate": 1e-3,
        "decay_form": "decoupled",
        "own_axes": {"alpha": Axis(1.0, 10.0, "linear", "ours, around the 5 of optax")},
    },
    "adopt": {
        "factory": contrib.adopt,
        "source": "Taniguchi et al., 2024 (arXiv 2411.02853), Algorithm 2",
        "learning_rate": 1e-3,
    },
    "cocob": {
        "factory": contrib.cocob,
        "source": "Orabona & Tommasi, 2017 (arXiv 1705.07795), Algorithm 2",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "schedule": _BY_ITSELF,
        "own_axes": {"alpha": Axis(10.0, 1000.0, "log", "ours, around the 100 of Orabona & Tommasi")},
    },
    "dadapt_adamw": {
        "factory": dadapt_adamw,
        "source": "Defazio & Mishchenko, 2023 (arXiv 2301.07733), Algorithm 5",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "decay_form": "decoupled",
        "kinds": {"betas": tuple[float, float]},
        "bounds": {"estim_lr0": _POSITIVE, "eps": _POSITIVE},
    },
    "dog": {
        "factory": dog,
        "source": "Ivgi et al., 2023 (arXiv 2302.12022)",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "schedule": _BY_ITSELF,
    },
    "dowg": {
        "factory": contrib.dowg,
        "source": "Khaled et al., 2023 (arXiv 2305.16284), Algorithm 1",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "schedule": _BY_ITSELF,
    },
    "fromage": {
        "factory": optax.fromage,
        "source": "Bernstein et al., 2020 (arXiv 2002.03432), Algorithm 1",
        "learning_rate": 1e-2,
    },
    "galore": {
        "factory": contrib.galore,
        "source": "Zhao et al., 2024 (arXiv 2403.03507), with Adam",
        "learning_rate": 1e-2,
        "decay_form": "decoupled",
        "bounds": {"rank": _COUNT, "update_proj_gap": _COUNT},
    },
    "lamb": {
        "factory": optax.lamb,
        "source": "You et al., 2020 (arXiv 1904.00962), Algorithm 2",
        "learning_rate": 1e-2,
        "decay_form": "decoupled",
    },
    "lars": {
        "factory": optax.lars,
        "source": "You et al., 2017 (arXiv 1708.03888), Algorithm 1",
        "learning_rate": 1.0,
    },
    "lbfgs": {
        "factory": optax.lbfgs,
        "source": "Liu & Nocedal, 1989; line search: Nocedal & Wright, 2006, Algorithms 3.5 and 3.6",
        "learning_rate": 1.0,
        "schedule": _LINE,
        "line_search": True,
        "bounds": {"memory_size": _COUNT},
    },
    "lion": {
        "factory": optax.lion,
        "source": "Chen et al., 2023 (arXiv 2302.06675), Algorithm 2",
        "learning_rate": 1e-4,
        "decay_form": "decoupled",
    },
    "madgrad": {
        "factory": contrib.madgrad,
        "fixed": {"weight_decay": 0.0},
        "source": "Defazio & Jelassi, 2021 (arXiv 2101.11075), Algorithm 1",
        "learning_rate": 1e-2,
    },
    "mechanic_adam": {
        "factory": mechanic_adam,
        "source": "Cutkosky et al., 2023 (arXiv 2306.00144), Algorithm 1",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "bounds": {"num_betas": _COUNT, "eps": _POSITIVE},
    },
    "momo": {
        "factory": contrib.momo,
        "source": "Schaipp et al., 2023 (arXiv 2305.07583), MoMo",
        "learning_rate": 1.0,
        "schedule": _LINE,
        "decay_form": "decoupled",
        "bounds": {"beta": SHARE},
    },
    "momo_adam": {
        "factory": contrib.momo_adam,
        "source": "Schaipp et al., 2023 (arXiv 2305.07583), MoMo-Adam",
        "learning_rate": 1e-2,
        "schedule": _LINE,
        "decay_form": "decoupled",
    },
    "muon": {
        "factory": contrib.muon,
        "source": "Jordan et al., 2024 (kellerjordan.github.io/posts/muon)",
        "learning_rate": 2e-2,
        "decay_form": "decoupled",
        "kinds": {"ns_coeffs": tuple[float, float, float], "ns_steps": int},
        "bounds": {
            "beta": SHARE,
            **{f"adam_{name}": BOUNDS[name] for name in ("learning_rate", "b1", "b2", "eps_root", "weight_decay")},
        },
    },
    "noisy_sgd": {
        "factory": optax.noisy_sgd,
        "source": "Neelakantan et al., 2015 (arXiv 1511.06807), section 3",
        "learning_rate": 0.1,
        "fixed": {"seed": None},
        "own_axes": {"eta": Axis(1e-2, 1.0, "log", "Neelakantan et al., 2015: 0.01, 0.3 and 1")},
        "bounds": {"eta": _NOT_NEGATIVE},
    },
    "novograd": {
        "factory": optax.novograd,
        "source": "Ginsburg et al., 2019 (arXiv 1905.11286), Algorithm 1",
        "learning_rate": 1e-2,
        "decay_form": "decoupled",
        "own_axes": {"b2": Axis(0.02, 0.8, "log_one_minus", "Ginsburg et al., 2019: 0.25 to 0.98")},
    },
    "optimistic_adam": {
        "factory": optax.optimistic_adam_v2,
        "source": "Daskalakis et al., 2018 (arXiv 1711.00141), Algorithm 1",
        "learning_rate": 1e-3,
        "own_axes": _OPTIMISM,
    },
    "optimistic_gradient_descent": {
        "factory": optax.optimistic_gradient_descent,
        "source": "Mokhtari et al., 2020 (arXiv 1901.08511), OGDA",
        "learning_rate": 0.1,
        "own_axes": _OPTIMISM,
    },
    "polyak_sgd": {
        "factory": optax.polyak_sgd,
        "source": "Loizou et al., 2021 (arXiv 2002.10542), SPS_max",
        "learning_rate": 1.0,
        "renamed": {"max_learning_rate": "learning_rate"},
        "schedule": _LINE,
        "own_axes": {"scaling": Axis(0.1, 10.0, "log", "ours, around 1")},
        "kinds": {"variant": Literal["sps", "sps+"]},
    },
    "prodigy": {
        "factory": prodigy,
        "source": "Mishchenko & Defazio, 2023 (arXiv 2306.06101), Algorithm 4",
        "learning_rate": 1.0,
        "searched": _RATE_FREE,
        "decay_form": "decoupled",
        "own_axes": {"estim_lr_coef": Axis(0.1, 10.0, "log", "ours, around its authors' 1")},
        "kinds": {"betas": tuple[float, float]},
        "bounds": {"estim_lr0": _POSITIVE, "eps": _POSITIVE},
    },
    "radam": {
        "factory": optax.radam,
        "source": "Liu et al., 2020 (arXiv 1908.03265), Algorithm 2",
        "learning_rate": 1e-3,
        "bounds": {"threshold": Bounds(at_least=4)},  # below it the rectification is the root of a negative number
    },
    "rmsprop": {
        "factory": optax.rmsprop,
        "source": "Tieleman & Hinton, 2012, lecture 6.5",
        "learning_rate": 1e-3,
        "bounds": {"initial_scale": _NOT_NEGATIVE},
    },
    "rprop": {
        "factory": rprop,
        "source": "Riedmiller & Braun, 1993, in the form of Igel & Hüsken, 2003, iRprop⁻",
        "learning_rate": 1e-3,
        "schedule_form": "updates",  # the learning rate is only the first step size
        "schedule": _BY_ITSELF,
        "bounds": {"eta_minus": Bounds(above=0, at_most=1), "eta_plus": Bounds(at_least=1)},
    },
    "schedule_free_adamw": {
        **_SCHEDULE_FREE,
        "factory": schedule_free_adamw,
        "learning_rate": 2.5e-3,
        "decay_form": "decoupled",
    },
    "schedule_free_sgd": {
        **_SCHEDULE_FREE,
        "factory": contrib.schedule_free_sgd,
        "fixed": {"warmup_steps": None, "weight_decay": None},
        "learning_rate": 1.0,
    },
    "sign_sgd": {
        "factory": optax.sign_sgd,
        "source": "Bernstein et al., 2018 (arXiv 1802.04434), Algorithm 1",
        "learning_rate": 1e-3,
    },
    "signum": {
        "factory": optax.signum,
        "source": "Bernstein et al., 2018 (arXiv 1802.04434), Algorithm 2",
        "learning_rate": 1e-3,
        "bounds": {"beta": SHARE},
    },
    "simplified_ademamix": {
        "factory": contrib.simplified_ademamix,
        "source": "Morwani et al., 2025 (arXiv 2502.02431), Simplified-AdEMAMix",
        "learning_rate": 1e-3,
        "decay_form": "decoupled",
    },
    "sm3": {
        "factory": optax.sm3,
        "source": "Anil et al., 2019 (arXiv 1901.11150), SM3-II",
        "learning_rate": 0.1,
        "schedule": _BY_ITSELF,
    },
    "yogi": {
        "factory": optax.yogi,
        "source": "Zaheer et al., 2018, Algorithm 2",
        "learning_rate": 1e-2,
    },
}


@dataclasses.dataclass(frozen=True)
class FromTable(FactoryOptimizer):
    """An optimizer of optax. Its class is made from a row of the table, so it is pickled by the name of this row."""

    row: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.row, field_values(self))


def _unpickle(row: str, fields: Mapping[str, Any]) -> FactoryOptimizer:
    return type(optax_optimizers()[row])(**fields)


@functools.cache
def optax_optimizers() -> Mapping[str, FactoryOptimizer]:
    """Returns optax's optimizers by name, with their defaults."""
    names = {name: "".join(part.capitalize() for part in name.split("_")) for name in _ROWS}
    return {name: optimizer_class(names[name], base=FromTable, row=name, **row)() for name, row in _ROWS.items()}
