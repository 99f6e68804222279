"""Writes an optimizer with its settings and its schedule as code that needs only optax."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import optax

from jaxopt_bench.optimizers.adam import Adam, AdamW, Nadam, NAdamW
from jaxopt_bench.optimizers.adapters import NOT_MATRICES, schedule_free_adamw
from jaxopt_bench.optimizers.base import Optimizer
from jaxopt_bench.optimizers.factories import FactoryOptimizer
from jaxopt_bench.optimizers.schedules import Constant, Cosine, Schedule
from jaxopt_bench.optimizers.sgd import SGD

_MATRICES = f"""import jax


def matrices(params):
    # A kernel is a matrix: the last axis has its outputs, and all other axes have its inputs. Adam updates the other
    # arrays: biases, scales, the layer "head", embeddings and positions.
    def of_leaf(path, leaf):
        left = any(getattr(part, "key", None) in {NOT_MATRICES} for part in path)
        if leaf.ndim < 2 or left:
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(of_leaf, params)

"""


def optax_code(optimizer: Optimizer, schedule: Schedule, epochs: int, steps_per_epoch: int) -> str | None:
    """Returns Python code that defines `optimizer`, an `optax.GradientTransformation`.

    Args:
      optimizer: the optimizer with its settings.
      schedule: its learning-rate schedule.
      epochs: the number of epochs of the training.
      steps_per_epoch: the number of steps in an epoch.

    Returns:
      The code; None if the optimizer, a setting or the schedule has no simple form in optax.
    """
    rate = _schedule(optimizer, schedule, epochs, steps_per_epoch)
    made = _rule_code(optimizer, schedule)
    around = ("clip_adaptive", "mars_gamma", "ema_decay", "swa_start")
    if rate is None or made is None or any(getattr(optimizer, name) is not None for name in around):
        return None
    if optimizer.cautious or optimizer.accumulate > 1 or optimizer.decay_mask != "all":
        return None
    before, rule, after = made
    if optimizer.clip_norm is not None:
        rule = f"optax.chain(optax.clip_by_global_norm({_number(optimizer.clip_norm)}), {rule})"
    imports = "import optax\nimport optax.contrib\n" if "contrib" in before + rule else "import optax\n"
    return f"{imports}{before}\n{rate}\noptimizer = {rule}\n{after}"


def _schedule(optimizer: Optimizer, schedule: Schedule, epochs: int, steps_per_epoch: int) -> str | None:
    """Returns the code of the learning rate, as a function of the number of updates if it changes."""
    peak, total = optimizer.learning_rate, epochs * steps_per_epoch
    if not isinstance(schedule, (Constant, Cosine)):
        return None
    warmup = round(schedule.warmup_epochs(epochs) * steps_per_epoch)
    if isinstance(schedule, Constant) and not warmup:
        return f"learning_rate = {_number(peak)}"
    main = f"optax.constant_schedule({_number(peak)})"
    if isinstance(schedule, Cosine):
        final = f", alpha={_number(schedule.final)}" if schedule.final else ""
        main = f"optax.cosine_decay_schedule({_number(peak)}, {total - warmup}{final})"
    if not warmup:
        return f"learning_rate = {main}"
    rise = f"optax.linear_schedule({_number(peak / warmup)}, {_number(peak * (1 + 1 / warmup))}, {warmup})"
    return f"learning_rate = optax.join_schedules(\n    [{rise}, {main}],\n    boundaries=[{warmup}],\n)"


def _rule_code(optimizer: Optimizer, schedule: Schedule) -> tuple[str, str, str] | None:
    """Returns the code before the optimizer, the call that makes the optimizer, and the code after it."""
    if type(optimizer) is SGD:
        momentum = _arguments({"momentum": optimizer.momentum, "nesterov": optimizer.nesterov or None})
        return "", _coupled(optimizer, f"optax.sgd(learning_rate{momentum})"), ""
    if type(optimizer) in (Adam, Nadam):
        name = "adam" if type(optimizer) is Adam else "nadam"
        return "", _coupled(optimizer, f"optax.{name}(learning_rate{_arguments(_moments(optimizer))})"), ""
    if type(optimizer) in (AdamW, NAdamW):
        name = "adamw" if type(optimizer) is AdamW else "nadamw"
        decay = {"weight_decay": optimizer.weight_decay}
        return "", f"optax.{name}(learning_rate{_arguments({**_moments(optimizer), **decay})})", ""
    if not isinstance(optimizer, FactoryOptimizer):
        return None
    factory = type(optimizer).factory
    if factory is schedule_free_adamw:
        if not isinstance(schedule, Constant):
            return None
        return (
            "",
            _schedule_free(optimizer, changes=schedule.warmup_epochs(1) > 0),
            ("# Evaluate the averaged parameters: optax.contrib.schedule_free_eval_params(opt_state, params)\n"),
        )
    name = getattr(factory, "__name__", "")
    homes = {"optax": optax, "optax.contrib": optax.contrib}
    home = next((path for path, module in homes.items() if getattr(module, name, None) is factory), None)
    if home is None or optimizer.form.schedule == "updates":
        return None
    defaults = {p.name: p.default for p in inspect.signature(factory).parameters.values()}
    values = {argument: getattr(optimizer, field) for argument, field in optimizer.arguments.items()}
    changed = {n: v for n, v in values.items() if n != "learning_rate" and v != defaults[n]}
    filled = {argument: what for argument, what in optimizer.filled.items() if what not in ("mask", "required_mask")}
    if set(filled.values()) - {"axes"}:
        return None
    axes = "".join(f", {argument}=matrices" for argument in filled)
    rule = f"{home}.{name}(learning_rate{_arguments(changed)}{axes})"
    if "weight_decay" not in optimizer.arguments.values():
        rule = _coupled(optimizer, rule)
    return (_MATRICES if axes else ""), rule, ""


def _schedule_free(optimizer: Any, *, changes: bool) -> str:
    """Returns the code of Schedule-Free AdamW; see `schedule_free_adamw`. `changes`: if the learning rate changes."""
    rms = f"{_number(optimizer.b2)}, {_number(optimizer.eps)}, eps_in_sqrt=False, bias_correction=True"
    scale = f"optax.scale_by_rms({rms})"
    decay = f"optax.add_decayed_weights({_number(optimizer.weight_decay)})"
    adamw = f"optax.chain({scale}, {decay}, optax.scale_by_learning_rate(learning_rate))"
    power = f", weight_lr_power={_number(optimizer.weight_lr_power)}"
    rate = "lambda count: learning_rate(count - 1)" if changes else "learning_rate"  # it counts updates from 1
    return f"optax.contrib.schedule_free({adamw}, {rate}, b1={_number(optimizer.b1)}{power})"


def _moments(optimizer: Any) -> dict[str, Any]:
    return {name: getattr(optimizer, name) for name in ("b1", "b2", "eps")}


def _coupled(optimizer: Optimizer, rule: str) -> str:
    """Returns the code of a rule, after a coupled weight decay if that is not zero."""
    if not optimizer.weight_decay:
        return rule
    return f"optax.chain(optax.add_decayed_weights({_number(optimizer.weight_decay)}), {rule})"


def _arguments(values: Mapping[str, object]) -> str:
    return "".join(f", {name}={_value(value)}" for name, value in values.items() if value is not None)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_value, value))},)"
    return _number(value) if isinstance(value, float) else repr(value)


def _number(value: float) -> str:
    """Returns a number with the digits of float32."""
    return repr(float(f"{value:.7g}"))
