"""Studies that search by successive halving on real data, compared with the same search of full-length trials."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pathlib

import pytest
from rich.console import Console

from jaxopt_bench.compare import Progress, compare, progress_for
from jaxopt_bench.optimizers import SGD, AdamW
from jaxopt_bench.results import load
from jaxopt_bench.study import Document, Study, read_document
from jaxopt_bench.verdict import paragraphs, verdict
from tests.compare.conftest import contender, records
from tests.compare.test_compare import Killed as KilledBetween
from tests.compare.test_compare import Stops
from tests.runs.test_train import Killed, KilledAt

EPOCH = 20  # steps
RUNGS = ((8, 1), (4, 2), (2, 4))
"""Trials and epochs of each rung, computed by hand for 8 trials of 4 epochs, half of which are promoted."""


class StopsAt(Progress):
    """Simulates the end of the process when a run has reached a step."""

    def __init__(self, step: int):
        self.step = step

    def begin(self, job):
        return KilledAt(self.step)


@pytest.fixture(scope="module")
def halving(small) -> Study:
    """Returns a study of one optimizer whose best learning rate is not at the edge of its range."""
    four_epochs = dataclasses.replace(small.workloads[0], epochs=4)
    contenders = (contender("adamw", AdamW(), low=1e-4, high=1.0),)
    return dataclasses.replace(
        small,
        workloads=(four_epochs,),
        contenders=contenders,
        trials=8,
        seeds=1,
        search="halving",
        halving_rungs=3,
        finalists=0,
    )


@pytest.fixture(scope="module")
def halved(halving, tmp_path_factory, digits_dir) -> pathlib.Path:
    """Returns the folder of the finished study."""
    folder = tmp_path_factory.mktemp("halved") / "small"
    compare(halving, folder, data_dir=digits_dir)
    return folder


@pytest.fixture(scope="module")
def whole(halving, tmp_path_factory, digits_dir) -> pathlib.Path:
    """Returns the folder of the same study in which each trial is trained to the end."""
    folder = tmp_path_factory.mktemp("whole") / "small"
    compare(dataclasses.replace(halving, search="sobol", halving_rungs=2), folder, data_dir=digits_dir)
    return folder


def trial_records(folder: pathlib.Path) -> dict[int, tuple[list[dict], dict]]:
    """Returns the metrics and the summary of each trial of a study, without timings."""
    found = records(folder)
    return {run["trial"]: found[run["path"]] for run in found["study.json"]["runs"] if run["phase"] == "trial"}


def losses(trials: dict[int, tuple[list[dict], dict]], epoch: int) -> dict[int, float]:
    """Returns the validation loss of each trial after an epoch."""
    wanted = (epoch * EPOCH, "validation")
    return {
        trial: line["loss"] for trial, (lines, _) in trials.items() for line in lines
        if (line["step"], line["split"]) == wanted
    }  # fmt: skip


def test_promotions_and_the_winner_agree_with_full_length_trials(halved, whole):
    trials, full = trial_records(halved), trial_records(whole)
    left = set(range(8))
    reached = dict.fromkeys(left, 1)
    for (_, epoch), (count, following) in itertools.pairwise(RUNGS):
        at_rung = {trial: loss for trial, loss in losses(full, epoch).items() if trial in left}
        left = set(sorted(at_rung, key=lambda trial: (at_rung[trial], trial))[:count])
        reached |= dict.fromkeys(left, following)
    for trial, (lines, summary) in trials.items():
        assert lines == [line for line in full[trial][0] if line["step"] <= reached[trial] * EPOCH]
        assert (summary["status"], summary["steps"]) == (
            ("completed" if trial in left else "stopped"), reached[trial] * EPOCH,
        )  # fmt: skip
    assert sum(reached.values()) == 8 * 1 + 4 * 1 + 2 * 2
    (selection,) = read_document(halved / "study.json").selections
    ends = {trial: loss for trial, loss in losses(full, 4).items() if trial in left}
    assert selection.trial == min(ends, key=lambda trial: ends[trial])
    assert selection.value == min(ends.values())
    assert len(selection.among) == 8
    assert not list((halved / "trials").rglob("checkpoints/*"))


@pytest.mark.slow
def test_finalists_are_the_trials_that_were_trained_to_the_end(halving, halved, tmp_path, digits_dir):
    document = compare(dataclasses.replace(halving, finalists=2), tmp_path / "small", data_dir=digits_dir)
    (selection,) = document.selections
    ended = {trial for trial, (_, summary) in trial_records(halved).items() if summary["status"] == "completed"}
    assert {*document.finalists(selection.unit)} == {*selection.finalists} == ended
    assert selection.value == selection.finalists[selection.trial] == min(selection.finalists.values())


@pytest.mark.parametrize(
    "stops",
    [
        pytest.param([Stops(1, after=True), Stops(1, after=True), Stops(1, after=True)], marks=pytest.mark.slow),
        [StopsAt(9), StopsAt(EPOCH + 9), StopsAt(EPOCH + 9), StopsAt(2 * EPOCH + 9)],
    ],
    ids=["between rungs", "within rungs"],
)
def test_a_study_that_is_killed_has_the_results_of_one_that_was_not(halving, halved, tmp_path, digits_dir, stops):
    for progress in stops:
        with pytest.raises((Killed, KilledBetween)):
            compare(halving, tmp_path / "small", data_dir=digits_dir, progress=progress)
    compare(halving, tmp_path / "small", data_dir=digits_dir)
    assert records(tmp_path / "small") == records(halved)
    assert not list((tmp_path / "small" / "trials").rglob("checkpoints/*"))


def test_a_finished_study_trains_nothing(halving, halved, digits_dir):
    before = records(halved)
    compare(halving, halved, data_dir=digits_dir, progress=Stops(1, after=False))
    assert records(halved) == before


@pytest.mark.slow
def test_a_grown_study_has_the_winner_of_one_begun_at_that_size(halving, halved, tmp_path, digits_dir):
    four = dataclasses.replace(halving, trials=4)
    before = compare(four, tmp_path / "grown", data_dir=digits_dir)
    document = compare(halving, tmp_path / "grown", data_dir=digits_dir)
    assert [size.trials for size in document.history] == [4, 8]
    assert document.selections == read_document(halved / "study.json").selections != before.selections
    grown, at_once = trial_records(tmp_path / "grown"), trial_records(halved)
    for trial, (lines, _) in at_once.items():
        assert grown[trial][0][: len(lines)] == lines  # trials that the smaller study promoted have more


@pytest.mark.slow
def test_a_units_trials_are_not_divided_among_shards(halving, halved, tmp_path, digits_dir):
    compare(halving, tmp_path / "small", data_dir=digits_dir, shard=(1, 2), progress=Stops(1, after=False))
    compare(halving, tmp_path / "small", data_dir=digits_dir, shard=(0, 2))
    assert records(tmp_path / "small") == records(halved)


def test_diverged_trials_are_counted_and_not_promoted(halving, tmp_path, digits_dir, capsys):
    wild = dataclasses.replace(
        halving,
        contenders=(contender("mixed", SGD(), low=1e-2, high=1e30), contender("wild", SGD(), low=1e28, high=1e30)),
        trials=4,
    )
    document = compare(wild, tmp_path / "wild", data_dir=digits_dir, progress=progress_for(Console(width=200)))
    mixed, lost = document.selections
    runs = load(tmp_path / "wild").runs
    trials = runs.filter(runs["contender"] == "mixed", runs["phase"] == "trial")
    statuses = dict(trials.select("trial", "status").rows())
    diverged = [trial for trial, status in statuses.items() if status == "diverged"]
    assert 1 <= len(diverged) == mixed.diverged < 4
    assert mixed.trial not in diverged
    assert statuses[mixed.trial] == "completed"
    assert (lost.trial, lost.diverged) == (None, 4)
    assert compare(wild, tmp_path / "wild", data_dir=digits_dir, progress=Stops(1, after=False)) == document
    said = capsys.readouterr().out
    assert "tiny, mixed: 4 trials up to epoch 1" in said
    assert "tiny, wild: no trial survived; 4 diverged" in said


def test_the_verdict_has_no_statistics_that_need_full_length_trials(halved):
    results = load(halved)
    (document,) = results.documents
    found = verdict(results, document)
    (standing,) = found.rankings[0].standings
    assert standing.trials is not None
    assert (standing.trials.count, standing.trials.diverged) == (8, 0)
    assert (standing.trials.expected_best, standing.trials.good_learning_rates) == ((), None)
    trials = results.runs.filter(results.runs["phase"] == "trial")
    confirmed = results.runs.filter(results.runs["phase"] == "confirmation")
    assert standing.cost == pytest.approx(trials["seconds"].sum() + confirmed["seconds"].sum())
    assert found.complete
    assert "diverged" not in " ".join(paragraphs(found, found.rankings[0]))


def test_the_record_of_a_study_with_halving_is_read_back(halving, halved, tmp_path):
    document = read_document(halved / "study.json")
    assert isinstance(document, Document)
    assert document.study == halving
    assert "Halve: on tiny 8 trials are trained for 1 epoch" in json.dumps(
        json.loads((halved / "study.json").read_text())["protocol"]
    )
    load(halved).save(tmp_path / "recorded")
    assert load(tmp_path / "recorded").runs["status"].to_list().count("stopped") == 6
