"""The language of docstrings and comments: words of inverted sentences cannot become frequent again."""

from __future__ import annotations

import ast
import functools
import io
import pathlib
import re
import tokenize

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "jaxopt_bench"
ROOMS = [
    *sorted(f"jaxopt_bench/{path.name}" for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))),
    *("experiments/numerics", "experiments/speed", "experiments/studies", "experiments/suite"),
    *sorted(f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if any(path.glob("test_*.py"))),
]
"""Folders that are counted with their subfolders. Files beside them are counted together, as `*.py` of their folder."""
BESIDE = ["jaxopt_bench/*.py", "experiments/*.py", "tests/*.py"]
MOST = 2
"""The largest number of times that each of the words may occur per 1,000 words."""


def texts(source: str) -> list[str]:
    """Returns the docstrings and comments of a file."""
    strings = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [*strings, *(token.string for token in tokens if token.type == tokenize.COMMENT)]


@functools.cache
def words_of(room: str) -> list[str]:
    """Returns the words of the docstrings and comments in a room."""
    files = ROOT.glob(room) if room in BESIDE else (ROOT / room).rglob("*.py")
    return [
        found for file in files for text in texts(file.read_text()) for found in re.findall(r"[a-z']+", text.lower())
    ]


@pytest.mark.parametrize("word", ["what", "where"])
@pytest.mark.parametrize("room", [*ROOMS, *BESIDE])
def test_sentences_name_their_nouns_and_conditions(room: str, word: str):
    """For "what it recorded" write "the results", and for "where it is absent" write "if it is absent"."""
    words = words_of(room)
    assert len(words) > 50
    assert words.count(word) <= MOST * len(words) / 1000


def test_docstrings_and_comments_are_found():
    source = '"""A module."""\nx = 1  # a number\n"""What x is."""\ny = "not a docstring"\n'
    assert texts(source) == ["A module.", "What x is.", "# a number"]
