"""Compilers of the host: pinned, installed once and whole, found first, and named with a remedy when missing."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tools import caches, packages, toolchains
from tools.errors import CommandError, ToolchainError
from tools.languages.base import toolchains as pins
from tools.toolchains import Toolchain

RUSTC = """\
#!/bin/sh
case "$*" in
"--print sysroot") echo "{sysroot}" ;;
--version) echo "rustc {version} (abcdef 2026-01-01)" ;;
esac
"""


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of our own, and no toolchain remembered from before."""
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path / "cache"))
    remembered = toolchains.host  # a test may put another function there
    remembered.cache_clear()
    yield tmp_path / "cache"
    remembered.cache_clear()


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Installations are noted, and leave one file in the folder that they were given."""
    ran: list[list[str]] = []

    def check(argv: Sequence[str | Path], **_: Any) -> bytes:
        words = [str(word) for word in argv]
        ran.append(words)
        (Path(words[words.index("--target") + 1]) / "module.py").write_text("x = 1\n")
        return b""

    monkeypatch.setattr(toolchains, "check", check)
    return ran


def test_go_and_zig_come_from_their_pinned_wheel_once(pip: list[list[str]], private_cache: Path) -> None:
    """Version and folder are those of the pins; a second question, and a second process, install nothing."""
    for language in ("go", "zig"):
        pin = pins()[language]
        found = toolchains.host(language)
        folder = private_cache / "toolchains" / f"{language}-{pin['version']}"
        assert found == Toolchain(language, (folder / pin["bin"],), version=f"{language} {pin['version']}")
        assert pip[-1][-1] == pin["pypi"]
        toolchains.host.cache_clear()
        toolchains.host(language)
    assert len(pip) == 2


def test_an_installation_is_whole_or_not_there(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When pip fails half way, one line says so and the next try finds nothing of it."""

    def fail(argv: Sequence[str | Path], **_: Any) -> bytes:
        words = [str(word) for word in argv]
        (Path(words[words.index("--target") + 1]) / "half").write_text("x")
        raise CommandError("python: exit code 1: No space left on device")

    monkeypatch.setattr(toolchains, "check", fail)
    with pytest.raises(ToolchainError, match=r"cannot install a==1 b==2: python: exit code 1: No space"):
        toolchains.pip_install(("a==1", "b==2"), private_cache / "python" / "x")
    assert list((private_cache / "python").iterdir()) == []


def test_python_packages_are_shared_by_all_who_want_the_same(pip: list[list[str]]) -> None:
    """The same requirements are installed once; others get a folder of their own."""
    first = toolchains.python_packages(("xxhash==4.1.0",))
    assert (first / "module.py").is_file()
    assert toolchains.python_packages(("xxhash==4.1.0",)) == first
    assert toolchains.python_packages(("xxhash==4.0.0",)) != first
    assert len(pip) == 2


def test_two_at_once_install_once(pip: list[list[str]]) -> None:
    """Whoever comes second waits for the lock and finds what the first one made."""
    threads = [threading.Thread(target=toolchains.python_packages, args=(("a==1",),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pip) == 1


def test_the_compiler_is_found_first() -> None:
    """Its folders stand in front of PATH, its variables are set, and nothing of the person's shell comes in."""
    os.environ["DEADHEAT_STRANGER"] = "x"
    try:
        env = Toolchain("go", (Path("/a"), Path("/b")), {"GOFLAGS": "-x"}).environment()
    finally:
        del os.environ["DEADHEAT_STRANGER"]
    assert env["PATH"] == "/a:/b:/usr/local/bin:/usr/bin:/bin"
    assert env["GOFLAGS"] == "-x"
    assert "DEADHEAT_STRANGER" not in env


def test_only_fetching_knows_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's settings are passed on where they are needed."""
    monkeypatch.setenv("https_proxy", "http://example.invalid")
    chain = Toolchain("go", ())
    assert "https_proxy" not in chain.environment()
    assert chain.environment(network=True)["https_proxy"] == "http://example.invalid"


# --- Rust


def rust(folder: Path, version: str, *, shim: bool = False) -> Path:
    """A cargo of a version; with `shim`, one of rustup that leads to another folder."""
    sysroot = folder / "sysroot"
    home = sysroot / "bin" if shim else folder
    for place in {folder, home}:
        place.mkdir(parents=True, exist_ok=True)
        for name, text in (("cargo", "#!/bin/sh\n"), ("rustc", RUSTC.format(sysroot=sysroot, version=version))):
            (place / name).write_text(text)
            (place / name).chmod(0o755)
    return folder / "cargo"


@pytest.fixture
def cargos(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cargos of this machine, the first first; the linker is there, and nothing can be installed."""
    found: list[Path] = []

    def refuse(*_: object) -> None:
        raise ToolchainError("Rust needs cargo", remedy="run: apt")

    monkeypatch.setattr(toolchains, "_cargo_candidates", lambda: found)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages, "ensure", refuse)
    return found


def test_the_first_cargo_that_is_new_enough_is_taken(tmp_path: Path, cargos: list[Path]) -> None:
    """Numbers are compared as numbers: 1.100 is newer than 1.95, and 1.9 is older."""
    cargos += [rust(tmp_path / "old", "1.9.0"), rust(tmp_path / "new", "1.100.0"), rust(tmp_path / "last", "2.0.0")]
    found = toolchains.host("rust")
    assert found.path == (tmp_path / "new",)
    assert found.version == "rustc 1.100.0 (abcdef 2026-01-01)"


def test_a_shim_of_rustup_is_resolved(tmp_path: Path, cargos: list[Path]) -> None:
    """The real folder is used, so that no shim decides anything during a build."""
    cargos.append(rust(tmp_path / "shims", "1.99.0", shim=True))
    assert toolchains.host("rust").path == (tmp_path / "shims" / "sysroot" / "bin",)


def test_broken_cargos_are_passed_over(tmp_path: Path, cargos: list[Path]) -> None:
    """One that does not start, or says something else, is as good as none."""
    broken, silent = tmp_path / "broken" / "cargo", rust(tmp_path / "silent", "nightly")
    cargos += [broken, silent, rust(tmp_path / "good", "1.99.0")]
    assert toolchains.host("rust").path == (tmp_path / "good",)


def test_without_rust_debian_is_asked_once(tmp_path: Path, cargos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be installed is used; what is still too old then is named with its remedy."""
    monkeypatch.setattr(packages, "ensure", lambda *_: cargos.append(rust(tmp_path / "debian", "1.99.0")))
    assert toolchains.host("rust").path == (tmp_path / "debian",)
    toolchains.host.cache_clear()
    cargos.clear()
    asked: list[object] = []
    monkeypatch.setattr(packages, "ensure", lambda *words: asked.append(words))
    with pytest.raises(ToolchainError, match=r"no cargo of version .* or newer .install Rust with rustup"):
        toolchains.host("rust")
    assert len(asked) == 1


def test_what_a_language_lacks(tmp_path: Path, cargos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rust lacks a compiler and a linker on a bare machine, and nothing where a new enough cargo is; Zig never does."""
    programs: set[str] = set()
    monkeypatch.setattr(shutil, "which", lambda name: name if name in programs else None)
    assert toolchains.lacking("rust") == [*pins()["c"]["apt"], *pins()["rust"]["apt"]]
    assert toolchains.lacking("c") == pins()["c"]["apt"]
    programs.add("cc")
    cargos.append(rust(tmp_path / "good", "1.99.0"))
    assert [toolchains.lacking(language) for language in ("rust", "c", "zig", "go")] == [[], [], [], []]


def test_where_cargo_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$CARGO, then PATH, then the home of rustup; each once, and only what is there."""
    named, home = tmp_path / "named", tmp_path / "home"
    for path in (named, home / ".cargo" / "bin" / "cargo"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setenv("CARGO", str(named))
    monkeypatch.setattr(shutil, "which", lambda _: str(named))
    monkeypatch.setattr(Path, "home", lambda: home)
    found = toolchains._cargo_candidates()
    assert found[:2] == [named, home / ".cargo" / "bin" / "cargo"]
    assert all(path.is_file() for path in found)


# --- the others


def test_a_missing_c_compiler_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of the pins are named with their purpose."""
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(packages, "ensure", lambda *words: asked.append(words))
    monkeypatch.setattr(toolchains, "_first_line", lambda *_: "cc 12")
    assert toolchains.host("c").version == "cc 12"
    assert asked == [(pins()["c"]["apt"], "the C compiler")]


def test_python_is_our_own() -> None:
    """Programs in Python run under the interpreter that runs us."""
    found = toolchains.host("python")
    assert found.path == (Path(sys.executable).parent,)
    assert found.version == f"Python {sys.version.split()[0]}"


def test_a_pinned_go_program_is_built_once(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its version is in the folder's name; without a network, the failure is one line."""
    built: list[tuple[list[str | Path], str]] = []

    def check(argv: list[str | Path], env: dict[str, str], cwd: Path) -> bytes:
        assert "-mod=mod" in env["GOFLAGS"]
        built.append((argv, (cwd / "go.mod").read_text()))
        if len(built) > 1:
            raise CommandError("go: exit code 1: dial tcp: no route to host")
        Path(argv[3]).parent.mkdir(parents=True)
        Path(argv[3]).touch()
        return b""

    monkeypatch.setattr(toolchains, "host", lambda _: Toolchain("go", (Path("/go/bin"),)))
    monkeypatch.setattr(toolchains, "check", check)
    pin = pins()["actionlint"]
    program = toolchains.go_program("actionlint")
    assert program == private_cache / "programs" / f"actionlint-{pin['version']}" / "actionlint"
    assert toolchains.go_program("actionlint") == program
    assert [argv for argv, _ in built] == [["go", "build", "-o", program, pin["package"]]]
    assert f"require {pin['module']} {pin['version']}\n" in built[0][1]
    program.unlink()
    with pytest.raises(ToolchainError, match="cannot build actionlint: go: exit code 1: dial tcp"):
        toolchains.go_program("actionlint")


def test_a_pinned_crate_is_built_once(private_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its author's lock file, in a folder that goes away; without a network, the failure is one line."""
    built: list[list[str | Path]] = []

    def check(argv: list[str | Path], env: dict[str, str], cwd: Path) -> bytes:
        assert env["CARGO_TARGET_DIR"] == str(cwd)
        built.append(argv)
        if len(built) > 1:
            raise CommandError("cargo: exit code 101: could not resolve host")
        folder = Path(argv[argv.index("--root") + 1]) / "bin"
        folder.mkdir(parents=True)
        (folder / "oha").touch()
        return b""

    monkeypatch.setattr(toolchains, "host", lambda _: Toolchain("rust", (Path("/rust/bin"),)))
    monkeypatch.setattr(toolchains, "check", check)
    pin = pins()["oha"]
    program = toolchains.cargo_program("oha")
    assert program == private_cache / "programs" / f"oha-{pin['version']}" / "bin" / "oha"
    assert toolchains.cargo_program("oha") == program
    assert len(built) == 1
    assert {"--locked", f"oha@{pin['version']}"} <= set(built[0])
    program.unlink()
    with pytest.raises(ToolchainError, match="cannot build oha: cargo: exit code 101: could not resolve"):
        toolchains.cargo_program("oha")


def test_the_cache_follows_the_persons_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DEADHEAT_CACHE, else the XDG folder, else ~/.cache."""
    assert caches.shared() == tmp_path / "cache"
    monkeypatch.delenv("DEADHEAT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert caches.shared() == tmp_path / "xdg" / "deadheat"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert caches.shared() == tmp_path / ".cache" / "deadheat"
