"""Each judgement of a sample: what is known to be true of a run, and the flag when it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fakes import REPLY, block
from tools.launcher.protocol import Kind, LaunchReply
from tools.samples import Expected, Sample, columns, flag_noise, judge

DIGEST = "00ff00ff00ff00ff"
EXPECTED = Expected(DIGEST, items=10, cpus=1, floor_ns=1e6, timeout_seconds=5)
GOOD = replace(REPLY, wall_ns=100_000_000, user_ns=90_000_000, stdout=block(10, 0.09, DIGEST))
ROWS: list[tuple[dict[str, object], list[str], str]] = [
    ({}, [], ""),
    ({"stdout": block(10, 0.09, "0" * 16)}, ["wrong-digest"], f"digest {'0' * 16}, verified was {DIGEST}"),
    ({"stdout": block(11, 0.09, DIGEST)}, ["wrong-items"], "11 items, expected 10"),
    ({"stdout": block(10, 0.2, DIGEST)}, ["self-time"], "reports 200000000 ns, the outside clock says 100000000 ns"),
    ({"user_ns": 200_000_000}, ["impossible"], "200000000 ns of CPU time in 100000000 ns on 1 cores"),
    ({"wall_ns": 900_000, "user_ns": 0, "stdout": block(10, 0.0001, DIGEST)}, ["impossible"], "below the floor"),
    ({"stdout": block(11, 0.2, "0" * 16)}, ["wrong-digest", "wrong-items", "self-time"], "; "),
    ({"stdout": b"hello\n"}, ["failed"], "stdout is not the statistics block"),
    ({"code": 2, "stderr": b"error: x\n"}, ["failed"], "exit code 2"),
    ({"kind": Kind.SIGNALLED, "code": 9}, ["failed"], "crashed with signal 9"),
    ({"kind": Kind.TIMEOUT}, ["failed"], "no end after 5 s"),
    ({"kind": Kind.FLOOD}, ["failed"], "printed more than the limit"),
    ({"kind": Kind.OOM}, ["failed"], "ran out of the memory limit"),
    ({"leftover": 3}, ["failed"], "left 3 processes behind"),
]


def judged(reply: LaunchReply, expected: Expected = EXPECTED, *, counts_items: bool = True) -> Sample:
    """A sample of round 1, position 0."""
    return judge("go", (1, 0), reply, expected, counts_items=counts_items)


@pytest.mark.parametrize(("change", "flags", "words"), ROWS, ids=[(row[2] or "good")[:24] for row in ROWS])
def test_judgement(change: dict[str, object], flags: list[str], words: str) -> None:
    """Each thing that is wrong is a flag with its reason; a good run has neither."""
    sample = judged(replace(GOOD, **change))  # type: ignore[arg-type]  # a table of fields
    assert sample.flags == flags
    assert words in (sample.reason or "")
    assert sample.failed is bool(flags)


def test_peer_that_cannot_count_is_not_asked() -> None:
    """The count of such a peer is not checked; all else is."""
    assert judged(replace(GOOD, stdout=block(1, 0.09, DIGEST)), counts_items=False).flags == []
    assert judged(replace(GOOD, stdout=block(1, 0.09, "0" * 16)), counts_items=False).flags == ["wrong-digest"]


def test_two_impossible_things_are_one_flag() -> None:
    """A flag stands once; the reason names both."""
    sample = judged(replace(GOOD, wall_ns=100_000, user_ns=90_000_000, stdout=block(10, 0.00001, DIGEST)))
    assert sample.flags == ["impossible"]
    assert (sample.reason or "").count(";") == 1


def test_accounting_tick_is_forgiven() -> None:
    """CPU time may exceed wall time by the kernel's tick, and scales with the cores."""
    assert judged(replace(GOOD, user_ns=109_000_000)).flags == []
    assert judged(replace(GOOD, user_ns=180_000_000), replace(EXPECTED, cpus=2)).flags == []


def test_no_floor_no_complaint() -> None:
    """A case without bytes_per_item has no floor."""
    quick = replace(GOOD, wall_ns=1000, user_ns=0, stdout=block(10, 0.0, DIGEST))
    assert judged(quick, replace(EXPECTED, floor_ns=None)).flags == []


def test_failed_run_keeps_its_raw_numbers() -> None:
    """Nothing is dropped: the run of a failed sample is in the columns with its flag."""
    stored = columns([judged(GOOD), judged(replace(GOOD, kind=Kind.TIMEOUT, stdout=b""))])
    assert {len(column) for column in stored.values()} == {2}
    assert stored["wall_ns"] == [100_000_000, 100_000_000]
    assert stored["exit_kind"] == ["exited", "timeout"]
    assert stored["flags"] == [[], ["failed"]]
    assert stored["self_ns"] == [90_000_000, None]


def noise(*walls: int, user_ns: int = 100_000_000) -> list[list[str]]:
    """The flags of runs with these wall times and one CPU time, after flagging twice."""
    samples = [judged(replace(GOOD, wall_ns=wall, user_ns=user_ns)) for wall in walls]
    flag_noise(samples)
    flag_noise(samples)
    return [sample.flags for sample in samples]


def test_disturbed_run_is_noisy_but_not_failed() -> None:
    """A run whose wall time is far above its CPU time, by the arm's own best, is marked once and kept."""
    assert noise(101_000_000, 119_000_000, 150_000_000) == [[], [], ["noisy"]]
    sample = Sample("go", 1, 0, GOOD, flags=["noisy"])
    assert not sample.failed


def test_arm_that_always_waits_is_not_noisy() -> None:
    """Waiting that every run has (a disk) is the arm's own, not a disturbance."""
    assert noise(300_000_000, 310_000_000) == [[], []]


def test_runs_without_cpu_time_are_not_judged_for_noise() -> None:
    """Below the kernel's tick a ratio says nothing."""
    assert noise(100_000_000, 400_000_000, user_ns=4_000_000) == [[], []]


def test_arms_are_compared_with_themselves() -> None:
    """One arm's good ratio never makes another arm noisy; failed runs set no standard."""
    quick, slow = judged(GOOD), judged(replace(GOOD, wall_ns=200_000_000))
    slow.arm = "zig"
    broken = judged(replace(GOOD, kind=Kind.TIMEOUT))
    flag_noise([quick, slow, broken])
    assert [one.flags for one in (quick, slow, broken)] == [[], [], ["failed"]]
