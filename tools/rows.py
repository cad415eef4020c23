"""The 31 systems that Deadheat is about: what PLAN.md lists before a project has a folder.

A project overrides its row, matched by slug, so nothing is said twice once a project exists; a project outside the
list is a row of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import ProjectError
from tools.project import number_key, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tools.model import Project

ROWS = Path(__file__).with_name("rows.yaml")


@dataclass(frozen=True)
class Row:
    """One line of PLAN.md; `project` is None while it is only planned."""

    number: str
    slug: str
    alias: str
    title: str
    group: str
    kinds: tuple[str, ...]
    project: Project | None = None


def all_rows(projects: Iterable[Project], path: Path = ROWS) -> list[Row]:
    """List planned systems and projects in the order of their numbers."""
    rows = {row.slug: row for row in planned(path)}
    for project in projects:
        fields = {name: getattr(project, name) for name in ("number", "slug", "alias", "title", "group", "kinds")}
        rows[project.slug] = Row(**fields, project=project)
    return sorted(rows.values(), key=lambda row: number_key(row.number))


def planned(path: Path = ROWS) -> list[Row]:
    """Read the list of planned systems.

    Raises:
        ProjectError: the list is damaged.
    """
    try:
        return [Row(**{**dict(entry), "kinds": tuple(entry["kinds"])}) for entry in read_yaml(path)["rows"]]
    except (TypeError, KeyError) as error:
        raise ProjectError(f"{path}: a row is damaged: {error}") from error
