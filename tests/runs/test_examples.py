"""`test_examples.npz` has the result of each test example, and agrees with the run's results on the test split."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxopt_bench import UserError, train, train_population
from jaxopt_bench.problems import Metric
from jaxopt_bench.results import load
from jaxopt_bench.runs import Options, Recording, Reporter, load_evaluation
from jaxopt_bench.runs.examples import EXAMPLES, load_examples, save_examples
from jaxopt_bench.training import CodePath
from tests.copies import copied

RECORDED = Recording(log_every=6, tensorboard=False, evaluation=True, test_examples=True)
IN_TURN, SIDE_BY_SIDE = CodePath("pure", "compiled", "map"), CodePath("pure", "compiled", "map", side_by_side=2)


@pytest.fixture(scope="module")
def tested(tiny):
    return dataclasses.replace(tiny, evaluate_test=True)


@pytest.fixture
def options(digits_dir, tmp_path):
    return Options(runs_dir=tmp_path, data_dir=digits_dir, recording=RECORDED, reporter=Reporter(), code_path=IN_TURN)


@pytest.fixture
def run(tested, train_once):
    """Returns a run with the result of each test example, which tests share."""
    (run,) = train_once([tested], RECORDED, IN_TURN)
    return run


def assert_each_example(run):
    """Asserts that the file agrees with the run's summary and with the examples in its evaluation."""
    found, evaluation = load_examples(run.path, "accuracy"), load_evaluation(run.path)
    final = run.summary["final"]
    assert evaluation is not None
    np.testing.assert_array_equal(found[final["step"]], evaluation.splits["test"].statistics["accuracy"])
    for at in ("final", "best"):
        assert found[run.summary[at]["step"]].mean() == pytest.approx(run.summary[at]["test_accuracy"], rel=1e-6)


def test_a_run_records_each_test_example_at_the_last_and_the_best_epoch(run):
    assert_each_example(run)
    assert set(load_examples(run.path, "accuracy")) == {run.summary[at]["step"] for at in ("final", "best")}


@pytest.mark.parametrize("path", [IN_TURN, SIDE_BY_SIDE], ids=["in-turn", "side-by-side"])
def test_each_member_of_a_population_has_its_own_examples(tested, options, path):
    experiments = [dataclasses.replace(tested, seed=seed) for seed in (0, 1, 2)]
    runs = train_population(experiments, dataclasses.replace(options, code_path=path))
    for run in runs:
        assert_each_example(run)
    first, second, _ = (load_examples(run.path, "accuracy")[run.summary["final"]["step"]] for run in runs)
    assert (first != second).any()


def test_examples_of_a_tracked_test_split_are_also_recorded(tested, options):
    assert_each_example(train(dataclasses.replace(tested, track_test=True), options))


def test_without_the_test_split_or_the_option_no_examples_are_written(tested, options):
    plain = dataclasses.replace(options, recording=dataclasses.replace(RECORDED, test_examples=False))
    for run in (train(dataclasses.replace(tested, evaluate_test=False), options), train(tested, plain)):
        assert not (run.path / EXAMPLES).exists()


def test_saved_examples_are_loaded_and_a_later_step_is_added(tmp_path):
    accuracy, error = Metric(name="accuracy"), Metric(name="error")
    save_examples(tmp_path, accuracy, 3, {"accuracy": np.array([0, 1, 1], np.float32)})
    save_examples(tmp_path, accuracy, 7, {"accuracy": np.array([0.5, 1, 0], np.float32)})
    found = load_examples(tmp_path, "accuracy")
    assert {step: values.tolist() for step, values in found.items()} == {3: [0, 1, 1], 7: [0.5, 1, 0]}
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}
    with pytest.raises(UserError, match=r"the array 'accuracy/3' is unknown\. Expected error/STEP"):
        load_examples(tmp_path, error.name)


def test_results_that_are_not_finite_are_not_saved(tmp_path):
    save_examples(tmp_path, Metric(name="loss"), 3, {"loss": np.array([np.nan, 1.0], np.float32)})
    assert load_examples(tmp_path, "loss") == {}


@pytest.mark.parametrize(
    "arrays", [{"accuracy/1": np.ones((2, 2), np.float32)}, {"accuracy/1": np.array([np.inf], np.float32)},
               {"accuracy/x": np.ones(2, np.float32)}, {"accuracy/1": np.ones(2, np.int32)}],
)  # fmt: skip
def test_a_damaged_file_is_named(tmp_path, arrays):
    np.savez(tmp_path / EXAMPLES, **arrays)
    with pytest.raises(UserError, match=rf"{EXAMPLES} is damaged"):
        load_examples(tmp_path, "accuracy")


def test_recorded_results_have_the_examples_and_refuse_those_of_another_run(run, tmp_path):
    run = copied(run, tmp_path)
    results = load(run.path)
    step = run.summary["final"]["step"]
    results.save(tmp_path / "recorded")
    again = load(tmp_path / "recorded")
    (path,) = again.runs["path"]
    found = again.examples_of(path, step)
    assert found is not None
    np.testing.assert_array_equal(found, load_examples(run.path, "accuracy")[step])
    assert again.examples_of(path, step + 1) is None
    others = 1 - load_examples(run.path, "accuracy")[step]
    save_examples(run.path, Metric(name="accuracy"), step, {"accuracy": others})
    with pytest.raises(UserError, match="holds files of two runs: its test accuracy at step"):
        load(run.path)
