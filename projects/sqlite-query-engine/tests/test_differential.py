"""Every lane against SQLite: random databases, random queries, the same rows.

In the repository's root, with the harness's Python (.venv/bin/python):

    python -m pytest projects/sqlite-query-engine/tests           every lane, built by the harness
    DEADHEAT_LANES="go=PATH,zig=PATH" python -m pytest ...        programs built by hand instead
    DEADHEAT_FUZZ_CASES=500 DEADHEAT_FUZZ_SEED=1000 ...           more databases than the fixed 40, and others
    python -m pytest ... -k database-12                           one of them again

A failure names the lane, the query and the database; the database stays in pytest's tmp folder.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from typing import TYPE_CHECKING

import pytest
import xxhash
from random_queries import Maker, Query
from sqlite_lanes import Run, manners, right_answer, run_lane

if TYPE_CHECKING:
    from pathlib import Path

DATABASES = int(os.environ.get("DEADHEAT_FUZZ_CASES", "40"))
FIRST_SEED = int(os.environ.get("DEADHEAT_FUZZ_SEED", "1"))
QUERIES = int(os.environ.get("DEADHEAT_FUZZ_QUERIES", "30"))
SHOWN_FAILURES = 6


def expected_answer(path: Path, query: Query) -> bytes | None:
    """Return SQLite's answer, None when SQLite itself refuses (an integer overflow)."""
    try:
        return right_answer(path, query.sql, query.form)
    except sqlite3.OperationalError as error:
        if "integer overflow" in str(error):
            return None
        raise AssertionError(f"the generator made a bad query: {query.sql}: {error}") from error


def difference(run: Run, query: Query, expected: bytes | None) -> str | None:
    """Return how a run differs from SQLite, None when it does not."""
    complaint = manners(run)
    if complaint is not None:
        return complaint
    if expected is None or run.answer is None:
        return None if expected is run.answer is None else f"exit {run.exit_code} {run.stderr!r}, SQLite: {expected!r}"
    if run.digest != xxhash.xxh64_hexdigest(run.answer * query.repeats):
        return f"digest {run.digest} is not that of the output file"
    lines, right = run.answer.splitlines(), expected.splitlines()
    if not query.ordered:
        lines, right = sorted(lines), sorted(right)
    if lines == right:
        return None
    wrong, missing = first_other(lines, right), first_other(right, lines)
    return f"{len(lines)} rows for {len(right)}; first not expected {wrong}, first missing {missing}"


def first_other(lines: list[bytes], others: list[bytes]) -> str:
    """Return the first line that stands elsewhere or nowhere in the other list."""
    for number, line in enumerate(lines):
        if number >= len(others) or others[number] != line:
            return line[:200].decode("utf-8", "replace")
    return "-"


def spelled(query: Query) -> str:
    """Return the arguments that ask a query again."""
    return f"--query {shlex.quote(query.sql)} --format {query.form} --repeats {query.repeats}"


def check_query(path: Path, query: Query, lanes: dict[str, list[str]]) -> list[str]:
    """Run one query in every lane; return a line per complaint."""
    expected = expected_answer(path, query)
    args = ["--db", str(path), "--query", query.sql, "--format", query.form, "--repeats", str(query.repeats)]
    runs = {lane: run_lane(command, args, path.with_name(f"{lane}.answer")) for lane, command in lanes.items()}
    found = [(lane, difference(run, query, expected)) for lane, run in runs.items()]
    failures = [f"{lane}: {complaint}\n    --db {path} {spelled(query)}" for lane, complaint in found if complaint]
    items = {lane: run.items for lane, run in runs.items() if run.items is not None}
    if len(set(items.values())) > 1:
        failures.append(f"lanes count different items: {items}\n    --db {path} {spelled(query)}")
    return failures


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + DATABASES), ids=lambda seed: f"database-{seed}")
def test_random_database(seed: int, tmp_path: Path, lane_commands: dict[str, list[str]]) -> None:
    """A lane answers random queries as SQLite does, and all lanes count the same items."""
    maker = Maker(seed)
    path = tmp_path / "random.db"
    maker.write(path)
    failures: list[str] = []
    for _ in range(QUERIES):
        failures += check_query(path, maker.query(), lane_commands)
    if failures:
        shown = "\n".join(failures[:SHOWN_FAILURES])
        pytest.fail(f"{len(failures)} differences, the first of them:\n{shown}", pytrace=False)
