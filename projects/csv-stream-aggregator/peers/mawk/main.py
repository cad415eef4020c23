"""mawk under the lane contract of csv-stream-aggregator.

One `mawk` process a repeat, with a program written for the request: columns are numbered, keys are joined, sums are
doubles. It splits at every comma, so it runs only the cases without quotes. The sums are written with the digits of the
workload's columns, which is exact for its amounts; a mean is that sum divided exactly.
"""

from __future__ import annotations

import argparse
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
SEPARATOR = "\x1f"


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


def column_numbers(path: str) -> dict[str, int]:
    """Return the place of each column, from the first line."""
    with Path(path).open(encoding="utf-8") as file:
        return {name: number for number, name in enumerate(file.readline().rstrip("\n").split(","), 1)}


def program(request: Request, places: dict[str, int]) -> str:
    """Write the awk program of a request."""
    conditions = ["NR > 1"]
    for name, operator, value in request.filters:
        number = re.fullmatch(r"-?[0-9.]+", value)
        side = f"${places[name]}+0" if number else f'${places[name]}""'
        conditions.append(f"{side} {'==' if operator == '=' else operator} {value if number else quoted(value)}")
    key = ' "\\037" '.join(f"${places[name]}" for name in request.group_by) or '""'
    columns = dict.fromkeys((name, column) for name, column in request.aggregates if column)
    body = [f"k = {key}", "n[k]++"]
    for name, column in columns:
        value = f"${places[column]}+0"
        if name in {"sum", "mean"}:
            body.append(f"sum_{column}[k] += {value}" if name == "sum" or ("sum", column) not in columns else "")
        elif name != "count":
            better = f"{value} {'<' if name == 'min' else '>'} {name}_{column}[k]"
            body.append(f"if (n[k] == 1 || {better}) {name}_{column}[k] = {value}")
    printed = ", ".join(["k", "n[k]", *(f"{source(name)}_{column}[k]" for name, column in columns if name != "count")])
    formats = "\\036".join(["%s", "%d", *("%.17g" for name, _ in columns if name != "count")])
    end = f'END {{ for (k in n) printf "{formats}\\n", {printed}; print NR - 1 > "/dev/stderr" }}'
    return f"{' && '.join(conditions)} {{ {'; '.join(filter(None, body))} }}\n{end}"


def source(name: str) -> str:
    """Return the array that an aggregate is made from."""
    return "sum" if name == "mean" else name


def quoted(value: str) -> str:
    """Write an awk string."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def line_cells(request: Request, line: str) -> tuple[tuple[bytes, ...], list[str]]:
    """Return the key and the cells of one printed group."""
    key, count, *values = line.split("\x1e")
    fields = key.split(SEPARATOR) if request.group_by else []
    columns = [pair for pair in dict.fromkeys(request.aggregates) if pair[1] and pair[0] != "count"]
    numbers = dict(zip(columns, values, strict=True))
    made = list(fields)
    for name, column in request.aggregates:
        if name == "count":
            made.append(count)
            continue
        number = Decimal(numbers[name, column]).quantize(Decimal(1).scaleb(-FRACTION_DIGITS[column]))
        made.append(mean_text(number, int(count)) if name == "mean" else f"{number:f}")
    return tuple(field.encode() for field in fields), made


def run(request: Request) -> tuple[bytes, int]:
    """Answer a request from the raw file."""
    text = program(request, column_numbers(request.input))
    command = ["mawk", "-F", ",", text, request.input]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"error: mawk: {done.stderr.decode(errors='replace').splitlines()[:1]}")
    keyed = sorted(line_cells(request, line) for line in done.stdout.decode().split("\n")[:-1])
    lines = [csv_line(request.titles()), *(csv_line(cells) for _, cells in keyed)]
    return "".join(lines).encode(), int(done.stderr)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the options that the cases use, and those of the lane contract."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version="csv-stream-aggregator mawk")
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
