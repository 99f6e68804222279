"""Studies as data: invalid fields are refused, JSON is read back, and studies grow and are divided into parts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Axis, Choice, MultiStep, Padam, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Association, Claim, Comparison, Contender, Study, Target, experiment_of, merge_studies
from jaxopt_bench.study.study import MOST_SEEDS
from tests.study.studies import RATE, WORKLOAD, claim, small_study, studies

ADAM = Contender(name="adam", optimizer=Adam(), space=RATE)
FIXED = Contender(name="fixed", optimizer=SGD(), space=Space())
UNVALIDATED = dataclasses.replace(WORKLOAD, name="all", problem=Classification(validation_fraction=0))
TARGET = Target(workload="cnn", measure="validation_accuracy", value=0.9)
COMPARISON = Comparison(measure="test_loss", lower="sgd", higher="adam")

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": "a/b"}, r"Study.name is 'a/b'. Expected a name that a folder can have"),
    ({"name": ""}, r"Study.name is ''"),
    ({"name": 3}, r"Study.name is 3. Expected: a str"),
    ({"trials": None}, r"Study.trials is None and total_epochs is None. Expected: one of the two"),
    ({"total_epochs": 50}, r"Study.trials is 2 and total_epochs is 50. Expected: one of the two"),
    ({"trials": 0}, r"Study.trials is 0. Expected: an integer >= 1"),
    ({"trials": None, "total_epochs": 0}, r"Study.total_epochs is 0. Expected: an integer >= 1"),
    (
        {"trials": None, "total_epochs": 19, "trial_seeds": 2},
        r"total_epochs is 19. Expected: at least 20, one trial on cnn",
    ),
    ({"trial_seeds": MOST_SEEDS + 1}, r"Study.trial_seeds is 5001. Expected: an integer >= 1 and <= 5000"),
    ({"seeds": 0}, r"Study.seeds is 0. Expected: an integer >= 1 and <= 5000"),
    ({"finalists": -1}, r"Study.finalists is -1. Expected: an integer >= 0"),
    ({"finalists": 1}, r"Study.finalists is 1\. Expected 0 for none, or at least 2 to select among\."),
    ({"finalist_seeds": 0}, r"Study.finalist_seeds is 0. Expected: an integer >= 1 and <= 5000"),
    ({"repetitions": 101}, r"Study.repetitions is 101. Expected: an integer >= 1 and <= 100"),
    ({"seed": 2**31}, r"Study.seed is 2147483648. Expected: an integer >= 0 and < 2.14748e\+09"),
    ({"search": "sobl"}, r"Study.search is 'sobl'. Expected: 'sobol', 'random', 'grid'"),
    ({"select": "test_accuracy"}, r"Study.select is 'test_accuracy'\. Expected \"validation_<metric>\" or"),
    ({"select": "validation_"}, r"Study.select is 'validation_'\. Expected .*, or 'steps_to_target'"),
    (
        {"select": "validation_acuracy"},
        r"unknown measure in Study.select, on the workload cnn 'validation_acuracy'; did you mean validation_accuracy",
    ),
    (
        {"targets": (dataclasses.replace(TARGET, measure="train_clean_r2"),)},
        r"unknown measure of the target of cnn 'train_clean_r2'.* Expected: train_clean_accuracy, train_clean_loss",
    ),
    (
        {"claims": (Claim(text="so", source="x", comparisons=(dataclasses.replace(COMPARISON, measure="test_r2"),)),)},
        r"unknown measure of the claim 'so' 'test_r2'",
    ),
    ({"at": "first"}, r"Study.at is 'first'. Expected: 'final', 'best'"),
    ({"workloads": ()}, r"Study.workloads has the names \[\]. Expected: at least one, and no name twice"),
    ({"workloads": (WORKLOAD, WORKLOAD)}, r"Study.workloads has the names \['cnn', 'cnn'\]"),
    ({"contenders": ()}, r"Study.contenders has the names \[\]"),
    ({"contenders": (ADAM, ADAM)}, r"Study.contenders has the names \['adam', 'adam'\]"),
    (
        {
            "workloads": (WORKLOAD, dataclasses.replace(WORKLOAD, name="cnn_a")),
            "contenders": (dataclasses.replace(ADAM, name="b"), dataclasses.replace(ADAM, name="a_b")),
        },
        r"two pairs of a workload and a contender have the same folder name, 'cnn_a_b'. Expected another name of a",
    ),
    ({"refit": True, "at": "best"}, r"Study.at is 'best', but refit is True. Expected: 'final'"),
    (
        {"workloads": (UNVALIDATED,)},
        r"the workload all has no validation examples, by which the trials of sgd are judged\. Expected a problem with",
    ),
    (
        {
            "workloads": (UNVALIDATED,),
            "select": "steps_to_target",
            "targets": (Target(workload="all", measure="validation_loss", value=1),),
        },
        r"the workload all has no validation examples",
    ),
    (
        {"workloads": (UNVALIDATED,), "contenders": (FIXED,), "at": "best"},
        r"Study.at is 'best', and the workload all has no validation examples\. Expected 'final'",
    ),
    ({"select": "steps_to_target"}, r"'steps_to_target', and Study.targets has no target for the workload cnn"),
    (
        {"targets": (dataclasses.replace(TARGET, workload="cn"),)},
        r"unknown workload of a target 'cn'; did you mean cnn",
    ),
    ({"claims": (claim("sgd", "adams"),)}, r"unknown contender of a claim 'adams'; did you mean adam\?"),
    ({"claims": (claim("sgdd", "adam"),)}, r"unknown contender of a claim 'sgdd'; did you mean sgd\?"),
    ({"claims": (claim("padam"),)}, r"unknown contender of a claim 'padam'; did you mean adam\?"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_an_invalid_study_is_refused_with_the_field_and_its_value(fields, message):
    with pytest.raises(UserError, match=message):
        small_study(**fields)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"optimizer.learning_rat": RATE["optimizer.learning_rate"]},
            "unknown field of the contender x 'optimizer.learn",
        ),
        ({"learning_rate": RATE["optimizer.learning_rate"]}, "did you mean optimizer.learning_rate"),
        ({"optimizer.name": Choice(("adam",))}, "unknown field of the contender x 'optimizer.name'"),
        ({"model.dense": Choice((4,))}, "unknown field of the contender x 'model.dense'"),
        ({"optimizer.b1": Axis(0.5, 1.0, "linear")}, r"Adam.b1 is 1.0. Expected: a finite number >= 0 and < 1"),
        ({"optimizer.b1": Axis(0.5, 1.5, "log_one_minus")}, r"Adam.b1 is -0.5. Expected"),
        ({"optimizer.learning_rate": Axis(-1, 1, "linear")}, r"Adam.learning_rate is -1.0. Expected"),
        ({"optimizer.accumulate": Axis(1, 8, "linear")}, r"Adam.accumulate is 1.0. Expected: an integer >= 1"),
        ({"optimizer.accumulate": Choice((1, 0))}, r"Adam.accumulate is 0. Expected: an integer >= 1"),
        ({"schedule.warmup": Choice((1.0, -1.0))}, r"Cosine.warmup is -1.0. Expected"),
    ],
)
def test_a_space_with_values_that_its_fields_do_not_accept_is_refused(space, message):
    with pytest.raises(UserError, match=message):
        Contender(name="x", optimizer=Adam(), space=Space(space))


@pytest.mark.parametrize(
    "name", ["", "a/b", ".hidden", "a\udcff", "a\x1bb", "ü" * 128, "claims", "checkpoints", "population-x"]
)
def test_the_name_of_a_contender_must_be_valid_for_a_folder(name):
    with pytest.raises(UserError, match=r"Contender.name is .*([Ee]xpected (a|another) name|text without control)"):
        Contender(name=name, optimizer=Adam())


@pytest.mark.parametrize("name", ["adam [ours]", "a\\b", "ü" * 127, "claims_2", "*?{}%#&='\""])
def test_any_name_that_a_folder_can_have_is_accepted(name):
    assert Contender(name=name, optimizer=Adam()).name == name


@pytest.mark.parametrize("part", [Comparison, Association])
@pytest.mark.parametrize("measure", ["acuracy", "tests_loss", "test_", "mean_loss", "train_steps"])
def test_a_claim_is_about_a_measure_of_a_split(part, measure):
    others = {"lower": "a", "higher": "b"} if part is Comparison else {"contender": "a", "field": "optimizer.b1"}
    if measure == "train_steps":  # a metric could be called "steps"
        assert part(measure=measure, **others).measure == measure
        return
    with pytest.raises(UserError, match=rf"{part.__name__}.measure is '{measure}'\. Expected \"train_<metric>\", "):
        part(measure=measure, **others)


def over(*names: str, **fields: Any) -> Association:
    return Association(measure="validation_loss", field="optimizer.momentum", contenders=names, **fields)


def test_an_association_is_over_trials_or_over_different_contenders():
    for refused in ({"names": ()}, {"names": ("a", "b"), "contender": "a"}, {"names": ("a", "a")}):
        names = refused.pop("names")
        with pytest.raises(UserError, match=r"Association.contender is .* Expected one contender, whose trials count"):
            over(*names, **refused)


def test_an_association_over_contenders_needs_different_fixed_numbers():
    def contender(name: str, momentum: float | None, **space: Axis) -> Contender:
        return Contender(name=name, optimizer=SGD(momentum=momentum), space=Space(space))

    slow, fast = contender("slow", 0.5), contender("fast", 0.9)
    claimed = Claim(text="momentum matters", source="someone", associations=(over("slow", "fast"),))
    study = small_study(contenders=(slow, fast), claims=(claimed,))
    assert Study.from_json(json.loads(json.dumps(study.to_json()))) == study
    assert study.only(contenders=["slow"]).claims == ()
    searched = contender("fast", 0.9, **{"optimizer.momentum": Axis(0.5, 0.99, "linear")})
    for other, words in (
        (searched, "fast has no fixed number"),
        (contender("fast", None), "fast has no fixed number"),
        (contender("fast", 0.5), "(slow|fast) has the same value as another contender, 0.5"),
    ):
        with pytest.raises(UserError, match=rf"optimizer.momentum of {words}\. Expected contenders that do not search"):
            small_study(contenders=(slow, other), claims=(claimed,))


def test_trials_without_validation_examples_are_judged_by_training():
    for fields in (
        {"select": "train_clean_loss"},
        {"select": "steps_to_target", "targets": (Target(workload="all", measure="train_clean_loss", value=0.1),)},
    ):
        study = small_study(workloads=(UNVALIDATED,), **fields)
        assert study.judging_split("all") == "train_clean"
    assert small_study().judging_split("cnn") == "validation"


def test_the_measure_of_a_target_must_be_recorded_every_epoch():
    with pytest.raises(UserError, match=r"Target.measure is 'test_accuracy'\. Expected \"validation_<metric>\" or"):
        Target(workload="cnn", measure="test_accuracy", value=0.9)


def test_a_contender_is_tuned_in_its_optimizers_space_by_default():
    own = Contender(name="adamw", optimizer=AdamW()).searched
    assert dict(own) == {f"optimizer.{name}": axis for name, axis in AdamW().search_space().items()}
    assert not Contender(name="adamw", optimizer=AdamW(), space=Space()).searched


def test_a_contender_at_a_point_has_its_values_and_an_empty_search_space():
    contender = Contender(name="padam", optimizer=Padam(b1=0.8), schedule=MultiStep())
    at = contender.at({"optimizer.partial": 0.25, "schedule.boundaries": (3.0,)})
    assert at.optimizer == Padam(b1=0.8, partial=0.25)
    assert at.schedule == MultiStep(boundaries=(3.0,))
    assert (at.name, dict(at.searched)) == ("padam", {})
    with pytest.raises(UserError, match=r"Padam.partial is 2. Expected"):
        contender.at({"optimizer.partial": 2})


@settings(max_examples=40)
@given(st.integers(1, 500), st.integers(1, 12), st.integers(1, 5))
def test_a_budget_in_epochs_allows_as_many_full_trials_as_fit(total, epochs, seeds):
    workload, one = dataclasses.replace(WORKLOAD, epochs=epochs), epochs * seeds
    if total < one:
        with pytest.raises(UserError, match=r"Study.total_epochs is \d+. Expected: at least"):
            small_study(workloads=(workload,), trials=None, total_epochs=total, trial_seeds=seeds)
        return
    trials = small_study(workloads=(workload,), trials=None, total_epochs=total, trial_seeds=seeds).trials_on(workload)
    assert trials * one <= total < (trials + 1) * one


@settings(max_examples=25)
@given(studies())
def test_a_study_is_read_back_from_json(study):
    text = json.dumps(study.to_json(), allow_nan=False)
    again = Study.from_json(json.loads(text), "study")
    assert again == study
    assert json.dumps(again.to_json()) == text
    assert hash(again) == hash(study)
    for one, other in zip(study.contenders, again.contenders, strict=True):
        assert list(one.searched) == list(other.searched)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("name"), "study: the field 'name' is missing"),
        (lambda s: s.update(trails=3), "unknown field of study 'trails'; did you mean trials"),
        (lambda s: s.update(workloads={}), "Study.workloads is {}. Expected: a list of Workloads"),
        (lambda s: s["workloads"].append(3), r"study.workloads\[1\]: 3 is not an object"),
        (
            lambda s: s["workloads"][0]["problem"].update(dataset="digit"),
            "unknown dataset 'digit'; did you mean digits",
        ),
        (lambda s: s["contenders"][0].pop("optimizer"), r"study.contenders\[0\]: the field 'optimizer' is missing"),
        (lambda s: s["contenders"][0].update(optimizer="sgd"), r"contenders\[0\].optimizer: 'sgd' is not an object"),
        (lambda s: s["contenders"][0].update(space=[]), r"contenders\[0\].space: \[\] is not an object of ranges"),
        (
            lambda s: s["contenders"][0]["space"]["optimizer.learning_rate"].update(low=2),
            r"the range 2 to 1, logarithmic is invalid\. Expected low < high",
        ),
        (lambda s: s.update(claims=[{"text": "x"}]), r"study.claims\[0\]: the field 'source' is missing"),
    ],
)
def test_the_error_for_damaged_json_names_the_field(change, message):
    values = json.loads(json.dumps(small_study().to_json()))
    change(values)
    with pytest.raises(UserError, match=message):
        Study.from_json(values, "study")


places = st.recursive(st.just(()), lambda inner: st.tuples(st.integers(0, 30), inner), max_leaves=8)
anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([]) | st.just({})


@settings(max_examples=150)
@given(places, anything)
def test_damaged_json_gives_a_user_error_or_a_valid_study(place, value):
    study = small_study(targets=(TARGET,), claims=(claim("sgd", "adam"), claim("sgd")))
    values = json.loads(json.dumps(study.to_json()))
    target, key = {"study": values}, "study"
    while place and isinstance(target[key], (dict, list)) and target[key]:  # type: ignore[index]
        index, place = place
        target, keys = target[key], list(target[key]) if isinstance(target[key], dict) else range(len(target[key]))
        key = keys[index % len(keys)]
    target[key] = value
    with contextlib.suppress(UserError):
        assert isinstance(Study.from_json(values, "study"), Study)


SIZES = ("trials", "total_epochs", "trial_seeds", "seeds", "repetitions")


def held(study: Study) -> dict[str, Any]:
    """Returns the contents of a study that can grow, independent of their order."""
    named = {f: {i.name: i.to_json() for i in getattr(study, f)} for f in ("workloads", "contenders")}
    return {**named, **{size: getattr(study, size) for size in SIZES}}


WORKLOADS = tuple(dataclasses.replace(WORKLOAD, name=name) for name in ("a", "b", "c"))
CONTENDERS = tuple(Contender(name=name, optimizer=AdamW(), space=RATE) for name in ("x", "y", "z"))
some = st.fixed_dictionaries(
    {
        "workloads": st.lists(st.sampled_from(WORKLOADS), min_size=1, unique_by=lambda w: w.name).map(tuple),
        "contenders": st.lists(st.sampled_from(CONTENDERS), min_size=1, unique_by=lambda c: c.name).map(tuple),
        "trials": st.integers(1, 50),
        "trial_seeds": st.integers(1, 5),
        "seeds": st.integers(1, 5),
        "repetitions": st.integers(1, 5),
    }
)


@settings(max_examples=40)
@given(some, some, some)
def test_merging_contains_both_studies_in_any_order_and_is_idempotent(one, other, third):
    a, b, c = small_study(**one), small_study(**other), small_study(**third)
    both = merge_studies(a, b)
    assert held(both) == held(merge_studies(b, a))
    assert held(merge_studies(both, b)) == held(merge_studies(both, a)) == held(both) == held(merge_studies(a, both))
    assert merge_studies(a, a) == a
    assert held(merge_studies(both, c)) == held(merge_studies(a, merge_studies(b, c)))
    for study in (a, b):
        assert held(study)["workloads"].items() <= held(both)["workloads"].items()
        assert held(study)["contenders"].items() <= held(both)["contenders"].items()
        assert all(getattr(both, size) >= getattr(study, size) for size in SIZES if size != "total_epochs")
    assert both.workloads[: len(a.workloads)] == a.workloads  # earlier workloads keep their positions
    assert both.contenders[: len(a.contenders)] == a.contenders


def test_a_budget_in_epochs_grows_and_cannot_become_one_in_trials():
    small, large = (small_study(trials=None, total_epochs=epochs) for epochs in (20, 50))
    assert merge_studies(large, small).total_epochs == merge_studies(small, large).total_epochs == 50
    with pytest.raises(UserError, match=r"has trials: None; this command has 2\. Expected the same"):
        merge_studies(small, small_study())
    with pytest.raises(UserError, match=r"has trials: 2; this command has None"):
        merge_studies(small_study(), small)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search": "random"}, "search: sobol; this command has random"),
        ({"select": "validation_accuracy"}, "select: validation_loss; this command has validation_accuracy"),
        ({"at": "best"}, "at: final; this command has best"),
        ({"finalists": 2}, "finalists: 3; this command has 2"),
        ({"finalist_seeds": 3}, "finalist_seeds: 2; this command has 3"),
        ({"refit": True}, "refit: False; this command has True"),
        ({"track_test": True}, "track_test: False; this command has True"),
        ({"seed": 1}, "seed: 0; this command has 1"),
        (
            {"workloads": (dataclasses.replace(WORKLOAD, epochs=11),)},
            "workloads cnn: epochs 10; this command has epochs 11",
        ),
        (
            {"contenders": (Contender(name="sgd", optimizer=SGD(nesterov=True, momentum=0.5), space=RATE),)},
            "contenders sgd: optimizer.name 'sgd'; this command has optimizer.name 'nesterov'",
        ),
        (
            {"contenders": (Contender(name="sgd", optimizer=SGD(weight_decay=0.5), space=RATE),)},
            "contenders sgd: optimizer.weight_decay 0.0; this command has optimizer.weight_decay 0.5",
        ),
        (
            {"contenders": (Contender(name="sgd", optimizer=SGD(), space=Space()),)},
            "contenders sgd: space.optimizer.learning_rate {.*}; this command has space.optimizer.learning_rate None",
        ),
    ],
)
def test_studies_with_other_differences_cannot_be_merged_and_the_error_names_one(fields, message):
    with pytest.raises(UserError, match=rf"the study that was started earlier has {message}"):
        merge_studies(small_study(), small_study(**fields))


def test_questions_claims_and_targets_may_change_but_those_of_other_parts_stay():
    whole = small_study(
        workloads=WORKLOADS,
        contenders=CONTENDERS,
        question="which?",
        select="steps_to_target",
        targets=tuple(Target(workload=w.name, measure="validation_loss", value=1.0) for w in WORKLOADS),
        claims=(claim("x", "y"), claim("y", "z"), claim("x")),
    )
    part = whole.only(["a"], ["x"])
    assert (part.claims, part.targets) == ((claim("x"),), whole.targets[:1])
    again = merge_studies(whole, part)
    assert set(again.targets) == set(whole.targets)
    assert set(again.claims) == set(whole.claims)
    changed = dataclasses.replace(whole, question="really?", targets=[TARGET_OF[w.name] for w in WORKLOADS], claims=())
    assert merge_studies(whole, changed) == changed


TARGET_OF = {w.name: Target(workload=w.name, measure="validation_loss", value=0.5) for w in WORKLOADS}


def test_a_part_of_a_study_keeps_only_the_claims_and_targets_about_itself():
    study = small_study(
        workloads=WORKLOADS,
        contenders=CONTENDERS,
        targets=tuple(TARGET_OF.values()),
        claims=(claim("x", "y"), claim("z")),
    )
    part = study.only(workloads=["c", "a"], contenders=["z", "y"])
    assert [w.name for w in part.workloads] == ["a", "c"]
    assert [c.name for c in part.contenders] == ["y", "z"]
    assert part.targets == (TARGET_OF["a"], TARGET_OF["c"])
    assert part.claims == (claim("z"),)
    assert study.only() == study
    with pytest.raises(UserError, match=r"unknown workload of the study two 'd'\. Expected: a, b, c\."):
        study.only(workloads=["d"])
    with pytest.raises(UserError, match=r"unknown optimizer of the study two 'adam'.*Expected: x, y, z"):
        study.only(contenders=["x", "adam"])


def test_parts_are_found_by_their_names():
    study = small_study(targets=(TARGET,))
    assert study.workload("cnn") == WORKLOAD
    assert study.contender("adam").optimizer == Adam()
    assert study.target("cnn") == TARGET
    assert small_study().target("cnn") is None


def test_an_experiment_has_its_workload_and_contender_and_both_names():
    contender = ADAM.at({"optimizer.learning_rate": 0.5})
    experiment = experiment_of(WORKLOAD, contender, seed=3, evaluate_test=True, track_test=True)
    assert experiment.name == "cnn_adam"
    assert experiment.workload == WORKLOAD
    assert (experiment.optimizer, experiment.schedule) == (contender.optimizer, contender.schedule)
    assert (experiment.seed, experiment.evaluate_test, experiment.track_test) == (3, True, True)
    trial = experiment_of(WORKLOAD, contender, seed=3, evaluate_test=False)
    assert (trial.evaluate_test, trial.track_test) == (False, False)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": 10**9}, r"Study.trials is 1000000000. Expected: an integer >= 1 and <= 10000"),
        ({"trials": None, "total_epochs": 10**12}, r"Study.total_epochs is 1000000000000. Expected"),
        ({"trials": None, "total_epochs": 10**9}, r"makes 100,000,000 trials\. Expected at most 10,000"),
        ({"trials": 10_000, "trial_seeds": 5000}, r"has 50,000,010 runs.*Expected at most 100,000"),
        ({"trials": 10_000, "repetitions": 100}, r"has 1,001,000 runs"),
        ({"trials": 10_000, "finalists": 10_000, "finalist_seeds": 5000}, r"has 50,010,004 runs"),
        ({"seeds": 10**9}, r"Study.seeds is 1000000000"),
        ({"repetitions": 10**9}, r"Study.repetitions is 1000000000"),
        ({"trial_seeds": 10**9}, r"Study.trial_seeds is 1000000000"),
    ],
)
def test_a_budget_that_is_too_large_is_refused(fields, message):
    with pytest.raises(UserError, match=message):
        small_study(**fields)


def test_seeds_of_finalists_have_no_effect_on_a_study_without_finalists():
    one, other = (small_study(finalists=0, finalist_seeds=seeds) for seeds in (2, 3))
    assert merge_studies(one, other) == other


def test_the_error_for_different_epochs_says_that_epochs_of_a_run_cannot_grow():
    with pytest.raises(UserError, match=r"epochs 10; .* epochs 11.*the epochs of a run \(--epochs\) stay the same"):
        merge_studies(small_study(), small_study(workloads=(dataclasses.replace(WORKLOAD, epochs=11),)))
