"""What load generators print becomes counts and latencies; anything else is refused by name."""

from __future__ import annotations

import json

import pytest

from tools.loads import OWN, TOOLS, Asked, comparing, dnsperf, pace, rooms, wrk

WRK = b"""Running 2s test @ http://127.0.0.1:20001/2b
  1 threads and 50 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  301.00us   9.00ms   91.00%
    Req/Sec    48.11k     2.00k   51.00k    70.00%
  95739 requests in 2.00s, 14.52MB read
  Socket errors: connect 0, read 3, write 0, timeout 2
  Non-2xx or 3xx responses: 10
Requests/sec:  47869.00
Transfer/sec:      7.26MB
"""
DNSPERF = b"""DNS Performance Testing Tool
[Status] Testing complete (time limit)

Statistics:

  Queries sent:         100000
  Queries completed:    99990 (99.99%)
  Queries lost:         10 (0.01%)

  Response codes:       NOERROR 99000 (99.01%), NXDOMAIN 900 (0.90%), SERVFAIL 90 (0.09%)
  Average packet size:  request 30, response 46
  Run time (s):         2.000100
  Queries per second:   49992.500375
"""
PACE = {
    "mode": "open", "rate_per_second": 100, "connections": 4, "pipeline": 1, "offered": 50, "completed": 48,
    "mismatched": 1, "errors": 1, "dropped": 0, "reconnects": 0, "wall_ns": 500_000_000, "generator_cpu_ns": 4_000_000,
    "latency_ns": {"p50": 1, "p90": 2, "p99": 3, "p999": 4, "max": 5, "mean": 1}, "curve": [[0.5, 1], [1.0, 5]],
    "lag_ns": {"p50": 1, "p90": 1, "p99": 9, "p999": 9, "max": 9, "mean": 1}, "first_error": "closed without a reply",
}  # fmt: skip


QUANTILES = {"p50": 1, "p90": 2, "p99": 3, "p999": 4, "max": 5, "count": 90}
ROOMS = {
    "offered": 12, "accepted": 10, "refused": 0, "unanswered": 2, "skipped": 1,
    "expected": {"low": 88, "high": 92, "unanswered": 18}, "delivered": 86, "missing": 2, "duplicated": 1,
    "misordered": 2, "corrupted": 3, "connects": 9, "connect_failures": 1, "cut": 4, "users_max": 10, "setup_ns": 5,
    "wall_ns": 1_000_000_000, "generator_cpu_ns": 7, "latency_ns": QUANTILES, "lag_ns": QUANTILES,
    "connect_ns": QUANTILES, "curve": [[0.5, 1], [1.0, 5]], "first_error": "user 3: cut",
    "series": [{"t_s": 1, "users": 9, "offered": 12, "delivered": 86, "errors": 0, "p99_ns": None}],
}  # fmt: skip


def asked(**changes: object) -> Asked:
    """An ordinary run."""
    plain = {
        "address": "127.0.0.1:20001", "protocol": "http", "script": "/data/x.pace", "path": "/2b", "connections": 50,
        "pipeline": 1, "seconds": 2.0, "rate_per_second": None,
    }  # fmt: skip
    return Asked(**{**plain, **changes})  # type: ignore[arg-type]  # names and types as above


def test_wrk_counts_only_good_answers() -> None:
    """Another status is a wrong reply, a socket error is an error; neither is completed."""
    found = wrk.parse(WRK)
    assert (found.offered, found.completed, found.mismatched, found.errors) == (95744, 95729, 10, 5)
    assert found.wall_ns == 2_000_000_000


def test_dnsperf_counts_codes_and_losses() -> None:
    """SERVFAIL is no answer; what is lost was dropped."""
    found = dnsperf.parse(DNSPERF)
    assert (found.offered, found.completed, found.mismatched, found.dropped) == (100000, 99900, 90, 10)
    assert found.wall_ns == 2_000_100_000


def test_pace_says_everything() -> None:
    """Counts, quantiles, its own lag and its CPU time."""
    found = pace.parse(json.dumps(PACE).encode())
    assert (found.offered, found.completed, found.mismatched, found.errors) == (50, 48, 1, 1)
    assert (found.latency_ns["p99"], found.lag_p99_ns, found.generator_cpu_ns) == (3, 9, 4_000_000)


def test_a_closed_loop_has_no_lag() -> None:
    """Only a clock can be late."""
    assert pace.parse(json.dumps({**PACE, "rate_per_second": None}).encode()).lag_p99_ns is None


def test_an_item_of_a_chat_is_a_delivery() -> None:
    """What is due is the upper bound and what unanswered messages would have been; losses are below the lower one."""
    found = rooms.parse(json.dumps(ROOMS).encode())
    assert (found.offered, found.completed, found.mismatched) == (110, 86, 6)
    assert (found.errors, found.dropped) == (5, 20)
    assert (found.messages, found.connects, found.connect_p99_ns) == (10, 9, 3)
    assert found.series[0].users == 9


def test_wrong_deliveries_never_exceed_what_was_due() -> None:
    """A server that sends everything twice has as many wrong deliveries as right ones."""
    found = rooms.parse(json.dumps({**ROOMS, "duplicated": 86}).encode())
    assert found.offered == found.completed + found.mismatched


def test_own_generators_compare_for_those_that_do_not() -> None:
    """`pace` looks at bodies before `wrk` counts; `rooms` always looks."""
    assert (comparing("wrk"), comparing("rooms"), set(OWN)) == (pace, rooms, {"pace", "rooms"})
    assert len({tool.ARM for tool in OWN.values()}) == len(OWN)
    assert "--once" in rooms.once(asked(script="{data}/steady.json"))


@pytest.mark.parametrize("tool", sorted(TOOLS))
@pytest.mark.parametrize("stdout", [b"", b"{}", b"Segmentation fault\n", b"[1]"])
def test_other_output_is_refused(tool: str, stdout: bytes) -> None:
    """A generator that says something else has measured nothing."""
    with pytest.raises(ValueError, match=r"."):
        TOOLS[tool].parse(stdout)


def test_commands_say_what_was_asked() -> None:
    """Address, connections, length and rate of a run are on the command line."""
    assert wrk.command(asked()) == ("/usr/bin/wrk", "-t1", "-c50", "-d2s", "http://127.0.0.1:20001/2b")
    words = " ".join(pace.command(asked(rate_per_second=1234.5, connections=7)))
    assert "--rate 1234.5" in words
    assert "--connections 7" in words
    assert "--plan /data/x.pace --seconds 2" in " ".join(rooms.command(asked()))
    assert "-p 20001" in " ".join(dnsperf.command(asked()))
