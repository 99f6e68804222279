"""The command restarts itself once, and keeps the settings of the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from jaxopt_bench.huge_pages import TUNABLES, has_huge_pages

PROGRAM = """
import json, os, sys
from jaxopt_bench.huge_pages import has_huge_pages, restart_with_huge_pages
restart_with_huge_pages()
print(json.dumps([os.environ["GLIBC_TUNABLES"], sys.argv, has_huge_pages(), os.getpid(), "jax" in sys.modules]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's tunables are Linux's; elsewhere nothing is restarted")
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=3", "glibc.malloc.check=3:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", "glibc.malloc.hugetlb=0"),
        ("glibc.malloc.hugetlb=1", "glibc.malloc.hugetlb=1"),
    ],
)
def test_a_process_restarts_with_its_arguments_as_the_same_process(before, after):
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES}
    environment |= {TUNABLES: before} if before else {}
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, "--seed", "1"], env=environment, stdout=subprocess.PIPE)
    out, _ = child.communicate(timeout=60)
    tunables, arguments, enabled, process, heavy = json.loads(out)
    assert (tunables, arguments[1:], process) == (after, ["--seed", "1"], child.pid)
    assert enabled == has_huge_pages({TUNABLES: after})
    assert not heavy


@pytest.mark.parametrize(("value", "expected"), [("glibc.malloc.hugetlb=1", True), ("glibc.malloc.hugetlb=10", False)])
def test_huge_pages_must_be_requested_and_granted_by_the_kernel(value, expected, tmp_path):
    kernel = tmp_path / "enabled"
    assert not has_huge_pages({TUNABLES: value}, kernel)
    kernel.write_text("always [madvise] never\n")
    assert has_huge_pages({TUNABLES: value}, kernel) == expected
    assert not has_huge_pages({}, kernel)
    kernel.write_text("always madvise [never]\n")
    assert not has_huge_pages({TUNABLES: value}, kernel)
