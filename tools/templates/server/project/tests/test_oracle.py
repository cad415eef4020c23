"""The oracle itself: its replies are right, and a program that is no server fails every check."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent


def load(name: str) -> Any:
    """Load a script of this project by its path: other projects have scripts of the same names."""
    spec = importlib.util.spec_from_file_location(f"@@identifier@@_{name}", PROJECT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hash_server, workload = load("hash_server"), load("workload")


@pytest.mark.parametrize(("text", "digits"), [(b"", b"ef46db3751d8e999"), (b"a", b"d24ec4f1a98c6e5b")])
def test_reply(text: bytes, digits: bytes) -> None:
    """The digits are those that the authors of XXH64 give."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n"
    assert hash_server.reply_of("200 OK", text=text) == head + digits


def test_same_seed_same_load() -> None:
    """The workload depends on its seed and on nothing else."""
    assert workload.script(1, 100) == workload.script(1, 100) != workload.script(2, 100)


@pytest.mark.parametrize("program", ["/bin/false", "/bin/cat"])
def test_no_server_passes_nothing(program: str, tmp_path: Path) -> None:
    """Whatever the program does, there is a report, and no check is good."""
    words: list[str | Path] = [sys.executable, PROJECT / "oracle.py", "--program", program, "--data", tmp_path]
    subprocess.run([*words, "--out", tmp_path, "--only", "[se][tn][ad]*/*"], check=True)
    checks = json.loads((tmp_path / "report.json").read_text())["checks"]
    assert len(checks) > 10
    assert [check["name"] for check in checks if check["failure"] is None] == []
