"""A study of a user's problem and a user's model is trained, and is read after the code was deleted."""

from __future__ import annotations

import pytest

from jaxopt_bench import UserError, models, problems
from jaxopt_bench.cli import main
from jaxopt_bench.compare import compare
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models.custom import USERS as MODELS_OF_USERS
from jaxopt_bench.optimizers import OPTIMIZERS, Axis, Constant, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.problems.custom import USERS as PROBLEMS_OF_USERS
from jaxopt_bench.results import load
from jaxopt_bench.study import Contender, Study
from jaxopt_bench.verdict import paragraphs, verdict

SOURCE = '''
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxopt_bench import Metric, Problem

X = np.random.default_rng(0).normal(size=(96, 3)).astype(np.float32)

def line(slope: float = 1.0):
    """Learn a slope."""
    y = slope * X.sum(axis=1)
    cut = lambda a, b: (X[a:b], y[a:b])
    return Problem(
        train=cut(0, 64), validation=cut(64, 80), test=cut(80, 96),
        init=lambda key: jnp.zeros(3),
        loss=lambda w, batch, key: (batch[0] @ w - batch[1]) ** 2,
        metrics=[Metric(name="rmse", of=lambda means: means["loss"] ** 0.5, needs=("loss",), resampling="ratio")],
    )

class Net(nn.Module):
    num_outputs: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.num_outputs)(x.reshape(len(x), -1))
'''


@pytest.mark.slow
def test_a_study_is_read_without_the_code_of_its_problem_and_its_model(tmp_path, digits_dir, monkeypatch, capsys):
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    rates = Space({"optimizer.learning_rate": Axis(1e-3, 1e-1, "log", "ours")})
    workloads = (
        Workload(name="line", problem=problems.load(f"{file}:line")(slope=2.0), epochs=2, batch_size=16),
        Workload(
            name="digits_net",
            problem=Classification(dataset="digits", model=models.load(f"{file}:Net")()),
            epochs=1,
            batch_size=128,
        ),
    )
    contenders = tuple(
        Contender(name=name, optimizer=OPTIMIZERS[name], schedule=Constant(), space=rates) for name in ("sgd", "adam")
    )
    study = Study(name="mine", workloads=workloads, contenders=contenders, trials=2, finalists=0, seeds=2)
    compare(study, tmp_path / "study", data_dir=digits_dir)
    file.unlink()
    for users in (PROBLEMS_OF_USERS, MODELS_OF_USERS):
        monkeypatch.setattr(users, "loaded", {})
    results = load(tmp_path / "study")
    (document,) = results.documents
    assert document.study.to_json() == study.to_json()
    found = verdict(results, document)
    texts = [" ".join(paragraphs(found, ranking)) for ranking in found.rankings]
    assert "On line, " in texts[0]
    assert "test rmse" in texts[0]
    assert "On digits_net, " in texts[1]
    for words in (
        ["results", str(tmp_path / "study")],
        ["report", str(tmp_path / "study"), "--out", str(tmp_path / "page")],
    ):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0, capsys.readouterr()
    with pytest.raises(UserError, match=r"with the code .*, which is not loaded"):
        compare(document.study, tmp_path / "other", data_dir=digits_dir)
