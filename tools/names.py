"""Alias and title of every project, fast: `nox --list` must answer at once, with any number of projects.

Only the two lines are read here; the whole file is checked against its schema before any session uses it.
"""

from __future__ import annotations

import re
from pathlib import Path

PROJECTS = Path(__file__).resolve().parent.parent / "projects"
LINE = re.compile(r"^(alias|title):[ \t]*(['\"]?)([^'\"#\n]{1,80}?)\2[ \t]*(?:#.*)?$", re.MULTILINE)
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def aliases() -> list[tuple[str, str]]:
    """(alias, title) of every project.yaml, in the order of the folders."""
    return [(alias, title) for alias, title, _ in entries()]


def entries(root: Path = PROJECTS) -> list[tuple[str, str, Path]]:
    """(alias, title, project.yaml) of every project, in the order of the folders."""
    found = []
    for path in sorted(root.glob("*/project.yaml")):
        values = {match[1]: match[3] for match in LINE.finditer(path.read_text(encoding="utf-8", errors="replace"))}
        if ALIAS.fullmatch(alias := values.get("alias", "")):
            found.append((alias, values.get("title", alias), path))
    return found
