"""The flags of `jaxopt-bench compare`, and checks of their combinations."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from jaxopt_bench.cli.answer import check_json
from jaxopt_bench.cli.flags import check_at_least_one, parse_index_and_count
from jaxopt_bench.cli.training_flags import MostRuns, TrainingFlags
from jaxopt_bench.compare import check_forms
from jaxopt_bench.errors import UserError
from jaxopt_bench.problems import Classification, ProblemConfig

NUMBERS = ("trials", "total_epochs", "trial_seeds", "finalist_seeds", "seeds", "repetitions")
"""Fields of a study for which there are flags with a number of at least 1."""


FROM_STUDY = tyro.conf.arg(help_behavior_hint="(default: as in the study)")
StudyNumber = Annotated[int | None, FROM_STUDY]
"""The type of a flag that replaces a number of the study."""


@dataclasses.dataclass(frozen=True)
class CompareFlags:
    """Compare optimizers: tune each with the same budget, confirm the winners with fresh seeds, and print the answer.

    The same command continues a stopped study. With more trials, seeds, repetitions, optimizers or workloads, it trains
    only the new runs. Instead of a study, --problem NAME or --dataset PATH finds out which optimizer to use for one
    problem; `compare --problem NAME --help` shows the flags for that.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="STUDY")]
    """A study's name (`jaxopt-bench list studies`), a file that exports a study, or a folder with a study."""
    trials: StudyNumber = None
    """Number of trials of each optimizer on each workload."""
    total_epochs: StudyNumber = None
    """Total epochs of all trials of each optimizer on each workload, instead of a number of trials."""
    trial_seeds: StudyNumber = None
    """Number of seeds of each trial."""
    finalists: StudyNumber = None
    """Number of best trials of each optimizer that are trained again before one of them is selected; 0 for none."""
    finalist_seeds: StudyNumber = None
    """Number of other seeds with which each finalist is trained; only these results select the winner."""
    seeds: StudyNumber = None
    """Number of fresh seeds with which each winner is confirmed."""
    repetitions: StudyNumber = None
    """Number of independent searches."""
    search: Annotated[Literal["sobol", "random", "grid", "halving"] | None, FROM_STUDY] = None
    """The method that draws trials. halving draws like sobol, but trains only the best trials to the end: after each
    rung (a number of epochs), the best trials continue, and the others stop."""
    halving_factor: StudyNumber = None
    """With --search halving: after each rung, one in this many trials continues."""
    halving_rungs: StudyNumber = None
    """With --search halving: the maximum number of rungs."""
    epochs: StudyNumber = None
    """Number of epochs of every run."""
    workloads: tuple[str, ...] = ()
    """Names of the workloads of the study to use; all by default."""
    optimizers: tuple[str, ...] = ()
    """Names of the optimizers of the study to use; all by default."""
    add: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Another optimizer to compare, tuned like the others: a name, FILE.py:FUNCTION or MODULE:FUNCTION."""
    space: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME.FIELD=VALUES: the search range for a field of an optimizer (FIELD) or of its schedule (schedule.FIELD): a
    range (mine.learning_rate=1e-4..1e-1), values (mine.b2=0.9,0.99), or one fixed value."""
    schedule: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=SCHEDULE: train an optimizer with another schedule, such as mine=constant or mine=cosine:warmup=1."""
    baselines: pathlib.Path | None = None
    """Recorded results of this study: a folder, or the name of results that come with the project. Only the optimizers
    of --add are trained, and they are compared with the recorded ones."""
    reference: str | None = None
    """The optimizer to compare the others with over several workloads; adamw by default, if the study has it."""
    json: pathlib.Path | None = None
    """Also write the answer to this file, as JSON; `jaxopt_bench/verdict/export.py` describes its fields. This does not
    change the exit code."""
    fail_if_worse_than: str | None = None
    """With --add: exit with code 4 if an added optimizer is significantly worse than this one: on a workload, by the
    test of the tables, or over all workloads, by Wilcoxon's signed-rank test of its mean scores. All these p values are
    corrected together (Holm, 5%), so chance alone gives code 4 in at most 5% of studies. An added optimizer is worse if
    all its trials on a workload diverge. An incomplete study is not judged."""
    record: pathlib.Path | None = None
    """Continue the study from the recorded results in this folder, which another machine may have written, or start
    such a record. Only missing runs are trained, in --out. An optimizer is added to the record as soon as all its runs
    on a workload have finished, so --out can be a new folder each time. If the command is killed, the record is still
    valid: it is the old or the new one."""
    compact: bool = False
    """With --record: leave out single test examples and most lines of trials; see `jaxopt-bench results --help`."""
    only: Annotated[str, tyro.conf.arg(metavar="OPTIMIZER[,OPTIMIZER]")] = ""
    """Train only these optimizers of the study now, and leave the others for later."""
    widen: bool = False
    """Extend search spaces by a factor of 10 (on a linear scale: by half of the range) beyond each edge towards which
    the results of this study still improve. All optimizers get the same number of additional trials, and existing
    trials stay valid. If you use this flag again, the spaces are extended further."""
    out: pathlib.Path | None = None
    """The study's folder; studies/NAME by default."""
    plan: bool = False
    """Print the number of runs of the study, their time, their disk space, and the size of the differences between
    optimizers that the study can show. Nothing is trained or written, except for some seconds of training to measure
    the time."""
    largest: MostRuns = None
    training: Annotated[TrainingFlags, tyro.conf.arg(name="")] = dataclasses.field(default_factory=TrainingFlags)
    executor: Literal["local", "ray"] = "local"
    """The place of training: this machine's devices, or a Ray cluster whose nodes share the study's folder."""
    address: str | None = None
    """The Ray cluster: auto (on a node of it), or HOST:PORT of its head; by default $RAY_ADDRESS, or a new one here."""
    task_cpus: float | None = None
    """Number of CPUs of a Ray task, which is one population; by default those of a node, or 1 if it has a GPU."""
    task_gpus: float | None = None
    """Number of GPUs of a Ray task; by default 1 if the cluster has GPUs."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "0/1"
    """This process does part I, counted from 0, of N parts that share the folder, as in a SLURM array."""


@dataclasses.dataclass(frozen=True)
class TimedStudyFlags(CompareFlags):
    """Find out which optimizer to use for a problem: compare six optimizers within some minutes.

    The budget is chosen from measured times when the study starts, and recorded in its folder. The same command
    continues the study.
    """

    study: tyro.conf.Suppress[str] = ""
    problem: Annotated[ProblemConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Classification)
    minutes: float = 10.0
    """Approximate time limit of a new study, in minutes."""


def check_flags(flags: CompareFlags) -> tuple[int, int]:
    """Returns the index of this process's part of a study, and the number of parts.

    Raises:
      UserError: for an invalid number, or for flags that cannot be used together.
    """
    for name in (*NUMBERS, "epochs", "largest"):
        if getattr(flags, name) is not None:
            check_at_least_one(f"--{name.replace('_', '-')}", getattr(flags, name))
    for name in ("address", "task_cpus", "task_gpus"):
        if flags.executor == "local" and getattr(flags, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is for a Ray cluster. Use it with --executor ray.")
    check_forms(flags.space, flags.schedule)
    shard = parse_index_and_count("--shard", flags.shard, "as 0/4")
    if flags.training.processes.process is not None and (flags.executor != "local" or shard != (0, 1)):
        raise UserError("--process cannot be used with --executor ray or --shard. Expected one of the three.")
    if flags.plan and (flags.executor != "local" or flags.training.processes.process is not None):
        raise UserError("--plan measures only this machine. Expected neither --executor ray nor --process with it.")
    if flags.baselines is not None and not flags.add:
        raise UserError("--baselines needs an optimizer to compare with them. Use it with --add OPTIMIZER.")
    if flags.fail_if_worse_than is not None and not flags.add:
        raise UserError("--fail-if-worse-than needs an added optimizer. Expected --add OPTIMIZER, too.")
    if flags.fail_if_worse_than in added_names(flags):
        raise UserError(
            f"--fail-if-worse-than is {flags.fail_if_worse_than}, which --add names, too. Expected another optimizer."
        )
    check_json(flags.json)
    if flags.widen and flags.baselines is not None:
        raise UserError("--widen would give newcomers more trials than the baselines have. Expected no --baselines.")
    if flags.widen and shard != (0, 1):
        raise UserError(
            "--widen needs the results of the whole study. Expected no --shard. Start with --widen in one process. "
            "Then the same command with --shard and without --widen can continue the study in several processes."
        )
    _check_record(flags, shard)
    return shard


def added_names(flags: CompareFlags) -> tuple[str, ...]:
    """Returns the names of the added optimizers."""
    return tuple(reference.rpartition(":")[2] for reference in flags.add)


def _check_record(flags: CompareFlags, shard: tuple[int, int]) -> None:
    """Raises an error if a flag cannot be used with --record or --only."""
    together = {
        "--baselines": flags.baselines is not None,
        "--widen": flags.widen,
        "--plan": flags.plan,
        "--problem or --dataset": isinstance(flags, TimedStudyFlags),
    }
    alone = {
        "--shard": shard != (0, 1),
        "--executor ray": flags.executor != "local",
        "--process": flags.training.processes.process is not None,
    }
    for flag, refused in (("--only", together if flags.only else {}), ("--record", together | alone)):
        other = next((name for name, given in refused.items() if given), None)
        if other is not None and (flag == "--only" or flags.record is not None):
            raise UserError(f"{flag} cannot be used with {other}. Expected one of the two.")
    if flags.compact and flags.record is None:
        raise UserError("--compact needs a record to write. Expected --record FOLDER, too.")
