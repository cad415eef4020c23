"""Miller under the lane contract of csv-stream-aggregator.

One `mlr` process a repeat: `filter`, `stats1`, and a `put` that tells how many records were read. Miller sums doubles
(whole numbers as 64-bit integers); the sums are written with the digits of the workload's columns, which is exact for
its amounts. A mean is that sum divided exactly. GOMAXPROCS=1 keeps Miller on one thread.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import xxhash

FRACTION_DIGITS = {"quantity": 0, "unit_price": 2, "discount": 2, "amount": 2}
UNPACK = {".gz": "--gzin"}


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


def command(request: Request) -> list[str]:
    """Write the command line of a request."""
    unpack = UNPACK.get(Path(request.input).suffix)
    conditions = " && ".join(
        f"${name} {'==' if op == '=' else op} {value_text(value)}" for name, op, value in request.filters
    )
    verbs = ["filter", f"{conditions or 'true'}; end{{eprint NR}}"]
    columns = list(dict.fromkeys(column for _, column in request.aggregates if column)) or ["order_id"]
    names = list(dict.fromkeys(["count", *("sum" if name == "mean" else name for name, _ in request.aggregates)]))
    verbs += ["then", "stats1", "-a", ",".join(names), "-f", ",".join(columns)]
    verbs += ["-g", ",".join(request.group_by)] if request.group_by else []
    return ["mlr", "--icsv", "--ocsv", *([unpack] if unpack else []), *verbs, request.input]


def value_text(value: str) -> str:
    """Write a literal: a number as it is, anything else as a string."""
    return value if re.fullmatch(r"-?[0-9.]+", value) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def rounded(text: str, column: str) -> Decimal:
    """Return a sum or bound with the digits that the column has."""
    return Decimal(text).quantize(Decimal(1).scaleb(-FRACTION_DIGITS[column]))


def cells(request: Request, row: dict[str, str]) -> list[str]:
    """Write the line of one group."""
    line = [row[name] for name in request.group_by]
    for name, column in request.aggregates:
        counted = column or next(key for key in row if key.endswith("_count")).removesuffix("_count")
        count = row[f"{counted}_count"]
        if name == "count":
            line.append(count)
        elif name == "mean":
            line.append(mean_text(rounded(row[f"{column}_sum"], column), int(count)))
        else:
            line.append(f"{rounded(row[f'{column}_{name}'], column):f}")
    return line


def run(request: Request) -> tuple[bytes, int]:
    """Answer a request from the raw file."""
    environment = {**os.environ, "GOMAXPROCS": "1"}
    done = subprocess.run(command(request), capture_output=True, env=environment, check=False)
    if done.returncode < 0:
        raise SystemExit(f"error: mlr was killed by signal {-done.returncode}, most likely for want of memory")
    if done.returncode != 0:
        raise SystemExit(f"error: mlr: {done.stderr.decode(errors='replace').partition(chr(10))[0]}")
    rows = csv.DictReader(io.StringIO(done.stdout.decode(), newline=""))
    keyed = sorted((tuple(row[name].encode() for name in request.group_by), cells(request, row)) for row in rows)
    lines = [csv_line(request.titles()), *(csv_line(line) for _, line in keyed)]
    return "".join(lines).encode(), int(done.stderr)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the options that the cases use, and those of the lane contract."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version="csv-stream-aggregator miller")
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
