"""System packages: installed when we may, named with one command when we may not, and no daemon is started."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tools import packages
from tools.errors import CommandError, ToolchainError
from tools.process import Finished

INSTALLED = b"gcc install ok installed\nold-thing deinstall ok config-files\nhalf-done install ok half-configured\n"


class Machine:
    """A Debian on which commands are only noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, policy: Path) -> None:
        """A root account with apt and dpkg; gcc is installed."""
        self.ran: list[str] = []
        self.environments: list[dict[str, str]] = []
        self.policies: list[str | None] = []
        self.programs = {"apt-get", "dpkg-query"}
        self.policy = policy
        self.failing = ""
        monkeypatch.setattr(packages, "POLICY", policy)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in self.programs else None)
        monkeypatch.setattr(packages, "run", lambda _: Finished(1, INSTALLED, b"no packages found matching hyperfine"))
        monkeypatch.setattr(packages, "check", self.check)

    def check(self, argv: Sequence[str], **options: Any) -> bytes:
        """Note a command and what Debian would have asked for at that time."""
        self.ran.append(" ".join(argv))
        self.environments.append(options["env"])
        self.policies.append(self.policy.read_text() if self.policy.exists() else None)
        if self.failing and self.failing in self.ran[-1]:
            raise CommandError("apt-get: exit code 100: Unable to fetch")
        return b""


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """A machine of our own."""
    return Machine(monkeypatch, tmp_path / "policy-rc.d")


@pytest.mark.usefixtures("machine")
def test_missing_are_those_that_are_not_whole() -> None:
    """Only what dpkg calls installed counts: neither remains nor half of a package; each is named once, in order."""
    assert packages.missing(["hyperfine", "gcc", "old-thing", "half-done", "hyperfine"]) == [
        "half-done", "hyperfine", "old-thing",
    ]  # fmt: skip
    assert packages.missing(["gcc"]) == []
    assert packages.missing([]) == []


def test_without_dpkg_everything_is_missing(machine: Machine) -> None:
    """On another distribution nobody knows, so the person is told."""
    machine.programs.clear()
    assert packages.missing(["gcc"]) == ["gcc"]


def test_what_is_there_is_left_alone(machine: Machine) -> None:
    """No command runs, and no network is needed."""
    packages.ensure(["gcc"], "the C compiler")
    assert machine.ran == []


def test_root_installs_what_is_missing(machine: Machine) -> None:
    """Only the missing ones, without questions, with the network's settings."""
    packages.ensure(["gcc", "hyperfine"], "comparing")
    assert machine.ran == [
        "apt-get update -qq", "apt-get install -y -qq --no-install-recommends hyperfine",
    ]  # fmt: skip
    assert {env["DEBIAN_FRONTEND"] for env in machine.environments} == {"noninteractive"}


def test_no_daemon_starts_while_packages_are_installed(machine: Machine) -> None:
    """Debian is told not to start services, for as long as it installs and no longer; also when it fails."""
    packages.ensure(["nginx"], "the peer")
    assert machine.policies == [None, "#!/bin/sh\nexit 101\n"]
    assert not machine.policy.exists()
    machine.failing = "install"
    with pytest.raises(ToolchainError):
        packages.ensure(["nginx"], "the peer")
    assert not machine.policy.exists()


def test_a_policy_of_the_machine_is_kept(machine: Machine) -> None:
    """Whoever has a policy already keeps it, byte for byte."""
    machine.policy.write_text("#!/bin/sh\nexit 0\n")
    packages.ensure(["nginx"], "the peer")
    assert machine.policies[1] == machine.policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_the_policy_can_be_run(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian ignores a policy that is not executable."""
    modes = []

    def check(argv: Sequence[str], **_: Any) -> bytes:
        if "install" in argv:
            modes.append(stat.S_IMODE(machine.policy.stat().st_mode))
        return b""

    monkeypatch.setattr(packages, "check", check)
    packages.ensure(["nginx"], "the peer")
    assert modes == [0o755]


@pytest.mark.parametrize("lacking", ["root", "apt-get"])
def test_others_are_told_the_command(lacking: str, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may not or cannot install gets one command to type, and nothing is tried."""
    if lacking == "root":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine.programs.discard(lacking)
    with pytest.raises(ToolchainError) as caught:
        packages.ensure(["hyperfine", "gcc", "nginx"], "comparing")
    assert str(caught.value) == (
        "comparing needs hyperfine, nginx (run: sudo apt-get install -y --no-install-recommends hyperfine nginx)"
    )
    assert machine.ran == []


@pytest.mark.parametrize("step", ["update", "install"])
def test_a_failed_installation_is_one_line(step: str, machine: Machine) -> None:
    """The purpose, what apt said, and the command to try by hand."""
    machine.failing = step
    with pytest.raises(ToolchainError, match=r"comparing: apt-get: exit code 100: Unable to fetch .run: sudo apt-get"):
        packages.ensure(["hyperfine"], "comparing")
