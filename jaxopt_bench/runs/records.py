"""`metrics.jsonl`: the metrics of a run, one JSON object per line, and values that are derived from them."""

from __future__ import annotations

import itertools
import json
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from jaxopt_bench.errors import UserError
from jaxopt_bench.files import naming, read_regular, replacing
from jaxopt_bench.strict_json import NUMBER, check_object, parse_json

MetricsLine = dict[str, Any]
_LINE = {"step": int, "split": str, "loss": NUMBER | None, "seconds": NUMBER}
_STEPS = {"steps": int}
SPLITS = ("train", "train_clean", "validation", "test")  # the splits that are measured once per epoch


def read_metrics(path: pathlib.Path) -> list[MetricsLine]:
    """Returns the lines of a metrics file; [] if it is missing. A last line that a crash cut off is ignored.

    Raises:
      UserError: if the path is not a regular file, or if a complete line is not a JSON object with the required fields;
        the message names the line.
    """
    return _parse_metrics(path, _read(path))


def _read(path: pathlib.Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError:
        return b""


def _parse_metrics(path: pathlib.Path, content: bytes) -> list[MetricsLine]:
    records = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):  # text after the last newline is incomplete
        try:
            record = parse_json(line.decode())
        except (ValueError, RecursionError) as error:  # also if it is not UTF-8, or nested too deeply
            raise UserError(f"{path}, line {number} is damaged: it is not JSON ({error}).") from error
        where = f"{path}, line {number}"
        check_object(where, record, _LINE)
        if record["split"] == "train_steps":
            check_object(where, record, _STEPS)
        records.append(record)
    return records


class MetricsFile:
    """An append-only metrics file, with its lines in memory."""

    def __init__(self, path: pathlib.Path, last_step: int | None, recorded: int | None = None):
        """Opens the file and drops the lines that a resumed run will write again.

        Args:
          path: the file; it may be missing.
          last_step: the last step whose lines are kept; None keeps all lines, for a run that has ended.
          recorded: the number of training steps that the kept lines must include; None for any number.

        Raises:
          UserError: if they include another number, or a line is damaged; the file stays unchanged.
        """
        self.path, content = path, _read(path)
        lines = _parse_metrics(path, content)
        self.records = list(itertools.takewhile(lambda r: last_step is None or r["step"] <= last_step, lines))
        found = sum(r["steps"] for r in self.records if r["split"] == "train_steps")
        if recorded is not None and found != recorded:
            raise UserError(
                f"{path} is damaged: it records {found:,} training steps up to the checkpoint from which the run would "
                f"continue, but {recorded:,} were made. Expected: the file of these steps. Restore it from a copy; if "
                f"it is lost, move the folder {path.parent} away and use the same command again, which trains the run "
                "again."
            )
        if path.is_symlink() or not path.exists() or self._content() != content:
            self._replace()

    def append(self, records: Sequence[MetricsLine]) -> None:
        """Writes lines. They are not lost if the process ends; `sync` protects them from a crash of the machine."""
        self.records.extend(records)
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write("".join(map(_line, records)))

    def drop_epoch(self, step: int) -> None:
        """Drops the lines of the evaluation at the end of an epoch, so that all of them can be written together."""
        self.records = [r for r in self.records if r["step"] != step or r["split"] not in SPLITS]
        self._replace()

    def sync(self) -> None:
        """Forces the lines to the disk. This is necessary before each checkpoint that depends on them."""
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            os.fsync(file.fileno())

    def _content(self) -> bytes:
        return "".join(map(_line, self.records)).encode()

    def _replace(self) -> None:
        with replacing(self.path, follow_links=False) as (file, _):
            file.write(self._content())

    def find(self, split: str, step: int) -> MetricsLine | None:
        """Returns the line of a split at a step; None if there is none."""
        return next((r for r in reversed(self.records) if r["split"] == split and r["step"] == step), None)


def mean_over_epoch(records: Sequence[MetricsLine], after_step: int, names: Iterable[str]) -> MetricsLine:
    """Returns the means of metrics over the steps after a step, and the sum of their `seconds`.

    An example is the training loss of an epoch. There must be at least one line of these steps. A mean is None if its
    metric was not finite or was not measured in one of the lines.

    Args:
      records: a run's lines up to the end of the epoch, in the order of their steps. Lines of the split "train_steps"
        are averaged, weighted by their numbers of steps.
      after_step: the last step before the epoch.
      names: the names of the metrics.
    """
    epoch = itertools.takewhile(lambda r: r["step"] > after_step, reversed(records))
    lines = [r for r in epoch if r["split"] == "train_steps"]
    steps = sum(r["steps"] for r in lines)
    means: MetricsLine = {}
    for name in names:
        known = all(r.get(name) is not None for r in lines)
        means[name] = math.fsum(r[name] * r["steps"] for r in lines) / steps if known else None
    return {**means, "seconds": math.fsum(r["seconds"] for r in lines)}


def evaluations(records: Iterable[MetricsLine]) -> int:
    """Returns how often training evaluated the loss and its gradient: once per step, or more with a line search."""
    return sum(round(r.get("evaluations", 1) * r["steps"]) for r in records if r["split"] == "train_steps")


def at_step(records: Iterable[MetricsLine], step: int, names: Sequence[str]) -> dict[str, Any]:
    """Returns the metrics at the end of an epoch as `{split}_{metric}`; None for splits that were not measured there.

    Args:
      records: a run's lines.
      step: the last step of the epoch.
      names: the names of the metrics.
    """
    found = {r["split"]: r for r in records if r["step"] == step and r["split"] in SPLITS}
    return {f"{split}_{name}": found.get(split, {}).get(name) for split in SPLITS for name in names}


def best_step(records: Iterable[MetricsLine]) -> int | None:
    """Returns the step with the lowest validation loss, the earliest of equal ones; None without validation."""
    lines = [r for r in records if r["split"] == "validation" and r["loss"] is not None]
    return min(lines, key=lambda r: r["loss"])["step"] if lines else None


def _line(record: MetricsLine) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
