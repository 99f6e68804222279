"""`study.json`: that it comes back, what it says of each run, and what is refused."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import Adam, Axis, Choice, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Contender, Document, Study, protocol, read_document
from jaxopt_bench.study.document import FORMAT
from tests.study.studies import small_study, studies

UNIT: dict[str, Any] = {"workload": "cnn", "contender": "sgd", "repetition": 0}


def run(phase: str = "trial", trial: int = 0, **fields: Any) -> dict[str, Any]:
    return {**UNIT, "phase": phase, "trial": trial, "seed": 0, "digest": "0" * 12, "path": f"{phase}s/{trial}"} | fields


def selection(trial: int | None, **fields: Any) -> dict[str, Any]:
    found = {"value": 0.5, "edges": [], "values": {"optimizer.learning_rate": 0.1}, "among": []}
    return {**UNIT, "trial": trial} | found | fields


DOCUMENT = Document(
    small_study(),
    runs=(run(), run(trial=1), run("confirmation", 1), run(contender="adam", repetition=1)),
    selections=(selection(1),),
    timings=({"workload": "cnn", "contender": "sgd", "seconds_per_step": 0.5},),
    history=({"trials": 2},),
)


def written(folder: pathlib.Path, **changes: Any) -> pathlib.Path:
    """Writes the document with some of its fields replaced."""
    path = folder / "study.json"
    DOCUMENT.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


@settings(max_examples=10)
@given(studies(), st.lists(st.builds(run, trial=st.integers(0, 9), path=st.sampled_from(["a", "a/b", "a..b/c"]))))
def test_what_is_written_is_read(tmp_path_factory, study, runs):
    path = tmp_path_factory.mktemp("studies") / "study.json"
    document = Document(study, tuple(runs), (selection(None), selection(3)), history=({"trials": 1}, {"trials": 2}))
    document.write(path)
    assert read_document(path) == document
    assert json.loads(path.read_text())["protocol"] == protocol(study)


def test_places_say_of_each_run_where_it_belongs_and_whether_its_trial_won():
    places = [place for _, place in DOCUMENT.places()]
    assert [place["selected"] for place in places] == [False, True, True, False]
    planned = {name: DOCUMENT.runs[2][name] for name in ("digest", "seed")} | {"name": "cnn_sgd"}
    assert places[2] == {"study": "two", **UNIT, "phase": "confirmation", "trial": 1, "selected": True, **planned}
    assert [found for found, _ in DOCUMENT.places()] == list(DOCUMENT.runs)
    undecided = Document(small_study(), DOCUMENT.runs, (selection(None),))
    assert not any(place["selected"] for _, place in undecided.places())


@pytest.mark.parametrize("found", [FORMAT + 1, 0, None, "1", [1]])
def test_another_format_is_refused(tmp_path, found):
    with pytest.raises(UserError, match=rf"study\.json has the format .*; accepted: {FORMAT}"):
        read_document(written(tmp_path, format=found))


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_what_is_no_document_is_refused(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=r"study\.json has the format None"):
        read_document(tmp_path / "study.json")


@pytest.mark.parametrize("text", ["", "{", '{"format": 1', "\0"])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=r"study\.json is damaged: it is not JSON"):
        read_document(tmp_path / "study.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runs", None),
        ("runs", {}),
        ("runs", [3]),
        ("runs", [{}]),
        ("runs", [{k: v for k, v in run().items() if k != "path"}]),
        ("runs", [run(trial="one")]),
        ("runs", [run(path=3)]),
        ("runs", [run(phase=None)]),
        ("runs", [run(repetition=None)]),
        ("selections", [selection(1) | {"trial": "best"}]),
        ("selections", [UNIT]),
        ("selections", [{k: v for k, v in selection(1).items() if k != "edges"}]),
        ("selections", [selection(1, values=[0.1])]),
        ("selections", [selection(1, values=None)]),
        ("timings", [{"workload": "cnn"}]),
        ("timings", [{"workload": "cnn", "contender": "sgd", "seconds_per_step": "long"}]),
        ("timings", 3),
        ("history", [3]),
        ("history", None),
    ],
)
def test_damaged_lists_are_named(tmp_path, field, value):
    with pytest.raises(UserError, match=rf"study\.json(: {field}\[0\])? is damaged"):
        read_document(written(tmp_path, **{field: value}))


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (None, "study: None is not an object"),
        ({}, "study: the field 'name' is missing"),
        (small_study().to_json() | {"trials": -1}, "Study.trials is -1"),
    ],
)
def test_a_damaged_study_is_named_with_its_file(tmp_path, study, message):
    with pytest.raises(UserError, match=rf"study\.json is damaged: {message}"):
        read_document(written(tmp_path, study=study))


@pytest.mark.parametrize("trial", [-1, 2])
def test_a_trial_that_was_not_chosen_from_is_refused(tmp_path, trial):
    with pytest.raises(UserError, match=rf"selections\[0\] is damaged: trial is {trial}, of 2 trials"):
        read_document(written(tmp_path, selections=[selection(trial, among=[0.5, 0.6])]))


def test_edges_that_are_no_texts_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"selections\[0\] is damaged: edges is \['b1', 3\]"):
        read_document(written(tmp_path, selections=[selection(1, edges=["b1", 3])]))


@pytest.mark.parametrize("path", ["..", "../other", "trials/../../other", "/etc/passwd", "//etc"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path):
    with pytest.raises(UserError, match=r"study\.json is damaged: the run .* is not within its folder"):
        read_document(written(tmp_path, runs=[run(), run(path=path)]))


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"study\.json does not exist"):
        read_document(tmp_path / "study.json")


def test_a_document_is_written_whole_or_not_at_all(tmp_path):
    path = written(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float values"):
        Document(small_study(), selections=(selection(1, value=float("nan")),)).write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["study.json"]


def test_the_protocol_says_which_optimizers_are_tuned_in_larger_spaces():
    rate, b1 = Axis(1e-3, 1e-1, "log"), Choice((0.9, 0.95))
    spaces = {
        "one": Space({"optimizer.learning_rate": rate}),
        "two": Space({"optimizer.learning_rate": Axis(1e-4, 1e-2, "log")}),
        "three": Space({"optimizer.learning_rate": rate, "optimizer.b1": b1, "schedule.final": Axis(0, 0.5, "linear")}),
        "none": Space(),
    }
    contenders = [Contender(name=name, optimizer=Adam(), space=space) for name, space in spaces.items()]
    workload = Workload(name="w", problem=Classification(dataset="digits", model=CNN()))
    said = protocol(Study(name="s", workloads=(workload,), contenders=tuple(contenders), trials=2))
    assert (
        "The search spaces differ in size: one, two in learning_rate (2 decades); three in b1 (2 values), "
        "learning_rate (2 decades), schedule.final (a width of 0.5)." in said
    )
    same = protocol(Study(name="s", workloads=(workload,), contenders=tuple(contenders[:2]), trials=2))
    assert not any("differ" in sentence for sentence in same)
