"""The edge cases of the verify workload: small databases that SQLite reads, and bad ones it must not.

Everything is written through Python's sqlite3 and then, where a file has to lie, patched byte by
byte; the comments at the patches name the offsets of the SQLite file format.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
EDGE_INTEGERS = (
    *(0, 1, -1, 2, 127, 128, -128, -129, 32767, 32768, -32768, -32769, 8388607, 8388608, -8388608, -8388609),
    *(2147483647, 2147483648, -2147483648, -2147483649, 2**47 - 1, 2**47, -(2**47), -(2**47) - 1),
    *(2**53, 2**53 + 1, 2**63 - 1, -(2**63)),
)
EDGE_REALS = (
    *(0.0, -0.0, 0.5, -0.5, 1.0, 3.0, 1e15, 1e16, 123456789012345.6, 0.0001, 0.00001, 1.5e-300, -1e100),
    *(2.2250738585072014e-308, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 0.1, 1 / 3, 2.0**53 + 1),
)


@contextmanager
def database(path: Path, page_bytes: int = 4096, auto_vacuum: str = "NONE") -> Iterator[sqlite3.Connection]:
    """Open a new database for writing and commit it at the end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute(f"PRAGMA auto_vacuum = {auto_vacuum}")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


# --- files that SQLite reads ---


def fill_standard(connection: sqlite3.Connection, rows: int = 240) -> None:
    """Fill one table with ints, reals, texts and blobs, some beyond their page, and index it."""
    connection.execute("CREATE TABLE s(id INTEGER PRIMARY KEY, n INT, r REAL, t TEXT, b BLOB)")
    for i in range(1, rows + 1):
        text = None if i % 11 == 0 else f"text {i} " + "lorem " * (i % 7) + ("x" * 3000 if i % 40 == 0 else "")
        blob = bytes([i % 256]) * (i * 37 % 900)
        connection.execute("INSERT INTO s VALUES(?,?,?,?,?)", (i * 3, i * i % 97 - 40, i / 8, text, blob))
    connection.execute("CREATE INDEX s_n ON s(n)")
    connection.execute("CREATE INDEX s_t ON s(t, r)")


def make_page_sizes(out: Path) -> None:
    """Make the same table at every page size."""
    for page_bytes in PAGE_SIZES:
        with database(out / f"page-{page_bytes}.db", page_bytes) as connection:
            fill_standard(connection)


def make_vacuum_modes(out: Path) -> None:
    """Make databases with pointer-map pages, and with a free list."""
    for mode in ("FULL", "INCREMENTAL"):
        with database(out / f"vacuum-{mode.lower()}.db", 512, mode) as connection:
            fill_standard(connection)
            connection.execute("DELETE FROM s WHERE id % 5 = 0")
    with database(out / "freelist.db", 1024) as connection:
        fill_standard(connection, 600)
        connection.execute("DELETE FROM s WHERE id BETWEEN 300 AND 1500")


def make_reserved(out: Path) -> None:
    """Make a database whose pages end in 32 reserved bytes, as checksum and encryption layers leave them."""
    path = out / "reserved.db"
    with database(path, 1024) as connection:
        connection.execute("PRAGMA user_version = 1")
    page = bytearray(path.read_bytes())
    page[20] = 32  # bytes of reserved space per page
    page[105:107] = (1024 - 32).to_bytes(2, "big")  # the empty schema page: where its content begins
    path.write_bytes(page)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        fill_standard(connection)


def make_without_rowid(out: Path) -> None:
    """Make WITHOUT ROWID tables: keys of one and two columns, descending, collated, behind other columns."""
    with database(out / "without-rowid.db", 512) as connection:
        connection.execute("CREATE TABLE w1(k INTEGER PRIMARY KEY, v TEXT) WITHOUT ROWID")
        connection.execute("CREATE TABLE w2(v TEXT, a TEXT, b INT, r REAL, PRIMARY KEY(b, a)) WITHOUT ROWID")
        connection.execute("CREATE TABLE w3(a INT, b TEXT COLLATE NOCASE, c, PRIMARY KEY(a DESC, b)) WITHOUT ROWID")
        connection.execute("CREATE INDEX w2_v ON w2(v)")
        for i in range(300):
            connection.execute("INSERT INTO w1 VALUES(?,?)", (i * 7 - 100, None if i % 9 == 0 else f"v{i % 20}"))
            connection.execute("INSERT INTO w2 VALUES(?,?,?,?)", (f"v{i % 13}", f"key-{i % 50}", i // 50, i / 4))
            long = "long " * (i % 3 * 200)
            connection.execute("INSERT INTO w3 VALUES(?,?,?)", (i % 10, f"Name{i}" if i % 2 else f"name{i}", long))
        connection.execute("CREATE TABLE w4(k BLOB PRIMARY KEY, v) WITHOUT ROWID")
        connection.executemany("INSERT INTO w4 VALUES(?,?)", [(bytes([i]) * (i * 20), i) for i in range(60)])


ADDED_COLUMNS = (
    "i INTEGER DEFAULT 42",
    "r REAL DEFAULT 5",
    "t TEXT DEFAULT 'it''s'",
    "n TEXT DEFAULT 7",
    "m INT DEFAULT -3",
    "q",
    "b BLOB DEFAULT x'0102'",
    "f NUMERIC DEFAULT '12.50'",
    "e REAL DEFAULT 1e3",
    "z INT DEFAULT NULL",
    "p INT DEFAULT +9",
    "y TEXT NOT NULL DEFAULT '' COLLATE NOCASE",
)


def make_added_columns(out: Path) -> None:
    """Make a table whose old rows are shorter than its schema."""
    with database(out / "added.db") as connection:
        connection.execute("CREATE TABLE a(id INTEGER PRIMARY KEY, x TEXT)")
        connection.executemany("INSERT INTO a VALUES(?,?)", [(i, f"old {i}") for i in range(1, 21)])
        for added in ADDED_COLUMNS:
            connection.execute(f"ALTER TABLE a ADD COLUMN {added}")
        connection.execute("INSERT INTO a(id, x, i) VALUES(100, 'new', NULL)")
        connection.execute("CREATE INDEX a_i ON a(i)")


def make_serial_types(out: Path) -> None:
    """Make every serial type: all integer widths, the constants 0 and 1, reals, texts, blobs, NULL."""
    with database(out / "serial.db") as connection:
        connection.execute("CREATE TABLE v(id INTEGER PRIMARY KEY, x)")
        connection.execute("CREATE TABLE r(id INTEGER PRIMARY KEY, x REAL)")
        values: list[object] = [
            *EDGE_INTEGERS,
            *EDGE_REALS,
            None,
            "",
            b"",
            "text",
            b"\x00\xff",
            "1",
            "1.0",
            "x" * 60,
            b"y" * 130,
        ]
        connection.executemany("INSERT INTO v(x) VALUES(?)", [(value,) for value in values])
        reals: list[object] = [*EDGE_INTEGERS, *EDGE_REALS, "12", "1.5", "abc", None, b"12"]
        connection.executemany("INSERT INTO r(x) VALUES(?)", [(value,) for value in reals])
        connection.execute("CREATE TABLE big(id INTEGER PRIMARY KEY, x)")
        connection.executemany(
            "INSERT INTO big VALUES(?,?)", [(2**63 - 1, "max"), (-(2**63), "min"), (0, "zero"), (-1, "minus")]
        )
        connection.execute("CREATE TABLE wide(" + ",".join(f"c{i}" for i in range(200)) + ")")
        connection.execute("INSERT INTO wide VALUES(" + ",".join(str(i * 3) for i in range(200)) + ")")
        connection.execute("CREATE INDEX v_x ON v(x)")


def make_nan(out: Path) -> None:
    """Make a stored NaN, which SQLite reads as NULL; SQL cannot store one, so the bytes are patched."""
    path = out / "nan.db"
    with database(path) as connection:
        connection.execute("CREATE TABLE f(id INTEGER PRIMARY KEY, x)")
        connection.execute("INSERT INTO f VALUES(1, 0.3), (2, 123.456), (3, 0.7)")
    patch(path, path.read_bytes().index(bytes.fromhex("405edd2f1a9fbe77")), bytes.fromhex("7ff8000000000000"))


def make_overflow(out: Path) -> None:
    """Make payloads around every spill threshold of a page, a megabyte chain, and columns behind chains."""
    for page_bytes in (512, 4096):
        with database(out / f"overflow-{page_bytes}.db", page_bytes) as connection:
            connection.execute("CREATE TABLE o(id INTEGER PRIMARY KEY, a TEXT, z INT)")
            connection.execute("CREATE TABLE ok(k TEXT PRIMARY KEY, z INT) WITHOUT ROWID")
            spill = (page_bytes - 12) * 64 // 255 - 23
            lengths = [
                *range(page_bytes - 48, page_bytes - 28),
                *range(spill - 12, spill + 4),
                *range(2 * page_bytes - 8, 2 * page_bytes + 8),
            ]
            for i, length in enumerate([*lengths, 0, 1, 100_000], 1):
                connection.execute("INSERT INTO o VALUES(?,?,?)", (i, text_of(length, i), i * 10))
                connection.execute("INSERT INTO ok VALUES(?,?)", (f"{i:03d}" + text_of(length % 5000, i), i))
            connection.execute("CREATE INDEX o_a ON o(a)")
    with database(out / "megabyte.db", 1024) as connection:
        connection.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, head TEXT, body BLOB, tail TEXT)")
        connection.execute("INSERT INTO m VALUES(1, 'head', zeroblob(1048576), 'tail'), (2, 'h', x'01', 't')")


def text_of(length: int, salt: int) -> str:
    """Return a text of a length, different for every salt."""
    return "".join(chr(97 + (salt * 7 + i * i) % 26) for i in range(min(length, 64))) + "-" * max(0, length - 64)


def make_collations(out: Path) -> None:
    """Make text under BINARY, NOCASE and RTRIM, with indexes of the same and of other collations."""
    with database(out / "collation.db", 512) as connection:
        connection.execute(
            "CREATE TABLE c(id INTEGER PRIMARY KEY, b TEXT, n TEXT COLLATE NOCASE, r TEXT COLLATE RTRIM)"
        )
        words = [
            "a",
            "A",
            "b",
            "B",
            "ab",
            "AB",
            "aB",
            "abc",
            "abc ",
            "abc  ",
            "ABC",
            "",
            " ",
            "z",
            "Z",
            "[",
            "_",
            "É",
            "é",
            "10",
            "9",
        ]
        for i, word in enumerate(words):
            connection.execute("INSERT INTO c VALUES(?,?,?,?)", (i, word, word, word))
        connection.execute("INSERT INTO c VALUES(99, NULL, NULL, NULL)")
        connection.execute("CREATE INDEX c_n ON c(n)")
        connection.execute("CREATE INDEX c_b_nocase ON c(b COLLATE NOCASE)")
        connection.execute("CREATE INDEX c_r ON c(r)")


def make_unicode(out: Path) -> None:
    """Make text of every UTF-8 length, with embedded NUL, control bytes and invalid bytes."""
    with database(out / "unicode.db") as connection:
        connection.execute('CREATE TABLE "täble ☃"(id INTEGER PRIMARY KEY, "cölumn" TEXT)')
        texts = [
            "é",
            "日本語",
            "😀😁",
            "a\u0000b",
            "\u0000",
            "\u0001\u001f\u007f",
            "\b\t\n\f\r",
            '"\\/',
            "\u2028\u2029",
            "\ufeffbom",
            "e\u0301",
        ]
        connection.executemany('INSERT INTO "täble ☃"("cölumn") VALUES(?)', [(text,) for text in texts])
        invalid = [
            "ff",
            "c3",
            "61c328",
            "e28228",
            "f0908080",
            "f09080",
            "eda080",
            "c0af",
            "61ffff62",
            "f8a1a1a1a1",
            "e282",
            "80",
        ]
        connection.execute("CREATE TABLE bad(id INTEGER PRIMARY KEY, t TEXT)")
        for raw in invalid:
            connection.execute(f"INSERT INTO bad(t) VALUES(CAST(x'{raw}' AS TEXT))")


def make_descending(out: Path) -> None:
    """Make descending indexes with NULLs and repeated values."""
    with database(out / "descending.db", 512) as connection:
        connection.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, a INT, b TEXT, c REAL)")
        for i in range(400):
            connection.execute(
                "INSERT INTO d VALUES(?,?,?,?)", (i, None if i % 17 == 0 else i % 12, f"b{i % 5}", i % 40 / 8)
            )
        connection.execute("CREATE INDEX d_a ON d(a DESC)")
        connection.execute("CREATE INDEX d_ab ON d(b, c DESC)")


def make_empty_files(out: Path) -> None:
    """Make empty databases and side files that hold nothing."""
    (out / "zero.db").write_bytes(b"")
    with database(out / "empty.db") as connection:
        connection.execute("CREATE TABLE e(id INTEGER PRIMARY KEY, a TEXT, b REAL)")
        connection.execute("CREATE INDEX e_a ON e(a)")
        connection.execute("CREATE TABLE ew(k TEXT PRIMARY KEY, v) WITHOUT ROWID")
    for suffix in ("-wal", "-journal"):
        shutil.copy(out / "empty.db", out / f"empty{suffix}.db")
        (out / f"empty{suffix}.db{suffix}").write_bytes(b"")
    with database(out / "zeroed-journal.db") as connection:
        fill_standard(connection, 20)
    (out / "zeroed-journal.db-journal").write_bytes(bytes(512))  # what journal_mode=PERSIST leaves: no magic
    path = out / "wal-mode.db"
    with database(path) as connection:
        fill_standard(connection)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO s(id, n) VALUES(9999, 1)")


SCHEMA_STATEMENTS = (
    'CREATE TABLE "select"("from" INTEGER PRIMARY KEY, "group by" TEXT, [order] INT, `limit` REAL, \'quoted\' TEXT)',
    """INSERT INTO "select" VALUES(1, 'x', 2, 3, 'q'), (2, NULL, NULL, NULL, NULL)""",
    """CREATE TABLE commented(-- a comment, with (parentheses)
         id INTEGER PRIMARY KEY AUTOINCREMENT, /* b TEXT, */ a INT NOT NULL CHECK (a > 0 AND a <> ')'),
         c VARCHAR(10, 2) DEFAULT ('x' || 'y') UNIQUE ON CONFLICT IGNORE,
         d DECIMAL(10,5) REFERENCES other(id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
         e UNSIGNED BIG INT DEFAULT -1, f DOUBLE PRECISION, g "FLOATING POINT", h CHARINT,
         CONSTRAINT u UNIQUE (a, d), FOREIGN KEY (d) REFERENCES other(id), CHECK (a <> 7))""",
    "INSERT INTO commented(a, c, d, e, f, g, h) VALUES(1, 'c1', '1.50', '12', 3, '4', '5')",
    "INSERT INTO commented(a, c, d, e, f, g, h) VALUES(2, 'c2', 2, 'x', '6', 7, 'y')",
    "CREATE TABLE strict1(id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT",
    "INSERT INTO strict1 VALUES(1, 2, 3, '4', x'05', '6'), (2, NULL, NULL, NULL, NULL, 7)",
    "CREATE TABLE pk_desc(id INTEGER PRIMARY KEY DESC, a)",
    "INSERT INTO pk_desc VALUES(1, 'x'), (2, 'y')",
    "CREATE TABLE pk_int(id INT PRIMARY KEY, a)",
    "INSERT INTO pk_int VALUES(5, 'five'), (3, 'three')",
    "CREATE TABLE pk_table(a TEXT, id INTEGER, PRIMARY KEY(id))",
    "INSERT INTO pk_table VALUES('seven', 7), ('eight', 8)",
    "CREATE TABLE named_rowid(rowid TEXT, a INT)",
    "INSERT INTO named_rowid VALUES('mine', 1), ('yours', 2)",
    "CREATE TABLE copied AS SELECT id, a, f FROM commented",
    "CREATE TABLE mixed_case(ColA INTEGER, COLB Text, [col c])",
    "INSERT INTO mixed_case VALUES(1, 'b', 'c')",
    "CREATE VIEW seen AS SELECT * FROM commented",
    "CREATE VIRTUAL TABLE found USING fts5(body)",
    "CREATE TRIGGER fired AFTER INSERT ON pk_int BEGIN SELECT 1; END",
)


def make_schemas(out: Path) -> None:
    """Make declarations that a quick CREATE TABLE parser gets wrong, and objects that are no tables."""
    with database(out / "schema.db") as connection:
        for statement in SCHEMA_STATEMENTS:
            connection.execute(statement)
    with database(out / "many-tables.db", 512) as connection:
        for i in range(120):
            connection.execute(f"CREATE TABLE many_{i}(id INTEGER PRIMARY KEY, value_{i} TEXT DEFAULT 'd{i}')")
            connection.execute(f"INSERT INTO many_{i}(id) VALUES({i})")


PLANNER_INDEXES = (
    "INDEX p_a ON p(a)",
    "INDEX p_ab ON p(a, b)",
    "UNIQUE INDEX p_c ON p(c)",
    "INDEX p_d ON p(d DESC)",
    "INDEX p_part ON p(e) WHERE b > 5",
    "INDEX p_expr ON p(a + b)",
    "INDEX p_nocase ON p(e COLLATE NOCASE)",
    "INDEX p_dba ON p(d, b, a)",
)


def make_planner(out: Path) -> None:
    """Make one table with every sort of index, for the planner's rules."""
    with database(out / "planner.db", 1024) as connection:
        connection.execute("CREATE TABLE p(id INTEGER PRIMARY KEY, a INT, b INT, c TEXT, d REAL, e TEXT)")
        for i in range(1, 1001):
            row = (i, i % 10, i % 7 if i % 50 else None, f"c{i:04d}", i % 80 / 8, f"e{i % 3}")
            connection.execute("INSERT INTO p VALUES(?,?,?,?,?,?)", row)
        for definition in PLANNER_INDEXES:
            connection.execute(f"CREATE {definition}")
        connection.execute("CREATE TABLE pw(k TEXT, l INT, v INT, PRIMARY KEY(k, l)) WITHOUT ROWID")
        connection.executemany("INSERT INTO pw VALUES(?,?,?)", [(f"k{i % 20}", i, i % 6) for i in range(400)])
        connection.execute("CREATE INDEX pw_v ON pw(v)")


def make_affinity(out: Path) -> None:
    """Make columns of every affinity holding the same values, to compare with constants of every type."""
    with database(out / "affinity.db") as connection:
        connection.execute("CREATE TABLE f(id INTEGER PRIMARY KEY, i INTEGER, r REAL, n NUMERIC, t TEXT, b BLOB, u)")
        values: list[object] = [
            1,
            10,
            2.5,
            "1",
            "10",
            "2.5",
            "abc",
            "1e1",
            " 10",
            "10 ",
            "0x1A",
            "",
            b"10",
            None,
            -7,
            "-7.0",
            1e10,
        ]
        connection.executemany(
            "INSERT INTO f(i, r, n, t, b, u) VALUES(?1,?1,?1,?1,?1,?1)", [(value,) for value in values]
        )
        for column in "irntbu":
            connection.execute(f"CREATE INDEX f_{column} ON f({column})")


def make_sums(out: Path) -> None:
    """Make columns for aggregates: near the integer limit, mixed types, numeric texts, only NULLs."""
    with database(out / "sums.db") as connection:
        connection.execute(
            "CREATE TABLE g(id INTEGER PRIMARY KEY, k TEXT, i INT, big INT, mix, txt TEXT, nul, neg INT)"
        )
        for i in range(1, 61):
            mix: object = [i, i / 8, f"{i}", None, f"{i}x", b"7"][i % 6]
            row = (i, "xyz"[i % 3] if i % 10 else None, i, 2**62 if i < 3 else 1, mix, f"{i / 4}", None, -i)
            connection.execute("INSERT INTO g VALUES(?,?,?,?,?,?,?,?)", row)


def make_deep(out: Path) -> None:
    """Make deep trees: long index keys and tiny pages leave a handful of cells per page."""
    with database(out / "deep.db", 512) as connection:
        connection.execute("CREATE TABLE h(id INTEGER PRIMARY KEY, k TEXT)")
        for i in range(3000):
            connection.execute("INSERT INTO h VALUES(?,?)", (i * 2, f"{i * 7919 % 3000:05d}" + "k" * 95))
        connection.execute("CREATE UNIQUE INDEX h_k ON h(k)")


# --- files that must be refused ---


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    content = bytearray(path.read_bytes())
    content[offset : offset + len(data)] = data
    path.write_bytes(content)


def plain(path: Path, page_bytes: int = 1024, rows: int = 400) -> int:
    """Make a sound database with an interior root page at page 2; return its page size."""
    with database(path, page_bytes) as connection:
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
        connection.executemany("INSERT INTO t VALUES(?,?,?)", [(i, f"row {i}", "pad" * 8) for i in range(1, rows + 1)])
    return page_bytes


def first_leaf(path: Path, page_bytes: int) -> int:
    """Return the file offset of the leftmost leaf of the table at page 2."""
    content = path.read_bytes()
    root = page_bytes
    cell = int.from_bytes(content[root + 12 : root + 14], "big")  # the cell pointers of an interior page begin at 12
    child = int.from_bytes(content[root + cell : root + cell + 4], "big")
    return (child - 1) * page_bytes


def make_bad_headers(bad: Path, seed: int) -> None:
    """Make files that are no database, or lie in their first 100 bytes."""
    noise = random.Random(seed)
    (bad / "random.db").write_bytes(noise.randbytes(8192))
    (bad / "encrypted.db").write_bytes(noise.randbytes(16384))
    (bad / "short.db").write_bytes(b"SQLite format 3\x00")
    (bad / "one-byte.db").write_bytes(b"S")
    (bad / "text.db").write_bytes(b"this is not a database, it is a sentence\n" * 50)
    header_lies = {
        "page-size-lie": (16, (1000).to_bytes(2, "big")),
        "page-size-zero": (16, bytes(2)),
        "page-size-larger": (16, (8192).to_bytes(2, "big")),
        "page-size-smaller": (16, (512).to_bytes(2, "big")),
        "reserved-lie": (20, b"\xff"),
        "payload-fraction": (21, b"\x41\x21\x21"),
        "future-version": (19, b"\x05"),
        "future-format": (44, (9).to_bytes(4, "big")),
    }
    for name, (offset, data) in header_lies.items():
        # 512-byte pages, so that 255 reserved bytes leave less than the 480 that the format asks for
        plain(bad / f"{name}.db", 512 if name == "reserved-lie" else 1024)
        patch(bad / f"{name}.db", offset, data)
    with closing(sqlite3.connect(bad / "utf16.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
        connection.execute("INSERT INTO t VALUES(1, 'utf-16')")


def page_lies(content: bytes, root: int, leaf: int) -> dict[str, tuple[int, bytes]]:
    """Return file name -> the bytes to overwrite in a sound tree, and where they stand."""
    child_cell = root + int.from_bytes(content[root + 12 : root + 14], "big")
    first_cell = leaf + int.from_bytes(content[leaf + 8 : leaf + 10], "big")
    return {
        "pointer-loop": (child_cell, (2).to_bytes(4, "big")),  # the root's first child is the root
        "pointer-range": (child_cell, (1_000_000).to_bytes(4, "big")),
        "pointer-zero": (root + 8, bytes(4)),  # the right-most child
        "page-type": (leaf, b"\x07"),
        "cell-count": (leaf + 3, b"\xff\xff"),
        "cell-pointer": (leaf + 8, b"\xff\xf0"),
        "cell-in-header": (leaf + 8, b"\x00\x02"),
        "payload-length": (first_cell, b"\xff" * 9),
        "record-header": (first_cell + 2, b"\x7f"),  # a header longer than the payload
        "serial-type": (first_cell + 4, b"\x7f"),  # a text longer than the payload
    }


def make_bad_pages(bad: Path) -> None:
    """Make sound headers over broken trees: loops, pointers out of range, lying cells and records."""
    sound = bad / "sound.db"
    size = plain(sound)
    content = sound.read_bytes()
    for name, (offset, data) in page_lies(content, size, first_leaf(sound, size)).items():
        shutil.copy(sound, bad / f"{name}.db")
        patch(bad / f"{name}.db", offset, data)
    (bad / "truncated.db").write_bytes(content[: len(content) // 2 // size * size])
    (bad / "half-page.db").write_bytes(content[: len(content) - size // 2])
    sound.unlink()


def make_bad_chains(bad: Path) -> None:
    """Make overflow chains that loop, end early or leave the file, and a root page out of range."""
    for name in ("overflow-loop", "overflow-short", "overflow-range"):
        path = bad / f"{name}.db"
        with database(path, 1024) as connection:
            connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
            connection.execute("INSERT INTO t VALUES(1, ?, 'tail')", ("x" * 20_000,))
        first = 2 * 1024  # page 3, the first page of the only chain
        target = {"overflow-loop": 3, "overflow-short": 0, "overflow-range": 70_000}[name]
        patch(path, first, target.to_bytes(4, "big"))
    for name, root in (("root-range", 99_999), ("root-zero", 0), ("root-negative", -5)):
        path = bad / f"{name}.db"
        plain(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute("UPDATE sqlite_schema SET rootpage = ? WHERE name = 't'", (root,))


def wal_checksum(start: tuple[int, int], data: bytes) -> tuple[int, int]:
    """Return the running checksum of a WAL, over little-endian words as its magic number says."""
    first, second = start
    for one, two in struct.iter_unpack("<II", data):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second


def settle_wal(path: Path) -> None:
    """Put constants where SQLite put random salts, and correct the checksums: same bytes every time."""
    content = bytearray(path.read_bytes())
    page_bytes = int.from_bytes(content[8:12], "big")
    content[16:24] = b"deadheat"
    checksum = wal_checksum((0, 0), bytes(content[:24]))
    content[24:32] = struct.pack(">II", *checksum)
    for frame in range(32, len(content), 24 + page_bytes):
        content[frame + 8 : frame + 16] = b"deadheat"
        page = content[frame + 24 : frame + 24 + page_bytes]
        checksum = wal_checksum(checksum, bytes(content[frame : frame + 8] + page))
        content[frame + 16 : frame + 24] = struct.pack(">II", *checksum)
    path.write_bytes(content)


def make_bad_sides(bad: Path) -> None:
    """Make databases whose truth lies in a journal or a WAL that a reader must not ignore."""
    plain(bad / "hot-journal.db")
    magic = bytes.fromhex("d9d505f920a163d7")
    header = (
        magic
        + (1).to_bytes(4, "big")
        + bytes(4)
        + (10).to_bytes(4, "big")
        + (512).to_bytes(4, "big")
        + (1024).to_bytes(4, "big")
    )
    (bad / "hot-journal.db-journal").write_bytes(header.ljust(512, b"\x00") + bytes(4 + 1024 + 4))
    source = bad / "writing.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("INSERT INTO t VALUES(1, 'only in the WAL')")
        for suffix in ("", "-wal"):
            shutil.copy(f"{source}{suffix}", f"{bad / 'hot-wal.db'}{suffix}")
    source.unlink()
    settle_wal(bad / "hot-wal.db-wal")


def make_bad_objects(bad: Path) -> None:
    """Make things that are no files, or files whose schema does not parse."""
    (bad / "folder.db").mkdir()
    path = bad / "schema-garbage.db"
    plain(path)
    content = path.read_bytes()
    patch(path, content.index(b"CREATE TABLE t"), b"CRXATE TABLE (")


SOUND = (
    *(make_page_sizes, make_vacuum_modes, make_reserved, make_without_rowid, make_added_columns, make_serial_types),
    *(make_nan, make_overflow, make_collations, make_unicode, make_descending, make_empty_files, make_schemas),
    *(make_planner, make_affinity, make_sums, make_deep),
)


def make_all(out: Path, seed: int) -> None:
    """Make every database of the verify workload below `out`."""
    for make in SOUND:
        make(out)
    bad = out / "bad"
    bad.mkdir()
    make_bad_headers(bad, seed)
    make_bad_pages(bad)
    make_bad_chains(bad)
    make_bad_sides(bad)
    make_bad_objects(bad)
