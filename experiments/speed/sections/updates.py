"""What one update costs, of every optimizer, beside plain SGD and beside the peer's: time, and bytes of state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from experiments.speed.inputs.workloads import UPDATES
from experiments.speed.measure.remote import Request
from experiments.speed.measure.timing import alternate, ratio
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, Worker


def rows(bench: Bench, names: tuple[str, ...]) -> Iterator[Row]:
    """Yields a row for each optimizer, measured by turns with plain SGD and with the peer's of that name."""
    with contextlib.closing(_start(bench, "jax", "sgd")) as sgd:
        for name in names:
            yield _row(bench, name, sgd)


def _row(bench: Bench, name: str, sgd: Worker) -> Row:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(contextlib.closing(_start(bench, "jax", name)))
        contenders = {"sgd": sgd, "ours": ours}
        form = bench.peer.update_form(name)
        if form is not None:
            contenders["peer"] = stack.enter_context(contextlib.closing(_start(bench, bench.peer.name, name)))
        timings = alternate(contenders, bench.plan)
        row: Row = {
            "section": "updates",
            "network": UPDATES.network,
            "optimizer": name,
            "backend": bench.backend,
            **timings["ours"].milliseconds().fields("milliseconds"),
            **ratio(timings["sgd"], timings["ours"]).fields("cost_over_sgd"),
            **ours.state(),
            "rounds": bench.plan.rounds,
        }
        if form is not None:
            peer = bench.peer.name
            row |= timings["peer"].milliseconds().fields(f"{peer}_milliseconds")
            row |= ratio(timings["peer"], timings["ours"]).fields(f"cost_over_{peer}")
            row[f"{peer}_form"] = form
            row[f"{peer}_state_bytes"] = contenders["peer"].state()["state_bytes"]
        return row


def _start(bench: Bench, side: str, name: str) -> Worker:
    return bench.start(Request(side, UPDATES.label, "float32", bench.examples, None, bench.backend, update=name))
