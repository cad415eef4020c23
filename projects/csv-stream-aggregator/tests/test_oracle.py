"""The oracle's two readers agree, and its arithmetic is what the brief says."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

AGGREGATES = "count,count:b,sum:b,mean:b,min:b,max:b"
CELLS = ["", "x", "y y", "a,b", 'say "hi"', "two\nlines", "two\r\nlines", "é", "日本", "0"]


def sound_file(rng: random.Random) -> bytes:
    """Return a file without bad rows and lone carriage returns."""
    end = rng.choice(["\n", "\r\n"])
    lines = ["k,b,note"]
    for _ in range(rng.randrange(200)):
        key, note = (quoted(rng, rng.choice(CELLS)) for _ in range(2))
        lines.append(f"{key},{rng.choice(['', '1', '2.50', '-3.125', '.5', '1e3'])},{note}")
    return (rng.choice(["", "\ufeff"]) + end.join(lines) + rng.choice(["", end, end * 3])).encode()


def quoted(rng: random.Random, text: str) -> str:
    """Return a field, in quotes where it must and sometimes where it may be."""
    if rng.random() < 0.2 or any(char in text for char in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text


def test_readers_agree(oracle: Any, tmp_path: Path) -> None:
    """The state machine and the csv module give the same answer on sound files."""
    path = tmp_path / "sound.csv"
    for seed in range(200):
        path.write_bytes(sound_file(random.Random(seed)))
        job = oracle.parse_job(["--input", str(path), "--group-by", "k,note", "--agg", AGGREGATES])
        assert oracle.quick_answer(job) == oracle.strict_answer(job, path.read_bytes()), seed


@pytest.mark.parametrize(
    ("text", "value"),
    [("1.50", "1.50"), (".5", "0.5"), ("1.", "1"), ("1.5e1", "15"), ("1e3", "1000"), ("1.50e1", "15.0"), ("0e99", "0")],
)
def test_numbers(oracle: Any, text: str, value: str) -> None:
    """A number keeps its value and its scale."""
    assert oracle.parse_number(text.encode()).as_tuple() == Decimal(value).as_tuple()


def test_expected_outcomes(oracle: Any, workload: Any, tmp_path: Path) -> None:
    """Every further check ends as the workload says that it ends."""
    workload.write_sales(tmp_path, 1, {"rows": 50, "quoted_rows": 50, "compressed_rows": 20})
    workload.write_edges(tmp_path)
    checks = oracle.read_checks(tmp_path)
    index = oracle.build_index(checks, tmp_path)
    assert len(index) > 250
    assert sum("answer" in made for made in index) > 150
