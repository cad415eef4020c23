"""`invoke list`: what is there, how far it is, who leads, and how old that news is; nothing is computed twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tools import overview_tables, screen, tables
from tools import rows as plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tools.rows import Row
    from tools.selection import Evidence

HEAD = ("#", "alias", "title", "lanes", "status", "headline", "age")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def rows(roots: tables.Roots | None = None, now: datetime | None = None) -> list[dict[str, Any]]:
    """A plain dict for every project that has a folder, in the order of PLAN.md."""
    evidences = tables.collect(roots or tables.Roots())
    moment = now or datetime.now(UTC)
    return [_row(row, evidence, moment) for row, evidence in evidences.all() if row.project is not None]


def _row(row: Row, evidence: Evidence | None, now: datetime) -> dict[str, Any]:
    """One project."""
    assert row.project is not None  # noqa: S101 - `rows` leaves planned ones out
    measured_at = evidence.result.created_at if evidence else None
    age = now - datetime.fromisoformat(measured_at) if measured_at else None
    return {
        "number": row.number,
        "alias": row.alias,
        "slug": row.slug,
        "title": row.title,
        "lanes": list(row.project.lanes),
        "status": overview_tables.status(row, evidence),
        "headline": _headline(evidence) if evidence else None,
        "measured_at": measured_at,
        "age_seconds": max(0, int(age.total_seconds())) if age is not None else None,
    }


def _headline(evidence: Evidence) -> str:
    """Who is first in the headline case, by the names of lanes."""
    group = evidence.headline.main_group
    if group is None:
        return "-"
    if group.winner is not None:
        return group.winner
    if group.tied:
        return "tie: " + ", ".join(group.tied)
    return "undecided" if len(group.to_leader) > 1 else "no rival"


def show(found: Sequence[dict[str, Any]], console: Console) -> None:
    """A line a project, in columns, and how many systems are still planned."""
    if found:
        console.print(screen.table(HEAD, [_cells(one) for one in found], numbers_from=len(HEAD)))
    planned = plan.planned()
    open_rows = len({row.slug for row in planned} - {one["slug"] for one in found})
    last = f"{open_rows} of the {len(planned)} systems of PLAN.md are planned and have no folder yet"
    console.print(last, soft_wrap=True)


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["number"], one["alias"], one["title"], ",".join(one["lanes"]), one["status"], one["headline"] or "-",
        _age(one["age_seconds"]),
    )  # fmt: skip


def _age(seconds: int | None) -> str:
    """An age in its largest unit."""
    if seconds is None:
        return "-"
    return next((f"{seconds // unit} {name}" for unit, name in UNITS if seconds >= unit), "now")
