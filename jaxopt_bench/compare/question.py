"""The study that answers which optimizer to use for one problem, within a given time."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import time

from jaxopt_bench.compare.jobs import RECORDING
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.files import scratch_folder
from jaxopt_bench.optimizers import OPTIMIZERS, Constant, Cosine, Schedule
from jaxopt_bench.problems import Problem, ProblemConfig
from jaxopt_bench.runs import Options, seconds_per_step, train_population
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.study import DOCUMENT, Contender, Study, read_document

OPTIMIZERS_COMPARED = ("momentum", "adamw", "nadamw", "lion", "muon", "schedule_free_adamw")
"""SGD with momentum, and the optimizers that most often lead recent comparisons."""
BUDGETS = {8: (4, 2), 6: (3, 2), 4: (2, 2), 3: (0, 1)}
"""The numbers of trials of each optimizer, the largest first, each with the numbers of finalists and of their seeds. As
many fresh seeds as trials confirm its winner, and the finalists make as many runs: one program does all of it."""
ENOUGH_EPOCHS, MOST_EPOCHS = 10, 100
"""If runs would have fewer epochs than the first number, fewer runs are made. No run has more than the second."""
MARGIN = 1.3
"""Safety factor of time estimates: other optimizers than the measured one need more time."""
PROGRAMS = 1.3
"""Programs that are compiled for an optimizer: one for all its runs; for confirmations only the test is added."""
LEAST_TRAINING = 0.25  # share of the time, if compiling takes nearly all of it
WARMUP = 0.05  # share of the training


@dataclasses.dataclass(frozen=True)
class Costs:
    """The time that training takes on this machine.

    Attributes:
      program: seconds until the first step of a program: loading, compiling and writing.
      step: seconds a step of a run.
      evaluation: seconds that the evaluation of an epoch takes.
    """

    program: float
    step: float
    evaluation: float

    def programs(self, contenders: int) -> float:
        """Returns the seconds that all programs of a study take before their first steps."""
        return MARGIN * contenders * PROGRAMS * self.program

    def epochs(self, contenders: int, runs: int, epochs: int, steps_per_epoch: int) -> float:
        """Returns the seconds of training in a study whose contenders have so many trials; see `BUDGETS`."""
        finalists, seeds = BUDGETS[runs]
        all_runs = contenders * (2 * runs + finalists * seeds)
        return MARGIN * all_runs * epochs * (steps_per_epoch * self.step + self.evaluation)


def timed_study(
    problem: ProblemConfig, folder: pathlib.Path, minutes: float, data_dir: pathlib.Path | None, reporter: Reporter
) -> Study:
    """Returns the study in a folder; if there is none, a new study of a problem that takes about the given time.

    The budget of a new study depends on the speed of this machine. It is fixed when its folder is created.

    Args:
      problem: the problem.
      folder: the folder of the study.
      minutes: how long a new study may take.
      data_dir: the folder of the problem's data; see `ProblemConfig.load`.
      reporter: receives messages about the measurements and the budget.

    Raises:
      UserError: if the folder holds a study of another problem, or the problem cannot be loaded.
    """
    if (folder / DOCUMENT).exists():
        earlier = _earlier_study(problem, folder)
        reporter.say(f"continuing the study in {folder}, whose budget was fixed when it began")
        return earlier
    loaded = problem.load(data_dir)
    workload = Workload(name=problem.title, problem=problem, epochs=1, batch_size=batch_size(loaded.train_examples))
    reporter.say("measuring how long steps and compiling take …")
    costs = _measure(workload, data_dir)
    steps = loaded.train_examples // workload.batch_size
    runs, epochs = budget(costs, len(OPTIMIZERS_COMPARED), steps, 60 * minutes)
    count = len(OPTIMIZERS_COMPARED)
    expected = (costs.programs(count) + costs.epochs(count, runs, epochs, steps)) / 60
    late = (
        f", more than the requested {minutes:g}, because fewer runs would not be conclusive"
        if expected > minutes
        else ""
    )
    length = f"{epochs} epoch{'s' * (epochs != 1)}"
    finalists, seeds = BUDGETS[runs]
    again = f", {finalists} finalists with {seeds} seeds" if finalists else ""
    planned = f"{runs} trials{again} and {runs} confirmation seeds"
    reporter.say(f"{planned} of {length} each: about {max(expected, 1):.0f} minutes{late}")
    return study_of(dataclasses.replace(workload, epochs=epochs), loaded, runs, steps)


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
      runs: trials of each optimizer, and seeds of its confirmation; see `BUDGETS`.
      steps_per_epoch: training steps in an epoch of the workload.
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
    """Returns the largest power of two up to 128 that makes at least 20 steps an epoch; at least 8, or all examples."""
    return min(examples, max(8, min(128, 2 ** math.floor(math.log2(max(examples / 20, 1))))))


def budget(costs: Costs, contenders: int, steps_per_epoch: int, seconds: float) -> tuple[int, int]:
    """Returns how many trials and seeds, and of how many epochs, take at most so many seconds.

    There are as many as leave `ENOUGH_EPOCHS`, and then as many epochs as possible. It is never less than the smallest
    of `BUDGETS` with one epoch, and training has `LEAST_TRAINING` of the time, however long the rest takes.
    """
    left = max(seconds - costs.programs(contenders), LEAST_TRAINING * seconds)

    def most_epochs(runs: int) -> int:
        return min(MOST_EPOCHS, math.floor(left / costs.epochs(contenders, runs, 1, steps_per_epoch)))

    smallest = min(BUDGETS)
    for runs in BUDGETS:
        if most_epochs(runs) >= ENOUGH_EPOCHS:
            return runs, most_epochs(runs)
    return smallest, max(1, most_epochs(smallest))


def _measure(workload: Workload, data_dir: pathlib.Path | None) -> Costs:
    """Trains two runs for two epochs in a folder that is removed, and returns the measured times."""
    epochs = 2  # the first evaluation compiles
    base = Experiment(
        name=workload.name,
        workload=dataclasses.replace(workload, epochs=epochs),
        optimizer=OPTIMIZERS["adamw"],
        schedule=Cosine(),
        evaluate_test=False,
    )
    experiments = [dataclasses.replace(base, seed=seed) for seed in (0, 1)]
    with scratch_folder() as folder:
        began = time.perf_counter()
        runs = train_population(
            experiments,
            Options(
                runs_dir=folder,
                data_dir=data_dir,
                recording=RECORDING,
                reporter=Reporter(),
            ),
        )
        whole = time.perf_counter() - began
        steps = epochs * runs[0].steps_per_epoch
        last = [record for run in runs for record in run.metrics if record["step"] == steps]
    evaluation = sum(line["seconds"] for line in last if line["split"] in ("train_clean", "validation")) / len(runs)
    step = seconds_per_step(experiments, Options(data_dir=data_dir))
    return Costs(max(0.0, whole - len(runs) * (steps * step + epochs * evaluation)), step, evaluation)
