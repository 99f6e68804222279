"""The cost of one update of each optimizer, compared with plain SGD and with the peer: time, and bytes of state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from experiments.speed.inputs.workloads import UPDATES
from experiments.speed.measure.remote import Request
from experiments.speed.measure.timing import alternate, ratio
from experiments.speed.output.document import Row
from experiments.speed.sections.bench import Bench, Worker
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.optimizers.fused import has_fused_form
from jaxopt_bench.training import choose_code_path
from jaxopt_bench.training.code_path import UpdatesPath


def rows(bench: Bench, names: tuple[str, ...]) -> Iterator[Row]:
    """Yields a row for each optimizer. Its measurement alternates with plain SGD and with the peer's same optimizer.

    The peer makes only updates. Training also needs the norms of gradient and update, and checks them.
    """
    path = choose_code_path(bench.backend).updates
    with contextlib.closing(_start(bench, "jax", "sgd", _way(path))) as sgd:
        for name in names:
            yield _row(bench, name, path, sgd)


def _way(path: UpdatesPath, checked: bool = False) -> dict[str, bool]:
    return {"fused": path == "fused", "checked": checked}


def _row(bench: Bench, name: str, path: UpdatesPath, sgd: Worker) -> Row:
    with contextlib.ExitStack() as stack:
        start = lambda *args: stack.enter_context(contextlib.closing(_start(bench, *args)))  # noqa: E731
        ours = start("jax", name, _way(path))
        contenders = {"sgd": sgd, "ours": ours, "checked": start("jax", name, _way(path, checked=True))}
        form = bench.peer.update_form(name)
        if form is not None:
            contenders["peer"] = start(bench.peer.name, name, None)
        timings = alternate(contenders, bench.plan)
        row: Row = {
            "section": "updates",
            "network": UPDATES.network,
            "optimizer": name,
            "backend": bench.backend,
            "updates": path if has_fused_form(OPTIMIZERS[name], ()) else "optax",
            **timings["ours"].milliseconds().fields("milliseconds"),
            **timings["checked"].milliseconds().fields("checked_milliseconds"),
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


def _start(bench: Bench, side: str, name: str, way: dict[str, bool] | None) -> Worker:
    return bench.start(Request(side, UPDATES.label, "float32", bench.examples, way, bench.backend, update=name))
