"""Undisturbed runs, trained once for all tests, and a count of the injected faults, which is printed at the end."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import random
import signal
from collections.abc import Callable, Iterator

import pytest

from jaxopt_bench.runs.checkpoints import checkpoint_steps
from tests.faults.harness import Bench, Tally, copy_bench, population, single, train_undisturbed


@pytest.fixture(scope="session")
def tally() -> Iterator[Tally]:
    """Yields the count of injected faults, and prints it at the end."""
    made = Tally()
    yield made
    print(f"\nfaults injected, of which nothing was lost:\n{made}")


@pytest.fixture(scope="session")
def wholes(tmp_path_factory: pytest.TempPathFactory, digits_dir: pathlib.Path) -> Callable[[str], Bench]:
    """Returns a function that returns undisturbed runs, "single" or "population", and trains each kind once."""

    @functools.cache
    def made(kind: str) -> Bench:
        experiments = {"single": single, "population": population}[kind]()
        folder = tmp_path_factory.mktemp("whole") / kind
        return Bench(experiments, folder, digits_dir, train_undisturbed(experiments, folder, digits_dir))

    return made


@pytest.fixture(scope="session")
def halves(wholes: Callable[[str], Bench], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    """Returns a function that returns runs that were killed after some checkpoints, within an epoch; each kind once."""

    @functools.cache
    def made(kind: str) -> Bench:
        half = dataclasses.replace(wholes(kind), folder=tmp_path_factory.mktemp(f"half-{kind}"))
        code, errors = half.run_child(die_in=["Checkpoints._write", 6])
        assert code == -signal.SIGKILL, errors
        assert len(checkpoint_steps(half.checkpoints)) >= 2
        return half

    return made


@pytest.fixture
def stopped(halves: Callable[[str], Bench], tmp_path: pathlib.Path) -> Callable[[str], Bench]:
    """Returns a function that copies such runs for a test: "single" or "population"."""
    return lambda kind: copy_bench(halves(kind), tmp_path / "half")


@pytest.fixture
def bench(wholes: Callable[[str], Bench], tmp_path: pathlib.Path) -> Callable[[str], Bench]:
    """Returns a function that prepares runs to disturb in an empty folder: "single" or "population"."""
    return lambda kind: dataclasses.replace(wholes(kind), folder=tmp_path)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Returns random numbers that depend only on the name of the test."""
    return random.Random(request.node.name)
