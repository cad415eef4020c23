"""What follows a benchmark: store the result, show it, rewrite the tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools import result, summary, terminal
from tools import tables as documents
from tools.cli import relative


def show(content: Mapping[str, Any]) -> None:
    """Print the tables that a person reads."""
    summary.show(result.from_tree(content, result.result_path(content)))


def store(content: Mapping[str, Any], *, tables: bool) -> None:
    """Write the result file and bring the documents up to date.

    Raises:
        TablesError: a document cannot be rewritten; the result is stored.
        ResultError: the harness made an invalid result: a defect of ours, and nothing was written.
    """
    path = result.write(content)
    terminal.say(f"result  {relative(path)}")
    if tables:
        for changed in documents.update():
            terminal.say(f"updated {relative(changed)}")
