"""Languages as data: the commands and environment of each, and that only fetching may use a network."""

from __future__ import annotations

import inspect
import os
import platform
from pathlib import PurePosixPath

import pytest

from tools import languages
from tools.errors import ProjectError
from tools.languages.base import Language, Paths, Step

PATHS = Paths(PurePosixPath("/src"), PurePosixPath("/out"), PurePosixPath("/scratch"), PurePosixPath("/cache"))
ALL = sorted(languages.LANGUAGES)
GO_ENV = {
    "GOMODCACHE": "/cache/mod", "GOCACHE": "/cache/build", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local",
    "GOTELEMETRY": "off", "CGO_ENABLED": "0", "GOAMD64": "v3",
}  # fmt: skip
CARGO_ENV = {
    "CARGO_HOME": "/cache/cargo", "CARGO_TARGET_DIR": "/scratch/target", "CARGO_BUILD_JOBS": "2",
    "CARGO_INCREMENTAL": "0", "CARGO_TERM_COLOR": "never", "RUSTFLAGS": "-C target-cpu=x86-64-v3",
}  # fmt: skip
ZIG_ENV = {"ZIG_LOCAL_CACHE_DIR": "/scratch/zig", "ZIG_GLOBAL_CACHE_DIR": "/cache/zig"}
COMMANDS = [
    ("go", "fetch", "go mod download", GO_ENV),
    ("go", "build", "go build -trimpath -ldflags=-s -w -o /out/job .", GO_ENV | {"GOPROXY": "off"}),
    ("go", "test", "go test ./...", GO_ENV | {"GOPROXY": "off"}),
    ("go", "lint", "gofmt -l .; go vet ./...", GO_ENV | {"GOPROXY": "off"}),
    ("rust", "fetch", "cargo fetch --locked", CARGO_ENV),
    ("rust", "build", "cargo build --release --locked --offline", CARGO_ENV),
    ("rust", "test", "cargo test --locked --offline --quiet", CARGO_ENV),
    ("rust", "lint", ("cargo fmt --check; "
     "cargo clippy --all-targets --locked --offline --quiet -- -D warnings"), CARGO_ENV),
    ("zig", "fetch", "", {}),
    ("zig", "build", "zig build -Doptimize=ReleaseFast -Dcpu=x86_64_v3 --prefix /out -j2", ZIG_ENV),
    ("zig", "test", "zig build test --prefix /out -j2", ZIG_ENV),
    ("zig", "lint", "zig fmt --check .", {}),
    ("c", "fetch", "", {}),
    ("c", "build", "cc -std=gnu11 -O2 -Wall -Wextra -Werror -o /out/job main.c -lz -lsqlite3", {}),
    ("c", "test", "", {}),
    ("c", "lint", "", {}),
    ("python", "fetch", "", {}),
    ("python", "build", "cp main.py /out/job", {}),
    ("python", "test", "", {}),
    ("python", "lint", "", {}),
]  # fmt: skip


@pytest.fixture(autouse=True)
def same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expectations are those of an x86-64 with two cores."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def steps(name: str, what: str) -> list[Step]:
    """The steps of one language."""
    language = languages.get(name)
    return language.build(PATHS, "job", ("z", "sqlite3")) if what == "build" else getattr(language, what)(PATHS)


@pytest.mark.parametrize(("name", "what", "argv", "env"), COMMANDS, ids=[f"{row[0]}-{row[1]}" for row in COMMANDS])
def test_commands(name: str, what: str, argv: str, env: dict[str, str]) -> None:
    """The exact words and environment of each step: a change of them changes every number, so it is a change here."""
    found = steps(name, what)
    assert "; ".join(" ".join(step.argv) for step in found) == argv
    assert all(dict(step.env) == env for step in found)


@pytest.mark.parametrize("name", ALL)
def test_only_fetching_has_a_network(name: str) -> None:
    """Building, testing and linting are offline in every language."""
    assert all(step.network for step in steps(name, "fetch"))
    assert not any(step.network for what in ("build", "test", "lint") for step in steps(name, what))


@pytest.mark.parametrize("name", ALL)
def test_sources_are_never_written(name: str) -> None:
    """No step is told to put anything into the source folder, which is mounted read-only."""
    for what in ("fetch", "build", "test", "lint"):
        for step in steps(name, what):
            assert not any("/src" in word for word in (*step.argv, *step.env.values()))


@pytest.mark.parametrize(
    ("name", "path"),
    [("go", "/out/job"), ("rust", "/scratch/target/release/job"), ("zig", "/out/bin/job"), ("c", "/out/job")],
)
def test_artifact(name: str, path: str) -> None:
    """Where the program is after the build."""
    assert languages.get(name).artifact(PATHS, "job") == PurePosixPath(path)


@pytest.mark.parametrize("name", ALL)
def test_language_satisfies_the_protocol(name: str) -> None:
    """Every name of the protocol is there, with the same parameters and of a fitting kind."""
    language = languages.get(name)
    wanted = {key: value for key, value in vars(Language).items() if not key.startswith("_")}
    assert name == language.NAME
    for key, value in wanted.items():
        found = getattr(language, key)
        if inspect.isfunction(value):
            assert list(inspect.signature(found).parameters) == list(inspect.signature(value).parameters)[1:]
    assert isinstance(language.SUFFIXES, frozenset)
    assert language.MAIN_FILE.endswith(tuple(language.SUFFIXES))
    assert isinstance(language.LOCK_FILES, tuple)
    assert not language.VERSION.network


def test_unknown_language_lists_the_known() -> None:
    """A language that is not in the table is one line."""
    with pytest.raises(ProjectError, match=r"unknown language 'cobol' \(known: c, go, python, rust, zig\)"):
        languages.get("cobol")
