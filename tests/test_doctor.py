"""`invoke doctor` says what is, and what to do about it; it changes nothing unless asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools import caches, commands, doctor, toolchains
from tools.doctor import Finding
from tools.errors import RunnerError, ToolchainError
from tools.languages import base
from tools.runners import engine
from tools.selftest import noise
from tools.stats import Noise
from tools.toolchains import Toolchain


@pytest.fixture(autouse=True)
def healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quiet machine of four cores with a Docker engine, all compilers and much room."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.2, 0.3))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50 << 30))
    monkeypatch.setattr(doctor, "_steal_share", lambda: 0.001)
    version = {"Version": "27", "ApiVersion": "1.47"}
    monkeypatch.setattr(engine, "client", lambda: SimpleNamespace(version=lambda: version))
    monkeypatch.setattr(toolchains, "host", lambda name: Toolchain(name, (), version=f"{name} 1.2.3"))
    monkeypatch.setenv("DEADHEAT_CACHE", str(tmp_path))
    for language in ("go", "zig"):
        (tmp_path / "toolchains" / f"{language}-{base.toolchains()[language]['version']}").mkdir(parents=True)


def about(subject: str, **asked: bool) -> Finding:
    """The one finding about this."""
    (found,) = [one for one in doctor.findings(**asked) if one.subject == subject]
    return found


def fails(error: Exception) -> Callable[..., object]:
    """A function that raises."""

    def refuse(*_: object) -> object:
        raise error

    return refuse


def test_a_healthy_machine_has_no_remedy() -> None:
    """Every subject once, none of them a problem; what is fine needs no remedy."""
    found = doctor.findings()
    assert [one.subject for one in found] == [
        "cores", "load", "governor", "steal", "disk", "docker", "go", "zig", "rust", "c",
    ]  # fmt: skip
    assert {one.state for one in found} <= {"ok", "note"}
    assert [one.remedy for one in found if one.state == "ok"] == [""] * sum(one.state == "ok" for one in found)


@pytest.mark.parametrize(
    ("place", "name", "value", "subject", "state", "remedy"),
    [
        (os, "sched_getaffinity", lambda _: {3}, "cores", "note", "share one core"),
        (os, "getloadavg", lambda: (1.3, 0.0, 0.0), "load", "problem", "stop other work"),
        (doctor, "_steal_share", lambda: 0.06, "steal", "problem", "another tenant"),
        (shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 30), "disk", "problem", "free at least 10 GiB"),
        (engine, "client", fails(RunnerError("no Docker engine answers")), "docker", "note", "the host runner is used"),
        (toolchains, "host", fails(ToolchainError("no cargo", remedy="use rustup")), "rust", "problem", "use rustup"),
        (toolchains, "host", fails(ToolchainError("no cc")), "c", "problem", "apt-get install"),
    ],
    ids=["one core", "busy", "steal", "full disk", "no engine", "no rust", "no compiler"],
)
def test_what_is_wrong_comes_with_its_remedy(
    place: object, name: str, value: object, subject: str, state: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing that spoils a measurement is named, and so is what to do."""
    monkeypatch.setattr(place, name, value)
    found = about(subject)
    assert found.state == state
    assert remedy in found.remedy


def test_the_allowed_load_grows_with_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of one is much for two cores and little for eight."""
    monkeypatch.setattr(os, "getloadavg", lambda: (1.0, 0.0, 0.0))
    for cores, state in ((2, "problem"), (8, "ok")):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        assert about("load").state == state


def test_steal_is_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eighth column over all columns; a kernel that does not say stole nothing."""
    monkeypatch.undo()
    for text, share in (("cpu  50 0 20 20 0 0 0 10 0 0\ncpu0 1\n", 0.1), ("cpu x\n", 0.0), ("", 0.0)):
        monkeypatch.setattr(Path, "read_text", lambda *_, text=text, **__: text)
        assert doctor._steal_share() == share


def test_missing_toolchains_are_no_problem_until_they_are_needed() -> None:
    """Go and Zig are installed on first use: looking for them installs nothing, asking for it does."""
    shutil.rmtree(caches.shared() / "toolchains")
    found = about("zig")
    assert (found.state, found.remedy) == ("note", "installed on first use")
    assert about("zig", install=True) == Finding("ok", "zig", "zig 1.2.3")


@pytest.mark.parametrize(
    ("level", "state"), [(Noise.QUIET, "ok"), (Noise.USABLE, "note"), (Noise.NOISY, "problem")], ids=str
)
def test_noise_is_measured_only_when_asked(level: Noise, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet is fine, usable is worth a note, on a noisy machine nothing should be measured."""
    monkeypatch.setattr(noise, "observe", dict)
    monkeypatch.setattr(noise, "judge", lambda _: noise.Fitness(level, f"{level}: null arm", "be quiet"))
    assert "noise" not in [one.subject for one in doctor.findings()]
    assert about("noise", noise=True) == Finding(state, "noise", f"{level}: null arm", "be quiet")


def test_noise_that_cannot_be_measured_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a compiler is told so."""
    monkeypatch.setattr(noise, "observe", fails(ToolchainError("no compiler", remedy="install one")))
    assert about("noise", noise=True) == Finding("problem", "noise", "no compiler", "install one")


def cells(shown: str) -> list[list[str]]:
    """The rows of the table that a person sees."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines()]


def test_a_problem_fails_the_task(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """All findings are printed, problems with their remedy, and the exit code is 1."""
    commands.doctor(install=False, noise=False, as_json=False)
    assert ["ok", "cores", "4 usable", ""] in cells(capsys.readouterr().out)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    with pytest.raises(SystemExit) as caught:
        commands.doctor(install=False, noise=False, as_json=False)
    assert caught.value.code == 1
    captured = capsys.readouterr()
    assert ["problem", "load", "3.00 over the last minute", "stop other work first"] in cells(captured.out)
    assert captured.err == "error: this machine has problems\n"
