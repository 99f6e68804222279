"""Fixtures for all tests: a data directory with `digits`, and a workload that is trained in a second."""

from __future__ import annotations

import fcntl
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence

import hypothesis
import pytest

# Compilation takes most of the time of the tests. Programs are compiled with little optimization, in half the time,
# unless XLA_FLAGS is set, even to an empty text, as `make test-slow` does. All processes of a test run, including
# children, share the compiled programs.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp(prefix="jaxopt-bench-tests-"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
os.environ.setdefault("JAXOPT_BENCH_SIDE_BY_SIDE", "1")  # measuring takes time; only its own tests unset this
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="jaxopt-bench-tests-")  # tests do not use the user's cache

from jaxopt_bench import Experiment, Run, Workload, data, kernels, train_population
from jaxopt_bench.cli import main
from jaxopt_bench.data import Augmentation
from jaxopt_bench.models import CNN, MODELS, Model
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification
from jaxopt_bench.runs import Options, Recording, Reporter
from jaxopt_bench.strict_json import sha256_of_json
from jaxopt_bench.training import CodePath
from tests.networks import Normed

# Tests draw the same examples on every machine. Examples have no deadline, because the first one compiles.
hypothesis.settings.register_profile("project", deadline=None, derandomize=True)
hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves tests that are marked as long before all others."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def digits_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a TFDS data directory in which `digits` is prepared."""
    directory = tmp_path_factory.mktemp("tfds")
    data.load("digits", directory)
    return directory


@pytest.fixture
def normed(monkeypatch: pytest.MonkeyPatch) -> Model:
    """Returns a network with batch statistics, which is registered under a name during the test."""
    monkeypatch.setitem(MODELS, "normed", Normed())
    return MODELS["normed"]


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """Returns an experiment of two epochs: a tiny network on digits, with every source of randomness in use."""
    return Experiment(
        name="tiny",
        workload=Workload(
            name="tiny",
            problem=Classification(
                dataset="digits",
                model=CNN(channels=(4,), dense=8, dropout=0.25),
                augmentation=Augmentation(crop_padding=1, flip=True, rotation=10, cutout=2),
                label_smoothing=0.1,
            ),
            epochs=2,
            batch_size=64,
        ),
        optimizer=AdamW(learning_rate=5e-3),
        schedule=Cosine(warmup=0.5),
    )


@pytest.fixture(scope="session")
def train_once(digits_dir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Run]]:
    """Returns a function that trains a population once for all tests of all processes, and returns its runs.

    Tests that change files of the runs copy them first.
    """
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "trained-once"
    shared.mkdir(exist_ok=True)
    kept: dict[str, list[Run]] = {}

    def trained(experiments: Sequence[Experiment], recording: Recording, path: CodePath | None = None) -> list[Run]:
        key = sha256_of_json([*(experiment.digest for experiment in experiments), repr(recording), repr(path)])[:16]
        if key not in kept:
            options = Options(
                runs_dir=shared / key, data_dir=digits_dir, recording=recording, reporter=Reporter(), code_path=path
            )
            with (shared / f"{key}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be training it; a finished run is only read
                kept[key] = train_population(experiments, options)
        return kept[key]

    return trained


@pytest.fixture
def kernels_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[pathlib.Path], None]]:
    """Yields a function that sets the path of the library of CPU kernels during the test."""

    def take(path: pathlib.Path) -> None:
        monkeypatch.setattr(kernels, "LIBRARY", path)
        kernels.library.cache_clear()

    yield take
    monkeypatch.undo()
    kernels.library.cache_clear()


@pytest.fixture
def call(tmp_path, digits_dir, capsys, monkeypatch):
    """Returns a function that runs a command in an empty folder and returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            main(list(words))
        out, err = capsys.readouterr()
        code = ending.value.code
        return code if isinstance(code, int) else 0, out, err

    return run
