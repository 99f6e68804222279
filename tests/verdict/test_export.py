"""The verdict as JSON: strict, complete, and with the numbers of the verdict."""

from __future__ import annotations

import math
import re

import pytest

from jaxopt_bench.strict_json import json_text, parse_json
from jaxopt_bench.verdict import compute_suite_verdict, describe_suite_verdict, export, verdict, verdict_to_json
from tests.verdict.suites import suite
from tests.verdict.test_single_settings import tried
from tests.verdict.test_suite import QUALITIES, WORKLOADS


def exported(made, document, reference=None):
    found = verdict(made, document)
    whole = compute_suite_verdict(made, document, found, reference)
    return parse_json(json_text(verdict_to_json(made, document, found, whole, reference))), found, whole


def keys(value, found=None) -> set[str]:
    """Returns all field names in a JSON value, except names of workloads, optimizers and hyperparameters."""
    found = set() if found is None else found
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        keys(each, found)
    if isinstance(value, dict):
        found.update(k for k in value if k not in (*WORKLOADS, *QUALITIES) and not k.startswith("optimizer."))
    return found


def test_every_field_is_documented():
    for made, document in (suite(QUALITIES), tried()):
        written, _, _ = exported(made, document)
        documented = {*re.findall(r"`(\w+)`", export.__doc__)}
        assert keys(written) <= documented


def test_the_numbers_equal_those_of_the_verdict():
    written, found, whole = exported(*suite(QUALITIES))
    assert (written["format"], written["complete"], written["reference"]) == (1, True, "adamw")
    for workload, ranking in zip(written["workloads"], found.rankings, strict=True):
        assert [o["name"] for o in workload["optimizers"]] == [s.contender for s in ranking.standings]
        assert workload["optimizers"][0]["mean"] == ranking.standings[0].primary.mean
        assert workload["optimizers"][0]["interval"] == list(ranking.standings[0].primary.interval)
        assert [p["p_adjusted"] for p in workload["pairs"]] == [p.adjusted for p in ranking.pairs]
        for versus in workload["versus_reference"]:
            own = whole.versus[versus["name"]][workload["name"]]
            assert versus["lead"] == own.lead.mean
            assert versus["steps"]["reached"] == math.isfinite(own.speed_up.share)
            assert versus["steps"]["share"] == (own.speed_up.share if versus["steps"]["reached"] else None)
    suite_part = written["suite"]
    assert [o["name"] for o in suite_part["optimizers"]] == [*whole.scores]
    assert suite_part["optimizers"][0]["score"]["value"] == whole.scores["adam"].value
    assert suite_part["optimizers"][0]["score"]["over_workloads"] == list(whole.scores["adam"].over_workloads)
    assert suite_part["optimizers"][0]["scores"]["loss_a"] == list(whole.runs["adam"]["loss_a"])
    assert suite_part["optimizers"][2]["steps_share"]["value"] is None  # sgd is slower on most workloads
    assert suite_part["friedman"]["critical_difference"] == pytest.approx(whole.friedman.critical_difference)
    assert suite_part["text"] == describe_suite_verdict(whole)
    assert suite_part["single_settings"] == []


def test_single_settings_are_exported():
    written, _, whole = exported(*tried())
    first, own = written["suite"]["single_settings"][0], whole.single_settings[0]
    assert first["name"] == own.contender
    assert first["values"] == own.values
    assert first["left_out"] == own.left_out
    assert first["expected_best"] == list(own.expected_best)


def test_one_workload_has_comparisons_with_the_reference_and_no_suite():
    written, _, _ = exported(*suite({name: {"loss_a": own["loss_a"]} for name, own in QUALITIES.items()}), "sgd")
    assert written["suite"] is None
    assert written["reference"] == "sgd"
    names = {versus["name"]: versus["lead"] for versus in written["workloads"][0]["versus_reference"]}
    assert names.keys() == {"adam", "adamw"}
    assert min(names.values()) > 0


def test_a_study_without_results_has_an_export():
    made, document = suite(QUALITIES)
    written, _, _ = exported(type(made)(made.runs.clear(), made.curves.clear()), document)
    assert written["suite"] is None
    assert [w["optimizers"] for w in written["workloads"]] == [[]] * 7
