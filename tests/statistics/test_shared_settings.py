"""The best single setting over workloads, compared with its definition written as loops, and with simulations."""

from __future__ import annotations

import numpy as np
import pytest

from jaxopt_bench import UserError
from jaxopt_bench.statistics import shared_setting


def test_the_setting_is_chosen_without_the_workload_that_scores_it():
    scores = np.random.default_rng(0).uniform(size=(5, 7))
    found = shared_setting(scores)
    assert found.trial == max(range(7), key=lambda i: scores[:, i].mean())
    for left, (chosen, score) in enumerate(zip(found.chosen, found.left_out, strict=True)):
        others = [w for w in range(5) if w != left]
        assert chosen == max(range(7), key=lambda i: np.mean([scores[w, i] for w in others]))
        assert score == scores[left, chosen]


def test_only_the_leave_one_out_score_of_equal_settings_is_unbiased():
    random = np.random.default_rng(1)
    drawn = random.normal(size=(500, 6, 20))
    found = [shared_setting(scores) for scores in drawn]
    best = [scores[:, each.trial].mean() for scores, each in zip(drawn, found, strict=True)]
    assert np.mean(best) > 0.5  # the best of 20 settings
    assert np.mean([np.mean(each.left_out) for each in found]) == pytest.approx(0, abs=0.06)


def test_too_few_workloads_or_settings_are_refused():
    for shape in ((1, 3), (3, 0)):
        with pytest.raises(UserError, match="Expected at least 2 workloads"):
            shared_setting(np.zeros(shape))
