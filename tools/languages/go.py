"""Go: modules fetched into the shared cache, then built offline, static, without cgo."""

from __future__ import annotations

from pathlib import PurePosixPath

from tools.languages.base import Paths, Step, cpu_level

NAME = "go"
SUFFIXES = frozenset({".go"})
COMMENT = "//"
MAIN_FILE = "main.go"
LOCK_FILES = ("go.mod", "go.sum")
INTERPRETER: tuple[str, ...] = ()
VERSION = Step("version", ("go", "version"))
FLAGS = ("-trimpath", "-ldflags=-s -w")


def _env(paths: Paths, *, offline: bool) -> dict[str, str]:
    level, _, value = cpu_level()["go"].partition("=")
    env = {
        "GOMODCACHE": str(paths.cache / "mod"),
        "GOCACHE": str(paths.cache / "build"),
        "GOFLAGS": "-mod=readonly",
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
        level: value,
    }
    return env | ({"GOPROXY": "off"} if offline else {})


def fetch(paths: Paths) -> list[Step]:
    """Download the modules of go.sum."""
    return [Step("fetch", ("go", "mod", "download"), _env(paths, offline=False), network=True)]


def build(paths: Paths, slug: str, libraries: tuple[str, ...] = ()) -> list[Step]:
    """One static program."""
    del libraries  # cgo is off
    argv = ("go", "build", *FLAGS, "-o", str(artifact(paths, slug)), ".")
    return [Step("build", argv, _env(paths, offline=True))]


def test(paths: Paths) -> list[Step]:
    """`go test` of every package."""
    return [Step("test", ("go", "test", "./..."), _env(paths, offline=True))]


def lint(paths: Paths) -> list[Step]:
    """Nothing for gofmt to change, nothing for vet to say."""
    env = _env(paths, offline=True)
    return [Step("gofmt", ("gofmt", "-l", "."), env, quiet=True), Step("vet", ("go", "vet", "./..."), env)]


def artifact(paths: Paths, slug: str) -> PurePosixPath:
    """Where the program is."""
    return paths.output / slug
