"""Experiments by name: the project's agree with their names; a user's are found, or refused with a reason."""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import math

import jax
import pytest

from jaxopt_bench import Experiment, UserError, catalog
from jaxopt_bench.cli import parse
from jaxopt_bench.optimizers import OPTIMIZERS, Padam
from jaxopt_bench.problems import ProblemConfig

CIFAR = ("cifar10", "cifar100")
OWN = catalog.load_folder()
STUDY = [name for name in OWN if name.startswith("cifar100_alexnet_") and "small" not in name and "modern" not in name]
FILE = """
from jaxopt_bench import Experiment, Workload
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.problems import Classification
EXPERIMENTS = {{{entries}}}
"""
ENTRY = '"{name}": Experiment(workload=Workload(problem=Classification()), optimizer=SGD())'


def write(path, *names: str) -> None:
    path.write_text(FILE.format(entries=", ".join(ENTRY.format(name=name) for name in names)))


def test_the_project_has_exactly_the_listed_experiments():
    seeds = ("sgd", "adam", "nadam", "amsgrad", "padam")
    expected = {f"digits_cnn_{name}" for name in (*seeds, "adamw")}
    expected |= {f"cifar10_{net}_{o}" for net in ("resnet20", "resnet18") for o in seeds}
    expected |= {f"cifar100_alexnet_{o}{v}" for o in ("sgd", "adamw") for v in ("", "_exp50", "_modern")}
    expected |= {
        "cifar10_resnet18_sgd_record",
        "cifar100_alexnet_sgd_momentum",
        "cifar100_alexnet_small_sgd",
        "cifar100_alexnet_small_adamw",
    }
    expected |= {
        f"{data}_{net}_{o}" for data in CIFAR for net in ("vgg16", "wrn16_4", "wrn28_10") for o in ("sgd", "adamw")
    }
    expected |= {f"{data}_vit_tiny_{o}" for data in CIFAR for o in ("sgd", "adamw", "lion", "muon")}
    expected |= {f"mnist1d_{net}_{o}" for net in ("linear", "mlp", "gru", "cnn1d") for o in ("sgd", "adam", "adamw")}
    expected |= {f"words_{net}_{o}" for net in ("transformer", "gru") for o in ("sgd", "adam", "adamw")}
    expected |= {f"modular_addition_59_{o}" for o in ("sgd", "adam", "adamw")}
    expected |= {f"diamonds_mlp_{o}" for o in ("sgd", "adam", "adamw")}
    expected |= {f"digits_{name}" for name in ("vae_sgd", "vae_adam")}
    expected |= {f"digits_autoencoder_{o}" for o in ("sgd", "nesterov", "adam")}
    expected |= {f"{equation}_mlp_{o}" for equation in ("burgers", "poisson") for o in ("sgd", "adam", "lbfgs")}
    expected |= {f"{f}_{o}" for f in ("deep_linear", "matrix_factorisation", "rosenbrock") for o in ("adam", "lbfgs")}
    expected |= {f"{f}_{o}" for f in ("deep_linear", "matrix_factorisation") for o in ("sgd", "momentum")}
    expected |= {f"noisy_quadratic_{o}" for o in ("sgd", "momentum", "adam")} | {"rosenbrock_sgd"}
    expected |= {f"digits_{net}_mini_adamw" for net in ("cnn", "vit", "autoencoder", "vae")}
    expected |= {f"{name}_mini_adamw" for name in ("mnist1d_mlp", "mnist1d_cnn", "mnist1d_gru")}
    expected |= {f"{name}_mini_adamw" for name in ("words_transformer", "words_gru")}
    expected |= {f"{name}_mini_adamw" for name in ("diamonds_mlp", "poisson", "noisy_quadratic")}
    assert set(OWN) == expected


@functools.cache
def parameter_shapes(problem: ProblemConfig) -> list[jax.ShapeDtypeStruct]:
    """Returns the shapes of the parameters of a problem, of which several experiments may be."""
    return jax.tree.leaves(problem.parameter_shapes())


@pytest.mark.parametrize("name", sorted(OWN))
def test_names_contain_data_and_optimizer_and_the_network_fits_the_data(name):
    experiment = OWN[name]
    assert experiment.name == name
    assert name.startswith(experiment.workload.problem.data_name + "_")
    assert type(experiment.optimizer) in {type(OPTIMIZERS[part]) for part in name.split("_") if part in OPTIMIZERS}
    assert parameter_shapes(experiment.workload.problem)


@pytest.mark.parametrize("name", sorted(OWN))
def test_an_experiment_is_read_back_from_json(name):
    assert Experiment.from_json(OWN[name].to_json()) == OWN[name]


def test_workloads_with_the_same_name_are_equal():
    named = {}
    for experiment in OWN.values():
        assert named.setdefault(experiment.workload.name, experiment.workload) == experiment.workload
    assert "unnamed" not in named


def test_all_experiments_are_different():
    assert len({experiment.digest for experiment in OWN.values()}) == len(OWN)


@pytest.mark.parametrize("name", STUDY)
def test_the_experiments_of_the_first_study_have_its_settings(name):
    experiment = OWN[name]
    workload = experiment.workload
    assert (workload.epochs, workload.batch_size, workload.problem.validation_fraction) == (300, 4, 0)
    assert (experiment.optimizer.learning_rate, experiment.optimizer.weight_decay) == (0.01, 5e-4)
    augmentation = workload.problem.augmentation
    assert (augmentation.crop_padding, augmentation.flip, augmentation.rotation) == (4, True, 15)
    steps = {epoch: schedule_at(experiment, epoch) for epoch in (0, 49, 50, 149, 150, 199, 200, 299)}
    if name.endswith("_exp50"):
        expected = {epoch: 0.1 ** (epoch // 50) for epoch in steps}
    else:
        expected = {epoch: 0.1 ** ((epoch >= 150) + (epoch >= 200)) for epoch in steps}
    assert all(math.isclose(steps[epoch], expected[epoch], rel_tol=1e-5) for epoch in steps)


def schedule_at(experiment: Experiment, epoch: int) -> float:
    schedule, epochs = experiment.schedule, experiment.workload.epochs
    return float(schedule.multiplier(schedule.hyperparameters(), jax.numpy.float32(epoch), epochs, 0.0))


def test_padam_is_trained_as_by_its_authors():
    padam = OWN["cifar10_resnet18_padam"]
    assert padam.optimizer == Padam(
        learning_rate=0.1, weight_decay=5e-4, b1=0.9, b2=0.999, partial=0.125, eps=1e-8, bias_correction=True
    )
    assert padam.workload.epochs == 200
    assert [round(schedule_at(padam, epoch), 6) for epoch in (99, 100, 149, 150)] == [1, 0.1, 0.1, 0.01]


def test_experiments_in_a_users_folder_and_file_are_found(tmp_path):
    write(tmp_path / "mine.py", "one")
    write(tmp_path / "others.py", "two", "three")
    assert set(catalog.load_folder(tmp_path)) == {"one", "two", "three"}
    assert catalog.find("two", tmp_path).name == "two"
    assert catalog.find(str(tmp_path / "mine.py")).name == "one"
    assert catalog.find(f"{tmp_path / 'others.py'}:three").name == "three"


def test_a_module_is_found_and_a_file_is_run_once_for_each_text(tmp_path, monkeypatch):
    write(tmp_path / "own_experiments.py", "one", "two")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert catalog.find("own_experiments:two").name == "two"
    counted = tmp_path / "counted.py"
    counted.write_text("import builtins\nbuiltins.runs = getattr(builtins, 'runs', 0) + 1\nEXPERIMENTS = {}\n")
    for _ in range(3):
        catalog.load_file(counted)
    assert vars(builtins).pop("runs") == 1


def test_a_file_may_define_its_own_configurations(tmp_path):
    """`--help` looks up the comments of their fields in the source."""
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\n"
        "from jaxopt_bench.optimizers import SGD\n\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Own(SGD):\n"
        "    learning_rate: float = 0.5\n"
        "    '''As I like it.'''\n\n" + FILE.format(entries=ENTRY.format(name="one").replace("SGD()", "Own()"))
    )
    with pytest.raises(SystemExit) as end, contextlib.redirect_stdout(io.StringIO()) as printed:
        parse(["run", str(path), "--help"])
    assert end.value.code == 0
    assert "As I like it." in printed.getvalue()


def test_the_error_for_an_unknown_experiment_says_which_are_expected(tmp_path):
    write(tmp_path / "others.py", "two", "three")
    for name, message in [
        ("digits_cnn_adamv", "did you mean digits_cnn_adam"),
        (str(tmp_path / "others.py"), "EXPERIMENTS has 2 entries"),
        (f"{tmp_path / 'others.py'}:tree", "did you mean three"),
        (str(tmp_path / "absent.py"), "is not a file"),
    ]:
        with pytest.raises(UserError, match=message):
            catalog.find(name)
    with pytest.raises(UserError, match="is not a folder"):
        catalog.find("one", tmp_path / "absent")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import absent_module", "cannot be imported: .*ModuleNotFoundError"),
        ("x = ", "cannot be imported: .*SyntaxError"),
        ("x = 1", "has no EXPERIMENTS"),
        ("EXPERIMENTS = {'a': 1}", "has no EXPERIMENTS"),
        (
            FILE.format(entries=ENTRY.format(name="a").replace("SGD()", "SGD(momentum=2)")),
            "momentum is 2. Expected",
        ),
    ],
)
def test_an_invalid_file_is_reported_with_its_path_and_the_reason(tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(UserError, match=message) as error:
        catalog.load_file(path)
    assert str(path) in str(error.value)


def test_the_folder_of_the_suite_is_searched_too(tmp_path, monkeypatch):
    (tmp_path / "suite").mkdir()
    write(tmp_path / "mine.py", "one")
    write(tmp_path / "suite" / "mine.py", "two")
    monkeypatch.setattr(catalog, "experiments_dir", lambda: tmp_path)
    assert set(catalog.load_folder()) == {"one", "two"}
    write(tmp_path / "suite" / "other.py", "one")
    with pytest.raises(UserError, match=r"suite/other\.py exports 'one', but another file in .* or .*suite exports"):
        catalog.load_folder()


def test_two_files_that_export_the_same_name_are_refused(tmp_path):
    write(tmp_path / "a.py", "one")
    write(tmp_path / "b.py", "one")
    with pytest.raises(UserError, match=r"b\.py exports 'one', but another file"):
        catalog.load_folder(tmp_path)
