"""What more devices are worth: `python -m experiments.speed.devices [--counts 1 2 4 8] [--members 1 8]`.

A network's training step, of one run whose batches they divide, or of a population whose members they divide. On a CPU
the devices are simulated: they share its cores, so that what is measured there is what dividing costs.
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
    """Measure one device beside several."""

    workload: str = "resnet20-sgd-128"
    """A line of the benchmark, or a network that has a single one."""
    counts: tuple[int, ...] = (1, 2, 4, 8)
    """Numbers of devices, of which those count that there are; where there is a CPU alone, as many are simulated."""
    members: tuple[int, ...] = (1, 8)
    """Sizes of the population; 1 divides each batch."""
    rounds: int = 5
    """Blocks of each number of devices that count."""
    block_seconds: float = 1.0
    """How long a block lasts; it has one step at least."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/speed/results/<hardware>-devices.json."""


def restart_with_devices(count: int) -> None:
    """Starts this process again, with an environment in which a CPU is so many devices."""
    simulated = f"--xla_force_host_platform_device_count={count}"
    flags = os.environ.get("XLA_FLAGS", "")
    restart_with_settings({} if simulated in flags else {"XLA_FLAGS": f"{flags} {simulated}".strip()})


def rows(workload: Workload, counts: Sequence[int], sizes: Sequence[int], plan: Plan) -> Iterator[Row]:
    """Yields a row for each size of the population and number of devices, all numbers measured by turns."""
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
    """Measures what the command line asks for."""
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
