"""Toolchains of the host: Go and Zig from pinned PyPI wheels, Rust from an existing cargo or Debian."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tools import caches, packages, temporary
from tools.errors import CommandError, ToolchainError
from tools.languages.base import toolchains
from tools.process import check, clean_environment


@dataclass(frozen=True)
class Toolchain:
    """A compiler on this machine: folders for PATH, extra environment, and its version line."""

    language: str
    path: tuple[Path, ...]
    env: dict[str, str] = field(default_factory=dict)
    version: str = ""

    def environment(self, *, network: bool = False) -> dict[str, str]:
        """A clean environment in which the compiler is found first."""
        env = clean_environment(self.env, network=network)
        env["PATH"] = ":".join([*(str(folder) for folder in self.path), "/usr/local/bin", "/usr/bin", "/bin"])
        return env


@cache
def host(language: str) -> Toolchain:
    """The toolchain of a language, installed first when it is missing.

    Raises:
        ToolchainError: it cannot be had; the remedy is one command.
    """
    match language:
        case "go" | "zig":
            return _from_wheel(language)
        case "rust":
            return _rust()
        case "c":
            if not shutil.which("cc"):
                packages.ensure(toolchains()["c"]["apt"], "the C compiler")
            return Toolchain("c", (), version=_first_line("cc", "--version"))
        case _:
            return Toolchain(language, (Path(sys.executable).parent,), version=f"Python {sys.version.split()[0]}")


def lacking(language: str) -> list[str]:
    """Debian packages that this machine still needs to compile a language."""
    wanted: list[str] = []
    if language in {"c", "rust"} and not shutil.which("cc"):
        wanted += toolchains()["c"]["apt"]
    pin = toolchains()["rust"]
    if language == "rust" and not any(_rust_at(cargo, pin["minimum"]) for cargo in _cargo_candidates()):
        wanted += pin["apt"]
    return wanted


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time installs into the shared cache."""
    folder = caches.shared()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pip_install(requirements: tuple[str, ...], target: Path) -> None:
    """Install pinned PyPI requirements into a folder, all or nothing.

    Raises:
        ToolchainError: pip failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        argv: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            staging,
        ]
        check([*argv, *requirements], env=clean_environment(network=True))
        staging.rename(target)
    except CommandError as error:
        raise ToolchainError(f"cannot install {' '.join(requirements)}: {error.message}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def python_packages(requirements: tuple[str, ...]) -> Path:
    """A folder for PYTHONPATH with these pinned requirements, installed once into the shared cache."""
    key = hashlib.sha256(repr((sys.version_info[:2], requirements)).encode()).hexdigest()[:24]
    folder = caches.shared() / "python" / key
    with locked("python-packages"):
        if not folder.is_dir():
            pip_install(requirements, folder)
    return folder


def go_program(name: str) -> Path:
    """A pinned tool that is built from its Go module, once.

    It is built as what an empty module requires. `go install` would also ask for the list of all versions, which a
    mirror may refuse although it has the one that is pinned.

    Raises:
        ToolchainError: it does not build.
    """
    pin = toolchains()[name]
    program = caches.shared() / "programs" / f"{name}-{pin['version']}" / name
    with locked(f"program-{name}"):
        if not program.is_file():
            go, language = host("go"), toolchains()["go"]["version"]
            env = go.environment(network=True) | {"GOFLAGS": "-trimpath -mod=mod", "CGO_ENABLED": "0"}
            with temporary.folder("build") as folder:
                text = f"module build\n\ngo {language}\n\nrequire {pin['module']} {pin['version']}\n"
                (folder / "go.mod").write_text(text, encoding="utf-8")
                _build_program(name, ["go", "build", "-o", program, pin["package"]], env, folder)
    return program


def cargo_program(name: str) -> Path:
    """A pinned tool that is built from its crate, with the dependencies that its author locked, once.

    Raises:
        ToolchainError: it does not build.
    """
    pin = toolchains()[name]
    folder = caches.shared() / "programs" / f"{name}-{pin['version']}"
    program = folder / "bin" / name
    with locked(f"program-{name}"):
        if not program.is_file():
            home = {"CARGO_HOME": str(caches.shared() / "packages" / "rust" / "cargo"), "CARGO_TERM_COLOR": "never"}
            with temporary.folder("build") as scratch:
                env = host("rust").environment(network=True) | home | {"CARGO_TARGET_DIR": str(scratch)}
                what = f"{pin['crate']}@{pin['version']}"
                _build_program(name, ["cargo", "install", "--locked", "--quiet", "--root", folder, what], env, scratch)
    return program


def _build_program(name: str, argv: list[str | Path], env: dict[str, str], folder: Path) -> None:
    """Run the command that builds a tool, in a folder.

    Raises:
        ToolchainError: it fails.
    """
    try:
        check(argv, env=env, cwd=folder)
    except CommandError as error:
        raise ToolchainError(f"cannot build {name}: {error.message}") from error


def _from_wheel(language: str) -> Toolchain:
    pin = toolchains()[language]
    folder = caches.shared() / "toolchains" / f"{language}-{pin['version']}"
    if not folder.is_dir():
        with locked(f"toolchain-{language}"):
            if not folder.is_dir():
                pip_install((pin["pypi"],), folder)
    return Toolchain(language, (folder / pin["bin"],), version=f"{language} {pin['version']}")


def _rust() -> Toolchain:
    pin = toolchains()["rust"]
    for attempt in range(2):
        for cargo in _cargo_candidates():
            if found := _rust_at(cargo, pin["minimum"]):
                if not shutil.which("cc"):
                    packages.ensure(toolchains()["c"]["apt"], "the linker of Rust")
                return found
        if attempt == 0:
            packages.ensure(pin["apt"], f"Rust {pin['minimum']} or newer")
    raise ToolchainError(f"no cargo of version {pin['minimum']} or newer", remedy="install Rust with rustup")


def _cargo_candidates() -> list[Path]:
    named = [os.environ.get("CARGO"), shutil.which("cargo"), str(Path.home() / ".cargo/bin/cargo"), "/usr/bin/cargo"]
    return list(dict.fromkeys(Path(name) for name in named if name and Path(name).is_file()))


def _rust_at(cargo: Path, minimum: str) -> Toolchain | None:
    """The toolchain behind a cargo, with rustup's shims resolved; None when it is too old or broken."""
    env = clean_environment()
    rustc = cargo.with_name("rustc")
    try:
        sysroot = Path(check([rustc, "--print", "sysroot"], env=env).decode().strip())
        home = sysroot / "bin" if (sysroot / "bin" / "cargo").exists() else cargo.parent
        version = check([home / "rustc", "--version"], env=env).decode().strip()
    except CommandError:
        return None
    number = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    if not number or tuple(map(int, number.groups())) < tuple(map(int, minimum.split("."))):
        return None
    return Toolchain("rust", (home,), version=version)


def _first_line(*argv: str) -> str:
    return check(list(argv)).decode().splitlines()[0]
