"""Verify the lanes of a server project: its oracle.py talks to the real program, beside the real reference servers.

The oracle starts the lane itself, as often and as badly treated as it likes, inside the sandbox in which servers run.
What it finds comes back as report.json. Peers answer the scripts of the declared cases, as lanes do.

Nothing is timed here, so that as many lanes are asked at once as there are cores.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tools.errors import RunnerError
from tools.launcher.protocol import LaunchReply, Started
from tools.model import Packages, Project
from tools.runners.base import Arena, Program, Source, Start
from tools.services import why
from tools.verify import Verification

ANSWER = "oracle/report.json"
FOLDER = "oracle"
MAX_CHECKS = 100_000


def program(arm: Program, project: Project) -> Program:
    """A lane with what its oracle needs beside it."""
    extra = project.oracle_packages
    needed = Packages(extra.apt, (*extra.pip, *project.workload_requirements))
    return Program(arm.arm, arm.built, needed, python=True, cores="any")


class Interview:
    """The oracle at work on one lane; the arena must stay open until `hear` has answered."""

    def __init__(self, arena: Arena, source: Source, project: Project) -> None:
        """Start the oracle."""
        self._arena, self._source, self._project = arena, source, project
        self._begun: Started | LaunchReply | RunnerError
        try:
            self._begun = self._begin()
        except RunnerError as error:
            self._begun = error

    def hear(self) -> Verification:
        """Wait for the oracle's end and read what it found."""
        found = Verification(self._source.arm)
        try:
            report = self._report()
        except (RunnerError, ValueError) as error:
            found.checks = 1
            found.failures.append(("oracle", f"{error}"[:1000]))
            return found
        for name, failure in report:
            found.checks += 1
            if failure is not None:
                found.failures.append((name, failure))
        if not found.checks:
            found.failures.append(("oracle", "asked nothing"))
        return found

    def _begin(self) -> Started | LaunchReply:
        arm = self._source.arm
        scripts = {f"{FOLDER}/{path.name}": path.read_bytes() for path in sorted(self._project.folder.glob("*.py"))}
        self._arena.put(arm, scripts)
        words = ("{output}/oracle/oracle.py", "--program", "{program}", "--data", "{data}", "--out", "{output}/oracle")
        return self._arena.start(Start(arm, words, ready=None, command=("{python}",)))

    def _report(self) -> list[tuple[str, str | None]]:
        """The oracle's report.

        Raises:
            RunnerError: the runner itself failed.
            ValueError: there is no report, or it is something else.
        """
        begun, arm = self._begun, self._source.arm
        if isinstance(begun, RunnerError):
            raise begun
        seconds = self._project.oracle_timeout_seconds
        reply = self._arena.wait(arm, begun, seconds) if isinstance(begun, Started) else begun
        content = self._arena.outputs(arm).get(ANSWER)
        if content is None:
            raise ValueError(f"no report: {why(reply)}")
        return list(_checks(json.loads(content)))


def _checks(raw: Any) -> Iterator[tuple[str, str | None]]:
    """Name and failure of every check."""
    entries = raw.get("checks") if isinstance(raw, dict) else None
    if not isinstance(entries, list) or len(entries) > MAX_CHECKS:
        raise ValueError("report.json has no list of checks")
    for entry in entries:
        name, failure = (entry.get("name"), entry.get("failure")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not (failure is None or isinstance(failure, str)):
            raise ValueError("report.json has a check without a name or with a failure that is no text")
        yield name[:200], failure
