"""Advice about items that failed."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

from jaxopt_bench.doctor.check import BFLOAT16, Result, precision
from jaxopt_bench.training.code_path import CodePath

IMPRECISE = 3 * BFLOAT16
"""Products with a larger error are wrong, not imprecise."""


def give_advice(results: Sequence[Result], backend: str, path: CodePath) -> list[str]:
    """Returns advice for the user about the items that failed; an empty list if no item failed.

    Args:
      results: the results of all items.
      backend: the name of a platform, as `jax.default_backend` returns it.
      path: the code path that was checked.
    """
    failed = [result for result in results if not result.passed]
    raised = [result for result in failed if result.raised is not None]
    imprecise = [r for r in failed if r.item.products and r.error is not None and r.error.size < IMPRECISE]
    wrong = [result for result in failed if result not in raised and result not in imprecise]
    lines = []
    if raised:
        lines.append(f"{_names(raised)}: JAX cannot compile or run these items on this backend.")
    if imprecise:
        asked = f"it is {precision()!r} now" if precision() else "it is not set now"
        lines.append(
            f"{_names(imprecise)}: correct, but less precise than float32. JAX_DEFAULT_MATMUL_PRECISION=float32 "
            f"selects float32; {asked}."
        )
    if wrong:
        lines.append(f"{_names(wrong)}: wrong. Do not use the results of training like this.")
    return lines + suggest_alternatives(backend, path) if failed else []


def suggest_alternatives(backend: str, path: CodePath = CodePath()) -> list[str]:
    """Returns advice on other ways to compute: the plainest code path, other package versions, or the CPU."""
    lines = []
    if path != CodePath(deterministic=path.deterministic):
        lines.append(
            "Check whether the plainest code path is correct: jaxopt-bench doctor --plain. To train with it: "
            "jaxopt_bench.train(experiment, jaxopt_bench.Options(code_path=jaxopt_bench.training.CodePath()))."
        )
    packages = ", ".join(["jax", "jaxlib", *plugins()])
    lines.append(f"Try other versions of {packages}: the section Installation of the README lists the tested ones.")
    if backend != "cpu":
        lines.append("As long as this check fails, train on the CPU: JAX_PLATFORMS=cpu jaxopt-bench run …")
    return lines


def describe_low_precision(results: Sequence[Result]) -> str | None:
    """Returns a note on products that passed with fewer digits than float32 has; None if there are none."""
    coarse = [r for r in results if r.passed and r.error is not None and r.error.size > r.item.tolerance]
    if not coarse:
        return None
    return (
        f"{_names(coarse)}: less precise than float32, as is JAX's default on this backend (TF32 on GPUs, bfloat16 on "
        "TPUs). JAX_DEFAULT_MATMUL_PRECISION=float32 selects float32, which is slower."
    )


def plugins() -> dict[str, str]:
    """Returns the versions of the installed packages that add backends to jaxlib, by package."""
    prefixes = ("jax-cuda", "jax-rocm", "jax-mps", "jax-metal", "libtpu")
    found = {(d.name or "").replace("_", "-"): d.version for d in importlib.metadata.distributions()}
    return {name: version for name, version in sorted(found.items()) if name.startswith(prefixes)}


def _names(results: Sequence[Result]) -> str:
    return ", ".join(result.item.name for result in results)
