"""`jaxopt-bench data`: prepares data sets."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from jaxopt_bench import data
from jaxopt_bench.cli.command import COMPLETED, Command
from jaxopt_bench.cli.flags import bind
from jaxopt_bench.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class PrepareFlags:
    """Prepare a data set for TFDS from its official archive, which is downloaded or is a local copy."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Name of the data set in TFDS."""
    source: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """The official archive, binary or Python version (.tar.gz, .tar, .zip), or the folder with its unpacked files; for
    mnist and fashion_mnist, the folder of the official idx files. Default: download it (cifar10 and cifar100)."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets. Default: $TFDS_DATA_DIR, or TFDS's own default."""


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments after `data`.

    Raises:
      UserError: if the first argument is not `prepare`.
    """
    if words and words[0] in ("-h", "--help"):
        words = ["prepare", *words]
    if not words or words[0] != "prepare":
        raise unknown_name("data command", words[0] if words else "", ["prepare"])
    return bind(prepare, PrepareFlags, "data prepare", words[1:])


def prepare(flags: PrepareFlags) -> int:
    """Prepares a data set and prints its folder."""
    already = data.is_prepared(flags.name, flags.data_dir)
    folder = data.prepare(flags.name, flags.source, flags.data_dir)
    if already:
        unread = "" if flags.source is None else f"; {flags.source} was not read"
        print(
            f"{flags.name} is already prepared{unread}. To prepare it again, remove this folder first:", file=sys.stderr
        )
    print(folder)
    return COMPLETED
