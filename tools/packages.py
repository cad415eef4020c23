"""System packages: what is missing is installed when we are root, otherwise the one command is named."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.errors import CommandError, ToolchainError
from tools.files import atomic_write
from tools.process import check, clean_environment, run

POLICY = Path("/usr/sbin/policy-rc.d")
"""What Debian asks whether a package may start its daemon."""


def missing(apt: Iterable[str]) -> list[str]:
    """Those of the Debian packages that are not installed."""
    names = sorted(set(apt))
    if not names or not shutil.which("dpkg-query"):
        return names
    listing = run(["dpkg-query", "-W", "-f", "${Package} ${Status}\n", *names]).stdout.decode()
    installed = {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def install_command(names: Iterable[str]) -> str:
    """What a person types to install the packages."""
    return "sudo apt-get install -y --no-install-recommends " + " ".join(names)


def ensure(apt: Iterable[str], purpose: str) -> None:
    """Make sure that the packages are installed.

    Raises:
        ToolchainError: they are missing and we may not or cannot install them.
    """
    names = missing(apt)
    if not names:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise ToolchainError(f"{purpose} needs {', '.join(names)}", remedy=f"run: {install_command(names)}")
    env = clean_environment({"DEBIAN_FRONTEND": "noninteractive"}, network=True)
    try:
        check(["apt-get", "update", "-qq"], env=env)
        with _no_daemons():
            check(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], env=env)
    except CommandError as error:
        raise ToolchainError(f"{purpose}: {error.message}", remedy=f"run: {install_command(names)}") from error


@contextlib.contextmanager
def _no_daemons() -> Iterator[None]:
    """A package of a server starts it at once on most machines; ours are started by us, in a sandbox, or not at all."""
    if POLICY.exists():
        yield
        return
    atomic_write(POLICY, "#!/bin/sh\nexit 101\n")
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)
