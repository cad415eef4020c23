"""The oracle is right: programs that the world relies on pass it, and every planted fault is caught by name."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
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
SECONDS = 1200

pytestmark = pytest.mark.oracle
if shutil.which("nginx", path=f"{os.environ.get('PATH')}:/usr/sbin") is None:
    pytest.skip("needs nginx: apt-get install nginx-light", allow_module_level=True)
PACKAGES = str(python_packages(project(PROJECT / "project.yaml").oracle_packages.pip))
sys.path.append(PACKAGES)


def load(name: str) -> ModuleType:
    """Import a program of this folder as a module."""
    spec = importlib.util.spec_from_file_location(f"high_perf_reverse_proxy_{name}", TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module


FAULTS: dict[str, str] = load("toy_proxy").FAULTS
DIFFERS: dict[str, dict[str, str]] = load("peer_adapter").DIFFERS


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the verify workload."""
    folder = tmp_path_factory.mktemp("data")
    words = ["--workload", "verify", "--seed", "1", "--size", '{"requests": 5}', "--out", str(folder)]
    subprocess.run([sys.executable, str(PROJECT / "workload.py"), *words], check=True)
    return folder


def ask(program: str, data: Path, out: Path, *words: str, **variables: str) -> dict[str, str | None]:
    """Run the oracle on a program; return what it found."""
    argv = [sys.executable, str(PROJECT / "oracle.py"), "--program", str(TESTS / program), "--data", str(data)]
    argv += ["--out", str(out), *words]
    subprocess.run(argv, check=True, timeout=SECONDS, env={**os.environ, "PYTHONPATH": PACKAGES, **variables})
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {check["name"]: check["failure"] for check in report["checks"]}


@cache
def sound(data: Path, out: Path) -> dict[str, str | None]:
    """Return what the oracle says of the toy without a fault."""
    return ask("toy_proxy.py", data, out, "--only", ",".join(sorted(set(FAULTS.values()))))


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_planted_fault_is_caught(
    fault: str, data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The check that is about a fault passes without it and fails with it."""
    before = sound(data, tmp_path_factory.getbasetemp() / "sound")
    assert before[FAULTS[fault]] is None
    after = ask("toy_proxy.py", data, tmp_path, "--only", FAULTS[fault], TOY_FAULT=fault)
    assert after[FAULTS[fault]] is not None


@pytest.mark.parametrize("peer", sorted(DIFFERS))
def test_peer_passes_where_it_should(peer: str, data: Path, tmp_path: Path) -> None:
    """A peer passes every check in which it is not known, with a reason, to behave otherwise."""
    if shutil.which(peer, path=f"{os.environ.get('PATH')}:/usr/sbin") is None:
        pytest.skip(f"{peer} is not installed")
    found = ask("peer_adapter.py", data, tmp_path, "--foreign", "--without", ",".join(DIFFERS[peer]), PEER=peer)
    globs = ",".join(DIFFERS[peer]).split(",")
    asked = {name: failure for name, failure in found.items() if not any(fnmatchcase(name, glob) for glob in globs)}
    assert {name: failure for name, failure in asked.items() if failure} == {}
    assert len(asked) > 600


def test_program_that_does_nothing_fails_every_check(data: Path, tmp_path: Path) -> None:
    """A lane that cannot start fails everything, quickly, and the report is still written."""
    found = ask("silent.sh", data, tmp_path, "--only", "framing/*,options/*")
    assert all(found.values())
