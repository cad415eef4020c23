"""What a load run says of a server, and when it says nothing: MEASURING 12 as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.fakes import REPLY
from tools.launcher.protocol import Usage
from tools.loads import LoadReport
from tools.model import Load
from tools.samples import Sample
from tools.serving import generator_at_fault, judged

BEFORE = Usage(user_ns=1_000, sys_ns=2_000, rss_bytes=1 << 20, peak_rss_bytes=1 << 20, threads=1)
LOAD = Load(tool="pace", protocol="http", script="{data}/x.pace", measure_seconds=1.0)
GOOD = LoadReport(
    offered=1000, completed=1000, wall_ns=1_000_000_000, generator_cpu_ns=200_000_000, lag_p99_ns=10_000,
    latency_ns={"p50": 100_000, "p90": 200_000, "p99": 400_000, "p999": 500_000, "max": 600_000},
)  # fmt: skip


def judge(found: LoadReport | str, *, rate: float | None = 1000.0, cpu_ns: int = 300_000_000, **load: Any) -> Sample:
    """One load run against a server that used so much CPU time."""
    after = replace(BEFORE, user_ns=BEFORE.user_ns + cpu_ns, peak_rss_bytes=2 << 20)
    return judged("go", (1, 0), (REPLY, BEFORE, after), found, replace(LOAD, **load), rate)


def test_a_good_run_has_the_servers_own_numbers() -> None:
    """Wall time is the load's, CPU time and memory are the server's, items are the right replies."""
    sample = judge(GOOD)
    assert sample.flags == []
    assert (sample.reply.wall_ns, sample.cpu_ns, sample.items) == (1_000_000_000, 300_000_000, 1000)
    assert sample.reply.max_rss_bytes == 2 << 20


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"mismatched": 1, "completed": 999}, "wrong-replies"),
        ({"errors": 1}, "load-errors"),
        ({"dropped": 1}, "load-errors"),
        ({"completed": 989}, "rate-missed"),
        ({"completed": 0}, "load-errors"),
    ],
)
def test_what_ends_the_verdict_of_a_server(change: dict[str, Any], flag: str) -> None:
    """Wrong replies, lost requests and a missed rate are failures of the server."""
    sample = judge(replace(GOOD, **change))
    assert flag in sample.flags
    assert sample.failed


def test_an_error_budget_is_for_losses_only() -> None:
    """A row may allow some lost requests; a wrong reply is never allowed."""
    assert not judge(replace(GOOD, errors=5), error_budget=0.01).failed
    assert judge(replace(GOOD, mismatched=1), error_budget=0.01).failed


@pytest.mark.parametrize(
    ("change", "flag"),
    [({"lag_p99_ns": 1_000_001}, "generator-lag"), ({"generator_cpu_ns": 700_000_001}, "generator-busy")],
)
def test_a_slow_generator_marks_the_run_and_condemns_nobody(change: dict[str, Any], flag: str) -> None:
    """The run says more of the generator than of the server."""
    sample = judge(replace(GOOD, **change))
    assert sample.flags == [flag]
    assert not sample.failed


def test_a_generator_that_is_often_late_makes_the_load_invalid() -> None:
    """A late round now and then is the machine's; more of them, and nothing was measured but the generator."""
    on_time, late = judge(GOOD), judge(replace(GOOD, lag_p99_ns=2_000_000))
    assert generator_at_fault([on_time] * 9 + [late]) is None
    assert str(generator_at_fault([on_time] * 2 + [late])).endswith("so in 1 of 3 rounds")


def test_what_was_never_sent_is_missed_by_nobody() -> None:
    """A generator without a clock of its own sent too little, and all was answered: only a busy server is to blame."""
    little = replace(GOOD, offered=980, completed=980, lag_p99_ns=None)
    assert judge(little).flags == ["generator-lag"]
    assert judge(little, cpu_ns=990_000_000).flags == ["rate-missed"]
    assert judge(replace(little, offered=981)).flags == ["rate-missed"]


def test_lag_may_be_a_twentieth_of_the_latency() -> None:
    """Where p99 is long, a late generator matters less."""
    slow = {**GOOD.latency_ns, "p99": 100_000_000}
    assert judge(replace(GOOD, lag_p99_ns=4_900_000, latency_ns=slow)).flags == []


def test_a_closed_loop_may_keep_the_generator_busy() -> None:
    """As long as the server is busy too; otherwise the generator was the ceiling."""
    busy = replace(GOOD, generator_cpu_ns=950_000_000, lag_p99_ns=None)
    assert judge(busy, rate=None, cpu_ns=950_000_000).flags == []
    assert judge(busy, rate=None, cpu_ns=500_000_000).flags == ["generator-busy"]


PLAN: dict[str, Any] = {"tool": "rooms", "protocol": "websocket"}


def test_a_plan_is_kept_by_the_clock() -> None:
    """Without a rate of its own, what is lost and a late generator count as with one."""
    assert judge(replace(GOOD, dropped=1), rate=None, **PLAN).flags == ["load-errors"]
    assert judge(replace(GOOD, lag_p99_ns=1_000_001), rate=None, **PLAN).flags == ["generator-lag"]


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({}, []),
        ({"completed": 989, "dropped": 11}, ["saturated"]),
        ({"latency_ns": {"p99": 100_000_000}}, ["saturated"]),
        ({"errors": 1}, ["load-errors"]),
        ({"mismatched": 1, "completed": 999}, ["wrong-replies"]),
    ],
)
def test_a_step_that_is_too_much_fails_nobody(change: dict[str, Any], flags: list[str]) -> None:
    """Late deliveries only mark the run; wrong ones and cut users still end the verdict."""
    found = replace(GOOD, **change)
    assert judge(found, rate=None, saturates=True, **PLAN).flags == flags


def test_a_generator_that_failed_is_a_failed_run() -> None:
    """Its words are the reason."""
    sample = judge("the load generator failed: signal 11")
    assert (sample.flags, sample.reason) == (["failed"], "the load generator failed: signal 11")
