"""The export formats: one file a format, each a function from a result to text. Nothing is ever imported.

Only arms whose verdict counts go into formats that cannot say why a number is no number; CSV has every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tools.errors import UsageError
from tools.export import benchstat, bmf, hyperfine, table
from tools.record import Result

FORMATS: Mapping[str, Callable[[Result], str]] = {
    "hyperfine": hyperfine.export,
    "benchstat": benchstat.export,
    "bmf": bmf.export,
    "csv": table.export,
}


def export(result: Result, name: str) -> str:
    """The text of a result in a format.

    Raises:
        UsageError: there is no such format, or the result has nothing that it could hold.
    """
    if name not in FORMATS:
        raise UsageError(f"no format {name!r}", remedy="known: " + ", ".join(FORMATS))
    return FORMATS[name](result)
