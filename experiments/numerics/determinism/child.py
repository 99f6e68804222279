"""One training in a process of its own: `python -m experiments.numerics.determinism.child ORDER.json`.

The order is a JSON object:
  experiment: its name. epochs, seed: of it.
  runs_dir, data_dir: as of `train`.
  layers, loop: which implementations of the layers, in which loop; as suits the backend where null. (XLA's own
    convolutions go with Python's loop: they are slow in compiled ones.)
  members: how many are trained at once, with consecutive seeds.
  log_every, checkpoint_every: in steps; they say where the compiled loop is cut.
  stop_at: a step at which the run is stopped and gone on with; null for never.
  deterministic: as of `choose_code_path`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import sys

from experiments.speed.measure.stopping import StoppedAt
from jaxopt_bench import catalog
from jaxopt_bench.runs import Interrupted, Options, Recording, train_population
from jaxopt_bench.training import choose_code_path


def main() -> None:
    """Trains what the order says."""
    order = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    path = choose_code_path(deterministic=order["deterministic"])
    path = dataclasses.replace(path, **{name: order[name] for name in ("layers", "loop") if order[name] is not None})
    found = catalog.find(order["experiment"])
    experiments = [found.replace(epochs=order["epochs"], seed=order["seed"] + i) for i in range(order["members"])]
    recording = Recording(order["log_every"], order["checkpoint_every"], tensorboard=False)
    folders = {"runs_dir": order["runs_dir"], "data_dir": order["data_dir"]}
    reporter = StoppedAt(order["stop_at"])
    with contextlib.suppress(Interrupted):
        train_population(experiments, Options(**folders, recording=recording, reporter=reporter, code_path=path))
    train_population(experiments, Options(**folders, recording=recording, reporter=reporter, code_path=path))


if __name__ == "__main__":
    main()
