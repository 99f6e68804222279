"""The page of a single run."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt8
from PIL import Image as Pillow

from jaxopt_bench import catalog
from jaxopt_bench.experiment import NAMED_PARTS, Experiment, flat_fields, unpack_workload
from jaxopt_bench.formatting import format_duration
from jaxopt_bench.measures import SPLIT_WORDS
from jaxopt_bench.problems import LOSS, Metric, views
from jaxopt_bench.reports.charts.run import SERIES, run_charts
from jaxopt_bench.reports.charts.views import lines_figure, matrix_figure, points_figure
from jaxopt_bench.reports.figure import Figure, file_name, unused_name
from jaxopt_bench.reports.html import Block, Code, Figures, Image, Images, Section, Tabular, Text, Texts
from jaxopt_bench.reports.style import SeriesStyle, assign_styles
from jaxopt_bench.reports.table import NONE, Table
from jaxopt_bench.reports.tables import directions
from jaxopt_bench.results import Results
from jaxopt_bench.runs import EVALUATION, SPLITS, Evaluation, Run

PAIRS = 20
"""The number of most confused pairs in a table."""
MOST_SHOWN = 100
"""The maximum number of images, or texts, of a view on a page."""


def assign_run_styles(evaluation: Evaluation | None) -> dict[str, SeriesStyle]:
    """Returns the styles of the measures of a run, and of the curves in its views."""
    shown = [] if evaluation is None else _views_by_section(evaluation)
    curves = [name for _, found in shown for view in found if isinstance(view, views.Lines) for name in view.lines]
    return assign_styles(list(dict.fromkeys([*SERIES.values(), "gradient", "update", *curves])))


def run_sections(
    run: Run, results: Results, evaluation: Evaluation | None, found: Mapping[str, SeriesStyle]
) -> list[Section]:
    """Returns the sections of the page of one run.

    Args:
      run: the record of the run.
      results: the same record as tables.
      evaluation: the model's predictions for each example, if they were recorded.
      found: see `assign_run_styles`.
    """
    metrics = tuple(sorted(run.problem_metrics, key=lambda metric: metric.name != LOSS))
    charts = run_charts(results.curves, metrics, found)
    blocks = tuple(_result_blocks(run, results.runs.row(0, named=True), metrics))
    sections = [Section("Result", blocks, brief=True)]
    if charts:
        sections.append(Section("Charts", (Figures(tuple(charts)),), brief=True))
    if evaluation is None:
        hint = (
            "This run has no recorded predictions. The command below records them, from the last checkpoint if the run "
            "has one:"
        )
        return [*sections, Section("Predictions", (Text(hint), Code(f"{command(run)} --evaluation")))]
    names = {figure.name for figure in charts}
    for (title, shown), part in zip(_views_by_section(evaluation), ("predictions", "training"), strict=True):
        blocks = tuple(_view_blocks(shown, part, names, found))
        if part == "predictions":
            blocks = (*blocks, Text(_describe_evaluation(evaluation)))
        if blocks:
            sections.append(Section(title, blocks))
    return sections


def command(run: Run) -> str:
    """Returns the command that repeats a run: the experiment's name, and the settings that differ from the catalog.

    If the catalog does not have the experiment, for example because it comes from a user's file, the command begins
    with the experiment of the catalog that needs the fewest flags. The function only reads `config.json`. It does not
    run any code that this file names.
    """
    ours = unpack_workload(run.config["experiment"])
    known = catalog.load_folder()  # find would run a file of that name
    bases = [known[ours["name"]]] if ours["name"] in known else known.values()
    shortest = min((_words_from(base, ours) for base in bases), key=len)
    return shlex.join(shortest)


def _words_from(base: Experiment, ours: Mapping[str, Any]) -> list[str]:
    """Returns the words of the command that trains an experiment, given as JSON, as a changed experiment `base`."""
    words = ["jaxopt-bench", "run", base.name]
    theirs = unpack_workload(json.loads(json.dumps(base.to_json())))  # with lists, as in config.json
    words += _part_flags(NAMED_PARTS, ours, theirs)
    kind = NAMED_PARTS["problem"].get(ours["problem"]["name"])
    if kind is not None:
        words += _part_flags(type(kind).kinds, ours["problem"], theirs["problem"])
    values, others = flat_fields(ours), flat_fields(theirs)
    for name, value in values.items():
        if not name.endswith((".name", ".code")) and value != others.get(name):
            words += _flag(name.replace("_", "-"), value)
    return words


def _part_flags(kinds: Mapping[str, Any], ours: Mapping[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Returns the flags that select other parts, such as another optimizer, and replaces those parts in `theirs`."""
    words: list[str] = []
    for part, table in kinds.items():
        name = ours[part]["name"]
        if name != theirs[part]["name"]:
            words += [f"--{part}", name]
            known_part = table.get(name)  # a user's part is in no table, and the table would run its file
            theirs[part] = {"name": name} | ({} if known_part is None else known_part.to_json())
    return words


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        part, _, field = name.rpartition(".")
        return [f"--{name}"] if value else [f"--{part}.no-{field}" if part else f"--no-{field}"]
    values = value if isinstance(value, (list, tuple)) else [value]
    return [f"--{name}", *map(str, values)]


def _result_blocks(run: Run, row: Mapping[str, Any], metrics: tuple[Metric, ...]) -> Iterator[Block]:
    if row["status"] == "running":
        yield Text(
            "This run is in progress, or was killed. If it was killed, the command below continues it.", lead=True
        )
    else:
        said = [
            f"{row['parameters']:,} parameters" if row["parameters"] is not None else None,
            f"{row['steps']:,} steps" if row["steps"] is not None else None,
            format_duration(row["seconds"]) if row["seconds"] is not None else None,
            f"{row['examples_per_second']:,.0f} examples/s" if row["examples_per_second"] else None,
        ]
        reason = run.divergence
        where = f" {reason[:1].upper()}{reason[1:]}." if reason else ""
        facts = ", ".join(fact for fact in said if fact is not None)
        yield Text(f"{str(row['status']).capitalize()}: {facts}.{where}", lead=True)
        if row["status"] == "completed":
            yield Tabular(_result_table(row, metrics))
    yield Code(command(run))


def _result_table(row: Mapping[str, Any], metrics: tuple[Metric, ...]) -> Table:
    reached = [at for at in ("final", "best") if row[f"{at}.epoch"] is not None]
    columns = ["split", *(f"{at}: {m.words if m.percent else m.title()}" for at in reached for m in metrics)]
    rows, numbers = [], []
    for split in SPLITS:
        cells = [(f"{at}_{m.name}", m, row.get(f"{at}.{split}_{m.name}")) for at in reached for m in metrics]
        rows.append((split.replace("_", ", "), *(metric.format(value) for _, metric, value in cells)))
        numbers.append({"split": split, **{name: value for name, _, value in cells}})
    epochs = ", ".join(f"{at}: epoch {row[f'{at}.epoch']:g}" for at in reached)
    note = f"{epochs}. {directions(metrics)}"
    return Table(
        "results", "Results", tuple(columns), tuple(rows), pl.DataFrame(numbers, infer_schema_length=None), note
    )


def _views_by_section(evaluation: Evaluation) -> list[tuple[str, Sequence[views.View]]]:
    """Returns the titles of two sections with their views: of the last split, and of the first training batch.

    The last split is the test split if it was evaluated.
    """
    split, found = list(evaluation.splits.items())[-1]
    title = f"Predictions on the {SPLIT_WORDS[split]} split"
    return [(title, found.views), ("The first training batch", evaluation.training_views)]


def _view_blocks(
    shown: Sequence[views.View], part: str, names: set[str], found: Mapping[str, SeriesStyle]
) -> Iterator[Block]:
    """Yields the blocks that show views. Consecutive charts are shown side by side."""
    figures: list[Figure] = []
    for view in shown:
        name = unused_name(f"{part}-{file_name(view.title)}", names, "{}-{}")
        names.add(name)
        match view:
            case views.Points():
                figures.append(points_figure(name, view))
                continue
            case views.Lines():
                figures.append(lines_figure(name, view, found))
                continue
        if figures:
            yield Figures(tuple(figures))
            figures = []
        match view:
            case views.Matrix():
                yield Figures((matrix_figure(name, view),))
                if view.confusion:
                    yield Tabular(_confusions_table(name, view))
            case views.Images():
                yield _gallery(view)
            case views.Texts():
                yield Texts(view.title, _first(view.text, len(view.texts), "texts"), tuple(view.texts[:MOST_SHOWN]))
    if figures:
        yield Figures(tuple(figures))


def _gallery(view: views.Images) -> Images:
    captions = view.captions[:MOST_SHOWN]
    pictures = [Image(_png(image), caption, caption) for image, caption in zip(view.images, captions, strict=False)]
    return Images(view.title, _first(view.text, len(view.captions), "images"), tuple(pictures))


def _first(text: str, count: int, what: str) -> str:
    """Returns a view's text, with the number of shown items if some are left out."""
    more = f"The first {MOST_SHOWN} of {count:,} {what} are shown." if count > MOST_SHOWN else ""
    return f"{text} {more}".strip()


def _confusions_table(name: str, view: views.Matrix) -> Table:
    """Returns the pairs of rows that are confused most often."""
    matrix = np.asarray(view.values)
    both = np.triu(matrix + matrix.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:PAIRS]
    rows, numbers = [], []
    for i, j in zip(*np.unravel_index(order, both.shape), strict=True):
        if not both[i, j]:
            break
        one, other = view.rows[int(i)], view.rows[int(j)]
        rows.append((f"{one} and {other}", *(f"{n:,.10g}" for n in (both[i, j], matrix[i, j], matrix[j, i]))))
        numbers.append(
            {
                "first": one,
                "second": other,
                "first_as_second": matrix[i, j].item(),
                "second_as_first": matrix[j, i].item(),
            }
        )
    columns = (f"{view.row_title} pair", "confused", "first as second", "second as first")
    rows = rows or [(NONE, NONE, NONE, NONE)]
    data = pl.DataFrame(numbers, infer_schema_length=None)
    return Table(f"{name}-confused", "Most confused pairs", columns, tuple(rows), data)


def _describe_evaluation(evaluation: Evaluation) -> str:
    """Returns a sentence on the contents of `evaluation.npz`."""
    split, found = list(evaluation.splits.items())[-1]
    said = [f"the statistics {', '.join(found.statistics)}"]
    if found.outputs:
        said.append(f"the outputs {', '.join(f'{n} {list(a.shape)}' for n, a in found.outputs.items())}")
    count = len(found.statistics[LOSS])
    each = f"For each of the {count:,} {SPLIT_WORDS[split]} examples"
    return f"{each}, the file {EVALUATION} contains {' and '.join(said)}."


def _png(image: UInt8[np.ndarray, "height width channels"]) -> str:
    """Returns an image as a data: URL."""
    buffer = io.BytesIO()
    Pillow.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
