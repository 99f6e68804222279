"""Studies from Python, as a notebook runs them."""

from __future__ import annotations

import pathlib

import pytest

from jaxopt_bench import UserError, run_study
from jaxopt_bench.study import Study


def test_a_study_is_trained_shown_and_continued(
    small: Study, digits_dir: pathlib.Path, mine: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture
):
    folder = tmp_path / "study"
    first = run_study(small, folder, optimizers=["sgd"], data_dir=digits_dir, trials=2, finalists=0)
    assert first.documents[0].study.trials == 2
    assert first.runs["contender"].unique().to_list() == ["sgd"]
    assert len(first.runs) == 4  # two trials and two confirmations
    assert "tiny, sgd: 2 trials" in capsys.readouterr().out
    grown = run_study(
        small, folder, optimizers=["sgd"], add=[f"{mine}:mine"], data_dir=digits_dir, trials=2, finalists=0
    )
    assert sorted(grown.runs["contender"].unique()) == ["mine", "sgd"]
    assert len(grown.runs) == 8
    said = capsys.readouterr().out
    assert "tiny, mine: 2 trials" in said
    assert "tiny, sgd" not in said


def test_mistakes_are_refused_before_anything_is_written(small: Study, tmp_path: pathlib.Path):
    folder = tmp_path / "study"
    with pytest.raises(UserError, match="unknown field of a study 'trails'; did you mean trials"):
        run_study(small, folder, trails=4)
    with pytest.raises(UserError, match="unknown study 'digts'; did you mean digits"):
        run_study("digts", folder)
    with pytest.raises(UserError, match="unknown optimizer 'lino'; did you mean lion"):
        run_study(small, folder, add=["lino"])
    with pytest.raises(UserError, match="unknown optimizer of the study small 'adam'"):
        run_study(small, folder, optimizers=["adam"])
    assert not folder.exists()
