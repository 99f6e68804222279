"""Training images/s of each network, compared with the same network in the peer."""

from __future__ import annotations

import functools
import itertools
import subprocess
from collections.abc import Iterator, Sequence

import jax

from experiments.speed.inputs.workloads import Dtype, Workload, make_task
from experiments.speed.jax_side.code_paths import paths
from experiments.speed.jax_side.networks import answerer, forward_jaxpr, initial_variables
from experiments.speed.measure import agreement, flops
from experiments.speed.measure.remote import Request, WorkerError
from experiments.speed.measure.timing import Timing, alternate, fastest, ratio
from experiments.speed.output.document import Row
from experiments.speed.output.hardware import busy_elsewhere
from experiments.speed.sections.bench import Bench, Peer, Worker, describe, request_of
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.training import CodePath


def rows(bench: Bench) -> Iterator[Row]:
    """Yields a row for each network, type and path, after a check that both sides compute the same.

    Raises:
      DisagreementError: if they do not agree. Then nothing more is measured.
    """
    rates = {dtype: flops.matmul_rate(dtype, 512 if bench.quick else None).median for dtype in bench.dtypes}
    for workload in bench.workloads:
        for dtype in bench.dtypes:
            yield from _rows_of(workload, dtype, rates[dtype], bench)


def check(workload: Workload, dtype: Dtype, peer: Peer, layers: Sequence[LayersPath]) -> dict[str, float]:
    """Returns the largest differences between the peer and every implementation of our layers.

    Raises:
      DisagreementError: if a difference exceeds its bound.
    """
    task = make_task(workload, dtype, agreement.EXAMPLES + workload.batch_size)
    initial = initial_variables(task)
    found: dict[str, dict[str, float]] = {}
    for implementation in layers:
        found[implementation] = agreement.check(
            f"{workload.network} ({implementation}, {dtype})",
            answerer(task, implementation),
            functools.partial(peer.answer, task),
            functools.partial(peer.answer, task, exactly=True),
            agreement.make_probes(task, initial),
            dtype,
        )
    return agreement.merge(found)


def _rows_of(workload: Workload, dtype: Dtype, rate: float, bench: Bench) -> Iterator[Row]:
    code_paths = paths(bench.layers)
    differences = _differences(workload, dtype, bench.peer, [path.layers for path in code_paths])
    ours = {
        _key(path, python): bench.start(request_of(bench, workload, dtype, path, python=python))
        for path in code_paths
        for python in ("", *bench.pythons)
    }
    theirs, failures = _peer_workers(workload, dtype, bench)
    workers = {**ours, **theirs}
    busy = busy_elsewhere()
    try:
        timings = alternate(workers, bench.plan)
        peaks = {name: worker.peak() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    best = fastest({name: timings[name] for name in theirs})
    peer = bench.peer.name
    operations = flops.training_flops(forward_jaxpr(make_task(workload, "float32", 256)))
    for path, python in itertools.product(code_paths, ("", *bench.pythons)):
        mine = timings[_key(path, python)]
        achieved = operations * mine.per_second(1).median
        yield {
            **describe("networks", workload, dtype, path, bench),
            "jax": _jax_version(python),
            **mine.per_second(workload.batch_size).fields("images_per_second"),
            **_peer_fields(peer, best, {name: timings[name] for name in theirs}, workload.batch_size),
            **ratio(mine, timings[best]).fields(f"images_per_second_over_{peer}"),
            **(ratio(mine, timings[_key(path)]).fields("images_per_second_over_this_jax") if python else {}),
            f"{peer}_failures": failures,
            "steps_per_block": mine.steps,
            "rounds": bench.plan.rounds,
            "busy_elsewhere": busy,
            "differences": differences,
            "peak_memory": peaks[_key(path, python)],
            f"{peer}_peak_memory": peaks[best],
            "flops_per_step": operations,
            "flops_per_second": achieved,
            "matmul_flops_per_second": rate,
            "share_of_matmul_rate": achieved / rate,
        }


def _differences(workload: Workload, dtype: Dtype, peer: Peer, layers: Sequence[LayersPath]) -> dict[str, float]:
    """Returns the differences in float32 and, under other names, in the type that is measured."""
    found = check(workload, "float32", peer, layers)
    if dtype == "float32":
        return found
    return {**found, **{f"{dtype}_{name}": value for name, value in check(workload, dtype, peer, layers).items()}}


def _key(path: CodePath, python: str = "") -> str:
    return f"jax {path.layers} {path.loop} {python}"


@functools.cache
def _jax_version(python: str) -> str:
    """Returns the version of JAX of an interpreter. The empty name means this interpreter."""
    if not python:
        return jax.__version__
    asked = [python, "-c", "import jax; print(jax.__version__)"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _peer_workers(workload: Workload, dtype: Dtype, bench: Bench) -> tuple[dict[str, Worker], dict[str, str]]:
    """Returns the peer's variants that can make a step, and the errors of the others."""
    peer, workers, failures = bench.peer, {}, {}
    for variant in (*peer.variants, *peer.extras.get(workload.experiment, ())):
        try:
            worker = bench.start(Request(peer.name, workload.label, dtype, bench.examples, variant, bench.backend))
            worker.run(1)
        except WorkerError as error:
            failures[variant] = str(error)
        else:
            workers[variant] = worker
    if not workers:
        raise WorkerError(f"no variant of {peer.name} can train {workload.label}: {failures}")
    return workers, failures


def _peer_fields(peer: str, best: str, timings: dict[str, Timing], batch_size: int) -> Row:
    speeds = {name: timing.per_second(batch_size) for name, timing in timings.items()}
    variants = {name: speed.fields("images_per_second") for name, speed in speeds.items()}
    return {**speeds[best].fields(f"{peer}_images_per_second"), f"{peer}_variant": best, f"{peer}_variants": variants}
