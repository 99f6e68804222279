"""A study: a comparison of optimizers, as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from jaxopt_bench.config import Config, number_field
from jaxopt_bench.display import NotebookDisplay
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Workload, check_folder_name
from jaxopt_bench.measures import split_of
from jaxopt_bench.problems import LOSS
from jaxopt_bench.study.claims import Association, Claim
from jaxopt_bench.study.contender import Contender, run_name
from jaxopt_bench.study.halving import HALVING, Rung, most_trials, rungs
from jaxopt_bench.study.measure_names import JUDGING, JUDGING_FORM, STEPS, is_judging, list_measure_names
from jaxopt_bench.study.same_trials import check_same_trials

MOST_SEEDS = 5_000
"""The maximum number of seeds of trials, of finalists, or of confirmations, in a repetition: each of these has its own
range of seeds."""

MOST_TRIALS = 10_000
"""The maximum number of trials of a contender on a workload. A larger number is probably a typing error."""
MOST_RUNS = 100_000
"""The maximum number of runs of a study."""
_HALVING = ("halving_factor", "halving_rungs")
"""Fields that matter only for `HALVING`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(Config):
    """A result on a workload. A study measures the time until each optimizer reaches it."""

    workload: str
    """The name of the workload."""
    measure: str
    """The measure, taken at the ends of epochs: "validation_<metric>" or "train_clean_<metric>"."""
    value: float
    """The value to reach, in the metric's own unit: a fraction for a percentage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_judging(self.measure):
            raise UserError(f"Target.measure is {self.measure!r}. Expected {JUDGING_FORM}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(NotebookDisplay, Config):
    """A comparison of optimizers with equal tuning budgets.

    On each workload, every contender with a search space is tuned with the same number of trials, judged by `select`.
    Its best trials, the finalists, are trained again with other seeds, and these results select the winner. The winner,
    or the given setting of a contender without a search space, is trained with fresh seeds, and only these runs read
    the test split. The workloads may have problems of different kinds; on each, the results are those of its problem's
    headline metric.

    Raises:
      UserError: if a budget is missing or given twice, two items have the same name, or claims and targets are about
        contenders and workloads that the study does not have.
    """

    added_later: ClassVar[tuple[str, ...]] = ("same_trials",)

    name: str
    """The name of the study, and of its folder."""
    question: str = ""
    """The question that the study answers."""
    workloads: tuple[Workload, ...]
    """The workloads on which optimizers are compared."""
    contenders: tuple[Contender, ...]
    """The optimizers that are compared."""
    trials: int | None = number_field(None, at_least=1, at_most=MOST_TRIALS)
    """The tuning budget of each contender on each workload as a number of trials; None if `total_epochs` is given, or
    nothing is tuned."""
    total_epochs: int | None = number_field(None, at_least=1, at_most=10**9)
    """The tuning budget of each contender on each workload as a number of epochs, of all trials and their seeds
    together. There are as many trials as these epochs allow: whole trials or, with halving, trials of which only the
    best are trained to the end."""
    trial_seeds: int = number_field(1, at_least=1, at_most=MOST_SEEDS)
    """The number of seeds of each trial; the mean over them judges the trial."""
    finalists: int = number_field(3, at_least=0, at_most=MOST_TRIALS)
    """The number of a contender's best trials that are trained again with other seeds before one is selected; 0 for
    none. They are chosen by their results, so these results are better than the hyperparameters deserve (the best of
    several noisy results is also a lucky one). Therefore, only the results with the other seeds select the winner."""
    finalist_seeds: int = number_field(2, at_least=1, at_most=MOST_SEEDS)
    """The number of other seeds of each finalist. Finalists are compared only by the mean over these seeds."""
    seeds: int = number_field(5, at_least=1, at_most=MOST_SEEDS)
    """The number of fresh seeds that confirm a winner."""
    repetitions: int = number_field(1, at_least=1, at_most=100)
    """The number of repetitions of the whole search, with independent draws and seeds."""
    search: Literal["sobol", "random", "grid", "halving"] = "sobol"
    """The method that draws trials: quasi-random (scrambled Sobol), at random, or on a grid. "halving" draws like
    "sobol", but trains only the best trials to the end (successive halving; see `study.halving.rungs`)."""
    halving_factor: int = number_field(2, at_least=2, at_most=MOST_TRIALS)
    """With halving: after each rung, one in this many trials continues, up to about this many times the epochs."""
    halving_rungs: int = number_field(2, at_least=2, at_most=MOST_TRIALS)
    """With halving: the maximum number of rungs. More rungs train fewer epochs, and stop trials earlier."""
    select: str = "validation_loss"
    """The measure that judges trials: "validation_<metric>", such as the loss, or "steps_to_target". For problems
    without validation examples, such as analytic functions, "train_clean_<metric>"."""
    at: Literal["final", "best"] = "final"
    """Whether results are those of the last epoch, or of the epoch with the lowest validation loss."""
    refit: bool = False
    """Whether winners are confirmed on all of `train`, including the validation examples; then `at` must be "final"."""
    track_test: bool = False
    """Whether confirmations evaluate the test split after every epoch, for curves; these results select nothing."""
    seed: int = number_field(0, at_least=0, below=2**31)
    """The seed of the search, and the first seed of the runs."""
    targets: tuple[Target, ...] = ()
    """The results to reach."""
    claims: tuple[Claim, ...] = ()
    """Statements about the contenders, which the study supports or contradicts."""
    same_trials: bool = False
    """Whether trial i of a contender has the same hyperparameters on every workload. Then all workloads must have the
    same number of trials, and if they have different numbers of epochs, no schedule may have lengths in epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Study.name", self.name)
        given = [budget for budget in (self.trials, self.total_epochs) if budget is not None]
        if len(given) > 1 or (not given and any(c.searched for c in self.contenders)):
            raise UserError(
                f"Study.trials is {self.trials} and total_epochs is {self.total_epochs}. Expected: one of the two."
            )
        self._check_names()
        if self.select != STEPS and not is_judging(self.select):
            raise UserError(f"Study.select is {self.select!r}. Expected {JUDGING_FORM}, or {STEPS!r}.")
        if self.finalists == 1:
            raise UserError("Study.finalists is 1. Expected 0 for none, or at least 2 to select among.")
        self._check_halving()
        if self.refit and self.at == "best":
            raise UserError(
                "Study.at is 'best', but refit is True. Expected: 'final', because refit leaves no validation."
            )
        self._check_workloads()
        self._check_size()
        self._check_references()
        if self.same_trials:
            check_same_trials(self.workloads, self.contenders, self.trials_on)

    def to_json(self) -> dict[str, Any]:
        """See `Config.to_json`. The fields of halving are left out of a study with another search."""
        left_out = () if self.search == HALVING else _HALVING
        return {name: value for name, value in super().to_json().items() if name not in left_out}

    def _check_halving(self) -> None:
        if self.search == HALVING and self.select == STEPS:
            raise UserError(
                f"Study.select is {STEPS!r} and Study.search is {HALVING!r}, which stops most trials before they can "
                f"reach the target. Expected another search, or for Study.select {JUDGING_FORM}."
            )
        for field in (f for f in dataclasses.fields(self) if f.name in _HALVING and self.search != HALVING):
            if (value := getattr(self, field.name)) != field.default:
                raise UserError(
                    f"Study.{field.name} is {value} and Study.search is {self.search!r}. Expected the search "
                    f"{HALVING!r}, or the default value, {field.default}."
                )

    def _check_names(self) -> None:
        for field in ("workloads", "contenders"):
            names = [item.name for item in getattr(self, field)]
            if not names or len(set(names)) < len(names):
                raise UserError(f"Study.{field} has the names {names}. Expected: at least one, and no name twice.")
        folders = [run_name(w.name, c.name) for w in self.workloads for c in self.contenders]
        twice = next((name for name in folders if folders.count(name) > 1), None)
        if twice is not None:
            raise UserError(
                f"two pairs of a workload and a contender have the same folder name, {twice!r}. Expected another name "
                "of a workload or of a contender, because the runs of a pair are in the folder WORKLOAD_CONTENDER."
            )

    def _check_size(self) -> None:
        """Checks that the budgets do not make too many runs to train and to read."""
        tuned = sum(bool(c.searched) for c in self.contenders)
        trials = [self.trials_on(workload) for workload in self.workloads] if tuned else []
        if trials and max(trials) > MOST_TRIALS:
            raise UserError(
                f"Study.total_epochs is {self.total_epochs}, which makes {max(trials):,} trials. Expected at most "
                f"{MOST_TRIALS:,}."
            )
        confirmations = len(self.workloads) * len(self.contenders) * self.seeds
        finalists = sum(self.finalists_among(count) for count in trials) * self.finalist_seeds
        runs = self.repetitions * (tuned * (sum(trials) * self.trial_seeds + finalists) + confirmations)
        if runs > MOST_RUNS:
            raise UserError(
                f"the study {self.name} has {runs:,} runs: workloads × optimizers × repetitions × (trials × their "
                f"seeds + finalists × their seeds + seeds). Expected at most {MOST_RUNS:,}."
            )

    def _check_workloads(self) -> None:
        tuned = [c.name for c in self.contenders if c.searched]
        for workload in self.workloads:
            if tuned and self.trials_on(workload) < 1:
                raise UserError(
                    f"Study.total_epochs is {self.total_epochs}. Expected: at least "
                    f"{workload.epochs * self.trial_seeds}, one trial on {workload.name}."
                )
            if self.select == STEPS and tuned and self.target(workload.name) is None:
                raise UserError(
                    f"Study.select is {STEPS!r}, and Study.targets has no target for the workload {workload.name}. "
                    "Expected a target for each workload."
                )
            if not workload.problem.validates:
                self.check_unvalidated(workload.name)
        known = {w.name: w.problem.metric_names for w in self.workloads}
        self.check_metrics({name: metrics for name, metrics in known.items() if metrics is not None})

    def check_unvalidated(self, workload: str) -> None:
        """Checks that the study needs no validation examples of a workload that has none.

        Raises:
          UserError: if it needs validation examples.
        """
        tuned = next((c.name for c in self.contenders if c.searched), None)
        if self.at == "best":
            raise UserError(
                f"Study.at is 'best', and the workload {workload} has no validation examples. Expected 'final'."
            )
        if tuned is not None and self.judging_split(workload) == "validation":
            raise UserError(
                f"the workload {workload} has no validation examples, by which the trials of {tuned} are judged. "
                "Expected a problem with validation examples, or Study.select 'train_clean_loss'."
            )

    def check_metrics(self, known: Mapping[str, Sequence[str]]) -> None:
        """Checks that the problems have all measures that the study names.

        Args:
          known: the names of the metrics of each workload's problem; a workload may be left out.

        Raises:
          UserError: if a problem does not have the metric of a measure.
        """
        for workload, metrics in known.items():
            judging = [f"{split}_{name}" for split in JUDGING for name in dict.fromkeys([*metrics, LOSS])]
            if self.select not in (STEPS, *judging):
                raise unknown_name(f"measure in Study.select, on the workload {workload}", self.select, judging)
            for target in self.targets:
                if target.workload == workload and target.measure not in judging:
                    raise unknown_name(f"measure of the target of {workload}", target.measure, judging)
        if len(known) == len(self.workloads):
            measures = list_measure_names(known.values())
            for claim in self.claims:
                for part in claim.parts:
                    if part.measure not in measures:
                        raise unknown_name(f"measure of the claim {claim.text!r}", part.measure, measures)

    def _check_references(self) -> None:
        for target in self.targets:
            if target.workload not in [w.name for w in self.workloads]:
                raise unknown_name("workload of a target", target.workload, [w.name for w in self.workloads])
        for name in (name for claim in self.claims for name in claim.contenders):
            if name not in [c.name for c in self.contenders]:
                raise unknown_name("contender of a claim", name, [c.name for c in self.contenders])
        for association in (part for claim in self.claims for part in claim.associations if part.contenders):
            self._check_values(association)

    def _check_values(self, association: Association) -> None:
        """Checks that each contender of an association has another fixed value of its hyperparameter."""
        field = association.field
        values = {name: self.contender(name).fixed_value(field) for name in association.contenders}
        for name, value in values.items():
            if value is None or list(values.values()).count(value) > 1:
                words = "no fixed number" if value is None else f"the same value as another contender, {value}"
                raise UserError(
                    f"Association.contenders has {name}, and {field} of {name} has {words}. Expected contenders that "
                    "do not search this field, each with another number."
                )

    def workload(self, name: str) -> Workload:
        """Returns a workload by its name."""
        return next(w for w in self.workloads if w.name == name)

    def contender(self, name: str) -> Contender:
        """Returns a contender by its name."""
        return next(c for c in self.contenders if c.name == name)

    def target(self, workload: str) -> Target | None:
        """Returns a workload's target; None if it has none."""
        return next((t for t in self.targets if t.workload == workload), None)

    def judging_split(self, workload: str) -> str:
        """Returns the split that judges the trials on a workload.

        Args:
          workload: the name of the workload.
        """
        target = self.target(workload)
        measure = target.measure if self.select == STEPS and target is not None else self.select
        found = split_of(measure)
        return found[0] if found is not None else JUDGING[0]

    def trials_on(self, workload: Workload) -> int:
        """Returns the budget of a tuned contender, in trials."""
        assert self.budget is not None, "one of the two is given"
        return self.trials_within(self.budget, workload)

    @property
    def budget(self) -> int | None:
        """The budget of each contender on each workload: trials, or else total epochs; None if nothing is tuned."""
        return self.total_epochs if self.trials is None else self.trials

    def trials_within(self, budget: int, workload: Workload) -> int:
        """Returns the number of trials on a workload in a budget of the study's unit, trials or epochs."""
        if self.trials is not None:
            return budget
        if self.search == HALVING:
            each = budget // self.trial_seeds
            return most_trials(each, workload.epochs, self.halving_factor, self.halving_rungs, MOST_TRIALS + 1)
        return budget // (workload.epochs * self.trial_seeds)

    def finalists_among(self, trials: int) -> int:
        """Returns the number of trials that are trained again before one is selected; 0 if there is nothing to select.

        Args:
          trials: the number of trials that did not diverge.
        """
        return min(self.finalists, trials) if trials > 1 else 0

    def rungs_on(self, workload: Workload, trials: int) -> tuple[Rung, ...]:
        """Returns the rungs of `trials` trials on a workload; without halving, a single rung with all epochs."""
        if self.search == HALVING and trials:
            return rungs(trials, workload.epochs, self.halving_factor, self.halving_rungs)
        return (Rung(trials, workload.epochs),)

    def common_epochs(self, workload: Workload) -> int:
        """Returns the last epoch that all trials on a workload are trained to."""
        return self.rungs_on(workload, self.trials_on(workload))[0].epochs

    def only(self, workloads: Sequence[str] = (), contenders: Sequence[str] = ()) -> Study:
        """Returns the study with only some workloads and contenders, and only the targets and claims about these.

        Args:
          workloads: the names of the workloads to keep; empty for all.
          contenders: the names of the contenders to keep; empty for all.

        Raises:
          UserError: if a name is unknown.
        """
        for kind, names, known in (
            ("workload", workloads, [w.name for w in self.workloads]),
            ("optimizer", contenders, [c.name for c in self.contenders]),
        ):
            for name in names:
                if name not in known:
                    raise unknown_name(f"{kind} of the study {self.name}", name, known)
        left = dataclasses.replace(
            self,
            workloads=tuple(w for w in self.workloads if not workloads or w.name in workloads),
            contenders=tuple(c for c in self.contenders if not contenders or c.name in contenders),
            targets=tuple(t for t in self.targets if not workloads or t.workload in workloads),
            claims=(),
        )
        return dataclasses.replace(left, claims=tuple(claim for claim in self.claims if left._can_answer(claim)))

    def _can_answer(self, claim: Claim) -> bool:
        """Returns whether a claim is about the study's contenders, and about known measures of its problems."""
        if not claim.is_about_none_but([contender.name for contender in self.contenders]):
            return False
        metrics = [workload.problem.metric_names for workload in self.workloads]
        known = [names for names in metrics if names is not None]
        return len(known) < len(metrics) or all(part.measure in list_measure_names(known) for part in claim.parts)
