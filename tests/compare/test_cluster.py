"""Studies on a Ray cluster have the same results as on one machine, even if workers and nodes fail.

These tests need Ray (the extra `ray`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from jaxopt_bench import Experiment, UserError, load_run
from jaxopt_bench.compare import ClusterExecutor, Progress, compare, worker
from jaxopt_bench.compare.jobs import RECORDING, Job, JobOptions
from jaxopt_bench.compare.worker import SerializedJob, WorkerSettings, perform_patiently, work
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import Axis, Cosine, Space, load
from jaxopt_bench.problems import Classification
from jaxopt_bench.runs import Interrupted, LockedError, lock_directory
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from jaxopt_bench.study import Contender, Study, plan_trials, read_document, units
from jaxopt_bench.training.code_path import LAYERS
from tests.tasks import changed

ray: Any = pytest.importorskip("ray")
cluster_utils: Any = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # from JAX, when Ray starts processes

ROOT = pathlib.Path(__file__).parents[2]
EPOCHS = 12
OFTEN = dataclasses.replace(RECORDING, checkpoint_seconds=0)  # a checkpoint at the end of each epoch
NODE = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
MINE = """
import optax

def heavy(learning_rate: float, momentum: float = 0.9):
    return optax.sgd(learning_rate, momentum)
"""


@pytest.fixture(scope="module", autouse=True)
def layers() -> Iterator[None]:
    """Selects the layers that round the same with any number of threads, even if oneDNN's layers are built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LAYERS, "pure")
        yield


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Yields a cluster of two nodes with one CPU each, on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))  # nodes inherit this process's environment, and workers their node's
        made = cluster_utils.Cluster(True, head_node_args=NODE)
        made.add_node(**NODE)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def study(tiny: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Returns a study of two settings of a user's optimizer, in one program, with two trials and two seeds each."""
    file = tmp_path_factory.mktemp("mine") / "my_optimizer.py"
    file.write_text(MINE)
    heavy, rates = load(f"{file}:heavy"), Space({"optimizer.learning_rate": Axis(1e-3, 1e-1, "log", "ours")})
    contenders = {"light": heavy(learning_rate=0.1, momentum=0.5), "heavy": heavy(learning_rate=0.1)}
    plain = Classification(model=tiny.workload.problem.model, label_smoothing=0.1)  # type: ignore[attr-defined]
    return Study(
        name="small",
        workloads=(Workload(name="tiny", problem=plain, epochs=EPOCHS, batch_size=64),),
        contenders=tuple(Contender(name=n, optimizer=o, schedule=Cosine(), space=rates) for n, o in contenders.items()),
        trials=2,
        finalists=2,
        finalist_seeds=1,  # 2 finalists with 1 seed: as many runs as trials and as confirmations
        seeds=2,
    )


@pytest.fixture(scope="module")
def expected(study: Study, digits_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns the folder of the study as trained by this process alone."""
    folder = tmp_path_factory.mktemp("local")
    compare(study, folder, data_dir=digits_dir, largest=2)
    return folder


def assert_same(folder: pathlib.Path, expected: pathlib.Path) -> None:
    """Asserts that a study, or a part of one, has the same winners and metrics as another, to the bit.

    This holds for this network with 1, 2 and 16 threads. Larger networks may round differently with another number.
    """
    ours, theirs = read_document(folder / "study.json"), read_document(expected / "study.json")
    assert ours.selections
    assert all(selection in theirs.selections for selection in ours.selections)
    assert {run.phase for run in ours.runs} == {"trial", "finalist", "confirmation"}
    for run in ours.runs:
        assert run in theirs.runs
        assert metrics(folder / run.path) == metrics(expected / run.path)


def metrics(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns a run's metrics without timings."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "examples_per_second")} for r in load_run(path).metrics]


def environments(folder: pathlib.Path) -> list[list[dict[str, Any]]]:
    """Returns the environments of each run of a study, in the order of training."""
    runs = read_document(folder / "study.json").runs
    return [load_run(folder / run.path).config["environments"] for run in runs]


@dataclasses.dataclass
class Cut:
    """The state of a population when an action was applied to the process that trained it.

    Attributes:
      step: the step of its last checkpoint.
      lines: the metrics of each run up to that step, with timings, which a second training would not repeat.
    """

    step: int
    lines: dict[pathlib.Path, list[dict[str, Any]]]


@contextlib.contextmanager
def once_there_is_a_checkpoint(
    folder: pathlib.Path,
    act: Callable[[int], object],
    of: Callable[[int], bool] = lambda process: True,
    after: int = 0,
) -> Iterator[list[Cut]]:
    """Applies an action to a process that trains a population, after it has written a checkpoint.

    Args:
      folder: the folder of the study.
      act: the action, which gets the process id.
      of: returns whether the action applies to a process, by its id.
      after: the checkpoint must be of a later step.

    Yields:
      The state of the population, in a list that is empty until the action has been applied.
    """
    cuts: list[Cut] = []
    over = threading.Event()

    def watch() -> None:
        while not cuts and not over.wait(0.01):
            for home in folder.glob("trials/*/population-*"):
                if max(checkpoint_steps(home / "checkpoints"), default=0) <= after:
                    continue
                process = int((home / "lock").read_text().split()[1])
                if of(process):
                    act(process)
                    cuts.append(cut_of(home))
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield cuts
    finally:
        over.set()
        watcher.join()


def cut_of(home: pathlib.Path) -> Cut:
    """Returns the current state of a population."""
    step = max(checkpoint_steps(home / "checkpoints"))
    runs = [load_run(config.parent) for config in home.parent.glob("*/config.json")]
    members = [run for run in runs if run.checkpoints.folder == home / "checkpoints"]
    return Cut(step, {run.path: [line for line in run.metrics if line["step"] <= step] for run in members})


def assert_went_on(cut: Cut) -> None:
    """Asserts that a population was resumed from its last checkpoint; an epoch has 20 steps."""
    assert 0 < cut.step < EPOCHS * 20
    assert len(cut.lines) == 2
    for run, lines in cut.lines.items():
        assert lines
        assert load_run(run).metrics[: len(lines)] == lines


class JobRecorder(Progress):
    """Records the jobs that have begun and ended."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    def begin(self, job: Job) -> Any:
        self.begun.append(f"{job.kind} {job.unit.label}")
        return super().begin(job)

    def end(self, job: Job) -> None:
        self.ended.append(f"{job.kind} {job.unit.label}")


@pytest.mark.slow
def test_a_study_on_a_cluster_has_the_same_results_as_on_one_machine(
    nodes, study, expected, tmp_path, digits_dir, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = JobRecorder()
    compare(study, "here", data_dir=digits_dir, largest=2, executor=ClusterExecutor(nodes.address), progress=told)
    assert_same(tmp_path / "here", expected)
    assert sorted(told.begun) == sorted(told.ended)
    assert len(told.begun) == 2 * 3  # trials, finalists and confirmations
    assert {place["threads"] for run in environments(tmp_path / "here") for place in run} == {1}
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_search_by_halving_on_a_cluster_has_the_same_results_as_on_one_machine(nodes, study, tmp_path, digits_dir):
    one = dataclasses.replace(study, contenders=study.contenders[:1], trials=4, seeds=1)
    halving = dataclasses.replace(one, search="halving", halving_rungs=3)
    told = JobRecorder()
    compare(halving, tmp_path / "local", data_dir=digits_dir)
    cluster = ClusterExecutor(nodes.address)
    compare(halving, tmp_path / "cluster", data_dir=digits_dir, executor=cluster, progress=told)
    assert_same(tmp_path / "cluster", tmp_path / "local")
    assert told.ended == ["trial tiny, light"] * 3 + ["confirmation tiny, light"]


@pytest.mark.slow
def test_a_study_resumes_from_checkpoints_after_a_stop_and_after_a_killed_worker(
    nodes, study, expected, tmp_path, digits_dir
):
    part, told = dataclasses.replace(study, contenders=study.contenders[:1]), JobRecorder()
    with (
        once_there_is_a_checkpoint(tmp_path, lambda _: os.kill(os.getpid(), signal.SIGTERM)),
        pytest.raises(Interrupted, match=f"resume {tmp_path}") as stop,
    ):
        compare(
            part, tmp_path, data_dir=digits_dir, largest=2, recording=OFTEN, executor=ClusterExecutor(nodes.address)
        )
    assert stop.value.signal == signal.SIGTERM
    (home,) = tmp_path.glob("trials/*/population-*")
    with lock_directory(home):  # no process trains it any more
        first = cut_of(home)
    for run in first.lines:
        summary = load_run(run).summary
        assert summary is not None
        assert (summary["status"], summary["steps"]) == ("interrupted", first.step)
    with once_there_is_a_checkpoint(tmp_path, lambda worker: os.kill(worker, signal.SIGKILL), after=first.step) as cuts:
        compare(
            part,
            tmp_path,
            data_dir=digits_dir,
            largest=2,
            recording=OFTEN,
            executor=ClusterExecutor(nodes.address),
            progress=told,
        )
    assert_same(tmp_path, expected)
    assert_went_on(first)
    assert_went_on(*cuts)
    assert told.begun == told.ended == [f"{phase} tiny, light" for phase in ("trial", "finalist", "confirmation")]


@pytest.mark.slow
def test_a_lost_node_costs_only_the_steps_since_its_last_checkpoint(nodes, study, expected, tmp_path, digits_dir):
    (node,) = nodes.worker_nodes
    agent = node.all_processes["raylet"][0].process.pid

    def lose(process: int) -> None:
        nodes.remove_node(node, allow_graceful=False)

    with once_there_is_a_checkpoint(tmp_path, lose, of=lambda process: psutil.Process(process).ppid() == agent) as cuts:
        compare(
            study, tmp_path, data_dir=digits_dir, largest=2, recording=OFTEN, executor=ClusterExecutor(nodes.address)
        )
    nodes.add_node(**NODE)
    assert_same(tmp_path, expected)
    assert_went_on(*cuts)


@pytest.mark.slow
def test_a_user_error_on_a_worker_is_raised_in_the_driver(study, tmp_path):
    (unit, *_) = units(study)
    problem = Classification(dataset="cifar10")
    wrong = [
        dataclasses.replace(run, experiment=changed(run.experiment, problem=problem))
        for run in plan_trials(study, unit)
    ]
    with pytest.raises(UserError, match="cifar10 is not in") as raised:
        ClusterExecutor().run(
            [Job("trial", unit, tuple(wrong))], JobOptions(tmp_path, tmp_path), JobRecorder(), lambda *_: []
        )
    assert "Traceback" not in str(raised.value)
    assert not ray.is_initialized()


def test_a_task_that_is_too_large_for_every_node_is_refused_without_waiting(nodes, study, tmp_path, digits_dir):
    said = "no node has the 2 CPUs and 0 GPUs of a task; the nodes have 1 CPU and .* Expected smaller numbers"
    with pytest.raises(UserError, match=said):
        compare(study, tmp_path, data_dir=digits_dir, largest=2, executor=ClusterExecutor(nodes.address, cpus=2))
    for wrong in ({"cpus": 0}, {"gpus": -1}):
        with pytest.raises(UserError, match="Expected"):
            ClusterExecutor(**wrong)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nonsense"])
def test_the_error_for_a_missing_cluster_names_its_address(address, study, tmp_path, digits_dir):
    with pytest.raises(UserError, match=f"no Ray cluster at the address '{address}'"):
        compare(study, tmp_path, data_dir=digits_dir, largest=2, executor=ClusterExecutor(address))


def test_a_worker_waits_for_runs_that_another_process_has_locked(tiny, tmp_path, monkeypatch):
    def train(*_: Any, **__: Any) -> None:
        with lock_directory(tmp_path):
            return

    monkeypatch.setattr(worker, "perform", train)
    with contextlib.ExitStack() as held:
        held.enter_context(lock_directory(tmp_path))
        monkeypatch.setattr(worker, "PATIENCE", 0.0)
        with pytest.raises(LockedError, match="is in use by"):
            perform_patiently("trial", [tiny], JobOptions(tmp_path))
        monkeypatch.setattr(worker, "PATIENCE", 60.0)
        threading.Timer(0.7, held.close).start()
        perform_patiently("trial", [tiny], JobOptions(tmp_path))


def test_a_worker_with_another_version_or_without_the_folder_refuses_its_task(study, tmp_path, monkeypatch):
    (unit, *_) = units(study)
    task = SerializedJob.of(Job("trial", unit, tuple(plan_trials(study, unit))))
    assert len(task.load()) == 2
    other = dataclasses.replace(task, digests=(task.digests[0], "0" * 12))
    with pytest.raises(UserError, match="not the version with which the study began"):
        other.load()
    monkeypatch.setattr(worker, "working", False)  # so that `work` does not change this process
    elsewhere = WorkerSettings(JobOptions(tmp_path / "elsewhere"), socket.gethostname())
    with pytest.raises(UserError, match=r"does not exist on this node. Expected: a folder that all nodes share"):
        work(task, elsewhere)


def test_a_job_cannot_start_a_study(study, tmp_path, digits_dir, monkeypatch):
    monkeypatch.setattr(worker, "working", True)
    with pytest.raises(UserError, match="if __name__ == '__main__'"):
        compare(study, tmp_path, data_dir=digits_dir, executor=ClusterExecutor())


def test_without_ray_the_error_names_the_package_to_install(study, tmp_path, digits_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'pip install "jaxopt-bench\[ray\]"'):
        compare(study, tmp_path, data_dir=digits_dir, executor=ClusterExecutor())
