"""The suite's workloads: our population compared with the peer, which trains one run after another.

A row contains the number of training examples (images, sequences, rows, points) per second of each side, over all runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

from experiments.speed.inputs.suite import suite_task
from experiments.speed.jax_side.suite import first_losses, first_steps
from experiments.speed.measure.agreement import LOSS_BOUND, DisagreementError
from experiments.speed.measure.remote import Request, WorkerError
from experiments.speed.measure.timing import Timing, alternate, fastest, ratio
from experiments.speed.output.document import Row
from experiments.speed.output.hardware import busy_elsewhere
from experiments.speed.sections.bench import Bench, Worker
from jaxopt_bench.experiment import Workload
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.training import CodePath, choose_code_path

MEMBERS = 8


def rows(bench: Bench, workloads: Sequence[Workload]) -> Iterator[Row]:
    """Yields a row for each workload, after a check that both sides make the same first steps.

    Raises:
      DisagreementError: if they do not agree. Then nothing more is measured.
    """
    for workload in workloads:
        difference = check(workload, bench, choose_code_path(bench.backend))
        yield _row(workload, bench, difference)


def check(workload: Workload, bench: Bench, path: CodePath) -> float:
    """Returns the largest relative difference between both sides' losses of the first steps.

    Both sides start with the same weights, use the same batches and random numbers, and have no dropout.

    Args:
      workload: a workload of the suite.
      bench: the settings, with the peer to compare.
      path: the code path of our side.

    Raises:
      DisagreementError: if the losses differ by more than rounding. The message names the workload and the losses.
    """
    task = suite_task(workload, bench.data_dir, dataclasses.replace(path, side_by_side=1), drops=False)
    return compare(workload.name, first_losses(task), bench.peer.first_losses(task, first_steps(task)))


def compare(name: str, ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Returns the largest relative difference between losses of the same steps.

    Raises:
      DisagreementError: if a difference exceeds its bound or is NaN.
    """
    bound = LOSS_BOUND["float32"]
    differences = [
        abs(one - other) / abs(other) if other else math.nan for one, other in zip(ours, theirs, strict=True)
    ]
    for step, difference in enumerate(differences):
        if not difference <= bound:
            raise DisagreementError(
                f"{name}: the loss of step {step + 1} is {ours[step]!r} here and {theirs[step]!r} there. Expected a "
                f"relative difference of at most {bound:g}."
            )
    return max(differences)


def _row(workload: Workload, bench: Bench, difference: float) -> Row:
    path = dataclasses.replace(choose_code_path(bench.backend), side_by_side=1)
    with contextlib.ExitStack() as stack:

        def start(side: str, way: object, members: int = 1) -> Worker:
            request = Request(
                side, workload.name, "float32", 0, way, bench.backend, members, data_dir=str(bench.data_dir)
            )
            return stack.enter_context(contextlib.closing(bench.start(request)))

        ours = {"in turn": start("jax", path.to_json(), MEMBERS)}
        threads = min(thread_count(), MEMBERS)
        if threads > 1 and path.allows_side_by_side:
            side_by_side = dataclasses.replace(path, side_by_side=threads)
            ours["side by side"] = start("jax", side_by_side.to_json(), MEMBERS)
        alone = start("jax", path.to_json())
        theirs: dict[str, Worker] = {}
        failures: dict[str, str] = {}
        for variant in bench.peer.suite_variants:
            try:
                worker = start(bench.peer.name, variant)
                worker.run(1)
            except WorkerError as error:
                failures[variant] = str(error)
            else:
                theirs[variant] = worker
        if not theirs:
            raise WorkerError(f"no variant of {bench.peer.name} can train {workload.name}: {failures}")
        busy = busy_elsewhere()
        timings = alternate({**ours, "alone": alone, **theirs}, bench.plan)
    own, best = fastest({name: timings[name] for name in ours}), fastest({name: timings[name] for name in theirs})
    each = Timing(1, tuple(seconds / MEMBERS for seconds in timings[own].seconds))  # a step of one member
    size, peer = workload.batch_size, bench.peer.name
    variants = {
        name: {**timings[name].per_second(size).fields("examples_per_second"), "steps_per_block": timings[name].steps}
        for name in theirs
    }
    return {
        "section": "suite",
        "network": workload.name,
        "optimizer": "adamw",
        "batch_size": size,
        "dtype": "float32",
        "backend": bench.backend,
        "path": path.layers,
        "loop": path.loop,
        "members": MEMBERS,
        "members_by": own if path.members == "map" else path.members,
        **each.per_second(size).fields("examples_per_second"),
        **timings["alone"].per_second(size).fields("alone_examples_per_second"),
        **timings[best].per_second(size).fields(f"{peer}_examples_per_second"),
        **timings[best].milliseconds().fields(f"{peer}_milliseconds"),
        f"{peer}_variant": best,
        f"{peer}_variants": variants,
        f"{peer}_failures": failures,
        **ratio(each, timings[best]).fields(f"examples_per_second_over_{peer}"),
        **ratio(timings["alone"], timings[best]).fields(f"alone_over_{peer}"),
        "loss_difference": difference,
        "busy_elsewhere": busy,
        "rounds": bench.plan.rounds,
    }
