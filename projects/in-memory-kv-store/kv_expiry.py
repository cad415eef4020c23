"""Expiry: lazy and active, to the millisecond, and what it counts."""

from __future__ import annotations

import time

from kv_checks import Checks, Lab, eventually, expect, expect_equal
from kv_info import numbers
from kv_wire import command

ACTIVE_SECONDS = 10.0
"""The background cleaner must have found a thousand dead keys by then."""

SLOW_SECONDS = 2.0
"""Nobody waits so long for a PING, also on a busy machine."""

checks = Checks()


def watch_life(lab: Lab, milliseconds: int, *set_words: object) -> None:
    """A key lives to its time and not beyond it, measured so that a slow machine cannot make the lane guilty."""
    with lab.shared_lane().client() as client:
        client.ask("FLUSHALL")
        asked = time.monotonic()
        for words in set_words:
            client.ask(*words)
        answered = time.monotonic()
        life = milliseconds / 1000
        while True:
            sent = time.monotonic()
            alive = client.ask("EXISTS", "k")
            received = time.monotonic()
            if not alive:
                early = received < asked + life - 0.001
                expect(not early, f"the key of {milliseconds} ms was gone after {(received - asked) * 1000:.1f} ms")
                return
            late = sent > answered + life + 0.003
            expect(not late, f"the key of {milliseconds} ms was there after {(sent - answered) * 1000:.1f} ms")
            time.sleep(0.001)


@checks.named("expiry/precise/px")
def precise_px(lab: Lab) -> None:
    """SET PX 120."""
    watch_life(lab, 120, ("SET", "k", "v", "PX", 120))


@checks.named("expiry/precise/psetex")
def precise_psetex(lab: Lab) -> None:
    """PSETEX 75."""
    watch_life(lab, 75, ("PSETEX", "k", 75, "v"))


@checks.named("expiry/precise/ex")
def precise_ex(lab: Lab) -> None:
    """SET EX 1."""
    watch_life(lab, 1000, ("SET", "k", "v", "EX", 1))


@checks.named("expiry/precise/pexpire-of-a-hash")
def precise_pexpire(lab: Lab) -> None:
    """PEXPIRE 90 of a hash."""
    watch_life(lab, 90, ("HSET", "k", "f", "v"), ("PEXPIRE", "k", 90))


@checks.named("expiry/precise/getex")
def precise_getex(lab: Lab) -> None:
    """GETEX shortens a life."""
    watch_life(lab, 60, ("SET", "k", "v", "EX", 1000), ("GETEX", "k", "PX", 60))


@checks.named("expiry/precise/pexpireat")
def precise_pexpireat(lab: Lab) -> None:
    """PEXPIREAT at a moment of the wall clock."""
    with lab.shared_lane().client() as client:
        client.ask("FLUSHALL")
        moment = time.time_ns() // 1_000_000 + 150
        client.ask("SET", "k", "v")
        client.ask("PEXPIREAT", "k", moment)
        expect_equal("PEXPIRETIME", moment, client.ask("PEXPIRETIME", "k"))
        while True:
            sent = time.time_ns() // 1_000_000
            alive = client.ask("EXISTS", "k")
            received = time.time_ns() // 1_000_000
            if not alive:
                expect(received >= moment, f"gone {moment - received} ms before its moment")
                return
            expect(sent <= moment + 3, f"still there {sent - moment} ms after its moment")
            time.sleep(0.001)


@checks.named("expiry/precise/ttl-counts-down")
def ttl_counts_down(lab: Lab) -> None:
    """PTTL is what is left; TTL rounds to the nearest second."""
    with lab.pair() as pair:
        for client in (pair.lane, pair.reference):
            before = time.monotonic()
            client.ask("SET", "k", "v", "PX", 5000)
            time.sleep(0.05)
            left = client.ask("PTTL", "k")
            passed = (time.monotonic() - before) * 1000
            expect(5000 - passed - 2 <= left <= 4951, f"PTTL of a life of 5000 ms after {passed:.0f} ms: {left}")
        pair.same("PEXPIRE", "k", 10_400)
        pair.same("TTL", "k")
        pair.same("PEXPIRE", "k", 10_600)
        expect_equal("TTL of 10600 ms", 11, pair.lane.ask("TTL", "k"))
        pair.same("PEXPIRE", "k", 400)
        expect_equal("TTL of 400 ms", 0, pair.lane.ask("TTL", "k"))


@checks.named("expiry/active/untouched-keys-vanish")
def untouched_keys_vanish(lab: Lab) -> None:
    """Keys that nobody asks for are removed in the background, and counted; others stay."""
    with lab.own_lane() as lane, lane.client() as client:
        client.values([command("SET", f"dead{n}", "v", "PX", 100 + n % 100) for n in range(3000)])
        client.values([command("SET", f"alive{n}", "v") for n in range(3000)])
        client.values([command("SET", f"later{n}", "v", "EX", 1000) for n in range(1000)])
        eventually(lambda: bool(client.ask("DBSIZE") == 4000), ACTIVE_SECONDS, "3000 dead keys of 7000 are removed")
        expect_equal("expired_keys", 3000, numbers(client, "stats")["expired_keys"])
        expect_equal("KEYS dead*", [], client.ask("KEYS", "dead*"))
        expect_equal("living keys", 4000, len(client.ask("KEYS", "*")))


@checks.named("expiry/active/keeps-answering")
def keeps_answering(lab: Lab) -> None:
    """While 40,000 keys die at one moment nobody waits long for an answer."""
    with lab.own_lane() as lane, lane.client() as client:
        moment = time.time_ns() // 1_000_000 + 1500
        for start in range(0, 40_000, 5000):
            client.pipeline([command("SET", f"k{n}", "v", "PXAT", moment) for n in range(start, start + 5000)])
        worst, end = 0.0, moment / 1000 + 0.5
        while time.time() < end:
            start_time = time.monotonic()
            client.raw("PING")
            worst = max(worst, time.monotonic() - start_time)
            time.sleep(0.001)
        expect(worst < SLOW_SECONDS, f"a PING took {worst * 1000:.0f} ms while 40,000 keys died")
        eventually(lambda: bool(client.ask("DBSIZE") == 0), ACTIVE_SECONDS, "all 40,000 dead keys are removed")


@checks.named("expiry/active/memory-comes-back")
def memory_comes_back(lab: Lab) -> None:
    """The memory of dead keys is given back to the account."""
    with lab.own_lane() as lane, lane.client() as client:
        before = numbers(client, "memory")["used_memory"]
        client.values([command("SET", f"k{n}", "x" * 1000, "PX", 200) for n in range(5000)])
        peak = numbers(client, "memory")["used_memory"]
        expect(peak - before > 5_000_000 * 0.9, f"used_memory grew by {peak - before} for 5 MB of values")
        eventually(lambda: bool(client.ask("DBSIZE") == 0), ACTIVE_SECONDS, "dead keys are removed")
        after = numbers(client, "memory")["used_memory"]
        expect(after - before < 1_500_000, f"used_memory was {before}, {peak} with 5 MB, still {after} without them")


@checks.named("expiry/lazy/every-type")
def lazy_every_type(lab: Lab) -> None:
    """A dead key of any type can be made anew as any other type, without its old life."""
    with lab.pair() as pair:
        makes = ["SET K v", "RPUSH K a", "HSET K f v", "SADD K m", "ZADD K 1 m"]
        for old in range(5):
            for new in range(5):
                key = f"{old}-{new}"
                pair.same(*makes[old].replace("K", key, 1).split())
                pair.same("PEXPIRE", key, 2)
        time.sleep(0.008)
        for old in range(5):
            for new in range(5):
                key = f"{old}-{new}"
                pair.same(*makes[new].replace("K", key, 1).split())
                pair.same("TTL", key)
        pair.compare()


@checks.named("expiry/lazy/random-stream")
def lazy_random_stream(lab: Lab) -> None:
    """Lives of a few milliseconds, started and met over and over: never a dead value, never a lost living one."""
    with lab.pair() as pair:
        for turn in range(25):
            pair.batch([command("SET", f"k{n}", turn, "PX", 1 + n % 3) for n in range(60)])
            pair.batch([command("SET", f"stay{n}", turn) for n in range(20)])
            time.sleep(0.007)
            pair.batch([command("GET", f"k{n}") for n in range(0, 60, 2)])
            pair.batch([command("INCR", f"k{n}") for n in range(0, 60, 3)])
            pair.batch([command("DEL", f"k{n}") for n in range(0, 60, 5)])
            pair.batch([command("GET", f"stay{n}") for n in range(20)])
        pair.batch([command("EXISTS", f"k{n}") for n in range(60)])
        pair.compare()


@checks.named("expiry/time-is-the-wall-clock")
def time_is_the_wall_clock(lab: Lab) -> None:
    """TIME agrees with this machine's clock."""
    with lab.shared_lane().client() as client:
        before = time.time()
        seconds, micros = client.ask("TIME")
        told = int(seconds) + int(micros) / 1e6
        expect(before - 0.01 <= told <= time.time() + 0.01, f"TIME says {told}, the clock said {before}")
        expect(0 <= int(micros) < 1_000_000, f"microseconds {micros!r}")
