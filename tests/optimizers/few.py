"""Parameters for tests of every optimizer: a few optimizers are always tested, the others by the slow tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

FEW = ("adafactor", "adamw", "lion", "momentum", "muon", "prodigy", "schedule_free_adamw", "sgd", "soap")
"""Optimizers of different kinds: with and without momentum, for matrices, with averages, without learning rates."""


def slow_but_a_few(names: Sequence[str]) -> list[Any]:
    """Returns the names as parameters of a test, which is marked as slow for all but `FEW`."""
    return [pytest.param(name, marks=() if name in FEW else pytest.mark.slow) for name in names]
