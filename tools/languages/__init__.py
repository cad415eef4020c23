"""The explicit table of languages; adding one is a file beside this and a line here."""

from __future__ import annotations

from tools.errors import ProjectError
from tools.languages import c, go, python, rust, zig
from tools.languages.base import Language

LANGUAGES: dict[str, Language] = {
    "c": c,
    "go": go,
    "python": python,
    "rust": rust,
    "zig": zig,
}


def get(name: str) -> Language:
    """The language of this name.

    Raises:
        ProjectError: it is not in the table.
    """
    try:
        return LANGUAGES[name]
    except KeyError:
        raise ProjectError(f"unknown language {name!r}", remedy="known: " + ", ".join(sorted(LANGUAGES))) from None
