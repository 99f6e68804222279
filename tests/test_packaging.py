"""The wheel contains the experiments and some data sets. Training never imports TensorFlow."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Returns the unpacked wheel."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = out.glob("*.whl")
    zipfile.ZipFile(built).extractall(out / "unpacked")
    return out / "unpacked"


def child(code: str, path: str | pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=120)


def test_experiments_are_found_in_the_wheel(wheel):
    code = "from jaxopt_bench import catalog; print(catalog.experiments_dir(), *catalog.load_folder())"
    done = child(code, wheel)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(wheel / "jaxopt_bench" / "experiments"))
    assert "cifar100_alexnet_adamw" in done.stdout
    assert "digits_vit_mini_adamw" in done.stdout  # from a subfolder


def test_the_wheel_carries_the_digits_with_their_licence(wheel):
    assert (wheel / "jaxopt_bench" / "data" / "digits" / "digits.npz").is_file()
    assert "CC BY 4.0" in (wheel / "jaxopt_bench" / "data" / "digits" / "README.md").read_text()
    assert {path.name for path in wheel.iterdir()} == {"jaxopt_bench", next(wheel.glob("*.dist-info")).name}


def test_the_wheel_carries_the_diamonds_with_their_licence(wheel):
    folder = pathlib.Path("jaxopt_bench", "data", "diamonds")
    assert (wheel / folder / "diamonds.npz").is_file()
    for notice in (wheel / folder / "README.md", *wheel.glob(f"*.dist-info/licenses/{folder}/README.md")):
        assert "Copyright (c) 2022 Hassan Kibirige" in notice.read_text()


def test_the_wheel_carries_the_words_with_their_notice(wheel):
    folder = wheel / "jaxopt_bench" / "data" / "words"
    assert (folder / "words.txt.gz").is_file()
    for notice in (folder / "README.md", *wheel.glob("*.dist-info/licenses/jaxopt_bench/data/words/README.md")):
        assert "Copyright 2000-2011 by Kevin Atkinson" in notice.read_text()
    assert len(list(wheel.glob("*.dist-info/licenses/jaxopt_bench/data/*/README.md"))) >= 3


def test_the_wheel_carries_the_expected_results_of_the_doctor(wheel):
    assert (wheel / "jaxopt_bench" / "doctor" / "expected.npz").is_file()


def test_the_wheel_carries_the_sources_of_the_kernels_and_no_library(wheel):
    folder = pathlib.Path("jaxopt_bench", "kernels")
    sources = {path.name for pattern in ("*.cc", "*.h", "*.py") for path in (ROOT / folder).glob(pattern)}
    assert {path.name for path in (wheel / folder).iterdir()} == sources


def test_training_never_imports_tensorflow_even_if_it_is_installed(tmp_path):
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("raise SystemExit('tensorflow was imported')")
    code = (
        "import importlib.util, sys; assert importlib.util.find_spec('tensorflow')\n"
        "from jaxopt_bench.cli import main\n"
        "main(['run', 'digits_cnn_adamw', '--epochs', '1', '--data-dir', sys.argv[1], '--out', sys.argv[1]])"
    )
    done = child(code, f"{tmp_path}{os.pathsep}{ROOT}", str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout
