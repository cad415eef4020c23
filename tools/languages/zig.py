"""Zig: nothing to fetch (no remote packages), `zig build` with ReleaseFast."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.languages.base import Paths, Step, cpu_level, jobs

NAME = "zig"
SUFFIXES = frozenset({".zig"})
COMMENT = "//"
MAIN_FILE = "src/main.zig"
LOCK_FILES = ("build.zig", "build.zig.zon")
INTERPRETER: tuple[str, ...] = ()
VERSION = Step("version", ("zig", "version"))


def _zig_build(paths: Paths, *words: str) -> tuple[str, ...]:
    caches = ("--cache-dir", str(paths.scratch / "zig"), "--global-cache-dir", str(paths.cache / "zig"))
    return ("zig", "build", *words, f"-j{jobs()}", *caches)


def fetch(paths: Paths) -> list[Step]:
    """Nothing: lanes use the standard library and system libraries."""
    del paths
    return []


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """Install the program under the output folder."""
    del slug, libraries  # named by build.zig
    options = ("-Doptimize=ReleaseFast", f"-Dcpu={cpu_level()['zig']}", "--prefix", str(paths.output))
    return [Step("build", _zig_build(paths, *options))]


def test(paths: Paths) -> list[Step]:
    """The `test` step of build.zig, with safety checks on."""
    return [Step("test", _zig_build(paths, "test", "--prefix", str(paths.output)))]


def lint(paths: Paths) -> list[Step]:
    """`zig fmt` must have nothing to change."""
    del paths
    return [Step("fmt", ("zig", "fmt", "--check", "."))]


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.output / "bin" / slug
