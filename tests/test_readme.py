"""The README and the pages beside the code: their Python blocks run, and their links and names exist."""

from __future__ import annotations

import pathlib
import re
import sys
import tomllib
import types

import polars as pl
import pytest
from scipy import stats

from jaxopt_bench import catalog
from jaxopt_bench.problems.checks import check_problem
from jaxopt_bench.results import load
from jaxopt_bench.study import STUDIES

ROOT = pathlib.Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in ("README.md", "experiments/**/README.md", "jaxopt_bench/**/README.md")
    for path in sorted(ROOT.glob(pattern))
    if path.parent.parent.name != "data"  # the sources of single data sets
}
README = PAGES["README.md"]
TEXT = "\n".join(PAGES.values())
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_readme_fits_on_two_screens():
    assert len(README) <= 9_000


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_and_pictures_exist(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGES[page]) + re.findall(r'src="([^":]+)"', PAGES[page])
    folder = (ROOT / page).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_the_readme_links_to_every_page_beside_code():
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", README)}
    pages = {
        (ROOT / page).resolve()
        for page in PAGES
        if page != "README.md" and "/data/" not in page.removesuffix("/README.md")
    }
    assert pages - linked == set()


def test_the_pages_contain_python_blocks():
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.strip().splitlines()[0], marks=[pytest.mark.slow] if "run_study(" in block else [])
        for block in BLOCKS
    ],
)
def test_python_blocks_run(block, tmp_path, digits_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.setenv("TFDS_DATA_DIR", str(digits_dir))
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)  # dataclasses look up their annotations in it
    path = tmp_path / "block.py"
    path.write_text(block, encoding="utf-8")
    module.__file__ = str(path)
    exec(compile(block, path, "exec"), vars(module))


def test_the_example_of_a_problem_is_accepted():
    names: dict = {}
    exec(next(block for block in BLOCKS if "def line(" in block), names)
    problem = names["line"](noise=0.2)
    check_problem(problem, "the README's problem")
    assert problem.headline.title("test") == "test absolute error"


def test_the_table_of_digits_agrees_with_the_recorded_study():
    runs = load(ROOT / "experiments" / "results" / "digits").runs.filter(pl.col("phase") == "confirmation")
    page = PAGES["experiments/README.md"]
    first = page.partition("| optimizer | test accuracy | clean training loss |")[2].partition("\n\n")[0]
    shown = {line.split("|")[1].partition(",")[0].strip().lower(): line for line in first.splitlines()[2:]}
    recorded = {}
    for (name,), own in runs.group_by("contender"):
        accuracy = 100 * own["final.test_accuracy"].to_numpy()
        half = stats.t.ppf(0.975, len(accuracy) - 1) * stats.sem(accuracy)
        mean, loss = accuracy.mean(), own["final.train_clean_loss"].to_numpy().mean()
        recorded[name] = f"{mean:.2f}% ({mean - half:.2f} to {mean + half:.2f}) | {loss:.4f} |"
    assert shown.keys() == recorded.keys()
    assert {name: line for name, line in shown.items() if not line.endswith(f"| {recorded[name]}")} == {}


def test_every_experiment_and_study_in_the_pages_exists():
    named = set(re.findall(r"\b(?:digits|cifar10|cifar100)_[a-z0-9_]+\b", TEXT))
    studies = STUDIES.load_folder()
    known = {*catalog.load_folder(), *studies, *(w.name for study in studies.values() for w in study.workloads)}
    assert named
    assert {name for name in named - known if not name.endswith(("_", "_mine"))} == set()


def test_every_make_target_in_the_pages_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", TEXT)) <= targets


CONTRIBUTORS = (ROOT / "jaxopt_bench" / "README.md").read_text(encoding="utf-8")


def test_the_documented_import_layers_are_the_checked_ones():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    table = CONTRIBUTORS.partition("## Layout")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_]+)(?:/|\.py)`", "".join(row.split("|")[1] for row in re.findall(r"\|.*", table)))
    assert sorted(named) == sorted(name for layer in layers for name in layer.split(" | ") if name != "__main__")
    order = {name: at for at, layer in enumerate(layers) for name in layer.split(" | ")}
    assert [order[name] for name in named] == sorted(order[name] for name in named)


def test_the_documented_modules_of_runs_exist():
    table = CONTRIBUTORS.partition("## `runs/`")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z_]+\.py)`", "".join(row.split("|")[1] for row in re.findall(r"\|.*", table)))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "jaxopt_bench" / "runs" / name).exists()] == []
