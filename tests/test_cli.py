"""The command line as a user sees it: flags, names, exit codes and messages."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import pytest

from jaxopt_bench import catalog, kernels, load_run
from jaxopt_bench.cli import parse
from jaxopt_bench.doctor import items as doctor_items
from jaxopt_bench.doctor import make_items
from jaxopt_bench.models import Layers
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, SOAP, Choice, Constant, Cosine, Nadam, Padam
from jaxopt_bench.results import load as load_results
from jaxopt_bench.study import find_study

ROOT = pathlib.Path(__file__).parents[1]
QUICK = ["--epochs", "1", "--no-tensorboard"]
MINE = ["--optimizer", "mine.py:mine"]
RATE = ["--optimizer.learning-rate"]
MUON = ["--optimizer", "muon"]


OWN_OPTIMIZER = '''
import optax

def mine(learning_rate, b1: float = 0.9, nesterov: bool = False):
    """Adam by another name."""
    return optax.adam(learning_rate, b1, nesterov=nesterov)

def picky(learning_rate: float = 0.1):
    if learning_rate > 1:
        raise ValueError("too large")
    return optax.sgd(learning_rate)

def unusable(learning_rate: float = 0.1):
    return optax.lbfgs(learning_rate)

def switched(on: bool, learning_rate: float = 0.1):
    return optax.sgd(learning_rate if on else 0.0)

def required(lr):
    return optax.sgd(lr)
'''


@pytest.fixture
def own(tmp_path) -> str:
    (tmp_path / "mine.py").write_text(OWN_OPTIMIZER)
    return str(tmp_path / "mine.py")


def parsed(*words: str):
    """Returns the experiment that `run` would train."""
    command = parse(["run", *words])
    assert isinstance(command, functools.partial)
    return command.args[0].experiment


def test_run_trains_and_prints_the_result_and_the_path(call, tmp_path):
    code, out, _ = call("run", "digits_cnn_sgd", *QUICK)
    assert code == 0
    (path,) = (tmp_path / "runs" / "digits_cnn_sgd").iterdir()
    run = load_run(path)
    assert run.summary is not None
    assert f"{100 * run.summary['final']['test_accuracy']:.2f}%" in out
    assert out.rstrip().endswith(str(path.relative_to(tmp_path)))
    code, again, _ = call("run", "digits_cnn_sgd", *QUICK)
    assert code == 0
    assert "needs no further training. To train it again in a new folder, use --fresh" in again
    code, _, error = call("show", "digits_cnn_sdg")
    assert code == 1
    assert "did you mean digits_cnn_sgd?" in error


def test_flags_override_fields_of_the_experiment_and_its_parts():
    experiment = parsed(
        "digits_cnn_adamw", "--epochs", "2", "--seed", "1", "--batch-size", "64", "--optimizer.learning-rate", "0.003",
        "--model.dropout", "0", "--schedule.warmup", "0.5", "--augmentation.rotation", "5", "--dtype", "bfloat16",
    )  # fmt: skip
    assert (experiment.workload.epochs, experiment.seed, experiment.workload.batch_size) == (2, 1, 64)
    assert experiment.workload.problem.dtype == "bfloat16"
    assert experiment.optimizer.learning_rate == 0.003
    assert experiment.workload.problem.model.dropout == 0
    assert experiment.schedule == Cosine(warmup=0.5)
    assert experiment.workload.problem.augmentation.rotation == 5
    assert experiment.optimizer.b2 == OPTIMIZERS["adamw"].b2


def test_another_optimizer_takes_its_own_defaults():
    experiment = parsed("digits_cnn_adamw", "--optimizer", "nadam", "--optimizer.learning-rate", "1e-4")
    assert experiment.optimizer == Nadam(learning_rate=1e-4)
    experiment = parsed("cifar10_resnet20_sgd", "--schedule", "constant", "--optimizer=sgd", "--model", "resnet32")
    assert experiment.optimizer == SGD()
    assert experiment.schedule == Constant()
    assert experiment.workload.problem.model.depth == 32


def kinds(experiment) -> set[tuple[type, type]]:
    """Returns the classes of the parts of an experiment, in pairs that decide together which flags there are."""
    problem = experiment.workload.problem
    parts = (problem, getattr(problem, "model", None)), (experiment.optimizer, experiment.schedule)
    return {(type(one), type(other)) for one, other in parts}


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_without_flags_the_experiment_is_the_one_in_the_file(every):
    """The normal tests parse one experiment of each kind of problem and optimizer, and the slow tests parse all."""
    seen: set[tuple[type, type]] = set()
    for name, experiment in catalog.load_folder().items():
        if every or kinds(experiment) - seen:
            assert parsed(name) == experiment
        seen |= kinds(experiment)
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["rn"], 2, "did you mean run"),
        (["run"], 2, "needs an experiment as its first argument"),
        (["run", "--epochs", "2", "digits_cnn_adamw"], 2, "needs an experiment as its first argument"),
        (["run", "digits_cnn_adamw", "--optimizer", ""], 2, "unknown optimizer ''"),
        (["run", "digits_cnn_adamv"], 2, "did you mean digits_cnn_adam"),
        (["run", "digits_cnn_adamw", "--optimizer", "adm"], 2, "unknown optimizer 'adm'; did you mean adam"),
        (["run", "digits_cnn_adamw", "--optimizer.learning-rte", "1"], 2, "--optimizer.learning-rate"),
        (["run", "digits_cnn_adamw", "--epochs", "many"], 2, "--epochs"),
        (
            ["run", "digits_cnn_adamw", "--optimizer.b1", "1.5"],
            2,
            "AdamW.b1 is 1.5. Expected: a finite number >= 0 and",
        ),
        (["run", "digits_cnn_adamw", "--optimizer.momentum", "0.9"], 2, "--optimizer.momentum"),
        (["run", "digits_cnn_adamw", "--batch-size", "2000"], 1, "Expected at most 1293"),
        (
            ["run", "digits_cnn_adamw", "--epochs", "1", "--optimizer.accumulate", "41"],
            1,
            "accumulate is 41, but the whole training has 40 steps",
        ),
        (
            ["run", "digits_cnn_adamw", "--optimizer.b2", "0.99999999"],
            2,
            "AdamW.b2 is 0.99999999, but training computes",
        ),
        (["run", "digits_cnn_adamw", "--optimizer.ema-decay", "0.99999999"], 2, "where it rounds to 1. Expected"),
        (["run", "digits_cnn_adamw", "--experiments", "absent"], 2, "absent is not a folder"),
        (["run", "cifar100_alexnet_sgd"], 1, "data prepare cifar100 --from"),
        (["sweep"], 2, "needs an experiment as its first argument"),
        (
            ["sweep", "digits_cnn_adamw", "--optimizer.learning-rate", "1e-3..x:3"],
            2,
            "learning-rate: '1e-3..x:3' is not",
        ),
        (
            ["sweep", "digits_cnn_adamw", *RATE, "1e-4...1e-1:3"],
            2,
            "'1e-4...1e-1:3' is not a range or a list of numbers",
        ),
        (["sweep", "digits_cnn_adamw", *RATE, "1e-4..1e-1:3", *RATE, "0.5"], 2, "rate is given 2 times"),
        (
            ["sweep", "digits_cnn_adamw", "--optimizer.learning_rate=1", *RATE, "1,2"],
            2,
            "rate is given 2 times",
        ),
        (["sweep", "digits_cnn_adamw", *RATE, "0.1,0.1000000001"], 2, "are the same number in float32"),
        (
            ["sweep", "digits_cnn_adamw", "--optimizer.learning-rate=1..0:3"],
            2,
            "--optimizer.learning-rate: the range 1..0:3",
        ),
        (
            ["sweep", "digits_cnn_adamw", "--optimizer.learning-rte", "1..2:3"],
            2,
            "did you mean optimizer.learning_rate",
        ),
        (["sweep", "digits_cnn_adamw", "--label-smoothing", "0.1..0.3:2"], 2, "unknown field to sweep"),
        (["sweep", "digits_cnn_adamw", "--seeds", "0"], 2, "--seeds is 0. Expected: an integer >= 1"),
        (["sweep", "digits_cnn_adamw", "--largest", "0"], 2, "--largest is 0. Expected: an integer >= 1"),
        (["compare"], 2, "A study's name"),
        (["compare", "digts"], 2, "did you mean digits"),
        (["compare", "digits", "--trials", "0"], 2, "--trials is 0. Expected: an integer >= 1"),
        (["compare", "digits", "--finalists", "1"], 2, "Study.finalists is 1. Expected 0 for none, or at least 2"),
        (["compare", "digits", "--finalist-seeds", "0"], 2, "--finalist-seeds is 0. Expected: an integer >= 1"),
        (["compare", "digits", "--total-epochs", "5"], 2, "total_epochs is 5. Expected: at least 10, one trial"),
        (["compare", "digits", "--trials", "2", "--total-epochs", "50"], 2, "Expected: one of the two"),
        (["compare", "digits", "--optimizers", "adamm"], 2, "unknown optimizer of the study digits 'adamm'"),
        (["compare", "digits", "--workloads", "cifar"], 2, "unknown workload of the study digits 'cifar'"),
        (["compare", "digits", "--shard", "3/2"], 2, "--shard is '3/2'. Expected: I/N with 0 <= I < N, as 0/4"),
        (["compare", "digits", "--shard", "first"], 2, "--shard is 'first'. Expected: I/N"),
        (["compare", "digits", "--baselines", "kept"], 2, "Use it with --add OPTIMIZER"),
        (["compare", "digits", "--baselines", "digts", "--add", "lion"], 1, "'digts', which is not a folder. Expected"),
        (["compare", "digits", "--address", "auto"], 2, "--address is for a Ray cluster. Use it with --executor ray"),
        (["compare", "digits", "--space", "adam.b1"], 2, "--space is 'adam.b1'. Expected NAME.FIELD=VALUES"),
        (["compare", "digits", "--schedule", "adam"], 2, "--schedule is 'adam'. Expected NAME=SCHEDULE"),
        (["compare", "digits", "--space", "adam.b3=0.9"], 1, "--space adam: unknown field 'b3'; did you mean b2"),
        (["compare", "digits", "--schedule", "adam=cosin"], 1, "unknown schedule 'cosin'; did you mean cosine"),
        (["compare", "digits", "--add", "lino"], 1, "unknown optimizer 'lino'; did you mean lion"),
        (["compare", "digits", "--out", "mine.py"], 1, "--out is mine.py, but mine.py is not a folder"),
        (["results", "absent"], 1, "'absent' is not a folder. Expected a run's directory, a study's folder"),
        (["results", "empty"], 1, "empty holds no runs"),
        (["results", "empty", "--csv", "absent/x.csv"], 1, "'absent' is not a folder. Expected a file in"),
        (["show", "absent"], 1, "'absent' is not the directory of a run (it has no config.json). Expected"),
        (["show", "mine.py"], 1, "'mine.py' is not the directory of a run"),
        (["show", "empty"], 1, "an experiment with runs in runs: there are none"),
        (["show", "digits_cnn_adamw", "--runs-dir=kept"], 2, "--runs-dir was renamed. Expected: --out (run, sweep)"),
        (["run", "digits_cnn_adamw", "--runs_dir", "kept"], 2, "--runs-dir was renamed. Expected: --out (run, sweep)"),
        (["run", "digits_cnn_adamw", "--out", "mine.py/x"], 1, "--out is mine.py/x, but mine.py is no"),
        (["sweep", "digits_cnn_adamw", "--out", "mine.py"], 1, "Expected: an existing or new folder"),
        (["run", "script.py"], 2, "imported: script.py, line 1: SystemExit: 5"),
        (["run", "digits_cnn_adamw", "--optimizer", "--epochs", "1"], 2, "--optimizer has no value"),
        (
            ["run", "digits_cnn_adamw", "--optimizer", "script.py:mine"],
            2,
            "imported: script.py, line 1: SystemExit: 5",
        ),
        (["run", "digits_cnn_adamw", "--optimizer", "absent.py:mine"], 2, "absent.py is not a file. Expected"),
        (
            ["run", "digits_cnn_adamw", "--optimizer", "mine.py"],
            2,
            "'mine.py' names a file, but no function or class in it. Expected mine.py:N",
        ),
        (["run", "digits_cnn_adamw", *MINE], 2, "'learning_rate' without a default. Expected --optimizer.learning"),
        (
            ["run", "digits_cnn_adamw", "--optimizer", "mine.py:required"],
            2,
            "mine.py:required has the argument 'lr' without a default. Expected --optimizer.lr VALUE",
        ),
        (["run", "digits_cnn_adamw", *MINE, "--optimizer.learning-rate"], 2, "--optimizer.learning-rate has no value"),
        (["run", "digits_cnn_adamw", *MINE, "--optimizer.learning-rate", "x"], 2, "Error parsing --optimizer.learning"),
        (
            ["run", "digits_cnn_adamw", "--optimizer", "mine.py:picky", "--optimizer.learning-rate", "2"],
            1,
            "the optimizer mine.py:picky: it fails with learning_rate 2, weight_decay 0: ValueError: too large",
        ),
        (["run", "digits_cnn_adamw", "--optimizer.clip-norm", "0"], 2, "AdamW.clip_norm is 0.0. Expected: a finite"),
        (["run", "digits_cnn_adamw", *MUON, "--optimizer.beta", "1.5"], 2, "Muon.beta is 1.5. Expected: a finite"),
        (["run", "digits_cnn_adamw", *MUON, "--optimizer.ns-coeffs", "1", "2"], 2, "--optimizer.ns-coeffs"),
        (["run", "digits_cnn_adamw", "--optimizer", "polyak_sgd", "--optimizer.variant", "sp"], 2, "'sps', 'sps+'"),
        (["optimizers", "shw", "adam"], 2, "did you mean show?"),
        (["optimizers", "show"], 2, "An optimizer by its name"),
        (["optimizers", "show", "adamm"], 1, "did you mean adam"),
        (["optimizers", "show", "mine.py:mien"], 1, "unknown function of mine.py 'mien'; did you mean mine?"),
        (["optimizers", "check"], 2, "An optimizer by its name"),
        (["optimizers", "check", "adamm"], 1, "did you mean adam"),
        (["optimizers", "check", "adam", "--model", "cnnn"], 1, "did you mean cnn or cnn1d?"),
        (["optimizers", "check", "adam", "--dataset", "cifar"], 1, "did you mean cifar10"),
        (["optimizers", "check", "adam", "--json", "absent/x.json"], 1, "'absent' is not a folder. Expected a file in"),
        (["optimizers", "check", "mine.py:unusable"], 1, "mine.py:unusable"),
        (["optimizers", "plot", "--steps", "0"], 1, "--steps is 0. Expected: an integer >= 1"),
        (["optimizers", "plot", "--surfaces"], 1, "--surfaces is empty. Expected: one or more of ravine"),
        (["optimizers", "plot", "--surfaces", "ravin"], 1, "did you mean ravine?"),
        (["optimizers", "plot", "--out", "absent/x.png"], 1, "absent is not a folder"),
        (["optimizers", "plot", "--out", "x.txt"], 1, "the picture x.txt has an unknown format. Expected: a name that"),
        (["optimizers", "plot", "--out", "empty"], 1, "the picture empty is a folder"),
        (
            ["optimizers", "plot", "mine.py:picky", "--surfaces", "ravine"],
            1,
            "picky cannot take its learning rate as an",
        ),
        (["list", "optimisers"], 2, "optimizers"),
        (["run", "digits_cnn_adamw", "--devices", "99"], 1, "devices is 99. Expected: 1 to "),
        (["run", "digits_cnn_adamw", "--devices", "0"], 1, "devices is 0. Expected: an integer >= 1"),
        (["compare", "digits", "--devices", "99"], 1, "devices is 99. Expected: 1 to "),
        (["run", "digits_cnn_adamw", "--schedule", "mine.py:schedule"], 2, "unknown schedule 'mine.py:schedule'"),
        (["data"], 2, "prepare"),
        (["data", "prepare", "cifar11"], 1, "did you mean cifar10"),
        (["data", "prepare", "cifar100", "--from", "absent.tar.gz"], 1, "absent.tar.gz"),
    ],
)
def test_mistakes_are_reported_with_the_expected_values(call, own, tmp_path, words, code, message):
    (tmp_path / "script.py").write_text("raise SystemExit(5)")
    (tmp_path / "empty").mkdir()
    (tmp_path / "kept").mkdir()
    got, out, err = call(*words)
    assert got == code
    assert message in out + err
    assert "Traceback" not in out + err
    assert not (tmp_path / "runs").exists()


def test_no_terminal_control_sequences_are_printed(call):
    code, _, err = call("show", "runs/\x1b]0;owned\x07\x9b31m")
    assert code == 1
    assert r"runs/\x1b]0;owned\x07\x9b31m" in err


def test_debug_shows_the_traceback(call):
    code, _, err = call("run", "digits_cnn_adamw", "--batch-size", "2000", "--debug")
    assert code == 1
    assert "Traceback" in err


@pytest.mark.parametrize(("place", "code"), [("jaxopt_bench.cli.run.train", 1), ("jaxopt_bench.catalog.find", 2)])
def test_an_unexpected_exception_is_one_message_too(call, monkeypatch, place, code):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(place, fail)
    got, _, err = call("run", "digits_cnn_adamw")
    assert (got, err) == (code, "error: RuntimeError: out of memory (--debug shows where)\n")
    assert "in fail" in call("--debug", "run", "digits_cnn_adamw")[2]


def test_divergence_has_its_own_exit_code(call):
    words = ["run", "digits_cnn_sgd", *QUICK, "--optimizer.learning-rate", "1e30", "--schedule", "constant"]
    code, out, _ = call(*words)
    assert code == 3
    assert "diverged" in out
    assert "was not finite" in out
    assert call(*words)[0] == 3


@pytest.mark.slow
def test_a_last_evaluation_that_is_not_finite_is_a_divergence_for_every_command(call):
    wild = ["digits_cnn_adamw", *QUICK, "--schedule", "constant", "--batch-size", "1024"]
    rate = ["--optimizer.learning-rate"]
    code, out, _ = call("run", *wild, *rate, "1e14")
    said = "the train_clean loss at the end of epoch 1 was not finite"
    assert code == 3
    assert "digits_cnn_adamw: diverged" in out
    assert said in out
    code, out, _ = call("show", "digits_cnn_adamw")
    assert code == 0
    assert said in out
    code, out, _ = call("sweep", *wild, *rate, "1e14,1e15", "--out", "swept")
    assert code == 3
    assert "1 of 1" in out


def test_show_finds_the_run_that_was_trained_last(call, tmp_path):
    for seed in ("0", "1"):
        assert call("run", "digits_cnn_sgd", *QUICK, "--seed", seed, "--out", "elsewhere")[0] == 0
    folder = tmp_path / "elsewhere" / "digits_cnn_sgd"
    first = next(path for path in folder.iterdir() if load_run(path).experiment.seed == 0)
    for path in folder.iterdir():
        os.utime(path / "config.json", (1000.0, 1000.0 if path == first else 2000.0))
        os.utime(path / "metrics.jsonl", (1000.0, 4000.0 if path == first else 3000.0))  # the first was continued
    code, out, _ = call("show", "elsewhere/digits_cnn_sgd")
    assert code == 0
    assert first.name in out


def test_show_finds_a_run_by_its_path_and_by_its_experiment(call, tmp_path):
    call("run", "digits_cnn_sgd", *QUICK, "--evaluation", "--out", "elsewhere")
    (path,) = (tmp_path / "elsewhere" / "digits_cnn_sgd").iterdir()
    for words in (["show", str(path)], ["show", "elsewhere/digits_cnn_sgd"]):
        code, out, _ = call(*words)
        assert code == 0
        assert "optimizer.learning_rate" in out
        assert "completed" in out
        assert path.name in out
        assert "evaluation.npz" in out
    (path / "evaluation.npz").unlink()
    code, out, _ = call("show", str(path), "--overview")
    assert code == 0
    assert "evaluation.npz" not in out
    assert "head/kernel" in out
    assert "13,706" in out


def test_show_prints_the_last_measurement_of_a_run_without_a_summary(call, tmp_path):
    call("run", "digits_cnn_sgd", *QUICK)
    (path,) = (tmp_path / "runs" / "digits_cnn_sgd").iterdir()
    (path / "summary.json").unlink()
    code, out, _ = call("show", str(path))
    assert code == 0
    assert "running, or killed" in out
    assert "last measured at step 40: test loss" in out


def test_list_prints_every_name_in_full(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call("list")
    assert code == 0
    names = set(out.split())
    assert names >= set(catalog.load_folder()) | set(OPTIMIZERS) | {"digits", "cifar10", "cifar100", "resnet110"}
    assert "adamw" not in call("list", "datasets")[1]


def test_every_command_has_help(call):
    for words in (["--help"], ["run", "--help"], ["run", "digits_cnn_sgd", "--help"], ["list", "--help"],
                  ["sweep", "--help"], ["sweep", "digits_cnn_sgd", "--help"], ["show", "--help"],
                  ["data", "--help"], ["data", "prepare", "--help"], ["doctor", "--help"],
                  ["kernels", "--help"]):  # fmt: skip
        code, out, _ = call(*words)
        assert code == 0, words
        assert "usage" in out
    assert "Look ahead by one more application of the momentum" in " ".join(
        call("run", "digits_cnn_sgd", "--help")[1].split()
    )


def test_an_experiment_in_a_users_file_runs(call, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from jaxopt_bench import Experiment, Workload\nfrom jaxopt_bench.models import CNN\n"
        "from jaxopt_bench.optimizers import SGD\nfrom jaxopt_bench.problems import Classification\n"
        "problem = Classification(dataset='digits', model=CNN(channels=(4,)))\n"
        "EXPERIMENTS = {'mine': Experiment(workload=Workload(problem=problem, epochs=1), optimizer=SGD())}\n"
    )
    code, _, _ = call("run", "mine.py", "--no-tensorboard")
    assert code == 0
    (path,) = (tmp_path / "runs" / "mine").iterdir()
    assert json.loads((path / "summary.json").read_text())["experiment"] == "mine"


def test_the_module_is_a_command(tmp_path):
    command = [sys.executable, "-m", "jaxopt_bench", "list", "schedules"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "one_cycle" in done.stdout


def test_help_does_not_import_jax():
    code = "import atexit, sys; from jaxopt_bench.cli import main; atexit.register(lambda: print('jax' in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; main(['--help'])"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "False"


def test_a_sweep_trains_every_setting_and_seed_and_ends_with_a_table(call, tmp_path):
    words = ["sweep", "digits_cnn_sgd", "--optimizer.learning-rate", "1e-3..1e1:3", "--seeds", "2", *QUICK]
    code, out, _ = call(*words)
    assert code == 0
    runs = [load_run(path.parent) for path in (tmp_path / "runs" / "digits_cnn_sgd").glob("*/config.json")]
    settings = sorted((run.experiment.optimizer.learning_rate, run.experiment.seed) for run in runs)
    assert settings == [(rate, seed) for rate in (1e-3, 0.1, 10.0) for seed in (0, 1)]
    assert all(run.summary and run.summary["final"]["test_loss"] is None for run in runs)
    losses = [run.summary["final"]["validation_loss"] for run in runs
              if run.summary and run.experiment.optimizer.learning_rate == 0.1]  # fmt: skip
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["0.1"]]
    assert f" {sum(losses) / 2:.4f} " in line
    assert "validation" in out
    code, again, _ = call(*words)
    assert code == 0
    assert out.splitlines()[-9:] == again.splitlines()[-9:]


def test_a_sweep_reads_the_test_split_if_requested(call):
    code, out, _ = call("sweep", "digits_cnn_sgd", "--evaluate-test", "--validation-fraction", "0", *QUICK)
    assert code == 0
    assert "test" in out


def test_deterministic_is_recorded(call, tmp_path):
    code, _, _ = call("run", "digits_cnn_sgd", "--deterministic", *QUICK)
    assert code == 0
    (path,) = (tmp_path / "runs" / "digits_cnn_sgd").iterdir()
    assert load_run(path).config["environments"][0]["code_path"]["deterministic"] is True


def test_the_arguments_of_a_users_optimizer_are_flags(own):
    words = ["digits_cnn_adamw", "--optimizer", f"{own}:mine", "--optimizer.learning-rate", "0.003"]
    optimizer = parsed(*words, "--optimizer.nesterov", "--optimizer.clip-norm", "2").optimizer
    assert (optimizer.learning_rate, optimizer.b1, optimizer.nesterov, optimizer.clip_norm) == (0.003, 0.9, True, 2.0)
    assert optimizer.reference == "mine.py:mine"


@pytest.mark.parametrize("name", ["adamw", "lion", "soap"])
def test_the_cautious_mask_and_the_correction_of_mars_are_flags_of_every_optimizer(name):
    optimizer = parsed("digits_cnn_adamw", "--optimizer", name).optimizer
    assert optimizer == OPTIMIZERS[name]
    optimizer = parsed(
        "digits_cnn_adamw", "--optimizer", name, "--optimizer.cautious", "--optimizer.mars-gamma", "0.025"
    ).optimizer
    assert optimizer == dataclasses.replace(OPTIMIZERS[name], cautious=True, mars_gamma=0.025)


def test_the_fields_of_soap_are_flags():
    words = ("--optimizer.precondition-frequency", "5", "--optimizer.shampoo-beta", "0.9")
    optimizer = parsed("digits_cnn_adamw", "--optimizer", "soap", *words).optimizer
    assert optimizer == SOAP(precondition_frequency=5, shampoo_beta=0.9)


def test_help_does_not_require_arguments_without_a_default(call, own):
    code, out, _ = call("run", "digits_cnn_adamw", *MINE, "--help")
    assert code == 0
    assert "--optimizer.learning-rate" in out


def test_a_sweep_of_a_users_optimizer_can_set_an_argument_without_a_default(call, own):
    words = ["--optimizer", f"{own}:mine", "--optimizer.learning-rate", "1e-3..1e-2:2"]
    code, out, _ = call("sweep", "digits_cnn_adamw", *QUICK, *words)
    assert code == 0
    assert "0.001" in out
    assert "0.01" in out
    code, out, _ = call("show", "digits_cnn_adamw")
    assert code == 0
    assert "mine.py:mine" in out


def test_an_optimizer_is_shown_with_its_ranges_and_plotted(call, tmp_path, own):
    code, out, _ = call("optimizers", "show", "padam")
    assert code == 0
    assert "Chen et al., 2020, Algorithm 1" in out
    assert "0.01 … 31.6228 * ★" in out  # 1 decade below and 2.5 above 0.1
    assert "0.0625 … 0.5 * ★" not in out
    assert "0.0625 … 0.5 *" in out
    code, out, _ = call("optimizers", "show", f"{own}:mine")
    assert code == 0
    assert "nesterov" in out
    assert call("optimizers", "show", f"{own}:switched")[0] == 0
    (tmp_path / "stated.py").write_text(
        "import optax\ndef mine(lr=0.1): return optax.sgd(lr)\nSCHEDULES = {'mine': 'cosine:warmup=1'}\n"
    )
    assert "schedule: cosine (warmup 1), as its file states" in call("optimizers", "show", "stated.py:mine")[1]
    code, out, _ = call("optimizers", "plot", "sgd", "adam", "--surfaces", "ravine", "--steps", "20", "--out", "2.PNG")
    assert code == 0
    assert (tmp_path / "2.PNG").read_bytes().startswith(b"\x89PNG")
    assert "ravine" in out


def test_a_setting_from_the_recorded_suite_is_recommended(call):
    said = " ".join(call("optimizers", "show", "adamw")[1].split())
    rate = re.search(
        r"recommended values to start with: learning_rate (\S+), weight_decay (\S+), with the schedule", said
    )
    runs = load_results(catalog.experiments_dir() / "results" / "suite").runs
    trials = runs.filter(runs["contender"] == "adamw", runs["phase"] == "trial")
    fields = ("optimizer.learning_rate", "optimizer.weight_decay")
    assert rate.groups() in {tuple(f"{value:.4g}" for value in row) for row in trials[fields].iter_rows()}
    assert "recommended" not in call("optimizers", "show", "polyak_sgd")[1]


def test_check_measures_and_prints_the_behaviour_of_an_optimizer(call, tmp_path, own):
    code, out, err = call("optimizers", "check", f"{own}:mine", "--dataset", "digits")
    assert (code, err) == (0, "")
    said = " ".join(out.split())
    assert "on cnn for digits (8 parameter arrays, 13,706 numbers)" in said
    assert "arguments without a default: learning_rate 0.003" in said
    rate = "learning rate the argument learning_rate (0.003): doubling it doubles the first update of 5 of 5 arrays"
    assert rate in said
    assert "schedule obeyed" in said
    assert "state 8.00 bytes for each number" in said
    code, out, err = call("optimizers", "check", "sgd", "--dataset", "digits", "--json", "-")
    facts = json.loads(out)
    assert (code, facts["optimizer"], facts["model"], facts["numbers"]) == (0, "sgd", "cnn", 13706)
    assert facts["decay"]["form"] == "coupled"
    assert {array["kind"] for array in facts["network"]} == {"gradient"}
    assert call("optimizers", "check", "sgd", "--dataset", "digits", "--json", "facts.json") == (0, "", "")
    assert json.loads((tmp_path / "facts.json").read_text()) == facts


def test_the_doctor_finds_no_error_on_this_machine(call):
    code, out, _ = call("doctor")
    assert code == 0
    assert f"jax {jax.__version__}" in out
    assert "cpu: 1 × " in out
    layers = "pure" if kernels.onednn_version() is None else "onednn"
    assert f"layers {layers}, loop compiled, members map" in out
    named = [line.split("  ")[1] for line in out.splitlines() if " ok " in line]
    assert named == [item.name for item in make_items(Layers())]
    assert f"all {len(named)} ok" in out


def test_the_doctor_names_failed_items_gives_advice_and_continues(call, monkeypatch):
    def unimplemented(*_):
        raise NotImplementedError("no such thing\n" + 1000 * "on this backend ")

    monkeypatch.setattr(doctor_items, "cross_entropy", unimplemented)
    monkeypatch.setitem(doctor_items.OPTIMIZERS, "Padam", Padam(b1=0.8))
    some = ("max-pooling", "cross-entropy", "Padam", "Adam")
    monkeypatch.setattr(
        "jaxopt_bench.cli.doctor.make_items", lambda layers: [i for i in make_items(layers) if i.name in some]
    )
    code, out, _ = call("doctor")
    assert code == 1
    lines = out.splitlines()
    words = {name: line.split()[1] for name in some for line in lines if line.startswith(f"  {name} ")}
    assert words == {"max-pooling": "ok", "cross-entropy": "FAILED", "Adam": "ok", "Padam": "FAILED"}
    assert "NotImplementedError: no such thing on this backend" in out
    assert len(out) < 3000
    assert "but the stored result is" in out
    assert "2 of 4 FAILED" in out
    assert "* cross-entropy: JAX cannot compile or run these items on this backend." in out
    assert "* Padam: wrong." in out
    assert "Try other versions of jax, jaxlib" in out


def test_the_doctor_reports_that_there_is_no_backend():
    command = [sys.executable, "-m", "jaxopt_bench", "doctor"]
    environment = {**os.environ, "JAX_PLATFORMS": "cuda"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "FAILED: JAX finds no backend with JAX_PLATFORMS=cuda" in done.stdout
    assert "JAX_PLATFORMS=cpu" in done.stdout


STUDY = """
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Claim, Comparison, Contender, Study

PROBLEM = Classification(dataset="digits", model=CNN(channels=(), dense=8))
STUDIES = {
    "quick": Study(
        name="quick",
        question="Which is it?",
        workloads=(Workload(name="flat", problem=PROBLEM, epochs=1, batch_size=64),),
        contenders=(Contender(name="sgd", optimizer=SGD()), Contender(name="adamw", optimizer=AdamW())),
        trials=2,
        finalists=0,
        seeds=2,
        claims=(
            Claim(
                text="AdamW is the better one",
                source="a test",
                comparisons=(Comparison(measure="test_accuracy", lower="sgd", higher="adamw"),),
            ),
        ),
    ),
}
"""


def test_compare_prints_a_table_a_paragraph_and_the_claims_and_can_be_repeated(call, tmp_path):
    (tmp_path / "quick.py").write_text(STUDY)
    code, out, _ = call("compare", "quick.py")
    assert code == 0
    assert "Which is it?" in out
    assert "Tune: on each workload every tuned optimizer has 2 trials" in out
    assert "with 2 seeds for each of 2 optimizers, a difference must be 10 times the deviation between seeds" in out
    assert "Results on flat" in out
    assert "Means over 2 fresh seeds, each with its own 95% interval." in " ".join(out.split())
    assert "has the highest mean test accuracy" in out
    assert "AdamW is the better one" in out
    assert any(answer in out for answer in ("supported", "contradicted", "undecided"))
    assert out.rstrip().endswith("studies/quick")
    code, again, _ = call("compare", "studies/quick", "--optimizers", "sgd", "adamw")
    assert code == 0
    assert "2 trials\n" not in again  # no run is trained again
    assert out[out.index("Results on") :] == again[again.index("Results on") :]
    stated = ["--space", "lion.learning_rate=1e-4..1e-3", "--space", "lion.b1=0.9,0.95", "--schedule", "lion=constant"]
    against = ["compare", "quick.py", "--baselines", "studies/quick", "--add", "lion"]
    code, out, _ = call(*against, *stated)
    assert code == 0
    assert "flat, lion: 2 trials" in out
    assert "flat, sgd: 2 trials" not in out
    assert out.count("lion") > 3
    assert out.rstrip().endswith("studies/quick_lion")
    said = " ".join(out.split())
    assert "lion was tuned in a search space of its own: learning_rate 0.0001 to 0.001 (1 decade)" in said
    assert "b1 one of 0.9, 0.95. The recorded optimizers were tuned in: learning_rate (" in said
    assert "recorded in another environment" not in said
    assert "Seconds with * were recorded before" in said
    code, out, _ = call("report", "studies/quick_lion", "--baselines", "studies/quick", "--out", "together")
    assert code == 0
    table = pathlib.Path("together/tables/ranking.csv").read_text()
    assert {line.partition(",")[0] for line in table.splitlines()} == {"optimizer", "sgd", "adamw", "lion"}
    assert "Seconds with * were recorded before" in pathlib.Path("together/index.html").read_text()
    code, _, error = call("report", "studies/quick", "--baselines", "studies/quick")
    assert code == 1
    assert "sgd is among the baselines" in error
    (lion,) = find_study("studies/quick_lion").contenders
    assert lion.searched["optimizer.b1"] == Choice((0.9, 0.95))
    assert lion.schedule == Constant()
    code, _, error = call(*against)  # without the flags it is another study
    assert code == 1
    assert "contenders lion: schedule.name 'constant'" in error
    assert "another folder (--out)" in error
    code, _, error = call(*against, "--space", "sgd.learning_rate=1e-4..1e-3")
    assert code == 1
    assert "sgd is among the baselines and was trained already" in error


def test_results_are_printed_written_and_recorded(call, tmp_path):
    call("sweep", "digits_cnn_sgd", *QUICK, "--optimizer.learning-rate", "0.01..0.1:2")
    code, out, _ = call("results", "runs", "--rows", "1")
    assert code == 0
    assert "the same in all 2 rows: " in out
    assert "… and 1 more rows of 2" in out
    query = 'SELECT "optimizer.learning_rate" AS rate, "final.validation_loss" AS loss FROM runs ORDER BY rate'
    code, out, _ = call("results", "runs", "--sql", query, "--csv", "out.csv", "--parquet", "out.parquet")
    assert (code, out) == (0, "")
    header, *lines = (tmp_path / "out.csv").read_text().splitlines()
    assert header == "rate,loss"
    losses = {}
    for path in (tmp_path / "runs" / "digits_cnn_sgd").glob("*/summary.json"):
        run = load_run(path.parent)
        assert run.summary is not None
        losses[run.experiment.optimizer.learning_rate] = run.summary["final"]["validation_loss"]
    assert {float(rate): float(loss) for rate, loss in (line.split(",") for line in lines)} == losses
    assert call("results", "runs", "--record", "kept.results")[0] == 0
    shutil.rmtree(tmp_path / "runs")
    call("results", "kept.results", "--sql", query, "--csv", "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "out.csv").read_text()
