"""The cost of a member of a population, compared with a single run; on a CPU also the speed-up by several threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from experiments.speed.inputs.workloads import Dtype, Workload
from experiments.speed.jax_side.code_paths import population_paths
from experiments.speed.measure.timing import Timing, alternate, ratio
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, describe, request_of
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.training import CodePath

LONGEST_STEP = 30.0  # seconds; a population with a longer step is omitted, and its row contains the reason


def rows(bench: Bench, workloads: tuple[Workload, ...], members: tuple[int, ...]) -> Iterator[Row]:
    """Yields a row for each network, path and number of members. Each measurement alternates with a single run.

    If members are computed one after the other in one thread, this also alternates with the same members in parallel.
    """
    for workload in workloads:
        for dtype in bench.dtypes:
            for path in population_paths(bench.layers):
                yield from _rows_of(workload, dtype, path, bench, members)


def _rows_of(workload: Workload, dtype: Dtype, path: CodePath, bench: Bench, members: tuple[int, ...]) -> Iterator[Row]:
    single = bench.start(request_of(bench, workload, dtype, path))
    alone = alternate({"alone": single}, dataclasses.replace(bench.plan, rounds=1))["alone"].seconds[0]
    for count in members:
        row = {
            **describe("populations", workload, dtype, path, bench),
            "members": count,
            "members_by": path.members,
        }
        if count * alone > LONGEST_STEP and count > 1:
            yield {**row, "left_out": f"a step would take about {count * alone:.0f} s"}
            continue
        contenders = {"alone": single, "population": bench.start(request_of(bench, workload, dtype, path, count))}
        threads = min(thread_count(), count)
        if threads > 1 and path.allows_side_by_side:
            side_by_side = dataclasses.replace(path, side_by_side=threads)
            contenders["side by side"] = bench.start(request_of(bench, workload, dtype, side_by_side, count))
        try:
            timings = alternate(contenders, bench.plan)
            peaks = {name: contenders[name].peak() for name in contenders}
        finally:
            for name in contenders.keys() - {"alone"}:
                contenders[name].close()
        each = Timing(1, tuple(seconds / count for seconds in timings["population"].seconds))
        yield {
            **row,
            **each.milliseconds().fields("milliseconds_per_member_step"),
            **ratio(timings["alone"], each).fields("cost_over_single"),
            "peak_memory": peaks["population"],
            **_side_by_side(timings, peaks, threads, count),
            "rounds": bench.plan.rounds,
        }
    single.close()


def _side_by_side(timings: dict[str, Timing], peaks: dict[str, dict[str, int | str]], threads: int, count: int) -> Row:
    """Returns the fields of a row about members in parallel; {} if this was not measured."""
    if (found := timings.get("side by side")) is None:
        return {}
    each = Timing(1, tuple(seconds / count for seconds in found.seconds))
    return {
        "side_by_side": threads,
        **each.milliseconds().fields("milliseconds_per_member_step_side_by_side"),
        **ratio(found, timings["population"]).fields("speedup_side_by_side"),
        "peak_memory_side_by_side": peaks["side by side"],
    }
