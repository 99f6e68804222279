"""Animated races of optimizers: the page in a browser, and the frames of a GIF."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from jaxopt_bench.optimizers import OPTIMIZERS
from jaxopt_bench.reports import SURFACES, Trajectory, trajectories_on
from jaxopt_bench.reports.race import write_race

NAMES = ("sgd", "nadam", "muon")
STEPS = 40


@pytest.fixture(scope="module")
def drawn() -> list[Trajectory]:
    paths = [trajectories_on(["ravine", "saddle"], name, OPTIMIZERS[name], STEPS) for name in NAMES]
    return [own[i] for i in range(2) for own in paths]


@pytest.fixture
def page(drawn, tmp_path, browser: Browser) -> Iterator[Page]:
    """Opens the page of a race offline, in a browser that requests reduced motion."""
    write_race(drawn, tmp_path / "race.html")
    context = browser.new_context(offline=True, reduced_motion="reduce")
    opened = context.new_page()
    failures: list[str] = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.goto((tmp_path / "race.html").as_uri())
    yield opened
    context.close()
    assert failures == []


def test_the_page_has_the_paths_and_the_heights(drawn, tmp_path):
    write_race(drawn, tmp_path / "race.html")
    text = (tmp_path / "race.html").read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="race">(.*?)</script>', text, re.DOTALL)
    race = json.loads(data)
    assert [optimizer["name"] for optimizer in race["optimizers"]] == [*NAMES]
    for surface, name in zip(race["surfaces"], ("ravine", "saddle"), strict=True):
        own = [t for t in drawn if t.surface == name]
        for t, path, heights in zip(own, surface["paths"], surface["heights"], strict=True):
            np.testing.assert_allclose(path, t.points, rtol=1e-4, atol=1e-6)
            bottom = min(float(SURFACES[name].function(np.array(point, float))) for point in SURFACES[name].minima)
            np.testing.assert_allclose(heights[0], t.losses[0] - bottom, rtol=1e-4)
            assert min(heights) > 0
    said = "nadam and muon take the same steps on all of these surfaces, so only one of their paths is visible."
    assert said in text


def test_the_race_can_be_played_and_any_step_can_be_chosen(page):
    assert page.locator("#now").inner_text() == "0"
    assert page.locator("#play").inner_text() == "Play"  # with reduced motion, the race does not start by itself
    before = page.locator("#panels").screenshot()
    page.locator("#step").fill("25")
    assert page.locator("#now").inner_text() == "25"
    assert page.locator("#panels").screenshot() != before
    page.locator("#speed").fill("120")
    page.locator("#play").click()
    expect(page.locator("#now")).to_have_text(str(STEPS))
    assert page.locator("#play").inner_text() == "Again"
    assert page.locator("canvas[role=img]").count() == 4


def test_paths_grow_from_frame_to_frame_of_a_gif(drawn, tmp_path):
    write_race(drawn, tmp_path / "race.gif")
    with Image.open(tmp_path / "race.gif") as gif:
        assert gif.n_frames == STEPS + 1
        inked = []
        for frame in (0, 10, STEPS):
            gif.seek(frame)
            pixels = np.asarray(gif.convert("RGB")).astype(int)
            inked.append(int((np.abs(pixels - (0, 114, 178)).max(2) < 40).sum()))  # the colour of sgd
    assert inked == sorted(inked)
    assert inked[-1] > inked[0] + 50


def test_a_name_cannot_close_the_script_element(drawn, tmp_path):
    hostile = [dataclasses.replace(t, optimizer="</script><b>") for t in drawn if t.optimizer == "sgd"]
    write_race(hostile, tmp_path / "race.html")
    assert "</script><b>" not in (tmp_path / "race.html").read_text(encoding="utf-8")
