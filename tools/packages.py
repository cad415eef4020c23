"""System packages: what is missing is installed when we are root, otherwise the one command is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable

from tools.errors import CommandError, ToolchainError
from tools.process import check, clean_environment, run


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
        check(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], env=env)
    except CommandError as error:
        raise ToolchainError(f"{purpose}: {error.message}", remedy=f"run: {install_command(names)}") from error
