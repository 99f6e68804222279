"""Each of six optimizers learns the default workload in less than a minute."""

from __future__ import annotations

import time

import pytest

from jaxopt_bench import catalog, train
from jaxopt_bench.runs import Options, Recording, Reporter

OTHERS = ("sgd", "adam", "nadam", "amsgrad", "padam")


@pytest.mark.parametrize("name", ["adamw", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_optimizer_learns_the_digits(name, tmp_path, digits_dir):
    experiment = catalog.find(f"digits_cnn_{name}")
    began = time.perf_counter()
    run = train(
        experiment,
        Options(runs_dir=tmp_path, data_dir=digits_dir, recording=Recording(tensorboard=False), reporter=Reporter()),
    )
    assert run.summary is not None
    assert run.summary["final"]["test_accuracy"] > 0.95
    assert time.perf_counter() - began < 60
