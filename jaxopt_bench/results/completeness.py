"""Describes in words whether the runs of a study have all finished."""

from __future__ import annotations

from collections.abc import Collection

from jaxopt_bench.formatting import format_count, join_words
from jaxopt_bench.results.tables import Results
from jaxopt_bench.study import RunEntry, UnitKey, units

MOST = 6
"""The largest number of missing pairs of an optimizer and a workload that are named."""


def describe_missing_results(results: Results, only: Collection[str] = ()) -> str | None:
    """Returns sentences that name the missing parts of the studies in some results; None if all are complete.

    A part of a study is complete if its winner has been selected and all its confirmations have finished.

    Args:
      results: the results.
      only: the names of the optimizers that the command was told to train; empty for all. If these have finished, the
        sentences say so, and count the others.
    """
    ended = set(results.runs.filter(~results.runs["status"].is_in(["running", "interrupted"]))["digest"])
    said = []
    for document in results.documents:
        planned = units(document.study)
        needed: dict[UnitKey, list[RunEntry]] = {}
        for run in document.runs:
            needed.setdefault(run.unit, []).append(run)
        chosen = {found.unit for found in document.selections}
        missing = [
            unit
            for unit in planned
            if unit.key not in chosen
            or any(run.digest not in ended and run.phase != "superseded" for run in needed.get(unit.key, ()))
        ]
        others = {unit.contender.name for unit in missing}
        if missing and only and others.isdisjoint(only):
            said.append(_describe_chosen(document.study.name, only, len(others)))
        elif missing:
            more = f" and {len(missing) - MOST} others" if len(missing) > MOST else ""
            labels = "; ".join(unit.label for unit in missing[:MOST])
            said.append(
                f"The study {document.study.name} is not complete: {len(planned) - len(missing)} of {len(planned)} "
                f"pairs of an optimizer and a workload have finished. Missing: {labels}{more}. They are trained when "
                "`compare` continues the study."
            )
    return " ".join(said) or None


def _describe_chosen(study: str, only: Collection[str], others: int) -> str:
    """Returns sentences that say that the chosen optimizers have finished, and how many others have not."""
    chosen = [*dict.fromkeys(only)]
    have, are = "has" if len(chosen) == 1 else "have", "is" if others == 1 else "are"
    return (
        f"{join_words(chosen)} {have} finished on all workloads of the study {study}. "
        f"{format_count(others, 'other optimizer')} {are} not recorded yet. The answer is printed when all "
        "have finished."
    )
