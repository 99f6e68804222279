"""What a member of a population costs, beside a run alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from experiments.speed.inputs.workloads import Dtype, Workload
from experiments.speed.jax_side.code_paths import population_paths
from experiments.speed.measure.timing import Timing, alternate, ratio
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, describe, request_of
from jaxopt_bench.training import CodePath

LONGEST_STEP = 30.0  # seconds; a population whose step would take longer is left out, and its row says so


def rows(bench: Bench, workloads: tuple[Workload, ...], members: tuple[int, ...]) -> Iterator[Row]:
    """Yields a row for each network, path and number of members; each is measured by turns with a run alone."""
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
        population = bench.start(request_of(bench, workload, dtype, path, count))
        try:
            timings = alternate({"alone": single, "population": population}, bench.plan)
            peak = population.peak()
        finally:
            population.close()
        each = Timing(1, tuple(seconds / count for seconds in timings["population"].seconds))
        yield {
            **row,
            **each.milliseconds().fields("milliseconds_per_member_step"),
            **ratio(timings["alone"], each).fields("cost_over_single"),
            "peak_memory": peak,
            "rounds": bench.plan.rounds,
        }
    single.close()
