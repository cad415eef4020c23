"""The self-test of the method finds what it looks for, in itself and in methods that are broken on purpose."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from tools import selftest, stats
from tools.selftest import Finding

if TYPE_CHECKING:
    import pytest


def test_the_method_keeps_its_limits() -> None:
    """A small simulation already passes: coverage, error rates and power."""
    found = selftest.findings_of(60, seed=3, zig=None)
    assert [finding for finding in found if not finding.ok] == []


def test_the_simulation_is_reproducible() -> None:
    """The same seed gives the same findings."""
    assert selftest.findings_of(5, seed=9, zig=None) == selftest.findings_of(5, seed=9, zig=None)


def test_an_interval_that_is_too_narrow_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With half of the error that was promised used up twice, coverage falls below its limit."""
    monkeypatch.setattr(stats, "sign_rank", lambda count, _: count // 2)
    found = selftest.findings_of(60, seed=3, zig=None)
    assert any(not finding.ok and finding.name.startswith("coverage") for finding in found)
    assert any(not finding.ok and finding.name.endswith("wrong") for finding in found)


def test_the_room_for_an_estimate_shrinks() -> None:
    """More trials, tighter limits."""
    assert 0.05 < selftest.at_most(0.05, 10_000) < selftest.at_most(0.05, 100)


def test_findings_stay_on_their_side() -> None:
    """A limit from below and one from above."""
    assert Finding("power", 0.96, 0.95, at_least=True).ok
    assert not Finding("errors", 0.06, 0.05, at_least=False).ok
    assert not Finding("nothing", math.nan, 0.05, at_least=False).ok


def test_output(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for people, JSON for programs, and exit code 1 when a limit is passed."""
    findings = [Finding("good", 1, 2, at_least=False), Finding("bad", 1, 2, at_least=True, detail="why")]
    monkeypatch.setattr(selftest, "findings_of", lambda *_: findings)
    assert selftest.main(["--json"]) == 1
    assert [row["ok"] for row in json.loads(capsys.readouterr().out)] == [True, False]
    assert selftest.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("bad")
    assert "NO" in lines[2]
    assert lines[2].endswith("why")
