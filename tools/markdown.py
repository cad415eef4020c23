"""Markdown that nobody can break out of: escaped cells, tables, and numbers as people read them.

Texts of results and projects come from strangers. In a cell they can be nothing but text: no HTML, no link, no
emphasis, no mention, no further column, no marker of ours, no invisible or direction-changing character.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CELL = 160
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;", "@": "&#64;", '"': "&quot;"}
ESCAPED = set("\\`*_[]|~#!")
LINKS = re.compile(r"(?i)(://|www\.|mailto:|xmpp:)")
ADDRESS = re.compile(r"@(?=\S)")  # GitHub links addresses and names even behind an entity: a wide sign stays text
DASH = "-"


def text(value: object, limit: int = MAX_CELL) -> str:
    """Make any text literal: what a reader sees is what was in the file, on one line, of bounded length."""
    plain = "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in str(value))
    plain = " ".join(plain.split())
    if len(plain) > limit:
        plain = plain[: limit - 1] + "\u2026"
    parts = LINKS.split(ADDRESS.sub("\uff20", plain))
    return "".join(_escaped(part) if index % 2 == 0 else _defused(part) for index, part in enumerate(parts))


def _escaped(part: str) -> str:
    """Escape one piece of text."""
    return "".join(ENTITIES.get(char) or (f"\\{char}" if char in ESCAPED else char) for char in part)


def _defused(part: str) -> str:
    """Keep what would start a link from doing so."""
    return part.replace(":", "&#58;").replace(".", "&#46;")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int = 1) -> str:
    """Lay out a table of cells that are escaped already; columns from `numbers_from` on are set right."""
    rule = ["---" if index < numbers_from else "---:" for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *rows])


def significant(value: float) -> str:
    """Write a number with three significant digits and no exponent; 99.96 is 100, not 100.0."""
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if value < limit:
            return f"{value:.{digits}f}"
    return f"{value:,.0f}"


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """Write a number in the largest unit that it reaches; rounding never gives a thousand of the smaller one."""
    for factor, unit in units:
        if value >= factor * 0.9995:
            return f"{significant(value / factor)} {unit}".rstrip()
    factor, unit = units[-1]
    return f"{significant(value / factor)} {unit}".rstrip()


def duration(ns: float | None) -> str:
    """Write a time."""
    return DASH if ns is None else _scaled(ns, [(1e9, "s"), (1e6, "ms"), (1e3, "\u00b5s"), (1, "ns")])


def size(count: float | None) -> str:
    """Write a number of bytes."""
    return DASH if count is None else _scaled(count, [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")])


def rate(per_second: float, plural: str) -> str:
    """Write a throughput; `plural` is escaped here."""
    number = _scaled(per_second, [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")])
    return f"{number} {text(plural, 30)}/s" if plural else f"{number}/s"


def factor(value: float) -> str:
    """Write a ratio."""
    return f"{significant(value)}x"


def interval(low: float, high: float) -> str:
    """Write the interval of a ratio; without enough rounds it has no ends."""
    return f"[{significant(low)}, {significant(high)}]" if low > 0 and high < float("inf") else "[unknown]"


def count(value: int | None) -> str:
    """Write a number of things."""
    return DASH if value is None else f"{value:,}"
