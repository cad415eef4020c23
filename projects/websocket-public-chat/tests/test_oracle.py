"""The oracle is right: a small chat in Python passes it, and every fault that is planted into that is found by name."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tools.project import load
from tools.toolchains import python_packages

PROJECT = Path(__file__).resolve().parent.parent
TOY = PROJECT / "tests" / "toy_chat.py"
SECONDS = 600


def _packages() -> str:
    """Return the folder of what the oracle imports; empty where that is installed."""
    declared = PROJECT / "project.yaml"
    if importlib.util.find_spec("websockets"):
        return ""
    if not declared.exists():
        pytest.skip("the package websockets is not installed", allow_module_level=True)
    return str(python_packages(load(declared).oracle_packages.pip))


PACKAGES = _packages()
pytestmark = pytest.mark.oracle

CAUGHT_BY = {
    "exit-1": "cli/refused/threads/0",
    "two-lines": "cli/refused/threads/0",
    "no-content-length": "http/health",
    "no-allow": "http/method/POST",
    "no-limit": "http/max-connections",
    "leaks-places": "http/max-connections",
    "waits-for-heads": "http/half-a-head-is-cut",
    "wrong-accept": "handshake/example-of-the-standard",
    "negotiates": "handshake/taken/extensions-ignored",
    "any-version": "handshake/refused/version-8",
    "any-key": "handshake/refused/key-of-15-bytes",
    "origin-by-prefix": "handshake/origin/longer",
    "loses-early-frames": "handshake/frame-in-the-same-segment",
    "takes-unmasked": "frames/broken/unmasked/text",
    "ignores-rsv": "frames/broken/rsv/4",
    "any-opcode": "frames/broken/opcode/11",
    "long-control": "frames/broken/control/ping-of-126-bytes",
    "fragmented-control": "frames/broken/control/fragmented-ping",
    "any-order": "frames/broken/fragment/text-in-text",
    "takes-binary": "frames/broken/binary/short",
    "one-byte-more": "frames/broken/large/one-byte-more",
    "adds-no-fragments": "frames/broken/large/two-fragments",
    "allocates": "frames/length/nothing-is-allocated",
    "any-close-code": "frames/broken/close/1005",
    "close-not-echoed": "frames/close/codes-are-echoed",
    "waits-for-ever": "frames/close/peer-has-two-seconds",
    "empty-pongs": "frames/ping/payload-comes-back",
    "pongs-late": "frames/fragments/cut-anywhere",
    "takes-any-bytes": "utf8/invalid/ff",
    "checks-fragments-alone": "utf8/valid/edges",
    "takes-nan": "json/not-json/nan",
    "takes-lone-surrogates": "json/not-json/lone-high-surrogate",
    "first-duplicate-counts": "json/shape/last-duplicate-counts",
    "room-with-dot": "json/bad-room/dot",
    "nick-by-bytes": "json/nick/edges",
    "nick-with-controls": "json/bad-nick/line-feed",
    "text-by-characters": "json/bad-text/1001-of-two-bytes",
    "id-too-large": "json/bad-id/2-to-53",
    "escapes-all": "json/text/raw-astral",
    "spaces": "chat/join/joined-comes-first",
    "joins-twice": "chat/join/twice",
    "eleven-errors": "chat/error/tenth-closes",
    "malformed-not-offered": "chat/error/counters",
    "echoes-to-sender": "chat/chat/never-to-the-sender",
    "seq-of-server": "chat/seq/counts-the-room",
    "seq-goes-on": "chat/seq/anew-after-empty",
    "no-presence": "chat/presence/at-once-then-a-second",
    "presence-too-often": "chat/presence/at-most-once-a-second",
    "no-rate": "chat/rate/burst-then-refused",
    "refused-takes-seq": "delivery/plan/with-refusals",
    "delivers-refused": "chat/rate/burst-then-refused",
    "one-bucket": "chat/rate/each-connection-its-own",
    "bucket-overflows": "chat/rate/refills",
    "history-short": "chat/history/10-said-3-kept",
    "drops": "delivery/plan/exactly-once",
    "doubles": "delivery/plan/exactly-once",
    "reorders": "delivery/plan/exactly-once",
    "miscounts": "delivery/plan/exactly-once",
    "leaks-to-rooms": "delivery/rooms-are-apart",
    "unbounded": "slow/found-counted-cut",
    "slow-uncounted": "slow/found-counted-cut",
    "drops-in-silence": "slow/dropped-is-exact",
    "never-pings": "liveness/ping-after-the-interval",
    "never-cuts": "liveness/silence-is-cut",
    "only-pong-renews": "liveness/renewed-by/a-message",
    "no-join-timeout": "liveness/join-timeout",
    "drain-forgets": "drain/slow-reader-gets-all",
    "drain-as-1000": "drain/queued-then-1001",
    "drain-exit-1": "drain/sigint",
    "drains-for-ever": "drain/timeout",
    "deaf-to-signals": "drain/second-signal",
}
"""Fault of toy_chat.py -> the check that must find it."""


def ask(program: Path, out: Path, only: str = "*", lie: str = "") -> dict[str, str | None]:
    """Run the oracle on a program; return what it found."""
    argv = [sys.executable, str(PROJECT / "oracle.py"), "--program", str(program), "--data", str(out)]
    argv += ["--out", str(out), "--only", only, "--seconds", str(SECONDS - 60)]
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"  # the toy runs by itself
    environment = {**os.environ, "CHAT_LIE": lie, "PATH": path, "PYTHONPATH": PACKAGES}
    subprocess.run(argv, check=True, timeout=SECONDS, env=environment)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {check["name"]: check["failure"] for check in report["checks"]}


@cache
def sound(out: Path) -> dict[str, str | None]:
    """Return what the oracle says of the toy without a fault."""
    return ask(TOY, out)


def test_sound_chat_passes(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without a fault the toy passes every check."""
    found = sound(tmp_path_factory.getbasetemp())
    assert {name: failure for name, failure in found.items() if failure} == {}
    assert len(found) > 500


@pytest.mark.parametrize("lie", sorted(CAUGHT_BY))
def test_planted_fault_is_found(lie: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The check that is about a fault passes without it and fails with it."""
    assert sound(tmp_path_factory.getbasetemp())[CAUGHT_BY[lie]] is None
    assert ask(TOY, tmp_path, CAUGHT_BY[lie], lie)[CAUGHT_BY[lie]] is not None


def test_every_fault_of_the_toy_is_asked_for() -> None:
    """No fault stands in the toy that no check is named for."""
    text = "".join(path.read_text(encoding="utf-8") for path in TOY.parent.glob("toy_*.py"))
    planted = {part.split('"', 1)[0] for compare in ("==", "!=") for part in text.split(f'LIE {compare} "')[1:]}
    assert planted == set(CAUGHT_BY)


@pytest.mark.parametrize("script", ["exit 3", "exec sleep 1000"])
def test_dead_and_silent_programs(tmp_path: Path, script: str) -> None:
    """A program that ends at once, or says nothing, fails every check, and the report is written."""
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    found = ask(program, tmp_path, "http/h*,chat/seq/*,cli/version,drain/idle")
    assert len(found) > 5
    assert all(found.values())
