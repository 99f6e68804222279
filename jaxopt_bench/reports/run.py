"""The page of a single run."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt8
from PIL import Image as Pillow

from jaxopt_bench import catalog
from jaxopt_bench.config import flattened
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.reports.charts.run import SPLITS, confusion, run_charts
from jaxopt_bench.reports.html import Block, Code, Figures, Image, Images, Section, Tabular, Text
from jaxopt_bench.reports.style import Look, looks
from jaxopt_bench.reports.tables import NONE, Table
from jaxopt_bench.results import Results
from jaxopt_bench.runs import SPLITS as MEASURED
from jaxopt_bench.runs import Evaluation, Run, format_accuracy, format_duration, format_loss

PAIRS = 20
"""Confused pairs of classes that a table names."""


def run_looks() -> dict[str, Look]:
    """Returns the looks of what is measured of a run."""
    return looks([*SPLITS.values(), "gradient", "update"])


def run_sections(run: Run, results: Results, evaluation: Evaluation | None, found: Mapping[str, Look]) -> list[Section]:
    """Returns what a page says of one run.

    Args:
      run: its record.
      results: the same as tables.
      evaluation: what its network makes of each example, where that was recorded.
      found: see `run_looks`.
    """
    charts = run_charts(results.curves, found)
    sections = [Section("Result", tuple(_result(run, results.runs.row(0, named=True))))]
    if charts:
        sections.append(Section("Charts", (Figures(tuple(charts)),)))
    if evaluation is None:
        hint = "This run has recorded no predictions. This records them, from its checkpoint where there is one:"
        return [*sections, Section("Predictions", (Text(hint), Code(f"{command(run)} --evaluation")))]
    return [*sections, *_predictions(evaluation)]


def command(run: Run) -> str:
    """Returns the command that repeats a run: its experiment's name, and what differs from that in the catalog.

    It is read off `config.json`, and of what that names nothing is run.
    """
    ours = run.config["experiment"]
    words = ["jaxopt-bench", "run", ours["name"]]
    known = catalog.load_folder().get(ours["name"])  # find would run a file of that name
    if known is None:
        return shlex.join(words)
    theirs = known.to_json()
    for part, table in Experiment.kinds.items():
        name = ours[part]["name"]
        if name != theirs[part]["name"]:
            words += [f"--{part}", name]
            known_part = table.get(name)  # a user's own is in no table, and asking the table for it would run its file
            theirs[part] = {"name": name} | ({} if known_part is None else known_part.to_json())
    values, others = flattened(ours), flattened(theirs)
    for name, value in values.items():
        if not name.endswith((".name", ".code")) and value != others.get(name):
            words += _flag(name.replace("_", "-"), value)
    return shlex.join(words)


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        part, _, field = name.rpartition(".")
        return [f"--{name}"] if value else [f"--{part}.no-{field}" if part else f"--no-{field}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"--{name}", *map(str, values)]


def _result(run: Run, row: Mapping[str, Any]) -> Iterator[Block]:
    if row["status"] == "running":
        yield Text("This run is under way, or was killed; the same command continues it.", lead=True)
    else:
        said = [
            f"{row['parameters']:,} parameters" if row["parameters"] is not None else None,
            f"{row['steps']:,} steps" if row["steps"] is not None else None,
            format_duration(row["seconds"]) if row["seconds"] is not None else None,
            f"{row['images_per_second']:,.0f} images/s" if row["images_per_second"] else None,
        ]
        reason = run.divergence
        where = f" {reason[:1].upper()}{reason[1:]}." if reason else ""
        facts = ", ".join(fact for fact in said if fact is not None)
        yield Text(f"{str(row['status']).capitalize()}: {facts}.{where}", lead=True)
        if row["status"] == "completed":
            yield Tabular(_result_table(row))
    yield Code(command(run))


def _result_table(row: Mapping[str, Any]) -> Table:
    reached = [at for at in ("final", "best") if row[f"{at}.epoch"] is not None]
    columns = ["split", *(f"{at}: {what}" for at in reached for what in ("loss", "accuracy"))]
    rows, numbers = [], []
    for split in MEASURED:
        values = {f"{at}_{what}": row[f"{at}.{split}_{what}"] for at in reached for what in ("loss", "accuracy")}
        cells = [(format_loss if name.endswith("loss") else format_accuracy)(value) for name, value in values.items()]
        rows.append((split.replace("_", ", "), *cells))
        numbers.append({"split": split, **values})
    note = ", ".join(f"{at}: epoch {row[f'{at}.epoch']:g}" for at in reached) + "; losses in nats."
    return Table(
        "results", "Results", tuple(columns), tuple(rows), pl.DataFrame(numbers, infer_schema_length=None), note
    )


def _predictions(evaluation: Evaluation) -> Iterator[Section]:
    names = evaluation.class_names
    split, found = list(evaluation.splits.items())[-1]  # test, where it was evaluated
    matrix = np.zeros((len(names), len(names)), np.int64)
    known = found.predictions >= 0
    np.add.at(matrix, (found.labels[known], found.predictions[known]), 1)
    blocks: tuple[Block, ...] = (Figures((confusion(matrix, names, split),)), Tabular(_confused(matrix, names)))
    if not known.all():
        lost = f"{np.sum(~known):,} of {len(known):,} examples have no prediction: their largest logit is not finite."
        blocks = (Text(lost), *blocks)
    yield Section(f"Predictions on the {split} split", blocks)
    guesses = ["no class" if found.predictions[row] < 0 else names[found.predictions[row]] for row in found.mistakes]
    labels = [names[found.labels[row]] for row in found.mistakes]
    wrong = tuple(
        Image(_png(image), f"{label}, taken for {guess}", f"{label}, taken for {guess}; loss {loss:.1f}")
        for image, label, guess, loss in zip(
            found.mistake_images, labels, guesses, found.losses[found.mistakes], strict=True
        )
    )
    blocks = (
        (Text(f"The {len(wrong)} wrong answers with the highest losses."), Images(wrong)) if wrong
        else (Text("There are no wrong answers."),)
    )  # fmt: skip
    yield Section("The wrongest images", blocks)
    batch = evaluation.batch
    pictures = []
    for label, before, after in zip(batch.labels, batch.images, batch.augmented, strict=True):
        side_by_side = np.concatenate([before, after], axis=1)
        pictures.append(Image(_png(side_by_side), f"{names[label]}, stored and augmented", names[label]))
    said = Text("Images of the first batch: left as they are stored, right as the network saw them.")
    yield Section("Augmented samples", (said, Images(tuple(pictures))))


def _confused(matrix: np.ndarray, names: tuple[str, ...]) -> Table:
    """Returns the pairs of classes that are taken for each other most often."""
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:PAIRS]
    rows, numbers = [], []
    for i, j in zip(*np.unravel_index(order, both.shape), strict=True):
        if not both[i, j]:
            break
        rows.append((f"{names[i]} and {names[j]}", f"{both[i, j]:,}", f"{matrix[i, j]:,}", f"{matrix[j, i]:,}"))
        numbers.append(
            {
                "first": names[i],
                "second": names[j],
                "first_as_second": int(matrix[i, j]),
                "second_as_first": int(matrix[j, i]),
            }
        )
    columns = ("classes", "confused", "first as second", "second as first")
    rows = rows or [(NONE, NONE, NONE, NONE)]
    return Table(
        "confused", "Most confused pairs", columns, tuple(rows), pl.DataFrame(numbers, infer_schema_length=None)
    )


def _png(image: UInt8[np.ndarray, "height width channels"]) -> str:
    """Returns an image as a data: URL."""
    buffer = io.BytesIO()
    Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
