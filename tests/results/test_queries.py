"""SQL queries cannot read files, and are not refused for words in strings, names and comments."""

from __future__ import annotations

import pathlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxopt_bench import UserError
from jaxopt_bench.results import Results
from jaxopt_bench.results.queries import check_reads_no_file

RUNS = pl.DataFrame({"a": ["known"], "read_me": ["x"]})
RESULTS = Results(RUNS, RUNS)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns a CSV file that no query may read."""
    path = tmp_path_factory.mktemp("secret") / "file.csv"
    path.write_text("a\nSECRET\n")
    return path


def reads(query: str) -> bool:
    """Returns whether Polars itself reads the secret file for a query."""
    try:
        return "SECRET" in str(pl.SQLContext(runs=RUNS).execute(query, eager=True).to_dicts())
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return False


TRICKS = [
    "SELECT * FROM read_csv('{}')",
    "SELECT * FROM READ_CSV ('{}')",
    "SELECT * FROM read_csv\t\n('{}')",
    "SELECT * FROM read_csv\u00a0('{}')",
    "SELECT * FROM read_csv\u2003('{}')",
    "SELECT * FROM read_csv\x0b('{}')",
    "SELECT * FROM read_csv/* x */('{}')",
    "SELECT * FROM read_csv/* /* x */ */('{}')",
    "SELECT * FROM read_csv--x\n('{}')",
    "SELECT * FROM \"read_csv\"('{}')",
    "SELECT * FROM \"READ_CSV\" /**/ ('{}')",
    "SELECT * FROM `read_csv`('{}')",
    "SELECT a AS \"it's\" FROM read_csv('{}') -- '",
    'SELECT a AS "x""y" FROM read_csv(\'{}\')',
    "SELECT a AS `it's` FROM read_csv('{}')",
    "SELECT a, '\\' AS b FROM read_csv('{}') WHERE '' = ''",
    "SELECT a, '''' AS b FROM read_csv('{}')",
    "SELECT a, $$'$$ AS b FROM read_csv('{}')",
    "SELECT a, $t$'$t$ AS b FROM read_csv('{}')",
    "SELECT a /* ' */ FROM read_csv('{}') /* ' */",
    "SELECT a -- '\n FROM read_csv('{}') -- '",
    "SELECT a /* -- */ FROM read_csv('{}')",
    "SELECT a, 1--'\n AS b FROM read_csv('{}') --'",
    "SELECT a, 1AS b FROM read_csv('{}')",
    "SELECT a FROM runs UNION ALL SELECT a FROM read_csv('{}')",
]
"""Queries for which Polars reads the file, written so that this is hard to detect."""


@pytest.mark.parametrize("query", TRICKS)
def test_a_query_that_reads_a_file_is_refused_in_any_spelling(query: str, secret: pathlib.Path) -> None:
    query = query.format(secret)
    assert reads(query)
    with pytest.raises(UserError, match=r"the query calls '(?i:read_csv)', and functions that read files"):
        RESULTS.sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'read_csv(x)' AS b FROM runs",
        'SELECT a AS "read_csv(x)" FROM runs',
        "SELECT a AS `scan_x` FROM runs",
        "SELECT read_me FROM runs WHERE read_me <> 'it''s read_csv(''x'')'",
        "SELECT a /* read_csv('x') */ FROM runs -- read_csv('x')",
        "SELECT COUNT(\"read_me\") FROM runs WHERE (read_me) <> 'read_x'",
        "WITH read_all AS (SELECT * FROM runs) SELECT * FROM read_all",
        "SELECT a, '\\' AS b FROM runs",
    ],
)
def test_names_of_functions_are_allowed_in_strings_names_and_comments(query: str) -> None:
    assert len(RESULTS.sql(query)) == 1


PIECES = [
    "SELECT a", "SELECT a AS ", " FROM ", "read_csv", "\"read_csv\"", "`read_csv`", "('{}')", "(", ")", "'{}'", " ",
    "\n", "\r",
    "'", "''", "\"", "`", "--", "/*", "*/", "\\", "$$", "$t$", "#", "//", "E", "N", "U&", ", 1 AS b", "x", "\u00a0",
    "/**/", "runs", " WHERE ", "1=1", ";",
]  # fmt: skip


@settings(max_examples=600)
@given(
    st.lists(st.sampled_from(PIECES), max_size=6),
    st.lists(st.sampled_from(PIECES), max_size=4),
    st.lists(st.sampled_from(PIECES), max_size=6),
)
def test_no_query_made_of_tricky_pieces_reads_a_file(
    secret: pathlib.Path, before: list[str], between: list[str], after: list[str]
) -> None:
    for head in ("SELECT a", "SELECT a, '", 'SELECT a AS "', "SELECT a /*"):
        parts = [head, *before, " FROM read_csv", *between, "('{}')", *after]
        query = "".join(parts).replace("{}", str(secret))
        try:
            check_reads_no_file(query)
        except UserError:
            continue
        assert not reads(query)
