"""The oracle is right: unbound passes it where the contract allows, and every planted fault is caught by name."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from tools.project import load as project
from tools.toolchains import python_packages

PROJECT = Path(__file__).resolve().parent.parent
TESTS = PROJECT / "tests"
SECONDS = 420
SIZE = '{"zones": 12, "hosts": 8, "warm": 100, "queries": 200, "cold": 100}'
SBIN = f"{os.environ.get('PATH')}:/usr/sbin"


def _missing() -> str | None:
    """Tell what these tests need and this machine does not have."""
    for program in ("nsd", "unbound"):
        if shutil.which(program, path=SBIN) is None:
            return f"needs {program}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.53.0.1", 53))
        except OSError:
            return "needs port 53, the only one at which unbound looks for name servers"
    return None


if reason := _missing():
    pytest.skip(reason, allow_module_level=True)
PACKAGES = str(python_packages(project(PROJECT / "project.yaml").oracle_packages.pip))
sys.path.append(PACKAGES)
pytestmark = pytest.mark.oracle


def load(name: str) -> ModuleType:
    """Import a program of this folder as a module."""
    spec = importlib.util.spec_from_file_location(f"dns_resolver_{name}", TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADAPTER = load("peer_adapter")
DIFFERS: dict[str, str] = ADAPTER.DIFFERS
FAULTS = {name: check for name, (check, _) in {**ADAPTER.CONFIGURED, **ADAPTER.dns_liar.FAULTS}.items()}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a small workload."""
    folder = tmp_path_factory.mktemp("data")
    words = ["--workload", "verify", "--seed", "1", "--size", SIZE, "--out", str(folder)]
    subprocess.run([sys.executable, str(PROJECT / "workload.py"), *words], check=True)
    return folder


def ask(program: str, data: Path, out: Path, *words: str, **variables: str) -> dict[str, str | None]:
    """Run the oracle on a program; return what it found."""
    argv = [sys.executable, str(PROJECT / "oracle.py"), "--program", str(TESTS / program), "--data", str(data)]
    argv += ["--out", str(out), *words]
    ours = {"PYTHONPATH": PACKAGES, "PATH": f"{Path(sys.executable).parent}:{SBIN}"}  # the adapter runs by itself
    subprocess.run(argv, check=True, timeout=SECONDS, env={**os.environ, **ours, **variables})
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {check["name"]: check["failure"] for check in report["checks"]}


@cache
def sound(data: Path, out: Path) -> dict[str, str | None]:
    """Return what the oracle says of unbound without a fault, in the checks that faults are for."""
    return ask("peer_adapter.py", data, out, "--foreign", "--only", ",".join(sorted(set(FAULTS.values()))))


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_planted_fault_is_caught(
    fault: str, data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The check that is about a fault passes without it and fails with it."""
    before = sound(data, tmp_path_factory.getbasetemp() / "sound")
    assert before[FAULTS[fault]] is None
    after = ask("peer_adapter.py", data, tmp_path, "--foreign", "--only", FAULTS[fault], DNS_FAULT=fault)
    assert after[FAULTS[fault]] is not None


def test_unbound_passes_where_it_should(data: Path, tmp_path: Path) -> None:
    """Unbound passes every check in which it is not known, with a reason, to behave otherwise."""
    found = ask("peer_adapter.py", data, tmp_path, "--foreign", "--without", ",".join(DIFFERS))
    globs = ",".join(DIFFERS).split(",")
    asked = {name: failure for name, failure in found.items() if not any(fnmatchcase(name, glob) for glob in globs)}
    assert {name: failure for name, failure in asked.items() if failure} == {}
    assert len(asked) > 400


def test_program_that_does_nothing_fails_every_check(data: Path, tmp_path: Path) -> None:
    """A lane that cannot start fails everything, quickly, and the report is still written."""
    found = ask("silent.sh", data, tmp_path, "--only", "kinds/*,malformed/*,spoof/*,usage/*,cache/*")
    assert all(found.values())
