"""The choice of the code path, and the environment variables that override it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from jaxopt_bench import UserError, kernels
from jaxopt_bench.training import choose_code_path

At = Callable[[pathlib.Path], None]


@pytest.mark.skipif(kernels.library() is None, reason="the CPU kernels are not built (make kernels)")
def test_updates_are_fused_by_default_only_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_code_path("cpu").updates == "fused"
    assert choose_code_path("gpu").updates == "optax"
    assert choose_code_path("METAL").updates == "optax"
    monkeypatch.setenv("JAXOPT_BENCH_UPDATES", "optax")
    assert choose_code_path("cpu").updates == "optax"


def test_without_the_kernels_updates_are_those_of_optax(kernels_at: At, tmp_path: pathlib.Path) -> None:
    kernels_at(tmp_path / "kernels.so")
    assert choose_code_path("cpu").updates == "optax"


def test_unknown_and_unsupported_updates_are_refused(
    kernels_at: At, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXOPT_BENCH_UPDATES", "fast")
    with pytest.raises(UserError, match=r"JAXOPT_BENCH_UPDATES is 'fast'\. Expected one of optax, fused\."):
        choose_code_path("cpu")
    monkeypatch.setenv("JAXOPT_BENCH_UPDATES", "fused")
    with pytest.raises(UserError, match=r"JAXOPT_BENCH_UPDATES is 'fused'\. Expected optax: .* one device, a CPU"):
        choose_code_path("gpu")
    kernels_at(tmp_path / "kernels.so")
    with pytest.raises(UserError, match=r"the CPU kernels, which `jaxopt-bench kernels` .* builds"):
        choose_code_path("cpu")
