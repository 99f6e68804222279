"""The study that answers which optimizer to use for one problem, within a given time."""

from __future__ import annotations

import dataclasses
import math
import pathlib

from rich.console import Console

from jaxopt_bench.compare.costs import Costs, measure_costs
from jaxopt_bench.compare.power import compute_study_power
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.formatting import format_count
from jaxopt_bench.optimizers import OPTIMIZERS, Constant, Cosine, Schedule
from jaxopt_bench.problems import Problem, ProblemConfig
from jaxopt_bench.runs import Options
from jaxopt_bench.runs.progress import Reporter, reporter_for
from jaxopt_bench.study import DOCUMENT, Contender, Study, read_document

OPTIMIZERS_COMPARED = ("momentum", "adamw", "nadamw", "lion", "muon", "schedule_free_adamw")
"""SGD with momentum, and the optimizers that most often lead recent comparisons."""
BUDGETS = {8: (4, 2), 6: (3, 2), 4: (2, 2), 3: (0, 1)}
"""The numbers of trials of each optimizer, the largest first, each with the numbers of finalists and of their seeds.
The number of fresh seeds to confirm the winner is the number of trials. If there are finalists, they need the same
number of runs, so one program can train all of them."""
ENOUGH_EPOCHS, MOST_EPOCHS = 10, 100
"""If runs would have fewer epochs than the first number, fewer runs are made. The second is the maximum for a run."""
LEAST_TRAINING = 0.25  # share of the time, if compiling takes nearly all of it
WARMUP = 0.05  # share of the training


def timed_study(
    problem: ProblemConfig,
    folder: str | pathlib.Path,
    minutes: float = 10.0,
    data_dir: pathlib.Path | None = None,
    reporter: Reporter | None = None,
) -> Study:
    """Returns the study in a folder; if there is no study, a new study of a problem for about the given time.

    The budget of a new study depends on the speed of this machine. It is fixed when its folder is created.

    Args:
      problem: the problem.
      folder: the folder of the study.
      minutes: the approximate time of a new study, in minutes.
      data_dir: the folder of the problem's data; see `ProblemConfig.load`.
      reporter: receives messages about the measurements and the budget; they are printed if it is None.

    Raises:
      UserError: if the folder holds a study of another problem, or the problem cannot be loaded.
    """
    folder, reporter = pathlib.Path(folder), reporter or reporter_for(Console())
    if (folder / DOCUMENT).exists():
        earlier = _earlier_study(problem, folder)
        reporter.say(f"continuing the study in {folder}, whose budget was fixed when it began")
        return earlier
    loaded = problem.load(data_dir)
    workload = Workload(name=problem.title, problem=problem, epochs=1, batch_size=batch_size(loaded.train_examples))
    reporter.say("measuring how long steps and compiling take …")
    measured = Experiment(
        name=workload.name,
        workload=workload,
        optimizer=OPTIMIZERS["adamw"],
        schedule=Cosine(),
        evaluate_test=False,
    )
    costs = measure_costs(measured, Options(data_dir=data_dir))
    count = len(OPTIMIZERS_COMPARED)
    runs, epochs = budget(costs, count, 60 * minutes)
    expected = (costs.programs(count, again=count) + costs.epochs(count * 2 * runs * epochs)) / 60
    late = (
        f", more than the requested {minutes:g}, because fewer runs would not be conclusive"
        if expected > minutes
        else ""
    )
    length = format_count(epochs, "epoch")
    finalists, seeds = BUDGETS[runs]
    again = f", {finalists} finalists with {seeds} seeds" if finalists else ""
    planned = f"{runs} trials{again} and {runs} confirmation seeds"
    time = max(round(expected), 1)
    reporter.say(f"{planned} of {length} each: about {format_count(time, 'minute')}{late}")
    study = study_of(dataclasses.replace(workload, epochs=epochs), loaded, runs, costs.steps_per_epoch)
    reporter.say(compute_study_power(study).description)
    return study


def _earlier_study(problem: ProblemConfig, folder: pathlib.Path) -> Study:
    """Returns the study in a folder, which must be about the given problem."""
    earlier = read_document(folder / DOCUMENT).study
    known = [workload.problem.to_json() for workload in earlier.workloads]
    if known != [problem.to_json()]:
        raise UserError(
            f"{folder} holds a study of another problem: {', '.join(w.problem.title for w in earlier.workloads)}. "
            "Expected --out FOLDER with another folder."
        )
    return earlier


def study_of(workload: Workload, problem: Problem, runs: int, steps_per_epoch: int) -> Study:
    """Returns the study of `OPTIMIZERS_COMPARED` on one workload.

    Args:
      workload: the problem with its epochs and batch size.
      problem: its problem, loaded.
      runs: the number of trials of each optimizer, and of seeds of its confirmation; see `BUDGETS`.
      steps_per_epoch: the number of training steps in an epoch of the workload.
    """
    steps = max(1, round(WARMUP * workload.epochs * steps_per_epoch))
    cosine = Cosine(warmup=min(steps / steps_per_epoch, workload.epochs / 2))

    def schedule(name: str) -> Schedule:
        return Constant(cosine.warmup) if OPTIMIZERS[name].schedule.is_constant else cosine

    finalists, seeds = BUDGETS[runs]
    return Study(
        name=workload.name,
        question=f"Which optimizer should be used for {workload.name}?",
        workloads=(workload,),
        contenders=tuple(
            Contender(name=name, optimizer=OPTIMIZERS[name], schedule=schedule(name)) for name in OPTIMIZERS_COMPARED
        ),
        trials=runs,
        finalists=finalists,
        finalist_seeds=seeds,
        seeds=runs,
        select="train_clean_loss" if problem.validation is None else "validation_loss",
    )


def batch_size(examples: int) -> int:
    """Returns the largest power of two up to 128 with at least 20 steps per epoch; at least 8, or all examples."""
    return min(examples, max(8, min(128, 2 ** math.floor(math.log2(max(examples / 20, 1))))))


def budget(costs: Costs, contenders: int, seconds: float) -> tuple[int, int]:
    """Returns the largest budget of a study that takes about the given time.

    It has as many trials as leave at least `ENOUGH_EPOCHS` for each run, and then as many epochs as possible, at most
    `MOST_EPOCHS`. If no number of trials leaves so many epochs, it has the smallest number of trials in `BUDGETS`, and
    at least one epoch. At least the share `LEAST_TRAINING` of the time is for training, even if compiling takes nearly
    all of the time. So the study can take longer than the given time.

    Args:
      costs: the measured times of compiling and of training.
      contenders: the number of contenders.
      seconds: the given time.

    Returns:
      The number of trials of each contender, a key of `BUDGETS`; and the number of epochs of each run.
    """
    left = max(seconds - costs.programs(contenders, again=2 * contenders), LEAST_TRAINING * seconds)

    def most_epochs(runs: int) -> int:
        return min(MOST_EPOCHS, math.floor(left / costs.epochs(contenders * _runs(runs))))

    smallest = min(BUDGETS)
    for runs in BUDGETS:
        if most_epochs(runs) >= ENOUGH_EPOCHS:
            return runs, most_epochs(runs)
    return smallest, max(1, most_epochs(smallest))


def _runs(trials: int) -> int:
    """Returns the number of runs of a contender with this many trials; see `BUDGETS`."""
    finalists, seeds = BUDGETS[trials]
    return 2 * trials + finalists * seeds
