"""Charts over all workloads: their numbers equal the verdict's, and bars of ranks show the critical difference."""

from __future__ import annotations

import itertools
import pathlib
import re
import statistics
from xml.etree import ElementTree

import pytest

from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.problems import Classification
from jaxopt_bench.reports.charts import suite_figures
from jaxopt_bench.reports.figure import COLUMN, PAGE_WIDTH
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.style import GREY, MOST_HUES, assign_styles
from jaxopt_bench.verdict import SuiteVerdict, compute_suite_verdict, verdict
from tests.reports.builders import make_results, make_study, with_document
from tests.verdict.suites import suite

WORKLOADS = ["digits_a", "gap_a", "loss_a", "loss_b", "loss_c", "digits_b"]
NAMES = ["adamw", "sgd", "lion", "adam"]


@pytest.fixture(scope="module")
def found() -> SuiteVerdict:
    """Returns a verdict on a suite in which the first optimizer has the highest quality on every workload."""
    qualities = {
        name: {w: 1.6 - 0.4 * place + 0.1 * (i % 3) for i, w in enumerate(WORKLOADS)}
        for place, name in enumerate(NAMES)
    }
    results, document = suite(qualities)
    together = compute_suite_verdict(results, document, verdict(results, document))
    assert together is not None
    return together


def figures(found: SuiteVerdict) -> dict:
    return {figure.name: figure for figure in suite_figures(found, assign_styles([*found.runs]))}


def test_the_map_has_the_mean_score_of_each_optimizer_on_each_workload(found: SuiteVerdict):
    rows = figures(found)["scores-by-workload"].data["scores"].to_dicts()
    assert len(rows) == len(NAMES) * len(WORKLOADS)
    for row in rows:
        assert row["score"] == pytest.approx(statistics.fmean(found.runs[row["series"]][row["workload"]]))


def test_cells_of_the_saved_map_are_wide_enough_for_their_numbers(found: SuiteVerdict, tmp_path: pathlib.Path):
    figures(found)["scores-by-workload"].save(tmp_path, assign_styles([*found.runs]), ["svg"])
    svg = ElementTree.parse(tmp_path / "scores-by-workload.svg").getroot()
    assert COLUMN < float(svg.attrib["width"]) <= PAGE_WIDTH + 12
    cells = [
        e.attrib["d"] for e in svg.iter() if e.attrib.get("aria-roledescription") == "rect mark" and "d" in e.attrib
    ]
    widths = {float(re.match(r"M[\d.]+,[\d.]+h([\d.]+)", path).group(1)) for path in cells}
    assert min(widths) >= 20  # points; four digits in an 8-point font are about 18 points wide


def test_rank_bars_overlap_if_ranks_differ_by_less_than_the_critical_difference(found: SuiteVerdict):
    rows = figures(found)["ranks"].data["ranks"].to_dicts()
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
    overlapping = set()
    for one, other in itertools.combinations(rows, 2):
        overlaps = one["high"] > other["low"] and other["high"] > one["low"]
        assert overlaps == (abs(one["rank"] - other["rank"]) < found.friedman.critical_difference)
        overlapping.add(overlaps)
    assert overlapping == {True, False}


def test_scores_have_the_intervals_of_the_verdict(found: SuiteVerdict):
    rows = {row["series"]: row for row in figures(found)["scores"].data["scores"].to_dicts()}
    for name, own in found.scores.items():
        assert rows[name]["score"] == own.value
        assert (rows[name]["seeds_low"], rows[name]["seeds_high"]) == (own.over_seeds or (None, None))
        assert (rows[name]["workloads_low"], rows[name]["workloads_high"]) == (own.over_workloads or (None, None))


def test_score_profiles_are_shares_of_runs_that_never_increase(found: SuiteVerdict):
    table = figures(found)["score-profiles"].data["profiles"]
    for name in NAMES:
        shares = table.filter(series=name)["share"].to_list()
        assert shares == sorted(shares, reverse=True)
        assert 0 <= min(shares) <= max(shares) <= 1


def test_with_many_optimizers_only_highlighted_ones_have_colours():
    names = [f"optimizer {i}" for i in range(20)]
    many = assign_styles(names, names[3:6])
    assert {name for name, look in many.items() if look != GREY} == set(names[3:6])
    assert len({many[name].light for name in names[3:6]}) == 3
    few = names[:MOST_HUES]
    assert assign_styles(few, few[:2]) == assign_styles(few)


def test_a_page_starts_with_all_workloads_and_has_a_section_for_each():
    problem = Classification(dataset="digits", model=CNN())
    workloads = tuple(Workload(name=name, problem=problem, epochs=3) for name in WORKLOADS)
    report = report_of(with_document(*make_results(make_study(NAMES, workloads=workloads))), "suite")
    titles = [section.title for section in report.sections]
    assert titles[0] == "The answer over all workloads"
    assert [title for title in titles if title in WORKLOADS] == WORKLOADS
    names = [item.name for item in (*report.figures, *report.tables)]
    assert len(names) == len(set(names))
