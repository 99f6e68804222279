"""`jaxopt-bench data`: data sets, got ready."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxopt_bench import data
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class PrepareFlags:
    """Prepare a data set for TFDS: from its official archive, downloaded or at hand."""

    name: tyro.conf.Positional[str]
    """A data set by its name in TFDS."""
    source: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """The official binary archive (.tar.gz) or the folder it unpacks to; downloaded where not given."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; else $TFDS_DATA_DIR, else TFDS's own default."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command that the words after `data` ask for.

    Raises:
      UserError: for another one than `prepare`.
    """
    if words and words[0] in ("-h", "--help"):
        words = ["prepare", *words]
    if not words or words[0] != "prepare":
        raise unknown_name("data command", words[0] if words else "", ["prepare"])
    return bind(prepare, PrepareFlags, "data prepare", words[1:])


def prepare(flags: PrepareFlags) -> int:
    """Prepares a data set and prints where it is."""
    print(data.prepare(flags.name, flags.source, flags.data_dir))
    return COMPLETED
