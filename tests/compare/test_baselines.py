"""Newcomers are compared with recorded results: only they are trained, and differences are reported or refused."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import types
from typing import Any

import polars as pl
import pytest

from jaxopt_bench import UserError
from jaxopt_bench.compare import (
    compare,
    differences,
    drawing_difference,
    drop_unfinished_contenders,
    join_results,
    make_newcomer,
    make_newcomer_study,
    tuning_differences,
)
from jaxopt_bench.optimizers import SGD
from jaxopt_bench.results import Results, load
from jaxopt_bench.study import STUDIES, Document, find_study
from jaxopt_bench.verdict import verdict
from tests.compare.conftest import contender

RESULTS = pathlib.Path(__file__).parents[2] / "experiments" / "results"


def test_only_the_newcomer_is_trained_and_it_is_ranked_with_the_baselines(small, mine, tmp_path, digits_dir):
    compare(small, tmp_path / "first", data_dir=digits_dir)
    load(tmp_path / "first").save(tmp_path / "recorded")
    shutil.rmtree(tmp_path / "first")
    recorded = load(tmp_path / "recorded")
    new = make_newcomer_study(small, recorded.documents[0], [make_newcomer(small, f"{mine}:mine")])
    compare(new, tmp_path / "new", data_dir=digits_dir)
    trained = load(tmp_path / "new")
    assert set(trained.runs["contender"]) == {"mine"}
    results, document = join_results(recorded, trained)
    found = verdict(results, document)
    assert found.complete
    (ranking,) = found.rankings
    assert {s.contender for s in ranking.standings} == {"sgd", "adamw", "mine"}
    assert {pair.difference.estimate.count for pair in ranking.pairs} == {2}
    assert differences(recorded, trained) is None
    assert drawing_difference(recorded.documents[0]) is None
    assert tuning_differences(recorded.documents[0].study, new.contenders) == [
        "mine was tuned in a search space of its own: learning_rate 0.0003 to 0.948683 (3.5 decades). The recorded "
        "optimizers were tuned in: learning_rate (2 decades)."
    ]
    elsewhere = dataclasses.replace(recorded, runs=recorded.runs.with_columns(device=recorded.runs["device"] + "X"))
    said = differences(elsewhere, trained)
    assert said is not None
    assert said.startswith("The baselines were recorded in another environment, so results may differ: device")
    assert "code_path" not in said


def environment(**columns: Any) -> Any:
    """Returns results that contain only the environments of their runs."""
    runs = pl.DataFrame({name: values if isinstance(values, list) else [values] for name, values in columns.items()})
    return types.SimpleNamespace(runs=runs)


def test_only_fields_that_both_environments_have_are_compared():
    old_path, path = {"layers": "pure", "loop": "compiled"}, {"loop": "compiled", "layers": "pure", "devices": 1}
    old = environment(device="cpu", code_path=json.dumps(old_path), **{"version.jaxopt-bench": [None]})
    now = environment(device="cpu", code_path=json.dumps(path), **{"version.jaxopt-bench": "1.0"}, threads=2)
    assert differences(old, now) is None
    assert differences(now, old) is None
    other = environment(device="cpu", code_path=json.dumps({**path, "layers": "onednn"}), threads=4)
    assert differences(old, other) == (
        "The baselines were recorded in another environment, so results may differ: code_path.layers (pure for the "
        "baselines, onednn now)."
    )
    assert "threads (2 for the baselines, 4 now)" in str(differences(now, other))
    in_turn, together = (environment(code_path=json.dumps({**path, "side_by_side": count})) for count in (1, 2))
    assert differences(in_turn, together) is None  # training side by side gives the same bits


def test_another_protocol_another_workload_or_a_taken_name_is_refused(small, tmp_path, digits_dir):
    folder = tmp_path / "empty"
    document = compare(
        dataclasses.replace(small, contenders=(contender("sgd", SGD()),), trials=1, seeds=1),
        folder,
        data_dir=digits_dir,
    )
    new = [make_newcomer(small, "lion")]
    with pytest.raises(UserError, match="recorded with trials 1, and the study has 3"):
        make_newcomer_study(small, document, new)
    same = dataclasses.replace(small, trials=1, seeds=1)
    with pytest.raises(UserError, match="recorded with finalists 2, and the study has 3"):
        make_newcomer_study(dataclasses.replace(same, finalists=3), document, new)
    longer = dataclasses.replace(same, workloads=(dataclasses.replace(same.workloads[0], epochs=2),))
    with pytest.raises(UserError, match="not recorded on the workload tiny"):
        make_newcomer_study(longer, document, new)
    with pytest.raises(UserError, match="sgd is among the baselines"):
        make_newcomer_study(same, document, [make_newcomer(small, "sgd")])


def test_a_comparison_with_results_of_an_earlier_version_is_allowed_and_reported(small):
    earlier = dataclasses.replace(small, finalists=0)
    recorded, new = Document(earlier, format=1), [make_newcomer(small, "lion")]
    with pytest.raises(UserError, match="recorded with finalists 0, and the study has 2"):
        make_newcomer_study(small, recorded, new)
    assert make_newcomer_study(earlier, recorded, new).contenders == tuple(new)
    assert "each optimizer drew its own trials" in str(drawing_difference(recorded))


def test_seeds_of_finalists_matter_only_if_there_are_finalists(small):
    new = [make_newcomer(small, "lion")]
    alone, other = (dataclasses.replace(small, finalists=0, finalist_seeds=seeds) for seeds in (1, 2))
    assert make_newcomer_study(other, Document(alone), new).contenders == tuple(new)
    with pytest.raises(UserError, match="recorded with finalist_seeds 1, and the study has 2"):
        make_newcomer_study(dataclasses.replace(small, finalist_seeds=2), Document(small), new)


def test_every_study_of_the_project_can_be_found_and_read_back():
    for name, study in STUDIES.load_folder().items():
        assert find_study(name) == study
        assert type(study).from_json(study.to_json()) == study


def test_a_study_is_found_by_its_folder(small, tmp_path):
    Document(small).write(tmp_path / "study.json")
    assert find_study(str(tmp_path)) == small
    with pytest.raises(UserError, match=r"unknown study 'digts'; did you mean digits"):
        find_study("digts")


def test_optimizers_without_complete_results_are_not_baselines():
    recorded = load(RESULTS / "digits")
    (document,) = recorded.documents
    assert drop_unfinished_contenders(recorded, ["digits_cnn"]) is recorded

    def without(*names: str) -> Results:
        left = tuple(found for found in document.selections if found.contender not in names)
        return dataclasses.replace(recorded, documents=(dataclasses.replace(document, selections=left),))

    part = drop_unfinished_contenders(without("adam", "sgd"), ["digits_cnn", "unknown"])
    (found,) = part.documents
    assert [c.name for c in found.study.contenders] == ["adamw", "nadam", "amsgrad", "padam"]
    assert (
        set(part.runs["contender"]) == {run.contender for run in found.runs} == {"adamw", "nadam", "amsgrad", "padam"}
    )
    assert verdict(part, found).complete
    with pytest.raises(UserError, match="no optimizer whose runs on digits_cnn have all finished"):
        drop_unfinished_contenders(without(*(c.name for c in document.study.contenders)), ["digits_cnn"])
