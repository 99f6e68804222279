"""Invalid input is refused with a message; accepted input is read back unchanged."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
import subprocess
import sys

import pytest
from rich.console import Console

from jaxopt_bench import Experiment, UserError, catalog, load_run
from jaxopt_bench.cli.entry import parse
from jaxopt_bench.cli.printing import print_result
from jaxopt_bench.config import flattened
from jaxopt_bench.results import load
from jaxopt_bench.runs import load_evaluation
from tests.faults.harness import ROOT, truncate
from tests.mutations import damaged_json, damaged_lines, mutated, scrambled

FEW, MANY = 40, 2500
TIMES = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
NAMES = ("digits_cnn_adamw", "cifar100_alexnet_adamw", "cifar10_resnet18_padam", "digits_cnn_nadam")
WORDS = (
    "nan",
    "inf",
    "-1",
    "1e999",
    "0",
    "",
    "x",
    "1,2",
    "[1]",
    "None",
    "true",
    "9" * 400,
    "../..",
    "\udcff",
    "🦉",
    "--seed",
)


def answered(call, argument):
    """Returns whether a function refuses its argument: by a UserError with a short message, or as flags are refused."""
    try:
        call(argument)
    except UserError as error:
        message = str(error)
    except SystemExit as stop:
        message = {0: "help", 2: "misuse"}.get(stop.code, "")
    else:
        return False
    assert message.strip(), argument
    assert len(message) < 2000, argument
    return True


def remade(values):
    """Makes an experiment, and asserts that it is read back from its JSON."""
    made = Experiment.from_json(values)
    assert Experiment.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert re.fullmatch("[0-9a-f]{12}", made.digest)


def used(path):
    """Reads all records of a run, as commands and reports do, and returns the run."""
    run = load_run(path)
    experiment = run.experiment
    assert Experiment.from_json(experiment.to_json()) == experiment
    _ = run.problem_metrics, run.steps_per_epoch, run.best_step, run.checkpoints, experiment.digest
    print_result(run, Console(file=io.StringIO()))
    load(path)
    return run


@pytest.fixture(scope="session")
def evaluated(wholes):
    """Returns the directory of an undisturbed run that has an evaluation."""
    return wholes("single").whole[0].path


@pytest.fixture
def copy(evaluated, tmp_path):
    """Returns a copy of that directory without the checkpoints."""
    return shutil.copytree(evaluated, tmp_path / evaluated.name, ignore=shutil.ignore_patterns("checkpoints"))


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("config.json", damaged_json), ("summary.json", damaged_json), ("metrics.jsonl", damaged_lines),
        ("evaluation.npz", scrambled),
    ],
)  # fmt: skip
def test_damaged_records_are_refused_or_read_completely(file, damage, times, copy, tally):
    content = (copy / file).read_bytes()
    refused = 0
    for i in range(times):
        dice = random.Random(f"{file} {i}")
        (copy / file).write_bytes(damage(content, dice))
        refused += answered(load_evaluation if file == "evaluation.npz" else used, copy)
    assert refused > times / 4
    tally.add(f"damaged {file}", times)


@pytest.mark.parametrize("times", TIMES)
def test_damaged_experiments_are_refused_or_read_back_unchanged(times, tally):
    whole = [catalog.find(name).to_json() for name in NAMES]
    refused = 0
    for i in range(times):
        dice = random.Random(i)
        values = mutated(dice.choice(whole), dice)
        refused += answered(remade, values)
    assert refused > times / 4
    tally.add("damaged experiments", times)


@pytest.mark.parametrize("times", [FEW, pytest.param(MANY // 5, marks=pytest.mark.slow)])
def test_random_flags_are_accepted_or_refused_with_a_message(times, tally, capsys):
    names = flattened(catalog.find("digits_cnn_adamw").to_json())
    flags = [f"--{name.replace('_', '-')}" for name in names]
    refused = 0
    for i in range(times):
        dice = random.Random(i)
        words = [word for _ in range(dice.randint(1, 3)) for word in (dice.choice(flags), dice.choice(WORDS))]
        refused += answered(parse, ["run", dice.choice(NAMES), *words])
    capsys.readouterr()
    assert refused > times / 4
    tally.add("wrong flags", times)


@pytest.mark.parametrize("times", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_the_command_line_ends_with_an_exit_code_and_a_message(times, copy, digits_dir, tally):
    for i in range(times):
        dice = random.Random(i)
        if i % 2:
            flag = dice.choice(("--epochs", "--batch-size", "--optimizer.momentum", "--seed"))
            words = ["run", "digits_cnn_sgd", flag, dice.choice(("nan", "-1", "x", "1e999", "0.5.5"))]
        else:
            file = copy / dice.choice(("config.json", "summary.json"))
            whole = file.read_bytes()
            truncate(file, dice)
            words = [dice.choice(("show", "results")), str(copy)]
        done = subprocess.run([sys.executable, "-m", "jaxopt_bench", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode in (1, 2), (words, done.stdout)
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()
        if not i % 2:
            file.write_bytes(whole)
    tally.add("bad input on the command line", times)
