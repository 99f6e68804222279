"""Users' own data: training, resuming with a moved file, refusing changed data, and reading runs without the file."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle

import numpy as np
import pytest
from PIL import Image

from jaxopt_bench import Experiment, UserError, Workload, load_run, train
from jaxopt_bench.cli import parse
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.problems import Classification, Language, Regression
from jaxopt_bench.problems.choose import choose_problem
from jaxopt_bench.runs import Options
from tests.tasks import changed

RANDOM = np.random.default_rng(0)
LABELS = np.arange(100) % 2
IMAGES = (RANDOM.integers(0, 100, (100, 8, 8)) + 100 * LABELS[:, None, None]).astype(np.uint8)


@pytest.fixture
def arrays(tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns dark and light images, which a network learns to distinguish in a few steps."""
    np.savez(tmp_path / "mine.npz", images=IMAGES, labels=LABELS, class_names=["dark", "light"])
    return tmp_path / "mine.npz"


def experiment(path: pathlib.Path | str, **fields) -> Experiment:
    problem = Classification(dataset=str(path), model=CNN(channels=(4,), dense=8, dropout=0.0), **fields)
    return Experiment(
        name="mine", workload=Workload(problem=problem, epochs=4, batch_size=8), optimizer=SGD(learning_rate=0.1)
    )


def test_a_run_accepts_a_moved_file_and_refuses_other_contents(arrays, tmp_path):
    first = train(experiment(arrays), Options(runs_dir=tmp_path / "runs"))
    assert first.summary["final"]["test_accuracy"] == 1
    assert first.config["experiment"]["workload"]["problem"]["dataset"] == "mine.npz"
    moved = arrays.rename(tmp_path / "runs" / "mine.npz")
    assert train(experiment(moved), Options(runs_dir=tmp_path / "runs")).path == first.path
    assert pickle.loads(pickle.dumps(experiment(moved))).workload.problem.dataset.existing_path() == moved
    (first.path / "summary.json").unlink()  # as in an interrupted run
    np.savez(moved, images=IMAGES, labels=1 - LABELS, class_names=["dark", "light"])
    with pytest.raises(UserError, match=r"task\.digest was [0-9a-f]{12} and is [0-9a-f]{12}"):
        train(experiment(moved), Options(runs_dir=tmp_path / "runs"))


def test_a_run_can_be_read_without_its_data_file(tmp_path, monkeypatch, arrays):
    path = train(experiment(arrays), Options(runs_dir=tmp_path / "runs")).path
    arrays.unlink()
    run = load_run(path)
    assert run.experiment.digest == experiment(arrays).digest
    with pytest.raises(UserError, match=r"mine.npz does not exist"):
        train(changed(run.experiment, epochs=5), Options(runs_dir=tmp_path / "runs"))


def test_a_folder_of_images_can_be_used_as_a_data_set(tmp_path, monkeypatch):
    for i in range(100):
        place = tmp_path / "shades" / ("dark", "light")[LABELS[i]] / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(IMAGES[i]).save(place)
    monkeypatch.chdir(tmp_path)
    words = ["run", "digits_cnn_adamw", "--dataset", "shades", "--resize", "6", "5"]
    problem = parse(words).args[0].experiment.workload.problem
    assert (problem.dataset, problem.resize, problem.title) == ("shades/", (6, 5), "shades_cnn")
    loaded = problem.load()
    assert loaded.train.inputs.shape == (72, 6, 5, 1)
    assert loaded.facts["num_classes"] == 2
    assert Classification.from_json(problem.to_json()) == problem


def test_options_that_do_not_fit_the_data_are_refused(arrays):
    with pytest.raises(UserError, match=r"target is 'price', but digits is not a file"):
        Classification(dataset="digits", target="price")
    with pytest.raises(UserError, match=r"resize is \(8, 8\), but mine.npz is not a folder of images"):
        Classification(dataset=str(arrays), resize=(8, 8))
    with pytest.raises(UserError, match=r"batch_size is 128\. Expected at most 72"):
        train(changed(experiment(arrays), batch_size=128))
    assert {"target", "resize"}.isdisjoint(Classification().to_json())


def write_table(folder: pathlib.Path) -> pathlib.Path:
    """Writes a table: the price is linear in two numbers and a category; the kind is high if the price exceeds 1."""
    x, colours = RANDOM.normal(size=(200, 2)), np.arange(200) % 3
    price = 3 * x[:, 0] - 2 * x[:, 1] + colours
    rows = [
        f"{a},{b},{'rgb'[colour]},{value},{'high' if value > 1 else 'low'}"
        for (a, b), colour, value in zip(x, colours, price, strict=True)
    ]
    (folder / "mine.csv").write_text("\n".join(["a,b,colour,price,kind", *rows]) + "\n")
    return folder / "mine.csv"


def test_a_column_of_numbers_makes_a_regression(tmp_path):
    """An MLP learns its target with an error below a quarter of the target's standard deviation."""
    path = write_table(tmp_path)
    table = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=3)
    problem = choose_problem(str(path), "price")
    assert isinstance(problem, Regression)
    one = Experiment(
        name="mine", workload=Workload(problem=problem, epochs=40, batch_size=16), optimizer=AdamW(learning_rate=0.01)
    )
    run = train(one, Options(runs_dir=tmp_path / "runs"))
    assert run.summary["final"]["test_rmse"] < 0.25 * table.std()
    assert run.config["experiment"]["workload"]["problem"]["dataset"] == "mine.csv"
    assert len(run.config["task"]["digest"]) == 12
    with pytest.raises(UserError, match=r"the column 'kind' consists of texts\. Expected numbers"):
        dataclasses.replace(problem, target="kind").load()
    with pytest.raises(UserError, match=r"target is 'price', but diamonds is not a file"):
        Regression(target="price")


def test_a_column_of_texts_makes_a_classification(tmp_path):
    path = write_table(tmp_path)
    problem = choose_problem(str(path), "kind")
    assert isinstance(problem, Classification)
    loaded = problem.load()
    assert loaded.train.inputs.shape == (144, 6)  # a, b, three colours, the price
    assert [metric.name for metric in loaded.all_metrics] == ["accuracy", "loss"]
    assert problem.parameter_shapes()["head"]["kernel"].shape[-1] == 2


@pytest.mark.parametrize(
    ("words", "kind", "title"),
    [
        (["--dataset", "mine.csv", "--target", "price"], Regression, "mine_mlp"),
        (["--dataset=mine.csv", "--target=kind"], Classification, "mine_mlp"),
        (["--dataset", "mine.npz"], Classification, "mine_cnn"),
        (["--dataset", "mine.txt", "--length", "8"], Language, "mine_transformer"),
        (["--dataset", "mine.csv", "--target", "price", "--problem", "regression"], Regression, "mine_mlp"),
    ],
)
def test_the_type_of_the_data_determines_the_problem(words, kind, title, arrays, tmp_path, monkeypatch):
    write_table(tmp_path)
    (tmp_path / "mine.txt").write_text("to be or not to be, " * 30)
    monkeypatch.chdir(tmp_path)
    one = parse(["run", "digits_cnn_adamw", *words]).args[0].experiment
    assert (type(one.workload.problem), one.workload.problem.title, one.name) == (kind, title, title)
    assert one.workload.problem.load().train_examples > 20


def test_an_experiment_keeps_its_network_if_it_accepts_the_data(arrays, monkeypatch):
    monkeypatch.chdir(arrays.parent)
    one = parse(["run", "cifar10_resnet20_sgd", "--dataset", "mine.npz"]).args[0].experiment
    assert one.workload.problem.title == "mine_resnet20"
    assert one.workload.problem.augmentation.crop_padding > 0
