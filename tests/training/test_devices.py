"""Several devices: simulated ones, in a process of their own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__)


def test_eight_devices() -> None:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE.with_name("eight_devices.py"))]
    ended = subprocess.run(
        command, cwd=HERE.parents[2], env={**os.environ, "XLA_FLAGS": flags}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout
    assert " passed" in ended.stdout
    assert "skipped" not in ended.stdout
