"""README, result file and site say the same, or every place where they do not is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import builders, sites
from tools import tables
from tools.errors import TablesError
from tools.report import agreement, site
from tools.report.gather import gather

if TYPE_CHECKING:
    from pathlib import Path

    from tools.tables import Roots

CLEAR = {**builders.TIMES, "zig": 800_000_000}


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """Make a repository with one result, and documents that show it."""
    made = sites.repository(tmp_path)
    sites.store(made, sites.fresh(made, CLEAR))
    tables.tables(roots=made)
    return made


def readme(roots: Roots) -> Path:
    """Name the README of the project."""
    return roots.root / "projects" / sites.SLUG / "README.md"


def differences(roots: Roots, old: str = "", new: str = "") -> list[str]:
    """Compare after one text of the page was replaced."""
    found = gather(roots)
    made = site.pages(found, roots)
    assert old in made[sites.PAGE]
    made[sites.PAGE] = made[sites.PAGE].replace(old, new) if old else made[sites.PAGE]
    return agreement.differences(made, found.evidences)[1]


def test_they_agree(roots: Roots) -> None:
    """What `invoke tables` and `invoke report` write is the same."""
    assert differences(roots) == []
    assert site.check(roots) == 1


def test_an_old_readme_is_named(roots: Roots) -> None:
    """A README with another number is named with its case."""
    readme(roots).write_text(readme(roots).read_text().replace("899 ms", "898 ms"))
    with pytest.raises(TablesError, match="the table of scan \\(bench\\) is not that of the README"):
        site.check(roots)


def test_a_readme_without_tables_is_no_difference(roots: Roots) -> None:
    """Who has not written the tables yet is told so by `tables --check`, not here."""
    readme(roots).write_text(sites.README)
    assert differences(roots) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("501 ms", "521 ms", "Median of Rust is '521 ms', the file gives 5"),
        ("1.80x [", "1.83x [", "ratio of Go is '1.83x ["),
        ("1.00 s", "1.00 ms", "Median of sqlite3 is '1.00 ms'"),
    ],
)
def test_a_wrong_number_of_the_site_is_named(roots: Roots, old: str, new: str, said: str) -> None:
    """Medians and ratios are computed once more from the raw runs, so a wrong one is seen without any README."""
    readme(roots).write_text(sites.README)
    assert any(said in each for each in differences(roots, old, new))


@pytest.mark.parametrize("rate", [5000.0, None])
def test_servers_agree_too(roots: Roots, rate: float | None) -> None:
    """Latencies and throughputs are compared like times."""
    raw = sites.of_a_server(roots, rate=rate)
    raw["created_at"] = "2026-11-21T10:00:00Z"
    sites.store(roots, raw)
    tables.tables(roots=roots)
    assert differences(roots) == []


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("899 ms", 899e6), ("1.80x [1.79, 1.81]", 1.80), ("5.86 M rows/s", 5.86e6), ("12.3 rows/s", 12.3),
        ("3,600 s \u2020", 3.6e12), ("16.0 \u00b5s", 16e3), ("3 samples/s", 3.0), ("1.2 k/s", 1.2e3),
        ("-", None), ("", None),
    ],
)  # fmt: skip
def test_numbers_are_read_back(cell: str, expected: float | None) -> None:
    """A cell gives the number that it shows, in its base unit."""
    assert agreement.number(cell) == (None if expected is None else pytest.approx(expected))
