"""What the evidence has to know of a load generator: how it is asked, and how its answer is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.loads.base import Asked, LoadReport

QUANTILES = ("p50", "p90", "p95", "p99", "p999", "max")
PROGRAM = "{program}"
"""Stands for the path of the generator in its commands."""


def _no_files(asked: Asked) -> Mapping[str, str]:
    del asked
    return {}


@dataclass(frozen=True)
class Generator:
    """One load generator with one way to ask it; its files and its output lie in the folder where it runs."""

    name: str
    """In the record and in the tables."""
    program: str
    """What has to be installed."""
    command: Callable[[Asked], tuple[str, ...]]
    parse: Callable[[bytes], LoadReport]
    """Raises ValueError: this is not what it prints."""
    files: Callable[[Asked], Mapping[str, str]] = _no_files
    after: tuple[tuple[str, ...], ...] = ()
    """Commands that print the answer afterwards; what they need is not counted."""


def url(asked: Asked) -> str:
    """Where a generator of HTTP sends its requests."""
    return f"http://{asked.address}{asked.path}"


def last_object(tool: str, stdout: bytes) -> dict[str, Any]:
    """The JSON object on the last line that begins with one.

    Raises:
        ValueError: there is none.
    """
    lines = [line for line in stdout.splitlines() if line.startswith(b"{")]
    if not lines:
        raise ValueError(f"{tool} printed no JSON")
    return as_object(tool, lines[-1])


def as_object(tool: str, text: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is something else.
    """
    tree = json.loads(text)
    if not isinstance(tree, dict):
        raise ValueError(f"{tool} printed no object")  # noqa: TRY004 - what every parser raises
    return tree


def ns(value: Any, unit_ns: float) -> int | None:
    """A time of a report in ns; None where the tool has none to tell."""
    return None if value is None else round(float(value) * unit_ns)
