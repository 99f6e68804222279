"""The time to resume an interrupted population, and the number of reads of each of its files."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

import jax

from experiments.speed.measure.process import in_new_process
from experiments.speed.measure.reads import ReadCounter, count_reads
from experiments.speed.measure.stopping import StoppedAt
from experiments.speed.measure.timing import Spread
from experiments.speed.output.document import Row
from experiments.speed.output.hardware import busy_elsewhere
from experiments.speed.sections.bench import Bench
from jaxopt_bench import Experiment, Metric, Workload, files, train_population
from jaxopt_bench.optimizers import OPTIMIZERS, SGD
from jaxopt_bench.problems import Rosenbrock
from jaxopt_bench.runs import Interrupted, Options, Recording, Reporter

STEPS_PER_EPOCH, EPOCHS = 100, 2
LINE_EVERY = 5  # steps; the reporter is called at least this often, so that each resumption has some steps left
PROBLEM = Rosenbrock(examples=STEPS_PER_EPOCH)  # so small that only the bookkeeping needs time
OPTIMIZER = SGD(learning_rate=1e-4)


@dataclasses.dataclass(frozen=True)
class Resumed:
    """The measurements of a resumption.

    Attributes:
      start_seconds: from the call until the population was ready: checkpoint restored, records opened, configs written.
      start_processor_seconds: the processor time of this process in this period. Other programs affect it little.
      step_seconds: from the call until the first new steps were made. Compiled programs come from the cache.
      reads: the number of times that Python opened each file in the runs' folder for reading until then, by its path.
    """

    start_seconds: float
    start_processor_seconds: float
    step_seconds: float
    reads: Mapping[str, int]


def rows(bench: Bench, sizes: Sequence[int], repeats: int) -> Iterator[Row]:
    """Yields a row for each size of the population. A population is started once and resumed several times.

    Each resumption runs in its own process, and is interrupted again after its first steps.
    """
    for members in sizes:
        busy = busy_elsewhere()
        with tempfile.TemporaryDirectory() as folder:
            in_new_process(_begin, members, pathlib.Path(folder))
            resumed = [in_new_process(_resume, members, pathlib.Path(folder)) for _ in range(repeats)]
        yield {
            "section": "resume",
            "problem": PROBLEM.title,
            "optimizer": OPTIMIZERS.name_of(OPTIMIZER),
            "backend": bench.backend,
            "members": members,
            "repeats": repeats,
            **Spread.of([each.start_seconds for each in resumed]).fields("seconds_to_start"),
            **Spread.of([each.start_processor_seconds for each in resumed]).fields("processor_seconds_to_start"),
            **Spread.of([each.step_seconds for each in resumed]).fields("seconds_to_first_step"),
            "busy_elsewhere": busy,
            **count_reads(resumed[0].reads),
        }


class Watch(StoppedAt):
    """Records the times at which a population is ready and has made its first steps, and then interrupts it."""

    def __init__(self, counter: ReadCounter):
        super().__init__(0)
        self.counter = counter
        self.began, self.processor_began = time.perf_counter(), time.process_time()
        self.start_seconds = self.start_processor_seconds = 0.0
        self.resumed: Resumed | None = None

    def start(self, title: str, step: int, steps: int, steps_per_epoch: int, metrics: Sequence[Metric]) -> None:
        """See `Reporter`."""
        self.start_seconds = time.perf_counter() - self.began
        self.start_processor_seconds = time.process_time() - self.processor_began

    def advance(self, step: int, examples_per_second: float, seconds_left: float) -> None:
        """See `Reporter`."""
        if self.resumed is None:
            seconds = time.perf_counter() - self.began
            reads = dict(self.counter.reads)
            self.resumed = Resumed(self.start_seconds, self.start_processor_seconds, seconds, reads)
        super().advance(step, examples_per_second, seconds_left)


def _begin(members: int, folder: pathlib.Path) -> None:
    """Trains a population until it is in its last epoch, and interrupts it there."""
    _train_until_interrupted(members, folder, StoppedAt((EPOCHS - 1) * STEPS_PER_EPOCH + 1))


def _resume(members: int, folder: pathlib.Path) -> Resumed:
    """Resumes the population, interrupts it after its first steps, and returns the measurements."""
    jax.devices()  # starts JAX, which is not timed
    watch = Watch(ReadCounter(folder / "runs"))
    _train_until_interrupted(members, folder, watch)
    assert watch.resumed is not None, "an interrupted population has made steps"
    return watch.resumed


def _train_until_interrupted(members: int, folder: pathlib.Path, reporter: Reporter) -> None:
    """Trains, or resumes, the population in a folder. The folder also contains the compiled programs.

    Raises:
      RuntimeError: if it was not interrupted.
    """
    os.environ[files.CACHE] = str(folder / "cache")
    workload = Workload(problem=PROBLEM, epochs=EPOCHS, batch_size=1)
    one = Experiment(name="resumed", workload=workload, optimizer=OPTIMIZER)
    experiments = [dataclasses.replace(one, seed=seed) for seed in range(members)]
    recording = Recording(log_every=LINE_EVERY, tensorboard=False)
    options = Options(runs_dir=folder / "runs", recording=recording, reporter=reporter)
    with contextlib.suppress(Interrupted):
        train_population(experiments, options)
        raise RuntimeError(f"a population of {members} was trained to its end; it should have been interrupted")
