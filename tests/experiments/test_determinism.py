"""The measurement of determinism: how it compares runs, and its recorded results, in the documentation and here."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from experiments.numerics.determinism.measure import CIRCUMSTANCES, Bench, applicable, compared
from jaxopt_bench import UserError, train
from jaxopt_bench.optimizers import AdamW
from jaxopt_bench.runs import Options, Recording, Reporter

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = sorted((ROOT / "experiments/numerics/determinism/results").glob("*.json"))
LAYERS = ("layers `native`", "layers `onednn`", "layers `plain`")
ROUNDED = {"8 devices in sight", "code for AVX2", "updates `optax`", *LAYERS}


@pytest.mark.slow
def test_two_runs_are_compared_by_their_states_metrics_and_parameters(tiny, tmp_path, digits_dir):
    options = {"data_dir": digits_dir, "reporter": Reporter(), "recording": Recording(tensorboard=False)}
    first = train(tiny, Options(runs_dir=tmp_path / "first", **options))
    again = train(tiny, Options(runs_dir=tmp_path / "again", **options))
    other = train(dataclasses.replace(tiny, optimizer=AdamW(learning_rate=6e-3)), Options(runs_dir=tmp_path, **options))
    found = compared("repeated", first, again)
    assert (found.same_state, found.same_metrics, found.parameters) == (True, True, 0.0)
    assert found.environment == {}
    found = compared("other", first, other)
    assert (found.same_state, found.same_metrics) == (False, False)
    pairs = zip(*(jax.tree.leaves(run.parameters()) for run in (other, first)), strict=True)
    squares = [(np.sum((np.asarray(a) - b) ** 2, dtype=float), np.sum(np.square(b), dtype=float)) for a, b in pairs]
    np.testing.assert_allclose(found.parameters, np.sqrt(np.divide(*np.sum(squares, 0))), rtol=1e-4)
    assert found.test_accuracies == [run.summary["final"]["test_accuracy"] for run in (first, other)]


def test_circumstances_of_another_backend_are_left_out():
    cpu, gpu = ({c.name for c in applicable(backend)} for backend in ("cpu", "gpu"))
    assert cpu | gpu | {"layers `onednn`"} == {c.name for c in CIRCUMSTANCES}
    assert cpu - gpu >= {"1 thread", "code for AVX2"}
    assert gpu - cpu == {"on the CPU", "--deterministic"}
    assert cpu - {c.name for c in applicable("cpu", without=["1 thread", "repeated"])} == {"1 thread", "repeated"}
    with pytest.raises(UserError, match="unknown circumstance '2 threads'; did you mean 3 threads"):
        applicable("cpu", without=["2 threads"])


@pytest.mark.parametrize("path", RESULTS, ids=[path.stem for path in RESULTS])
def test_the_documentation_contains_the_recorded_results(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    lines = (ROOT / "jaxopt_bench" / "runs" / "README.md").read_text(encoding="utf-8").splitlines()
    header, *_ = [line for line in lines if line.startswith("| the same command") and document["experiment"] in line]
    column = [cell.strip().strip("`") for cell in header.split("|")].index(document["experiment"])
    for row in document["rows"]:
        (line,) = [line for line in lines if line.startswith(f"| {row['circumstance']} |")]
        said = "same bits" if row["same_state"] else f"{row['parameters']:.0e}"
        assert line.split("|")[column].strip() == said, line


@pytest.mark.slow
def test_the_recorded_results_hold_on_this_machine(tmp_path, digits_dir):
    (tmp_path / "runs").mkdir()
    bench = Bench("digits_cnn_adamw", 3, tmp_path / "runs", digits_dir)
    for outcome in bench.outcomes(applicable("cpu")):
        if outcome.circumstance in ROUNDED:
            assert outcome.parameters < 1e-6, outcome
        else:
            assert outcome.same_state, outcome
