"""Alias and title of every project, fast: `nox --list` must answer at once, with any number of projects.

Only the two lines are read here; the whole file is checked against its schema before any session uses it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

PROJECTS = Path(__file__).resolve().parent.parent / "projects"
LINE = re.compile(
    r"""^(?P<key>alias|title):[ \t]*"""
    r"""(?:"(?P<double>(?:[^"\\\n]|\\.)*)"|'(?P<single>(?:[^'\n]|'')*)'|(?P<plain>[^\n]*?))"""
    r"""[ \t]*(?:[ \t]\#[^\n]*)?$""",
    re.MULTILINE,
)
SOAK = re.compile(r"^[ \t]+soak:[ \t]", re.MULTILINE)
ALIAS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def aliases() -> list[tuple[str, str]]:
    """(alias, title) of every project.yaml, in the order of the folders."""
    return [(alias, title) for alias, title, _ in entries()]


def entries(root: Path = PROJECTS) -> list[tuple[str, str, Path]]:
    """(alias, title, project.yaml) of every project, in the order of the folders."""
    found = []
    for path in sorted(root.glob("*/project.yaml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        values = {match["key"]: _scalar(match) for match in LINE.finditer(text)}
        if ALIAS.fullmatch(alias := values.get("alias", "")):
            found.append((alias, values.get("title", alias), path))
    return found


def soaked() -> list[tuple[str, str]]:
    """(alias, title) of the projects with a case that is also run for long."""
    found = ((alias, title, path.read_text(encoding="utf-8", errors="replace")) for alias, title, path in entries())
    return [(alias, title) for alias, title, text in found if SOAK.search(text)]


def _scalar(match: re.Match[str]) -> str:
    """The value of a YAML scalar on one line; what is no valid scalar is shown as it stands."""
    if match["double"] is not None:
        try:
            return str(json.loads(f'"{match["double"]}"'))
        except ValueError:
            return match["double"]
    return match["single"].replace("''", "'") if match["single"] is not None else match["plain"]
