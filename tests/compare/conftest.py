"""Fixtures for the tests of studies: a study that takes seconds, and a user's file of optimizers."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from jaxopt_bench.compare import compare
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import SGD, AdamW, Axis, Constant, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Contender, Study

MINE = """
import optax

def mine(learning_rate, b1: float = 0.9):
    return optax.chain(optax.trace(b1), optax.scale_by_learning_rate(learning_rate))

def needy(learning_rate, radius: float):
    return optax.sgd(learning_rate)
"""


@pytest.fixture
def mine(tmp_path):
    """Returns the path of a user's file."""
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def contender(name: str, optimizer: Any, low: float = 1e-3, high: float = 1e-1) -> Contender:
    """Returns an optimizer tuned in its learning rate."""
    space = Space({"optimizer.learning_rate": Axis(low, high, "log")})
    return Contender(name=name, optimizer=optimizer, schedule=Constant(), space=space)


@pytest.fixture(scope="session")
def small() -> Study:
    """Returns a study of two optimizers, each with three trials, two finalists and two confirmation seeds."""
    return Study(
        name="small",
        workloads=(
            Workload(
                name="tiny",
                problem=Classification(dataset="digits", model=CNN(channels=(), dense=8, dropout=0.0)),
                epochs=1,
                batch_size=64,
            ),
        ),
        contenders=(contender("sgd", SGD(momentum=0.9)), contender("adamw", AdamW())),
        trials=3,
        finalists=2,
        finalist_seeds=1,  # so that one program trains both finalists and confirmations
        seeds=2,
    )


@pytest.fixture(scope="session")
def finished(small: Study, tmp_path_factory: pytest.TempPathFactory, digits_dir: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the finished small study. Tests that change its files copy it first."""
    folder = tmp_path_factory.mktemp("studies") / "small"
    compare(small, folder, data_dir=digits_dir)
    return folder


def records(folder: pathlib.Path) -> dict[str, Any]:
    """Returns a study's records without timings and environments: metrics and summary by run, and study.json."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        summary = json.loads((path.parent / "summary.json").read_text())
        kept = {name: summary[name] for name in ("status", "final", "best", "steps", "digest")}
        found[str(path.parent.relative_to(folder))] = ([_untimed(line) for line in lines], kept)
    document = json.loads((folder / "study.json").read_text())
    return found | {"study.json": {name: document[name] for name in ("study", "runs", "selections")}}


def _untimed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if not name.startswith(("seconds", "examples_per_second"))}
