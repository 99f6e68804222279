"""The rules of a study in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from jaxopt_bench.formatting import format_count, join_words
from jaxopt_bench.measures import SPLIT_WORDS, split_of
from jaxopt_bench.optimizers import Axis, Choice, Constant, Space
from jaxopt_bench.optimizers.text import describe_schedule
from jaxopt_bench.problems import LOSS
from jaxopt_bench.study.contender import Contender
from jaxopt_bench.study.extension import Extension
from jaxopt_bench.study.halving import HALVING, training_epochs
from jaxopt_bench.study.study import Study

_WHEN = {"final": "last epoch", "best": "epoch with the lowest validation loss"}


def protocol(study: Study, *, shares_points: bool = True) -> list[str]:
    """Returns the rules of a study, in sentences.

    Args:
      study: the study.
      shares_points: whether all contenders draw the same points; see `Document.shares_points`.
    """
    tuned = [c for c in study.contenders if c.searched]
    said = []
    if tuned:
        shared = [_SHARED] if shares_points and study.search != "grid" else []
        same = [_SAME_TRIALS] if study.same_trials and len(study.workloads) > 1 else []
        how = [_tuning(study), *shared, *same, *_halving(study)]
        said = [*how, *_different_sizes(tuned), *_widening(study), *_selection(study)]
    said += _different_schedules(study.contenders)
    fixed = [c.name for c in study.contenders if not c.searched]
    if fixed:
        said.append(f"Not tuned, and confirmed as given: {', '.join(fixed)}.")
    data = "all of the training split" if study.refit else "the part of the training split that trials train on"
    said.append(f"Confirm: what was selected is trained again with {study.seeds} fresh seeds, on {data}.")
    when = "after every epoch, for curves; results are those" if study.track_test else "once"
    said.append(
        f"Test: confirmations alone read the test split, {when} at the {_WHEN[study.at]}; nothing is chosen by it."
    )
    if study.repetitions > 1:
        said.append(f"Repeat: all of this {study.repetitions} times, with independent draws and seeds.")
    return said


_DRAWS = {
    "sobol": "a scrambled Sobol sequence over its search space",
    "random": "independent draws from its search space",
    "grid": "a grid over its search space",
    HALVING: "a scrambled Sobol sequence over its search space",
}


_SHARED = (
    "Share: all optimizers draw the same points, which are shares of the ranges, so that optimizers with equal search "
    "spaces have equal trials."
)


_SAME_TRIALS = (
    "Same trials: trial i of an optimizer has the same hyperparameters on every workload. Finalists and winners are "
    "selected on each workload by itself."
)


def describe_budget(study: Study) -> str:
    """Returns the tuning budget of each contender on each workload, in trials or in epochs."""
    return f"{study.trials} trials" if study.trials else f"{study.total_epochs} epochs of trials"


def _tuning(study: Study) -> str:
    each = f", {study.trial_seeds} seeds each" if study.trial_seeds > 1 else ""
    return f"Tune: on each workload every tuned optimizer has {describe_budget(study)}{each}, {_DRAWS[study.search]}."


def _halving(study: Study) -> list[str]:
    """Returns the numbers of trials and epochs of each rung, a sentence for each workload; none without halving."""
    if study.search != HALVING:
        return []
    said = []
    for workload in study.workloads:
        first, *others = stages = study.rungs_on(workload, study.trials_on(workload))
        parts = [f"{first.trials} trials are trained for {format_count(first.epochs, 'epoch')}"]
        parts += [f"the best {rung.trials} of these up to epoch {rung.epochs}" for rung in others]
        used = study.trial_seeds * training_epochs(stages)
        whole = study.trial_seeds * first.trials * workload.epochs
        said.append(
            f"Halve: on {workload.name} {join_words(parts)}. This takes {used:,} epochs for each optimizer; "
            f"{first.trials} whole trials would take {whole:,}."
        )
    at = "last epoch so far" if study.at == "final" else f"{_WHEN[study.at]} so far"
    return [
        *said,
        f"Promote: trials are compared by the measure that selects the winner, at the {at}; the earlier of equals is "
        "promoted. A trial has the learning-rate schedule of all its epochs from the beginning, and continues from its "
        'checkpoint. Trials that are not promoted have the status "stopped" and cannot be selected.',
    ]


def _selection(study: Study) -> list[str]:
    mean = "mean " if study.trial_seeds > 1 else ""
    best, by, when = "fewest", study.select.replace("_", " "), ""
    if (judged := split_of(study.select)) is not None:
        split, metric = judged
        best = "lowest" if metric == LOSS else "best"
        by, when = f"{SPLIT_WORDS[split]} {metric.replace('_', ' ')}", f" at the {_WHEN[study.at]}"
    if not study.finalists:
        return [
            f"Select: the trial with the {best} {mean}{by}{when}, the earlier of equals; one that diverges counts "
            "against the budget and is never selected."
        ]
    seeds = format_count(study.finalist_seeds, "other seed")
    return [
        f"Re-run: the {study.finalists} trials of each optimizer with the {best} {mean}{by}{when}, the earlier of "
        f"equals, are trained again with {seeds} each. A trial that diverges counts against the budget and is not "
        "re-run. Re-runs are not part of the budget.",
        f"Select: of these trials the one with the {best} mean {by} of the re-runs. Its first result does not count, "
        "because the trials that are re-run were chosen by it. One that diverges in a re-run comes last.",
    ]


def _different_sizes(tuned: Sequence[Contender]) -> list[str]:
    """Returns a sentence with the size of each optimizer's search space; none if all have the same size."""
    by_size: dict[str, list[str]] = {}
    for contender in tuned:
        by_size.setdefault(space_size(contender.searched), []).append(contender.name)
    groups = "; ".join(f"{', '.join(names)} in {size}" for size, names in by_size.items())
    return [f"The search spaces differ in size: {groups}."] if len(by_size) > 1 else []


def _widening(study: Study) -> list[str]:
    """Returns a sentence about the extensions of search spaces; none if there are none."""
    extensions = describe_extensions(study)
    return [f"Widened: {extensions}. All optimizers have the same number of trials."] if extensions else []


def describe_extensions(study: Study) -> str | None:
    """Returns a phrase about trials that are drawn beyond search spaces, by optimizer; None if there are none."""
    parts = [
        f"{contender.name} in {_changed(contender.searched, extension.space)} ({_stretch(study, extension)})"
        for contender in study.contenders
        for extension in contender.extensions
    ]
    if not parts:
        return None
    return f"some trials are drawn beyond an edge of a search space towards which results improved: {'; '.join(parts)}"


def _changed(space: Space, box: Space) -> str:
    """Returns the ranges of a box that differ from those of a search space."""
    return describe_space(Space({field: searched for field, searched in box.items() if searched != space[field]}))


def _stretch(study: Study, extension: Extension) -> str:
    """Returns the part of the budget that an extension covers."""
    if study.trials is not None:
        return f"trials {extension.after + 1} to {extension.until}"
    return f"between {extension.after} and {extension.until} epochs of trials"


def _different_schedules(contenders: Sequence[Contender]) -> list[str]:
    """Returns a sentence with the learning-rate schedule of each optimizer; none if all have the same one."""
    by_schedule: dict[str, list[str]] = {}
    for contender in contenders:
        words, meant = describe_schedule(contender.schedule), contender.optimizer.schedule
        prescribed = meant.is_constant and isinstance(contender.schedule, Constant)
        reason = f", which the method prescribes ({meant.source})" if prescribed else ""
        by_schedule.setdefault(f"{words}{reason}", []).append(contender.name)
    groups = "; ".join(f"{', '.join(names)} under {words}" for words, names in by_schedule.items())
    return [f"The learning-rate schedules differ: {groups}."] if len(by_schedule) > 1 else []


def space_size(space: Space) -> str:
    """Returns the fields of a search space in words, each with the width of its range, in the order of their names."""
    return ", ".join(f"{_short(field)} ({_size(space[field])})" for field in sorted(space)) or "nothing"


def describe_space(space: Space) -> str:
    """Returns the ranges and values of a search space in words."""
    return "; ".join(f"{_short(field)} {_range(searched)}" for field, searched in space.items()) or "nothing"


def _short(field: str) -> str:
    return field.removeprefix("optimizer.")


def _size(searched: Axis | Choice) -> str:
    if isinstance(searched, Choice):
        return "fixed" if len(searched.values) == 1 else f"{len(searched.values)} values"
    if searched.scale == "linear":
        return f"a width of {searched.high - searched.low:.3g}"
    decades = f"{math.log10(searched.high / searched.low):.3g}"
    return f"{decades} decade{'' if decades == '1' else 's'}{' of 1 − value' * (searched.scale != 'log')}"


def _range(searched: Axis | Choice) -> str:
    if isinstance(searched, Choice):
        return f"fixed at {searched.values[0]}" if len(searched.values) == 1 else str(searched)
    low, high = sorted((searched.value(0), searched.value(1)))
    return f"{low:g} to {high:g} ({_size(searched)})"
