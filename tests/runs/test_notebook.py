"""Training in a Jupyter kernel, as in a notebook."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

ROOT = pathlib.Path(__file__).parents[2]
PREPARE = """
import dataclasses, sys
if {hidden}:
    sys.modules["ipywidgets"] = None  # importing it fails as if it were not installed
from jaxopt_bench import Options, catalog, train
from jaxopt_bench.models import CNN
found = catalog.find("digits_cnn_adamw")
problem = dataclasses.replace(found.workload.problem, model=CNN(channels=(4,), dense=8))
def small(epochs):
    return found.replace(problem=problem, epochs=epochs, batch_size=64)
places = {{"runs_dir": {runs!r}, "data_dir": {data!r}}}
"""


class Notebook:
    """A kernel that runs cells."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient):
        self.manager, self.client = manager, client

    def run(self, code: str, interrupted_at: str | None = None) -> tuple[str, dict[str, Any]]:
        """Runs a cell, and returns the plain text that it shows and the kernel's reply.

        Args:
          code: the source of the cell.
          interrupted_at: the kernel is interrupted once this text is shown.
        """
        shown = ""

        def output(message: dict[str, Any]) -> None:
            nonlocal shown, interrupted_at
            content = message["content"]
            assert "application/vnd.jupyter.widget-view+json" not in content.get("data", {})
            shown += content.get("text", "") + content.get("data", {}).get("text/plain", "")
            if interrupted_at is not None and interrupted_at in shown:
                interrupted_at = None
                self.manager.interrupt_kernel()

        reply = self.client.execute_interactive(code, timeout=180, output_hook=output)["content"]
        assert interrupted_at is None, shown
        return shown, reply


@pytest.fixture(params=[pytest.param("without ipywidgets", marks=pytest.mark.slow), "with ipywidgets"])
def notebook(request: pytest.FixtureRequest, tmp_path: pathlib.Path, digits_dir: pathlib.Path) -> Iterator[Notebook]:
    manager, client = start_new_kernel(kernel_name="python3", cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        opened = Notebook(manager, client)
        hidden = request.param == "without ipywidgets"
        prepare = PREPARE.format(hidden=hidden, runs=str(tmp_path), data=str(digits_dir))
        shown, reply = opened.run(prepare)
        assert reply["status"] == "ok", shown
        assert opened.run("import ipywidgets")[1]["status"] == ("error" if hidden else "ok")
        yield opened
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_training_shows_its_epochs_and_resumes_after_an_interrupt(notebook: Notebook) -> None:
    shown, reply = notebook.run("run = train(small(2), Options(**places)); print(run.summary['status'])")
    assert reply["status"] == "ok", shown
    for text in ("parameters", "epoch 1/2", "epoch 2/2  train", "completed"):
        assert text in shown

    long = "train(small({}), Options(**places))"
    began = time.monotonic()
    shown, reply = notebook.run(long.format(100_000), interrupted_at="about ")
    assert time.monotonic() - began < 120
    assert (reply["status"], reply["ename"]) == ("error", "Interrupted")
    assert notebook.run("print(1 + 1)")[0] == "2\n"
    shown, _ = notebook.run(long.format(100_000), interrupted_at="about ")
    assert "continued from step" in shown
