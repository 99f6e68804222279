"""One run, from an experiment to its record."""

from __future__ import annotations

import pathlib

from rich.console import Console

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.runs.compilation import keep_compiled_programs
from jaxopt_bench.runs.directory import choose_directory, locked
from jaxopt_bench.runs.evaluation import evaluate_finished
from jaxopt_bench.runs.forms import check_optimizer
from jaxopt_bench.runs.load import Run, finished, load_run
from jaxopt_bench.runs.member import Member
from jaxopt_bench.runs.population import check_not_shared
from jaxopt_bench.runs.progress import Reporter, reporter_for
from jaxopt_bench.runs.session import Recording, Session
from jaxopt_bench.runs.splits import load_task
from jaxopt_bench.training import CodePath, abstract_states, check_batch


def train(
    experiment: Experiment,
    *,
    runs_dir: str | pathlib.Path = "runs",
    data_dir: str | pathlib.Path | None = None,
    fresh: bool = False,
    recording: Recording | None = None,
    reporter: Reporter | None = None,
    code_path: CodePath | None = None,
) -> Run:
    """Trains an experiment, or continues it from its last checkpoint, or returns it where it has finished.

    A finished run that lacks the evaluation which `recording` asks for gets it from its last checkpoint.

    Args:
      experiment: what to train.
      runs_dir: the run's directory is `<runs_dir>/<experiment.name>/<experiment.digest>`.
      data_dir: where TFDS keeps its data sets; TFDS's own default where None.
      fresh: begin another run beside those there are.
      recording: what and how often to write; the defaults of `Recording` where None.
      reporter: what is told of the progress; by default a live display on a terminal, else plain lines.
      code_path: how to compute it; as suits the backend where None.

    Returns:
      The run. Its summary's status is "completed" or "diverged".

    Raises:
      UserError: for a mistake the user can mend, such as a data set or a checkpoint that is not there.
      Interrupted: after SIGINT or SIGTERM, once a checkpoint is written.
    """
    reporter, recording = reporter or reporter_for(Console()), recording or Recording()
    data_dir = None if data_dir is None else pathlib.Path(data_dir)
    directory = choose_directory(experiment, pathlib.Path(runs_dir), fresh)
    if finished(directory):
        reporter.say("finished earlier; fresh=True, or --fresh, trains it again")
        if recording.evaluation:
            evaluate_finished({directory: experiment}, data_dir, code_path, reporter)
        return load_run(directory)
    check_not_shared(directory)
    check_optimizer(experiment, reporter.say)
    keep_compiled_programs()
    task, splits = load_task(experiment, data_dir, code_path)
    check_batch(task.code_path, 1, experiment.batch_size)
    abstract_states(task)  # a model that does not fit the examples fails here, before anything is written
    directory.mkdir(parents=True, exist_ok=True)
    member = Member(task, directory)
    with locked(directory):
        if not finished(directory):  # as another process may have made it in the meantime
            with Session([member], splits, directory, recording, reporter) as session:
                session.run()
    return load_run(directory)
