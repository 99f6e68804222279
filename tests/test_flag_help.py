"""The help of flags: one test for each rule, and one over the help of all commands."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Annotated, Literal

import pytest
import tyro

from jaxopt_bench.cli.entry import parse
from jaxopt_bench.cli.flags import parse_flags


@dataclasses.dataclass(frozen=True)
class Inner:
    """Flags of a part."""

    size: tuple[int, int] | None = None
    """The size in pixels; by default the size of the first image, which is read when the program starts, after all
    other flags."""


@dataclasses.dataclass(frozen=True)
class Flags:
    """Flags of every kind."""

    path: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    rate: float | None = None
    """The rate."""
    kind: Literal["a", "b"] | None = None
    names: tuple[str, ...] = ()
    add: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    text: str = ""
    number: int | None = 3
    set_by_study: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: as in the study)")] = None
    inner: Annotated[Inner, tyro.conf.arg(name="part")] = dataclasses.field(default_factory=Inner)


def parsed(*words: str) -> Flags:
    return parse_flags(Flags, "test", words)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    """Returns the help without frames and line breaks."""
    with pytest.raises(SystemExit) as end:
        parsed("--help")
    assert end.value.code == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_optional_values_are_parsed():
    assert parsed("x") == Flags("x")
    assert parsed("x", "--rate", "0.5").rate == 0.5
    assert parsed("x", "--number", "None").number is None
    assert parsed("x", "--number", "4").number == 4
    assert parsed("x", "--kind", "b").kind == "b"
    assert parsed("x", "--kind", "None").kind is None
    assert parsed("x", "--part.size", "3", "4").inner.size == (3, 4)
    assert parsed("x", "--part.size", "None").inner.size is None
    assert parsed("x", "--add", "one", "--add", "two").add == ("one", "two")


@pytest.mark.parametrize(
    "words", [("x", "--rate", "much"), ("x", "--kind", "c"), ("x", "--part.size", "3"), ("x", "--number", "none")]
)
def test_invalid_values_are_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(*words)
    assert end.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_help_shows_types_without_none_and_only_real_defaults(capsys):
    text = shown(capsys)
    assert "FOLDER" in text
    assert "--rate FLOAT The rate. (optional)" in text
    assert "--kind {a,b} (optional)" in text
    assert "--text STR (optional)" in text
    assert "--names [STR [STR ...]] (optional)" in text
    assert "--add STR (repeatable)" in text
    assert "--number INT (default: 3)" in text
    assert "--set-by-study INT (default: as in the study)" in text
    assert "None" not in text


def test_help_joins_the_lines_of_a_docstring(capsys):
    with pytest.raises(SystemExit):
        parsed("--help")
    lines = [line.strip(" │") for line in capsys.readouterr().out.splitlines()]
    first = next(line for line in lines if "by default the size" in line)
    words = "The size in pixels; by default the size of the first image, which is read when the program starts"
    assert words in " ".join(lines)
    following = lines[lines.index(first) + 1].split()
    assert len(first) + len(following[0]) > 50  # a full line of the terminal, not one of the source code


@pytest.mark.parametrize(
    "words",
    [
        ["run", "digits_cnn_adamw"],
        ["sweep", "digits_cnn_adamw"],
        ["compare"],
        ["compare", "--problem", "classification"],
        ["results"],
        ["report"],
        ["list"],
        ["show"],
        ["data", "prepare"],
        ["optimizers", "show"],
        ["optimizers", "check"],
        ["optimizers", "plot"],
        ["doctor"],
        ["kernels"],
    ],
    ids=" ".join,
)
def test_every_flag_of_every_command_is_described(words, capsys):
    with pytest.raises(SystemExit):
        parse([*words, "--help"])
    text = capsys.readouterr().out
    assert "None" not in text
    assert "(default: )" not in text
    lines = [line.strip("│ ") for line in text.splitlines() if line.startswith("│")]
    for line, following in itertools.pairwise([*lines, ""]):
        if line.startswith("--"):
            described = "  " in line or (following and not following.startswith(("--", "(")))
            assert described, line
