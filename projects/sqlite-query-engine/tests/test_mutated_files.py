"""Every lane on broken files: a clean answer or one clean error, never a crash, a hang or a leftover.

    DEADHEAT_LANES="zig=PATH" DEADHEAT_MUTANTS=2000 DEADHEAT_FUZZ_SEED=9 python -m pytest ...

A mutant is a small sound database with bytes changed, swapped, cut off or overwritten, by preference in
the places that a reader trusts: page headers, cell pointers, varints, the schema.
"""

from __future__ import annotations

import os
import random
import resource
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlite_lanes import manners, run_lane

if TYPE_CHECKING:
    from pathlib import Path

MUTANTS = int(os.environ.get("DEADHEAT_MUTANTS", "300"))
FIRST_SEED = int(os.environ.get("DEADHEAT_FUZZ_SEED", "1"))
MUTANTS_PER_TEST = 20
SHOWN_FAILURES = 5
MEMORY_BYTES = 512 << 20
"""No file of a few kilobytes, whatever it says of itself, is a reason to use more."""

QUERIES = (
    "SELECT * FROM t",
    "SELECT COUNT(*), SUM(n), MAX(a) FROM t WHERE r > 1",
    "SELECT id, a FROM t WHERE n = 3 ORDER BY a",
    "SELECT a, COUNT(*) FROM t WHERE n > 2 GROUP BY a ORDER BY 2 DESC LIMIT 5",
    "SELECT * FROM t WHERE id = 30",
    "SELECT n FROM t ORDER BY n DESC",
    "SELECT length(b), hex(b) FROM t WHERE a LIKE '%1%'",
    "SELECT * FROM w WHERE k >= 'k2' ORDER BY k",
    "SELECT v, COUNT(*) FROM w GROUP BY v",
)
SPICE = (0, 1, 2, 5, 10, 13, 0x7F, 0x80, 0x81, 0xFE, 0xFF)


def make_sound(path: Path, page_bytes: int, dice: random.Random) -> None:
    """Make the sound database that the mutants come from: every kind of page in a few kilobytes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute(f"PRAGMA auto_vacuum = {dice.choice(['NONE', 'FULL'])}")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, n INT, r REAL, a TEXT DEFAULT 'x', b BLOB)")
        connection.execute("CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID")
        for i in range(dice.choice([5, 60, 200])):
            blob = bytes(dice.choice([0, 3, 40, page_bytes * 3]) if i % 9 == 0 else 4)
            connection.execute("INSERT INTO t VALUES(?,?,?,?,?)", (i * 2, i % 7, i / 4, f"text {i}", blob))
            connection.execute(
                "INSERT INTO w VALUES(?,?)", (f"k{i % 10}{i}" + "-" * (300 if i % 20 == 0 else 0), i % 3)
            )
        connection.execute("CREATE INDEX t_n ON t(n)")
        connection.execute("COMMIT")


def spot(content: bytearray, page_bytes: int, dice: random.Random) -> int:
    """Return an offset, by preference one in a header, a cell pointer array or the start of a cell."""
    page = dice.randrange(max(1, len(content) // page_bytes)) * page_bytes
    header = page + (100 if page == 0 else 0)
    kind = dice.randrange(5)
    if kind == 0:
        return dice.randrange(min(100, len(content)))
    if kind == 1:
        return min(header + dice.randrange(12), len(content) - 1)
    if kind == 2:
        return min(header + 8 + dice.randrange(24), len(content) - 1)
    if kind == 3:
        cell = int.from_bytes(content[header + 8 : header + 10], "big")
        return min(page + cell % page_bytes + dice.randrange(12), len(content) - 1)
    return dice.randrange(len(content))


def mutate(content: bytearray, page_bytes: int, dice: random.Random) -> bytearray:
    """Return a broken copy."""
    broken = bytearray(content)
    for _ in range(dice.choice([1, 1, 1, 2, 4, 16])):
        if not broken:
            break
        at = spot(broken, page_bytes, dice)
        match dice.randrange(8):
            case 0:
                broken[at] ^= 1 << dice.randrange(8)
            case 1 | 2:
                broken[at] = dice.choice(SPICE)
            case 3:
                broken[at] = dice.randrange(256)
            case 4:
                broken[at : at + 2] = dice.randrange(65536).to_bytes(2, "big")
            case 5:
                pages = len(broken) // page_bytes
                broken[at : at + 4] = dice.choice([0, 1, 2, dice.randrange(pages + 2), 2**31, 2**32 - 1]).to_bytes(
                    4, "big"
                )
            case 6:
                length = dice.randrange(1, 40)
                broken[at : at + length] = dice.choice([b"\x00", b"\xff", b"\x81", dice.randbytes(1)]) * length
            case _:
                del broken[at if dice.random() < 0.5 else at // page_bytes * page_bytes :]
    return broken


@pytest.fixture(scope="module", params=[512, 1024, 4096])
def page_bytes(request: pytest.FixtureRequest) -> int:
    """Return a page size."""
    return int(request.param)


@pytest.mark.parametrize("batch", range(max(1, MUTANTS // MUTANTS_PER_TEST // 3)))
def test_mutants(batch: int, page_bytes: int, tmp_path: Path, lane_commands: dict[str, list[str]]) -> None:
    """A lane ends every mutant with exit code 0 or 2, on time, with one error line or none."""
    dice = random.Random(f"{FIRST_SEED}-{batch}-{page_bytes}")
    sound = tmp_path / "sound.db"
    make_sound(sound, page_bytes, dice)
    content = bytearray(sound.read_bytes())
    failures: list[str] = []
    peak_before = children_peak_bytes()
    for number in range(MUTANTS_PER_TEST):
        path = tmp_path / f"mutant-{number}.db"
        path.write_bytes(mutate(content, page_bytes, dice))
        query = dice.choice(QUERIES)
        complaints = complaints_about(path, query, lane_commands)
        failures += complaints
        if not complaints:
            path.unlink()
    if failures:
        pytest.fail(
            f"{len(failures)} bad ends, the first of them:\n" + "\n".join(failures[:SHOWN_FAILURES]), pytrace=False
        )
    # A high-water mark of all children: a compiler that built the lanes in this session may have set it higher before.
    assert children_peak_bytes() <= max(peak_before, MEMORY_BYTES)


def children_peak_bytes() -> int:
    """Return the largest memory that any child of this process has had."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def complaints_about(path: Path, query: str, lanes: dict[str, list[str]]) -> list[str]:
    """Run one query on a broken file in every lane; return a line per bad end."""
    found = []
    for lane, command in lanes.items():
        run = run_lane(command, ["--db", str(path), "--query", query], path.with_name(f"{lane}.answer"))
        complaint = manners(run)
        if complaint:
            found.append(f"{lane}: {complaint}\n    --db {path} --query {query!r}")
        leftovers = [entry.name for entry in path.parent.iterdir() if entry.name.startswith(f"{lane}.answer")]
        if leftovers:
            found.append(f"{lane}: left {leftovers} behind\n    --db {path} --query {query!r}")
    return found
