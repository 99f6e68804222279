"""One call of the benchmark: its sections in order. Each row is written immediately after its measurement."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax
from rich.console import Console

from experiments.speed.inputs import datasets
from experiments.speed.inputs.suite import suite_workloads
from experiments.speed.inputs.workloads import ALL, DIGITS, WORKLOADS, Workload, find
from experiments.speed.measure.remote import Remote, Request
from experiments.speed.measure.timing import Plan
from experiments.speed.output import tables
from experiments.speed.output.document import Document, Row, default_path
from experiments.speed.output.hardware import hardware
from experiments.speed.sections import epoch, networks, populations, resume, startup, suite, updates
from experiments.speed.sections.bench import CIFAR_EXAMPLES, Bench, Peer, Worker
from experiments.speed.sections.flags import SECTIONS, Flags, Section
from jaxopt_bench import UserError, catalog
from jaxopt_bench.optimizers import OPTIMIZERS

MakePeer = Callable[[str, tuple[str, ...] | None], Peer]
QUICK = Plan(rounds=2, block_seconds=0.01, warmup=0)


def measure(
    flags: Flags,
    make_peer: MakePeer,
    data_dir: pathlib.Path,
    console: Console,
    start: Callable[[Request], Worker] = Remote,
) -> Document:
    """Runs the measurements that the flags request, prints them, and returns the written document.

    Args:
      flags: the flags; see `Flags`.
      make_peer: makes the peer for a backend, with the requested variants (None: all).
      data_dir: TFDS data directory. Missing data sets are prepared in it.
      console: the console to print to.
      start: makes a contender.
    """
    bench = make_bench(flags, make_peer, start, data_dir)
    sections = () if set(flags.only) == set(SECTIONS) else flags.only
    path = flags.out or default_path(hardware()["name"], sections, flags.quick)
    document = Document.begin(
        "experiments.speed", dataclasses.asdict(bench.plan), {bench.peer.name: bench.peer.version}, flags.quick
    )
    for section in SECTIONS:
        if section in flags.only:
            for row in section_rows(section, flags, bench):
                document.rows.append(row)
                document.write(path)
                console.print(tables.line(row), markup=False, highlight=False)
    document.write(path)
    tables.show(document, console)
    console.print(str(path), markup=False, highlight=False, soft_wrap=True)
    return document


def make_bench(flags: Flags, make_peer: MakePeer, start: Callable[[Request], Worker], data_dir: pathlib.Path) -> Bench:
    """Returns the settings from the flags, with the defaults for this hardware.

    Raises:
      UserError: if an interpreter does not exist.
    """
    for python in flags.pythons:
        if not python.is_file():
            raise UserError(
                f"--pythons names {python}, which is no file. Expected: interpreters, such as ENV/bin/python."
            )
    backend = jax.default_backend()
    chosen = find(ALL, flags.workloads) if flags.workloads else (DIGITS,) if flags.quick else WORKLOADS
    return Bench(
        peer=make_peer(backend, flags.variants or None),
        start=start,
        backend=backend,
        plan=QUICK if flags.quick else Plan(flags.rounds, flags.block_seconds),
        workloads=chosen,
        layers=flags.layers,
        dtypes=flags.dtypes or (("float32",) if backend == "cpu" else ("bfloat16", "float32")),
        data_dir=data_dir,
        pythons=tuple(str(python.absolute()) for python in flags.pythons),
        examples=512 if flags.quick else CIFAR_EXAMPLES,
        quick=flags.quick,
    )


def section_rows(section: Section, flags: Flags, bench: Bench) -> Iterator[Row]:
    """Returns an iterator over the rows of one section. Each row is measured when it is requested."""
    if section == "networks":
        return networks.rows(bench)
    if section == "populations":
        members = tuple(count for count in flags.members if count <= 4) if flags.quick else flags.members
        return populations.rows(bench, _population_workloads(flags, bench), members)
    if section == "updates":
        return updates.rows(bench, flags.optimizers or (("sgd", "adamw") if flags.quick else tuple(OPTIMIZERS)))
    if section == "epoch":
        return _epoch_rows(flags, bench)
    if section == "startup":
        return _startup_rows(flags, bench)
    if section == "suite":
        chosen = suite_workloads(flags.suite_workloads)
        return suite.rows(bench, chosen[:1] if flags.quick and not flags.suite_workloads else chosen)
    return resume.rows(bench, (8,) if flags.quick else flags.resumed_members, 1 if flags.quick else flags.repeats)


def _population_workloads(flags: Flags, bench: Bench) -> tuple[Workload, ...]:
    if flags.populations:
        return find(ALL, flags.populations)
    if flags.quick:
        return (DIGITS,)
    names = ("cnn", "mlp", "alexnet_small-sgd-128") if bench.backend == "cpu" else ("resnet20",)
    return find(ALL, names)


def _epoch_rows(flags: Flags, bench: Bench) -> Iterator[Row]:
    small = ("digits_cnn_adamw",) if flags.quick else ("digits_cnn_adamw", "cifar100_alexnet_small_sgd")
    experiments = flags.epoch_experiments or (small if bench.backend == "cpu" else (*small, "cifar10_resnet20_sgd"))
    sources = {dataset: datasets.prepare(dataset, bench.data_dir) for dataset in _datasets(experiments)}
    for row in epoch.rows(bench, experiments, 3 if flags.quick else flags.epochs, 1 if flags.quick else 2):
        yield {**row, "data": sources[catalog.find(row["experiment"]).workload.problem.data_name]}


def _startup_rows(flags: Flags, bench: Bench) -> Iterator[Row]:
    experiment = "digits_cnn_adamw" if flags.quick else flags.startup_experiment
    for dataset in _datasets((experiment,)):
        datasets.prepare(dataset, bench.data_dir)
    return startup.rows(bench, experiment, 1 if flags.quick else flags.repeats)


def _datasets(experiments: tuple[str, ...]) -> list[str]:
    return sorted({catalog.find(name).workload.problem.data_name for name in experiments})
