"""`python -m experiments.numerics.determinism [flags]`: measures, prints a table, and writes a JSON document."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile

import jax
import tyro
from rich.table import Table

from experiments.numerics.determinism.measure import Bench, Outcome, applicable
from experiments.speed.output.document import origin, write_json
from experiments.speed.output.tables import console

RESULTS = pathlib.Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure which circumstances change the bits of a run."""

    experiment: str = "digits_cnn_adamw"
    """The experiment to train."""
    epochs: int = 3
    """Number of epochs."""
    pythons: tuple[pathlib.Path, ...] = ()
    """Interpreters of environments with other versions of JAX, Optax or other packages."""
    without: tuple[str, ...] = ()
    """Circumstances to leave out, for example because they take long."""
    data_dir: pathlib.Path | None = None
    """TFDS data directory; by default a temporary one, which is sufficient for the digits."""
    out: pathlib.Path | None = None
    """The JSON document; by default experiments/numerics/determinism/results/<experiment>.json."""


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.numerics.determinism")
    circumstances = applicable(jax.default_backend(), flags.pythons, flags.without)
    outcomes, screen = [], console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch)
        (folder / "runs").mkdir()
        bench = Bench(flags.experiment, flags.epochs, folder / "runs", flags.data_dir or folder / "data")
        for outcome in bench.outcomes(circumstances):
            outcomes.append(outcome)
            screen.print(f"{outcome.circumstance}: measured")
    screen.print(table(outcomes))
    document = {
        **origin("experiments.numerics.determinism"),
        "experiment": flags.experiment,
        "epochs": flags.epochs,
        "rows": [dataclasses.asdict(outcome) for outcome in outcomes],
    }
    out = flags.out or RESULTS / f"{flags.experiment}.json"
    write_json(out, document)
    print(f"written to {out}")


def table(outcomes: list[Outcome]) -> Table:
    """Returns the table of results, with one row for each circumstance."""
    table = Table("circumstance", "state", "metrics", "parameters differ by", "train loss", "test accuracy", box=None)
    for outcome in outcomes:
        same = ["same bits" if each else "no" for each in (outcome.same_state, outcome.same_metrics)]
        last, accuracies = outcome.train_losses["last"], outcome.test_accuracies
        numbers = [f"{last[0]:.4f}, {last[1]:.4f}", ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)]
        table.add_row(outcome.circumstance, *same, f"{outcome.parameters:.1e}", *numbers)
    return table


if __name__ == "__main__":
    main()
