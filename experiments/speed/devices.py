"""Measures the benefit of more devices: `python -m experiments.speed.devices [--counts 1 2 4 8] [--members 1 8]`.

It measures the training step of a network. The devices share the batches of one run, or the members of a population. On
a CPU the devices are simulated and share the cores of the CPU, so this measures only the cost of the division.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

import jax
import tyro

from experiments.speed.inputs.workloads import ALL, Workload, find, make_task, noise
from experiments.speed.jax_side.code_paths import path_on_devices
from experiments.speed.jax_side.training import Trainer
from experiments.speed.measure.process import restart_with_settings
from experiments.speed.measure.timing import Plan, alternate, ratio
from experiments.speed.output.document import Document, Row, default_path
from experiments.speed.output.tables import console, show


@dataclasses.dataclass(frozen=True)
class Flags:
    """Compare one device with several devices."""

    workload: str = "resnet20-sgd-128"
    """A line of the benchmark, or a network that has a single line."""
    counts: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of devices. Numbers larger than the available devices are skipped; a CPU simulates the devices."""
    members: tuple[int, ...] = (1, 8)
    """Sizes of the population. With size 1, the devices share each batch."""
    rounds: int = 5
    """The number of measured blocks for each number of devices."""
    block_seconds: float = 1.0
    """The duration of a block. A block has at least one step."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>-devices.json."""


def restart_with_devices(count: int) -> None:
    """Restarts this process with an environment in which a CPU simulates `count` devices."""
    simulated = f"--xla_force_host_platform_device_count={count}"
    flags = os.environ.get("XLA_FLAGS", "")
    restart_with_settings({} if simulated in flags else {"XLA_FLAGS": f"{flags} {simulated}".strip()})


def rows(workload: Workload, counts: Sequence[int], sizes: Sequence[int], plan: Plan) -> Iterator[Row]:
    """Yields a row for each population size and number of devices. Measurements of all numbers alternate."""
    task = make_task(workload, "float32", 8 * workload.batch_size)
    images = noise(task)
    for members in sizes:
        paths = {str(count): path_on_devices(count) for count in counts}
        timings = alternate({name: Trainer(task, images, path, members) for name, path in paths.items()}, plan)
        fewest = timings[str(counts[0])]
        for count in counts:
            timing = timings[str(count)]
            yield {
                "section": "devices",
                "network": workload.network,
                "batch_size": workload.batch_size,
                "members": members,
                "devices": count,
                "path": paths[str(count)].layers,
                "over": counts[0],
                **timing.per_second(members * workload.batch_size).fields("images_per_second"),
                **ratio(timing, fewest).fields("images_per_second_over_fewest"),
            }


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed.devices")
    restart_with_devices(max(flags.counts))
    counts = [count for count in flags.counts if count <= len(jax.devices())]
    (workload,) = find(ALL, [flags.workload])
    settings = {"rounds": flags.rounds, "block_seconds": flags.block_seconds}
    document = Document.begin("experiments.speed.devices", settings)
    document.rows += rows(workload, counts, flags.members, Plan(flags.rounds, flags.block_seconds))
    show(document, console())
    out = flags.out or default_path(document.hardware["name"], ["devices"])
    document.write(out)
    print(f"written to {out}")


if __name__ == "__main__":
    main()
