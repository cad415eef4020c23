"""Tables for people: as wide as the terminal, coloured where a terminal is there, plain in logs and pipes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_COLUMNS = 150
"""A log has no width of its own; a terminal's is asked for."""


def console(*, stderr: bool = False) -> Console:
    """Where tables go: no colour with NO_COLOR or in CI, no control characters and a fixed width without a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else LOG_COLUMNS
    return Console(stderr=stderr, highlight=False, width=width, no_color=True if os.environ.get("CI") else None)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", numbers_from: int = 1) -> Table:
    """Lay out plain texts; columns from `numbers_from` on are set right, and nothing in a cell is markup."""
    made = Table(title=Text(plain(title)) if title else None, title_justify="left", title_style="bold")
    for index, name in enumerate(head):
        made.add_column(Text(plain(name)), justify="left" if index < numbers_from else "right")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made


def plain(text: str) -> str:
    """Foreign text on a terminal: nothing in it can move the cursor or turn the direction of writing."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)
