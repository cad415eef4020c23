"""The right answers of csv-stream-aggregator, computed without any lane.

    python oracle.py --workload verify --data DIR --cases CASES.json --out OUT

Writes OUT/<n>.answer and OUT/index.json. For `verify` the checks that the workload lists in DIR/checks.json are
appended. Two independent readers stand behind the answers:

* `strict_rows`, a small state machine over bytes, knows every rule of the job and every error. It is slow and
  serves the verify workload (and the differential tests import it).
* `quick_rows` is Python's `csv` module, for the big files, which have no bad rows. `tests/test_oracle.py` holds the
  two against each other.

Numbers are `decimal.Decimal` under a context that traps every inexact step; means are `fractions.Fraction`.

What the brief leaves open, decided here for every lane:

* A group exists when a row is in it: without rows (or with a filter that rejects all) only the header line is left,
  also without --group-by.
* The header (with --no-header: the first record) must be sound, also under `--on-error skip`.
* A file of nothing but empty lines is an `empty input`.
* The length of a record is counted without its line end; a number is NULL before it is anything else.
* Bytes after the last gzip member or zstd frame that start no further one are an error.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from itertools import islice
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
NUMBER = re.compile(rb"([+-]?)([0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE]([+-]?[0-9]+))?")
MAX_DIGITS = 18
MEAN_EXTRA_DIGITS = 6
I128_MAX = 2**127 - 1
sys.set_int_max_str_digits(0)  # fields of a million digits are part of the job
STRICT_LIMIT_BYTES = 4 << 20
CHUNK_ROWS = 1 << 18
COUNTED_ROWS = 1 << 21
BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ORDERED: dict[str, Callable[[Decimal, Decimal], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
EQUALITY: dict[str, Callable[[bytes, bytes], bool]] = {"=": eq, "!=": ne}


class BadInputError(Exception):
    """The job must end with exit code 2; the text is what stderr must contain."""


class BadRowError(Exception):
    """One row is bad: fatal with `--on-error fail`, counted with `skip`."""


# --- the command line ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """One `--where`: a column, an operator and a literal."""

    column: bytes
    operator: str
    literal: bytes


@dataclass(frozen=True)
class Aggregate:
    """One item of `--agg`; `column` is None for a bare `count`."""

    function: str
    column: bytes | None

    @property
    def title(self) -> bytes:
        """The name of the output column."""
        return self.function.encode() + (b"" if self.column is None else b"_" + self.column)


@dataclass(frozen=True)
class Job:
    """What one command line asks for."""

    path: Path
    group_by: tuple[bytes, ...]
    aggregates: tuple[Aggregate, ...]
    filters: tuple[Filter, ...]
    delimiter: bytes
    header: bool
    skip: bool
    compression: str
    max_groups: int
    max_record_bytes: int
    format: str


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of leaving the process."""

    def error(self, message: str) -> NoReturn:
        """Turn a usage error into a must-fail answer without a text to look for."""
        raise BadInputError("error: ") from ValueError(message)


def command_line() -> Parser:
    """Return the parser of a lane's own options, as far as an answer depends on them."""
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--input", required=True)
    parser.add_argument("--group-by")
    parser.add_argument("--agg", required=True)
    parser.add_argument("--where", action="append", default=[])
    parser.add_argument("--delimiter", default=",")
    parser.add_argument("--no-header", action="store_true")
    parser.add_argument("--on-error", default="fail", choices=["fail", "skip"])
    parser.add_argument("--compression", default="auto", choices=["auto", "none", "gzip", "zstd"])
    parser.add_argument("--max-groups", type=int, default=1_000_000)
    parser.add_argument("--max-record-bytes", type=int, default=1 << 20)
    parser.add_argument("--format", default="csv", choices=["csv", "json"])
    return parser


def parse_job(args: Sequence[str]) -> Job:
    """Read a lane's command line."""
    options = command_line().parse_args(args)
    delimiter = "\t" if options.delimiter == "\\t" else options.delimiter
    if len(delimiter) != 1 or ord(delimiter) >= 0x80 or delimiter in '"\r\n':
        raise BadInputError("delimiter")
    return Job(
        path=Path(options.input),
        group_by=tuple(options.group_by.encode().split(b",")) if options.group_by is not None else (),
        aggregates=tuple(parse_aggregate(item) for item in options.agg.split(",")),
        filters=tuple(parse_filter(text) for text in options.where),
        delimiter=delimiter.encode(),
        header=not options.no_header,
        skip=options.on_error == "skip",
        compression=options.compression,
        max_groups=options.max_groups,
        max_record_bytes=options.max_record_bytes,
        format=options.format,
    )


def parse_aggregate(item: str) -> Aggregate:
    """Read `count` or `function:column`."""
    function, colon, column = item.partition(":")
    known = {"count", "sum", "min", "max", "mean"} if colon else {"count"}
    if function not in known or (colon and not column):
        raise BadInputError(item)
    return Aggregate(function, column.encode() if colon else None)


def parse_filter(text: str) -> Filter:
    """Read `column OP literal`."""
    match = re.fullmatch(r"([^=!<>]*?) *(!=|<=|>=|=|<|>) *(.*)", text, re.DOTALL)
    if match is None:
        raise BadInputError(text)
    name, operator, literal = match.groups()
    if operator in ORDERED:
        try:
            parse_number(literal.encode())
        except BadRowError as error:
            raise BadInputError(literal) from error
    return Filter(name.encode(), operator, literal.encode())


# --- bytes -----------------------------------------------------------------------------------------------------------


def compression_of(job: Job) -> str:
    """Say how the input is compressed: as told, or by its first bytes."""
    if job.compression != "auto":
        return job.compression
    with job.path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == GZIP_MAGIC:
        return "gzip"
    return "zstd" if magic == ZSTD_MAGIC else "none"


def open_input(job: Job) -> BinaryIO:
    """Open the input as a stream of plain bytes."""
    compression = compression_of(job)
    if compression == "gzip":
        return cast("BinaryIO", gzip.open(job.path, "rb"))
    if compression == "zstd":
        decompressor = zstandard.ZstdDecompressor()
        return cast("BinaryIO", decompressor.stream_reader(job.path.open("rb"), read_across_frames=True))
    return job.path.open("rb")


def read_input(job: Job) -> bytes:
    """Return all bytes of the input, or say that they cannot be had."""
    if job.compression == "zstd" or (job.compression == "auto" and compression_of(job) == "zstd"):
        return read_zstd(job.path.read_bytes())
    try:
        with open_input(job) as stream:
            return stream.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadInputError("gzip") from error
    except OSError as error:
        raise BadInputError(job.path.name) from error


def read_zstd(data: bytes) -> bytes:
    """Decompress every frame; an unfinished one is an error (the stream reader would pass over it)."""
    plain = []
    while data:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        try:
            plain.append(decompressor.decompress(data))
        except zstandard.ZstdError as error:
            raise BadInputError("zstd") from error
        if not decompressor.eof:
            raise BadInputError("zstd")
        data = decompressor.unused_data
    return b"".join(plain)


# --- records ---------------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """One record: where it starts, its bytes without the line end, its fields, and what is wrong with its quotes."""

    line: int
    raw: bytes
    fields: list[bytes]
    problem: str | None = None


class RecordReader:
    """Reads RFC 4180 records, as the job defines them, from bytes."""

    def __init__(self, data: bytes, delimiter: bytes) -> None:
        """Start behind the byte order mark."""
        self.data = data
        self.position = len(BOM) if data.startswith(BOM) else 0
        self.line = 1
        self.plain = re.compile(b"[^\n" + re.escape(delimiter) + b"]*")
        self.delimiter = delimiter

    def __iter__(self) -> Iterator[Record]:
        """Yield every record; empty lines are none."""
        while self.position < len(self.data):
            end = self.line_end(self.position)
            if end:
                self.position += end
                self.line += 1
            else:
                yield self.record()

    def line_end(self, position: int) -> int:
        """Return the length of the line end at a position, 0 when there is none."""
        if self.data.startswith(b"\n", position):
            return 1
        return 2 if self.data.startswith(b"\r\n", position) else 0

    def record(self) -> Record:
        """Read one record and step over its line end."""
        start = self.position
        record = Record(self.line, b"", [])
        while self.field(record):
            pass
        record.raw = self.data[start : self.position]
        self.position += self.line_end(self.position)
        self.line += self.data.count(b"\n", start, self.position)
        return record

    def field(self, record: Record) -> bool:
        """Read one field; say whether another one follows."""
        if self.data.startswith(b'"', self.position):
            record.fields.append(self.quoted(record.line))
        else:
            record.fields.append(self.unquoted())
        if self.data.startswith(self.delimiter, self.position):
            self.position += 1
            return True
        if self.position < len(self.data) and not self.line_end(self.position):
            record.problem = "text after closing quote"
            self.unquoted_rest()
        return False

    def quoted(self, line: int) -> bytes:
        """Read a quoted field, through its closing quote."""
        text = b""
        while True:
            end = self.data.find(b'"', self.position + 1)
            if end < 0:
                raise BadInputError(f"line {line}: unterminated quote")
            text += self.data[self.position + 1 : end]
            self.position = end + 1
            if not self.data.startswith(b'"', self.position):
                return text
            text += b'"'

    def unquoted(self) -> bytes:
        """Read a field without quotes; the CR of a CRLF is not part of it."""
        match = cast("re.Match[bytes]", self.plain.match(self.data, self.position))
        text = match.group()
        if text.endswith(b"\r") and self.data.startswith(b"\n", match.end()):
            text = text[:-1]
        self.position += len(text)
        return text

    def unquoted_rest(self) -> None:
        """Step to the next line end, whatever comes before it."""
        end = self.data.find(b"\n", self.position)
        self.position = len(self.data) if end < 0 else end
        if end > 0 and self.data[end - 1 : end] == b"\r":
            self.position -= 1


def check_structure(record: Record, width: int) -> None:
    """Raise when quotes, number of fields or encoding of a record are wrong, in this order."""
    if record.problem is not None:
        raise BadRowError(record.problem)
    if len(record.fields) != width:
        raise BadRowError(f"{len(record.fields)} fields, expected {width}")
    try:
        record.raw.decode()
    except UnicodeDecodeError as error:
        raise BadRowError("invalid UTF-8") from error


# --- numbers ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1 << 20)
def parse_number(text: bytes) -> Decimal:
    """Return the exact value; its exponent is minus the scale."""
    match = NUMBER.fullmatch(text)
    if match is None:
        raise BadRowError("not a number")
    sign, digits, exponent_text = match.groups()
    whole, _, fraction = digits.partition(b".")
    mantissa = int(whole + fraction)
    scale = len(fraction) - int(exponent_text or b"0")
    if mantissa and scale < -MAX_DIGITS:
        raise BadRowError("number out of range")
    if scale < 0:
        mantissa, scale = mantissa * 10 ** min(-scale, MAX_DIGITS), 0
    if scale > MAX_DIGITS or len(str(mantissa)) > MAX_DIGITS:
        raise BadRowError("number out of range")
    return Decimal((int(sign == b"-"), tuple(map(int, str(mantissa))), -scale))


def scale_of(value: Decimal) -> int:
    """Return the number of fraction digits of a value."""
    return -cast("int", value.as_tuple().exponent)


def render_scaled(units: int, scale: int) -> bytes:
    """Write units x 10^-scale in full."""
    digits = str(abs(units)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return (("-" if units < 0 else "") + text).encode()


# --- aggregates ------------------------------------------------------------------------------------------------------


@dataclass
class Column:
    """What is known of one aggregated column within a group."""

    total: Decimal | None = None
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    values: int = 0
    filled: int = 0

    def add(self, value: Decimal, times: int) -> None:
        """Add a value, `times` times."""
        part = EXACT.multiply(value, Decimal(times))
        if self.total is None:
            self.total, self.low, self.high = part, value, value
        else:
            self.total = EXACT.add(self.total, part)
            self.low, self.high = min(self.low, value), max(self.high, value)
        self.values += times

    def units(self) -> int:
        """Return the sum in units of its scale."""
        total = cast("Decimal", self.total)
        return int(EXACT.scaleb(total, scale_of(total)))

    def render(self, function: str) -> bytes | None:
        """Write one aggregate of the column; None when there is no value."""
        if function == "count":
            return str(self.filled).encode()
        if self.total is None:
            return None
        scale = scale_of(self.total)
        if function == "sum":
            return render_scaled(self.units(), scale)
        if function == "mean":
            exact = Fraction(self.total) / self.values
            return render_scaled(round(exact * 10 ** (scale + MEAN_EXTRA_DIGITS)), scale + MEAN_EXTRA_DIGITS)
        value = self.low if function == "min" else self.high
        return render_scaled(int(EXACT.scaleb(value, scale)), scale)


@dataclass
class Group:
    """The rows of one key."""

    count: int = 0
    columns: dict[bytes, Column] = field(default_factory=dict)


class Table:
    """The groups of a job and how a row gets into them."""

    def __init__(self, job: Job, names: Sequence[bytes]) -> None:
        """Find the columns of the job among the names of the input."""
        self.job = job
        self.names = names
        self.groups: dict[tuple[bytes, ...], Group] = {}
        self.keys = [self.find(name) for name in job.group_by]
        self.filters = [(self.find(item.column), item) for item in job.filters]
        counted = [item.column for item in job.aggregates if item.column is not None]
        self.counted = {name: self.find(name) for name in counted}
        numeric = [item.column for item in job.aggregates if item.column is not None and item.function != "count"]
        self.numeric = {name: self.find(name) for name in numeric}
        self.used = sorted({*self.keys, *self.counted.values(), *(position for position, _ in self.filters)})

    def pick(self, row: Sequence[str]) -> tuple[str, ...]:
        """Return the fields of a row that decide which rows are equal."""
        return tuple([row[position] for position in self.used])

    def find(self, name: bytes) -> int:
        """Return the position of a column."""
        if self.names.count(name) > 1:
            raise BadInputError(name.decode())
        if name not in self.names:
            raise BadInputError(name.decode())
        return self.names.index(name)

    def number(self, fields: Sequence[bytes], position: int) -> Decimal | None:
        """Read a numeric field, None when it is empty."""
        text = fields[position]
        if not text:
            return None
        try:
            return parse_number(text)
        except BadRowError as error:
            shown = f': "{text.decode()}"' if re.fullmatch(rb"[ !#-\[\]-~]{1,40}", text) else ""
            raise BadRowError(f"column {self.names[position].decode()}: {error}{shown}") from None

    def wanted(self, fields: Sequence[bytes]) -> bool:
        """Say whether all filters let a row through."""
        for position, item in self.filters:
            if item.operator in EQUALITY:
                passed = EQUALITY[item.operator](fields[position], item.literal)
            else:
                value = self.number(fields, position)
                passed = value is not None and ORDERED[item.operator](value, parse_number(item.literal))
            if not passed:
                return False
        return True

    def add(self, fields: Sequence[bytes], times: int = 1) -> None:
        """Put a sound row into its group."""
        if not self.wanted(fields):
            return
        numbers = {name: self.number(fields, position) for name, position in self.numeric.items()}
        key = tuple(fields[position] for position in self.keys)
        group = self.groups.get(key)
        if group is None:
            if len(self.groups) == self.job.max_groups:
                raise BadInputError("groups")
            group = self.groups[key] = Group(columns={name: Column() for name in self.counted})
        group.count += times
        for name, position in self.counted.items():
            group.columns[name].filled += times if fields[position] else 0
            value = numbers.get(name)
            if value is not None:
                group.columns[name].add(value, times)

    def check_sums(self, key: tuple[bytes, ...]) -> None:
        """Raise when a sum of a group leaves 128 bits."""
        group = self.groups.get(key)
        for column in group.columns.values() if group else ():
            if column.total is not None and not -I128_MAX <= column.units() <= I128_MAX:
                raise BadInputError("sum out of range in group")

    def cells(self, group: Group) -> Iterator[bytes | None]:
        """Write the aggregates of a group in the order asked."""
        for item in self.job.aggregates:
            if item.column is None:
                yield str(group.count).encode()
            else:
                yield group.columns[item.column].render(item.function)

    def render(self) -> bytes:
        """Write the canonical answer."""
        titles = [*self.job.group_by, *(item.title for item in self.job.aggregates)]
        rows = [(key, list(self.cells(group))) for key, group in sorted(self.groups.items())]
        if self.job.format == "json":
            return b"".join(json_line(titles, key, cells) for key, cells in rows)
        lines: list[Sequence[bytes | None]] = [titles, *([*key, *cells] for key, cells in rows)]
        return b"".join(csv_line(line) for line in lines)


def csv_line(cells: Sequence[bytes | None]) -> bytes:
    """Write one line of CSV with the quotes that it needs and no others."""
    texts = [cell or b"" for cell in cells]
    if texts == [b""]:
        return b'""\n'
    quoted = [b'"' + text.replace(b'"', b'""') + b'"' if re.search(rb'[,"\r\n]', text) else text for text in texts]
    return b",".join(quoted) + b"\n"


def json_line(titles: Sequence[bytes], key: Sequence[bytes], cells: Sequence[bytes | None]) -> bytes:
    """Write one object; keys of the group are strings, aggregates are bare numbers."""
    values = [json_string(value) for value in key] + [b"null" if cell is None else cell for cell in cells]
    members = (json_string(title) + b":" + value for title, value in zip(titles, values, strict=True))
    return b"{" + b",".join(members) + b"}\n"


def json_string(text: bytes) -> bytes:
    """Write a JSON string; everything above the control characters stays as it is."""
    return json.dumps(text.decode(), ensure_ascii=False).encode()


# --- one job ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """The canonical bytes, the number of data records and how many of them were skipped."""

    text: bytes
    items: int
    skipped: int = 0


def first_record(job: Job, records: Iterator[Record]) -> tuple[list[bytes], Iterable[Record]]:
    """Return the column names and the data records."""
    record = next(records, None)
    if record is None:
        raise BadInputError("empty input: no header")
    check_length(job, record)
    try:
        check_structure(record, len(record.fields))
    except BadRowError as error:
        raise BadInputError(f"line {record.line}: {error}") from error
    if job.header:
        return record.fields, records
    return [str(index + 1).encode() for index in range(len(record.fields))], (
        r for part in ([record], records) for r in part
    )


def check_length(job: Job, record: Record) -> None:
    """Raise when a record is longer than the job allows."""
    if len(record.raw) > job.max_record_bytes:
        raise BadInputError(f"line {record.line}: record longer than {job.max_record_bytes} bytes")


def strict_answer(job: Job, data: bytes) -> Answer:
    """Answer a job by the slow reader, which knows every rule."""
    names, records = first_record(job, iter(RecordReader(data, job.delimiter)))
    table = Table(job, names)
    items = skipped = 0
    for record in records:
        items += 1
        check_length(job, record)
        try:
            check_structure(record, len(names))
            table.add(record.fields)
        except BadRowError as error:
            if not job.skip:
                raise BadInputError(f"line {record.line}: {error}") from error
            skipped += 1
            continue
        table.check_sums(tuple(record.fields[position] for position in table.keys))
    return Answer(table.render(), items, skipped)


def quick_rows(job: Job, stream: BinaryIO) -> Iterator[list[list[str]]]:
    """Yield the records of a sound file in chunks, by the csv module."""
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    reader = csv.reader(text, delimiter=job.delimiter.decode(), strict=True)
    while chunk := list(islice(reader, CHUNK_ROWS)):
        yield [row for row in chunk if row]


def quick_answer(job: Job) -> Answer:
    """Answer a job over a big sound file: equal rows are counted first and added once."""
    table: Table | None = None
    items = 0
    counted: Counter[tuple[str, ...]] = Counter()
    for rows in quick_rows(job, open_input(job)):
        if table is None:
            names = [name.encode() for name in rows[0]]
            table = Table(job, names if job.header else [str(i + 1).encode() for i in range(len(names))])
            rows = rows[1:] if job.header else rows  # noqa: PLW2901 - the header is no data record
        if {len(row) for row in rows} - {len(table.names)}:
            raise BadInputError("ragged row in a big workload")
        items += len(rows)
        counted.update(map(table.pick, rows))
        if len(counted) > COUNTED_ROWS:
            add_counted(table, counted)
    if table is None:
        raise BadInputError("empty input: no header")
    add_counted(table, counted)
    return Answer(table.render(), items)


def add_counted(table: Table, counted: Counter[tuple[str, ...]]) -> None:
    """Add counted rows to a table and forget them."""
    fields = [b""] * len(table.names)
    for values, times in counted.items():
        for position, value in zip(table.used, values, strict=False):
            fields[position] = value.encode()
        table.add(fields, times)
    counted.clear()


def answer(args: Sequence[str]) -> Answer:
    """Answer one command line, or raise BadInputError."""
    job = parse_job(args)
    if not job.path.is_file():
        raise BadInputError(job.path.name)
    if job.path.stat().st_size > STRICT_LIMIT_BYTES:
        return quick_answer(job)
    return strict_answer(job, read_input(job))


# --- the harness -----------------------------------------------------------------------------------------------------


def entry(number: int, name: str, args: list[str], out: Path) -> dict[str, object]:
    """Work out one entry of the index and write its answer."""
    shared: dict[str, object] = {"name": name, "args": args}
    try:
        result = answer(args)
    except BadInputError as error:
        return {**shared, "exit_code": 2, "stderr": str(error)}
    (out / f"{number}.answer").write_bytes(result.text)
    return {**shared, "answer": f"{number}.answer", "items": result.items, "compare": "exact"}


def read_checks(data: Path) -> list[dict[str, object]]:
    """Return the further checks of the verify workload with its folder put in."""
    checks = json.loads((data / "checks.json").read_text(encoding="utf-8"))
    for check in checks:
        check["args"] = [arg.replace("{data}", str(data)) for arg in check["args"]]
    return cast("list[dict[str, object]]", checks)


def build_index(cases: list[dict[str, object]], out: Path) -> list[dict[str, object]]:
    """Answer all cases; a check whose outcome is not the one its author expected is a bug in the oracle."""
    index = []
    for number, case in enumerate(cases):
        made = entry(number, cast("str", case["name"]), cast("list[str]", case["args"]), out)
        expected = cast("str | None", case.get("stderr"))
        if (expected is None) != ("answer" in made) or (expected or "") not in cast("str", made.get("stderr", "")):
            raise SystemExit(f"oracle: {case['name']}: {made} is not what the check expects ({expected})")
        index.append(made)
    return index


def main() -> int:
    """Run the oracle for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    cases = json.loads(options.cases.read_text(encoding="utf-8"))
    if options.workload == "verify":
        cases += read_checks(options.data)
    index = build_index(cases, options.out)
    (options.out / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
