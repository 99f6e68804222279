"""What the project promises of its default workload."""

from __future__ import annotations

import time

import pytest

from jaxopt_bench import catalog, train
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.runs import Recording, Silent


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_learns_the_digits(name, tmp_path, digits_dir):
    experiment = catalog.find(f"digits_cnn_{name}")
    began = time.perf_counter()
    run = train(
        experiment, runs_dir=tmp_path, data_dir=digits_dir, recording=Recording(tensorboard=False), reporter=Silent()
    )
    assert run.summary is not None
    assert run.summary["final"]["test_accuracy"] > 0.95
    assert time.perf_counter() - began < 60
