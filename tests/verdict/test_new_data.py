"""Verdicts that take the choice of the test examples into account."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxopt_bench.reports import tables
from jaxopt_bench.results import Results
from jaxopt_bench.study import Document
from jaxopt_bench.verdict import Verdict, paragraphs, verdict
from jaxopt_bench.verdict.ranking import ranking_of
from tests.verdict.builders import confirmed, document, results, study

EXAMPLES = 200
ADAM, SGD = "adam", "sgd"


def judged(right: dict[str, np.ndarray]) -> tuple[Verdict, Results, Document]:
    """Returns the verdict of a study, given which examples each seed of each optimizer gets right, and its results."""
    names = [*right]
    rows = {
        name: confirmed(name, [float(row.mean()) for row in own], **{"final.step": 10}) for name, own in right.items()
    }
    examples = {
        row["path"]: values.tolist() for name, own in right.items() for row, values in zip(rows[name], own, strict=True)
    }
    made = study(names, seeds=len(right[names[0]]))
    found = results([row for own in rows.values() for row in own], examples=examples)
    return verdict(found, document(made)), found, document(made)


def noisy(own: np.ndarray, flips: int, seeds: int = 5) -> np.ndarray:
    """Returns the same correct examples for each seed, except a few examples that are changed at random."""
    random = np.random.default_rng(int(own.sum()))
    rows = np.repeat(own[None], seeds, axis=0)
    for row in rows:
        places = random.choice(EXAMPLES, flips, replace=False)
        row[places] = 1 - row[places]
    return rows


def lucky() -> dict[str, np.ndarray]:
    """Returns two optimizers that differ in 68 examples, of which adam gets 12 more right than sgd."""
    adam, sgd = np.ones(EXAMPLES), np.ones(EXAMPLES)
    adam[:28] = 0
    sgd[28:68] = 0
    return {ADAM: noisy(adam, 1), SGD: noisy(sgd, 1)}


def better() -> dict[str, np.ndarray]:
    """Returns two optimizers: sgd makes 40 mistakes that adam does not make, and otherwise they agree."""
    adam, sgd = np.ones(EXAMPLES), np.ones(EXAMPLES)
    sgd[:40] = 0
    return {ADAM: noisy(adam, 1), SGD: noisy(sgd, 1)}


def test_a_lead_that_other_test_examples_could_reverse_is_not_settled():
    found, table, _ = judged(lucky())
    (ranking,) = found.rankings
    pair = ranking.pair(ADAM, SGD)
    assert not pair.significant
    assert pair.difference.same_examples.low > 0
    # the sign test over the examples in which the two differ has p = 0.18 (40 against 28)
    assert pair.difference.adjusted == pytest.approx(0.146, abs=0.03)
    assert pair.needs_examples
    words = " ".join(paragraphs(found, ranking))
    assert "Not settled: sgd (behind by 6.00 points" in words
    assert "on new data" in words
    assert " on these test examples)" in words
    assert "More test examples are needed to settle the difference to sgd." in words
    assert "choice of the 200 test examples" in words
    assert len(table.runs) == 10
    shown = tables.pairs_table(found, ranking)
    assert shown is not None
    assert {"on new data", "on these test examples"} <= {*shown.columns}
    assert shown.rows[0][-1] == "more test examples"


def test_a_lead_in_nearly_all_differing_examples_is_settled():
    found, _, _ = judged(better())
    (ranking,) = found.rankings
    pair = ranking.pair(ADAM, SGD)
    assert pair.significant
    words = " ".join(paragraphs(found, ranking))
    assert "It wins: it is ahead of sgd (by 19.6" in words
    assert "so they hold for new data; those of means cover the seeds alone" in words


def test_without_the_examples_the_seeds_decide_and_the_paragraph_states_it():
    right = lucky()
    rows = [row for name, own in right.items() for row in confirmed(name, [float(r.mean()) for r in own])]
    found = verdict(results(rows), document(study([*right])))
    (ranking,) = found.rankings
    assert ranking.test_examples is None
    assert ranking.pair(ADAM, SGD).significant
    assert "the results of single test examples are not recorded: they hold for the same test examples" in " ".join(
        paragraphs(found, ranking)
    )


def test_if_one_run_has_no_examples_the_seeds_alone_decide():
    found, table, made = judged(lucky())
    assert found.rankings[0].test_examples == EXAMPLES
    fewer = dataclasses.replace(table, examples=table.examples.slice(1))
    assert ranking_of(fewer, made, "digits_cnn").test_examples is None


def test_a_diverged_run_counts_as_an_untrained_model_on_every_example():
    right = better()
    rows = {name: confirmed(name, [float(r.mean()) for r in own], **{"final.step": 10}) for name, own in right.items()}
    rows[SGD][0] |= {"status": "diverged", "final.test_accuracy": None, "final.step": None}
    examples = {
        row["path"]: values.tolist()
        for name, own in right.items()
        for row, values in zip(rows[name], own, strict=True)
        if row["status"] == "completed"
    }
    found = results([row for own in rows.values() for row in own], examples=examples)
    ranking = ranking_of(found, document(study([*right])), "digits_cnn")
    assert ranking.test_examples == EXAMPLES
    expected = right[ADAM].mean() - np.mean([0.1, *(row.mean() for row in right[SGD][1:])])
    assert ranking.pair(ADAM, SGD).difference.estimate.mean == pytest.approx(expected)
