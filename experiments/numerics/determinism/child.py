"""Trains one population in its own process: `python -m experiments.numerics.determinism.child ORDER.json`.

The order is a JSON object:
  experiment: the name of the experiment.
  epochs, seed: the number of epochs, and the seed of the first member.
  runs_dir, data_dir: see `train`.
  layers, loop: the implementation of the layers and the kind of loop; null for the backend's default. (XLA's own
    convolutions need the loop in Python, because they are slow in compiled loops.)
  members: the number of members that are trained together, with consecutive seeds.
  log_every, checkpoint_every: numbers of steps. They divide the compiled loop into parts.
  stop_at: the step at which the run is interrupted and then resumed; null for never.
  deterministic: see `choose_code_path`.
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
    """Trains the population that the order describes."""
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
