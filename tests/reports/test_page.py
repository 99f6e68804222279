"""The HTML page in a real browser: by mouse, by keyboard, for screen readers (axe), on narrow screens, and offline."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page

from jaxopt_bench import Experiment, Run
from jaxopt_bench.errors import UserError
from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, SGD
from jaxopt_bench.problems import PROBLEMS, Classification, Metric
from jaxopt_bench.problems.views import Images, Matrix, Texts
from jaxopt_bench.reports import html
from jaxopt_bench.reports.html import Report, Section
from jaxopt_bench.reports.html import page as html_of
from jaxopt_bench.reports.report import report_of
from jaxopt_bench.reports.run import _view_blocks, assign_run_styles, command
from jaxopt_bench.results import Results, load
from jaxopt_bench.runs import SPLITS, Options, Recording, Reporter, load_evaluation, train
from jaxopt_bench.study import Target, Timing
from tests.copies import copied
from tests.problems.springs import Springs
from tests.reports.builders import ENERGY, R2, make_results, make_study, with_document
from tests.results.directories import change_experiment

Open = Callable[..., Page]
NAMES = ["adam", "sgd", "nadam"]


@pytest.fixture
def opened(browser: Browser, tmp_path: pathlib.Path) -> Iterator[Open]:
    """Returns a function that opens a page; at the end, checks that no page logged anything or sent a request."""
    heard: list[str] = []
    pages: list[Page] = []

    def open_page(shown: Results | Report, name: str = "made", **context: object) -> Page:
        file = tmp_path / "index.html"
        report = shown if isinstance(shown, Report) else report_of(shown, name)
        file.write_text(html_of(report), encoding="utf-8")
        page = browser.new_page(**context)  # type: ignore[arg-type]
        pages.append(page)
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(f"request: {request.url}"))
        page.goto(file.as_uri())
        heard.remove(f"request: {file.as_uri()}")
        return page

    yield open_page
    for page in pages:
        page.close()
    assert heard == []


@pytest.fixture(scope="module")
def study() -> Results:
    """Returns a study of one workload."""
    return with_document(*make_results(make_study(NAMES, question="Which one?")))


@pytest.fixture(scope="module")
def two() -> Results:
    """Returns a study of two workloads with targets."""
    workloads = [
        Workload(name=name, problem=Classification(dataset="digits", model=CNN()), epochs=3) for name in ("one", "two")
    ]
    targets = [Target(workload=name, measure="validation_accuracy", value=0.3) for name in ("one", "two")]
    made = make_study(NAMES, workloads=tuple(workloads), targets=tuple(targets), question="Which one?")
    results, document = make_results(made)
    timings = [Timing(w, c, 0.1, {}) for w in ("one", "two") for c in NAMES]
    return with_document(results, dataclasses.replace(document, timings=tuple(timings)))


def drawn(page: Page) -> list[Locator]:
    """Scrolls through the page and returns its charts once all are drawn."""
    charts = page.locator("[data-figure]").all()
    for chart in charts:
        chart.scroll_into_view_if_needed()
        chart.locator("svg.marks").wait_for()
    page.wait_for_function("document.querySelectorAll('[data-figure]:not([data-drawn])').length === 0")
    return charts


def drawn_chart(page: Page, name: str) -> Locator:
    """Scrolls to a chart and returns it once it is drawn."""
    chart = page.locator(f"#{name}")
    chart.scroll_into_view_if_needed()
    chart.locator("svg.marks").wait_for()
    return chart


def marks(chart: Locator) -> int:
    return chart.locator("svg.marks path").count()


def test_every_chart_is_drawn(opened: Open, two: Results):
    charts = drawn(opened(two))
    names = {chart.get_attribute("data-figure") for chart in charts}
    per_workload = {
        "training-loss", "test-error", "validation-error", "clean-training-loss", "trade-off", "final-results",
        "learning-rate", "budget", "hyperparameters", "time-to-target", "cost",
    }  # fmt: skip
    together = {"scores-by-workload", "scores", "ranks", "score-profiles", "profiles"}
    assert names == {f"{w}-{name}" for w in ("one", "two") for name in per_workload} | together
    assert all(marks(chart) for chart in charts)


def test_the_legend_switches_optimizers_off_and_on_by_mouse_and_by_keyboard(opened: Open, study: Results):
    page = opened(study)
    chart = drawn_chart(page, "final-results")
    everyone = marks(chart)
    button = page.get_by_role("button", name="sgd")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    page.wait_for_function("n => document.querySelectorAll('#final-results svg.marks path').length < n", arg=everyone)
    button.focus()
    page.keyboard.press("Space")
    assert button.get_attribute("aria-pressed") == "true"
    page.wait_for_function("n => document.querySelectorAll('#final-results svg.marks path').length === n", arg=everyone)
    page.locator("body").click(position={"x": 2, "y": 2})
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    # The first Tab focuses a link that skips the legend.
    assert page.evaluate("document.activeElement.dataset.series") == "0"


def test_an_optimizer_that_is_switched_off_is_not_drawn_in_later_charts(opened: Open, study: Results):
    page = opened(study)
    page.get_by_role("button", name="sgd").click()
    chart = drawn_chart(page, "final-results")
    assert "sgd" not in (chart.locator("svg.marks").text_content() or "")


def test_the_time_axis_and_the_scale_of_curves_can_be_chosen(opened: Open, study: Results):
    page = opened(study)
    chart = drawn_chart(page, "training-loss")

    def ticks() -> str:
        return chart.locator("svg.marks").text_content() or ""

    assert "epoch" in ticks()
    for value, title in (("step", "30"), ("seconds", "seconds of training")):
        page.locator("#clock").select_option(value)
        page.wait_for_function(
            "t => document.querySelector('#training-loss svg.marks').textContent.includes(t)", arg=title
        )
    linear = chart.locator("svg.marks").inner_html()
    page.locator("#scale").select_option("log")
    page.wait_for_function(
        "before => document.querySelector('#training-loss svg.marks').innerHTML !== before", arg=linear
    )


def test_a_logarithmic_curve_omits_points_at_zero_and_states_their_number(opened: Open):
    results, document = make_results(make_study(["adam", "sgd"]))
    last = (pl.col("epoch") == 3.0) & (pl.col("split") == "train")
    curves = results.curves.with_columns(pl.when(last).then(0.0).otherwise("loss").alias("loss"))
    page = opened(with_document(dataclasses.replace(results, curves=curves), document))
    chart = drawn_chart(page, "training-loss")
    page.locator("#scale").select_option("log")
    chart.get_by_text("2 points at zero or below have no logarithm").wait_for()
    assert "NaN" not in chart.locator("svg.marks").inner_html()


def test_smoothing_changes_the_curves(opened: Open, study: Results):
    page = opened(study)
    before = drawn_chart(page, "training-loss").locator("svg.marks").inner_html()
    page.locator("#smoothing").focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "before => document.querySelector('#training-loss svg.marks').innerHTML !== before", arg=before
    )


def test_pointing_at_a_curve_shows_its_numbers(opened: Open, study: Results):
    page = opened(study)
    box = drawn_chart(page, "training-loss").locator("svg.marks").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
    tip = page.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "training loss" in tip.inner_text()


def test_ctrl_and_the_wheel_zoom_dragging_pans_and_a_double_click_resets(opened: Open, study: Results):
    page = opened(study)
    chart = drawn_chart(page, "trade-off").locator("svg.marks")
    box = chart.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def ticks() -> list[str]:
        return sorted(chart.locator(".role-axis-label text").all_text_contents())

    def changed(before: list[str]) -> list[str]:
        page.wait_for_function(
            """before => JSON.stringify([...document.querySelectorAll('#trade-off svg.marks .role-axis-label text')]
                .map(text => text.textContent).sort()) !== JSON.stringify(before)""",
            arg=before,
        )
        return ticks()

    first = ticks()
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    zoomed = changed(first)
    page.mouse.down()
    page.mouse.move(x + 80, y + 60, steps=5)
    page.mouse.up()
    moved = changed(zoomed)
    page.mouse.dblclick(x, y)
    assert changed(moved) == first


def test_the_numbers_of_a_chart_are_a_table_and_a_csv_file(opened: Open, study: Results):
    page = opened(study)
    chart = drawn_chart(page, "final-results")  # charts that are drawn may move the content below them
    chart.get_by_text("Numbers").click()
    chart.locator("table").wait_for()
    assert chart.locator("tbody tr").count() == 15
    for kind in ("csv", "svg", "png"):
        with page.expect_download() as download:
            chart.get_by_role("button", name=kind.upper()).click()
        assert download.value.suggested_filename == f"final-results.{kind}"
        content = pathlib.Path(download.value.path()).read_bytes()
        begins = {"csv": b"optimizer,seed,test accuracy (%)\n", "svg": b"<svg", "png": b"\x89PNG"}[kind]
        assert content.startswith(begins)
    assert content


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), pytest.param("dark", 1280, marks=pytest.mark.slow)])
def test_axe_finds_no_serious_violation_and_nothing_is_wider_than_the_window(
    opened: Open, study: Results, scheme: str, width: int
):
    page = opened(study, color_scheme=scheme, viewport={"width": width, "height": 800})
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("summary").first.click()
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_light_and_dark_themes_differ_and_the_reader_can_choose(opened: Open, study: Results):
    page = opened(study, color_scheme="light")

    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    assert ground() == "rgb(255, 255, 255)"
    page.locator("#theme").select_option("dark")
    assert ground() == "rgb(21, 24, 28)"


@pytest.mark.slow
def test_long_tables_are_printed_completely(opened: Open):
    names = [name for name in OPTIMIZERS if not OPTIMIZERS[name].line_search][:30]
    page = opened(with_document(*make_results(make_study(names))))
    tables = "[...document.querySelectorAll('.table')]"
    hidden = f"{tables}.some(table => table.scrollHeight > table.clientHeight + 1)"
    assert page.evaluate(hidden)
    page.emulate_media(media="print")
    assert not page.evaluate(hidden)


def test_hostile_text_is_shown_as_text(opened: Open):
    hostile = '</script><script>window.hacked = 1</script><img src=x onerror="window.hacked=1">'
    made = make_study(["adam", "sgd"], question=hostile)
    results, document = make_results(made)
    runs = results.runs.with_columns(device=pl.lit(hostile))
    page = opened(with_document(dataclasses.replace(results, runs=runs), document), hostile)
    drawn(page)
    assert page.evaluate("window.hacked") is None
    assert page.locator("header .question").inner_text() == hostile
    assert hostile in page.locator("section").last.inner_text()


def test_hostile_names_of_series_are_shown_as_text(opened: Open):
    hostile = "<img src=x onerror='window.hacked=1'>\"']; datum.x || window.hacked"
    results, _ = make_results(make_study(["adam", "sgd"]))
    runs = results.runs.with_columns(
        *[pl.lit(None, pl.String).alias(name) for name in ("study", "phase", "workload", "contender")],
        pl.col("optimizer.name").replace("sgd", hostile),
    )
    page = opened(dataclasses.replace(results, runs=runs), hostile)
    drawn(page)
    page.locator("[data-series='1']").click()
    assert page.evaluate("window.hacked") is None
    assert any(hostile in text for text in page.locator(".legend button").all_inner_texts())


def test_names_of_data_sets_cannot_place_files_outside_the_report():
    results, _ = make_results(make_study(["adam", "sgd"]))
    none = [pl.lit(None, pl.String).alias(name) for name in ("study", "phase", "workload", "contender")]
    hostile = results.runs.with_row_index().with_columns(
        *none, pl.when(pl.col("index") % 2 == 0).then(pl.lit("../../a")).otherwise(pl.lit(".././a")).alias("dataset")
    )
    report = report_of(dataclasses.replace(results, runs=hostile.drop("index")), "made")
    for shown in (report.figures, report.tables):
        names = [each.name for each in shown]
        assert names
        assert not any("/" in name for name in names)
        assert len(set(names)) == len(names)


def test_two_studies_have_separate_charts_and_tables(two: Results):
    (document,) = two.documents
    other = dataclasses.replace(document, study=dataclasses.replace(document.study, name="other"))
    renamed = two.runs.with_columns(study=pl.lit("other"), path=pl.concat_str(pl.lit("other/"), "path"))
    curves = two.curves.with_columns(path=pl.concat_str(pl.lit("other/"), "path"))
    both = Results(pl.concat([two.runs, renamed]), pl.concat([two.curves, curves]), (document, other))
    report = report_of(both, "both")
    titles = [section.title for section in report.sections]
    assert len(set(titles)) == len(titles)
    for shown in (report.figures, report.tables):
        names = [each.name for each in shown]
        assert len(set(names)) == len(names)
    assert {"made-profiles", "other-profiles"} <= {figure.name for figure in report.figures}


def test_reading_a_run_executes_no_code_that_it_names(
    tiny: Experiment, train_once: Callable[..., list[Run]], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    (whole,) = train_once([tiny], Recording(tensorboard=False))
    path = copied(whole, tmp_path / "runs").path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\nEXPERIMENTS = {}\nf = None\n")
    config = json.loads((path / "config.json").read_text())
    for name, optimizer in (("evil.py", "adamw"), ("digits_cnn_adamw", "evil.py:f"), ("digits_cnn_adamw", "evil:f")):
        path = change_experiment(path, name=name, optimizer={**config["experiment"]["optimizer"], "name": optimizer})
        html_of(report_of(load(path), "run"))
    assert not (tmp_path / "ran").exists()


def test_two_different_studies_with_the_same_name_are_refused():
    results, document = make_results(make_study(["adam", "sgd"]))
    other = dataclasses.replace(document, study=make_study(["adam", "lion"]))
    with pytest.raises(UserError, match=r"two studies are called 'made'. Expected: the folder of one of them"):
        report_of(dataclasses.replace(results, documents=(document, other)), "made")


def test_the_page_of_a_single_run_shows_its_mistakes(
    opened: Open, tiny: Experiment, train_once: Callable[..., list[Run]]
):
    (run,) = train_once([tiny], Recording(evaluation=True))
    path = run.path
    page = opened(load(path))
    drawn(page)
    evaluation = load_evaluation(path)
    assert evaluation is not None
    _, worst = evaluation.splits["test"].views
    assert isinstance(worst, Images)
    section = page.locator("section", has=page.get_by_role("heading", name="Predictions on the test split"))
    wrong = section.locator("img")
    assert wrong.count() == len(worst.images) > 0
    assert all(wrong.nth(i).evaluate("image => image.naturalWidth === 8") for i in range(wrong.count()))
    assert section.locator("#predictions-confusion-matrix").count() == 1
    training = page.locator("section", has=page.get_by_role("heading", name="The first training batch")).locator("img")
    assert training.count() == 32
    assert training.first.evaluate("image => image.naturalWidth === 16")
    before = marks(page.locator("#loss"))
    page.get_by_role("button", name="clean training").click()
    page.wait_for_function("n => document.querySelectorAll('#loss svg.marks path').length < n", arg=before)


@pytest.fixture
def springs(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """Returns a run on a problem without images, labels and accuracy, with views of every kind."""
    monkeypatch.setitem(PROBLEMS, "springs", Springs())
    experiment = Experiment(
        name="springs", workload=Workload(problem=Springs(), epochs=8, batch_size=16), optimizer=SGD(learning_rate=0.1)
    )
    recording = Recording(evaluation=True, log_every=2)
    return train(experiment, Options(runs_dir=tmp_path / "runs", recording=recording, reporter=Reporter())).path


def test_the_page_of_a_run_of_any_problem_has_its_units_and_its_views(opened: Open, springs: pathlib.Path):
    page = opened(load(springs))
    charts = {chart.get_attribute("data-figure"): chart for chart in drawn(page)}
    assert list(charts) == [
        "loss", "rms_error", "learning-rate", "norms", "predictions-kinds-of-forces", "predictions-fitted-forces",
        "predictions-force-and-displacement", "training-forces-in-training",
    ]  # fmt: skip
    assert all(marks(chart) for chart in charts.values())

    def words(name: str) -> str:
        return charts[name].locator("svg.marks").text_content() or ""

    assert "loss (N²)" in words("loss")
    assert "RMS error (N)" in words("rms_error")
    assert "Lower is better" in charts["rms_error"].inner_text()
    for part in ("kind", "fitted kind", "heavy push"):
        assert part in words("predictions-kinds-of-forces")
    for part in ("measured force (N)", "fitted force (N)"):
        assert part in words("predictions-fitted-forces")
    assert "displacement (m)" in words("predictions-force-and-displacement")
    text = page.inner_text("main")
    for part in (
        "Lower loss and lower RMS error are better.", "kind pair", "Left: measured. Right: fitted.", "examples/s",
        "For each of the 50 test examples, the file evaluation.npz contains the statistics loss, squares and ",
        "the outputs force [50], pairs [50, 2]",
    ):  # fmt: skip
        assert part in text
    for absent in ("accuracy", "nats", "images/s"):
        assert absent not in text
    evaluation = load_evaluation(springs)
    assert evaluation is not None
    *_, pictures, lines = evaluation.splits["test"].views
    assert isinstance(pictures, Images)
    assert isinstance(lines, Texts)
    assert page.locator("section .images figcaption").all_inner_texts() == list(pictures.captions)
    assert page.locator(".texts li").all_inner_texts() == list(lines.texts)
    before = marks(charts["predictions-force-and-displacement"])
    page.get_by_role("button", name="fitted", exact=True).click()
    page.wait_for_function(
        "n => document.querySelectorAll('#predictions-force-and-displacement svg.marks path').length < n", arg=before
    )
    found = Axe().run(page).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize("width", [360, 1280])
def test_no_view_is_wider_than_the_window(opened: Open, width: int):
    wide = "x" * 500
    views = (
        Images(title="Wide", images=np.zeros((2, 2, 400, 3), np.uint8), captions=[wide, ""]),
        Texts(title="Wide", texts=[wide, "<b>not bold</b>\nsecond line"]),
    )
    styles = assign_run_styles(None)
    section = Section("Views", tuple(_view_blocks(views, "predictions", set(), styles)))
    page = opened(Report("made", "", (section,), styles), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".texts li").nth(1).inner_text() == "<b>not bold</b>\nsecond line"


@pytest.mark.parametrize("confusion", [True, False])
def test_only_a_confusion_matrix_has_a_table_of_confused_pairs(confusion: bool):
    names = ("a", "b")
    view = Matrix(title="m", values=[[1, 2], [3, 4]], rows=names, columns=names, row_title="first term",
                  column_title="second term", confusion=confusion)  # fmt: skip
    _, *tables = _view_blocks((view,), "predictions", set(), {})
    found = [block.table.rows for block in tables if isinstance(block, html.Tabular)]
    assert found == [(("a and b", "5", "2", "3"),)] * confusion


def test_a_long_view_shows_its_first_texts_and_states_their_number():
    views = (Texts(title="Many", text="All.", texts=["text"] * 1234),)
    (block,) = _view_blocks(views, "predictions", set(), {})
    assert isinstance(block, html.Texts)
    assert (len(block.texts), block.text) == (100, "All. The first 100 of 1,234 texts are shown.")


@pytest.mark.parametrize(("metrics", "splits"), [(ENERGY, SPLITS), (R2, SPLITS[:3]), (ENERGY[1:], SPLITS[:2])])
def test_studies_of_any_problem_are_drawn_with_its_units_and_directions(
    opened: Open, metrics: Sequence[Metric], splits: Sequence[str]
):
    split = {4: "test", 3: "validation", 2: "clean training"}[len(splits)]
    made = make_study(NAMES, claims=(), select=f"{splits[-1] if len(splits) < 4 else 'validation'}_loss")
    results, document = make_results(made, epochs=5, metrics=metrics, splits=splits)
    page = opened(with_document(results, document))
    charts = {chart.get_attribute("data-figure"): chart for chart in drawn(page)}
    headline = metrics[0]
    title = f"{split} {headline.title()}"
    name = f"{split} {headline.words}".replace(" ", "-").lower()
    assert title in (charts[name].locator("svg.marks").text_content() or "")
    assert title in (charts["final-results"].locator("svg.marks").text_content() or "")
    better, side = ("Higher", "right") if headline.higher_is_better else ("Lower", "left")
    assert f"{better} is better" in charts[name].inner_text()
    assert f"Further {side} is better" in charts["final-results"].inner_text()
    assert ("trade-off" in charts) == (split != "clean training")
    if split != "clean training":
        assert title in (charts["trade-off"].locator("svg.marks").text_content() or "")
        assert ("Up is better" if headline.higher_is_better else "Down is better") in charts["trade-off"].inner_text()
    text = page.inner_text("main")
    assert f"lead in {title}" in text
    for absent in ("accuracy", "nats", "images"):
        assert absent not in text


def test_the_page_of_a_run_without_predictions_shows_how_to_record_them(
    opened: Open, tiny: Experiment, train_once: Callable[..., list[Run]]
):
    (run,) = train_once([tiny], Recording(tensorboard=False))
    page = opened(load(run.path))
    drawn(page)
    assert f"{command(run)} --evaluation" in page.inner_text("main")


def test_the_page_of_a_study_without_confirmations_states_it(opened: Open):
    made = make_study(NAMES)
    results, document = make_results(made, confirmed=False)
    page = opened(with_document(results, document))
    drawn(page)
    assert "nothing is confirmed yet" in page.inner_text("main")


def test_the_page_of_a_study_without_runs_has_no_charts(opened: Open):
    made = make_study(NAMES)
    results, document = make_results(made)
    page = opened(
        with_document(dataclasses.replace(results, runs=results.runs.clear(), curves=results.curves.clear()), document)
    )
    assert "nothing is confirmed yet" in page.inner_text("main")
    assert page.locator("[data-figure]").count() == 0


def test_a_study_with_a_single_seed_names_no_winner(opened: Open):
    made = make_study(NAMES, seeds=1)
    results, document = make_results(made)
    page = opened(with_document(results, document))
    drawn(page)
    assert "no winner is named" in page.inner_text("main")
    assert "there are no bands" in page.inner_text("#training-loss")


def test_the_page_of_a_study_of_which_all_runs_diverged_counts_them(opened: Open):
    made = make_study(NAMES)
    results, document = make_results(made, diverged=NAMES)
    page = opened(with_document(results, document))
    drawn(page)
    assert "Runs that diverged: 12 of 12" in page.inner_text("main")
