"""Makes the inputs of csv-stream-aggregator.

    python workload.py --workload bench --seed 2 --size '{"rows": 2000000, "quoted_rows": 1000000}' --out DIR

Every workload has `sales.csv`, orders of a shop. `quoted_rows` adds `quoted.csv` (quotes, commas and newlines inside
fields), `compressed_rows` adds `sales.csv.gz` and `sales.csv.zst`, a slice of the same orders. The body of an order
repeats after BLOCK_ROWS rows, its id does not. `verify` adds `edge/`, `bad/` and `checks.json`, the list of further
checks that the oracle answers.

Same seed and size, same CSV bytes on any machine: every value is a splitmix64 hash of (seed, column, row). The
compressed files decompress to the same bytes anywhere; their own bytes depend on the zlib and libzstd that made them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADER = "order_id,ts,region,category,product,customer,quantity,unit_price,discount,amount,note\n"
BLOCK_ROWS = 1_000_000
WRITE_ROWS = 100_000
FIRST_ORDER_ID = 10_000_000
CUSTOMERS = 100_000
MAX_PRICE_CENTS = 50_000
MAX_QUANTITY = 20
REGIONS = ["north", "south", "east", "west", "central", "overseas", "islands", "online"]
NOUNS = ["Lamp", "Chair", "Table", "Shelf", "Kettle", "Radio", "Clock", "Carpet", "Mirror", "Vase", "Drill", "Saw"]
MATERIALS = ["Brass", "Oak", "Steel", "Glass", "Linen", "Copper", "Walnut", "Marble", "Rattan", "Tin"]
CATEGORIES = [
    "garden",
    "kitchen",
    "office",
    "bath",
    "lighting",
    "toys",
    "sports",
    "music",
    "travel",
    "books",
    "tools",
    "art",
]
NOTES = [
    "",
    "",
    "",
    "",
    "",
    "gift",
    "express",
    "fragile",
    "leave at door",
    "call first",
    "café pickup",
    "naïve résumé 日本",
]
QUOTED_NOTES = [
    '""',
    '"gift, wrapped"',
    "plain",
    '"says ""hello"""',
    '"first line\nsecond line"',
    '"a,b,c"',
    "",
    '"über\r\nlang"',
]


# --- sales -----------------------------------------------------------------------------------------------------------


def hashes(seed: int, column: int, rows: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Return splitmix64 of (seed, column, row) for rows 0..rows-1."""
    state = np.arange(rows, dtype=np.uint64) + np.uint64((seed * 64 + column) << 32)
    state = (state + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@dataclass(frozen=True)
class Columns:
    """Draws the columns of one block of orders."""

    seed: int
    rows: int

    def below(self, column: int, limit: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Return numbers below a limit."""
        return (hashes(self.seed, column, self.rows) % np.uint64(limit)).astype(np.int64)

    def pick(self, column: int, values: list[str]) -> list[str]:
        """Return one of the values for each row."""
        return [values[index] for index in self.below(column, len(values)).tolist()]


def money_texts(limit: int) -> list[str]:
    """Return 0.00, 0.01, ... below a limit in cents."""
    return [f"{cents // 100}.{cents % 100:02d}" for cents in range(limit)]


def timestamps(draw: Columns) -> Iterator[str]:
    """Return times of the year 2025."""
    seconds = draw.below(1, 365 * 86_400)
    start = np.datetime64("2025-01-01T00:00:00", "s")
    return iter(np.datetime_as_string(start + seconds).tolist())


def order_bodies(seed: int, rows: int, *, quoted: bool) -> list[str]:
    """Return the text of each order behind its id."""
    draw = Columns(seed, rows)
    products = [f"{material} {noun}" for material in MATERIALS for noun in NOUNS]
    categories, notes = CATEGORIES, NOTES
    if quoted:
        products = [f'"{name.replace(" ", ", ")}"' for name in products]
        categories, notes = [f'"{name}"' for name in CATEGORIES], QUOTED_NOTES
    quantity, cents, percent = draw.below(6, MAX_QUANTITY) + 1, draw.below(7, MAX_PRICE_CENTS), draw.below(8, 31)
    amount = quantity * cents * (100 - percent) // 100
    money = money_texts(MAX_QUANTITY * MAX_PRICE_CENTS)
    return [
        f",{ts},{region},{category},{product},C{customer:07d},{count},{money[price]},{money[off]},{money[total]},{note}\n"
        for ts, region, category, product, customer, count, price, off, total, note in zip(
            timestamps(draw),
            draw.pick(2, REGIONS),
            draw.pick(3, categories),
            draw.pick(4, products),
            draw.below(5, CUSTOMERS).tolist(),
            quantity.tolist(),
            cents.tolist(),
            percent.tolist(),
            amount.tolist(),
            draw.pick(9, notes),
            strict=True,
        )
    ]


def order_blocks(bodies: list[str], rows: int) -> Iterator[bytes]:
    """Yield the header and the orders in pieces; bodies repeat, ids run on."""
    yield HEADER.encode()
    for start in range(0, rows, WRITE_ROWS):
        end = min(start + WRITE_ROWS, rows)
        first = start % len(bodies)
        part = itertools.islice(itertools.cycle(bodies[first : first + end - start] or bodies), end - start)
        ids = range(FIRST_ORDER_ID + start, FIRST_ORDER_ID + end)
        yield "".join([f"{order}{body}" for order, body in zip(ids, part, strict=True)]).encode()


def write_blocks(path: Path, blocks: Iterator[bytes]) -> None:
    """Write pieces to a file."""
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)


def write_gzip(path: Path, blocks: Iterator[bytes]) -> None:
    """Write pieces as one gzip member without a time."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as file:
        for block in blocks:
            file.write(block)


def write_zstd(path: Path, blocks: Iterator[bytes]) -> None:
    """Write pieces as one zstd frame with a checksum."""
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True)
    with path.open("wb") as raw, compressor.stream_writer(raw) as file:
        for block in blocks:
            file.write(block)


def write_sales(out: Path, seed: int, size: dict[str, int]) -> None:
    """Write the big files that the size asks for."""
    bodies = order_bodies(seed, min(size["rows"], BLOCK_ROWS), quoted=False)
    write_blocks(out / "sales.csv", order_blocks(bodies, size["rows"]))
    if "compressed_rows" in size:
        write_gzip(out / "sales.csv.gz", order_blocks(bodies, size["compressed_rows"]))
        write_zstd(out / "sales.csv.zst", order_blocks(bodies, size["compressed_rows"]))
    if "quoted_rows" in size:
        bodies = order_bodies(seed, min(size["quoted_rows"], BLOCK_ROWS), quoted=True)
        write_blocks(out / "quoted.csv", order_blocks(bodies, size["quoted_rows"]))


# --- edge cases ------------------------------------------------------------------------------------------------------

BOM = b"\xef\xbb\xbf"
PEOPLE = (
    b"name,city,amount,weight\nann,Bonn,1.50,3\nbob,Rome,2.5,\ncid,Bonn,-4,7\n"
    b"dan,Oslo,,1\neve,Rome,0.125,2e1\nann,Bonn,10,3\n"
)
QUOTES = (
    b'name,amount,"the ""note"""\n"a,b",1,x\n"say ""hi""",2,"line one\nline two"\n"",3,""\nplain,4,in"side\n'
    b'"a,b","5",6"\n"tail",6,"\r\n"\n""""," 7",q\n'
)
SORTED_LATE = b"k,j,v\nb,1,1\na,2,2\n\xc3\xa9,1,3\na,1,4\nab,0,5\nA,9,6\n,9,7\na,,8\n"


def frame(*parts: bytes) -> bytes:
    """Compress every part as a zstd frame of its own."""
    return b"".join(zstandard.ZstdCompressor(level=3, write_checksum=True).compress(part) for part in parts)


def members(*parts: bytes) -> bytes:
    """Compress every part as a gzip member of its own."""
    return b"".join(gzip.compress(part, mtime=0) for part in parts)


def wide_frame(data: bytes) -> bytes:
    """Compress by the strongest ordinary level: a window of 8 MiB, no content size in the header."""
    compressor = zstandard.ZstdCompressor(level=19).compressobj()
    return compressor.compress(data) + compressor.flush()


def named_member(data: bytes) -> bytes:
    """Return a gzip member with a file name in its header."""
    raw = io.BytesIO()
    with gzip.GzipFile("people.csv", "wb", 9, raw, mtime=1) as file:
        file.write(data)
    return raw.getvalue()


def many_groups(groups: int) -> bytes:
    """Return rows of many keys, each key met twice."""
    rows = [f"key{(row * 7919) % groups},{row % 1000}.{row % 10}\n" for row in range(groups * 2)]
    return ("key,v\n" + "".join(rows)).encode()


def edge_files() -> dict[str, bytes]:
    """Return the small files with every rule in them."""
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip"
    return {
        "people.csv": PEOPLE,
        "people-crlf.csv": PEOPLE.replace(b"\n", b"\r\n"),
        "people-mixed.csv": PEOPLE.replace(b"\nann", b"\r\nann"),
        "people-bom.csv": BOM + PEOPLE,
        "people-bom-quoted.csv": BOM + PEOPLE.replace(b"name", b'"name"'),
        "people-no-end.csv": PEOPLE[:-1],
        "people-blank-lines.csv": b"\n\r\n" + PEOPLE.replace(b"\n", b"\n\n\r\n"),
        "people.tsv": PEOPLE.replace(b",", b"\t"),
        "people.ssv": PEOPLE.replace(b",", b";"),
        "people.psv": PEOPLE.replace(b",", b"|").replace(b"Bonn", b'"Bo|nn"'),
        "people-x.csv": PEOPLE.replace(b",", b"x"),
        "people.csv.gz": members(PEOPLE),
        "people.csv.zst": frame(PEOPLE),
        "people-named.gz": named_member(PEOPLE),
        "people-members.gz": members(PEOPLE[:50], b"", PEOPLE[50:77], PEOPLE[77:]),
        "people-frames.zst": frame(PEOPLE[:50], b"", PEOPLE[50:77]) + skippable + frame(PEOPLE[77:]) + skippable,
        "people-wide.zst": wide_frame(PEOPLE * 1),
        "people-bom.gz": members(BOM[:1], BOM[1:] + PEOPLE),
        "quotes.csv": QUOTES,
        "quotes-crlf.csv": QUOTES.replace(b"\n", b"\r\n"),
        "quotes-no-end.csv": b'a,b\n1,"x',
        "closed-at-end.csv": b'a,b\n1,"x"',
        "cr.csv": b"a,b\nx\ry,1\n\r,2\nx\r\r\n3,4\r",
        "cr-two.csv": b"a,b\nx\ry,1\n\r,2\nx,3\r\r\n3,4\r",
        "order.csv": SORTED_LATE,
        "header-only.csv": b"a,b\n",
        "header-no-end.csv": b"a,b",
        "one-column.csv": b'a\n1\n""\n2\n',
        "no-header.csv": b'x,1.5,"p"\ny,2,q\nx,3,\n',
        "duplicate.csv": b"a,b,a\n1,2,3\n",
        "empty-name.csv": b"a,,c\n1,2,3\n",
        "odd-names.csv": b'"a b","quo""te",\xc3\xbc\n1,2,3\nx,4,5\n',
        "control.csv": b'k,v\n"a\tb",1\n"c\nd",2\n"\x01\x1f\x7f",3\n'
        b'"q""\\/",4\n"\x08\x0c\r",5\nnul\x00in,6\n\xf0\x9f\x98\x80,7\n',
        "ragged.csv": b'a,b,c\n1,2,3\n4,5\n\n6,7,8,9\n"x\ny",1,2\n,,\n7,7\xff\n1,1,1\n',
        "bad-rows.csv": b'a,b,c\nx,1,1\ny,abc,2\nx,2,\nz,"3"x,"4"\n5,5"5,1\nx,1\xc3,3\nx,,9\nx,1e19,1\ny,4,zz\nx,3,1\n',
        "utf8-bad.csv": b"a,b\nok,1\n\xc0\xaf,2\n\xed\xa0\x80,3\n"
        b"\xf4\x90\x80\x80,4\n\xe2\x82,5\n\xe2\x82\xac,6\n\x80,7\n\xf0\x9f\x98\x80,8\n",
        "overflow.csv": b"g,v\n" + b"a,0.000000000000000001\n" + b"a,999999999999999999\n" * 200,
        "overflow-negative.csv": b"g,v\n" + b"a,-999999999999999999\n" * 200 + b"a,0.000000000000000001\n",
        "nearly-overflow.csv": b"g,v\n" + b"a,0.000000000000000001\n" + b"a,999999999999999999\n" * 160 + b"b,-1\n",
        "round.csv": b"g,v\n" + b"".join(b"%d,%s\n" % (g, v) for g, vs in enumerate(ROUNDING) for v in vs),
        "shapes.csv": b"g,v\n" + b"".join(b"%d,%s\n" % (i % 7, text.encode()) for i, text in enumerate(GOOD_NUMBERS)),
        "scales.csv": b"g,v\na,1.50\na,2.5\nb,1\nb,0.00\nb,-0\nc,-0.0\nc,0\nd,1e3\nd,1.5e-3\ne,\ne,\n",
        "groups.csv": many_groups(20_000),
        "long-field.csv": b"a,b\n" + b'"' + b"x" * 300_000 + b'",1\n' + b"y" * 300_000 + b",2\n",
        "long-record.csv": b"a,b\nx,1\n" + b"y" * 5_000 + b",2\n",
        "many-columns.csv": (
            ",".join(f"c{i}" for i in range(2000)) + "\n" + (",".join(["7"] * 2000) + "\n") * 3
        ).encode(),
    }


ROUNDING = [
    [b"1", b"0", b"0"],
    [b"0.0000005", b"0"],
    [b"0.000001", b"0"],
    [b"0.000003", b"0"],
    [b"-0.0000001", b"0", b"0", b"0", b"0", b"0", b"0", b"0", b"0", b"0", b"0", b"0"],
    [b"2", b"2", b"1"],
    [b"-2", b"-2", b"-1"],
    [b"0.1", *[b"0"] * 15],
    [b"1", *[b"0"] * 127],
    [b"3", *[b"0"] * 127],
    [b"-3", *[b"0"] * 127],
    [b"999999999999999999", b"999999999999999998"],
    [b"0.000000000000000001", b"0", b"0"],
    [b"999999999.999999999", b"0.0000000005"],
]
# Tables of numbers, not one number a line.
# fmt: off
GOOD_NUMBERS = [
    "0", "-0", "+0", "1", "+1", "-1", "007", "0.", ".5", "-.5", "+.5", "1.", "1.0", "1.50", "00.10", "-0.00",
    "0.0000", "1e0", "1E2", "1e+2", "1e-2", "1.5e1", "1.5e-1", "1.50e1", ".5e1", "5.e1", "1e17", "-1e17", "12e16",
    "0e99", "0e999999999999", "999999999999999999", "-999999999999999999", "0.999999999999999999",
    "0.000000000000000001", "1e-18", "123456789.123456789", "0000000000000000000000000000001",
    "00000000000000000000.5", "100000000000000000e0", "12345678", "123456789", "1234567.8", "12345678.12345678",
    "0.1234567", "00000000.00000000", "0.00e2", "1.00e2", "0e-18", "1e00000000000000000002",
    "1e-00000000000000000002",
]
NOT_NUMBERS = [
    "abc", "1a", "a1", "NaN", "nan", "inf", "Infinity", "-inf", "0x10", "1_000", "1.2.3", "--1", "+-1", "+", "-",
    ".", "-.", "e5", ".e5", "1e", "1e+", "1e-", "1e1.5", "1,5", "12345678x", "x2345678", "1234567/", "1234567:",
    "\uff11", "1;2", "1e1e1", " 1", "1 ", "1e 5", "1\u00a0",
]
OUT_OF_RANGE = [
    "1000000000000000000", "-1000000000000000000", "1e18", "10e17", "1.0e18", "0.1234567890123456789", "1e-19",
    "0e-19", "0.0000000000000000000", "1e99999999999999999999", "1e-99999999999999999999",
    "12345678901234567890123456789012345678901234567890", "0e-99999999999999999999", "1234567890123456.789",
    "100000000000000000.0", "1.000000000000000000", "9223372036854775808", "18446744073709551616",
    "340282366920938463463374607431768211456",
]
# fmt: on


def bad_files() -> dict[str, bytes]:
    """Return files that no answer exists for."""
    zipped, framed = members(PEOPLE), frame(PEOPLE)
    return {
        "empty.csv": b"",
        "bom-only.csv": BOM,
        "blank-lines.csv": b"\n\r\n\n",
        "empty.csv.gz": members(b""),
        "empty.csv.zst": frame(b""),
        "unterminated.csv": b'name,amount\nann,1\n\n"bob,2\ncid,3\n',
        "unterminated-header.csv": b'"name,amount\nann,1\n',
        "after-quote.csv": b'name,amount\nann,1\n"bob"x,2\n',
        "after-quote-header.csv": b'"name"s,amount\nann,1\n',
        "ragged.csv": b"name,amount\nann,1\nbob\n",
        "too-wide.csv": b"name,amount\nann,1\nbob,2,3\n",
        "utf8.csv": b"name,amount\nann,1\n\xff\xfe,2\n",
        "utf8-cut.csv": b"name,amount\nann,1\nbob,\xe2\x82",
        "utf8-header.csv": b"na\xc3,amount\nann,1\n",
        "not-a-number.csv": b"name,amount\nann,1\nbob,12x\n",
        "nan.csv": b"name,amount\nann,NaN\n",
        "range.csv": b"name,amount\nann,1\n\nbob,12345678901234567890\n",
        "control.csv": b'name,amount\nann,"a\nb\x1b[31m\x00"\n',
        "long-value.csv": b"name,amount\nann," + b"z" * 100_000 + b"\n",
        "long-record.csv": b"name,amount\nann,1\n" + b"z" * 3_000_000 + b",1\n",
        "long-quoted.csv": b'name,amount\nann,1\n"' + b"z\n" * 1_500_000 + b'",1\n',
        "truncated.csv.gz": zipped[:-20],
        "no-trailer.csv.gz": zipped[:-8],
        "half-trailer.csv.gz": zipped[:-3],
        "crc.csv.gz": zipped[:-8] + bytes([zipped[-8] ^ 1]) + zipped[-7:],
        "length.csv.gz": zipped[:-1] + bytes([zipped[-1] ^ 1]),
        "header-only.csv.gz": zipped[:10],
        "cut-header.csv.gz": zipped[:5],
        "method.csv.gz": zipped[:2] + b"\x07" + zipped[3:],
        "garbage-behind.csv.gz": zipped + b"garbage",
        "second-cut.csv.gz": zipped + zipped[:-4],
        "truncated.csv.zst": framed[:-10],
        "no-checksum.csv.zst": framed[:-4],
        "checksum.csv.zst": framed[:-1] + bytes([framed[-1] ^ 1]),
        "cut-header.csv.zst": framed[:5],
        "garbage-behind.csv.zst": framed + b"garbage",
        "second-cut.csv.zst": framed + framed[:-6],
        "random.csv": bytes((index * 73 + index // 7) & 0xFF for index in range(4096)),
    }


@dataclass(frozen=True)
class Check:
    """One further check: a command line, and for a must-fail one a text of the error line."""

    name: str
    args: list[str]
    stderr: str | None = None


def check(name: str, file: str, options: str, stderr: str | None = None) -> Check:
    """Write a check the short way."""
    return Check(name, ["--input", "{data}/" + file, *shlex.split(options)], stderr)


ALL = "count,count:amount,sum:amount,mean:amount,min:amount,max:amount"


def people_checks() -> Iterator[Check]:
    """Yield the same table in every dress."""
    plain = [
        "people.csv",
        "people-crlf.csv",
        "people-mixed.csv",
        "people-bom.csv",
        "people-bom-quoted.csv",
        "people-no-end.csv",
    ]
    packed = [
        "people.csv.gz",
        "people.csv.zst",
        "people-named.gz",
        "people-members.gz",
        "people-frames.zst",
        "people-wide.zst",
        "people-bom.gz",
    ]
    for file in [*plain, "people-blank-lines.csv", *packed]:
        yield check(file, f"edge/{file}", f"--group-by name --agg {ALL}")
    yield check("tab", "edge/people.tsv", rf"--delimiter '\t' --group-by city --agg {ALL}")
    yield check("raw tab", "edge/people.tsv", f"--delimiter '\t' --group-by=city --agg={ALL}")
    yield check("semicolon", "edge/people.ssv", f"--delimiter ';' --group-by city,name --agg {ALL}")
    yield check("pipe in quotes", "edge/people.psv", f"--delimiter '|' --group-by city,name --agg {ALL}")
    yield check("letter as delimiter", "edge/people-x.csv", f"--delimiter x --group-by city --agg {ALL}")
    yield check("one group", "edge/people.csv", f"--agg {ALL}")
    yield check("one group, count only", "edge/people.csv", "--agg count")
    yield check(
        "order of aggregates",
        "edge/people.csv",
        "--group-by city --agg max:weight,sum:amount,count,min:weight,count:weight,mean:weight",
    )
    yield check("keys in the order asked", "edge/people.csv", "--group-by weight,city,name --agg sum:amount")
    yield check("group by the aggregated column", "edge/people.csv", "--group-by amount --agg sum:amount,count")
    yield check("json", "edge/people.csv", f"--group-by name,city --agg {ALL} --format json")
    yield check("json, one group", "edge/people.csv", f"--agg {ALL} --format json")
    yield check("json of nothing", "edge/header-only.csv", "--group-by a --agg count --format json")
    yield check("compression none", "edge/people.csv", "--group-by name --agg count --compression none")
    yield check("compression gzip", "edge/people.csv.gz", "--group-by name --agg count --compression gzip")
    yield check("compression zstd", "edge/people.csv.zst", "--group-by name --agg count --compression zstd")


def where_checks() -> Iterator[Check]:
    """Yield every operator on every kind of field."""
    for operator in ["=", "!=", "<", "<=", ">", ">="]:
        for literal in ["2.5", "2.50", "-4", "0", "1e1", ".125"]:
            yield check(
                f"where amount {operator} {literal}",
                "edge/people.csv",
                f"--group-by name --agg {ALL} --where 'amount {operator} {literal}'",
            )
    group = "--group-by city --agg count,sum:amount"
    yield check("where text =", "edge/people.csv", f"{group} --where city=Bonn")
    yield check("where text !=", "edge/people.csv", f"{group} --where 'city != Bonn'")
    yield check("where empty =", "edge/people.csv", f"{group} --where 'weight ='")
    yield check("where empty !=", "edge/people.csv", f"{group} --where 'weight !='")
    yield check(
        "where and", "edge/people.csv", f"{group} --where 'city = Bonn' --where 'amount > 1' --where 'weight<=3'"
    )
    yield check("where keeps nothing", "edge/people.csv", f"{group} --where 'city = Paris'")
    yield check("where keeps nothing, no group", "edge/people.csv", "--agg count --where 'city = Paris'")
    yield check("where on quoted text", "edge/quotes.csv", "--group-by name --agg count --where 'name = say \"hi\"'")
    yield check("where with operators in the literal", "edge/odd-names.csv", "--agg count --where 'a b != <>='")
    yield check(
        "where hides a bad number",
        "edge/bad-rows.csv",
        "--group-by a --agg count,sum:b --where 'a = x' --on-error skip",
    )
    yield check(
        "where is left to right",
        "edge/bad-rows.csv",
        "--group-by a --agg count --where 'a = q' --where 'b > 1' --on-error skip",
    )
    yield check(
        "where on a bad number",
        "edge/bad-rows.csv",
        "--group-by a --agg count --where 'b > 1'",
        'line 3: column b: not a number: "abc"',
    )


def record_checks() -> Iterator[Check]:
    """Yield quotes, line ends, headers and output forms."""
    yield check("quotes", "edge/quotes.csv", "--group-by name --agg count --where 'amount != '")
    yield check("quoted header name", "edge/quotes.csv", "--group-by 'the \"note\"' --agg count")
    yield check("quotes, two keys", "edge/quotes-crlf.csv", "--group-by name,'the \"note\"' --agg count,count:amount")
    yield check("quotes, json", "edge/quotes.csv", "--group-by name,'the \"note\"' --agg count --format json")
    yield check("closing quote at the end", "edge/closed-at-end.csv", "--group-by b --agg count,sum:a")
    yield check("lone CR is data", "edge/cr-two.csv", "--group-by a,b --agg count")
    yield check("lone CR as a column", "edge/cr.csv", "--group-by a --agg count", "line 4: 1 fields, expected 2")
    yield check("bytewise order", "edge/order.csv", "--group-by k,j --agg sum:v")
    yield check("bytewise order, other way", "edge/order.csv", "--group-by j,k --agg sum:v --format json")
    yield check("header only", "edge/header-only.csv", "--group-by a --agg count,sum:b")
    yield check("header only, no group", "edge/header-no-end.csv", "--agg count,sum:b")
    yield check("empty only column", "edge/one-column.csv", "--agg sum:a --where 'a ='")
    yield check("empty quoted record", "edge/one-column.csv", "--agg count,count:a,sum:a")
    yield check("no header", "edge/no-header.csv", "--no-header --group-by 1 --agg count,sum:2")
    yield check("no header, json", "edge/no-header.csv", "--no-header --group-by 3,1 --agg mean:2 --format json")
    yield check("duplicate name not used", "edge/duplicate.csv", "--group-by b --agg count")
    yield check("odd names", "edge/odd-names.csv", "--group-by 'a b' --agg 'sum:quo\"te,max:ü'")
    yield check("odd names, json", "edge/odd-names.csv", "--group-by 'a b' --agg 'sum:quo\"te,max:ü' --format json")
    yield check("control characters, json", "edge/control.csv", "--group-by k --agg sum:v --format json")
    yield check("control characters, csv", "edge/control.csv", "--group-by k --agg sum:v")
    yield check("many groups", "edge/groups.csv", "--group-by key --agg count,sum:v,mean:v")
    yield check("as many groups as allowed", "edge/order.csv", "--group-by j --agg count --max-groups 5")
    yield check("long fields", "edge/long-field.csv", "--group-by a --agg sum:b")
    yield check("record length allowed", "edge/long-record.csv", "--group-by a --agg sum:b --max-record-bytes 5002")
    yield check("many columns", "edge/many-columns.csv", "--group-by c0,c1999 --agg sum:c1000,mean:c31,max:c32")


def number_checks() -> Iterator[Check]:
    """Yield every shape of number."""
    for number, text in enumerate(GOOD_NUMBERS):
        yield check(
            f"number {text}", f"edge/number/good-{number}.csv", "--group-by g --agg sum:v,mean:v,min:v,max:v,count:v"
        )
    for number, text in enumerate(NOT_NUMBERS):
        yield check(
            f"not a number {text}",
            f"edge/number/not-{number}.csv",
            "--group-by g --agg sum:v",
            "line 3: column v: not a number",
        )
    for number, text in enumerate(OUT_OF_RANGE):
        yield check(
            f"out of range {text}",
            f"edge/number/range-{number}.csv",
            "--group-by g --agg min:v",
            "line 3: column v: number out of range",
        )
    yield check("rounding", "edge/round.csv", "--group-by g --agg mean:v,sum:v,count:v,min:v,max:v")
    yield check("shapes together", "edge/shapes.csv", "--group-by g --agg mean:v,sum:v,count:v,min:v,max:v")
    yield check("scales", "edge/scales.csv", "--group-by g --agg sum:v,min:v,max:v,mean:v,count:v,count")
    yield check(
        "scales, json", "edge/scales.csv", "--group-by g --agg sum:v,min:v,max:v,mean:v,count:v,count --format json"
    )
    yield check("sum near the limit", "edge/nearly-overflow.csv", "--group-by g --agg sum:v,mean:v")
    yield check("sum over the limit", "edge/overflow.csv", "--group-by g --agg sum:v", "sum out of range in group")
    yield check(
        "sum under the limit, skip",
        "edge/overflow-negative.csv",
        "--group-by g --agg sum:v --on-error skip",
        "sum out of range in group",
    )


def skip_checks() -> Iterator[Check]:
    """Yield bad rows that are left out."""
    yield check("skip ragged", "edge/ragged.csv", "--on-error skip --group-by a --agg count")
    yield check("skip bad rows", "edge/bad-rows.csv", "--on-error skip --group-by a --agg count,sum:b,sum:c")
    yield check("skip bad rows, count only", "edge/bad-rows.csv", "--on-error skip --group-by a --agg count,count:b")
    yield check(
        "skip bad rows, where", "edge/bad-rows.csv", "--on-error skip --group-by a --agg count,sum:c --where 'b >= 1'"
    )
    yield check("skip invalid UTF-8", "edge/utf8-bad.csv", "--on-error skip --group-by a --agg sum:b")
    yield check("skip control characters", "bad/control.csv", "--on-error skip --agg sum:amount")
    for name in ["after-quote", "ragged", "too-wide", "utf8", "utf8-cut", "not-a-number", "nan", "range", "long-value"]:
        yield check(f"skip {name}", f"bad/{name}.csv", "--on-error skip --group-by name --agg count,sum:amount")
    for name, text in [
        ("unterminated", "line 4: unterminated quote"),
        ("empty", "empty input"),
        ("long-record", "line 3: record longer than"),
    ]:
        yield check(f"skip cannot help {name}", f"bad/{name}.csv", "--on-error skip --group-by name --agg count", text)


BAD_TEXTS = {
    "empty.csv": "empty input: no header",
    "bom-only.csv": "empty input: no header",
    "blank-lines.csv": "empty input: no header",
    "empty.csv.gz": "empty input: no header",
    "empty.csv.zst": "empty input: no header",
    "unterminated.csv": "line 4: unterminated quote",
    "unterminated-header.csv": "line 1: unterminated quote",
    "after-quote.csv": "line 3: text after closing quote",
    "after-quote-header.csv": "line 1: text after closing quote",
    "ragged.csv": "line 3: 1 fields, expected 2",
    "too-wide.csv": "line 3: 3 fields, expected 2",
    "utf8.csv": "line 3: invalid UTF-8",
    "utf8-cut.csv": "line 3: invalid UTF-8",
    "utf8-header.csv": "line 1: invalid UTF-8",
    "not-a-number.csv": 'line 3: column amount: not a number: "12x"',
    "nan.csv": 'line 2: column amount: not a number: "NaN"',
    "range.csv": 'line 4: column amount: number out of range: "12345678901234567890"',
    "control.csv": "line 2: column amount: not a number",
    "long-value.csv": "line 2: column amount: not a number",
    "long-record.csv": "line 3: record longer than",
    "long-quoted.csv": "line 3: record longer than",
}


def bad_checks() -> Iterator[Check]:
    """Yield every bad file, and command lines that ask for what is not there."""
    for file in bad_files():
        packed = "gzip" if file.endswith(".gz") else "zstd" if file.endswith(".zst") else ""
        yield check(f"bad {file}", f"bad/{file}", "--group-by name --agg count,sum:amount", BAD_TEXTS.get(file, packed))
    yield check("unknown group column", "edge/people.csv", "--group-by nom --agg count", "nom")
    yield check("unknown aggregated column", "edge/people.csv", "--group-by name --agg sum:height", "height")
    yield check(
        "unknown filter column", "edge/people.csv", "--group-by name --agg count --where 'height > 1'", "height"
    )
    yield check("unknown column without header", "edge/no-header.csv", "--no-header --group-by 4 --agg count", "4")
    yield check("column zero", "edge/no-header.csv", "--no-header --group-by 0 --agg count", "0")
    yield check("duplicate name", "edge/duplicate.csv", "--group-by a --agg count", "a")
    yield check("too many groups", "edge/order.csv", "--group-by j --agg count --max-groups 2", "groups")
    yield check(
        "too many groups, skip", "edge/order.csv", "--group-by j --agg count --max-groups 2 --on-error skip", "groups"
    )
    yield check(
        "record too long",
        "edge/long-record.csv",
        "--group-by a --agg sum:b --max-record-bytes 5001",
        "line 3: record longer than",
    )
    yield check(
        "header too long",
        "edge/people.csv",
        "--group-by name --agg count --max-record-bytes 10",
        "line 1: record longer than",
    )
    yield check("not gzip", "edge/people.csv", "--group-by name --agg count --compression gzip", "gzip")
    yield check("not zstd", "edge/people.csv", "--group-by name --agg count --compression zstd", "zstd")
    yield check("gzip as it is", "edge/people.csv.gz", "--group-by name --agg count --compression none", "")
    yield check("no such file", "edge/none.csv", "--agg count", "none.csv")
    yield check("a folder", "edge", "--agg count", "edge")


def usage_checks() -> Iterator[Check]:
    """Yield command lines that no lane accepts."""
    people = "edge/people.csv"
    for name, options in {
        "no aggregate": "--group-by name",
        "unknown aggregate": "--agg median:amount",
        "aggregate without column": "--agg sum",
        "aggregate with an empty column": "--agg sum:",
        "empty aggregate": "--agg count,,count",
        "filter without operator": "--agg count --where amount",
        "filter with half an operator": "--agg count --where 'amount ! 3'",
        "ordered filter by a text": "--agg count --where 'amount > big'",
        "ordered filter by nothing": "--agg count --where 'amount >'",
        "ordered filter out of range": "--agg count --where 'amount < 1e30'",
        "long delimiter": "--agg count --delimiter ab",
        "empty delimiter": "--agg count --delimiter ''",
        "quote as delimiter": "--agg count --delimiter '\"'",
        "newline as delimiter": "--agg count --delimiter '\n'",
        "wide delimiter": "--agg count --delimiter ü",
        "unknown option": "--agg count --groups 3",
        "unknown format": "--agg count --format xml",
        "unknown policy": "--agg count --on-error ignore",
        "unknown compression": "--agg count --compression lz4",
        "groups no number": "--agg count --max-groups many",
        "missing value": "--agg count --group-by",
    }.items():
        yield check(name, people, options, "")
    yield Check("no input", ["--agg", "count"], "")


def all_checks() -> list[Check]:
    """Return every further check."""
    makers: list[Callable[[], Iterator[Check]]] = [
        people_checks,
        where_checks,
        record_checks,
        number_checks,
        skip_checks,
        bad_checks,
        usage_checks,
    ]
    return [made for maker in makers for made in maker()]


def write_edges(out: Path) -> None:
    """Write the edge cases, the bad files and the list of checks."""
    for folder, files in [("edge", edge_files()), ("bad", bad_files()), ("edge/number", number_files())]:
        (out / folder).mkdir()
        for name, content in files.items():
            (out / folder / name).write_bytes(content)
    listed = [
        {"name": made.name, "args": made.args, **({} if made.stderr is None else {"stderr": made.stderr})}
        for made in all_checks()
    ]
    (out / "checks.json").write_text(json.dumps(listed, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def number_files() -> dict[str, bytes]:
    """Return a file a number: once bare and once in quotes."""
    files = {}
    for kind, texts in [("good", GOOD_NUMBERS), ("not", NOT_NUMBERS), ("range", OUT_OF_RANGE)]:
        for number, text in enumerate(texts):
            row = f'a,"{text}"\n' if number % 2 or "," in text else f"a,{text}\n"
            files[f"{kind}-{number}.csv"] = f"g,v\na,1.5\n{row}b,2\n".encode()
    return files


def main() -> int:
    """Make one workload for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, choices=["verify", "bench", "large"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_sales(options.out, options.seed, options.size)
    if options.workload == "verify":
        write_edges(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
