"""Verdicts on problems without images, labels and accuracy, compared with separate calculations."""

from __future__ import annotations

import dataclasses
import json
import statistics

import numpy as np
import polars as pl
import pytest
import scipy.stats

from jaxopt_bench import Experiment, UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.measures import measures
from jaxopt_bench.optimizers import SGD, Adam
from jaxopt_bench.problems import PROBLEMS, Classification, Metric
from jaxopt_bench.results import load, metrics_of
from jaxopt_bench.results.columns import run_types
from jaxopt_bench.study import Association, Claim, Comparison, Study, Target, Timing
from jaxopt_bench.verdict import (
    describe_evidence,
    describe_scores,
    describe_sensitivity,
    judge_claims,
    judging_measure,
    paragraphs,
    rank_trials,
    trial_scores,
    verdict,
)
from tests.problems.line import ERROR, R2, RELATIVE_ERROR, Line
from tests.results.directories import METRICS, change_experiment, line, summary, write_run
from tests.verdict.builders import confirmed, document, recorded, results, selection, study, tried

LINE = (RELATIVE_ERROR, R2, ERROR)
NATS = Metric(name="loss", words="cross-entropy", unit="nats", least=0.0, untrained=4.0)
ERRORS = {"sgd": [0.30, 0.32, 0.31, 0.305, 0.33], "adam": [0.10, 0.11, 0.12, 0.09, 0.105]}
SCORES = {name: [1 - error**2 for error in errors] for name, errors in ERRORS.items()}


@pytest.fixture(autouse=True)
def named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the problem during a test."""
    monkeypatch.setitem(PROBLEMS, "line", Line())


def line_study(**fields) -> Study:
    return study(["sgd", "adam"], **{"workloads": (Workload(name="line", problem=Line(), epochs=2),), **fields})


def reached(metric: str, values, metrics=LINE, split="test", workload="line", untrained=None) -> list[dict]:
    """Returns confirmations of optimizers with these results; None means that the run diverged."""
    text = recorded(metrics)
    return [
        {**r, f"final.{split}_{metric}": r.pop("final.test_accuracy")}
        for name, own in values.items()
        for r in confirmed(name, own, workload=workload, metrics=text)
    ]


def judged(rows, made=None, **fields):
    made = made or line_study()
    winners = tuple(selection(c.name, workload=w.name) for w in made.workloads for c in made.contenders)
    found = verdict(results(rows), document(made, selections=winners, **fields))
    return found, found.rankings[0], " ".join(paragraphs(found, found.rankings[0]))


def test_the_lowest_error_leads_and_is_printed_in_its_own_unit():
    _, ranking, said = judged(reached("relative_error", ERRORS))
    assert [s.contender for s in ranking.standings] == ["adam", "sgd"]
    assert ranking.measures.primary.name == "test_relative_error"
    (pair,) = ranking.pairs
    expected = scipy.stats.ttest_ind(ERRORS["sgd"], ERRORS["adam"], equal_var=False)
    low, high = expected.confidence_interval(0.95)
    ahead = np.mean(ERRORS["sgd"]) - np.mean(ERRORS["adam"])
    assert pair.difference.estimate.mean == pytest.approx(ahead)
    assert (pair.difference.estimate.low, pair.difference.estimate.high) == pytest.approx((low, high))
    assert pair.difference.p_value == pytest.approx(expected.pvalue)
    assert (pair.wins, pair.of) == (25, 25)
    logs = np.log(np.mean(ERRORS["adam"])), scipy.stats.sem(ERRORS["adam"]) / np.mean(ERRORS["adam"])
    ends = np.exp(scipy.stats.t.interval(0.95, 4, *logs))  # an error cannot be negative
    assert said.startswith(
        f"On line, adam has the lowest mean test relative error, 0.1050 ({ends[0]:.4f} to {ends[1]:.4f}). It wins: it "
        f"is ahead of sgd (by {ahead:.4f}, {low:.4f} to {high:.4f})."
    )
    assert "%" not in said
    assert "point" not in said
    assert "accuracy" not in said


def test_a_score_that_cannot_exceed_1_has_an_interval_below_1():
    _, ranking, said = judged(reached("r2", SCORES, (R2, RELATIVE_ERROR, ERROR)))
    assert [s.contender for s in ranking.standings] == ["adam", "sgd"]
    assert said.startswith(f"On line, adam has the highest mean test R², {np.mean(SCORES['adam']):.4f} (")
    distances = 1 - np.array(SCORES["adam"])
    logs = np.log(distances.mean()), scipy.stats.sem(distances) / distances.mean()
    high, low = 1 - np.exp(scipy.stats.t.interval(0.95, 4, *logs))
    found = ranking.standing("adam").results["test_r2"]
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    (pair,) = ranking.pairs
    assert pair.difference.estimate.mean == pytest.approx(np.mean(SCORES["adam"]) - np.mean(SCORES["sgd"]))


def test_amounts_have_the_unit_of_the_metric():
    _, ranking, said = judged(reached("loss", ERRORS, (NATS,)))
    assert "the lowest mean test cross-entropy, 0.1050 nats (" in said
    assert "ahead of sgd (by 0.2080 nats, " in said
    assert ranking.measures.primary.title == "test cross-entropy (nats)"


def test_the_ranking_and_the_seeds_needed_do_not_depend_on_the_direction():
    close = {"adam": [0.30, 0.34, 0.29, 0.33, 0.31], "sgd": [0.31, 0.33, 0.32, 0.34, 0.30]}
    _, lower, said = judged(reached("relative_error", close))
    negative = {name: [-value for value in values] for name, values in close.items()}
    _, higher, _ = judged(reached("r2", negative, (R2, RELATIVE_ERROR, ERROR)))
    assert [s.contender for s in lower.standings] == [s.contender for s in higher.standings] == ["adam", "sgd"]
    for pair in (lower.pairs[0], higher.pairs[0]):
        assert pair.difference.estimate.mean == pytest.approx(0.006)
        assert pair.seeds == lower.pairs[0].seeds
        wins = np.array(close["adam"])[:, None] < np.array(close["sgd"])
        ties = np.array(close["adam"])[:, None] == np.array(close["sgd"])
        assert pair.wins == wins.sum() + ties.sum() / 2
    assert "Not settled: sgd (behind by 0.0060, " in said


def test_a_run_that_diverged_counts_as_an_untrained_model_for_any_metric():
    rows = reached("relative_error", {"adam": [0.1, None, 0.1, 0.1, 0.1], "sgd": ERRORS["sgd"]})
    _, ranking, said = judged(rows)
    adam = ranking.standing("adam")
    assert adam.primary.mean == pytest.approx((4 * 0.1 + 1.0) / 5)
    assert "Confirmations that diverged count as untrained models (test relative error 1.0000): 1 of 5 of adam." in said
    (pair,) = ranking.pairs
    difference = np.mean(ERRORS["sgd"]) - np.mean([0.1, 1.0, 0.1, 0.1, 0.1])
    assert pair.difference.estimate.mean == pytest.approx(difference)


def test_without_an_untrained_value_a_diverged_run_counts_as_the_worst_run():
    metrics = (dataclasses.replace(RELATIVE_ERROR, untrained=None), ERROR)
    _, ranking, said = judged(reached("relative_error", {"adam": [0.1, None, 0.2], "sgd": [0.3] * 3}, metrics))
    assert ranking.standing("adam").primary.mean == pytest.approx(0.2)
    assert (
        "Confirmations that diverged count as the worst run that did not (test relative error 0.3000): 1 of 3 of adam."
        in said
    )
    _, ranking, said = judged(reached("relative_error", {"adam": [None, None], "sgd": [None] * 2}, metrics))
    assert ranking.missing == ("sgd", "adam")
    assert said.startswith("On line nothing is confirmed yet.")


def test_the_untrained_value_is_the_median_over_the_runs_that_measured_it():
    metrics = [recorded([dataclasses.replace(ERROR, untrained=value)]) for value in (2.0, None, 9.0, 4.0)]
    assert metrics_of([None, *metrics])[0].untrained == 4.0
    assert metrics_of([metrics[1]])[0].untrained is None
    (unknown,) = metrics_of([None])
    assert (unknown.name, unknown.untrained) == ("loss", None)


def trials(values, metric, metrics=LINE, split="validation", workload="line", **fields):
    """Returns trials of adam with these results; None means that the trial diverged."""
    rates = [10.0 ** (i - 3) for i in range(len(values))]
    rows = tried("adam", dict(zip(rates, values, strict=True)), workload=workload, metrics=recorded(metrics), **fields)
    for each in rows:
        value = each.pop("final.validation_loss")
        del each["final.validation_accuracy"]
        each |= {f"final.{split}_{metric}": value, f"final.{split}_loss": None if value is None else 1.0}
    return rows


@pytest.mark.parametrize(
    ("metric", "metrics", "values", "best"),
    [
        ("relative_error", LINE, [0.5, 0.2, None, 0.4], 1),
        ("r2", LINE, [0.5, 0.2, None, 0.9], 3),
        ("r2", LINE, [-3.0, -0.2, -0.2, None], 1),  # the earlier of two equal trials
        ("accuracy", METRICS, [0.5, 0.7, 0.6, None], 1),
    ],
)
def test_the_selected_trial_is_the_best_one_by_the_metric(metric, metrics, values, best):
    problem = Classification() if metrics is METRICS else Line()
    made = line_study(select=f"validation_{metric}", workloads=(Workload(name="line", problem=problem, epochs=2),))
    scores = trial_scores(made, results(trials(values, metric, metrics)))
    assert [score.value for score in scores] == values
    chosen = rank_trials(scores, higher=judging_measure(made, "line", metrics).higher_is_better)
    assert chosen[0].trial == best
    assert {score.trial for score in chosen} == {i for i, value in enumerate(values) if value is not None}


def test_a_measure_that_the_runs_do_not_have_is_named():
    made = line_study(select="validation_r2")
    with pytest.raises(UserError, match=r"Study\.select, on the workload line 'validation_r2'.*validation_loss"):
        judging_measure(made, "line", (ERROR,))


@pytest.mark.parametrize(("measure", "value", "step"), [("relative_error", 0.35, 20), ("r2", 0.35, 10)])
def test_a_target_is_reached_in_the_direction_of_the_metric(measure, value, step):
    curve = {10: 0.5, 20: 0.3, 30: 0.2}
    target = Target(workload="line", measure=f"validation_{measure}", value=value)
    made = line_study(select="steps_to_target", targets=(target,))
    rows = trials([0.2], measure)
    lines = [
        {"path": rows[0]["path"], "step": at, "split": "validation", "loss": 1.0, measure: reached_}
        for at, reached_ in curve.items()
    ]
    (score,) = trial_scores(made, results(rows, lines))
    assert score.value == step


def test_the_expected_best_counts_diverged_trials_as_untrained_models():
    rows = [*reached("relative_error", ERRORS), *trials([0.2, 0.4, None], "relative_error")]
    made = line_study(select="validation_relative_error", search="random")
    _, ranking, said = judged(rows, made)
    assert ranking.standing("adam").trials.expected_best == pytest.approx(
        [(0.2 + 0.4 + 1.0) / 3, (0.2 + 0.2 + 0.4) / 3, 0.2]
    )
    assert "Trials that diverged count against the budget: 1 of 3 of adam." in said


def test_learning_rates_are_good_within_1_percent_of_the_gain_from_training():
    values = [0.2079, 0.2, 0.2081, None]  # the tolerance is 1% of 1 − 0.2
    _, ranking, _ = judged([*reached("relative_error", ERRORS), *trials(values, "relative_error")])
    good = ranking.standing("adam").trials.good_learning_rates
    assert (good.low, good.high, good.count) == (1e-3, 1e-2, 2)
    assert describe_sensitivity(ranking) == (
        "Learning rates of the trials within 0.0080 of the best validation relative error (1% of the difference "
        "between the best trial of all and an untrained model): adam 0.001 to 0.01 (2 of 4 trials)."
    )
    unknown = (dataclasses.replace(RELATIVE_ERROR, untrained=None), ERROR)
    rows = [*reached("relative_error", ERRORS, unknown), *trials(values, "relative_error", unknown)]
    assert describe_sensitivity(judged(rows)[1]) is None


def claim(*parts) -> Claim:
    compared = tuple(part for part in parts if isinstance(part, Comparison))
    associated = tuple(part for part in parts if isinstance(part, Association))
    return Claim(text="so it is", source="someone", comparisons=compared, associations=associated)


def test_claims_are_answered_in_the_metrics_unit():
    part = Comparison(measure="test_relative_error", lower="adam", higher="sgd")
    made = line_study(claims=(claim(part), claim(dataclasses.replace(part, lower="sgd", higher="adam"))))
    one, other = judge_claims(results(reached("relative_error", ERRORS)), document(made))
    assert (one.answer, other.answer) == ("supported", "contradicted")
    test = scipy.stats.ttest_ind(ERRORS["sgd"], ERRORS["adam"], equal_var=False)
    low, high = test.confidence_interval(0.95)
    assert describe_evidence(one) == (
        f"test relative error, sgd minus adam, +0.2080 (95% interval {low:+.4f} to {high:+.4f})"
    )


@pytest.mark.parametrize(
    ("metric", "values", "rho"),
    [("relative_error", [0.1, 0.2, 0.3, 0.4, 0.5, None], 1), ("r2", [0.9, 0.8, 0.7, 0.6, 0.5, None], -1)],
)
def test_a_trial_that_diverged_is_the_worst_in_either_direction(metric, values, rho):
    part = Association(measure=f"validation_{metric}", contender="adam", field="optimizer.learning_rate")
    (found,) = judge_claims(results(trials(values, metric)), document(line_study(claims=(claim(part),))))
    assert found.evidence[0].correlation.rho == rho


def test_roughness_is_that_of_the_headline_metrics_curve_on_the_test_split():
    rows = reached("relative_error", {"sgd": [0.2], "adam": [0.3]})
    curve = [0.9 / (i + 1) + 0.01 * (i % 3) for i in range(20)]
    lines = [
        {"path": rows[0]["path"], "step": i, "split": "test", "loss": 1.0, "relative_error": value, "r2": 0.1 * i}
        for i, value in enumerate(curve)
    ]
    made = line_study()
    found = verdict(results(rows, lines), document(made)).rankings[0].standing("sgd").results
    expected = np.abs(np.diff(curve, 2)).mean()
    assert found["test_error_roughness"].mean == pytest.approx(expected)


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("test", None),
        ("validation", "There are no test results: these are of the validation split, by which the settings were"),
        ("train_clean", "There are neither test nor validation results: these are of the training split."),
    ],
)
def test_results_are_of_the_first_measured_split_and_the_paragraph_names_it(split, sentence):
    _, ranking, said = judged(reached("relative_error", ERRORS, split=split))
    assert ranking.measures.primary.name == f"{split}_relative_error"
    words = {"train_clean": "clean training"}.get(split, split)
    assert said.startswith(f"On line, adam has the lowest mean {words} relative error, 0.1050 (")
    assert ("There are n" in said) == (sentence is not None)
    assert sentence is None or sentence in said


def mixed(**fields) -> Study:
    """Returns a study of a classification, a line, and a line without validation and test examples."""
    workloads = (
        Workload(name="digits_cnn", problem=Classification(), epochs=2),
        Workload(name="line", problem=Line(), epochs=2),
        Workload(name="exact", problem=Line(noise=0.0, validation=0, test=0), epochs=2),
    )
    targets = (
        Target(workload="digits_cnn", measure="validation_accuracy", value=0.9),
        Target(workload="line", measure="validation_relative_error", value=0.2),
        Target(workload="exact", measure="train_clean_loss", value=0.01),
    )
    return line_study(workloads=workloads, targets=targets, select="steps_to_target", **fields)


def mixed_rows() -> list[dict]:
    accuracies = {"sgd": [0.9, 0.91, 0.92], "adam": [0.8, 0.81, 0.82]}
    return [
        *reached("accuracy", accuracies, METRICS, workload="digits_cnn"),
        *reached("relative_error", ERRORS),
        *reached("relative_error", {"sgd": [0.1, 0.11], "adam": [0.2, 0.22]}, split="train_clean", workload="exact"),
    ]


def test_each_workload_has_its_own_headline():
    made = mixed(
        claims=(
            claim(Comparison(measure="test_accuracy", lower="adam", higher="sgd")),
            claim(Comparison(measure="test_relative_error", lower="adam", higher="sgd")),
        )
    )
    rows = mixed_rows()
    found, _, _ = judged(rows, made)
    said = [" ".join(paragraphs(found, ranking)) for ranking in found.rankings]
    assert [r.measures.primary.name for r in found.rankings] == [
        "test_accuracy", "test_relative_error", "train_clean_relative_error",
    ]  # fmt: skip
    assert [r.standings[0].contender for r in found.rankings] == ["sgd", "adam", "sgd"]
    assert said[0].startswith("On digits_cnn, sgd has the highest mean test accuracy, 91.00% (")
    assert said[1].startswith("On line, adam has the lowest mean test relative error, 0.1050 (")
    assert said[2].startswith("On exact, sgd has the lowest mean clean training relative error, 0.1050 (")
    answered = {(a.workload, a.claim.comparisons[0].measure): a for a in judge_claims(results(rows), document(made))}
    assert answered["digits_cnn", "test_accuracy"].answer == "supported"
    assert answered["line", "test_relative_error"].answer == "supported"
    unmeasured = answered["line", "test_accuracy"]
    assert unmeasured.answer == "undecided"
    assert describe_evidence(unmeasured) == "test accuracy: not measured on this workload"


def test_times_to_targets_of_different_metrics_are_combined_in_one_score():
    made = mixed()
    rows, lines = mixed_rows(), []
    at = {  # the step at which each contender reaches the target
        ("digits_cnn", "sgd"): 10, ("digits_cnn", "adam"): 20, ("line", "sgd"): 30, ("line", "adam"): 10,
        ("exact", "sgd"): 10, ("exact", "adam"): None,
    }  # fmt: skip
    values = {"digits_cnn": ("accuracy", 0.95, 0.5), "line": ("relative_error", 0.1, 0.5), "exact": ("loss", 0.0, 1.0)}
    for each in rows:
        name, good, bad = values[each["workload"]]
        split = "train_clean" if each["workload"] == "exact" else "validation"
        for step in (10, 20, 30):
            first = at[each["workload"], each["contender"]]
            value = good if first is not None and step >= first else bad
            own = {"path": each["path"], "step": step, "split": split, "loss": 2.0, "accuracy": None}
            lines.append({**own, "relative_error": None, name: value})
    timings = tuple(Timing(w, c, 1.0, {}) for w, c in at)
    found = verdict(results(rows, lines), document(made, timings=timings))
    steps = {(r.workload, s.contender): s.steps for r in found.rankings for s in r.standings}
    assert steps == at
    # Ratios to the fastest time: sgd 1, 3, 1; adam 2, 1, never. The score covers ratios up to 4.
    means = {name: score.mean for name, score in found.scores.items()}
    assert means == pytest.approx({"sgd": (2 / 3 * 2 + 1.0) / 3, "adam": (1 / 3 + 2 / 3 * 2) / 3})
    assert "on 3 workloads: sgd 0.778, adam 0.556. Intervals need at least 3 seeds" in str(describe_scores(found))


def line_epochs(count: int) -> list[dict]:
    """Returns the lines of some epochs of a run that measures no accuracy."""
    return [
        {k: v for k, v in line(10 * e, split).items() if k != "accuracy"} | {"relative_error": 0.5 / e, "r2": None}
        for e in range(1, count + 1)
        for split in ("train", "validation")
    ]


def test_runs_of_different_problems_are_read_as_one_table(tmp_path):
    ours = Experiment(name="line", workload=Workload(problem=Line(features=5)), optimizer=SGD())
    theirs = Experiment(name="digits", workload=Workload(problem=Classification()), optimizer=Adam())
    own = summary(ours, validation_relative_error=0.25, validation_r2=None)
    del own["final"]["validation_accuracy"]
    write_run(tmp_path, ours, line_epochs(2), own, LINE)
    write_run(tmp_path, theirs, [line(20, "train"), line(20, "validation")], summary(theirs, validation_accuracy=0.75))
    found = load(tmp_path)
    digits, fitted = found.runs.sort("name").to_dicts()
    assert (fitted["problem.name"], fitted["features"], fitted["noise"], fitted["dataset"]) == ("line", 5, 0.1, None)
    assert (digits["problem.name"], digits["features"], digits["dataset"]) == ("classification", None, "digits")
    assert (fitted["final.validation_relative_error"], fitted["final.validation_accuracy"]) == (0.25, None)
    assert (digits["final.validation_relative_error"], digits["final.validation_accuracy"]) == (None, 0.75)
    assert [m["name"] for m in json.loads(fitted["metrics"])] == ["relative_error", "r2", "loss"]
    assert found.runs.schema["features"] == pl.Int64
    assert found.runs.schema["final.test_r2"] == pl.Float64
    curve = found.lines(fitted["path"]).filter(pl.col("split") == "validation")
    assert curve["relative_error"].to_list() == [0.5, 0.25]
    assert curve["accuracy"].to_list() == [None, None]
    found.save(tmp_path / "recorded")
    again = load(tmp_path / "recorded")
    for before, after in ((found.runs, again.runs), (found.curves, again.curves)):
        assert before.columns == after.columns
        assert before.drop("path").equals(after.drop("path"))
    recorded_runs = tmp_path / "recorded" / "runs.parquet"
    table = pl.read_parquet(recorded_runs)
    table.with_columns(pl.col("final.test_r2").cast(pl.String)).write_parquet(recorded_runs)
    with pytest.raises(UserError, match=r"the column final\.test_r2 has the type String\. Expected Float64"):
        load(tmp_path / "recorded")
    table.drop("metrics").write_parquet(recorded_runs)
    with pytest.raises(UserError, match=r"runs\.parquet does not say which metrics the runs have"):
        load(tmp_path / "recorded")
    table.with_columns(metrics=pl.lit("[{}]")).write_parquet(recorded_runs)
    with pytest.raises(UserError, match=r"runs\.parquet: metrics\[0\] is damaged: \{\}"):
        load(tmp_path / "recorded")


def test_a_metric_that_differs_between_summary_and_curve_is_named(tmp_path):
    experiment = Experiment(name="line", workload=Workload(problem=Line()), optimizer=SGD())
    path = write_run(tmp_path, experiment, line_epochs(2), summary(experiment, validation_relative_error=0.25), LINE)
    load(path)
    text = (path / "metrics.jsonl").read_text()
    (path / "metrics.jsonl").write_text(text.replace('"relative_error": 0.25', '"relative_error": 0.26'))
    with pytest.raises(
        UserError, match=r"at step 20 the validation relative_error is 0\.26 in metrics\.jsonl and 0\.25"
    ):
        load(path)


def test_a_run_is_read_even_if_the_code_of_its_problem_is_missing(tmp_path):
    experiment = Experiment(name="line", workload=Workload(problem=Line()), optimizer=SGD())
    path = write_run(tmp_path, experiment, line_epochs(2), summary(experiment, validation_relative_error=0.25), LINE)
    problem = {"name": "mine.py:spring", "code": "0" * 12, "stiffness": 2.5, "dataset": "mine"}
    path = change_experiment(path, problem=problem)
    (found,) = load(path).runs.to_dicts()
    assert (found["problem.name"], found["problem.stiffness"], found["problem.dataset"]) == (
        "mine.py:spring", 2.5, "mine",
    )  # fmt: skip
    assert "dataset" not in found
    assert found["final.validation_relative_error"] == 0.25


def test_no_field_of_a_problem_has_the_name_of_a_column():
    fields = {field.name for problem in PROBLEMS.values() for field in dataclasses.fields(problem)}
    assert not fields & run_types().keys()


def test_each_split_and_metric_has_a_measure():
    found = measures(LINE)
    assert len(found) == 4 * 3 + 2
    assert found["train_clean_r2"].words == "clean training R²"
    assert found["train_loss"].words == "training mean squared error"
    assert found["mean_clean_loss"].words == "clean training mean squared error, mean over epochs"
    assert statistics.fmean(m.higher_is_better for m in found.values()) == 4 / 14


def test_a_study_of_several_kinds_of_problems_is_restored_from_json():
    made = mixed()
    assert Study.from_json(json.loads(json.dumps(made.to_json())), "study") == made


def test_a_part_of_a_study_keeps_the_claims_about_its_own_measures():
    one = claim(Comparison(measure="test_accuracy", lower="adam", higher="sgd"))
    other = claim(Comparison(measure="test_loss", lower="adam", higher="sgd"))
    made = mixed(claims=(one, other))
    assert made.only(["digits_cnn"]).claims == (one, other)
    assert made.only(["line", "exact"]).claims == (other,)
