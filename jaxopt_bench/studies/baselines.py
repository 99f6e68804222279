"""A newcomer against results that were recorded earlier: checked to be comparable, and put together."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.results.document import Document
from jaxopt_bench.results.study import Contender, Study
from jaxopt_bench.results.tables import Results, together

_NAMES = ("name", "question", "contenders", "claims", "targets", "workloads")
"""Fields of a study that are no part of its protocol."""

_PLACES = (
    "backend",
    "device",
    "devices",
    "threads",
    "code_path",
    "version.jax",
    "version.optax",
    "version.jaxopt-bench",
)
"""Columns that say where a run took place."""


def challenge(study: Study, recorded: Document, newcomers: Sequence[Contender]) -> Study:
    """Returns the study in which newcomers alone are trained, as those recorded were.

    Args:
      study: as it is now.
      recorded: the study that the baselines were recorded in.
      newcomers: optimizers that are not among them.

    Raises:
      UserError: where protocol or workloads differ, or a newcomer has the name of a contender that was recorded.
    """
    for field in dataclasses.fields(Study):
        now, then = getattr(study, field.name), getattr(recorded.study, field.name)
        if field.name not in _NAMES and now != then:
            raise UserError(
                f"the baselines were recorded with {field.name} {then!r}, and the study has {now!r}; accepted: the "
                "same."
            )
    known = {w.name: w for w in recorded.study.workloads}
    for workload in study.workloads:
        if workload.name not in known or _text(workload) != _text(known[workload.name]):
            raise UserError(
                f"the baselines were not recorded on the workload {workload.name} as it is in the study; accepted: the "
                "same, with the same epochs, batch size, augmentation and network."
            )
    taken = [c.name for c in recorded.study.contenders]
    for newcomer in newcomers:
        if newcomer.name in taken:
            raise UserError(f"{newcomer.name} is among the baselines; accepted: other names than {', '.join(taken)}.")
    return dataclasses.replace(study, contenders=tuple(newcomers), claims=())


def joined(recorded: Results, trained: Results) -> tuple[Results, Document]:
    """Returns the recorded results and the newcomers' as those of one study."""
    (then,), (now,) = recorded.documents, trained.documents
    study = dataclasses.replace(
        now.study, name=then.study.name, contenders=(*then.study.contenders, *now.study.contenders)
    )
    names = [w.name for w in study.workloads]
    document = Document(
        study,
        runs=(*then.runs, *now.runs),
        selections=tuple(s for s in (*then.selections, *now.selections) if s["workload"] in names),
        timings=(*then.timings, *now.timings),
    )
    return dataclasses.replace(together([recorded, trained]), documents=(document,)), document


def differences(recorded: Results, trained: Results) -> list[str]:
    """Returns where the newcomers' runs took place otherwise than the recorded ones, in words."""
    found = []
    for column in _PLACES:
        then, now = (sorted(_values(results.runs, column)) for results in (recorded, trained))
        if then != now:
            found.append(f"{column}: {', '.join(then)} then, {', '.join(now)} now")
    return found


def _values(runs: pl.DataFrame, column: str) -> set[str]:
    return set(map(str, runs[column].unique().to_list())) if column in runs.columns else {"unknown"}


def _text(workload: object) -> str:
    return json.dumps(workload.to_json(), sort_keys=True)  # type: ignore[attr-defined]
