"""DuckDB under the lane contract of csv-stream-aggregator.

One SQL query a repeat over `read_csv`, on one thread, with the column types of the workload (no sniffing). Sums are
DECIMAL(38, s), so exact. The number of records is what DuckDB's own profile says that READ_CSV handed on. Answers are
rendered here: about 0.2 s a repeat at 100,000 groups, nothing at a few.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import xxhash

COLUMNS = {
    **dict.fromkeys(["order_id", "ts", "region", "category", "product", "customer"], "VARCHAR"),
    "quantity": "DECIMAL(18,0)",
    **dict.fromkeys(["unit_price", "discount", "amount"], "DECIMAL(18,2)"),
    "note": "VARCHAR",
}
COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Request:
    """What one command line asks for."""

    input: str
    group_by: list[str]
    aggregates: list[tuple[str, ...]]
    filters: list[tuple[str, str, str]]

    def titles(self) -> list[str]:
        """Return the names of the output columns."""
        return [*self.group_by, *(f"{name}_{column}" if column else name for name, column in self.aggregates)]


def query(request: Request) -> str:
    """Write the SQL of a request: keys, then count, sum and bounds of each aggregated column."""
    types = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    compression = COMPRESSION.get(Path(request.input).suffix, "none")
    source = f"read_csv({literal(request.input)}, auto_detect=false, header=true, delim=',', quote='\"', escape='\"'"
    source += f", compression='{compression}', columns={{{types}}})"
    wanted = [*request.group_by, *(expression(name, column) for name, column in request.aggregates)]
    conditions = " AND ".join(f"{name} {operator} {literal(value)}" for name, operator, value in request.filters)
    where = f" WHERE {conditions}" if conditions else ""
    keys = ", ".join(request.group_by)
    grouped = f" GROUP BY {keys} ORDER BY {keys}" if keys else ""
    return f"SELECT {', '.join(wanted)} FROM {source}{where}{grouped}"


def expression(name: str, column: str) -> str:
    """Write one aggregate; a mean is its sum and its count, divided exactly afterwards."""
    if name == "mean":
        return f"{{'total': sum({column}), 'count': count({column})}}"
    return f"{name}({column or '*'})"


def literal(value: str) -> str:
    """Write an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def cell(value: Any) -> str:
    """Write one value."""
    if isinstance(value, dict):
        return mean_text(value["total"], value["count"])
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def scanned_rows(node: dict[str, Any]) -> int:
    """Return the rows that the CSV reader handed on, from the profile of the query."""
    children = node.get("children", [])
    return sum(map(scanned_rows, children)) if children else int(node["intermediate_rows"])


@cache
def database() -> duckdb.DuckDBPyConnection:
    """Return the one database of this process: it holds no data and caches no files."""
    made = duckdb.connect(config={"threads": 1, "enable_external_file_cache": False})
    made.execute("PRAGMA enable_profiling='no_output'")
    return made


def run(request: Request) -> tuple[bytes, int]:
    """Answer a request from the raw file."""
    rows = database().execute(query(request)).fetchall()
    profile = json.loads(database().get_profiling_information(format="json"))
    items = sum(scanned_rows(node) for node in profile["operator"])
    lines = [csv_line(request.titles()), *(csv_line([cell(value) for value in row]) for row in rows)]
    return "".join(lines).encode(), items


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the options that the cases use, and those of the lane contract."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version="csv-stream-aggregator duckdb")
    parser.add_argument("--input", required=True)
    parser.add_argument("--group-by", default="")
    parser.add_argument("--agg", required=True)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--output")
    return parser.parse_args(arguments)


def parse_request(options: argparse.Namespace) -> Request:
    """Split the lists of the command line."""
    filters = []
    for text in options.where:
        match = re.fullmatch(r"(\w+) *(!=|<=|>=|=|<|>) *(.*)", text)
        if match is None:
            raise SystemExit(f"error: --where {text!r}: no operator")
        filters.append((match[1], match[2], match[3]))
    aggregates = [tuple((item + ":").split(":")[:2]) for item in options.agg.split(",")]
    return Request(options.input, [name for name in options.group_by.split(",") if name], aggregates, filters)


def mean_text(total: Decimal, count: int) -> str:
    """Write the mean, rounded half to even, with six more digits than the sum."""
    digits = -int(total.as_tuple().exponent) + 6
    return f"{Decimal(round(Fraction(total) / count * 10**digits)).scaleb(-digits):.{digits}f}"


def csv_line(cells: list[str]) -> str:
    """Write one line with the quotes that it needs."""
    return ",".join('"' + c.replace('"', '""') + '"' if re.search('[,"\r\n]', c) else c for c in cells) + "\n"


def statistics(items: int, repeats: int, seconds: float, digest: str) -> str:
    """Write the block of the lane contract."""
    return (
        "--- Statistics ---\n"
        f"Total processed: {items * repeats}\n"
        f"Processing time: {seconds:.6f}s\n"
        f"Average latency: {seconds * 1000 / repeats:.6f}ms\n"
        f"Throughput: {items * repeats / max(seconds, 1e-9):.2f} items/sec\n"
        f"Digest: {digest}\n"
    )


def main() -> int:
    """Do the job so many times and print what it took."""
    options = parse_arguments(sys.argv[1:])
    request = parse_request(options)
    digest = xxhash.xxh64()
    answer, items = b"", 0
    started = time.perf_counter()
    for _ in range(options.repeats):
        answer, items = run(request)
        digest.update(answer)
    seconds = time.perf_counter() - started
    if options.output == "-":
        sys.stdout.buffer.write(answer)
        return 0
    if options.output:
        partial = Path(f"{options.output}.{os.getpid()}.tmp")
        partial.write_bytes(answer)
        partial.replace(options.output)
    sys.stdout.write(statistics(items, options.repeats, seconds, digest.hexdigest()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
