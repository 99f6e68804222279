"""Growth of studies: fields that may change between one command and the next, and fields that must not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.study.contender import Contender
from jaxopt_bench.study.extension import Extension
from jaxopt_bench.study.study import Study

N = TypeVar("N", Workload, Contender)

BUDGETS = ("trials", "total_epochs", "trial_seeds", "seeds", "repetitions")
"""Fields whose values may become larger."""
_MAY_GROW = ("name", "question", "workloads", "contenders", "targets", "claims", *BUDGETS)


def merge_studies(earlier: Study, asked: Study) -> Study:
    """Returns the smallest study that contains both studies.

    It has the larger budgets and numbers of seeds, and the workloads and contenders of both with all their extensions.
    It has the name, the question, the targets and the claims of `asked`. It also has the targets and claims of
    `earlier` about other workloads and contenders, because `asked` can be a part of `earlier`, see `Study.only`.

    Raises:
      UserError: if another field, a workload, or a contender of the same name differs, so that results cannot be
        compared; or if one study has `trials` and the other one has `total_epochs`.
    """
    for field in dataclasses.fields(Study):
        one, other = getattr(earlier, field.name), getattr(asked, field.name)
        if field.name == "finalist_seeds" and earlier.finalists == asked.finalists == 0:
            continue
        if field.name in ("trials", "total_epochs"):
            if (one is None) != (other is None):
                raise _differs(field.name, one, other)
        elif field.name not in _MAY_GROW and one != other:
            raise _differs(field.name, one, other)
    workloads, contenders = [w.name for w in asked.workloads], [c.name for c in asked.contenders]
    extended = {c.name: c.extensions for c in asked.contenders}
    known = tuple(
        dataclasses.replace(c, extensions=_longer(c.name, c.extensions, extended.get(c.name, ())))
        for c in earlier.contenders
    )
    return dataclasses.replace(
        asked,
        workloads=_union("workloads", earlier.workloads, asked.workloads),
        contenders=_union("contenders", known, asked.contenders),
        targets=(*asked.targets, *(target for target in earlier.targets if target.workload not in workloads)),
        claims=(*asked.claims, *(claim for claim in earlier.claims if not claim.is_about_none_but(contenders))),
        **{
            name: max(one, other)
            for name in BUDGETS
            if (one := getattr(earlier, name)) is not None and (other := getattr(asked, name)) is not None
        },
    )


def _union(field: str, earlier: Sequence[N], asked: Sequence[N]) -> tuple[N, ...]:
    """Returns the items of both studies without duplicates, those of the earlier study first."""
    known = {item.name: item for item in earlier}
    for item in asked:
        one, other = _compared(known.get(item.name, item)), _compared(item)
        if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            raise _differs(f"{field} {item.name}", *_first_difference(one, other))
        known.setdefault(item.name, item)
    return tuple(known.values())


def _longer(name: str, earlier: tuple[Extension, ...], asked: tuple[Extension, ...]) -> tuple[Extension, ...]:
    """Returns the longer of two lists of extensions of a contender. It must start with the shorter list."""
    shorter, longer = sorted((earlier, asked), key=len)
    if longer[: len(shorter)] != shorter:
        raise _differs(f"contenders {name}: extensions", earlier, asked)
    return longer


def _compared(config: Config) -> dict[str, Any]:
    """Returns an item in JSON, without its extensions, and without the sources of ranges: these change no result."""
    item = config.to_json()
    item.pop("extensions", None)
    for searched in item.get("space", {}).values():
        searched.pop("source", None)
    return item


def _first_difference(one: dict[str, Any], other: dict[str, Any], path: str = "") -> tuple[str, str]:
    """Returns the first two values that differ between two JSON objects, each with the path to its field."""
    for name in [*one, *(name for name in other if name not in one)]:
        a, b = one.get(name), other.get(name)
        if json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True):
            if isinstance(a, dict) and isinstance(b, dict):
                return _first_difference(a, b, f"{path}{name}.")
            return f"{path}{name} {a!r}", f"{path}{name} {b!r}"
    return f"{path} {one!r}", f"{path} {other!r}"


def _differs(field: str, earlier: object, asked: object) -> UserError:
    return UserError(
        f"the study that was started earlier has {field}: {_cut(earlier)}; this command has {_cut(asked)}. Expected "
        "the same value, because results with different values cannot be compared; or another folder (--out), and with "
        "--record also another record. A study can grow in trials, total epochs of trials, seeds, repetitions, "
        "workloads and optimizers, but the epochs of a run (--epochs) stay the same."
    )


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
