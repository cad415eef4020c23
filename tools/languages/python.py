"""Python: nothing to compile; used by peers. The runner provides an interpreter with the requirements."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.languages.base import Paths, Step

NAME = "python"
SUFFIXES = frozenset({".py"})
COMMENT = "#"
MAIN_FILE = "main.py"
LOCK_FILES: tuple[str, ...] = ()
INTERPRETER: tuple[str, ...] = ("python3",)
VERSION = Step("version", ("python3", "--version"))


def fetch(paths: Paths) -> list[Step]:
    """The runner installs pinned requirements."""
    del paths
    return []


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """Copy the adapter to the output folder under the program's name."""
    del libraries
    return [Step("build", ("cp", MAIN_FILE, str(artifact(paths, slug))))]


def test(paths: Paths) -> list[Step]:
    """A peer is tested by the oracle."""
    del paths
    return []


def lint(paths: Paths) -> list[Step]:
    """Linted with the harness's own Python."""
    del paths
    return []


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.output / slug
