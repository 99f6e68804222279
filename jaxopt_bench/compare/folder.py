"""The folder of a study: `study.json`, and the runs of each phase. Several processes can share one."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterable, Sequence

from jaxopt_bench.errors import UserError, shortened
from jaxopt_bench.results import Results, load_runs
from jaxopt_bench.runs import locked
from jaxopt_bench.runs.load import RESTORE, has_finished, is_begun, load_summary, missing_files
from jaxopt_bench.study import (
    DOCUMENT,
    FORMAT,
    Document,
    Planned,
    RunEntry,
    Selection,
    Study,
    StudyRun,
    StudySize,
    Timing,
    UnitKey,
    confirmations,
    finalists,
    merged,
    read_document,
    trials,
    units,
)


class StudyFolder:
    """The folder of one study. The content of its `study.json` depends only on the study and its runs."""

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)

    def begin(self, study: Study) -> Study:
        """Writes a study's document; if there is one already, the study in it grows by this one.

        Returns:
          The study that the folder holds now.

        Raises:
          UserError: if the folder holds a study that cannot grow into this one, or one of an earlier format.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path, wait=True):
            earlier = self.document if (self.path / DOCUMENT).exists() else None
            if earlier is not None and earlier.format < FORMAT:
                raise UserError(
                    f"{self.path / DOCUMENT} has the format {earlier.format}: an earlier version drew its trials in "
                    "another way, so this version cannot continue the study. Expected another folder (--out). To see "
                    f"the results so far: jaxopt-bench report {self.path}."
                )
            study = merged(earlier.study, study) if earlier else study
            _document(study, earlier or Document(study)).write(self.path / DOCUMENT)
        return study

    @property
    def document(self) -> Document:
        """The content of `study.json`."""
        return read_document(self.path / DOCUMENT)

    def record(
        self,
        *,
        finalists: Sequence[Planned] = (),
        among: Sequence[Planned] = (),
        selections: Iterable[Selection] = (),
        timings: Iterable[Timing] = (),
    ) -> None:
        """Adds the runs of a unit's finalists, selections and timings to `study.json`.

        Finalists are added only if `among`, the trials among which they were chosen, are still all trials of their
        unit: another process may have added some. Selections and timings replace those of the same units.
        """
        with locked(self.path, wait=True):
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
            _document(now.study, added).write(self.path / DOCUMENT)

    def results(self, planned: Sequence[Planned]) -> Results:
        """Returns the records of those runs that have begun."""
        return load_runs({self.path / run.path: StudyRun(run.entry) for run in planned})

    def unfinished(self, planned: Sequence[Planned], until_epoch: int | None = None) -> list[Planned]:
        """Returns those runs that have not ended, or whose files are incomplete.

        Args:
          planned: the runs.
          until_epoch: runs that were stopped after this epoch, or a later one, have ended as well.

        Raises:
          UserError: if a run's folder holds another run.
        """
        return [run for run in planned if not self._ended(run, until_epoch)]

    def diverged(self, planned: Sequence[Planned]) -> list[Planned]:
        """Returns those runs, all of which have begun, that diverged."""
        summaries = [load_summary(self.path / run.path / "summary.json") for run in planned]
        return [run for run, summary in zip(planned, summaries, strict=True) if summary["status"] == "diverged"]

    def set_aside(self, planned: Sequence[Planned]) -> list[pathlib.Path]:
        """Renames the folders of runs that have begun and whose files are incomplete, so that these are trained again.

        Returns:
          The renamed folders.
        """
        aside = []
        for run in planned:
            path = self.path / run.path
            if is_begun(path) and missing_files(path):
                numbered = (path.with_name(f"{path.name}.incomplete-{n}") for n in itertools.count(1))
                aside.append(path.rename(next(free for free in numbered if not os.path.lexists(free))))
        return aside

    def _ended(self, run: Planned, until_epoch: int | None) -> bool:
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


def _document(study: Study, now: Document) -> Document:
    """Returns the document of a study, given the earlier one.

    If a unit has other trials than before, its finalists and its selection are dropped. Their runs are superseded,
    unless they are chosen again.
    """
    runs: list[RunEntry] = []
    kept = []
    before: dict[tuple[UnitKey, str], list[RunEntry]] = {}
    for run in now.runs:
        before.setdefault((run.unit, run.phase), []).append(run)
    for unit in units(study):
        planned = trials(study, unit)
        runs += [run.entry for run in planned]
        digests = tuple(run.experiment.digest for run in planned)
        chosen = dict.fromkeys(run.trial for run in before.get((unit.key, "finalist"), []))
        same = digests == tuple(run.digest for run in before.get((unit.key, "trial"), []))
        if same and chosen.keys() <= {run.trial for run in planned}:
            runs += [run.entry for run in finalists(study, unit, [*chosen])]
        found = now.selection(unit.key)
        if found is not None and found.among == digests:
            kept.append(found)
            if found.trial is not None:
                runs += [run.entry for run in confirmations(study, unit, found.trial)]
    paths = {run.path for run in runs}
    of_before = [run for run in now.runs if run.phase != "trial" and run.path not in paths]
    runs += [dataclasses.replace(run, phase="superseded") for run in of_before]
    size = StudySize.of(study)
    history = now.history if now.history and now.history[-1] == size else (*now.history, size)
    return Document(study, tuple(runs), tuple(kept), now.timings, history)
