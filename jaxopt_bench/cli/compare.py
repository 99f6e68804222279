"""`jaxopt-bench compare`: runs a study, from its trials to its answer."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from rich.console import Console

from jaxopt_bench.cli.answer import check_reference, print_answer
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.compare_flags import NUMBERS, CompareFlags, TimedStudyFlags, added_names, check_flags
from jaxopt_bench.cli.flags import check_folder, parse_flags
from jaxopt_bench.cli.naming import resolve_problem
from jaxopt_bench.cli.plan import print_plan
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.processes import writer_folder
from jaxopt_bench.cli.recorded import load_baselines
from jaxopt_bench.compare import (
    ClusterExecutor,
    Executor,
    LocalExecutor,
    add_newcomers,
    apply_space_and_schedule_flags,
    compare,
    compute_study_power,
    differences,
    drawing_difference,
    drop_unfinished_contenders,
    estimate_study_cost,
    join_results,
    make_newcomer,
    make_newcomer_study,
    progress_for,
    timed_study,
    tuning_differences,
    widen,
)
from jaxopt_bench.errors import UserError
from jaxopt_bench.results import Results, describe_missing_results, load
from jaxopt_bench.runs.progress import reporter_for
from jaxopt_bench.study import DOCUMENT, Document, Study, find_study, protocol
from jaxopt_bench.training import choose_code_path
from jaxopt_bench.verdict import recommendation, verdict


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `compare`.

    Raises:
      UserError: for an unknown study, workload or optimizer, or an invalid number.
    """
    asks = any(word.partition("=")[0] in ("--problem", "--dataset") for word in words)
    flags: CompareFlags
    if asks:
        problem, rest = resolve_problem(words)
        asked: TimedStudyFlags = parse_flags(TimedStudyFlags, "compare", rest, default=TimedStudyFlags(problem=problem))
        if not asked.minutes > 0:
            raise UserError(f"--minutes is {asked.minutes:g}. Expected a number > 0.")
        if asked.baselines is not None:
            raise UserError("--baselines is for a recorded study. Expected neither --problem nor --dataset with it.")
        flags = asked
    else:
        flags = parse_flags(CompareFlags, "compare", words)
    shard = check_flags(flags)
    if isinstance(flags, TimedStudyFlags):
        return functools.partial(_ask, flags, shard)
    study = _study(flags, find_study(flags.study))
    return functools.partial(_against if flags.baselines else _compare, flags, study, shard)


def _study(flags: CompareFlags, named: Study) -> Study:
    """Returns the study with the changes of the flags, without newcomers."""
    study = named.only(flags.workloads, flags.optimizers)
    changed: dict[str, Any] = {
        name: value
        for name in (*NUMBERS, "finalists", "search", "halving_factor", "halving_rungs")
        if (value := getattr(flags, name)) is not None
    }
    if "total_epochs" in changed and "trials" not in changed:
        changed["trials"] = None
    if flags.epochs is not None:
        changed["workloads"] = tuple(dataclasses.replace(w, epochs=flags.epochs) for w in study.workloads)
    return dataclasses.replace(study, **changed)


def _folder(flags: CompareFlags, study: Study) -> pathlib.Path:
    """Returns the study's folder: --out, or the folder that is named in place of a study, or studies/NAME."""
    if flags.out is None and (pathlib.Path(flags.study) / DOCUMENT).exists() and flags.baselines is None:
        return pathlib.Path(flags.study)
    return flags.out or pathlib.Path("studies") / study.name


def _ask(flags: TimedStudyFlags, shard: tuple[int, int]) -> int:
    """Creates or continues the study of a problem, and prints its answer with the winner's settings."""
    flags.training.processes.join()
    folder = flags.out or pathlib.Path("studies") / flags.problem.title
    check_folder("--out", folder)
    named = timed_study(flags.problem, folder, flags.minutes, flags.training.data_dir, reporter_for(Console()))
    code = _compare(dataclasses.replace(flags, out=folder), _study(flags, named), shard)
    if flags.plan:
        return code
    results = load(folder)
    found = verdict(results, results.documents[0])
    for text in filter(None, (recommendation(results, found, ranking) for ranking in found.rankings)):
        print(f"\n{text}")
    return code


def _compare(flags: CompareFlags, study: Study, shard: tuple[int, int]) -> int:
    """Runs the study and prints its answer."""
    flags.training.processes.join()
    contenders = apply_space_and_schedule_flags(add_newcomers(study, flags.add), flags.space, flags.schedule)
    study = dataclasses.replace(study, contenders=contenders)
    _check_references(flags, study)
    if flags.plan:
        return _plan(flags, study)
    with writer_folder(_folder(flags, study)) as folder:
        console = Console()
        if flags.widen:
            widening = widen(study, folder)
            study = widening.study
            for sentence in widening.said:
                print_plain(console, sentence)
        document = _train(flags, study, folder, shard, console)
        results = load(flags.record or folder)
        code = COMPLETED
        if (said := describe_missing_results(results, _only(flags))) is None:
            code = _print_answer(flags, results, document, console)
        else:
            print_plain(console, said)
        print_plain(console, str(flags.record or folder), soft_wrap=True)
    return code


def _against(flags: CompareFlags, study: Study, shard: tuple[int, int]) -> int:
    """Trains only newcomers, and prints the answer of the study of newcomers and baselines."""
    assert flags.baselines is not None, "it is what calls for this"
    flags.training.processes.join()
    recorded = drop_unfinished_contenders(load_baselines(flags.baselines), [w.name for w in study.workloads])
    baselines = recorded.documents[0].study
    newcomers = tuple(make_newcomer(baselines, reference) for reference in flags.add)
    newcomers = apply_space_and_schedule_flags(
        newcomers, flags.space, flags.schedule, [c.name for c in baselines.contenders]
    )
    _check_references(flags, dataclasses.replace(baselines, contenders=(*baselines.contenders, *newcomers)))
    new = make_newcomer_study(study, recorded.documents[0], newcomers)
    new = dataclasses.replace(new, name="_".join([study.name, *(c.name for c in newcomers)]))
    recorded_contenders = len(baselines.contenders)
    if flags.plan:
        return _plan(flags, new, recorded_contenders)
    with writer_folder(_folder(flags, new)) as folder:
        console = Console()
        _train(flags, new, folder, shard, console, recorded_contenders)
        trained = load(folder)
        results, document = join_results(recorded, trained)
        code = _print_answer(flags, results, document, console, [c.name for c in baselines.contenders])
        said = [
            *tuning_differences(baselines, newcomers),
            drawing_difference(recorded.documents[0]),
            differences(recorded, trained),
        ]
        for sentence in filter(None, said):
            print_plain(console, sentence)
        print_plain(console, str(folder), soft_wrap=True)
    return code


def _plan(flags: CompareFlags, study: Study, others: int = 0) -> int:
    """Prints the cost and the power of the study; `others` is the number of recorded optimizers to compare with."""
    folder, console = _folder(flags, study), Console()
    check_folder("--out", folder)
    plan = estimate_study_cost(study, folder, flags.training.data_dir, flags.largest, reporter_for(console))
    print_plan(study, plan, compute_study_power(plan.study, others), folder, console)
    return COMPLETED


def _train(
    flags: CompareFlags, study: Study, folder: pathlib.Path, shard: tuple[int, int], console: Console, others: int = 0
) -> Document:
    check_folder("--out", folder)
    if flags.record is not None:
        check_folder("--record", flags.record)
    if flags.executor == "local":
        choose_code_path(devices=flags.training.devices)  # before anything is written
    for line in [study.question, *protocol(study)] if study.question else protocol(study):
        print_plain(console, line)
    if (power := compute_study_power(study, others)).is_absurd:
        print_plain(console, power.description)
    return compare(
        study,
        folder,
        data_dir=flags.training.data_dir,
        executor=_executor(flags),
        progress=progress_for(console),
        shard=shard,
        largest=flags.largest,
        devices=flags.training.devices,
        record=flags.record,
        compact=flags.compact,
        only=_only(flags),
    )


def _executor(flags: CompareFlags) -> Executor:
    if flags.executor == "local":
        return LocalExecutor(compile_in_background=True, in_turn=flags.record is not None)
    return ClusterExecutor(flags.address, flags.task_cpus, flags.task_gpus)


def _check_references(flags: CompareFlags, study: Study) -> None:
    """Checks that the flags name optimizers of the study, before any training."""
    names = [contender.name for contender in study.contenders]
    check_reference("--reference", flags.reference, names)
    check_reference("--fail-if-worse-than", flags.fail_if_worse_than, names)
    for name in _only(flags):
        check_reference("--only", name, names)


def _only(flags: CompareFlags) -> list[str]:
    """Returns the names of the optimizers to train now; an empty list stands for all."""
    return [name for word in flags.only.split(",") if (name := word.strip())]


def _print_answer(
    flags: CompareFlags, results: Results, document: Document, console: Console, recorded: Sequence[str] = ()
) -> int:
    """Prints the answer, writes it to the file of --json, and returns the exit code."""
    return print_answer(
        results,
        document,
        console,
        reference=flags.reference,
        json=flags.json if jax.process_index() == 0 else None,
        fail_if_worse_than=flags.fail_if_worse_than,
        added=added_names(flags),
        recorded=recorded,
    )
