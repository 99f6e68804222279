"""Optimizers are distinguishable: on the background, with colour vision deficiencies, and without colours."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from jaxopt_bench.reports.html import resource
from jaxopt_bench.reports.style import ALWAYS, COLOURS, assign_styles

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1, for linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
# Ottosson 2020, "A perceptual color space for image processing" (Oklab).
TO_CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
TO_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
          [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def linear(colour: str) -> np.ndarray:
    """Returns linear RGB (IEC 61966-2-1)."""
    encoded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_colours_have_the_contrast_that_wcag_requires_of_graphics(ground: str):
    backgrounds = dict(zip(("light", "dark"), re.findall("--ground: (#.{6});", resource("page.css")), strict=False))
    for colour in COLOURS[ground]:
        darker, lighter = sorted([luminance(colour), luminance(backgrounds[ground])])
        assert (lighter + 0.05) / (darker + 0.05) >= 3, colour


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_first_six_colours_are_distinct_with_colour_vision_deficiencies(ground: str, deficiency: str):
    def seen(colour: str) -> np.ndarray:
        light = np.clip(np.array(DEFICIENCIES[deficiency]) @ linear(colour), 0, 1)
        return np.array(TO_LAB) @ np.cbrt(np.array(TO_CONES) @ light)

    distances = {
        (a, b): float(np.linalg.norm(seen(a) - seen(b))) for a, b in itertools.combinations(COLOURS[ground][:6], 2)
    }
    # A distance of 0.02 is just noticeable.
    assert min(distances.values()) > 0.065, min(distances, key=distances.__getitem__)


def test_no_two_of_many_optimizers_look_alike():
    found = assign_styles([*ALWAYS, *(f"another{i}" for i in range(50))])
    assert len({(look.light, look.shape, look.dash) for look in found.values()}) == len(found)


def test_commonly_compared_optimizers_look_the_same_in_every_report():
    assert assign_styles(["adam", "sgd"])["sgd"] == assign_styles(["lion", "sgd", "padam"])["sgd"]
    assert len({look.light for look in assign_styles(["lion", "muon", "sgd", "adam"]).values()}) == 4
