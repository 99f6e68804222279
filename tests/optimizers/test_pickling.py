"""Experiments with any optimizer can be pickled, sent to other processes, and returned."""

from __future__ import annotations

import concurrent.futures
import copy
import json
import multiprocessing
import pathlib
import pickle
import subprocess
import sys
import types

import cloudpickle
import optax
import pytest

from jaxopt_bench import Experiment, Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, Optimizer, custom, load, wrap_optimizer
from jaxopt_bench.problems import Classification

SOURCE = """
import optax

def mine(learning_rate: float = 0.1, b1: float = 0.9):
    return optax.adam(learning_rate, b1)
"""


def mine(learning_rate: float = 0.1, b1: float = 0.9) -> optax.GradientTransformation:
    return optax.adam(learning_rate, b1)


def experiment(optimizer: Optimizer) -> Experiment:
    return Experiment(workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=optimizer)


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "pickled_optimizers.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_table_is_the_same_after_pickling(name: str) -> None:
    before = experiment(OPTIMIZERS[name])
    after = pickle.loads(pickle.dumps(before))
    assert after == before
    assert after.digest == before.digest


def test_an_optimizer_from_a_file_or_a_module_is_the_same_after_pickling_and_copying(file: pathlib.Path) -> None:
    for optimizer in (
        load(f"{file}:mine")(learning_rate=0.25),
        wrap_optimizer(mine)(b1=0.5),
        load("optax:lion")(learning_rate=0.1),
    ):
        before = experiment(optimizer)
        for after in (
            pickle.loads(pickle.dumps(before)),
            copy.deepcopy(before),
            cloudpickle.loads(cloudpickle.dumps(before)),
        ):
            assert after == before
            assert after.digest == before.digest


def test_another_process_finds_the_function(file: pathlib.Path) -> None:
    """The other process is a new interpreter, which has none of the modules of this one."""
    before = experiment(load(f"{file}:mine")(learning_rate=0.25))
    program = "import pickle, sys; e = pickle.load(sys.stdin.buffer); print(e.digest, e.optimizer.learning_rate)"
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(before), capture_output=True, check=True)
    assert done.stdout.decode().split() == [before.digest, "0.25"]


def test_a_pool_of_spawned_processes_receives_and_returns_an_experiment(file: pathlib.Path) -> None:
    before = experiment(load(f"{file}:mine")(learning_rate=0.25))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        assert pool.submit(copy.copy, before).result() == before


def test_a_changed_file_is_refused_when_unpickling(file: pathlib.Path) -> None:
    file.write_text(SOURCE + "\n# before\n")  # a text that no other test has loaded from its own file
    message = pickle.dumps(load(f"{file}:mine")())
    file.write_text(SOURCE + "\n# changed\n")
    program = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    done = subprocess.run([sys.executable, "-c", program], input=message, capture_output=True, check=False)
    assert done.returncode
    assert b"when it was loaded first" in done.stderr


def test_a_record_is_pickled_without_its_code(file: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = experiment(load(f"{file}:mine")(learning_rate=0.25)).to_json()
    monkeypatch.setattr(custom.USERS, "loaded", {})
    record = Experiment.from_json(json.loads(json.dumps(written)))
    file.unlink()
    after = pickle.loads(pickle.dumps(record))
    assert isinstance(after.optimizer, custom.RecordedOptimizer)
    assert after == record
    assert after.to_json() == written


def test_a_function_whose_name_now_refers_to_another_is_refused(file: pathlib.Path) -> None:
    module = types.ModuleType("pickled_optimizers")
    module.__file__ = str(file)
    exec(compile(SOURCE, file, "exec"), vars(module))
    with pytest.MonkeyPatch.context() as there:
        there.setitem(sys.modules, module.__name__, module)
        optimizer = wrap_optimizer(vars(module)["mine"])()
        pickle.dumps(optimizer)
        there.setattr(module, "mine", optax.adam)
        with pytest.raises(pickle.PicklingError, match="pickled_optimizers:mine cannot be pickled: 'mine' is now anot"):
            pickle.dumps(optimizer)
