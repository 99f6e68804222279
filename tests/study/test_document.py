"""`study.json`: it is read back unchanged, describes each run, and is refused if it is damaged."""

from __future__ import annotations

import dataclasses
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
from jaxopt_bench.strict_json import json_text
from jaxopt_bench.study import (
    Contender,
    Document,
    RunEntry,
    Selection,
    Study,
    StudySize,
    Timing,
    UnitKey,
    protocol,
    read_document,
)
from jaxopt_bench.study.document import FORMAT
from tests.study.studies import small_study, studies

RECORDED = pathlib.Path(__file__).parents[2] / "experiments" / "results"
UNIT: dict[str, Any] = {"workload": "cnn", "contender": "sgd", "repetition": 0}


SIZE = StudySize(2, None, 1, 2, 1, ("cnn",), ("adam", "sgd"))


def run(phase: str = "trial", trial: int = 0, **fields: Any) -> dict[str, Any]:
    """Returns a run as `study.json` records it."""
    return {**UNIT, "phase": phase, "trial": trial, "seed": 0, "digest": "0" * 12, "path": f"{phase}s/{trial}"} | fields


def selection(trial: int | None, **fields: Any) -> dict[str, Any]:
    """Returns a selection as `study.json` records it."""
    found = {"value": 0.5, "values": {"optimizer.learning_rate": 0.1}, "edges": [], "diverged": 0, "among": []}
    return {**UNIT, "trial": trial} | found | {"finalists": {}} | fields


def without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in values.items() if field != name}


def selected(trial: int | None, value: float = 0.5) -> Selection:
    values = None if trial is None else {"optimizer.learning_rate": 0.1}
    return Selection("cnn", "sgd", 0, trial, value, values, edges=(), diverged=0, among=())


DOCUMENT = Document(
    small_study(),
    runs=(
        RunEntry("trial", "cnn", "sgd", 0, 0, 7, "0" * 12, "trials/0"),
        RunEntry("trial", "cnn", "sgd", 0, 1, 7, "1" * 12, "trials/1"),
        RunEntry("confirmation", "cnn", "sgd", 0, 1, 8, "2" * 12, "confirmations/1"),
        RunEntry("trial", "cnn", "adam", 1, 0, 9, "3" * 12, "trials/2"),
    ),
    selections=(selected(1),),
    timings=(Timing("cnn", "sgd", 0.5, {"backend": "cpu"}),),
    history=(SIZE,),
)


def written(folder: pathlib.Path, **changes: Any) -> pathlib.Path:
    """Writes the document with some of its fields replaced."""
    path = folder / "study.json"
    DOCUMENT.write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def old(folder: pathlib.Path) -> pathlib.Path:
    """Writes the document in format 1, which has no finalists."""
    path = folder / "study.json"
    dataclasses.replace(DOCUMENT, study=small_study(finalists=0)).write(path)
    values = json.loads(path.read_text())
    for name in ("finalists", "finalist_seeds"):
        del values["study"][name]
    for entry in values["selections"]:
        del entry["finalists"]
    values["protocol"] = [line for line in values["protocol"] if not line.startswith("Share: ")]
    path.write_text(json_text(values | {"format": 1}))
    return path


@settings(max_examples=10)
@given(
    studies(),
    st.lists(
        st.builds(
            dataclasses.replace,
            st.just(DOCUMENT.runs[0]),
            trial=st.integers(0, 9),
            path=st.sampled_from(["a", "a/b", "a..b/c"]),
        )
    ),
)
def test_a_written_document_is_read_back_unchanged(tmp_path_factory, study, runs):
    path = tmp_path_factory.mktemp("studies") / "study.json"
    history = (StudySize.of(study), dataclasses.replace(SIZE, trials=None, total_epochs=3))
    again = dataclasses.replace(selected(3), among=("a", "b", "c", "d"), finalists={3: 0.5, 0: None})
    document = Document(study, tuple(runs), (selected(None), again), DOCUMENT.timings, history)
    document.write(path)
    assert read_document(path) == document
    assert json.loads(path.read_text())["protocol"] == protocol(study)


def test_each_run_of_a_study_has_its_unit_and_shows_whether_its_trial_won():
    runs = list(DOCUMENT.study_runs())
    assert [run.selected for run in runs] == [False, True, True, False]
    assert runs[2].columns == {"study": "two", **UNIT, "phase": "confirmation", "trial": 1, "selected": True}
    assert runs[2].identity == {"digest": "2" * 12, "seed": 8, "name": "cnn_sgd"}
    assert [run.entry for run in runs] == list(DOCUMENT.runs)
    undecided = Document(small_study(), DOCUMENT.runs, (selected(None),))
    assert not any(run.selected for run in undecided.study_runs())


def test_a_document_of_format_1_is_read_and_written_unchanged(tmp_path):
    path = old(tmp_path)
    found = read_document(path)
    assert found.study == small_study(finalists=0)
    assert found.runs == DOCUMENT.runs
    assert found.selections == DOCUMENT.selections
    assert not found.shares_points
    assert found.protocol == json.loads(path.read_text())["protocol"]
    found.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_finalists_are_the_trials_of_their_runs_in_the_same_order():
    runs = [RunEntry("finalist", "cnn", "sgd", r, t, s, "4" * 12, f"finalists/{r}{t}{s}")
            for r, t, s in ((0, 1, 7), (0, 1, 8), (1, 0, 9), (0, 0, 7), (0, 0, 8))]  # fmt: skip
    document = dataclasses.replace(DOCUMENT, runs=(*DOCUMENT.runs, *runs))
    assert document.finalists(UnitKey("cnn", "sgd", 0)) == (1, 0)
    assert document.finalists(UnitKey("cnn", "sgd", 1)) == (0,)
    assert document.finalists(UnitKey("cnn", "adam", 1)) == ()


def test_selections_and_timings_are_found_by_their_names():
    assert DOCUMENT.selection(UnitKey("cnn", "sgd", 0)) == DOCUMENT.selections[0]
    assert DOCUMENT.seconds_per_step("cnn", "sgd") == 0.5
    assert DOCUMENT.selections_of("cnn", "sgd") == list(DOCUMENT.selections)
    assert DOCUMENT.selections_of("cnn", "adam") == DOCUMENT.selections_of("mlp", "sgd") == []
    for other in (UnitKey("cnn", "sgd", 1), UnitKey("cnn", "adam", 0), UnitKey("mlp", "sgd", 0)):
        assert DOCUMENT.selection(other) is None
    assert DOCUMENT.seconds_per_step("cnn", "adam") is None
    assert DOCUMENT.seconds_per_step("mlp", "sgd") is None


@pytest.mark.parametrize("path", sorted(RECORDED.rglob("study.json")), ids=lambda path: path.parent.name)
def test_recorded_documents_are_written_as_they_were_read(tmp_path, path):
    read_document(path).write(tmp_path / "study.json")
    assert (tmp_path / "study.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("found", [FORMAT + 1, 0, None, "1", [1], True, 1.0])
def test_another_format_is_refused(tmp_path, found):
    with pytest.raises(UserError, match=rf"study\.json has the format .*. Expected: 1 or {FORMAT}. If a newer"):
        read_document(written(tmp_path, format=found))


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_json_that_is_not_a_document_is_refused(tmp_path, text):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(UserError, match=r"study\.json has the format None"):
        read_document(tmp_path / "study.json")


@pytest.mark.parametrize("text", ["", "{", '{"format": 1', "\0"])
def test_a_file_that_is_not_json_is_refused(tmp_path, text):
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
        ("runs", [without(run(), "path")]),
        ("runs", [run(trial="one")]),
        ("runs", [run(path=3)]),
        ("runs", [run(phase=None)]),
        ("runs", [run(repetition=None)]),
        ("selections", [selection(1) | {"trial": "best"}]),
        ("selections", [UNIT]),
        ("selections", [without(selection(1), "edges")]),
        ("selections", [without(selection(1), "diverged")]),
        ("selections", [selection(1, value="low")]),
        ("selections", [selection(1, among=[1])]),
        ("selections", [selection(1, values=[0.1])]),
        ("selections", [selection(1, values=None)]),
        ("selections", [without(selection(1), "finalists")]),
        ("selections", [selection(1, finalists=[1])]),
        ("timings", [{"workload": "cnn"}]),
        ("timings", [{"workload": "cnn", "contender": "sgd", "seconds_per_step": "long", "environment": {}}]),
        ("timings", [{"workload": "cnn", "contender": "sgd", "seconds_per_step": 0.5}]),
        ("timings", 3),
        ("history", [3]),
        ("history", [SIZE.to_json() | {"trials": "many"}]),
        ("history", [SIZE.to_json() | {"contenders": [1]}]),
        ("history", None),
    ],
)
def test_the_error_for_a_damaged_list_names_the_list_or_its_damaged_entry(tmp_path, field, value):
    is_list = isinstance(value, list)
    message = rf": {field}\[0\] is damaged: " if is_list else rf" is damaged: {field} is not a list\."
    with pytest.raises(UserError, match=rf"study\.json{message}"):
        read_document(written(tmp_path, **{field: value}))


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (None, "study: None is not an object"),
        ({}, "study: the field 'name' is missing"),
        (small_study().to_json() | {"trials": -1}, "Study.trials is -1"),
    ],
)
def test_the_error_for_a_damaged_study_names_its_file(tmp_path, study, message):
    with pytest.raises(UserError, match=rf"study\.json is damaged: {message}"):
        read_document(written(tmp_path, study=study))


@pytest.mark.parametrize("trial", [-1, 2])
def test_a_selected_trial_that_is_not_one_of_the_judged_trials_is_refused(tmp_path, trial):
    with pytest.raises(UserError, match=rf"selections\[0\] is damaged: trial is {trial}, of 2 trials"):
        read_document(written(tmp_path, selections=[selection(trial, among=["0" * 12, "1" * 12])]))


@pytest.mark.parametrize(
    ("finalists", "message"),
    [
        ({"1": 0.5, "2": 0.1}, r" is damaged: finalists is {'1': 0.5, '2': 0.1}. Expected: trials, with the winner"),
        ({"0": 0.5}, r" is damaged: finalists is {'0': 0.5}. Expected: trials, with the winner"),
        ({"1": 0.5, "one": 0.1}, r" is damaged: finalists is .*. Expected: trials, with the winner"),
        ({"1": "low"}, r"\.finalists is damaged: 1 is 'low'. Expected: a finite number or null"),
    ],
)
def test_finalists_that_are_not_trials_or_have_no_values_are_refused(tmp_path, finalists, message):
    with pytest.raises(UserError, match=rf"selections\[0\]{message}"):
        read_document(written(tmp_path, selections=[selection(1, among=["0" * 12, "1" * 12], finalists=finalists)]))


def test_edges_that_are_not_texts_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"selections\[0\] is damaged: edges is \['b1', 3\]"):
        read_document(written(tmp_path, selections=[selection(1, edges=["b1", 3])]))


@pytest.mark.parametrize("path", ["..", "../other", "trials/../../other", "/etc/passwd", "//etc"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, path):
    with pytest.raises(UserError, match=r"study\.json is damaged: the run .* is not within its folder"):
        read_document(written(tmp_path, runs=[run(), run(path=path)]))


def test_the_error_for_a_missing_file_names_it(tmp_path):
    with pytest.raises(UserError, match=r"study\.json does not exist"):
        read_document(tmp_path / "study.json")


def test_a_document_is_written_completely_or_not_at_all(tmp_path):
    path = written(tmp_path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Out of range float values"):
        Document(small_study(), selections=(selected(1, value=float("nan")),)).write(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["study.json"]


def test_the_protocol_says_how_trials_are_drawn_and_which_are_trained_again():
    said = protocol(small_study(finalists=3, finalist_seeds=2))
    assert [line.partition(":")[0] for line in said[:4]] == ["Tune", "Share", "Re-run", "Select"]
    assert "the 3 trials of each optimizer with the lowest validation loss at the last epoch" in said[2]
    assert "trained again with 2 other seeds each" in said[2]
    assert "the one with the lowest mean validation loss of the re-runs. Its first result does not count" in said[3]
    before = protocol(small_study(finalists=0), shares_points=False)
    said_before = [line.partition(":")[0] for line in before]
    assert said_before[:2] == ["Tune", "Select"]
    assert "Not tuned, and confirmed as given" in said_before
    grid = protocol(small_study(search="grid", finalists=0))
    assert not any(line.startswith("Share") for line in grid)  # the points of a grid are not drawn


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
