"""Newcomers: found by name or file, tuned under the study's protocol, compared with what was recorded."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from jaxopt_bench import UserError
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, Constant, Cosine
from jaxopt_bench.results import Document, load, verdict
from jaxopt_bench.studies import STUDIES, challenge, compare, differences, find_study, joined, newcomer
from tests.studies.conftest import contender

MINE = """
import optax

def mine(learning_rate, b1: float = 0.9):
    return optax.chain(optax.trace(b1), optax.scale_by_learning_rate(learning_rate))

def needy(learning_rate, radius: float):
    return optax.sgd(learning_rate)
"""


@pytest.fixture
def mine(tmp_path):
    """Returns the path of a user's file."""
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_a_newcomer_is_tuned_in_its_own_space_under_the_schedule_of_the_others(small, mine):
    cosine = dataclasses.replace(
        small, contenders=tuple(dataclasses.replace(c, schedule=Cosine(warmup=0.5)) for c in small.contenders)
    )
    new = newcomer(cosine, f"{mine}:mine")
    assert new.name == "mine"
    assert new.schedule == Cosine(warmup=0.5)
    assert list(new.searched) == ["optimizer.learning_rate", "optimizer.weight_decay", "optimizer.b1"]
    assert newcomer(cosine, "lion").optimizer == OPTIMIZERS["lion"]
    assert newcomer(cosine, "schedule_free_adamw").schedule == Constant()  # what it is meant for


def test_an_argument_without_default_is_said(small, mine):
    with pytest.raises(UserError, match="the argument 'radius' without a default"):
        newcomer(small, f"{mine}:needy")
    with pytest.raises(UserError, match="unknown optimizer 'lino'; did you mean lion"):
        newcomer(small, "lino")


def test_only_the_newcomer_is_trained_and_it_is_judged_with_the_recorded(small, mine, tmp_path, digits_dir):
    compare(small, tmp_path / "first", data_dir=digits_dir)
    load(tmp_path / "first").save(tmp_path / "recorded")
    shutil.rmtree(tmp_path / "first")
    recorded = load(tmp_path / "recorded")
    new = challenge(small, recorded.documents[0], [newcomer(small, f"{mine}:mine")])
    compare(new, tmp_path / "new", data_dir=digits_dir)
    trained = load(tmp_path / "new")
    assert set(trained.runs["contender"]) == {"mine"}
    results, document = joined(recorded, trained)
    found = verdict(results, document)
    assert found.complete
    (ranking,) = found.rankings
    assert {s.contender for s in ranking.standings} == {"sgd", "adamw", "mine"}
    assert {pair.difference.estimate.count for pair in ranking.pairs} == {2}
    assert differences(recorded, trained) == []
    elsewhere = dataclasses.replace(recorded, runs=recorded.runs.with_columns(device=recorded.runs["device"] + "X"))
    (said,) = differences(elsewhere, trained)
    assert said.startswith("device: ")


def test_another_protocol_workload_or_a_taken_name_is_refused(small, tmp_path, digits_dir):
    folder = tmp_path / "empty"
    document = compare(
        dataclasses.replace(small, contenders=(contender("sgd", SGD()),), trials=1, seeds=1),
        folder,
        data_dir=digits_dir,
    )
    new = [newcomer(small, "lion")]
    with pytest.raises(UserError, match="recorded with trials 1, and the study has 3"):
        challenge(small, document, new)
    same = dataclasses.replace(small, trials=1, seeds=1)
    longer = dataclasses.replace(same, workloads=(dataclasses.replace(same.workloads[0], epochs=2),))
    with pytest.raises(UserError, match="not recorded on the workload tiny"):
        challenge(longer, document, new)
    with pytest.raises(UserError, match="sgd is among the baselines"):
        challenge(same, document, [newcomer(small, "sgd")])


def test_every_study_of_the_project_can_be_found_and_read_back():
    for name, study in STUDIES.load_folder().items():
        assert find_study(name) == study
        assert type(study).from_json(study.to_json()) == study


def test_a_study_is_found_by_its_folder(small, tmp_path):
    Document(small).write(tmp_path / "study.json")
    assert find_study(str(tmp_path)) == small
    with pytest.raises(UserError, match=r"unknown study 'digts'; did you mean digits"):
        find_study("digts")
