"""Compares newcomers with recorded results: checks whether this is possible, joins them, and lists the differences."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import polars as pl

from jaxopt_bench.compare.newcomers import space_by_rule
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import Space
from jaxopt_bench.optimizers.text import describe_schedule
from jaxopt_bench.results import Results, combine_results
from jaxopt_bench.study import Contender, Document, Study, describe_extensions, describe_space, space_size

_NAMES = ("name", "question", "contenders", "claims", "targets", "workloads")
"""Fields of a study that are not a part of its protocol."""

_ENVIRONMENT = (
    "backend",
    "device",
    "devices",
    "threads",
    "code_path",
    "version.jax",
    "version.optax",
    "version.jaxopt-bench",
)
"""Columns that describe the environment of a run."""
_WITHOUT_EFFECT = ("side_by_side",)
"""Fields of a code path that do not change any bit of a run."""


def make_newcomer_study(study: Study, recorded: Document, newcomers: Sequence[Contender]) -> Study:
    """Returns the study that trains only newcomers, under the conditions of the recorded contenders.

    If the recorded study had the budget of this study and was widened later, newcomers get its present number of
    trials.

    Args:
      study: the study in its present form.
      recorded: the study in which the baselines were recorded.
      newcomers: optimizers that are not among the baselines.

    Raises:
      UserError: if the protocol or a workload differs, or a newcomer has the name of a recorded contender.
    """
    study = _with_widened_budget(study, recorded.study)
    for field in dataclasses.fields(Study):
        now, then = getattr(study, field.name), getattr(recorded.study, field.name)
        if field.name == "finalist_seeds" and study.finalists == 0:
            continue  # it has no effect then
        if field.name not in _NAMES and now != then:
            raise UserError(
                f"the baselines were recorded with {field.name} {then!r}, and the study has {now!r}. Expected the same "
                "value."
            )
    known = {w.name: w for w in recorded.study.workloads}
    for workload in study.workloads:
        if workload.name not in known or _text(workload) != _text(known[workload.name]):
            raise UserError(
                f"the baselines were not recorded on the workload {workload.name} as it is in the study. Expected the "
                "same problem, epochs and batch size."
            )
    taken = [c.name for c in recorded.study.contenders]
    for newcomer in newcomers:
        if newcomer.name in taken:
            raise UserError(f"{newcomer.name} is among the baselines. Expected another name than {', '.join(taken)}.")
    return dataclasses.replace(study, contenders=tuple(newcomers), claims=())


def drop_unfinished_contenders(recorded: Results, workloads: Sequence[str]) -> Results:
    """Returns recorded results without the optimizers that are not yet recorded on all given workloads.

    Args:
      recorded: the results of one study, which need not be complete.
      workloads: the names of workloads. Names that the study does not have are ignored.

    Raises:
      UserError: if no optimizer is left.
    """
    (document,) = recorded.documents
    study = document.study
    recorded_names = [w.name for w in study.workloads]
    workloads = [name for name in workloads if name in recorded_names]  # `make_newcomer_study` refuses the others
    decided = {(found.workload, found.contender, found.repetition) for found in document.selections}
    finished = [
        contender.name
        for contender in study.contenders
        if all((w, contender.name, r) in decided for w in workloads for r in range(study.repetitions))
    ]
    if not finished:
        raise UserError(
            f"the baselines have no optimizer whose runs on {', '.join(workloads)} have all finished. Expected at "
            "least one, or fewer workloads (--workloads)."
        )
    if len(finished) == len(study.contenders):
        return recorded
    part = dataclasses.replace(
        document,
        study=study.only(contenders=finished),
        runs=tuple(run for run in document.runs if run.contender in finished),
        selections=tuple(found for found in document.selections if found.contender in finished),
        timings=tuple(timing for timing in document.timings if timing.contender in finished),
    )
    runs = recorded.runs.filter(pl.col("contender").is_in(finished))
    return dataclasses.replace(recorded, runs=runs, documents=(part,))


def _with_widened_budget(study: Study, recorded: Study) -> Study:
    """Returns a study with the budget of a recorded study that was widened and had the same budget before."""
    before = min((e.after for c in recorded.contenders for e in c.extensions), default=None)
    if before is None or study.budget != before:
        return study
    return dataclasses.replace(study, trials=recorded.trials, total_epochs=recorded.total_epochs)


def join_results(recorded: Results, trained: Results) -> tuple[Results, Document]:
    """Returns the recorded results and the results of the newcomers as the results of one study."""
    (then,), (now,) = recorded.documents, trained.documents
    study = dataclasses.replace(
        now.study, name=then.study.name, contenders=(*then.study.contenders, *now.study.contenders)
    )
    names = [w.name for w in study.workloads]
    document = Document(
        study,
        runs=(*then.runs, *now.runs),
        selections=tuple(s for s in (*then.selections, *now.selections) if s.workload in names),
        timings=(*then.timings, *now.timings),
        format=min(then.format, now.format),
    )
    both = combine_results([recorded, trained])
    runs = both.runs.with_columns(pl.lit(study.name).alias("study"))
    return dataclasses.replace(both, runs=runs, documents=(document,)), document


def differences(recorded: Results, trained: Results) -> str | None:
    """Returns a sentence about differences between the environments of the newcomers' runs and of the recorded runs.

    Only facts that are in both records are compared. None if there are no differences.
    """
    then, now = _environment(recorded.runs), _environment(trained.runs)
    both = [name for name in then if name in now]
    found = [
        f"{name} ({', '.join(sorted(then[name]))} for the baselines, {', '.join(sorted(now[name]))} now)"
        for name in both
        if then[name] != now[name]
    ]
    if not found:
        return None
    return f"The baselines were recorded in another environment, so results may differ: {'; '.join(found)}."


def drawing_difference(recorded: Document) -> str | None:
    """Returns a sentence if the trials of recorded optimizers were drawn with an older method, otherwise None."""
    if recorded.shares_points:
        return None
    return (
        "The baselines were recorded by an earlier version, in which each optimizer drew its own trials; today all "
        "optimizers draw the same points."
    )


def _environment(runs: pl.DataFrame) -> dict[str, set[str]]:
    """Returns the recorded values that describe environments, by name; each field of a code path is one of them."""
    found: dict[str, set[str]] = {}
    for column in _ENVIRONMENT:
        for value in runs[column].drop_nulls().unique().to_list() if column in runs.columns else []:
            is_path = column == "code_path"
            for name, one in json.loads(value).items() if is_path else [(column, value)]:
                if name not in _WITHOUT_EFFECT:
                    found.setdefault(f"{column}.{name}" if is_path else name, set()).add(str(one))
    return found


def tuning_differences(recorded: Study, newcomers: Sequence[Contender]) -> list[str]:
    """Returns sentences about newcomers that were tuned or trained in other conditions than the recorded optimizers.

    A newcomer's search space is not mentioned if it is the space of `space_by_rule` and some recorded optimizer
    searched the same fields, each over as many decades or values. Its schedule is not mentioned if some recorded
    optimizer has it. Extensions of the recorded search spaces are mentioned, because newcomers have none.
    """
    said = []
    if (extensions := describe_extensions(recorded)) is not None:
        said.append(f"Of the baselines, {extensions}. Newcomers have as many trials, all in their own search spaces.")
    tuned = [c.searched for c in recorded.contenders if c.searched]
    sizes = dict.fromkeys(space_size(space) for space in tuned or [Space()])
    schedules = dict.fromkeys(describe_schedule(c.schedule) for c in recorded.contenders)
    for new in newcomers:
        by_rule = space_by_rule(recorded, new.optimizer, new.schedule)
        if space_size(new.searched) not in sizes or new.searched != by_rule:
            said.append(
                f"{new.name} was tuned in a search space of its own: {describe_space(new.searched)}. The recorded "
                f"optimizers were tuned in: {'; or '.join(sizes)}."
            )
        if (schedule := describe_schedule(new.schedule)) not in schedules:
            said.append(
                f"{new.name} was trained under the schedule {schedule}, the recorded optimizers under "
                f"{' or '.join(schedules)}."
            )
    return said


def _text(workload: Workload) -> str:
    return json.dumps(workload.to_json(), sort_keys=True)
