"""Compiling programs while others are trained does not change a study's results, even if a compilation fails."""

from __future__ import annotations

import pytest

from jaxopt_bench.compare import LocalExecutor, compare, jobs
from tests.compare.conftest import records


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.slow
def test_a_study_that_compiles_ahead_has_the_same_results(small, tmp_path, digits_dir, monkeypatch, fails):
    compare(small, tmp_path / "alone", data_dir=digits_dir)
    ahead = []

    def compile_ahead(experiments, options):
        ahead.append(experiments[0].optimizer)
        if fails:
            raise RuntimeError("no memory")
        return compiled(experiments, options)

    compiled = jobs.compile_ahead
    monkeypatch.setattr(jobs, "compile_ahead", compile_ahead)
    compare(small, tmp_path / "study", data_dir=digits_dir, executor=LocalExecutor(compile_in_background=True))
    assert type(small.contenders[1].optimizer) in map(type, ahead)
    assert records(tmp_path / "study") == records(tmp_path / "alone")
