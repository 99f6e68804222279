"""The flags of `jaxopt-bench compare`, and which of them can be used together."""

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
"""Fields of a study that flags set to a number of at least 1."""


@dataclasses.dataclass(frozen=True)
class CompareFlags:
    """Compare optimizers: tune each with the same budget, confirm the winners with fresh seeds, and answer.

    The same command continues a study that was stopped; with more trials, seeds, repetitions, optimizers or workloads
    it trains what is new. In place of a study, --problem NAME or --dataset PATH asks which optimizer to use for one
    problem; `compare --problem NAME --help` shows the flags for that.
    """

    study: tyro.conf.Positional[str]
    """A study's name (`jaxopt-bench list studies`), a file that exports one, or a folder that holds one."""
    trials: int | None = None
    """Trials of each optimizer on each workload."""
    total_epochs: int | None = None
    """Epochs of all trials of each optimizer on each workload, in place of a number of trials."""
    trial_seeds: int | None = None
    """Seeds a trial."""
    finalists: int | None = None
    """How many of each optimizer's best trials are trained again before one is selected; 0 for none."""
    finalist_seeds: int | None = None
    """With how many other seeds each finalist is trained; these results alone select the winner."""
    seeds: int | None = None
    """Fresh seeds with which each winner is confirmed."""
    repetitions: int | None = None
    """Independent searches."""
    search: Literal["sobol", "random", "grid", "halving"] | None = None
    """How trials are drawn. halving draws as sobol does, and trains only the best trials to the end: after each rung (a
    number of epochs), the best of them continue, and the others stop."""
    halving_factor: int | None = None
    """With --search halving: one in so many trials continues after each rung."""
    halving_rungs: int | None = None
    """With --search halving: how many rungs there are, at most."""
    epochs: int | None = None
    """Epochs of every run, in place of the workloads' own."""
    workloads: tuple[str, ...] = ()
    """Workloads of the study, by name; all by default."""
    optimizers: tuple[str, ...] = ()
    """Optimizers of the study, by name; all by default."""
    add: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An optimizer to compare as well, tuned like the others: a name, FILE.py:FUNCTION or MODULE:FUNCTION."""
    space: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME.FIELD=VALUES: where to search a field of an optimizer (FIELD) or of its schedule (schedule.FIELD): a range
    (mine.learning_rate=1e-4..1e-1), values (mine.b2=0.9,0.99), or one value, at which it is fixed."""
    schedule: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=SCHEDULE: train an optimizer under another schedule, such as mine=constant or mine=cosine:warmup=1."""
    baselines: pathlib.Path | None = None
    """Recorded results of this study, a folder or the name of those that come with the project: only what --add names
    is trained, and compared with them."""
    reference: str | None = None
    """The optimizer with which others are compared over several workloads; adamw by default, if the study has it."""
    json: pathlib.Path | None = None
    """Write the answer to this file as well, as JSON; `jaxopt_bench/verdict/export.py` describes its fields. The exit
    code stays 0 whatever the answer is."""
    fail_if_worse_than: str | None = None
    """With --add: exit with code 4 if an added optimizer is significantly worse than this one: on some workload, by the
    test of the tables, or over all workloads, by Wilcoxon's signed-rank test of its mean scores. The p values of all
    these questions are corrected together (Holm, 5%), so chance alone gives code 4 in at most 5% of studies. An added
    optimizer whose trials all diverge on a workload is worse. An incomplete study is not judged."""
    record: pathlib.Path | None = None
    """Continue the study from its recorded results in this folder, which another machine may have written; or begin
    such a record. Only what it lacks is trained, in --out. An optimizer is added as soon as all its runs on a workload
    have finished, so --out can be a new folder each time. A kill leaves the old record or the new one."""
    compact: bool = False
    """With --record: leave out single test examples, and most lines of trials; see `jaxopt-bench results --help`."""
    only: Annotated[str, tyro.conf.arg(metavar="OPTIMIZER[,OPTIMIZER]")] = ""
    """Train only these optimizers of the study now, and leave the others for later."""
    widen: bool = False
    """Extend search spaces beyond the edges towards which the results of this study still improve, by a decade each.
    All optimizers get the same number of further trials, and the trials that exist stay valid. If you use it again, the
    spaces are extended further."""
    out: pathlib.Path | None = None
    """The study's folder; studies/NAME by default."""
    plan: bool = False
    """Print how many runs the study has, how long they take, how much disk space they need, and how large a difference
    between optimizers it can show. Nothing is trained or written; some seconds of training are measured."""
    largest: MostRuns = None
    training: Annotated[TrainingFlags, tyro.conf.arg(name="")] = dataclasses.field(default_factory=TrainingFlags)
    executor: Literal["local", "ray"] = "local"
    """Where runs are trained: on this machine's devices, or on a Ray cluster, whose nodes share the study's folder."""
    address: str | None = None
    """The Ray cluster: auto, on a node of it, or its head's HOST:PORT; by default $RAY_ADDRESS, or a new one here."""
    task_cpus: float | None = None
    """CPUs of a Ray task, which is one population; by default a whole node's, or 1 where it has a GPU."""
    task_gpus: float | None = None
    """GPUs of a Ray task; by default 1 where the cluster has any."""
    shard: Annotated[str, tyro.conf.arg(metavar="I/N")] = "0/1"
    """This process does the I-th part, from 0, of N that share the folder, as of a SLURM array."""


@dataclasses.dataclass(frozen=True)
class QuestionFlags(CompareFlags):
    """Find out which optimizer to use for a problem: compare six of them within some minutes.

    The budget is chosen from measured times when the study begins, and recorded in its folder. The same command
    continues it.
    """

    study: tyro.conf.Suppress[str] = ""
    problem: Annotated[ProblemConfig, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Classification)
    minutes: float = 10.0
    """How long a new study may take, about."""


def check_flags(flags: CompareFlags) -> tuple[int, int]:
    """Returns the index of this process's part of a study, and the number of parts.

    Raises:
      UserError: for a number that is not accepted, and for flags that cannot be used together.
    """
    for name in (*NUMBERS, "epochs", "largest"):
        if getattr(flags, name) is not None:
            check_at_least_one(f"--{name.replace('_', '-')}", getattr(flags, name))
    for name in ("address", "task_cpus", "task_gpus"):
        if flags.executor == "local" and getattr(flags, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is of a Ray cluster; accepted: with --executor ray.")
    check_forms(flags.space, flags.schedule)
    shard = parse_index_and_count("--shard", flags.shard, "as 0/4")
    if flags.training.processes.process is not None and (flags.executor != "local" or shard != (0, 1)):
        raise UserError("--process goes with neither --executor ray nor --shard; accepted: one of them.")
    if flags.plan and (flags.executor != "local" or flags.training.processes.process is not None):
        raise UserError("--plan measures this machine alone. Expected neither --executor ray nor --process beside it.")
    if flags.baselines is not None and not flags.add:
        raise UserError("--baselines has nothing to compare with them; accepted: with --add OPTIMIZER.")
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
            "--widen decides once, by the results of the whole study. Expected no --shard with it. When it has begun, "
            "the same command with --shard and without --widen continues the study."
        )
    _check_record(flags, shard)
    return shard


def added_names(flags: CompareFlags) -> tuple[str, ...]:
    """Returns the names of the added optimizers."""
    return tuple(reference.rpartition(":")[2] for reference in flags.add)


def _check_record(flags: CompareFlags, shard: tuple[int, int]) -> None:
    """Raises an error for a flag that cannot be used with --record or --only."""
    together = {
        "--baselines": flags.baselines is not None,
        "--widen": flags.widen,
        "--plan": flags.plan,
        "--problem or --dataset": isinstance(flags, QuestionFlags),
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
