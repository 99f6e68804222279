"""Optimizers that join a study, and search spaces and schedules of contenders from the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.optimizers import (
    OPTIMIZERS,
    SCHEDULES,
    Axis,
    Choice,
    ImportedOptimizer,
    Optimizer,
    Schedule,
    Space,
    WarmupSchedule,
    load,
    parse_schedule,
    parse_space,
)
from jaxopt_bench.optimizers.axes import rate_or_fallback
from jaxopt_bench.optimizers.custom import RecordedOptimizer
from jaxopt_bench.optimizers.schedules import warmup_of
from jaxopt_bench.study import Contender, Study, space_of

SPACE_FORM = "NAME.FIELD=VALUES, such as adamw.learning_rate=1e-4..1e-1 or adamw.b2=0.9,0.99,0.999"
SCHEDULE_FORM = "NAME=SCHEDULE, such as adamw=constant or adamw=cosine:warmup=1"


def make_newcomer(study: Study, reference: str) -> Contender:
    """Returns an optimizer as an additional contender of a study.

    If the user's file states a search space or a schedule for it, these are used. Otherwise, `space_by_rule` gives its
    space, and `schedule_by_rule` its schedule.

    Args:
      study: the study.
      reference: an optimizer's name, or `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    Raises:
      UserError: if there is no such optimizer, or it has an argument without a default other than the learning rate.
    """
    optimizer = _users(reference) if ":" in reference else OPTIMIZERS[reference]
    schedule = optimizer.user_schedule or schedule_by_rule(study, optimizer)
    space = space_of(optimizer.user_space) if optimizer.user_space else space_by_rule(study, optimizer, schedule)
    return Contender(name=reference.rpartition(":")[2], optimizer=optimizer, schedule=schedule, space=space)


def add_newcomers(study: Study, references: Sequence[str]) -> tuple[Contender, ...]:
    """Returns a study's contenders and newcomers.

    If the study already has a user's optimizer, it is loaded from its file. It keeps the search space and the schedule
    that the study records.

    Raises:
      UserError: if another contender has a newcomer's name; and as `make_newcomer` does.
    """
    found = {contender.name: contender for contender in study.contenders}
    for reference in references:
        new = make_newcomer(study, reference)
        there = found.get(new.name)
        if there is not None and not _is_of_one_function(there.optimizer, new.optimizer):
            raise UserError(f"--add {reference}: {new.name} is already a contender. Expected another name.")
        found[new.name] = new if there is None else dataclasses.replace(there, optimizer=new.optimizer)
    return tuple(found.values())


def _is_of_one_function(one: Optimizer, other: Optimizer) -> bool:
    if isinstance(one, (ImportedOptimizer, RecordedOptimizer)) and isinstance(other, ImportedOptimizer):
        return one.reference == other.reference
    return False


def schedule_by_rule(study: Study, optimizer: Optimizer) -> Schedule:
    """Returns the schedule of a newcomer.

    It is the schedule of the other contenders, if they all have the same one. Optimizers whose method prescribes a
    constant learning rate do not count, and a newcomer of this kind has a constant one. If the contenders differ, it is
    the schedule that is intended for the newcomer. If all contenders have the same warm-up, the newcomer has it too.
    """
    meant = optimizer.schedule
    free = {contender.schedule for contender in study.contenders if not contender.optimizer.schedule.is_constant}
    schedule: Schedule = free.pop() if len(free) == 1 and not meant.is_constant else SCHEDULES[meant.name]
    warmups = {warmup_of(contender.schedule) for contender in study.contenders}
    if len(warmups) > 1 or not isinstance(schedule, WarmupSchedule):
        return schedule
    ((epochs, share),) = warmups
    return dataclasses.replace(schedule, warmup=epochs, warmup_share=share)


def space_by_rule(study: Study, optimizer: Optimizer, schedule: Schedule) -> Space:
    """Returns the search space of a newcomer: the fields that all tuned contenders of the study search.

    So the newcomer has exactly the dimensions that these contenders have in common. Its ranges are those of
    `Optimizer.axes`; a field of the schedule has the contenders' range, if it is the same for all. Fields that the
    newcomer does not have are left out, and so is the learning rate of an optimizer that finds its own. Contenders that
    find their own learning rate do not affect whether others search theirs. If the study has no tuned contenders, the
    newcomer is not tuned. If the tuned contenders have no field in common, the newcomer has its default space.
    """
    contenders = [contender for contender in study.contenders if contender.searched]
    if not contenders:
        return Space()
    tuned = [contender.searched for contender in contenders]
    fields = dict.fromkeys(field for space in tuned for field in space)
    common = [field for field in fields if all(field in c.searched or _lacks(c, field) for c in contenders)]
    if not common:
        return space_of(optimizer.search_space())
    own = {f"optimizer.{n}": a for n, a in optimizer.axes().items() if n in optimizer.searched or n != "learning_rate"}
    shared = {
        f"schedule.{field.name}": tuned[0].get(f"schedule.{field.name}") for field in dataclasses.fields(schedule)
    }
    same = {
        field: searched
        for field, searched in shared.items()
        if searched and all(space.get(field) == searched for space in tuned)
    }
    known: dict[str, Axis | Choice] = {**own, **same}
    return Space({field: known[field] for field in common if field in known})


def _lacks(contender: Contender, field: str) -> bool:
    """Returns whether a field is the learning rate of an optimizer that finds its own."""
    return field == "optimizer.learning_rate" and "learning_rate" not in contender.optimizer.searched


def check_forms(spaces: Sequence[str], schedules: Sequence[str]) -> None:
    """Checks the form of the values of --space and --schedule, before any optimizer is loaded.

    Raises:
      UserError: if a value has another form.
    """
    for flag, words, form in (("--space", spaces, SPACE_FORM), ("--schedule", schedules, SCHEDULE_FORM)):
        for word in words:
            name, equals, values = word.partition("=")
            if not (equals and values.strip() and name and (flag == "--schedule" or "." in name)):
                raise UserError(f"{flag} is {word!r}. Expected {form}.")


def apply_space_and_schedule_flags(
    contenders: Sequence[Contender], spaces: Sequence[str], schedules: Sequence[str], trained: Sequence[str] = ()
) -> tuple[Contender, ...]:
    """Returns contenders with the search spaces and schedules of the command line.

    Args:
      contenders: the contenders of a study.
      spaces: values of the form `SPACE_FORM`. A field's values replace those of the contender's space, or are added to
        it.
      schedules: values of the form `SCHEDULE_FORM`.
      trained: the names of recorded contenders, which can no longer be changed.

    Raises:
      UserError: for an unknown contender or field, or values that the field does not accept.
    """
    check_forms(spaces, schedules)
    found = {contender.name: contender for contender in contenders}
    for name, word in _schedules_by_name(schedules, [*found], trained).items():
        schedule = parse_schedule(word.partition("=")[2], f"--schedule {word}", SCHEDULES)
        found[name] = _replaced(f"--schedule {word}", found[name], schedule=schedule)
    for name, ranges in _ranges_by_name(spaces, [*found], trained).items():
        contender = found[name]
        parsed = parse_space(ranges, contender.optimizer, contender.schedule, f"--space {name}")
        space = Space({**contender.searched, **space_of(parsed)})
        found[name] = _replaced(f"--space {name}", contender, space=space)
    return tuple(found.values())


def _schedules_by_name(words: Sequence[str], names: Sequence[str], trained: Sequence[str]) -> dict[str, str]:
    """Returns the values of --schedule, by contender."""
    found: dict[str, str] = {}
    for word in words:
        name = word.partition("=")[0]
        _check_can_change("--schedule", word, name, names, trained)
        if name in found:
            raise UserError(
                f"--schedule is given twice for {name}: {found[name]!r} and {word!r}. Expected one of them."
            )
        found[name] = word
    return found


def _ranges_by_name(words: Sequence[str], names: Sequence[str], trained: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the ranges of the values of --space, by contender and field."""
    found: dict[str, dict[str, str]] = {}
    for word in words:
        key, _, values = word.partition("=")
        known = [name for name in (*names, *trained) if key.startswith(f"{name}.")]  # names may contain dots
        name = max(known, key=len, default=key.partition(".")[0])
        _check_can_change("--space", word, name, names, trained)
        field = key[len(name) + 1 :]
        if field in found.setdefault(name, {}):
            raise UserError(f"--space {name}.{field} is given twice. Expected all its values in one flag.")
        found[name][field] = values
    return found


def _check_can_change(flag: str, word: str, name: str, names: Sequence[str], trained: Sequence[str]) -> None:
    """Checks that a flag's value is for a contender that is not trained yet."""
    if name in trained and name not in names:
        raise UserError(
            f"{flag} {word}: {name} is among the baselines and was trained already. Expected a newcomer "
            f"({', '.join(names)}). To train {name} again, compare without --baselines."
        )
    if name not in names:
        raise unknown_name(f"contender of {flag}", name, names)


def _replaced(where: str, contender: Contender, **fields: Any) -> Contender:
    try:
        return dataclasses.replace(contender, **fields)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _users(reference: str) -> Optimizer:
    """Returns a user's optimizer. A learning rate without a default has the middle of its search range."""
    cls = load(reference)
    required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    others = [name for name in required if name != "learning_rate"]
    if others:
        raise UserError(
            f"{reference} has the argument {others[0]!r} without a default. Expected a default for every argument but "
            "the learning rate, or a study file that gives the value."
        )
    given: dict[str, Any] = {"learning_rate": rate_or_fallback(None)} if required else {}
    return cls(**given)
