"""What a study is: the comparison as data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from jaxopt_bench.config import Config, Named, number
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment, Workload, check_folder_name
from jaxopt_bench.measures import DERIVED, split_of
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Axis, Choice, Cosine, Optimizer, Schedule, Space
from jaxopt_bench.problems import LOSS
from jaxopt_bench.runs import SPLITS

MOST_SEEDS = 5_000
"""Seeds of one kind that a repetition may use; the next thousands belong to the confirmations and other repetitions."""

MOST_TRIALS = 10_000
"""Trials of a contender on a workload: more of them are a slip of the finger."""
MOST_RUNS = 100_000
"""Runs of a study."""

JUDGING = ("validation", "train_clean")
"""Splits by which trials may be judged and targets be stated: those that trials measure at the ends of epochs."""
STEPS = "steps_to_target"
"""The value of `Study.select` by which the trial that reaches the target first wins."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contender(Config):
    """An optimizer of a study: its defaults, its schedule, and the space in which it is tuned.

    Raises:
      UserError: where the space names a field that cannot be set, or reaches beyond what the field accepts.
    """

    kinds: ClassVar[Mapping[str, Named[Any]]] = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}

    name: str
    """What it is called in the study."""
    optimizer: Optimizer
    """The optimizer, with the values of what is not searched."""
    schedule: Schedule = Cosine()
    """How the learning rate moves."""
    space: Space | None = None
    """Ranges and choices by field, as "optimizer.learning_rate". None: those of `Optimizer.search_space`. Empty: the
    optimizer is not tuned."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Contender.name", self.name)
        if self.space is None:
            object.__setattr__(self, "space", space_of(self.optimizer.search_space()))
        for field, searched in self.searched.items():
            ends = searched.values if isinstance(searched, Choice) else (searched.value(0), searched.value(1))
            for value in ends:
                self.at({field: value})

    @property
    def searched(self) -> Space:
        """The search space."""
        assert self.space is not None, "it is set when it is made"
        return self.space

    def at(self, values: Mapping[str, Any]) -> Contender:
        """Returns it with other values of some fields, and nothing to search.

        Args:
          values: by field, as "optimizer.learning_rate" or "schedule.warmup".

        Raises:
          UserError: for a field that does not exist, or a value that it does not accept.
        """
        changed: dict[str, dict[str, Any]] = {"optimizer": {}, "schedule": {}}
        known = [f"{part}.{field.name}" for part in changed for field in dataclasses.fields(getattr(self, part))]
        for name, value in values.items():
            if name not in known:
                raise unknown_name(f"field of the contender {self.name}", name, known)
            part, _, field = name.partition(".")
            changed[part][field] = value
        parts = {part: dataclasses.replace(getattr(self, part), **fields) for part, fields in changed.items()}
        return Contender(name=self.name, space=Space(), **parts)


def space_of(ranges: Mapping[str, Axis | Choice]) -> Space:
    """Returns a search space of an optimizer's fields ("learning_rate") and a schedule's ("schedule.warmup")."""
    return Space({field if "." in field else f"optimizer.{field}": searched for field, searched in ranges.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target(Config):
    """A result worth reaching, for times to it."""

    workload: str
    """Of which workload, by its name."""
    measure: str
    """The measure, taken at the ends of epochs: "validation_<metric>" or "train_clean_<metric>"."""
    value: float
    """The value to reach, in the metric's own unit: a fraction for a percentage."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_judging(self.measure):
            raise UserError(f"Target.measure is {self.measure!r}. Expected {_JUDGING_FORM}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Config):
    """That one contender's results are lower than another's."""

    measure: str
    """"<split>_<metric>", such as "test_accuracy", or one of `measures.DERIVED`."""
    lower: str
    """The contender with the lower results."""
    higher: str
    """The one with the higher."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_measure("Comparison", self.measure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Association(Config):
    """That a hyperparameter decides on a result, over the trials of one contender."""

    measure: str
    """"<split>_<metric>", such as "validation_loss", or one of `measures.DERIVED`."""
    contender: str
    """Whose trials."""
    field: str
    """The hyperparameter, as "optimizer.partial"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_measure("Association", self.measure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim(Config):
    """What someone has said, as data: it holds where all its comparisons and associations do."""

    text: str
    """In words."""
    source: str
    """Who says it."""
    comparisons: tuple[Comparison, ...] = ()
    """What must be so."""
    associations: tuple[Association, ...] = ()
    """What must be so as well."""

    @property
    def parts(self) -> tuple[Comparison | Association, ...]:
        """Its comparisons and its associations."""
        return *self.comparisons, *self.associations


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(Config):
    """A comparison of optimizers with equal tuning budgets.

    On each workload every contender is tuned by the same number of trials, judged on the validation split; its winner
    is trained again with fresh seeds, and those runs alone read the test split. The workloads may have problems of
    different kinds: on each, results are those of its problem's headline metric.

    Raises:
      UserError: for a budget that is missing or given twice, names that are taken twice, or claims and targets about
        what is not in the study.
    """

    name: str
    """What its folder is called."""
    question: str = ""
    """What it is to answer."""
    workloads: tuple[Workload, ...]
    """What they are compared on."""
    contenders: tuple[Contender, ...]
    """What is compared."""
    trials: int | None = number(None, at_least=1, at_most=MOST_TRIALS)
    """The budget of each contender on each workload: so many trials …"""
    total_epochs: int | None = number(None, at_least=1, at_most=10**9)
    """… or so many epochs in all, as whole trials."""
    trial_seeds: int = number(1, at_least=1, at_most=MOST_SEEDS)
    """Seeds a trial; it is judged by their mean."""
    seeds: int = number(5, at_least=1, at_most=MOST_SEEDS)
    """Fresh seeds with which a winner is confirmed."""
    repetitions: int = number(1, at_least=1, at_most=100)
    """How often the whole search is made, with independent draws and seeds."""
    search: Literal["sobol", "random", "grid"] = "sobol"
    """How trials are drawn: quasi-random (scrambled Sobol), at random, or on a grid."""
    select: str = "validation_loss"
    """What trials are judged by: "validation_<metric>", such as the loss, or "steps_to_target". For problems without
    validation examples, such as analytic functions, "train_clean_<metric>"."""
    at: Literal["final", "best"] = "final"
    """Whether results are those of the last epoch, or of the one with the lowest validation loss."""
    refit: bool = False
    """Whether winners are confirmed on all of `train`, the validation examples included; then `at` must be "final"."""
    track_test: bool = False
    """Whether confirmations evaluate the test split after every epoch, for curves; nothing is chosen by them."""
    seed: int = number(0, at_least=0, below=2**31)
    """Seed of the search, and the first of those of the runs."""
    targets: tuple[Target, ...] = ()
    """Results to reach."""
    claims: tuple[Claim, ...] = ()
    """What has been said, for the study to answer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_folder_name("Study.name", self.name)
        given = [budget for budget in (self.trials, self.total_epochs) if budget is not None]
        if len(given) > 1 or (not given and any(c.searched for c in self.contenders)):
            raise UserError(
                f"Study.trials is {self.trials} and total_epochs is {self.total_epochs}; accepted: one of the two."
            )
        for field in ("workloads", "contenders"):
            names = [item.name for item in getattr(self, field)]
            if not names or len(set(names)) < len(names):
                raise UserError(f"Study.{field} is called {names}; accepted: at least one, of different names.")
        folders = [run_name(w.name, c.name) for w in self.workloads for c in self.contenders]
        twice = next((name for name in folders if folders.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"Study.workloads and contenders have two pairs called {twice!r}; accepted: other names.")
        if self.select != STEPS and not _is_judging(self.select):
            raise UserError(f"Study.select is {self.select!r}. Expected {_JUDGING_FORM}, or {STEPS!r}.")
        if self.refit and self.at == "best":
            raise UserError("Study.at is 'best' where refit is True; accepted: 'final', since nothing validates then.")
        self._check_workloads()
        self._check_size()
        self._check_references()

    def _check_size(self) -> None:
        """Checks that the budgets make a number of runs that one can train and read."""
        tuned = sum(bool(c.searched) for c in self.contenders)
        trials = [self.trials_on(workload) for workload in self.workloads] if tuned else []
        if trials and max(trials) > MOST_TRIALS:
            raise UserError(
                f"Study.total_epochs is {self.total_epochs}, which makes {max(trials):,} trials. Expected at most "
                f"{MOST_TRIALS:,}."
            )
        confirmations = len(self.workloads) * len(self.contenders) * self.seeds
        runs = self.repetitions * (tuned * sum(trials) * self.trial_seeds + confirmations)
        if runs > MOST_RUNS:
            raise UserError(
                f"the study {self.name} has {runs:,} runs: workloads × optimizers × repetitions × (trials × their "
                f"seeds + seeds). Expected at most {MOST_RUNS:,}."
            )

    def _check_workloads(self) -> None:
        tuned = [c.name for c in self.contenders if c.searched]
        for workload in self.workloads:
            if tuned and self.trials_on(workload) < 1:
                raise UserError(
                    f"Study.total_epochs is {self.total_epochs}; accepted: at least "
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
          UserError: if it needs some.
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
        """Checks that what the study names is measured.

        Args:
          known: the names of the metrics of each workload's problem; a workload may be left out.

        Raises:
          UserError: for a measure of a metric that a problem does not have.
        """
        for workload, metrics in known.items():
            judging = [f"{split}_{name}" for split in JUDGING for name in dict.fromkeys([*metrics, LOSS])]
            if self.select not in (STEPS, *judging):
                raise unknown_name(f"measure in Study.select, on the workload {workload}", self.select, judging)
            for target in self.targets:
                if target.workload == workload and target.measure not in judging:
                    raise unknown_name(f"measure of the target of {workload}", target.measure, judging)
        if len(known) == len(self.workloads):
            measures = _measures(known.values())
            for claim in self.claims:
                for part in claim.parts:
                    if part.measure not in measures:
                        raise unknown_name(f"measure of the claim {claim.text!r}", part.measure, measures)

    def _check_references(self) -> None:
        for target in self.targets:
            if target.workload not in [w.name for w in self.workloads]:
                raise unknown_name("workload of a target", target.workload, [w.name for w in self.workloads])
        for name in self._claimed():
            if name not in [c.name for c in self.contenders]:
                raise unknown_name("contender of a claim", name, [c.name for c in self.contenders])

    def _claimed(self) -> list[str]:
        pairs = [(c.lower, c.higher) for claim in self.claims for c in claim.comparisons]
        return [name for pair in pairs for name in pair] + [a.contender for c in self.claims for a in c.associations]

    def workload(self, name: str) -> Workload:
        """Returns a workload by its name."""
        return next(w for w in self.workloads if w.name == name)

    def contender(self, name: str) -> Contender:
        """Returns a contender by its name."""
        return next(c for c in self.contenders if c.name == name)

    def target(self, workload: str) -> Target | None:
        """Returns a workload's target, where it has one."""
        return next((t for t in self.targets if t.workload == workload), None)

    def judging_split(self, workload: str) -> str:
        """Returns the split by which the trials on a workload are judged.

        Args:
          workload: its name.
        """
        target = self.target(workload)
        measure = target.measure if self.select == STEPS and target is not None else self.select
        found = split_of(measure)
        return found[0] if found is not None else JUDGING[0]

    def trials_on(self, workload: Workload) -> int:
        """Returns the budget of a contender that is tuned, in trials."""
        if self.trials is not None:
            return self.trials
        assert self.total_epochs is not None, "one of the two is given"
        return self.total_epochs // (workload.epochs * self.trial_seeds)

    def only(self, workloads: Sequence[str] = (), contenders: Sequence[str] = ()) -> Study:
        """Returns the study of some workloads and contenders alone, with the claims that are about no others.

        Raises:
          UserError: for a name that it does not have.
        """
        for kind, names, known in (
            ("workload", workloads, [w.name for w in self.workloads]),
            ("optimizer", contenders, [c.name for c in self.contenders]),
        ):
            for name in names:
                if name not in known:
                    raise unknown_name(f"{kind} of the study {self.name}", name, known)
        kept = [c for c in self.contenders if not contenders or c.name in contenders]
        left = dataclasses.replace(
            self,
            workloads=tuple(w for w in self.workloads if not workloads or w.name in workloads),
            contenders=tuple(kept),
            targets=tuple(t for t in self.targets if not workloads or t.workload in workloads),
            claims=(),
        )
        known = [c.name for c in kept]
        metrics = [w.problem.metric_names for w in left.workloads]
        measures = None if None in metrics else _measures(names for names in metrics if names is not None)
        claims = (c for c in self.claims if _is_about(c, known) and _is_measured(c, measures))
        return dataclasses.replace(left, claims=tuple(claims))


def experiment_of(
    workload: Workload, contender: Contender, *, seed: int, evaluate_test: bool, track_test: bool = False
) -> Experiment:
    """Returns the run that a workload and a contender make, under both their names.

    Args:
      workload: what is trained.
      contender: the optimizer and schedule; its space is not looked at.
      seed: of the run.
      evaluate_test: whether it reads the test split, if there is one.
      track_test: whether it reads the test split after every epoch as well.
    """
    return Experiment(
        name=run_name(workload.name, contender.name),
        workload=workload,
        optimizer=contender.optimizer,
        schedule=contender.schedule,
        evaluate_test=evaluate_test,
        track_test=track_test,
        seed=seed,
    )


def run_name(workload: str, contender: str) -> str:
    """Returns what the folder of a contender's runs on a workload is called."""
    return f"{workload}_{contender}"


def merged(earlier: Study, asked: Study) -> Study:
    """Returns the study that holds two: the larger budgets and numbers of seeds, the workloads and contenders of both.

    Targets and claims are those of `asked`, and of `earlier` those that are about workloads and contenders which
    `asked` lacks: it may be a part of that study, see `Study.only`.

    Raises:
      UserError: where they differ in anything else: their results cannot be taken together.
    """
    for field in dataclasses.fields(Study):
        one, other = getattr(earlier, field.name), getattr(asked, field.name)
        if field.name in ("trials", "total_epochs"):
            if (one is None) != (other is None):
                raise _differs(field.name, one, other)
        elif field.name not in _MAY_GROW and one != other:
            raise _differs(field.name, one, other)
    workloads, contenders = [w.name for w in asked.workloads], [c.name for c in asked.contenders]
    return dataclasses.replace(
        asked,
        workloads=_union("workloads", earlier.workloads, asked.workloads),
        contenders=_union("contenders", earlier.contenders, asked.contenders),
        targets=(*asked.targets, *(target for target in earlier.targets if target.workload not in workloads)),
        claims=(*asked.claims, *(claim for claim in earlier.claims if not _is_about(claim, contenders))),
        **{
            name: max(one, other)
            for name in ("trials", "total_epochs", "trial_seeds", "seeds", "repetitions")
            if (one := getattr(earlier, name)) is not None and (other := getattr(asked, name)) is not None
        },
    )


_MAY_GROW = (
    "name", "question", "workloads", "contenders", "trials", "total_epochs", "trial_seeds", "seeds", "repetitions",
    "targets", "claims",
)  # fmt: skip


_JUDGING_FORM = '"validation_<metric>" or "train_clean_<metric>", such as "validation_loss"'


def _is_judging(measure: str) -> bool:
    """Returns whether a measure has the form of those that trials can be judged by."""
    found = split_of(measure)
    return found is not None and found[0] in JUDGING


def _check_measure(part: str, name: str) -> None:
    if name not in DERIVED and split_of(name) is None:
        forms = ", ".join(f'"{split}_<metric>"' for split in SPLITS)
        raise UserError(f"{part}.measure is {name!r}. Expected {forms}, {' or '.join(map(repr, DERIVED))}.")


def _measures(metrics: Iterable[Sequence[str]]) -> list[str]:
    """Returns the names of all measures of problems with these metrics."""
    names = dict.fromkeys([LOSS, *(name for each in metrics for name in each)])
    return [*(f"{split}_{name}" for split in SPLITS for name in names), *DERIVED]


def _is_measured(claim: Claim, measures: Sequence[str] | None) -> bool:
    return measures is None or all(part.measure in measures for part in claim.parts)


def _is_about(claim: Claim, contenders: Sequence[str]) -> bool:
    named = [name for c in claim.comparisons for name in (c.lower, c.higher)]
    return all(name in contenders for name in [*named, *(a.contender for a in claim.associations)])


def _union(field: str, earlier: Sequence[Any], asked: Sequence[Any]) -> tuple[Any, ...]:
    """Returns the items of both by their names, those of the one that was there first coming first."""
    known = {item.name: item for item in earlier}
    for item in asked:
        one, other = (_compared(known.get(item.name, item)), _compared(item))
        if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True):
            raise _differs(f"{field} {item.name}", *_first_difference(one, other))
        known.setdefault(item.name, item)
    return tuple(known.values())


def _compared(config: Config) -> dict[str, Any]:
    """Returns an item as JSON, without the sources of its ranges: they do not change what is computed."""
    item = config.to_json()
    for searched in item.get("space", {}).values():
        searched.pop("source", None)
    return item


def _first_difference(one: Any, other: Any, path: str = "") -> tuple[str, str]:
    """Returns the innermost values in which two JSON objects differ first, each with the path to its field."""
    for name in [*one, *(name for name in other if name not in one)]:
        a, b = one.get(name), other.get(name)
        if json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True):
            if isinstance(a, dict) and isinstance(b, dict):
                return _first_difference(a, b, f"{path}{name}.")
            return f"{path}{name} {a!r}", f"{path}{name} {b!r}"
    return f"{path} {one!r}", f"{path} {other!r}"


def _differs(field: str, earlier: Any, asked: Any) -> UserError:
    return UserError(
        f"the study in this folder has {field}: {_cut(earlier)}; this command has {_cut(asked)}. "
        "Expected the same value, since results of different values cannot be compared; or another folder (--out). A "
        "study can grow in trials, total epochs of trials, seeds, repetitions, workloads and optimizers, but the "
        "epochs of a run (--epochs) stay the same."
    )


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
