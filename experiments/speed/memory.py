"""Peak memory of training, each side in a process of its own: of the host on CPUs, of the device on GPUs.

`python -m experiments.speed.memory SIDE WORKLOAD DTYPE VARIANT STEPS` is such a process; it prints a JSON object.
"""

from __future__ import annotations

import json
import pathlib
import resource
import sys
from collections.abc import Iterator
from typing import Any

from experiments.speed import jax_side
from experiments.speed.bench import Bench, child, describe
from experiments.speed.document import Row
from experiments.speed.workloads import ALL, make_task, noise
from jaxopt_bench.training import CodePath, Task

STEPS = 5


def rows(bench: Bench) -> Iterator[Row]:
    """Yields a row for each network, type and path, and one for the peer's first variant."""
    steps = str(1 if bench.quick else STEPS)
    for workload in bench.workloads:
        for dtype in bench.dtypes:
            for path in jax_side.paths(bench.layers):
                measured = child("memory", ["jax", workload.label, dtype, json.dumps(path.to_json()), steps])
                yield {**describe("memory", workload, dtype, path, bench), "side": "jax", **measured}
            variant = bench.peer.variants[0]
            measured = child("memory", [bench.peer.name, workload.label, dtype, variant, steps])
            common = describe("memory", workload, dtype, CodePath(), bench)
            del common["loop"]
            yield {**common, "path": variant, "side": bench.peer.name, **measured}


def measure(side: str, label: str, dtype: Any, variant: str, steps: int) -> dict[str, Any]:
    """Returns this process's peak memory after some steps, and what it was before the network was built."""
    workload = next(found for found in ALL if found.label == label)
    task = make_task(workload, dtype, 10 * workload.batch_size)
    images = noise(task)
    if side == "jax":
        return _measure_jax(task, images, variant, steps)
    return _measure_torch(task, images, variant, steps)


def _measure_jax(task: Task, images: Any, variant: str, steps: int) -> dict[str, Any]:
    path = CodePath.from_json(json.loads(variant))
    jax_side.backend()  # starts it
    baseline = _host_peak()
    jax_side.Trainer(task, images, path).run(steps)
    return _result(jax_side.peak_bytes(), baseline)


def _measure_torch(task: Task, images: Any, variant: str, steps: int) -> dict[str, Any]:
    from experiments.speed.torch_side import TorchPeer

    peer = TorchPeer(jax_side.backend(), (variant,))
    baseline = _host_peak()
    peer.trainer(task, images, variant).run(steps)
    return _result(peer.peak_bytes(), baseline)


def _result(device: int | None, baseline: int) -> dict[str, Any]:
    if device is not None:
        return {"peak_bytes": device, "kind": "device"}
    return {"peak_bytes": _host_peak(), "baseline_bytes": baseline, "kind": "host"}


def _host_peak() -> int:
    """Returns the most memory this process had.

    Linux's `ru_maxrss` begins with that of the process that started this one; /proc knows this one's alone. macOS
    counts bytes.
    """
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    asked_side, asked_label, asked_dtype, asked_variant, asked_steps = sys.argv[1:]
    print(json.dumps(measure(asked_side, asked_label, asked_dtype, asked_variant, int(asked_steps))))
