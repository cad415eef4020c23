"""The explicit table of runners, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable

from tools.errors import UsageError
from tools.runners.base import Runner
from tools.runners.docker import DockerRunner, engine_answers
from tools.runners.host import HostRunner

RUNNERS: dict[str, Callable[[], Runner]] = {"docker": DockerRunner, "host": HostRunner}


def choose(name: str | None) -> tuple[Runner, str]:
    """The runner of this name, or Docker where an engine answers, else the host; and why.

    Raises:
        UsageError: no runner has this name.
    """
    if name is None:
        name = "docker" if engine_answers() else "host"
        why = "a Docker engine answers" if name == "docker" else "no Docker engine answers, so programs run on the host"
        return RUNNERS[name](), why
    if name not in RUNNERS:
        raise UsageError(f"no runner {name!r}", remedy="known: " + ", ".join(RUNNERS))
    return RUNNERS[name](), "as asked"
