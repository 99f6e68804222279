"""Describes in words whether the runs of a study have all finished."""

from __future__ import annotations

from jaxopt_bench.results.tables import Results
from jaxopt_bench.study import RunEntry, UnitKey, units

MOST = 6
"""The largest number of missing pairs of an optimizer and a workload that are named."""


def incomplete_in_words(results: Results) -> str | None:
    """Returns sentences that name the missing parts of the studies in some results; None if all are complete.

    A part of a study is complete if its winner has been selected and all its confirmations have finished.
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
            unit.label
            for unit in planned
            if unit.key not in chosen
            or any(run.digest not in ended and run.phase != "superseded" for run in needed.get(unit.key, ()))
        ]
        if missing:
            more = f" and {len(missing) - MOST} others" if len(missing) > MOST else ""
            said.append(
                f"The study {document.study.name} is not complete: {len(planned) - len(missing)} of {len(planned)} "
                f"pairs of an optimizer and a workload have finished. Missing: {'; '.join(missing[:MOST])}{more}. They "
                "are trained when `compare` continues the study."
            )
    return " ".join(said) or None
