"""The oracle passes redis against redis, and catches every fault that is planted into redis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.project import load as project
from tools.toolchains import python_packages

PROJECT = Path(__file__).resolve().parent.parent
LIAR = PROJECT / "tests" / "liar.py"
ADAPTER = PROJECT / "redis_adapter.py"
SIZE = {"keys": 2000, "requests": 2000}
TOOLS = ["redis-server", "redis-cli", "redis-benchmark", "redis-check-aof"]

pytestmark = pytest.mark.oracle
if any(shutil.which(tool) is None for tool in TOOLS):
    pytest.skip("needs redis: apt-get install redis-server redis-tools", allow_module_level=True)
PACKAGES = str(python_packages(project(PROJECT / "project.yaml").oracle_packages.pip))

REDIS_DIFFERS = {
    "protocol/hello-3-is-refused": "redis speaks RESP3; the lanes do not",
    "hostile/never-reads/memory-and-others": "redis keeps all replies of an ordinary client, whatever their size",
    "hostile/never-reads/flood-is-pushed-back": "as above: redis reads on",
    "process/drain/reply-in-flight": "redis ends without waiting for its clients",
    "process/drain/no-new-clients": "redis ends without waiting for its clients",
    "process/drain/timeout": "redis ends without waiting for its clients",
    "process/drain/pipeline-in-flight": "redis may end between executing and answering",
    "aof/disk-full/always": "redis ends itself when a write fails under always",
}
"""What the brief asks of a lane and redis does not do."""

CAUGHT_BY = {
    "lpush-as-rpush": "lists/push-pop",
    "gt-as-lt": "keys/expire-options",
    "zpopmin-as-zpopmax": "zsets/zpop",
    "sinter-as-sunion": "sets/sinter",
    "xx-as-nx": "strings/set-nx-xx",
    "ex-as-px": "strings/set-lives",
    "persist-does-nothing": "keys/expire",
    "binary-keys-cut": "data/binary-keys",
    "hsetnx-overwrites": "hashes/hsetnx",
    "unwatched": "transactions/watch",
    "wrongtype-text": "types/lpush",
    "unknown-command-text": "connection/unknown-command",
    "arity-text": "arity/get",
    "nil-array-for-nil": "strings/set-get",
    "queued-as-ok": "transactions/exec",
    "short-scores": "zsets/scores",
    "oom-text": "out-of-memory/set",
    "too-many-clients-text": "hostile/maxclients",
    "protocol-error-text": "protocol/frame/bulk-not-a-number",
    "scan-ends-early": "scan/guarantee/keys-still",
    "rank-off-by-one": "zsets/zrank-zrem",
    "hits-not-counted": "info/hits-and-misses",
    "large-value-damaged": "data/huge-values",
    "lru-is-random": "memory/allkeys-lru/keeps-the-hot",
    "noeviction-evicts": "memory/noeviction/refuses-and-recovers",
    "ttl-is-random": "memory/volatile-ttl/nearest-death-first",
    "random-refuses": "memory/allkeys-random/any-key",
    "twice-the-memory": "memory/noeviction/refuses-and-recovers",
    "more-clients": "hostile/maxclients",
    "refuses-with-1": "process/refused/threads-zero",
    "tells-two-lines": "process/refused/threads-zero",
    "ignores-sigterm": "process/end/sigterm",
    "loses-the-tail": "aof/kill/always-1-clients-3",
    "accepts-damage": "aof/corrupt/star",
    "torn-tail-uncounted": "aof/torn/every-cut-checked",
    "waits-a-little": "protocol/latency-after-idle",
    "forgets-appends": "aof/reload/strings",
}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the key files."""
    folder = tmp_path_factory.mktemp("kv-data")
    words = ["--workload", "verify", "--seed", "1", "--size", json.dumps(SIZE), "--out", str(folder)]
    subprocess.run([sys.executable, str(PROJECT / "workload.py"), *words], check=True)
    return folder


def failures(program: Path, data: Path, out: Path, only: str = "*", lie: str = "") -> dict[str, Any]:
    """Run the oracle; return what failed."""
    words = ["--program", str(program), "--data", str(data), "--out", str(out), "--only", only]
    environment = {**os.environ, "PYTHONPATH": PACKAGES, "KV_LIE": lie}
    subprocess.run([sys.executable, str(PROJECT / "oracle.py"), *words], check=True, env=environment)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))["checks"]
    assert report, f"no check is named {only}"
    return {entry["name"]: entry["failure"] for entry in report if entry["failure"]}


def test_redis_against_redis(data: Path, tmp_path: Path) -> None:
    """Every check passes when the lane is redis itself, but for what redis is known not to do."""
    failed = failures(ADAPTER, data, tmp_path)
    assert {name: text for name, text in failed.items() if name not in REDIS_DIFFERS} == {}


@pytest.mark.parametrize("check", sorted(set(CAUGHT_BY.values())))
def test_honest_liar(data: Path, tmp_path: Path, check: str) -> None:
    """Without a lie the liar passes the very checks that must catch its lies."""
    assert failures(LIAR, data, tmp_path, check) == {}


@pytest.mark.parametrize("lie", sorted(CAUGHT_BY))
def test_planted_faults(data: Path, tmp_path: Path, lie: str) -> None:
    """Each planted fault is caught by the check that is about it."""
    assert CAUGHT_BY[lie] in failures(LIAR, data, tmp_path, CAUGHT_BY[lie], lie)


def test_dead_and_silent_programs(data: Path, tmp_path: Path) -> None:
    """A program that ends at once, or says nothing, fails every check in bounded time, and the report is written."""
    for name, script in {"dead": "exit 3", "silent": "exec sleep 1000"}.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert len(failures(program, data, tmp_path / f"{name}-out", "lists/p*")) == 3
