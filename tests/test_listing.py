"""`invoke list` says how far each project is, from the same evidence as the tables."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests import builders
from tools import listing, scaffold
from tools.files import source_sha256
from tools.tables import Roots

NOW = datetime(2026, 11, 22, 20, 50, 30, tzinfo=UTC)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """A repository with one project and no result."""
    lanes = ("go", "rust", "zig")
    place = scaffold.Place("SQLite query engine", "sqlite-query-engine", "sqlite", "9.1", "9 Data engines", lanes)
    scaffold.write(tmp_path / "projects", place, scaffold.render(place))
    return Roots(tmp_path)


def store(roots: Roots, times: dict[str, int] | None = None, *, stale: str = "") -> None:
    """Store a result of the sources that are there, except for one lane."""
    raw = builders.tree(times)
    raw["cases"] = [{**case, "name": name} for name in ("top-20", "top-10000") for case in raw["cases"]]
    raw["cases"][1]["headline"] = False
    for lane in ("go", "rust", "zig"):
        folder = roots.root / "projects" / "sqlite-query-engine" / lane
        raw["arms"][lane]["source_sha256"] = builders.SHA if lane == stale else source_sha256(folder)
    raw["arms"]["null"]["source_sha256"] = None
    builders.stored(roots.root / "results", raw)


def on_screen(rows: list[dict[str, Any]], width: int = 150) -> str:
    """What a person sees on a terminal of this width."""
    console = Console(file=io.StringIO(), width=width)
    listing.show(rows, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_cells(row: dict[str, Any]) -> list[str]:
    """Status, headline and age as shown."""
    return [cell.strip() for cell in on_screen([row]).splitlines()[3].split("│")][-4:-1]


def test_no_line_is_wider_than_the_terminal(roots: Roots) -> None:
    """A long title is folded, not cut."""
    lines = on_screen(listing.rows(roots, NOW), width=70).splitlines()
    assert max(map(len, lines[:-1])) <= 70


def test_an_unmeasured_project(roots: Roots) -> None:
    """Without a result there is a status, and nothing else."""
    (row,) = listing.rows(roots, NOW)
    assert row == {
        "number": "9.1", "alias": "sqlite", "slug": "sqlite-query-engine", "title": "SQLite query engine",
        "lanes": ["go", "rust", "zig"], "status": "unmeasured", "headline": None, "measured_at": None,
        "age_seconds": None,
    }  # fmt: skip
    assert last_cells(row) == ["unmeasured", "-", "-"]


def test_a_winner_and_the_age(roots: Roots) -> None:
    """The lane that stands alone is named; the rows are plain enough for JSON."""
    store(roots, {**builders.TIMES, "zig": 800_000_000})
    (row,) = json.loads(json.dumps(listing.rows(roots, NOW)))
    assert (row["status"], row["headline"], row["age_seconds"]) == ("done", "rust", 2 * 86400)
    assert last_cells(row) == ["done", "rust", "2 d"]


def test_a_tie(roots: Roots) -> None:
    """Lanes that share the first place are all named."""
    store(roots)
    assert listing.rows(roots, NOW)[0]["headline"] == "tie: rust, zig"


def test_stale_lanes_are_named(roots: Roots) -> None:
    """A lane whose sources have changed since is said to be stale."""
    store(roots, stale="zig")
    assert listing.rows(roots, NOW)[0]["status"] == "stale: zig"


def test_no_project_at_all(tmp_path: Path) -> None:
    """The last line counts what is only planned."""
    (tmp_path / "projects").mkdir()
    assert listing.rows(Roots(tmp_path), NOW) == []
    assert on_screen([]) == "31 of the 31 systems of PLAN.md are planned and have no folder yet\n"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(None, "-"), (0, "now"), (59, "now"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_ages(seconds: int | None, shown: str) -> None:
    """An age is shown in its largest unit."""
    assert listing._age(seconds) == shown
