"""The time of a step, measured apart: by a clock on which every block of steps takes a second."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from jaxopt_bench.runs import Options, seconds_per_step, timing
from jaxopt_bench.training import CodePath


@pytest.mark.parametrize(("members", "share"), [("map", 1 / 3), ("vmap", 1.0)])
def test_a_steps_time_is_one_runs_own_however_many_take_turns(tiny, digits_dir, monkeypatch, members, share):
    ticks = itertools.count()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: float(next(ticks)))
    seeds = [dataclasses.replace(tiny, seed=seed) for seed in range(3)]
    options = Options(data_dir=digits_dir, code_path=CodePath("pure", "compiled", members))
    assert seconds_per_step(seeds, options) == pytest.approx(share)
