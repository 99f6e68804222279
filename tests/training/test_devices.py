"""Runs the tests of several devices in a separate process with eight simulated devices."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__)


@pytest.mark.long
@pytest.mark.parametrize("marks", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_eight_simulated_devices(marks: str) -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    file = str(HERE.with_name("eight_devices.py"))
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", marks, file]
    ended = subprocess.run(
        command, cwd=HERE.parents[2], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout
    assert "skipped" not in ended.stdout
