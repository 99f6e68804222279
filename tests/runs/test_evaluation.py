"""`evaluation.npz`: it says of each example what the final metrics say of all, and is whole or not there."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench import UserError, data, load_run, train, train_population
from jaxopt_bench.data import Augmentation, Dataset, Split
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.runs import EVALUATION, Evaluation, Recording, Reporter, Run, evaluation, load_evaluation
from jaxopt_bench.training import CodePath
from tests.runs.test_train import Killed, KilledAt, Said, assert_same

PLAIN = Recording(log_every=6, tensorboard=False)
EVALUATED = dataclasses.replace(PLAIN, evaluation=True)
IN_TURN, TOGETHER = CodePath("pure", "compiled", "map"), CodePath()


@pytest.fixture(scope="module")
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": EVALUATED, "reporter": Reporter(), "code_path": IN_TURN}


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory, options) -> Run:
    """Returns a run that has an evaluation; tests that change it copy it."""
    return train(tiny, runs_dir=tmp_path_factory.mktemp("done"), **options)


@pytest.fixture(scope="module")
def without(tiny, tmp_path_factory, options) -> Run:
    """Returns the same run without one."""
    return train(tiny, runs_dir=tmp_path_factory.mktemp("without"), **{**options, "recording": PLAIN})


def copied(run: Run, runs_dir: pathlib.Path) -> Run:
    """Returns a copy of a run in another folder of runs."""
    return load_run(shutil.copytree(run.path, runs_dir / run.path.parent.name / run.path.name))


def evaluation_of(run: Run) -> Evaluation:
    found = load_evaluation(run.path)
    assert found is not None
    return found


def bytes_of(run: Run) -> bytes:
    return (run.path / EVALUATION).read_bytes()


def assert_final_metrics(run: Run) -> None:
    """Asserts that the file's logits have the final losses and accuracies, by SciPy in float64."""
    assert run.summary is not None
    with np.load(run.path / EVALUATION, allow_pickle=False) as found:
        for split in ("validation", "test"):
            labels, logits = found[f"{split}_labels"], found[f"{split}_logits"].astype(np.float64)
            loss = -scipy.special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()
            assert loss == pytest.approx(run.summary["final"][f"{split}_loss"], rel=1e-5)
            accuracy = (logits.argmax(1) == labels).mean()
            assert accuracy == pytest.approx(run.summary["final"][f"{split}_accuracy"], rel=1e-6)


def test_the_logits_are_those_of_the_final_metrics(done, options):
    dataset = data.load("digits", options["data_dir"])
    _, validation = data.train_validation(dataset.split("train"), 0.1)
    assert validation is not None
    found = evaluation_of(done)
    assert found.class_names == tuple(str(digit) for digit in range(10))
    np.testing.assert_array_equal(found.splits["validation"].labels, validation.labels)  # 144: one batch, padded
    np.testing.assert_array_equal(found.splits["test"].labels, dataset.split("test").labels)  # 360: one and a part
    assert_final_metrics(done)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_averaged_parameters_and_the_statistics_of_their_own_are_those_of_the_final_metrics(
    dtype, tiny, tmp_path, options, normed
):
    optimizer = SGD(learning_rate=0.05, ema_decay=0.9)
    experiment = dataclasses.replace(tiny, epochs=1, model=normed, optimizer=optimizer, dtype=dtype)
    run = train(experiment, runs_dir=tmp_path, **options)
    assert_final_metrics(run)
    before = bytes_of(run)
    (run.path / EVALUATION).unlink()
    assert bytes_of(train(experiment, runs_dir=tmp_path, **options)) == before  # from the last checkpoint


def test_the_mistakes_are_the_wrong_examples_with_the_highest_losses(done, options):
    images = data.load("digits", options["data_dir"]).split("test").images
    split = evaluation_of(done).splits["test"]
    losses = -scipy.special.log_softmax(split.logits.astype(np.float64), axis=1)[np.arange(360), split.labels]
    np.testing.assert_allclose(split.losses, losses, rtol=1e-12)
    wrong = [i for i in range(360) if split.predictions[i] != split.labels[i]]
    assert len(wrong) > 32
    assert split.mistakes.tolist() == sorted(wrong, key=lambda i: -losses[i])[:32]
    np.testing.assert_array_equal(split.mistake_images, images[split.mistakes])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_class_is_predicted_if_the_largest_logit_is_not_finite(bad, place):
    logits = np.array([[0, 1, 2], [0, 1, 2], [-np.inf, 0, -np.inf]], np.float32)
    logits[1, place] = bad
    none = np.zeros(0, np.int32)
    for label in range(3):
        split = evaluation.EvaluatedSplit(np.full(3, label, np.int32), logits, none, none)
        assert split.predictions.tolist() == [2, -1, 1]
        examples = Split(np.zeros((3, 1, 1, 1), np.uint8), split.labels)
        assert 1 in evaluation._evaluated_split(examples, logits).mistakes


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_few_mistakes_are_all_shown_and_one_without_a_loss_is_the_worst(bad):
    logits = np.zeros((6, 3), np.float32)
    logits[:, 1] = [1, 2, 5, 9, 1, 0]
    logits[4, 2] = bad
    examples = Split(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), np.array([1, 0, 2, 1, 1, 0], np.int32))
    found = evaluation._evaluated_split(examples, logits)
    assert found.mistakes.tolist() == [4, 2, 1]
    assert found.mistake_images.ravel().tolist() == [4, 2, 1]


@pytest.mark.parametrize(
    ("change", "splits", "flip", "shown"),
    [
        ({"evaluate_test": False, "batch_size": 64}, ["validation"], True, 32),
        ({"validation_fraction": 0.0, "batch_size": 20}, ["test"], False, 20),
        pytest.param({"validation_fraction": 0.0, "evaluate_test": False}, [], True, 32, marks=pytest.mark.slow),
    ],
)
def test_only_evaluated_splits_are_opened_and_the_batch_is_one_of_training_images(
    change, splits, flip, shown, tiny, tmp_path, options, monkeypatch
):
    opened = []
    original = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: (opened.append(name), original(self, name))[1])
    experiment = dataclasses.replace(tiny, epochs=1, augmentation=Augmentation(flip=flip), **change)
    run = train(experiment, runs_dir=tmp_path, **options)
    found = evaluation_of(run)
    assert list(found.splits) == splits
    assert ("test" in opened) == ("test" in splits)
    batch, count = found.batch, run.task.train_examples
    assert len(batch.labels) == shown
    stored = data.load("digits", options["data_dir"]).split("train")
    for image, label in zip(batch.images, batch.labels, strict=True):
        assert label in stored.labels[:count][(stored.images[:count] == image).all((1, 2, 3))]
    kept = (batch.augmented == batch.images).all((1, 2, 3))
    mirrored = (batch.augmented == batch.images[:, :, ::-1]).all((1, 2, 3))
    assert (kept | mirrored).all()
    assert kept.any()
    assert bool((~kept).any()) == flip


def test_asking_for_it_changes_nothing_else(done, without):
    assert_same(done, without)
    assert done.path.name == without.path.name
    for name in ("status", "final", "best", "steps", "digest"):
        assert done.summary[name] == without.summary[name]
    assert done.summary["seconds"] == sum(r["seconds"] for r in done.metrics if r["split"] != "train")
    assert load_evaluation(without.path) is None


def test_a_run_killed_while_it_is_written_has_none_and_completes_later(done, tiny, tmp_path, options, monkeypatch):
    run = copied(done, tmp_path)
    (run.path / "summary.json").unlink()

    def killed(file: Any, **arrays: Any) -> None:
        file.write(b"PK")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.np, "savez", killed)
        with pytest.raises(Killed):
            train(tiny, runs_dir=tmp_path, **options)
    assert not [path.name for path in run.path.iterdir() if EVALUATION in path.name or path.name == "summary.json"]
    assert bytes_of(train(tiny, runs_dir=tmp_path, **options)) == bytes_of(done)


def test_a_run_that_goes_on_keeps_none_from_before(done, tiny, tmp_path, options):
    run = copied(done, tmp_path)
    (run.path / "summary.json").unlink()
    again = train(tiny, runs_dir=tmp_path, **{**options, "recording": PLAIN})
    assert again.summary["status"] == "completed"
    assert load_evaluation(run.path) is None


def test_a_run_that_is_resumed_has_that_of_one_that_was_never_stopped(done, tiny, tmp_path, options):
    with pytest.raises(Killed):
        train(tiny, runs_dir=tmp_path, **{**options, "reporter": KilledAt(25)})
    assert bytes_of(train(tiny, runs_dir=tmp_path, **options)) == bytes_of(done)


def test_a_run_that_finished_without_it_gets_it_from_its_last_checkpoint(done, without, tiny, tmp_path, options):
    run = copied(without, tmp_path)
    files = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    said = Said()
    for _ in range(2):  # the second time it is there
        train(tiny, runs_dir=tmp_path, **{**options, "reporter": said})
    earlier = "finished earlier; fresh=True, or --fresh, trains it again"
    assert said.messages == [earlier, "evaluation.npz is written from the last checkpoint", earlier]
    assert bytes_of(run) == bytes_of(done)
    assert {name: (run.path / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("damage", ["gone", "earlier", "changed"])
def test_without_the_last_checkpoint_it_is_refused_and_nothing_lost(damage, without, tiny, tmp_path, options):
    run = copied(without, tmp_path)
    last = run.path / "checkpoints" / "40"
    match damage:
        case "gone":
            shutil.rmtree(run.path / "checkpoints")
        case "earlier":  # that of the first epoch is still there
            shutil.rmtree(last)
        case "changed":
            next(path for path in (last / "arrays").rglob("*") if path.is_file()).write_text("")
    expected = r"damaged.*evaluation\.npz is made" if damage == "changed" else r"no evaluation\.npz, .* gone: .* not 40"
    with pytest.raises(UserError, match=rf"{expected}.*accepted: --fresh --evaluation.*without --evaluation"):
        train(tiny, runs_dir=tmp_path, **options)
    assert load_evaluation(run.path) is None
    again = train(tiny, runs_dir=tmp_path, **{**options, "recording": PLAIN})
    assert (again.summary, again.metrics) == (run.summary, run.metrics)


@pytest.mark.parametrize(
    "code_path", [IN_TURN, pytest.param(TOGETHER, marks=pytest.mark.slow)], ids=["in turn", "together"]
)
def test_each_member_of_a_population_has_its_own(code_path, done, tiny, tmp_path, options):
    options = {**options, "code_path": code_path}
    experiments = [tiny, dataclasses.replace(tiny, optimizer=AdamW(learning_rate=5e-2))]
    runs = train_population(experiments, runs_dir=tmp_path, **options)
    for run in runs:
        assert_final_metrics(run)
    assert not np.allclose(*(evaluation_of(run).splits["test"].logits for run in runs), atol=0.1)
    if code_path == IN_TURN:  # where a member is its single run to the bit
        assert bytes_of(runs[0]) == bytes_of(done)
    before = [bytes_of(run) for run in runs]
    for run in runs:
        (run.path / EVALUATION).unlink()
    train_population(experiments, runs_dir=tmp_path, **options)  # from their last checkpoint
    assert [bytes_of(run) for run in runs] == before


def test_a_finished_run_without_checkpoint_is_refused_before_others_are_trained(without, tiny, tmp_path, options):
    shutil.rmtree(copied(without, tmp_path).path / "checkpoints")
    other = dataclasses.replace(tiny, seed=1)
    with pytest.raises(UserError, match="is gone"):
        train_population([tiny, other], runs_dir=tmp_path, **options)
    assert not (tmp_path / "tiny" / other.digest).exists()


def test_a_run_that_diverges_has_none(tiny, tmp_path, options):
    wild = dataclasses.replace(tiny, optimizer=AdamW(learning_rate=1e30))
    first, second = train_population([tiny, wild], runs_dir=tmp_path, **options)
    assert second.summary is not None
    assert second.summary["status"] == "diverged"
    assert_final_metrics(first)
    for _ in range(2):  # nor does it get one where it has finished
        assert load_evaluation(second.path) is None
        assert train(wild, runs_dir=tmp_path, **options).summary == second.summary


SOUND: dict[str, np.ndarray] = {
    "class_names": np.array(["cat", "dog"]),
    "batch_labels": np.array([0, 1], np.int32),
    "batch_images": np.zeros((2, 3, 4, 1), np.uint8),
    "batch_augmented": np.zeros((2, 3, 4, 1), np.uint8),
    "test_labels": np.array([0, 1, 1], np.int32),
    "test_logits": np.array([[1, 0], [1, 0], [0, 1]], np.float32),
    "test_mistakes": np.array([1], np.int32),
    "test_mistake_images": np.zeros((1, 3, 4, 1), np.uint8),
}


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_what_is_written_is_read(tmp_path):
    (tmp_path / EVALUATION).write_bytes(archive(**SOUND))
    found = load_evaluation(tmp_path)
    assert found is not None
    assert found.class_names == ("cat", "dog")
    assert list(found.splits) == ["test"]
    assert found.splits["test"].predictions.tolist() == [0, 0, 1]
    softplus = np.log(1 + np.exp([-1, 1, -1]))
    np.testing.assert_allclose(found.splits["test"].losses, softplus)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("class_names", None, "no array 'class_names'"),
        ("class_names", np.array([["cat", "dog"]]), r"class_names is <U3\[1, 2\]; accepted: str\[any\]"),
        ("class_names", np.array(["cat", None]), "pickle"),
        ("test_labels", None, "no array 'test_labels'"),
        ("test_labels", np.array([0, 1, 2], np.int32), "test_labels is from 0 to 2; accepted: >= 0 and < 2"),
        ("test_labels", np.array([0, -1, 1], np.int32), "test_labels is from -1 to 1"),
        ("test_labels", np.array([0.0, 1, 1]), "test_labels is float64"),
        ("test_logits", np.zeros((3, 2)), r"test_logits is float64\[3, 2\]; accepted: float32\[3, 2\]"),
        ("test_logits", np.zeros((2, 2), np.float32), r"float32\[2, 2\]; accepted: float32\[3, 2\]"),
        ("test_logits", np.zeros((3, 3), np.float32), r"float32\[3, 3\]; accepted: float32\[3, 2\]"),
        ("test_mistakes", np.array([3], np.int32), "test_mistakes is from 3 to 3; accepted: >= 0 and < 3"),
        ("test_mistake_images", np.zeros((1, 3, 3, 1), np.uint8), r"accepted: uint8\[1, 3, 4, 1\]"),
        ("batch_images", np.zeros((3, 3, 4, 1), np.uint8), r"accepted: uint8\[2, any, any, any\]"),
        ("batch_augmented", np.zeros((2, 3, 4), np.uint8), r"accepted: uint8\[2, 3, 4, 1\]"),
        ("batch_augmented", np.zeros((2, 3, 4, 1), np.int8), r"int8\[2, 3, 4, 1\]; accepted: uint8"),
    ],
)
def test_an_array_that_is_not_what_it_should_be_is_named(name, array, message, tmp_path):
    arrays = {**SOUND, name: array}
    (tmp_path / EVALUATION).write_bytes(archive(**{k: v for k, v in arrays.items() if v is not None}))
    with pytest.raises(UserError, match=rf"evaluation\.npz is damaged: .*{message}"):
        load_evaluation(tmp_path)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / EVALUATION, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("class_names.npy", bytes(10**7))
    with pytest.raises(UserError, match="claim to be larger than it is"):
        load_evaluation(tmp_path)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "|u1", "fortran_order": False, "shape": (10**16,)})
    with zipfile.ZipFile(tmp_path / EVALUATION, "w") as file:
        file.writestr("class_names.npy", huge.getvalue())
    with pytest.raises(UserError, match=r"evaluation\.npz is damaged"):
        load_evaluation(tmp_path)


@given(st.data())
def test_a_damaged_file_is_refused_or_read_as_it_was(tmp_path_factory, drawn):
    whole = archive(**SOUND)
    at = drawn.draw(st.integers(0, len(whole) - 1))
    truncated = drawn.draw(st.booleans())
    changed = bytes([whole[at] ^ drawn.draw(st.integers(1, 255))])
    damaged = whole[:at] if truncated else whole[:at] + changed + whole[at + 1 :]
    directory = tmp_path_factory.mktemp("damaged")
    (directory / EVALUATION).write_bytes(damaged)
    with contextlib.suppress(UserError):  # any other error fails
        found = load_evaluation(directory)
        assert not truncated
        assert found is not None
        assert found.class_names == ("cat", "dog")
        np.testing.assert_array_equal(found.splits["test"].logits, SOUND["test_logits"])
