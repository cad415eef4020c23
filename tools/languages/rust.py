"""Rust: crates fetched into the shared cache, then built offline with the locked versions."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.languages.base import Paths, Step, cpu_level, jobs

NAME = "rust"
SUFFIXES = frozenset({".rs"})
COMMENT = "//"
MAIN_FILE = "src/main.rs"
LOCK_FILES = ("Cargo.toml", "Cargo.lock")
INTERPRETER: tuple[str, ...] = ()
VERSION = Step("version", ("rustc", "--version"))


def _env(paths: Paths) -> dict[str, str]:
    return {
        "CARGO_HOME": str(paths.cache / "cargo"),
        "CARGO_TARGET_DIR": str(paths.scratch / "target"),
        "CARGO_BUILD_JOBS": jobs(),
        "CARGO_INCREMENTAL": "0",
        "CARGO_TERM_COLOR": "never",
        "RUSTFLAGS": f"-C target-cpu={cpu_level()['rust']}",
    }


def fetch(paths: Paths) -> list[Step]:
    """Download the crates of Cargo.lock."""
    return [Step("fetch", ("cargo", "fetch", "--locked"), _env(paths), network=True)]


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """The release profile of the lane's Cargo.toml."""
    del slug, libraries  # named by Cargo.toml
    return [Step("build", ("cargo", "build", "--release", "--locked", "--offline"), _env(paths))]


def test(paths: Paths) -> list[Step]:
    """`cargo test` in a light profile: the tests are about answers, not speed."""
    return [Step("test", ("cargo", "test", "--locked", "--offline", "--quiet"), _env(paths))]


def lint(paths: Paths) -> list[Step]:
    """Nothing for rustfmt to change; the warnings of clippy are errors."""
    env = _env(paths)
    return [
        Step("fmt", ("cargo", "fmt", "--check"), env),
        Step(
            "clippy",
            ("cargo", "clippy", "--all-targets", "--locked", "--offline", "--quiet", "--", "-D", "warnings"),
            env,
        ),
    ]


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.scratch / "target" / "release" / slug
