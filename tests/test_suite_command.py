"""A small suite is trained and judged on the command line: its output, its JSON and its exit codes."""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil

import numpy as np
import pytest
import scipy.stats

from jaxopt_bench.cli import main

pytestmark = pytest.mark.long

SUITE = """
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import SGD, AdamW, Axis, Constant, Space
from jaxopt_bench.problems import Classification, DeepLinear, NoisyQuadratic
from jaxopt_bench.study import Contender, Study

RATES = Space({"optimizer.learning_rate": Axis(1e-3, 1e-1, "log")})
FLAT = Classification(dataset="digits", model=CNN(channels=(), dense=8))
STUDIES = {
    "suite": Study(
        name="suite",
        workloads=(
            Workload(name="flat", problem=FLAT, epochs=2, batch_size=64),
            Workload(name="noisy", problem=NoisyQuadratic(dimensions=20, examples=40), epochs=4, batch_size=4),
            Workload(name="linear", problem=DeepLinear(width=4, examples=20), epochs=4, batch_size=1),
        ),
        contenders=(
            Contender(name="sgd", optimizer=SGD(), schedule=Constant(), space=RATES),
            Contender(name="adamw", optimizer=AdamW(), schedule=Constant(), space=RATES),
        ),
        trials=2,
        finalists=0,
        seeds=3,
        select="train_clean_loss",
    ),
}
"""
HOPELESS = """
import optax

def hopeless(learning_rate: float = 0.1):
    return optax.chain(optax.scale_by_learning_rate(learning_rate), optax.scale(1e-9))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits_dir) -> pathlib.Path:
    """Trains the suite in a folder, and returns the folder; printed.txt contains the output of the command."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "suite.py").write_text(SUITE)
    with pytest.MonkeyPatch.context() as patch, (folder / "printed.txt").open("w") as printed:
        patch.chdir(folder)
        patch.setenv("TFDS_DATA_DIR", str(digits_dir))
        patch.setenv("COLUMNS", "200")
        with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as ending:
            main(["compare", "suite.py", "--json", "answer.json"])
    assert ending.value.code == 0
    return folder


@pytest.fixture
def suite(trained, call, tmp_path) -> pathlib.Path:
    """Returns the folder of a test with a copy of the trained suite."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def lines(run: pathlib.Path, split: str, name: str) -> list[float]:
    """Returns the values of a metric on a split at the ends of a run's epochs."""
    read = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[name] for line in read if line["split"] == split]


def confirmed(folder: pathlib.Path, workload: str, contender: str) -> list[pathlib.Path]:
    runs = json.loads((folder / "study.json").read_text())["runs"]
    kept = (workload, contender, "confirmation")
    return [folder / r["path"] for r in runs if (r["workload"], r["contender"], r["phase"]) == kept]


def test_the_answer_over_all_workloads_is_printed_and_written(suite, call):
    answer = json.loads((suite / "answer.json").read_text())
    said = " ".join((suite / "printed.txt").read_text().split())
    assert "Results over 3 workloads" in said
    assert answer["suite"]["text"] in said
    assert "cannot be settled" in answer["suite"]["text"]  # 3 workloads are too few
    assert answer["suite"]["workloads"] == ["flat", "noisy", "linear"]
    assert answer["reference"] == "adamw"
    own = {each["name"]: each for each in answer["suite"]["optimizers"]}
    for name in ("sgd", "adamw"):
        scores = np.concatenate([*own[name]["scores"].values()])
        assert own[name]["score"]["value"] == pytest.approx(scipy.stats.trim_mean(scores, 0.25))
    for workload in ("noisy", "linear"):
        scale = answer["suite"]["scales"][workload]
        gaps = [lines(run, "train_clean", "gap")[-1] for run in confirmed(suite / "studies/suite", workload, "sgd")]
        expected = np.maximum(0, np.log(scale["zero"] / np.array(gaps)) / np.log(scale["zero"] / scale["one"]))
        assert own["sgd"]["scores"][workload] == pytest.approx(expected)
    code, again, _ = call("results", "studies/suite")
    assert code == 0
    assert answer["suite"]["text"] in " ".join(again.split())
    code, printed, _ = call("results", "studies/suite", "--json", "-")
    assert json.loads(printed) == answer
    code, printed, _ = call("results", "studies/suite", "--json", "-", "--reference", "sgd")
    assert json.loads(printed)["reference"] == "sgd"
    assert call("results", "studies/suite", "--reference", "adamm", "--json", "-")[0] == 1


def test_steps_to_the_references_result_agree_with_the_recorded_curves(trained):
    answer = json.loads((trained / "answer.json").read_text())
    splits = {"flat": ("validation", "accuracy"), "noisy": ("train_clean", "loss"), "linear": ("train_clean", "loss")}
    for workload in answer["workloads"]:
        (versus,) = workload["versus_reference"]
        split, name = splits[workload["name"]]
        assert versus["steps"]["measure"] == f"{split}_{name}"
        curves = {
            contender: np.array(
                [lines(run, split, name) for run in confirmed(trained / "studies/suite", workload["name"], contender)]
            )
            for contender in ("sgd", "adamw")
        }
        sign = -1 if name == "accuracy" else 1
        mean, target = sign * curves["sgd"].mean(axis=0), sign * curves["adamw"][:, -1].mean()
        assert versus["steps"]["reached"] == bool((mean <= target).any())


@pytest.mark.slow
def test_an_added_optimizer_that_is_worse_gives_exit_code_4(suite, call):
    (suite / "mine.py").write_text(HOPELESS)
    added = ["compare", "suite.py", "--add", "mine.py:hopeless"]
    code, out, _ = call(*added, "--fail-if-worse-than", "adamw", "--json", "worse.json")
    assert code == 4
    assert "hopeless is significantly worse than adamw on " in out
    assert json.loads((suite / "worse.json").read_text())["complete"]
    code, out, _ = call(*added)
    assert code == 0  # without the flag, results do not matter
    code, out, error = call("compare", "studies/suite", "--add", "nadam", "--fail-if-worse-than", "hopeless")
    assert (code, error) == (0, "")
    assert "No added optimizer is significantly worse than hopeless." in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--fail-if-worse-than", "sgd"], 2, "needs an added optimizer. Expected --add OPTIMIZER, too"),
        (["--fail-if-worse-than", "lion", "--add", "lion"], 2, "which --add names, too"),
        (["--fail-if-worse-than", "sdg", "--add", "lion"], 1, "did you mean sgd"),
        (["--reference", "sdg"], 1, "unknown optimizer in --reference 'sdg'"),
        (["--only", "adamw, sdg"], 1, "unknown optimizer in --only 'sdg'"),
        (["--json", "-"], 2, "--json is -, which is standard output, but the tables"),
        (["--json", "absent/answer.json"], 2, "'absent' is not a folder. Expected a file in an existing folder"),
    ],
)
def test_invalid_flags_are_refused_before_training(call, tmp_path, words, code, said):
    (tmp_path / "suite.py").write_text(SUITE)
    found, _, error = call("compare", "suite.py", *words)
    assert (found, said in error) == (code, True), error
    assert not (tmp_path / "studies").exists()


def test_the_end_of_the_chosen_optimizers_is_not_reported_as_missing_results(call, tmp_path):
    (tmp_path / "suite.py").write_text(SUITE)
    code, out, _ = call("compare", "suite.py", "--workloads", "noisy", "--only", "adamw")
    assert code == 0
    assert "adamw has finished on all workloads of the study suite. 1 other optimizer is not recorded yet." in out
    assert "Missing" not in out
    code, out, _ = call("compare", "suite.py", "--workloads", "noisy", "--only", "sgd")
    assert (code, "not recorded yet" in out) == (0, False)


def test_json_of_a_folder_without_a_study_is_refused(suite, call):
    code, _, error = call("results", "studies/suite/confirmations", "--json", "-")
    assert code == 1
    assert "holds 0 studies. Expected for --json: the folder of one study" in error
