"""The folder of a study: `study.json`, and the runs of each phase. Several processes can share one."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

from jaxopt_bench.compare.record import StudyRecord, combined, planned_of
from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.files import file_version
from jaxopt_bench.results import Results, combine_results, load_runs
from jaxopt_bench.runs import lock_directory
from jaxopt_bench.runs.load import RESTORE, has_finished, is_begun, load_summary, missing_files
from jaxopt_bench.study import (
    DOCUMENT,
    FORMAT,
    Document,
    PlannedRun,
    RunEntry,
    Selection,
    Study,
    StudyRun,
    StudySize,
    Timing,
    Unit,
    UnitKey,
    merge_studies,
    plan_confirmations,
    plan_finalists,
    plan_trials,
    read_document,
    units,
)


class StudyFolder:
    """The folder of one study. The content of its `study.json` depends only on the study and its runs.

    Attributes:
      path: the folder.
      recorded: the record of runs that have finished elsewhere; None if there is no record.
    """

    def __init__(self, path: str | pathlib.Path, record: StudyRecord | None = None):
        self.path, self.recorded = pathlib.Path(path), record
        self._read: tuple[tuple[int, int, int] | None, Document] | None = None
        self._plans: _Plans | None = None

    def begin(self, study: Study) -> Study:
        """Writes a study's document. If there is one already, its study grows by the new study.

        Returns:
          The study that the folder holds afterwards.

        Raises:
          UserError: if the folder holds a study that cannot grow into this one, or a study in an earlier format.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with lock_directory(self.path, wait=True):
            earlier = self.document if (self.path / DOCUMENT).exists() else None
            if earlier is not None and earlier.format < FORMAT:
                raise UserError(
                    f"{self.path / DOCUMENT} has the format {earlier.format}: an earlier version drew its trials in "
                    "another way, so this version cannot continue the study. Expected another folder (--out). To see "
                    f"the results so far: jaxopt-bench report {self.path}."
                )
            if self.recorded is not None and self.recorded.document is not None:
                study = merge_studies(self.recorded.document.study, study)
            study = merge_studies(earlier.study, study) if earlier else study
            if self.recorded is not None:
                earlier = combined(self.recorded.document, earlier)
            self._write(study, earlier or Document(study))
        return study

    @property
    def document(self) -> Document:
        """The content of `study.json`. It is read only after changes, because reading a large study takes long."""
        version = file_version(self.path / DOCUMENT)
        if self._read is None or self._read[0] != version:
            self._read = version, read_document(self.path / DOCUMENT)
        return self._read[1]

    def _write(self, study: Study, earlier: Document) -> None:
        """Writes the document of a study, given the earlier document. The caller holds the folder."""
        if self._plans is None or self._plans.study != study:
            self._plans = _Plans(study)
        document = _document(self._plans, earlier)
        document.write(self.path / DOCUMENT)
        self._read = file_version(self.path / DOCUMENT), document

    def record(
        self,
        *,
        finalists: Sequence[PlannedRun] = (),
        among: Sequence[PlannedRun] = (),
        selections: Iterable[Selection] = (),
        timings: Iterable[Timing] = (),
    ) -> None:
        """Adds the runs of a unit's finalists, selections and timings to `study.json`.

        Finalists are added only if `among`, the trials among which they were chosen, are still all trials of their
        unit, because another process may have added trials. Selections and timings replace those of the same units.
        """
        with lock_directory(self.path, wait=True):
            now = self.document
            added_runs = [run.entry for run in finalists if now.trials(run.unit.key) == [each.entry for each in among]]
            by_unit = {found.unit: found for found in (*now.selections, *selections)}
            by_names = {(timing.workload, timing.contender): timing for timing in (*now.timings, *timings)}
            added = dataclasses.replace(
                now,
                runs=(*now.runs, *added_runs),
                selections=tuple(by_unit.values()),
                timings=tuple(by_names.values()),
            )
            self._write(now.study, added)

    def results(self, planned: Sequence[PlannedRun]) -> Results:
        """Returns the records of those runs that have started."""
        own = load_runs({self.path / run.path: StudyRun(run.entry) for run in planned if not self._is_recorded(run)})
        return own if self.recorded is None else combine_results([self.recorded.results(planned), own])

    def add_to_record(self, chosen: Iterable[Unit]) -> None:
        """Adds the units whose runs have all ended to the record, and writes it if some of these runs were missing."""
        if self.recorded is None:
            return
        document = self.document
        new: dict[pathlib.Path, StudyRun] = {}
        for unit in chosen:
            if document.selection(unit.key) is not None:
                runs = [run for run in document.study_runs() if run.entry.unit == unit.key]
                needed = [run for run in planned_of(document, unit) if run not in self.recorded]
                if not self.unfinished(needed):
                    entries = {run.path for run in needed}
                    new |= {self.path / run.entry.path: run for run in runs if run.entry.path in entries}
        timed = {(timing.workload, timing.contender) for timing in document.timings}
        before = self.recorded.document
        if new or (before is not None and timed - {(timing.workload, timing.contender) for timing in before.timings}):
            self.recorded.add(load_runs(new), self.path, document)

    def unrecorded(self, planned: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Returns the runs that are not in the record, so that this folder has or will have them."""
        return [run for run in planned if not self._is_recorded(run)]

    def _is_recorded(self, run: PlannedRun) -> bool:
        return self.recorded is not None and run in self.recorded

    def unfinished(self, planned: Sequence[PlannedRun], until_epoch: int | None = None) -> list[PlannedRun]:
        """Returns the runs that have not ended, or whose files are incomplete.

        Args:
          planned: the runs.
          until_epoch: runs that were stopped after this or a later epoch have ended as well.

        Raises:
          UserError: if a run's folder holds another run.
        """
        return [run for run in planned if not self._ended(run, until_epoch)]

    def diverged(self, planned: Sequence[PlannedRun]) -> list[PlannedRun]:
        """Returns the diverged runs; all given runs must have started."""
        recorded = self.recorded.diverged(planned) if self.recorded is not None else []
        return [
            run
            for run in planned
            if run in recorded
            or (
                not self._is_recorded(run)
                and load_summary(self.path / run.path / "summary.json")["status"] == "diverged"
            )
        ]

    def set_aside(self, planned: Sequence[PlannedRun]) -> list[pathlib.Path]:
        """Renames the folders of started runs with incomplete files, so that these runs are trained again.

        Returns:
          The renamed folders.
        """
        aside = []
        for run in planned:
            path = self.path / run.path
            if not self._is_recorded(run) and is_begun(path) and missing_files(path):
                numbered = (path.with_name(f"{path.name}.incomplete-{n}") for n in itertools.count(1))
                aside.append(path.rename(next(free for free in numbered if not os.path.lexists(free))))
        return aside

    def _ended(self, run: PlannedRun, until_epoch: int | None) -> bool:
        if self._is_recorded(run):
            return True
        path = self.path / run.path
        if missing_files(path) or not (path / "summary.json").exists():
            return False
        summary = load_summary(path / "summary.json")
        for field, expected in (("digest", run.experiment.digest), ("experiment", run.experiment.name)):
            if summary[field] != expected:
                raise UserError(
                    f"{path} holds another run: {field} is {shortened(summary[field])} in summary.json. Expected "
                    f"{expected!r}, as study.json says. {RESTORE}"
                )
        return has_finished(summary, until_epoch)


class _Plans:
    """The entries of a study's runs. Each is computed once, because this takes a second or two for a thousand runs."""

    def __init__(self, study: Study):
        self.study = study
        self.units = units(study)
        self._known: dict[object, list[RunEntry]] = {}

    def entries(self, unit: Unit, phase: str, chosen: tuple[int, ...] = ()) -> list[RunEntry]:
        """Returns the entries of a unit's runs in a phase; `chosen` are its finalists, or its winner."""
        key = (unit.key, phase, chosen)
        if key not in self._known:
            self._known[key] = [run.entry for run in self._planned(unit, phase, chosen)]
        return self._known[key]

    def _planned(self, unit: Unit, phase: str, chosen: tuple[int, ...]) -> list[PlannedRun]:
        if phase == "trial":
            return plan_trials(self.study, unit)
        return (
            plan_finalists(self.study, unit, chosen)
            if phase == "finalist"
            else plan_confirmations(self.study, unit, *chosen)
        )


def _document(plans: _Plans, now: Document) -> Document:
    """Returns the document of a study, given the earlier document.

    If the trials of a unit have changed, its finalists and its selection are dropped. Their runs are superseded, unless
    they are chosen again.
    """
    runs: list[RunEntry] = []
    kept = []
    before: dict[tuple[UnitKey, str], list[RunEntry]] = {}
    for run in now.runs:
        before.setdefault((run.unit, run.phase), []).append(run)
    selected = {found.unit: found for found in now.selections}
    for unit in plans.units:
        planned = plans.entries(unit, "trial")
        runs += planned
        digests = tuple(run.digest for run in planned)
        chosen = dict.fromkeys(run.trial for run in before.get((unit.key, "finalist"), []))
        same = digests == tuple(run.digest for run in before.get((unit.key, "trial"), []))
        if same and chosen.keys() <= {run.trial for run in planned}:
            runs += plans.entries(unit, "finalist", (*chosen,))
        found = selected.get(unit.key)
        if found is not None and found.among == digests:
            kept.append(found)
            if found.trial is not None:
                runs += plans.entries(unit, "confirmation", (found.trial,))
    paths = {run.path for run in runs}
    of_before = [run for run in now.runs if run.phase != "trial" and run.path not in paths]
    runs += [dataclasses.replace(run, phase="superseded") for run in of_before]
    size = StudySize.of(plans.study)
    history = now.history if now.history and now.history[-1] == size else (*now.history, size)
    return Document(plans.study, tuple(runs), tuple(kept), now.timings, history)
