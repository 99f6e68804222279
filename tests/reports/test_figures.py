"""Charts show the numbers of the runs, and are saved as valid SVG, PDF and PNG files."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import re
import statistics
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from PIL import Image

from jaxopt_bench.optimizers import SGD, Choice, Cosine, Space
from jaxopt_bench.problems import Metric
from jaxopt_bench.problems.views import Lines, Matrix, Points
from jaxopt_bench.reports.charts import CHARTS
from jaxopt_bench.reports.charts.curves import test_curve as error_curve
from jaxopt_bench.reports.charts.outcomes import cost, final_results, trade_off
from jaxopt_bench.reports.charts.run import SERIES, run_charts
from jaxopt_bench.reports.charts.search import budget, hyperparameters, sensitivity, settings_map
from jaxopt_bench.reports.charts.views import MOST_DOTS, lines_figure, matrix_figure, points_figure
from jaxopt_bench.reports.figure import COLUMN, Figure
from jaxopt_bench.reports.style import assign_styles
from jaxopt_bench.reports.workload_data import WorkloadData, split_runs, split_study
from jaxopt_bench.study import Contender
from jaxopt_bench.verdict import verdict
from tests.reports.builders import ACCURACY, ENERGY, R2, make_results, make_study
from tests.reports.test_workload_data import loose

NAMES = ("adam", "sgd")


@functools.cache
def subject(metrics: Sequence[Metric] = ACCURACY, **fields: object) -> WorkloadData:
    results, document = make_results(make_study(NAMES), metrics=metrics, **fields)  # type: ignore[arg-type]
    (found,) = split_study(results, document, verdict(results, document))
    return found


def drawn(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def test_the_test_error_is_the_mean_over_seeds_in_percent():
    about = subject()
    rows = drawn(error_curve(about, assign_styles(NAMES))).data["curves"].to_dicts()
    assert len(rows) == 2 * 3
    for row in rows:
        lines = about.curves.filter(
            (pl.col("split") == "test") & (pl.col("series") == row["series"]) & (pl.col("epoch") == row["epoch"])
        )
        errors = [100 * (1 - accuracy) for accuracy in lines["accuracy"]]
        assert row["mean"] == pytest.approx(statistics.fmean(errors))
        margin = 2.7764 * statistics.stdev(errors) / math.sqrt(5)  # Student's t, 4 degrees of freedom
        assert row["high"] - row["mean"] == pytest.approx(margin, rel=1e-4)


def test_every_seed_is_a_dot():
    about = subject()
    for chart in (final_results, trade_off):
        dots = drawn(chart(about, assign_styles(NAMES))).data["dots"]
        assert sorted(zip(dots["series"], dots["seed"], strict=True)) == [
            (n, 5000 + s) for n in NAMES for s in range(5)
        ]
        reached = about.final_runs.sort("series", "seed")["test_accuracy"].to_list()
        assert dots.sort("series", "seed")["value"].to_list() == pytest.approx([100 * value for value in reached])


def test_the_sensitivity_chart_shows_all_trials():
    dots = drawn(sensitivity(subject(), assign_styles(NAMES))).data["dots"]
    assert sorted(dots["learning_rate"].unique()) == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    assert len(dots) == 2 * 4


def test_the_expected_best_of_the_full_budget_is_the_best_trial():
    about = subject()
    rows = drawn(budget(about, assign_styles(NAMES))).data["budgets"].to_dicts()
    for name in NAMES:
        best = about.trials.filter(pl.col("series") == name)["validation_loss"].min()
        assert [row["value"] for row in rows if row["series"] == name][-1] == pytest.approx(best)


@pytest.mark.parametrize(
    ("search", "assumed"), [("random", "The trials are independent draws"), ("sobol", "This assumes that trials are")]
)
def test_the_caption_states_the_assumption_behind_the_expected_best(search, assumed):
    results, document = make_results(make_study(NAMES, search=search))
    (about,) = split_study(results, document, verdict(results, document))
    text = drawn(budget(about, assign_styles(NAMES))).text
    assert assumed in text
    assert "their order can be due to chance" in text


def test_winners_are_drawn_at_their_position_in_the_search_space():
    rows = drawn(hyperparameters(subject(), assign_styles(NAMES))).data["winners"].to_dicts()
    assert [row["share"] for row in rows] == pytest.approx([0.5, 0.5])  # 0.01: the logarithmic middle of 1e-4 and 1
    assert {row["value"] for row in rows} == {"0.01"}


def test_with_several_searches_runs_are_distinct_and_means_match_the_verdict():
    results, document = make_results(make_study(NAMES, repetitions=3))
    found = verdict(results, document)
    (about,) = split_study(results, document, found)
    for chart in (final_results, trade_off, cost):
        figure = drawn(chart(about, assign_styles(NAMES)))
        assert {"search": "search", "seed": "seed"}.items() <= figure.columns.items()
        keys = [name for name in ("series", "phase", "search", "seed") if name in figure.columns]
        dots = figure.data["dots"].filter(pl.col("phase") == "confirmation") if "phase" in keys else figure.data["dots"]
        assert dots.select(keys).is_unique().all()
        assert len(dots) == 2 * 3 * 5
        assert any(tip["field"] == "search" for tip in figure.spec()["layer"][0]["encoding"]["tooltip"])
    means = drawn(trade_off(about, assign_styles(NAMES))).data["means"].to_dicts()
    for row in means:
        standing = found.rankings[0].standing(row["series"])
        assert standing is not None
        assert row["value"] == pytest.approx(100 * standing.results["test_accuracy"].mean)
        assert row["loss"] == pytest.approx(standing.results["train_clean_loss"].mean)
    curve = drawn(error_curve(about, assign_styles(NAMES)))
    assert curve.columns["seeds"] == "searches"
    assert set(curve.data["curves"]["seeds"]) == {3}
    winners = drawn(hyperparameters(about, assign_styles(NAMES))).data["winners"]
    assert len(winners) == 2 * 3


def test_with_several_seeds_per_trial_each_seed_is_a_dot():
    results, document = make_results(make_study(NAMES, trial_seeds=2))
    (about,) = split_study(results, document, verdict(results, document))
    figure = drawn(sensitivity(about, assign_styles(NAMES)))
    assert {"trial": "trial", "seed": "seed"}.items() <= figure.columns.items()
    assert figure.data["dots"].select("series", "trial", "seed").is_unique().all()
    assert len(figure.data["dots"]) == 2 * 4 * 2
    assert "each seed of a trial" in figure.text


def test_winners_among_choices_are_drawn_at_the_position_of_their_choice():
    space = Space({"optimizer.momentum": Choice((0.0, 0.9, 0.99)), "schedule.warmup": Choice((0.0, 1.0))})
    contender = Contender(name="sgd", optimizer=SGD(learning_rate=0.1), schedule=Cosine(), space=space)
    results, document = make_results(make_study(("sgd",), contenders=(contender,)))
    values = {"optimizer.momentum": 0.9, "schedule.warmup": 1.0}
    document = dataclasses.replace(
        document, selections=tuple(dataclasses.replace(s, values=values) for s in document.selections)
    )
    (about,) = split_study(results, document, verdict(results, document))
    data = drawn(hyperparameters(about, assign_styles(("sgd",)))).data
    found = {row["row"]: (row["share"], row["value"]) for row in data["winners"].to_dicts()}
    assert found == {"sgd: momentum": (0.5, "0.9"), "sgd: warmup": (1.0, "1")}
    ends = {row["row"]: (row["low"], row["high"]) for row in data["spaces"].to_dicts()}
    assert ends == {"sgd: momentum": ("0", "0.99"), "sgd: warmup": ("0", "1")}


def test_a_result_of_zero_is_drawn_on_a_linear_axis():
    about = subject()
    zero = pl.when(pl.col("trial") == 2).then(0.0).otherwise("validation_loss").alias("validation_loss")
    about = dataclasses.replace(about, runs=about.runs.with_columns(zero))
    scales = [
        layer["encoding"]["y"]["scale"] for layer in drawn(sensitivity(about, assign_styles(NAMES))).spec()["layer"]
    ]
    assert all(scale.get("type") != "log" for scale in scales)


def tick_labels(svg: str, title: str) -> list[str]:
    """Returns the labels of the axis with this title."""
    axes = [part for part in svg.split('role-axis"') if f">{title}</text>" in part]
    (axis,) = [part for part in axes if "role-axis-label" in part]
    labels = axis.partition("role-axis-label")[2].partition("role-axis-title")[0]
    return re.findall(r">([^<>]+)</text>", labels)


@pytest.mark.parametrize("value", [0.958333, 0.5, 1.0])
def test_an_axis_of_equal_results_has_round_labels(value: float):
    about = subject()
    same = about.runs.with_columns(test_accuracy=pl.lit(value))
    figure = drawn(final_results(dataclasses.replace(about, ranking=None, runs=same), assign_styles(NAMES)))
    labels = tick_labels(figure.svg(assign_styles(NAMES)), "test accuracy (%)")
    assert len(labels) >= 3
    assert all(len(label) <= 5 for label in labels)
    assert float(labels[0]) < 100 * value < float(labels[-1])


def test_the_interval_of_seconds_is_positive_and_drawn_on_a_logarithmic_axis():
    about = subject()
    long = pl.when(pl.col("seed") == 5004).then(60.0).otherwise(0.5).alias("seconds")
    figure = drawn(cost(dataclasses.replace(about, runs=about.runs.with_columns(long)), assign_styles(NAMES)))
    assert figure.data["means"]["low"].min() > 0
    assert all(layer["encoding"]["x"]["scale"].get("type") == "log" for layer in figure.spec()["layer"])


def test_intervals_of_final_results_stay_within_the_range_of_an_accuracy():
    about = subject()
    accuracy = pl.when(pl.col("seed") % 2 == 0).then(1.0).otherwise(0.97)
    runs = about.runs.filter(pl.col("phase") != "finalist").with_columns(test_accuracy=accuracy)
    loose = WorkloadData(
        "loose", about.metrics, about.series, runs.with_columns(phase=pl.lit("run")), about.curves, about.steps
    )
    for each in (loose, dataclasses.replace(about, ranking=None, runs=runs)):
        means = drawn(final_results(each, assign_styles(NAMES))).data["means"]
        assert means["high"].to_list() == [100.0] * len(means)
        assert means["low"].max() < means["mean"].min() < 100


def test_intervals_of_a_studys_results_stay_within_the_range_of_their_metric():
    found = verdict(*make_results(make_study(NAMES, seeds=2), epochs=9, seed=1))
    for standing in found.rankings[0].standings:
        for measure, each in standing.results.items():
            assert each.low >= 0
            assert each.high <= (1 if measure.endswith("accuracy") else math.inf)


def test_a_trial_without_a_finite_result_is_drawn_as_a_cross_at_the_top():
    about = subject()
    lost = pl.when(pl.col("trial") == 2).then(None).otherwise("validation_loss").alias("validation_loss")
    figure = drawn(sensitivity(dataclasses.replace(about, runs=about.runs.with_columns(lost)), assign_styles(NAMES)))
    assert len(figure.data["lost"]) == 2
    assert "Crosses at the top are the 2 that" in figure.text


def test_if_all_runs_diverged_no_chart_except_the_cost_is_drawn():
    about = subject(diverged=NAMES)
    assert [chart(about, assign_styles(NAMES)) for chart in CHARTS if chart.__name__ != "cost"] == [None] * (
        len(CHARTS) - 1
    )


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(NAMES, marks=pytest.mark.slow),
        ("adam, learning_rate 0.001, schedule cosine", "sgd"),
        tuple("abcdefghij"),
    ],
)
def test_saved_figures_fit_a_column_of_a_two_column_page(names: tuple[str, ...], tmp_path: pathlib.Path):
    results, document = make_results(make_study(NAMES))
    (about,) = split_study(results, document, verdict(results, document))
    found = assign_styles(names)
    called = dict(zip(NAMES, names, strict=False))
    for chart in CHARTS:
        figure = chart(about, assign_styles(NAMES))
        if figure is None:
            continue
        tables = {
            name: table.with_columns(pl.col("series").replace(called)) if "series" in table.columns else table
            for name, table in figure.data.items()
        }
        renamed = dataclasses.replace(chart(about, found), data=tables)  # type: ignore[type-var]
        renamed.save(tmp_path, found, ["svg"])
        svg = ElementTree.parse(tmp_path / f"{figure.name}.svg").getroot()
        assert float(svg.attrib["width"]) <= COLUMN + 12, figure.name


def test_files_are_svg_pdf_and_png_of_the_same_size(tmp_path: pathlib.Path):
    found = assign_styles(NAMES)
    drawn(error_curve(subject(), found)).save(tmp_path, found)
    svg = ElementTree.parse(tmp_path / "test-error.svg").getroot()
    width = float(svg.attrib["width"])
    assert "adam" in "".join(svg.itertext())
    assert Image.open(tmp_path / "test-error.png").width / width == pytest.approx(4, rel=0.02)
    pdf = (tmp_path / "test-error.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    boxes = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+)", pdf)
    assert [float(box) for box in boxes] == [pytest.approx(width, abs=1)]


def test_markup_in_names_is_text_in_saved_figures(tmp_path: pathlib.Path):
    names = ("<script>alert(1)</script>", "a&b")
    matrix = Matrix(
        title="matrix", values=[[3, 1], [0, 4]], rows=names, columns=names, row_title="<b>", column_title="<i>"
    )
    matrix_figure("matrix", matrix).save(tmp_path, {}, ["svg"])
    root = ElementTree.parse(tmp_path / "matrix.svg").getroot()
    assert set(root.itertext()) == {*names, "<b>", "<i>"}
    assert {element.tag.rpartition("}")[2] for element in root.iter()}.isdisjoint({"script", "b", "i"})


def test_a_confusion_matrix_has_the_shares_of_each_class():
    names = ("cat", "dog")
    view = Matrix(
        title="m", values=[[3, 1], [0, 4]], rows=names, columns=names, row_title="label", column_title="prediction"
    )
    figure = matrix_figure("m", view)
    assert (figure.columns["row"], figure.columns["share"]) == ("label", "% of the label")
    cells = figure.data["cells"].to_dicts()
    assert {(c["row"], c["column"]): (c["count"], c["share"]) for c in cells} == {
        ("cat", "cat"): (3, 75.0), ("cat", "dog"): (1, 25.0), ("dog", "dog"): (4, 100.0)
    }  # fmt: skip


def test_curves_of_long_runs_are_thinned_and_the_caption_states_it():
    count = 3000
    losses = np.sin(np.arange(count)) + 2
    losses[1234] = 50.0
    lines = pl.DataFrame({"epoch": np.arange(count) / 100, "step": np.arange(count), "seconds": np.ones(count),
                          "split": ["train_steps"] * count, "loss": losses, "accuracy": np.full(count, 0.5),
                          "grad_norm": losses, "update_norm": losses, "learning_rate": losses})  # fmt: skip
    figure = run_charts(lines, ACCURACY, assign_styles([*SERIES.values(), "gradient", "update"]))[0]
    shown = figure.data["lines"]
    assert len(shown) <= 400
    assert shown["value"].max() == 50.0
    assert f"of {count:,} points" in figure.text
    assert "seconds" in shown.columns


@pytest.mark.parametrize("metrics", [ENERGY, R2])
def test_curves_and_results_have_the_units_and_the_direction_of_the_metric(metrics: Sequence[Metric]):
    about = subject(metrics, epochs=5)
    headline, loss = metrics
    title = f"test {headline.title()}"
    curve, results = drawn(error_curve(about, assign_styles(NAMES))), drawn(final_results(about, assign_styles(NAMES)))
    fit = drawn(trade_off(about, assign_styles(NAMES)))
    assert curve.columns["mean"] == results.columns["value"] == fit.columns["value"] == title
    assert fit.columns["loss"] == f"clean training {loss.title()}"
    for row in curve.data["curves"].to_dicts():
        at = (pl.col("split") == "test") & (pl.col("series") == row["series"]) & (pl.col("epoch") == row["epoch"])
        assert row["mean"] == pytest.approx(about.curves.filter(at)[headline.name].mean())
    dots = results.data["dots"].sort("series", "seed")["value"].to_list()
    assert dots == pytest.approx(about.final_runs.sort("series", "seed")[f"test_{headline.name}"].to_list())
    up = headline.higher_is_better
    for text, word in ((curve.text, "Higher" if up else "Lower"), (fit.text, "Up" if up else "Down")):
        assert f"{word} is better" in text
    assert ("Further right is better" in results.text) == up
    rates = drawn(sensitivity(about, assign_styles(NAMES)))
    assert rates.columns["value"] == f"validation {loss.title()}"
    assert "Lower is better" in rates.text


def y_scales(figure: Figure) -> list[dict[str, object]]:
    return [layer["encoding"]["y"].get("scale", {}) for layer in figure.spec()["layer"]]


@pytest.mark.parametrize(("epochs", "expected"), [(4, None), (9, "log")])
def test_curves_are_logarithmic_if_they_span_more_than_a_factor_of_20(epochs: int, expected: str | None):
    about = subject(ENERGY, epochs=epochs)
    figure = drawn(error_curve(about, assign_styles(NAMES)))
    means = figure.data["curves"]["mean"]
    assert (means.max() / means.min() > 20) == (expected == "log")
    assert {scale.get("type") for scale in y_scales(figure)} == {expected}


def test_a_band_below_zero_ends_at_the_axis_of_a_logarithmic_chart(tmp_path: pathlib.Path):
    about = subject(ENERGY[1:], epochs=9)  # a loss without a lower bound
    spread = pl.col("loss") * pl.lit(10.0).pow(pl.col("seed") - 5000)
    figure = drawn(
        error_curve(dataclasses.replace(about, curves=about.curves.with_columns(spread)), assign_styles(NAMES))
    )
    curves = figure.data["curves"]
    assert curves["low"].min() < 0
    least = min(scale["domain"][0] for scale in y_scales(figure))  # type: ignore[index]
    assert curves["bottom"].min() == pytest.approx(least)
    figure.save(tmp_path, assign_styles(NAMES), ["svg"])
    assert "NaN" not in (tmp_path / f"{figure.name}.svg").read_text()


def test_file_names_are_safe_for_any_name_of_a_metric(tmp_path: pathlib.Path):
    metric = dataclasses.replace(ENERGY[0], words="../../Érr or/<b>")
    figure = drawn(error_curve(subject((metric, ENERGY[1])), assign_styles(NAMES)))
    assert figure.name == "test-..-..-érr-or-b"
    assert figure.title == "Test ../../Érr or/<b>"
    figure.save(tmp_path, assign_styles(NAMES), ["svg"])
    assert [path.name for path in tmp_path.iterdir()] == [f"{figure.name}.svg"]


def test_a_run_has_a_chart_of_each_metric():
    lines = pl.DataFrame({"epoch": [1.0, 2.0] * 2, "step": [1, 2] * 2, "seconds": [1.0, 2.0] * 2,
                          "split": ["train_steps"] * 2 + ["test"] * 2, "loss": [30.0, 1.0, 20.0, 2.0],
                          "energy_error": [3.0, 1.0, 2.0, 2.0], "accuracy": [0.25, 0.75, None, 0.5],
                          "grad_norm": [1.0, 1.0] * 2, "update_norm": [0.1, 0.1] * 2,
                          "learning_rate": [0.1, 0.1] * 2})  # fmt: skip
    r2 = Metric(name="r2", greatest=1.0)
    lines = lines.with_columns(r2=pl.Series([0.01, 0.9, 0.02, 0.8]))
    metrics = (*ENERGY, ACCURACY[0], r2, Metric(name="missing"))
    found = {f.name: f for f in run_charts(lines, metrics, assign_styles([*SERIES.values(), "gradient", "update"]))}
    assert list(found) == ["energy_error", "loss", "error", "r2", "learning-rate", "norms"]
    assert [f.columns["value"] for f in found.values()][:3] == ["energy error (meV)", "loss", "error (%)"]
    assert found["error"].data["lines"].sort("value")["value"].to_list() == [25.0, 50.0, 75.0]
    assert {scale.get("type") for scale in y_scales(found["loss"])} == {"log"}
    for name in ("energy_error", "error", "r2"):
        assert {scale.get("type") for scale in y_scales(found[name])} == {None}


def test_a_scatter_plot_has_the_finite_points_and_a_diagonal_over_both_ranges():
    x, y = np.arange(5.0), np.array([0.0, np.nan, np.inf, 9.0, -1.0])
    view = Points(title="p", x=x, y=y, x_title="true (K)", y_title="fitted (K)", diagonal=True)
    figure = points_figure("p", view)
    assert figure.data["points"].rows() == [(0.0, 0.0), (3.0, 9.0), (4.0, -1.0)]
    assert figure.data["diagonal"].rows() == [(-1.0, -1.0), (9.0, 9.0)]
    assert "2 of 5 points are not finite" in figure.text
    assert figure.columns == {"x": "true (K)", "y": "fitted (K)"}
    plain = points_figure("p", dataclasses.replace(view, diagonal=False))
    assert list(plain.data) == ["points"]
    many = Points(title="p", x=np.arange(9999.0), y=np.zeros(9999), x_title="x", y_title="y", diagonal=True)
    drawn_points = points_figure("p", many).data["points"]["x"]
    assert (len(drawn_points), drawn_points.min(), drawn_points.max()) == (MOST_DOTS, 0.0, 9998.0)
    empty = points_figure("p", dataclasses.replace(view, x=[np.nan], y=[1.0]))
    assert len(empty.data["points"]) == 0


def test_curves_of_a_view_omit_values_that_their_axis_cannot_show():
    x = np.linspace(0, 1, 1000)
    curves = {"exact": np.exp(x), "model": np.where(x < 0.5, x, np.nan)}
    view = Lines(title="l", x=x, lines=curves, x_title="t (s)", y_title="u (m)")
    figure = lines_figure("l", view, assign_styles(["exact", "model"]))
    table = figure.data["lines"]
    assert set(table["series"]) == {"exact", "model"}
    assert table.filter(pl.col("series") == "exact")["value"].max() == pytest.approx(np.e)
    assert len(table) <= 800
    assert "500 of 2,000 values are not finite and are left out" in figure.text
    assert figure.columns == {"series": "curve", "x": "t (s)", "value": "u (m)"}
    logarithmic = lines_figure("l", dataclasses.replace(view, logarithmic=True), assign_styles(["exact", "model"]))
    assert "501 of 2,000 values are not positive and finite" in logarithmic.text
    assert logarithmic.spec()["encoding"]["y"]["scale"]["type"] == "log"


def test_rows_of_a_matrix_with_the_same_name_are_kept_apart():
    view = Matrix(
        title="m", values=np.eye(3), rows=["a", "a", "b"], columns=["x", "y", "z"], row_title="r", column_title="c"
    )
    assert matrix_figure("m", view).data["cells"]["row"].to_list() == ["a", "a (2)", "b"]


def test_saved_figures_of_views_fit_a_column_of_a_two_column_page(tmp_path: pathlib.Path):
    x, names = np.linspace(0, 1, 9), [f"a long name {i}" for i in range(30)]
    shared = {"x_title": "x", "y_title": "y"}
    figures = [
        points_figure("points", Points(title="p", x=x, y=x**2, diagonal=True, **shared)),
        lines_figure("lines", Lines(title="l", x=x, lines=dict.fromkeys(names[:9], x), **shared), assign_styles(names)),
        matrix_figure("matrix", Matrix(title="m", values=np.ones((30, 30)), rows=names, columns=names, row_title="r",
                                       column_title="c")),
    ]  # fmt: skip
    for figure in figures:
        figure.save(tmp_path, assign_styles(names), ["svg"])
        svg = ElementTree.parse(tmp_path / f"{figure.name}.svg").getroot()
        assert float(svg.attrib["width"]) <= COLUMN + 12, figure.name


def test_a_sweep_of_two_fields_is_a_map_of_its_settings():
    losses = {(0.01, 0.0): 1.0, (0.01, 0.001): 0.1, (0.1, 0.0): 0.01, (0.1, 0.001): None}
    settings = [
        {
            "optimizer.name": "adam",
            "optimizer.learning_rate": rate,
            "optimizer.weight_decay": decay,
            "final.validation_loss": loss,
            "status": "diverged" if loss is None else "completed",
        }
        for (rate, decay), loss in losses.items()
    ]
    (about,) = split_runs(loose(*settings))
    assert about.varied == ("optimizer.learning_rate", "optimizer.weight_decay")
    figure = drawn(settings_map(about, assign_styles(["adam"])))
    cells = {(row["across"], row["up"]): row for row in figure.data["cells"].to_dicts()}
    values = {key: row["value"] for key, row in cells.items()}
    assert values == {(f"{r:g}", f"{w:g}"): loss and pytest.approx(loss) for (r, w), loss in losses.items()}
    assert cells["0.1", "0.001"]["shown"] == "diverged"
    assert cells["0.1", "0"]["share"] == pytest.approx(1)  # the darkest
    assert cells["0.01", "0.001"]["share"] == pytest.approx(0.5)  # on a logarithmic scale
    assert cells["0.01", "0"]["share"] == pytest.approx(0)
    assert "the mean over seeds of the validation loss" in figure.text
    (other,) = split_runs(loose(*({**setting, "optimizer.weight_decay": 0.0} for setting in settings)))
    assert settings_map(other, assign_styles(["adam"])) is None
    (several,) = split_runs(loose(*({**setting, "optimizer.b1": 0.1 * i} for i, setting in enumerate(settings))))
    assert settings_map(several, assign_styles(["adam"])) is None
