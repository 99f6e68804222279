"""The differences that a study can show, before it is trained."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from jaxopt_bench.experiment import Workload
from jaxopt_bench.results import load
from jaxopt_bench.statistics import minimum_detectable_difference, results_needed
from jaxopt_bench.study import DOCUMENT, Study, read_document
from jaxopt_bench.verdict import Noise, noise_of

ABSURD = 5.0
"""A study is not useful if the least difference that it can show is more than this many deviations of a result."""
MOST_ADVISED = 100
"""The largest number of seeds or searches that is advised."""


@dataclasses.dataclass(frozen=True)
class StudyPower:
    """The differences that a study can show.

    Attributes:
      optimizers: the number of compared optimizers.
      results: the number of independent results of each optimizer on a workload: seeds, or with several searches the
        searches.
      of_searches: whether the results are those of searches.
    """

    optimizers: int
    results: int
    of_searches: bool

    @property
    def least(self) -> float | None:
        """The smallest difference that it can show, in deviations of single results; None if it cannot test any."""
        return minimum_detectable_difference(self.optimizers, self.results)

    def least_on_new_data(self, noise: Noise) -> float | None:
        """Returns the smallest difference that it can show on new data, including the noise of the test examples.

        Args:
          noise: the noise on a workload.

        Returns:
          The difference, in the unit of the noise's measure; None if the noise of the test examples or of the seeds is
          not known, or the study can test no difference.
        """
        if noise.sampling is None or noise.deviation == 0:
            return None
        sampling = noise.sampling / noise.deviation**2
        least = minimum_detectable_difference(self.optimizers, self.results, sampling=sampling)
        return None if least is None else least * noise.deviation

    @property
    def is_absurd(self) -> bool:
        """Whether it compares optimizers but cannot show any useful difference."""
        return self.optimizers > 1 and (self.least is None or self.least > ABSURD)

    @property
    def description(self) -> str:
        """The smallest difference in one sentence, with advice if the study cannot show any useful difference."""
        one, many = ("search", "searches") if self.of_searches else ("seed", "seeds")
        if self.optimizers < 2:
            return "There is only one optimizer, so there is nothing to compare."
        if self.least is None:
            return f"With a single {one} for each optimizer, no difference can be tested{self._advice(many)}."
        compared = f"{self.results} {many} for each of {self.optimizers} optimizers"
        seen = f"{_times(self.least)} the deviation between {many} to be seen with a probability of 80%"
        if self.is_absurd:
            start = f"This study can hardly show which optimizer is better: with {compared}"
            return f"{start}, a difference must be {seen}{self._advice(many)}."
        return f"With {compared}, a difference must be {seen}."

    def _advice(self, many: str) -> str:
        """Returns the number of results for a useful study, as the end of a sentence; empty if it is too large."""
        enough = results_needed(self.optimizers, ABSURD, most=MOST_ADVISED)
        if enough is None:
            return ""
        flag = "--repetitions" if self.of_searches else "--seeds"
        least = minimum_detectable_difference(self.optimizers, enough)
        assert least is not None, "so many are enough"
        return f"; with {flag} {enough}, a difference of {_times(least)} the deviation between {many} would be enough"


def compute_study_power(study: Study, others: int = 0) -> StudyPower:
    """Returns the power of a study: the differences that it can show.

    Args:
      study: the study.
      others: the number of recorded optimizers that are compared with those of the study.
    """
    of_searches = study.repetitions > 1
    results = study.repetitions if of_searches else study.seeds
    return StudyPower(len(study.contenders) + others, results, of_searches)


def recorded_noise(study: Study, folders: Sequence[pathlib.Path]) -> dict[str, tuple[Noise, pathlib.Path]]:
    """Returns the noise of results on a study's workloads, from records of other studies or of the study itself.

    Args:
      study: the study.
      folders: the folders of studies, the preferred ones first. Folders without a study are ignored. So are studies
        with a single search if the study has several, and the other way round.

    Returns:
      By workload: the noise, and the folder; without workloads that have no recorded noise.
    """
    found: dict[str, tuple[Noise, pathlib.Path]] = {}
    for folder in folders:
        if not (folder / DOCUMENT).exists():
            continue
        document = read_document(folder / DOCUMENT)
        same = {
            workload.name: known.name
            for workload in study.workloads
            for known in document.study.workloads
            if workload.name not in found and _trains_alike(workload, known)
        }
        if same and (document.study.repetitions > 1) == (study.repetitions > 1):
            results = load(folder)
            for name, known in same.items():
                noise = noise_of(results, document, known)
                if noise is not None:
                    found[name] = noise, folder
    return found


def _trains_alike(one: Workload, other: Workload) -> bool:
    """Returns whether two workloads differ only in their names."""
    return dataclasses.replace(one, name=other.name).to_json() == other.to_json()


def _times(deviations: float) -> str:
    """Returns a multiple of a deviation in words."""
    number = f"{deviations:,.0f}" if deviations >= 10 else f"{deviations:.1f}"
    return f"{number} times"
