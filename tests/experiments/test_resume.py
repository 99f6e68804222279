"""The benchmark of resuming: it interrupts a population, resumes it, and records the time and the reads of files."""

from __future__ import annotations

import io
import json
import pathlib

import pytest
from rich.console import Console

from experiments.speed.sections import run
from experiments.speed.sections.flags import Flags
from tests.experiments.test_speed import FakePeer


@pytest.mark.slow
def test_an_interrupted_population_is_resumed_and_its_reads_are_recorded(tmp_path: pathlib.Path) -> None:
    flags = Flags(only=("resume",), resumed_members=(2, 3), repeats=2, out=tmp_path / "speed.json")
    output = io.StringIO()
    run.measure(flags, FakePeer, tmp_path, Console(file=output, width=250))
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert [row["members"] for row in rows] == [2, 3]
    for row in rows:
        assert 0 < row["seconds_to_start"] < row["seconds_to_first_step"]
        assert row["processor_seconds_to_start"] > 0
        for name in ("config.json", "metrics.jsonl"):  # no run can be resumed without them
            assert row["reads_by_name"][name]["files"] == row["members"]
        assert row["reads_by_name"]["checkpoints"]["files"] > 0
        assert row["most_reads_of_a_file"] == max(found["most"] for found in row["reads_by_name"].values())
    assert "rosenbrock" in output.getvalue()
