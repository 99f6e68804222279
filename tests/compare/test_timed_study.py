"""`compare --problem`: its budget fits the given time, its study can be continued, its answer contains code."""

from __future__ import annotations

import importlib
import pathlib

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.cli import main
from jaxopt_bench.compare import timed_study
from jaxopt_bench.compare.costs import Costs
from jaxopt_bench.compare.timed_study import BUDGETS, batch_size, budget
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import Constant
from jaxopt_bench.optimizers.schedules import warmup_of
from jaxopt_bench.problems import load
from jaxopt_bench.runs.progress import Reporter
from jaxopt_bench.study import plan_all_runs, protocol, read_document, units

MODULE = importlib.import_module("jaxopt_bench.compare.timed_study")  # not the function of this name

SOURCE = """
import jax.numpy as jnp
import numpy as np
from jaxopt_bench import Metric, Problem

X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)

def line(slope: float = 1.0, split: bool = True):
    y = slope * X.sum(axis=1)
    return Problem(
        train=(X[:160], y[:160]),
        validation=(X[160:], y[160:]) if split else None,
        init=lambda key: jnp.zeros(3),
        loss=lambda w, batch, key: (batch[0] @ w - batch[1]) ** 2,
    )
"""


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "mine.py").write_text(SOURCE)
    return tmp_path / "mine.py"


class MessageRecorder(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize("program", [0.1, 5.0, 40.0])
@pytest.mark.parametrize("step", [1e-5, 1e-3, 0.05])
@pytest.mark.parametrize("steps_per_epoch", [5, 400])
def test_a_budget_fits_the_time_and_uses_it(program, step, steps_per_epoch):
    """The smallest budget may exceed the time. One more epoch would exceed it unless the study has the most epochs."""
    costs, seconds = Costs(program, step, 0.1, steps_per_epoch), 600.0
    runs, epochs = budget(costs, 6, seconds)
    assert 3 <= runs <= 8
    assert 1 <= epochs <= 100
    left = max(seconds - costs.programs(6, again=12), 0.25 * seconds)
    finalists, seeds = BUDGETS[runs]
    of_one = 2 * runs + finalists * seeds  # trials, as many confirmations, and re-runs of finalists
    if (runs, epochs) != (3, 1):
        assert costs.epochs(6 * of_one * epochs) <= left
    if epochs < 100:
        assert costs.epochs(6 * of_one * (epochs + 1)) > left
    if epochs < 10:
        assert runs == 3
    slower = budget(Costs(program, 10 * step, 0.1, steps_per_epoch), 6, seconds)
    assert slower[0] * slower[1] <= runs * epochs


@pytest.mark.parametrize("runs", BUDGETS)
def test_the_budget_counts_all_runs_of_the_study(file, runs):
    problem = load(f"{file}:line")()
    made = MODULE.study_of(Workload(name="line", problem=problem, epochs=7, batch_size=8), problem.load(), runs, 20)
    assert (made.trials, made.seeds) == (runs, runs)
    finalists, seeds = BUDGETS[runs]
    assert finalists * seeds in (0, runs)  # so that one program trains all runs
    planned = sum(len(own) for unit in units(made) for own in plan_all_runs(made, unit).values())
    assert planned == len(made.contenders) * (2 * runs + finalists * seeds)


@pytest.mark.parametrize(("examples", "size"), [(5, 5), (100, 8), (200, 8), (720, 32), (2560, 128), (10**6, 128)])
def test_an_epoch_has_at_least_twenty_steps_if_possible(examples, size):
    assert batch_size(examples) == size


def test_the_study_of_a_problem_is_fixed_when_it_begins(file, tmp_path, monkeypatch):
    problem = load(f"{file}:line")(slope=2.0)
    monkeypatch.setattr(MODULE, "measure_costs", lambda *_: Costs(1.0, 1e-4, 0.01, 20))
    said = MessageRecorder()
    study = timed_study(problem, tmp_path / "study", 2.0, None, said)
    (workload,) = study.workloads
    assert (study.name, workload.batch_size, study.trials, study.select) == ("line", 8, study.seeds, "validation_loss")
    assert [c.name for c in study.contenders] == list(MODULE.OPTIMIZERS_COMPARED)
    assert all(c.searched for c in study.contenders)
    warmups = {warmup_of(c.schedule)[0] for c in study.contenders}
    assert len(warmups) == 1
    assert warmups != {0}
    assert [c.name for c in study.contenders if isinstance(c.schedule, Constant)] == ["schedule_free_adamw"]
    said_of_schedules = next(sentence for sentence in protocol(study) if "schedules differ" in sentence)
    assert "; schedule_free_adamw under constant (warmup " in said_of_schedules
    assert "which the method prescribes (Defazio et al., 2024: " in said_of_schedules
    assert f"of {workload.epochs} epochs each: about" in said.lines[-2]
    assert f"With {study.seeds} seeds for each of 6 optimizers, a difference must be 2.3 times" in said.lines[-1]
    without = timed_study(load(f"{file}:line")(split=False), tmp_path / "study", 2.0, None, said)
    assert without.select == "train_clean_loss"


def test_the_command_prints_code_and_can_be_repeated(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MODULE, "OPTIMIZERS_COMPARED", ("momentum",))
    monkeypatch.setattr(MODULE, "MOST_EPOCHS", 2)
    words = ["compare", "--problem", "mine.py:line", "--problem.slope", "2", "--minutes", "0.5", "--seeds", "3"]
    for _ in range(2):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0, capsys.readouterr()
        out = capsys.readouterr().out
        code = out[out.index("import optax") :]
        names: dict = {}
        exec(compile(code, "pasted", "exec"), names)
        assert "optax.sgd(learning_rate, momentum=0.9)" in code
    assert "whose budget was fixed when it began" in out
    study = read_document(tmp_path / "studies" / "line" / "study.json").study
    assert (study.seeds, study.workloads[0].problem.slope) == (3, 2.0)
    with pytest.raises(UserError, match=r"holds a study of another problem: line\. Expected --out FOLDER"):
        timed_study(load(f"{file}:line")(slope=3.0), tmp_path / "studies" / "line", 1.0, None, Reporter())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--problem", "absent.py:line"], "absent.py is not a file"),
        (["--dataset", "absent.csv"], "absent.csv"),
        (["--problem", "mine.py:line", "--minutes", "0"], "--minutes is 0. Expected a number > 0"),
        (["--problem", "mine.py:line", "--baselines", "digits"], "--baselines is for a recorded study"),
        (["--dataset", "digit"], "did you mean digits"),
    ],
)
def test_mistakes_are_reported_before_training(words, message, file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["compare", *words])
    assert end.value.code in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "studies").exists()
