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


def _zig_build(name: str, paths: Paths, *words: str) -> Step:
    env = {"ZIG_LOCAL_CACHE_DIR": str(paths.scratch / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(paths.cache / "zig")}
    return Step(name, ("zig", "build", *words, f"-j{jobs()}"), env)


def fetch(paths: Paths) -> list[Step]:
    """Nothing: lanes use the standard library and system libraries."""
    del paths
    return []


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """Install the program under the output folder."""
    del slug, libraries  # named by build.zig
    options = ("-Doptimize=ReleaseFast", f"-Dcpu={cpu_level()['zig']}", "--prefix", str(paths.output))
    return [_zig_build("build", paths, *options)]


def test(paths: Paths) -> list[Step]:
    """The `test` step of build.zig, with safety checks on."""
    return [_zig_build("test", paths, "test", "--prefix", str(paths.output))]


def lint(paths: Paths) -> list[Step]:
    """`zig fmt` must have nothing to change."""
    del paths
    return [Step("fmt", ("zig", "fmt", "--check", "."))]


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.output / "bin" / slug
