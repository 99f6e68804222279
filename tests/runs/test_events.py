"""TensorBoard's event files have the losses of metrics.jsonl, also after a run was killed."""

from __future__ import annotations

import pathlib
import pickle
import signal
import struct
import subprocess
import sys

from tensorboardX.proto import event_pb2

from jaxopt_bench import train
from jaxopt_bench.runs import Options, Recording, Reporter

KILLED = """
import os, pathlib, pickle, signal, sys
from jaxopt_bench import train
from jaxopt_bench.runs import Options, Reporter

class KilledAt(Reporter):
    def advance(self, step, *_):
        if step >= 33:
            os.kill(os.getpid(), signal.SIGKILL)

experiment, options = pickle.load(sys.stdin.buffer)
train(experiment, Options(reporter=KilledAt(), **options))
"""


def scalars(folder: pathlib.Path) -> dict[tuple[str, int], float]:
    """Returns the values of event files that TensorBoard shows, by tag and step. Purged values are left out."""
    found: dict[tuple[str, int], float] = {}
    for path in sorted(folder.glob("events.*"), key=lambda path: path.stat().st_mtime_ns):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])  # a checksum, the event and its checksum follow
            event = event_pb2.Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            if event.session_log.status == event_pb2.SessionLog.START:
                found = {key: value for key, value in found.items() if key[1] < event.step}
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    return found


def test_a_killed_run_has_all_events_after_it_was_resumed(tiny, tmp_path, digits_dir):
    options = {"runs_dir": tmp_path, "data_dir": digits_dir, "recording": Recording(log_every=6, checkpoint_every=7)}
    child = subprocess.run([sys.executable, "-c", KILLED], input=pickle.dumps((tiny, options)))
    assert child.returncode == -signal.SIGKILL
    run = train(tiny, Options(reporter=Reporter(), **options))
    measured = {
        (f"loss/{line['split']}", line["step"]): line["loss"] for line in run.metrics if line["loss"] is not None
    }
    found = {key: value for key, value in scalars(run.path / "tensorboard").items() if key[0].startswith("loss/")}
    assert len(list((run.path / "tensorboard").iterdir())) == 2
    assert found.keys() == measured.keys()
    assert all(abs(found[key] - value) <= 1e-6 * abs(value) for key, value in measured.items())
