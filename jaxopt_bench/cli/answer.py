"""The answer of a study: tables and paragraphs on a terminal, the same as JSON, and an exit code."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from rich.console import Console

from jaxopt_bench.cli.command import COMPLETED, WORSE
from jaxopt_bench.cli.printing import print_plain
from jaxopt_bench.cli.streams import STANDARD_OUTPUT, check_output_file, write_output
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.reports import tables, terminal
from jaxopt_bench.reports.suite_table import REACHED, WORKLOADS_RANK, suite_table
from jaxopt_bench.results import Results
from jaxopt_bench.strict_json import json_text
from jaxopt_bench.study import Document
from jaxopt_bench.verdict import (
    SUITE,
    SuiteVerdict,
    Verdict,
    compute_suite_verdict,
    describe_scores,
    describe_sensitivity,
    describe_suite_verdict,
    find_worse_contenders,
    judge_claims,
    paragraphs,
    verdict,
    verdict_to_json,
)

WIDE = 100
"""The minimum number of columns of a terminal that shows the full table of all workloads."""
LESS_IMPORTANT = (WORKLOADS_RANK, REACHED)


def check_reference(flag: str, name: str | None, contenders: Sequence[str]) -> None:
    """Raises an error if a flag names an optimizer that the study does not have."""
    if name is not None and name not in contenders:
        raise unknown_name(f"optimizer in {flag}", name, contenders)


def check_json(path: pathlib.Path | None) -> None:
    """Raises an error if the file of --json cannot be written."""
    if path == STANDARD_OUTPUT:
        raise UserError("--json is -, which is standard output, but the tables are printed there. Expected a file.")
    if path is not None:
        check_output_file(path)


def print_answer(
    results: Results,
    document: Document,
    console: Console,
    *,
    reference: str | None = None,
    json: pathlib.Path | None = None,
    fail_if_worse_than: str | None = None,
    added: Sequence[str] = (),
    recorded: Sequence[str] = (),
) -> int:
    """Prints a table and a paragraph for each workload and for all workloads, and the answers to the claims.

    Args:
      results: the results of the study.
      document: the document of the study.
      console: the console to print to.
      reference: the optimizer with which others are compared; adamw by default, if the study has it.
      json: a file for the answer as JSON, see `verdict.export`; None for no file.
      fail_if_worse_than: no added optimizer may be significantly worse than this one, see `verdict.worse`.
      added: the names of the added optimizers.
      recorded: the names of the optimizers that were recorded earlier; their seconds are marked.

    Returns:
      The exit code: `WORSE` if an added optimizer is significantly worse.
    """
    found = verdict(results, document)
    suite = compute_suite_verdict(results, document, found, reference)
    _print_workloads(found, console, recorded)
    if suite is not None:
        print_suite(suite, console, reference)
    if (scores := describe_scores(found)) is not None:
        print_plain(console, scores)
    if (claims := tables.claims_table(judge_claims(results, document))) is not None:
        console.print()
        console.print(terminal(claims, leave_out=("source",), show_lines=True))
    if json is not None:
        write_output(json, json_text(verdict_to_json(results, document, found, suite, reference)).encode())
    if fail_if_worse_than is None:
        return COMPLETED
    return _exit_code(results, document, found, suite, fail_if_worse_than, added, console)


def _print_workloads(found: Verdict, console: Console, recorded: Sequence[str]) -> None:
    for ranking in found.rankings:
        console.print()
        console.print(terminal(tables.ranking_table(found, ranking, recorded)))
        if (selected := tables.selection_table(ranking)) is not None:
            console.print()
            console.print(terminal(selected))
        console.print()
        sensitivity = describe_sensitivity(ranking)
        texts = [*paragraphs(found, ranking), *([] if sensitivity is None else [sensitivity])]
        print_plain(console, "\n\n".join(texts))


def print_suite(suite: SuiteVerdict, console: Console, reference: str | None = None) -> None:
    """Prints the table and the paragraph of all workloads.

    Args:
      suite: the verdict over all workloads.
      console: the console to print to.
      reference: the reference that the user asked for; None if the user gave none.
    """
    console.print()
    left_out = LESS_IMPORTANT if console.width < WIDE else ()
    console.print(terminal(suite_table(suite), leave_out=left_out))
    console.print()
    print_plain(console, describe_suite_verdict(suite))
    if reference is not None and suite.reference is None:
        print_plain(console, f"{reference} has no confirmed results yet, so nothing is compared with it.")


def _exit_code(
    results: Results,
    document: Document,
    found: Verdict,
    suite: SuiteVerdict | None,
    reference: str,
    added: Sequence[str],
    console: Console,
) -> int:
    """Prints whether an added optimizer is significantly worse, and returns the exit code."""
    if not found.complete:
        print_plain(console, "The study is not complete: --fail-if-worse-than is not checked yet.")
        return COMPLETED
    worse = find_worse_contenders(results, document, found, suite, reference, added)
    for each in worse:
        where = "over all workloads" if each.workload == SUITE else f"on {each.workload}"
        p_value = "" if each.adjusted is None else f", p {each.adjusted:.2g}, adjusted for all questions"
        print_plain(
            console, f"{each.contender} is significantly worse than {reference} {where}: {each.words}{p_value}."
        )
    if not worse:
        print_plain(console, f"No added optimizer is significantly worse than {reference}.")
    return WORSE if worse else COMPLETED


def study_document(results: Results, path: pathlib.Path, flag: str) -> Document:
    """Returns the document of the study in a folder, which a flag needs.

    Raises:
      UserError: if there is not exactly one study.
    """
    if len(results.documents) != 1:
        raise UserError(f"{path} holds {len(results.documents)} studies. Expected for {flag}: the folder of one study.")
    return results.documents[0]
