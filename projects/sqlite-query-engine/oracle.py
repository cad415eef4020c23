"""The right answers of sqlite-query-engine, from Python's sqlite3.

    python oracle.py --workload verify --data DIR --cases CASES.json --out OUT

Answers come from SQLite itself, through Python's own module, and are put into the canonical form
here; no line of a lane is used. Item counts do not come from a lane either: for every case
`CASE_ITEMS` holds a query whose single value is the number of rows that the planner's rules make
the case read (sqlite_checks.py shows the rules at work). On the verify workload the checks of
sqlite_checks.py are appended: the whole SQL list, every kind of file, EXPLAIN QUERY PLAN, csv, and
queries that must be refused.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlite_checks

Value = int | float | str | bytes | None

SHORT_ESCAPES = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)} | SHORT_ESCAPES

# case -> the query that counts what it reads. A scan reads every row. A seek reads what its bounds
# let through, before the rest of WHERE. A LIMIT over an order that the scan already has stops early.
CASE_ITEMS = {
    "filter-scan": "SELECT COUNT(*) FROM metrics",
    "projection": "SELECT COUNT(*) FROM metrics",
    "group-by": "SELECT COUNT(*) FROM metrics",
    "group-by-two-keys": "SELECT COUNT(*) FROM metrics",
    "sort": "SELECT COUNT(*) FROM metrics",
    "top-k": "SELECT COUNT(*) FROM metrics",
    "like-scan": "SELECT COUNT(*) FROM metrics",
    "distinct": "SELECT COUNT(*) FROM metrics",
    "rowid-point": "SELECT COUNT(*) FROM metrics WHERE id = 1234",
    "rowid-in": "SELECT COUNT(*) FROM metrics WHERE id IN {rowids}",
    "index-equality": "SELECT COUNT(*) FROM metrics WHERE host = 'web-017'",
    "index-range": "SELECT COUNT(*) FROM metrics WHERE ts >= 1700000020 AND ts < 1700002020",
    "covering-range": "SELECT COUNT(*) FROM metrics WHERE ts >= 1700000040",
    # all entries of the host from its newest down to the tenth that passes the filter
    "latest-of-host": (
        "SELECT COUNT(*) FROM metrics WHERE host = 'web-017' AND ts >= COALESCE((SELECT ts FROM metrics "
        "WHERE host = 'web-017' AND status = 'warn' ORDER BY ts DESC LIMIT 1 OFFSET 9), 0)"
    ),
    "primary-key": (
        "SELECT COUNT(*) FROM rollup WHERE host = 'web-017' AND bucket >= 1699999800 AND bucket < 1700030000"
    ),
    "wide-rows": "SELECT COUNT(*) FROM documents",
}


def open_database(path: Path, invalid_text: str = "replace") -> sqlite3.Connection:
    """Open a database that nobody writes; `invalid_text` says how text that is not UTF-8 is decoded."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", invalid_text)
    return connection


def real_text(value: float) -> str:
    """Return a real in canonical form: Python's repr, and 9e999 for infinity."""
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    return repr(value)


def json_value(value: Value) -> str:
    """Return one value in the canonical JSON form."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return real_text(value)
    if isinstance(value, bytes):
        return f'{{"blob":"{value.hex()}"}}'
    if isinstance(value, str):
        return f'"{value.translate(ESCAPES)}"'
    return str(value)


def csv_field(value: Value) -> str:
    """Return one csv field: NULL is empty, the empty text is quoted, blobs are x'hex'."""
    if value is None:
        return ""
    if isinstance(value, float):
        return real_text(value)
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    text = str(value)
    if text == "" or any(mark in text for mark in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def unquoted(value: Value) -> str:
    """Return what a csv reader must get for a value."""
    return value if isinstance(value, str) else csv_field(value)


def render_json(rows: list[tuple[Value, ...]]) -> bytes:
    """Return the canonical answer: one JSON array per row."""
    return "".join(f"[{','.join(map(json_value, row))}]\n" for row in rows).encode()


def render_csv(names: list[str], rows: list[tuple[Value, ...]]) -> bytes:
    """Return the csv answer, after reading it back with Python's csv as a second opinion."""
    lines = [",".join(map(csv_field, row)) for row in [tuple(names), *rows]]
    answer = "".join(f"{line}\n" for line in lines)
    plain = [[unquoted(value) for value in row] for row in rows]
    read_back = list(csv.reader(io.StringIO(answer, newline="")))
    if [row or [""] for row in read_back] != [names, *plain]:
        raise AssertionError(f"csv does not read back: {answer!r}")
    return answer.encode("utf-8", "surrogateescape")


def answer_of(path: Path, query: str, form: str) -> bytes:
    """Run one query in SQLite and return its answer: JSON with U+FFFD for invalid UTF-8, csv as the bytes are."""
    with closing(open_database(path, "surrogateescape" if form == "csv" else "replace")) as connection:
        cursor = connection.execute(query)
        names = [str(column[0]) for column in cursor.description or []]
        rows = cursor.fetchall()
    return render_csv(names, rows) if form == "csv" else render_json(rows)


def count_of(path: Path, query: str) -> int:
    """Run a query whose answer is one number."""
    with closing(open_database(path)) as connection:
        return int(connection.execute(query).fetchone()[0])


def option(args: list[str], name: str, default: str) -> str:
    """Return the value of a long option in an argument list."""
    return args[args.index(name) + 1] if name in args else default


def case_entry(case: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return the index entry of a case of project.yaml, and its answer."""
    args = [str(arg) for arg in case["args"]]
    path, query = Path(option(args, "--db", "")), option(args, "--query", "")
    # the IN list stands in the case itself; naming it twice would let the two drift apart
    rowids = query[query.find("(") : query.find(")") + 1]
    items = count_of(path, CASE_ITEMS[case["name"]].replace("{rowids}", rowids))
    entry = {"name": case["name"], "args": args, "items": items, "compare": "exact"}
    return entry, answer_of(path, query, option(args, "--format", "json"))


def check_args(data: Path, check: sqlite_checks.Check) -> list[str]:
    """Return the command line of a check."""
    args = ["--db", str(data / check.db), "--query", check.query]
    return args if check.form == "json" else [*args, "--format", check.form]


def check_entry(data: Path, check: sqlite_checks.Check) -> tuple[dict[str, Any], bytes]:
    """Return the index entry of a further check, and its answer."""
    if check.plan is not None:
        answer = render_json([(line,) for line in check.plan])
    else:
        answer = answer_of(data / check.db, check.query, check.form)
    items = count_of(data / check.db, check.items) if check.items else 0
    args = check_args(data, check)
    compare = "exact" if check.ordered else "unordered"
    return {"name": check.name, "args": args, "items": items, "compare": compare}, answer


def refusal_entry(data: Path, refusal: sqlite_checks.Refusal) -> dict[str, Any]:
    """Return the index entry of a check that must fail with one error line."""
    args = ["--db", str(data / refusal.db), "--query", refusal.query]
    return {"name": refusal.name, "args": args, "exit_code": 2, "stderr": refusal.stderr}


def build_index(data: Path, cases: list[dict[str, Any]], out: Path, *, with_checks: bool) -> list[dict[str, Any]]:
    """Write every answer below `out` and return the index of them."""
    answered = [case_entry(case) for case in cases]
    if with_checks:
        answered += [check_entry(data, check) for check in sqlite_checks.all_checks()]
    for number, (entry, answer) in enumerate(answered):
        entry["answer"] = f"{number}.answer"
        (out / entry["answer"]).write_bytes(answer)
    refusals = [refusal_entry(data, refusal) for refusal in sqlite_checks.all_refusals()] if with_checks else []
    return [entry for entry, _ in answered] + refusals


def main() -> None:
    """Answer the cases of one workload."""
    parser = argparse.ArgumentParser(description="compute the right answers of one workload")
    parser.add_argument("--workload", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cases = json.loads(options.cases.read_text(encoding="utf-8"))
    index = build_index(options.data, cases, options.out, with_checks=options.workload == "verify")
    (options.out / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
