"""Measures the time of a report and the size of its page: `python -m experiments.speed.reports [--runs 10 100 1000]`.

It repeats the recorded runs of the digits study, stretches their curves to the number of epochs of a long training, and
saves them as results. Then it does the same as `jaxopt-bench report`. If Playwright and Chromium are installed, it also
measures the time in which the page draws all of its charts, one after the other like for a reader who scrolls, and the
time in which it switches an optimizer off in all charts.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
import tyro

from jaxopt_bench.reports.report import PAGE, report_of, write
from jaxopt_bench.results import Results, load
from jaxopt_bench.study import Document

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RECORDED = pathlib.Path(__file__).parents[1] / "results" / "digits"


@dataclasses.dataclass(frozen=True)
class Flags:
    """Measure the time to build reports, and their sizes."""

    runs: tuple[int, ...] = (10, 100, 1000)
    """Numbers of runs in a study."""
    epochs: int = 300
    """The number of epochs of their curves."""


def made(recorded: Results, count: int, epochs: int) -> Results:
    """Returns the results of a study of about `count` runs: half of them are trials, half are confirmations."""
    (document,) = recorded.documents
    names = [c.name for c in document.study.contenders][: max(2, min(5, count // 20))]
    each = count // (2 * len(names))
    runs, curves = [], []
    for name, phase in itertools.product(names, ("trial", "confirmation")):
        own = recorded.runs.filter(pl.col("contender") == name, pl.col("phase") == phase)
        for index, row in zip(range(each), itertools.cycle(own.iter_slices(1))):
            path = f"{name}/{phase}/{index}"
            lines = recorded.curves.filter(pl.col("path") == row["path"][0])
            own_fields = {"trial": index} if phase == "trial" else {"seed": 5000 + index}
            runs.append(row.with_columns(path=pl.lit(path), **{k: pl.lit(v, pl.Int64) for k, v in own_fields.items()}))
            curves.append(stretched(lines, epochs).with_columns(path=pl.lit(path)).select(lines.columns))
    study = dataclasses.replace(document.study.only(contenders=names), trials=each, seeds=each)
    kept = tuple(s for s in document.selections if s.contender in names)
    return Results(pl.concat(runs), pl.concat(curves), (Document(study, selections=kept, timings=document.timings),))


def stretched(lines: pl.DataFrame, epochs: int) -> pl.DataFrame:
    """Returns the metrics of a run at the ends of epochs, stretched to a larger number of epochs."""
    parts = []
    for (split,), own in lines.filter(pl.col("split") != "train_steps").group_by("split"):
        ends = own.sort("step")
        at = np.linspace(0, len(ends) - 1, epochs)
        values = {
            name: np.interp(at, np.arange(len(ends)), ends[name].fill_null(0.0).to_numpy())
            for name in ("loss", "accuracy", "seconds")
        }
        when = {"split": [split] * epochs, "step": 40 * np.arange(1, epochs + 1), "epoch": np.arange(1.0, epochs + 1)}
        parts.append(pl.DataFrame({**when, **values}))
    return pl.concat([lines.clear(), *parts], how="diagonal_relaxed")


def drawing(page_file: pathlib.Path) -> Iterator[tuple[str, float]]:
    """Yields the name of each browser task and its seconds; nothing if there is no browser."""
    chromium = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if chromium is None:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[] if os.geteuid() else ["--no-sandbox"])
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(page_file.resolve().as_uri())
        for chart in page.locator("[data-figure]").all():
            chart.scroll_into_view_if_needed()
            chart.locator("svg.marks").wait_for()
        yield "draw all charts", time.perf_counter() - began
        began = time.perf_counter()
        page.locator("[data-series]").first.click()
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        yield "switch one off", time.perf_counter() - began
        browser.close()


def main() -> None:
    """Runs the measurements that the command line requests."""
    flags = tyro.cli(Flags, prog="python -m experiments.speed.reports")
    recorded = load(RECORDED)
    for count in flags.runs:
        with tempfile.TemporaryDirectory() as scratch:
            folder = pathlib.Path(scratch)
            made(recorded, count, flags.epochs).save(folder / "results")
            began = time.perf_counter()
            results = load(folder / "results")
            loaded = time.perf_counter()
            report = report_of(results, "made")
            built = time.perf_counter()
            write(report, folder / "out")
            written = time.perf_counter()
            size = (folder / "out" / PAGE).stat().st_size
            seen = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in drawing(folder / "out" / PAGE))
        print(
            f"{len(results.runs):,} runs, {len(results.curves):,} lines: load {loaded - began:.1f} s, build "
            f"{built - loaded:.1f} s, write {written - built:.1f} s ({len(report.figures)} figures); page "
            f"{size / 1e6:.2f} MB" + (f"; in Chromium: {seen}" if seen else "")
        )


if __name__ == "__main__":
    main()
