"""A compact record of a study. Finished runs are added to it, so that other machines need not train them again."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from jaxopt_bench.errors import UserError
from jaxopt_bench.results import NoRunsError, Results, combine_results, load, load_runs
from jaxopt_bench.results.columns import STUDY_COLUMNS, in_order
from jaxopt_bench.results.tables import COMPRESSION
from jaxopt_bench.study import (
    FORMAT,
    Document,
    PlannedRun,
    RunEntry,
    Unit,
    UnitKey,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    units,
)

FAST = 3
"""The compression level while a study is trained: nearly as small, and more than ten times as fast."""


class StudyRecord:
    """The record of one study, in the format of `Results.save`. Its runs have finished and are not trained again.

    Attributes:
      path: the folder of the record. The caller holds it, see `results.atomic_files.lock_folder`.
      compact: whether it is written in compact form; see `Results.save`.
      document: its document of the study; None if the record is new.
    """

    def __init__(self, path: pathlib.Path, *, compact: bool = False):
        """Reads the record, if there is one.

        Raises:
          UserError: if it is damaged, holds no or several studies, or was recorded by an earlier version.
        """
        self.path, self.compact = path, compact
        self._is_loose = False
        self.document: Document | None = None
        self._results = load_runs({})
        self._seen: set[str] = set()
        if any(path.iterdir()) and (found := _recorded(path)) is not None:
            (self.document,) = found.documents
            self._keep(_renamed(found, path))

    def __contains__(self, run: PlannedRun) -> bool:
        return run.path in self._seen

    def check_unchanged(self) -> None:
        """Checks that this version plans the same runs for the recorded study: the digests of runs must be equal.

        They differ if the source of a user's optimizer or problem has changed.

        Raises:
          UserError: with the contender and the workload of the first run whose digest differs.
        """
        if self.document is None:
            return
        recorded: dict[UnitKey, list[RunEntry]] = {}
        for run in self.document.runs:
            recorded.setdefault(run.unit, []).append(run)
        for unit in units(self.document.study):
            computed = {_place(run.entry): run.entry for run in planned_of(self.document, unit)}
            for run in recorded.get(unit.key, ()):
                if run.phase != "superseded" and computed.get(_place(run), run).digest != run.digest:
                    raise UserError(
                        f"{self.path} was recorded with another definition of {unit.contender.name} on "
                        f"{unit.workload.name}: {run.phase} {run.trial} with the seed {run.seed} has the digest "
                        f"{run.digest} there and {computed[_place(run)].digest} now. Expected the same optimizer, "
                        "search space and workload: put back the file that was changed, or give the optimizer another "
                        "name."
                    )

    def results(self, planned: Sequence[PlannedRun]) -> Results:
        """Returns the results of those runs that are recorded."""
        return _only(self._results, {run.path for run in planned})

    def diverged(self, planned: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Returns those recorded runs that diverged."""
        found = set(self.results(planned).runs.filter(status="diverged")["path"])
        return [run for run in planned if run.path in found]

    def add(self, results: Results, folder: pathlib.Path, document: Document) -> None:
        """Adds the results of finished runs, and writes the record.

        Args:
          results: the results of the runs.
          folder: the study's folder, which holds the runs.
          document: the document of the study. Runs that are not in it are left out of the record.
        """
        self._keep(combine_results([self._results, _renamed(results, folder)]))
        self.document = _recorded_part(document, self._seen)
        self._keep(_placed(self._results, self.document))
        self._write(FAST)
        self._is_loose = True

    def compress(self) -> None:
        """Writes the record again in its final size, if runs have been added."""
        if self._is_loose:
            self._write(COMPRESSION)

    def _write(self, compression: int) -> None:
        assert self.document is not None, "something has been added"
        results = dataclasses.replace(self._results, documents=(self.document,))
        results.write(self.path, compact=self.compact, compression=compression)

    def _keep(self, results: Results) -> None:
        self._results = dataclasses.replace(results, documents=(), folder=".")
        self._seen = set(results.runs["path"])


def combined(recorded: Document | None, own: Document | None) -> Document | None:
    """Returns one document from that of a record and that of the folder that continues it.

    For each unit, it has the data of one of them: the one with more trials, then the one with a selection, then the
    record. Runs of the other document are superseded, except its trials.
    """
    if recorded is None or own is None:
        return recorded or own
    chosen: dict[UnitKey, Document] = {}
    best: dict[UnitKey, tuple[int, bool]] = {}
    for document in (recorded, own):
        for key, reached in _progress(document).items():
            if reached > best.get(key, (-1, False)):
                chosen[key], best[key] = document, reached
    runs = [run for document in (recorded, own) for run in document.runs if chosen[run.unit] is document]
    paths = {run.path for run in runs}
    for document in (recorded, own):
        others = [r for r in document.runs if chosen[r.unit] is not document and r.phase != "trial"]
        runs += [dataclasses.replace(run, phase="superseded") for run in others if run.path not in paths]
        paths |= {run.path for run in others}
    timings = {(timing.workload, timing.contender): timing for timing in (*own.timings, *recorded.timings)}
    return dataclasses.replace(
        recorded,
        runs=tuple(runs),
        selections=tuple(s for d in (recorded, own) for s in d.selections if chosen.get(s.unit) is d),
        timings=tuple(timings.values()),
    )


def _progress(document: Document) -> dict[UnitKey, tuple[int, bool]]:
    """Returns the number of trials of each unit, and whether its winner is selected."""
    counts = dict.fromkeys((run.unit for run in document.runs), 0)
    for run in document.runs:
        counts[run.unit] += run.phase == "trial"
    selected = {found.unit for found in document.selections}
    return {key: (count, key in selected) for key, count in counts.items()}


def _recorded_part(document: Document, paths: Collection[str]) -> Document:
    """Returns the part of a document that the recorded runs support.

    If some trials or finalists of a unit are not recorded, its selection is left out, and so are its other unrecorded
    runs. Its recorded runs are superseded.
    """
    missing = {r.unit for r in document.runs if r.phase in ("trial", "finalist") and r.path not in paths}

    def kept() -> Iterator[RunEntry]:
        for run in document.runs:
            if run.unit not in missing or run.phase == "trial":
                yield run
            elif run.path in paths:
                yield dataclasses.replace(run, phase="superseded")

    runs = [run for run in kept() if run.phase != "superseded" or run.path in paths]
    return dataclasses.replace(
        document, runs=tuple(runs), selections=tuple(s for s in document.selections if s.unit not in missing)
    )


def _recorded(path: pathlib.Path) -> Results | None:
    """Returns the results in a folder; None if it has none, such as a folder with only a README."""
    try:
        found = load(path)
    except NoRunsError:
        return None
    if len(found.documents) != 1 or found.documents[0].format < FORMAT:
        raise UserError(
            f"{path} does not hold the record of one study, made by this version. Expected a folder that "
            "--record wrote, or a new one."
        )
    return found


def planned_of(document: Document, unit: Unit) -> list[PlannedRun]:
    """Returns the runs of a unit that its document must contain, computed from the study."""
    study, found = document.study, document.selection(unit.key)
    winner = [] if found is None or found.trial is None else plan_confirmations(study, unit, found.trial)
    return [*plan_trials(study, unit), *plan_finalists(study, unit, document.finalists(unit.key)), *winner]


def _place(run: RunEntry) -> tuple[str, int, int]:
    return run.phase, run.trial, run.seed


def _placed(results: Results, document: Document) -> Results:
    """Returns results with the runs of a document, in its order, and with the document's facts about them."""
    places = [{"path": run.entry.path, **run.columns} for run in document.study_runs()]
    schema = {name: results.runs.schema[name] for name in ("path", *STUDY_COLUMNS)}
    place = pl.DataFrame([[row[name] for name in schema] for row in places], schema, orient="row")
    runs = place.join(results.runs.drop(STUDY_COLUMNS), on="path", how="inner", maintain_order="left")
    order = runs.select("path").with_row_index("order")
    tables = [
        table.join(order, on="path", how="inner", maintain_order="left")
        .sort("order", maintain_order=True)
        .drop("order")
        for table in (results.curves, results.examples)
    ]
    return dataclasses.replace(results, runs=runs.select(in_order(runs.columns)), curves=tables[0], examples=tables[1])


def _only(results: Results, paths: Collection[str]) -> Results:
    """Returns the results of some runs."""
    chosen = pl.col("path").is_in(list(paths))
    tables = (results.runs, results.curves, results.examples)
    runs, curves, examples = (table.filter(chosen) for table in tables)
    return dataclasses.replace(results, runs=runs, curves=curves, examples=examples)


def _renamed(results: Results, folder: pathlib.Path) -> Results:
    """Returns results whose paths start in the study's folder."""
    path = pl.col("path").str.strip_prefix(f"{folder}/")
    tables = (results.runs, results.curves, results.examples)
    runs, curves, examples = (table.with_columns(path) for table in tables)
    return dataclasses.replace(results, runs=runs, curves=curves, examples=examples)
