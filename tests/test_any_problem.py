"""Commands with a user's problem that has no images, no labels and no accuracy."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from jaxopt_bench import load_run
from jaxopt_bench.runs.session import Session
from tests.runs.test_train import assert_same

PROBLEM = '''
import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_bench import Metric, Problem

def springs(stiffness: float = 2.0):
    """The rest length and the stiffness of a spring are fitted to measured forces."""
    random = np.random.default_rng(0)
    stretch = random.uniform(0.5, 1.5, 300).astype(np.float32)
    force = (stiffness * (stretch - 1) + 0.01 * random.normal(size=300)).astype(np.float32)
    part = lambda first, last: {"stretch": stretch[first:last], "force": force[first:last]}

    def init(key):
        return {"stiffness": jax.random.uniform(key), "rest": jnp.zeros(())}

    def loss(params, batch, key):
        errors = params["stiffness"] * (batch["stretch"] - params["rest"]) - batch["force"]
        return errors**2, {"squared_error": errors**2, "squared_force": batch["force"] ** 2}

    error = Metric(
        name="relative_error", untrained=1.0, least=0.0, resampling="ratio",
        of=lambda means: jnp.sqrt(means["squared_error"] / means["squared_force"]),
        needs=("squared_error", "squared_force"),
    )
    return Problem(
        train=part(0, 200), validation=part(200, 250), test=part(250, 300), init=init, loss=loss,
        metrics=[error, Metric(name="loss", unit="N²", least=0.0)], random=False,
    )
'''  # fmt: skip

STUDY = """
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.problems import PROBLEMS
from jaxopt_bench.study import Claim, Comparison, Contender, Study, Target

STUDIES = {
    "fitting": Study(
        name="fitting",
        workloads=(Workload(name="springs", problem=PROBLEMS["springs.py:springs"], epochs=4, batch_size=20),),
        contenders=tuple(Contender(name=name, optimizer=OPTIMIZERS[name]) for name in ("momentum", "adam")),
        trials=3,
        finalists=0,
        seeds=3,
        select="validation_relative_error",
        targets=(Target(workload="springs", measure="validation_relative_error", value=0.5),),
        claims=(
            Claim(
                text="Adam fits worse",
                source="a test",
                comparisons=(Comparison(measure="test_relative_error", lower="momentum", higher="adam"),),
            ),
        ),
    ),
}
"""

EXPERIMENT = """
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import Adam
from jaxopt_bench.problems import PROBLEMS

EXPERIMENTS = {
    "springs_adam": Experiment(
        workload=Workload(problem=PROBLEMS["springs.py:springs"], epochs=4, batch_size=20),
        optimizer=Adam(learning_rate=0.05),
    )
}
"""

FOREIGN = re.compile(r"\b(images?|labels?|classes|accuracy|dataset|pixels)\b", re.IGNORECASE)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "springs.py").write_text(PROBLEM)
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    return tmp_path


def test_run_show_report_and_results(call, files):
    code, out, err = call("run", "experiment.py", "--evaluation", "--problem.stiffness", "3")
    assert code == 0, err
    (path,) = (files / "runs" / "springs_adam").iterdir()
    run = load_run(path)
    assert [metric.name for metric in run.problem_metrics] == ["relative_error", "loss"]
    force = lambda x: 3 * (x - 1)  # noqa: E731
    fitted = run.parameters()
    random = np.random.default_rng(0)
    stretch = random.uniform(0.5, 1.5, 300).astype(np.float32)
    measured = (force(stretch) + 0.01 * random.normal(size=300)).astype(np.float32)[250:].astype(np.float64)
    found = float(fitted["stiffness"]) * (stretch[250:].astype(np.float64) - float(fitted["rest"]))
    expected = np.linalg.norm(found - measured) / np.linalg.norm(measured)
    assert run.summary is not None
    assert run.summary["final"]["test_relative_error"] == pytest.approx(expected, rel=1e-4)
    assert run.summary["final"]["test_loss"] == pytest.approx(np.mean((found - measured) ** 2), rel=1e-4)
    outputs = [out]
    for words in (["show", str(path)], ["results", "runs"], ["report", str(path)], ["list", "problems"]):
        code, out, err = call(*words)
        assert code == 0, err
        outputs += [out] if words[0] != "list" else []
    page = next((files / "reports").glob("*/index.html")).read_text()
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    for said in (*outputs, re.sub("<[^>]*>", " ", text)):
        assert not FOREIGN.search(said), FOREIGN.search(said)
    assert all("relative" in said for said in (*outputs[:3], text))


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(call, files, monkeypatch):
    assert call("run", "experiment.py", "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("jaxopt_bench.runs.session.Session._dispatch", _stopped_after(25))
        assert call("run", "experiment.py", "--out", "stopped", "--checkpoint-every", "5")[0] == 130
    code, out, _ = call("run", "experiment.py", "--out", "stopped", "--checkpoint-every", "5")
    assert code == 0
    assert "continued from step" in out
    whole, stopped = (load_run(next(path.glob("*/*"))) for path in (files / "whole", files / "stopped"))
    assert_same(whole, stopped)


def _stopped_after(step):
    original = Session._dispatch

    def dispatch(session):
        dispatched = original(session)
        session.stop.signal = 2 if session.step >= step else None
        return dispatched

    return dispatch


def test_sweep(call, files):
    code, out, err = call("sweep", "experiment.py", "--optimizer.learning-rate", "0.01,0.1", "--seeds", "2")
    assert code == 0, err
    assert "relative" in out
    assert not FOREIGN.search(out), FOREIGN.search(out)
    assert len(list((files / "runs").glob("*/*/summary.json"))) == 4


def test_a_study_is_ranked_by_its_headline_metric_and_read_without_its_code(call, files):
    code, out, err = call("compare", "study.py")
    assert code == 0, err
    results = [json.loads(path.read_text()) for path in files.glob("studies/fitting/confirmations/*/*/summary.json")]
    means = {
        name: np.mean([r["final"]["test_relative_error"] for r in results if r["experiment"] == f"springs_{name}"])
        for name in ("momentum", "adam")
    }
    best = min(means, key=means.__getitem__)
    assert f"{best} has the lowest mean test relative error, {means[best]:.4f}" in " ".join(out.split())
    assert not FOREIGN.search(out), FOREIGN.search(out)
    for file in ("springs.py", "study.py"):
        (files / file).unlink()
    for words in (["report", "studies/fitting"], ["results", "studies/fitting"]):
        code, out, err = call(*words)
        assert code == 0, err
        assert not FOREIGN.search(out), FOREIGN.search(out)
