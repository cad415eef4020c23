"""The sessions of Deadheat; each names one step of the flow and holds no logic.

`nox --list` shows them all; options go after `--`, for example `nox -s bench-sqlite -- --lanes go,zig --budget 5m`.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).resolve().parent))

from tools import names

for _library in ("docker", "urllib3", "markdown_it", "asyncio"):  # nox shows whatever libraries log, down to DEBUG
    logging.getLogger(_library).setLevel(logging.WARNING)
nox.options.default_venv_backend = "none"
nox.options.sessions = ["tests"]
STEPS = {
    "build": "Build every lane and peer of {title}.",
    "verify": "Build {title} and prove every lane right.",
    "bench": "Build, verify and measure {title}; store the result; rewrite the tables.",
    "soak": "Build and verify {title}; run every program for minutes, to see what grows; store the result.",
}


def _step(session: nox.Session, step: str, aliases: list[str]) -> None:
    _guarded(session, "session", step, aliases, session.posargs)


def _guarded(session: nox.Session, action: str, *args: object) -> None:
    from tools import cli  # noqa: PLC0415 - `nox --list` answers without loading the flow

    if code := cli.guarded(partial(getattr(cli, action), *args)):
        session.error(f"exit code {code}")


def _python(session: nox.Session, *argv: str) -> None:
    session.run(sys.executable, "-m", *argv, external=True)


def _register(step: str, alias: str, title: str) -> None:
    def session(session: nox.Session) -> None:
        _step(session, step, [alias])

    session.__doc__ = STEPS[step].format(title=title)
    nox.session(name=f"{step}-{alias}", tags=[step])(session)


for _alias, _title in names.aliases():
    for _name in ("build", "verify", "bench"):
        _register(_name, _alias, _title)
for _alias, _title in names.soaked():
    _register("soak", _alias, _title)


@nox.session
def build(session: nox.Session) -> None:
    """Build every lane and peer of every project."""
    _step(session, "build", [])


@nox.session
def verify(session: nox.Session) -> None:
    """Build every project and prove every lane right."""
    _step(session, "verify", [])


@nox.session
def bench(session: nox.Session) -> None:
    """Measure every project, store the results, rewrite the tables."""
    _step(session, "bench", [])


@nox.session
def tests(session: nox.Session) -> None:
    """Test the toolkit (pytest); then the lanes' own unit tests unless a pytest selection is given."""
    if not session.posargs:
        _guarded(session, "provide_lanes")
    _python(session, "pytest", *session.posargs)
    if not session.posargs:
        _guarded(session, "lane_steps", "test", [])


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of everything: Python, lanes in their own tools, workflows."""
    from tools import toolchains  # noqa: PLC0415 - as in _guarded

    _python(session, "ruff", "check", ".")
    _python(session, "ruff", "format", "--check", ".")
    session.run(str(toolchains.go_program("actionlint")), external=True)
    session.run("zizmor", "--offline", "--quiet", ".github/workflows", external=True)
    _guarded(session, "lane_steps", "lint", [])


@nox.session
def types(session: nox.Session) -> None:
    """Check the types (mypy, strict)."""
    _python(session, "mypy")


@nox.session
def selftest(session: nox.Session) -> None:
    """Prove the method and write docs/selftest.md: wrong verdicts, overhead, scaling (-- --quick: 3 minutes)."""
    _python(session, "tools.selftest", *session.posargs)


@nox.session
def report(session: nox.Session) -> None:
    """Write the report site from the results, or with `-- --check` compare it with README and results."""
    _python(session, "invoke", "report", *session.posargs)
