"""`jaxopt-bench results`: the outputs to which the table is written, and its content in each of them."""

from __future__ import annotations

import csv
import dataclasses
import faulthandler
import io
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator

import polars as pl
import pytest

from jaxopt_bench import Experiment, Workload
from jaxopt_bench.cli import main
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import Adam
from jaxopt_bench.problems import Classification
from jaxopt_bench.results import load
from tests.results.directories import epochs, summary, write_run
from tests.results.test_tables import write_study
from tests.study.studies import small_study

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENT = Experiment(
    name="=cnn", workload=Workload(problem=Classification(dataset="digits", model=CNN())), optimizer=Adam()
)
QUERY = 'SELECT name, seed, path, "final.validation_loss" AS "=loss", -1.5 AS below FROM runs ORDER BY seed'


@pytest.fixture
def runs(tmp_path: pathlib.Path) -> pathlib.Path:
    for seed in range(3):
        experiment = dataclasses.replace(EXPERIMENT, seed=seed)
        write_run(tmp_path / "runs", experiment, epochs(2), summary(experiment, validation_loss=0.5))
    return tmp_path / "runs"


def shell(command: str, folder: pathlib.Path) -> subprocess.CompletedProcess[bytes]:
    """Runs a Bash command, in which `results` calls `jaxopt-bench results`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("COLUMNS", None)
    script = f'results() {{ "{sys.executable}" -m jaxopt_bench results "$@"; }}\n{command}'
    return subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, timeout=120, env=environment)


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["results", *map(str, words)])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_compact_without_a_record_is_refused(call, runs):
    code, _, error = call("results", str(runs), "--compact")
    assert code == 1
    assert "--compact needs a record to write. Expected --record FOLDER, too." in error


def test_only_the_table_is_written_to_standard_output(runs: pathlib.Path, capfdbinary) -> None:
    assert call(runs, "--csv", runs.parent / "file.csv", "--parquet", runs.parent / "file.parquet") == 0
    assert capfdbinary.readouterr() == (b"", b"")
    done = shell("results runs --csv - && results runs --parquet - >out.parquet", runs.parent)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().replace("runs/", f"{runs}/") == (runs.parent / "file.csv").read_text()
    assert len(pl.read_parquet(runs.parent / "out.parquet")) == 3
    assert not (runs.parent / "-").exists()


@pytest.mark.slow
def test_pipes_process_substitutions_links_and_modes_are_respected(runs: pathlib.Path) -> None:
    folder = runs.parent
    call(runs, "--sql", QUERY, "--csv", folder / "file.csv")
    expected = (folder / "file.csv").read_bytes()
    (folder / "target.csv").write_text("old")
    (folder / "target.csv").chmod(0o600)
    (folder / "link.csv").symlink_to("target.csv")
    os.mkfifo(folder / "pipe")
    done = shell(
        f"cat pipe >from_pipe & results {runs} --sql '{QUERY}' --csv pipe && wait; "
        f"results {runs} --sql '{QUERY}' --csv >(cat >from_process); sleep 0.5; "
        f"results {runs} --sql '{QUERY}' --csv /dev/stdout >from_stdout; "
        f"results {runs} --sql '{QUERY}' --parquet >(cat >from.parquet); sleep 0.5; "
        f"results {runs} --sql '{QUERY}' --csv link.csv",
        folder,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    for name in ("from_pipe", "from_process", "from_stdout", "target.csv"):
        assert (folder / name).read_bytes() == expected, name
    assert pl.read_parquet(folder / "from.parquet").height == 3
    assert (folder / "link.csv").is_symlink()
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert stat.S_IMODE((folder / "target.csv").stat().st_mode) == 0o600


def test_two_tables_cannot_be_written_to_one_output(runs: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(runs, "--csv", "-", "--parquet", "-") == 1
    assert "--csv and --parquet are both -" in capsys.readouterr().err


def test_cells_and_titles_are_never_formulas(runs: pathlib.Path) -> None:
    call(runs, "--sql", QUERY, "--csv", runs.parent / "file.csv")
    header, *lines = csv.reader(io.StringIO((runs.parent / "file.csv").read_text()))
    assert header == ["name", "seed", "path", "'=loss", "below"]
    assert [line[:2] + line[3:] for line in lines] == [["'=cnn", str(seed), "0.5", "-1.5"] for seed in range(3)]


def test_a_pipe_gets_every_column_and_the_complete_text(runs: pathlib.Path) -> None:
    text = "x" * 200
    query = f"SELECT seed, '{text}' || seed AS a, " + ", ".join(f"seed + {i} AS column_{i}" for i in range(60))
    done = shell(f'results runs --sql "{query} FROM runs ORDER BY seed"', runs.parent)
    out = done.stdout.decode()
    assert done.returncode == 0
    assert "not shown: " not in out
    assert all(f"{text}{seed}" in out for seed in range(3))
    (row,) = [line for line in out.splitlines() if line.split()[0] == "2"]
    assert row.split() == ["2", f"{text}2", *(str(2 + i) for i in range(60))]
    narrow = shell(f'COLUMNS=80 results runs --sql "{query} FROM runs"', runs.parent).stdout.decode()
    assert "not shown: " in narrow
    assert max(map(len, narrow.splitlines())) <= 80


def test_runs_of_a_copied_folder_count_once(runs: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(runs, runs.parent / "all" / "one")
    shutil.copytree(runs, runs.parent / "all" / "two")
    write_study(runs.parent / "all" / "study", small_study())
    shutil.copytree(runs.parent / "all" / "study", runs.parent / "all" / "study-copy")
    assert len(load(runs.parent / "all").runs) == 6 + 12
    assert call(runs.parent / "all", "--csv", runs.parent / "file.csv") == 0
    assert "9 repeats of the same runs (made with --fresh, or copied): left out" in capsys.readouterr().err
    assert len((runs.parent / "file.csv").read_text().splitlines()) == 1 + 3 + 6


@pytest.fixture
def limited() -> Iterator[None]:
    """Ends the process of a test that waits for a pipe for two minutes."""
    faulthandler.dump_traceback_later(120, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("file", ["metrics.jsonl", "summary.json", "config.json"])
def test_a_named_pipe_in_place_of_a_file_of_a_run_is_named(runs: pathlib.Path, file: str, capsys) -> None:
    path = next(runs.rglob(file))
    path.unlink()
    os.mkfifo(path)
    assert call(runs) == 1
    assert f"{file} is not a regular file" in capsys.readouterr().err


@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("file", ["study.json", "runs.parquet", "curves.parquet"])
def test_a_named_pipe_in_place_of_a_file_of_a_study_is_named(tmp_path: pathlib.Path, file: str, capsys) -> None:
    load(write_study(tmp_path / "study", small_study())).save(tmp_path / "recorded")
    (tmp_path / "recorded" / file).unlink()
    os.mkfifo(tmp_path / "recorded" / file)
    assert call(tmp_path / "recorded") == 1
    assert f"{file} is not a regular file" in capsys.readouterr().err


def test_a_name_of_thousands_of_characters_is_shortened_in_messages(
    tmp_path: pathlib.Path, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    name = "n" * 5000
    for words in (["results", name], ["results", "empty", "--csv", f"{name}/x.csv"], ["compare", name],
                  ["report", name], ["compare", "digits", "--baselines", name, "--add", "lion"]):  # fmt: skip
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code in (1, 2)
        said = capsys.readouterr().err
        assert "n" * 10 in said
        assert len(said) < 2000


@pytest.mark.parametrize("text", ["1e400", "-1e999"])
def test_a_number_beyond_the_range_of_a_float_damages_a_study(tmp_path: pathlib.Path, text: str, capsys) -> None:
    folder = write_study(tmp_path / "study", small_study())
    file = folder / "study.json"
    document = json.loads(file.read_text())
    document["selections"][0]["value"] = 123456.5
    file.write_text(json.dumps(document).replace("123456.5", text))
    assert call(folder) == 1
    assert "study.json is damaged" in capsys.readouterr().err


def test_recording_removes_its_own_leftovers_and_does_not_follow_links(runs: pathlib.Path, capsys) -> None:
    folder = runs.parent / "recorded"
    folder.mkdir()
    (folder / ".jaxopt-bench-0123456789abcdef.tmp").write_text("half")
    (folder / "mine.tmp").write_text("mine")
    assert call(runs, "--record", folder) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["curves.parquet", "mine.tmp", "runs.parquet"]
    (folder / "runs.parquet").rename(runs.parent / "theirs")
    (folder / "runs.parquet").symlink_to(runs.parent / "theirs")
    before = (runs.parent / "theirs").read_bytes()
    assert call(runs, "--record", folder) == 1
    assert "runs.parquet is a symbolic link" in capsys.readouterr().err
    assert (runs.parent / "theirs").read_bytes() == before
