"""`--widen` adds trials beyond an edge towards which results improve.

All optimizers get equally many more trials, and no run is trained twice.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from jaxopt_bench.compare import make_newcomer, make_newcomer_study, tuning_differences, widen
from jaxopt_bench.compare import widening as module
from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, Axis, Padam, Space
from jaxopt_bench.study import Contender, Document, Extension, Study, find_study, points, units

STUDY = """
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import SGD, Axis, Constant, Space
from jaxopt_bench.problems import NoisyQuadratic
from jaxopt_bench.study import Contender, Study

def contender(name, low, high):
    space = Space({"optimizer.learning_rate": Axis(low, high, "log")})
    return Contender(name=name, optimizer=SGD(), schedule=Constant(), space=space)

PROBLEM = NoisyQuadratic(examples=64)
STUDIES = {
    "slow": Study(
        name="slow",
        workloads=(Workload(name="bowl", problem=PROBLEM, epochs=2, batch_size=16),),
        contenders=(contender("short", 1e-4, 1e-2), contender("right", 1e-2, 10.0)),
        trials=8,
        seeds=2,
        select="train_clean_loss",
    ),
}
"""


def runs(folder: pathlib.Path) -> dict[str, tuple[int, str]]:
    """Returns the time at which each run's summary was written, and its text, by the run's path."""
    return {
        str(path.parent.relative_to(folder)): (path.stat().st_mtime_ns, path.read_text())
        for path in folder.rglob("summary.json")
    }


def counts(folder: pathlib.Path) -> dict[str, int]:
    """Returns the number of trials of each contender."""
    found = [r["contender"] for r in json.loads((folder / "study.json").read_text())["runs"] if r["phase"] == "trial"]
    return {name: found.count(name) for name in found}


@pytest.mark.slow
def test_a_space_is_extended_beyond_the_edge_towards_which_results_improve(call, tmp_path):
    (tmp_path / "slow.py").write_text(STUDY)
    folder = tmp_path / "studies" / "slow"
    code, _, error = call("compare", "slow.py", "--widen")
    assert code == 1
    assert "--widen needs the results of a study, and studies/slow holds none" in error
    code, out, _ = call("compare", "slow.py")
    assert code == 0
    said = " ".join(out.split())
    assert "where the best trial lies: short (learning_rate, high). --widen extends it there, with as many" in said
    before = runs(folder)
    assert counts(folder) == {"short": 8, "right": 8}

    code, out, _ = call("compare", "slow.py", "--widen")
    assert code == 0
    said = " ".join(out.split())
    assert "short: 4 trials in learning_rate 0.01 to 0.1 (1 decade)." in said
    assert (
        "Every tuned optimizer gets 4 more trials. Those of right that are not listed above are drawn in the earlier "
        "search space." in said
    )
    assert counts(folder) == {"short": 12, "right": 12}
    after = runs(folder)
    trials = {path for path in before if path.startswith("trials/")}
    assert {path: after[path] for path in trials} == {path: before[path] for path in trials}
    assert len([path for path in after if path.startswith("trials/")]) == len(trials) + 8
    document = json.loads((folder / "study.json").read_text())
    (winner,) = [s for s in document["selections"] if s["contender"] == "short"]
    assert winner["trial"] >= 8
    assert 0.01 < winner["values"]["optimizer.learning_rate"] <= 0.1
    assert any(
        "short in learning_rate 0.01 to 0.1 (1 decade) (trials 9 to 12)" in rule for rule in document["protocol"]
    )

    code, _, _ = call("compare", "slow.py")  # without the flag, no run is left to train
    assert code == 0
    assert runs(folder) == after
    assert find_study(str(folder)).trials == 12

    again = widen(find_study(str(folder)), folder)
    assert again.said[1:] == (
        "short: 4 trials in learning_rate 0.1 to 1 (1 decade).",
        "Every tuned optimizer gets 4 more trials. Those of right that are not listed above are drawn in the earlier "
        "search space.",
    )
    for unit in units(again.study):
        assert len(points(again.study, unit)) == 16
    confirmation = next(run for run in document["runs"] if run["phase"] == "confirmation")
    (folder / confirmation["path"] / "summary.json").unlink()
    waiting = widen(find_study(str(folder)), folder)
    assert waiting.said == ("Not widened: some runs have not ended. They continue now; then use --widen again.",)
    assert waiting.study == find_study(str(folder))


RATES = Axis(1e-3, 1.0, "log")


def study_of(small: Study, **fields: Any) -> Study:
    space = Space({"optimizer.learning_rate": RATES, "optimizer.partial": Axis(0.1, 0.2, "log")})
    contenders = tuple(Contender(name=name, optimizer=Padam(), space=space) for name in ("a", "b", "c"))
    fixed = Contender(name="fixed", optimizer=SGD(), space=Space())
    return dataclasses.replace(small, contenders=(*contenders, fixed), **{"trials": 10, **fields})


@pytest.fixture
def improving(monkeypatch, tmp_path, small):
    """Returns a function that widens a study whose results improve towards given edges."""

    def made(edges: dict[str, list[str]], **fields: Any) -> module.Widening:
        study = study_of(small, **fields)
        Document(study).write(tmp_path / "study.json")
        monkeypatch.setattr(module, "_has_ended", lambda *_: True)
        monkeypatch.setattr(module, "_improving", lambda _: edges)
        return widen(study, tmp_path)

    return made


HIGH, LOW, EXPONENT = "optimizer.learning_rate (high)", "optimizer.learning_rate (low)", "optimizer.partial (high)"


def test_with_several_edges_all_optimizers_still_have_equally_many_trials(improving):
    """On several workloads, results can improve towards different edges."""
    found = improving({"a": [HIGH, LOW, EXPONENT], "b": [HIGH]})
    assert found.said == (
        "Widened where results still improve towards an edge of a search space.",
        "a: 4 trials in learning_rate 1 to 10 (1 decade).",
        "a: 4 trials in learning_rate 0.0001 to 0.001 (1 decade).",
        "a: 4 trials in partial 0.2 to 0.5 (0.398 decades).",
        "b: 4 trials in learning_rate 1 to 10 (1 decade).",
        "Every tuned optimizer gets 12 more trials. Those of b and c that are not listed above are drawn in the "
        "earlier search space.",
    )
    assert found.study.trials == 22
    assert {len(points(found.study, unit)) for unit in units(found.study) if unit.contender.searched} == {22}
    assert [(e.after, e.until) for e in found.study.contender("a").extensions] == [(10, 14), (14, 18), (18, 22)]
    assert [(e.after, e.until) for e in found.study.contender("b").extensions] == [(10, 14)]


@pytest.mark.parametrize(
    ("fields", "budget", "grown"),
    [
        ({"trials": 40}, "trials", 50),  # a quarter
        ({"trials": None, "total_epochs": 6}, "total_epochs", 10),  # four trials of one epoch
        ({"trials": None, "total_epochs": 40, "trial_seeds": 5}, "total_epochs", 60),  # four trials of five seeds
    ],
)
def test_a_box_has_a_quarter_of_the_budget_and_at_least_four_trials(improving, fields, budget, grown):
    assert getattr(improving({"a": [HIGH]}, **fields).study, budget) == grown


def test_without_an_edge_nothing_is_widened(improving):
    found = improving({})
    assert found.said == ("Not widened: no optimizer's results improve towards an edge of its search space.",)
    assert all(not contender.extensions for contender in found.study.contenders)


def test_a_grid_is_not_widened(improving):
    with pytest.raises(UserError, match="--widen cannot add trials to a grid"):
        improving({"a": [HIGH]}, search="grid")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "0/2"], "--widen needs the results of the whole study. Expected no --shard"),
        (["--baselines", "digits", "--add", "lion"], "--widen would give newcomers more trials"),
    ],
)
def test_flags_that_contradict_widen_are_refused(call, words, message):
    code, _, error = call("compare", "digits", "--widen", *words)
    assert code == 2
    assert message in " ".join(error.split())


def test_newcomers_have_as_many_trials_as_the_widened_study(small):
    box = Space({"optimizer.learning_rate": Axis(0.1, 1.0, "log")})
    sgd = dataclasses.replace(small.contenders[0], extensions=(Extension(after=3, until=7, space=box),))
    recorded = dataclasses.replace(small, trials=7, contenders=(sgd, small.contenders[1]))
    lion = make_newcomer(recorded, "lion")
    new = make_newcomer_study(small, Document(recorded), [lion])
    assert (new.trials, len(points(new, units(new)[0]))) == (7, 7)
    said = tuning_differences(recorded, [lion])[0]
    assert said == (
        "Of the baselines, some trials are drawn beyond an edge of a search space towards which results improved: sgd "
        "in learning_rate 0.1 to 1 (1 decade) (trials 4 to 7). Newcomers have as many trials, all in their own search "
        "spaces."
    )
    with pytest.raises(UserError, match="recorded with trials 7, and the study has 4"):
        make_newcomer_study(dataclasses.replace(small, trials=4), Document(recorded), [lion])
