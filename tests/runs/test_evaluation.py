"""`evaluation.npz`: its results of single examples agree with the final metrics, and it is complete or absent."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shutil
import zipfile
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from jaxopt_bench import UserError, data, train, train_population
from jaxopt_bench.data import Augmentation, Dataset
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.problems import PROBLEMS
from jaxopt_bench.problems.views import Images, Lines, Matrix, Points, Texts, views_to_arrays
from jaxopt_bench.runs import EVALUATION, Evaluation, Options, Recording, Reporter, Run, evaluation, load_evaluation
from jaxopt_bench.training import CodePath
from tests.copies import copied
from tests.problems.springs import Springs
from tests.runs.test_train import Killed, KilledAt, MessageRecorder, assert_same
from tests.tasks import changed

PLAIN = Recording(log_every=6, tensorboard=False)
EVALUATED = dataclasses.replace(PLAIN, evaluation=True)
IN_TURN, TOGETHER = CodePath("pure", "compiled", "map"), CodePath()


@pytest.fixture
def options(digits_dir) -> dict[str, Any]:
    return {"data_dir": digits_dir, "recording": EVALUATED, "reporter": Reporter(), "code_path": IN_TURN}


@pytest.fixture
def done(tiny, train_once) -> Run:
    """Returns a run with an evaluation. Tests that change its files copy it first."""
    (run,) = train_once([tiny], EVALUATED, IN_TURN)
    return run


@pytest.fixture
def without(tiny, train_once) -> Run:
    """Returns the same run without an evaluation."""
    (run,) = train_once([tiny], PLAIN, IN_TURN)
    return run


def evaluation_of(run: Run) -> Evaluation:
    found = load_evaluation(run.path)
    assert found is not None
    return found


def bytes_of(run: Run) -> bytes:
    return (run.path / EVALUATION).read_bytes()


def assert_final_metrics(run: Run) -> None:
    """Asserts that the file's logits and statistics give the final losses and accuracies (SciPy in float64)."""
    assert run.summary is not None
    with np.load(run.path / EVALUATION, allow_pickle=False) as found:
        for split in ("validation", "test"):
            labels, logits = found[f"{split}/outputs/labels"], found[f"{split}/outputs/logits"].astype(np.float64)
            losses = -scipy.special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
            correct = logits.argmax(1) == labels
            for name, values in (("loss", losses), ("accuracy", correct)):
                np.testing.assert_allclose(found[f"{split}/statistics/{name}"], values, rtol=1e-4, atol=1e-5)
                assert values.mean() == pytest.approx(run.summary["final"][f"{split}_{name}"], rel=1e-5)


def test_the_logits_agree_with_the_final_metrics(done, options):
    dataset = data.load("digits", options["data_dir"])
    _, validation = data.train_validation(dataset.split("train"), 0.1)
    assert validation is not None
    found = evaluation_of(done)
    outputs = {name: split.outputs for name, split in found.splits.items()}
    np.testing.assert_array_equal(outputs["validation"]["labels"], validation.labels)  # one padded batch of 144
    np.testing.assert_array_equal(outputs["test"]["labels"], dataset.split("test").labels)  # batches of 256, 104
    assert_final_metrics(done)


@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_averaged_parameters_and_their_batch_statistics_give_the_final_metrics(dtype, tiny, tmp_path, options, normed):
    optimizer = SGD(learning_rate=0.05, ema_decay=0.9)
    experiment = changed(tiny, epochs=1, model=normed, optimizer=optimizer, dtype=dtype)
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    assert_final_metrics(run)
    before = bytes_of(run)
    (run.path / EVALUATION).unlink()
    assert bytes_of(train(experiment, Options(runs_dir=tmp_path, **options))) == before  # from the last checkpoint


def test_views_show_the_split_for_which_they_are_recorded(done, options):
    for name, split in evaluation_of(done).splits.items():
        matrix, worst = split.views
        assert isinstance(matrix, Matrix)
        labels, guesses = split.outputs["labels"], split.outputs["logits"].argmax(1)
        assert np.trace(matrix.values) == (labels == guesses).sum()
        np.testing.assert_array_equal(matrix.values.sum(1), np.bincount(labels, minlength=10))
        assert isinstance(worst, Images)
        stored = data.load("digits", options["data_dir"]).split("test" if name == "test" else "train")
        for image, caption in zip(worst.images, worst.captions, strict=True):
            label = int(caption.partition(",")[0])
            assert label in stored.labels[(stored.inputs == image).all((1, 2, 3))]


@pytest.mark.parametrize(
    ("change", "splits", "flip", "shown"),
    [
        ({"evaluate_test": False, "batch_size": 64}, ["validation"], True, 32),
        ({"validation_fraction": 0.0, "batch_size": 20}, ["test"], False, 20),
        ({"validation_fraction": 0.0, "evaluate_test": False}, ["train_clean"], True, 32),
    ],
)
def test_only_evaluated_splits_are_read_and_the_batch_has_training_images(
    change, splits, flip, shown, tiny, tmp_path, options, monkeypatch
):
    opened = []
    original = Dataset.split
    monkeypatch.setattr(Dataset, "split", lambda self, name: (opened.append(name), original(self, name))[1])
    experiment = changed(tiny, epochs=1, augmentation=Augmentation(flip=flip), **change)
    run = train(experiment, Options(runs_dir=tmp_path, **options))
    found = evaluation_of(run)
    assert list(found.splits) == splits
    assert ("test" in opened) == ("test" in splits)
    (view,) = found.training_views
    count = run.config["task"]["train_examples"]
    assert len(view.images) == shown
    before, augmented = view.images[:, :, :8], view.images[:, :, 8:]
    stored = data.load("digits", options["data_dir"]).split("train")
    for image, label in zip(before, view.captions, strict=True):
        assert int(label) in stored.labels[:count][(stored.inputs[:count] == image).all((1, 2, 3))]
    kept = (augmented == before).all((1, 2, 3))
    mirrored = (augmented == before[:, :, ::-1]).all((1, 2, 3))
    assert (kept | mirrored).all()
    assert kept.any()
    assert bool((~kept).any()) == flip


def test_recording_an_evaluation_changes_no_other_result(done, without):
    assert_same(done, without)
    assert done.path.name == without.path.name
    for name in ("status", "final", "best", "steps", "digest"):
        assert done.summary[name] == without.summary[name]
    assert done.summary["seconds"] == sum(r["seconds"] for r in done.metrics if r["split"] != "train")
    assert load_evaluation(without.path) is None


def test_a_run_killed_while_writing_an_evaluation_has_none_until_resumed(done, tiny, tmp_path, options, monkeypatch):
    run = copied(done, tmp_path)
    (run.path / "summary.json").unlink()

    def killed(file: Any, **arrays: Any) -> None:
        file.write(b"PK")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.np, "savez", killed)
        with pytest.raises(Killed):
            train(tiny, Options(runs_dir=tmp_path, **options))
    assert not [path.name for path in run.path.iterdir() if EVALUATION in path.name or path.name == "summary.json"]
    assert bytes_of(train(tiny, Options(runs_dir=tmp_path, **options))) == bytes_of(done)


def test_a_resumed_run_does_not_keep_an_earlier_evaluation(done, tiny, tmp_path, options):
    run = copied(done, tmp_path)
    (run.path / "summary.json").unlink()
    again = train(tiny, Options(runs_dir=tmp_path, **{**options, "recording": PLAIN}))
    assert again.summary["status"] == "completed"
    assert load_evaluation(run.path) is None


@pytest.mark.slow
def test_a_resumed_run_has_the_same_evaluation_as_an_uninterrupted_run(done, tiny, tmp_path, options):
    with pytest.raises(Killed):
        train(tiny, Options(runs_dir=tmp_path, **{**options, "reporter": KilledAt(25)}))
    assert bytes_of(train(tiny, Options(runs_dir=tmp_path, **options))) == bytes_of(done)


def test_a_run_finished_without_evaluation_gets_it_from_its_last_checkpoint(done, without, tiny, tmp_path, options):
    run = copied(without, tmp_path)
    files = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    said = MessageRecorder()
    for _ in range(2):  # the second time, the file exists
        train(tiny, Options(runs_dir=tmp_path, **{**options, "reporter": said}))
    finished = f"{run.path} needs no further training. To train it again in a new folder, use --fresh"
    finished += " (in Python: fresh=True)."
    assert said.messages == [finished, "evaluation.npz is written from the last checkpoint", finished]
    assert bytes_of(run) == bytes_of(done)
    assert {name: (run.path / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("damage", ["gone", "earlier", "changed"])
def test_without_the_last_checkpoint_an_evaluation_is_refused_without_loss(damage, without, tiny, tmp_path, options):
    run = copied(without, tmp_path)
    last = run.path / "checkpoints" / "40"
    match damage:
        case "gone":
            shutil.rmtree(run.path / "checkpoints")
        case "earlier":  # the checkpoint of the first epoch remains
            shutil.rmtree(last)
        case "changed":
            next(path for path in (last / "arrays").rglob("*") if path.is_file()).write_text("")
    expected = (
        r"damaged.*evaluation\.npz is made" if damage == "changed" else r"no evaluation\.npz, .* missing: .* not 40"
    )
    with pytest.raises(UserError, match=rf"{expected}.*Expected --fresh --evaluation.*without --evaluation"):
        train(tiny, Options(runs_dir=tmp_path, **options))
    assert load_evaluation(run.path) is None
    again = train(tiny, Options(runs_dir=tmp_path, **{**options, "recording": PLAIN}))
    assert (again.summary, again.metrics) == (run.summary, run.metrics)


@pytest.mark.parametrize(
    "code_path", [IN_TURN, pytest.param(TOGETHER, marks=pytest.mark.slow)], ids=["in turn", "together"]
)
def test_each_member_of_a_population_has_its_own_evaluation(code_path, done, tiny, tmp_path, options):
    options = {**options, "code_path": code_path}
    experiments = [tiny, dataclasses.replace(tiny, optimizer=AdamW(learning_rate=5e-2))]
    runs = train_population(experiments, Options(runs_dir=tmp_path, **options))
    for run in runs:
        assert_final_metrics(run)
    assert not np.allclose(*(evaluation_of(run).splits["test"].outputs["logits"] for run in runs), atol=0.1)
    if code_path == IN_TURN:  # members equal their single runs to the bit
        assert bytes_of(runs[0]) == bytes_of(done)
    before = [bytes_of(run) for run in runs]
    for run in runs:
        (run.path / EVALUATION).unlink()
    train_population(experiments, Options(runs_dir=tmp_path, **options))  # from their last checkpoints
    assert [bytes_of(run) for run in runs] == before


def test_a_finished_run_without_checkpoint_is_refused_before_others_are_trained(without, tiny, tmp_path, options):
    shutil.rmtree(copied(without, tmp_path).path / "checkpoints")
    other = dataclasses.replace(tiny, seed=1)
    with pytest.raises(UserError, match="is missing"):
        train_population([tiny, other], Options(runs_dir=tmp_path, **options))
    assert not (tmp_path / "tiny" / other.digest).exists()


def test_a_run_that_diverges_has_no_evaluation(tiny, tmp_path, options):
    wild = dataclasses.replace(tiny, optimizer=AdamW(learning_rate=1e30))
    first, second = train_population([tiny, wild], Options(runs_dir=tmp_path, **options))
    assert second.summary is not None
    assert second.summary["status"] == "diverged"
    assert_final_metrics(first)
    for _ in range(2):  # a finished run that diverged does not get one later
        assert load_evaluation(second.path) is None
        assert train(wild, Options(runs_dir=tmp_path, **options)).summary == second.summary


@pytest.fixture
def springs(monkeypatch) -> Experiment:
    """Returns an experiment on a problem without images, labels and accuracy, which is registered during the test."""
    monkeypatch.setitem(PROBLEMS, "springs", Springs())
    return Experiment(
        name="springs", workload=Workload(problem=Springs(), epochs=2, batch_size=32), optimizer=SGD(learning_rate=0.3)
    )


@pytest.mark.parametrize(
    ("splits", "recorded"),
    [("all", {"validation": 40, "test": 50}), ("validation", {"validation": 40}), ("train", {"train_clean": 96})],
)
def test_any_problem_has_its_statistics_outputs_and_views_recorded(splits, recorded, springs, tmp_path, options):
    run = train(changed(springs, splits=splits), Options(runs_dir=tmp_path, **options))
    found = evaluation_of(run)
    assert {name: len(split.statistics["loss"]) for name, split in found.splits.items()} == recorded
    for name, split in found.splits.items():
        assert split.statistics.keys() == {"loss", "squares"}
        error = np.sqrt(split.statistics["squares"].astype(np.float64).mean())
        assert error == pytest.approx(run.summary["final"][f"{name}_rms_error"], rel=1e-5)
        assert split.outputs["force"].dtype == np.float32  # NumPy's files do not support bfloat16
        assert split.outputs["pairs"].shape == (recorded[name], 2)
        assert list(map(type, split.views)) == [Matrix, Points, Lines, Images, Texts]
        points = split.views[1]
        np.testing.assert_allclose((points.x - points.y) ** 2, split.statistics["squares"], atol=0.1)
    (view,) = found.training_views
    np.testing.assert_allclose(view.y, 1.01 * view.x, rtol=1e-5)


def test_the_evaluation_of_a_problem_without_views_has_no_views(springs, tmp_path, options):
    found = evaluation_of(train(changed(springs, views="none"), Options(runs_dir=tmp_path, **options)))
    assert found.training_views == found.splits["test"].views == ()


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("wrong", "`views` failed. views is 'views'. Expected a list of Matrix, Images"),
        ("failing", "`views` failed. KeyError: 'colour'. The training is complete. .* without --evaluation keeps it"),
    ],
)
def test_a_run_whose_views_fail_can_complete_without_an_evaluation(views, message, springs, tmp_path, options):
    experiment = changed(springs, views=views)
    with pytest.raises(UserError, match=message):
        train(experiment, Options(runs_dir=tmp_path, **options))
    run = train(experiment, Options(runs_dir=tmp_path, **{**options, "recording": PLAIN}))
    assert run.summary["status"] == "completed"
    assert load_evaluation(run.path) is None


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (lambda params, batch: {"mean": params["stiffness"]}, r"`outputs` failed. it returns 'mean': float32\[\]"),
        (lambda params, batch: {"a/b": batch["force"]}, "it returns 'a/b': .* Expected a name without slashes"),
        (lambda params, batch: batch["energy"], "`outputs` failed. KeyError: 'energy'"),
    ],
)
def test_invalid_outputs_of_a_problem_are_named(outputs, message, springs, tmp_path, options, monkeypatch):
    load = Springs.load
    monkeypatch.setattr(Springs, "load", lambda *given: dataclasses.replace(load(*given), outputs=outputs))
    with pytest.raises(UserError, match=message):
        train(springs, Options(runs_dir=tmp_path, **options))


VIEWS = [
    Matrix(title="m", values=np.eye(2), rows=["cat", "dog"], columns=["cat", "dog"], row_title="r", column_title="c"),
    Images(title="i", images=np.zeros((1, 3, 4, 1), np.uint8), captions=["cat"]),
]
SOUND: dict[str, np.ndarray] = {
    "test/statistics/loss": np.array([0.5, 2, 0.5], np.float32),
    "test/statistics/accuracy": np.array([1, 0, 1], np.float32),
    "test/outputs/logits": np.array([[1, 0], [1, 0], [0, 1]], np.float32),
    **{f"test/views/{name}": array for name, array in views_to_arrays(VIEWS).items()},
    **{f"training/views/{name}": array for name, array in views_to_arrays(VIEWS[1:]).items()},
}


def archive(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_an_evaluation_is_read_with_its_statistics_outputs_and_views(tmp_path):
    (tmp_path / EVALUATION).write_bytes(archive(**SOUND))
    found = load_evaluation(tmp_path)
    assert found is not None
    assert list(found.splits) == ["test"]
    split = found.splits["test"]
    assert split.statistics["loss"].tolist() == [0.5, 2, 0.5]
    assert split.outputs["logits"].shape == (3, 2)
    assert [view.title for view in split.views] == ["m", "i"]
    assert [view.title for view in found.training_views] == ["i"]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("test/statistics/loss", None, "the array 'test/statistics/loss' is missing"),
        ("test/statistics/loss", np.zeros((3, 1), np.float32), r"loss is float32\[3, 1\]. Expected float32\[3\]"),
        ("test/statistics/loss", np.float32(1), r"is float32\[\]. Expected float32 \[examples\]"),
        ("test/statistics/loss", np.zeros(2, np.float32), r"accuracy is float32\[3\]. Expected float32\[2\]"),
        ("test/statistics/accuracy", np.zeros(3), r"accuracy is float64\[3\]. Expected float32\[3\]"),
        ("test/statistics/accuracy", np.array([1, None, 1]), "pickle"),
        ("test/outputs/logits", np.zeros((2, 2), np.float32), r"float32\[2, 2\]. Expected 3 examples"),
        ("test/outputs/logits", np.array(["a", "b", "c"]), r"<U1\[3\]. Expected 3 examples"),
        ("test/views/0/values", None, "test/views: the array '0/values' is missing"),
        ("test/views/1/images", np.zeros((1, 3, 4, 1), np.int8), "test/views: Images 'i': images is int8"),
        ("training/views/0/captions", np.array(["a", "b"]), "training/views: .* captions is a list of length 2"),
        ("training/statistics/loss", np.zeros(3, np.float32), "the array 'training/statistics/loss' is unknown"),
        ("test/more", np.zeros(3, np.float32), "the array 'test/more' is unknown"),
        (
            "class_names",
            np.array(["cat", "dog"]),
            "the array 'class_names' is unknown. Expected a name that starts with train_clean/",
        ),
    ],
)
def test_an_invalid_array_is_named(name, array, message, tmp_path):
    arrays = {**SOUND, name: array}
    (tmp_path / EVALUATION).write_bytes(archive(**{k: v for k, v in arrays.items() if v is not None}))
    with pytest.raises(UserError, match=rf"evaluation\.npz is damaged: .*{message}"):
        load_evaluation(tmp_path)


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / EVALUATION, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("test/statistics/loss.npy", bytes(10**7))
    with pytest.raises(UserError, match="claim to be larger than it is"):
        load_evaluation(tmp_path)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "|u1", "fortran_order": False, "shape": (10**16,)})
    with zipfile.ZipFile(tmp_path / EVALUATION, "w") as file:
        file.writestr("test/statistics/loss.npy", huge.getvalue())
    with pytest.raises(UserError, match=r"evaluation\.npz is damaged"):
        load_evaluation(tmp_path)


@given(st.data())
def test_a_damaged_file_is_refused_or_read_correctly(tmp_path_factory, drawn):
    whole = archive(**SOUND)
    at = drawn.draw(st.integers(0, len(whole) - 1))
    truncated = drawn.draw(st.booleans())
    changed = bytes([whole[at] ^ drawn.draw(st.integers(1, 255))])
    damaged = whole[:at] if truncated else whole[:at] + changed + whole[at + 1 :]
    directory = tmp_path_factory.mktemp("damaged")
    (directory / EVALUATION).write_bytes(damaged)
    with contextlib.suppress(UserError):  # any other exception fails the test
        found = load_evaluation(directory)
        assert not truncated
        assert found is not None
        np.testing.assert_array_equal(found.splits["test"].outputs["logits"], SOUND["test/outputs/logits"])
        assert found.splits["test"].views[0].rows == ("cat", "dog")
