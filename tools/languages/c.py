"""C: one file over system libraries; used by peers, and the worked example of CONTRIBUTING.md for a new language."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.languages.base import Paths, Step

NAME = "c"
SUFFIXES = frozenset({".c", ".h"})
COMMENT = "//"
MAIN_FILE = "main.c"
LOCK_FILES: tuple[str, ...] = ()
INTERPRETER: tuple[str, ...] = ()
VERSION = Step("version", ("cc", "--version"))
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


def fetch(paths: Paths) -> list[Step]:
    """Nothing: libraries are system packages."""
    del paths
    return []


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """Compile and link in one command."""
    link = tuple(f"-l{library}" for library in libraries)
    return [Step("build", ("cc", *FLAGS, "-o", str(artifact(paths, slug)), MAIN_FILE, *link))]


def test(paths: Paths) -> list[Step]:
    """A peer is tested by the oracle."""
    del paths
    return []


def lint(paths: Paths) -> list[Step]:
    """The compiler's warnings, as errors, at build time."""
    del paths
    return []


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.output / slug
