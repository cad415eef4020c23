"""The cache: times that count down, what is kept and what is not, negative answers, and a bound in bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from dns_client import udp
from dns_lab import REGISTRY, Check, Lab, equal, expect, timely
from dns_wire import NXDOMAIN, SERVFAIL, rcode_text
from dns_world import Asked, Place

CACHE_BYTES = 256 << 10
FLOOD = 4_000
FLOOD_AT_ONCE = 100
RSS_SLACK_BYTES = 48 << 20
YEAR_SECONDS = 31_536_000


async def counts_down(lab: Lab, place: Place, name: str, ttl: int, kind: str = "A") -> None:
    """Fail unless an answer ages, without anybody being asked again."""
    client = await lab.wild()
    began = time.monotonic()
    first = await client.ask(name, kind)
    fresh = first.times() or [first.soa()[1] if first.soa() else -1]  # type: ignore[index]  # asked for once more, after the test
    expect(ttl - 1 <= fresh[0] <= ttl, f"TTL at first: expected {ttl}, got {fresh[0]}")
    await asyncio.sleep(2.2)
    second = await client.ask(name, kind)
    old = second.times() or [second.soa()[1] if second.soa() else -1]  # type: ignore[index]  # asked for once more, after the test
    aged = time.monotonic() - began
    expect(ttl - aged - 1 <= old[0] <= ttl - 2, f"TTL after {aged:.1f} s: expected about {ttl - 2}, got {old[0]}")
    equal("queries to the zone", 1, len(place.asked(name)))


@REGISTRY.check("cache/counts-down")
async def _counts_down(lab: Lab) -> None:
    place = await lab.world.place("ages")
    await counts_down(lab, place, place.add("www", "A", "10.0.0.1", "10.0.0.2", ttl=300), 300)


@REGISTRY.check("cache/counts-down-txt")
async def _counts_down_txt(lab: Lab) -> None:
    place = await lab.world.place("ages-txt")
    await counts_down(lab, place, place.add("www", "TXT", '"one"', ttl=60), 60, "TXT")


@REGISTRY.check("cache/nxdomain-counts-down")
async def _nxdomain_ages(lab: Lab) -> None:
    place = await lab.world.place("none-ages", minimum=120)
    await counts_down(lab, place, place.at("none"), 120)


@REGISTRY.check("cache/nodata-counts-down")
async def _nodata_ages(lab: Lab) -> None:
    place = await lab.world.place("nodata-ages", minimum=120)
    await counts_down(lab, place, place.add("www", "TXT", '"only"'), 120)


@REGISTRY.check("cache/expires-and-is-fetched-again")
async def _expires(lab: Lab) -> None:
    place = await lab.world.place("expires")
    name = place.add("www", "A", "10.0.0.1", ttl=2)
    client = await lab.wild()
    await client.ask(name)
    place.records.clear()
    place.add("www", "A", "10.0.0.2", ttl=2)
    await asyncio.sleep(3.2)
    answer = await client.ask(name)
    equal("address after the TTL", ["10.0.0.2"], [str(rrset[0]) for rrset in answer.answer])
    equal("queries to the zone", 2, len(place.asked(name)))


@REGISTRY.check("cache/negative-expires-too")
async def _negative_expires(lab: Lab) -> None:
    place = await lab.world.place("negative-expires", minimum=2)
    name = place.at("late")
    client = await lab.wild()
    equal("code at first", NXDOMAIN, (await client.ask(name)).rcode)
    place.add("late", "A", "10.0.0.1")
    equal("code at once", NXDOMAIN, (await client.ask(name)).rcode)
    await asyncio.sleep(3.2)
    equal("code after the TTL", 0, (await client.ask(name)).rcode)


@REGISTRY.check("cache/ttl-0-is-not-kept")
async def _zero(lab: Lab) -> None:
    place = await lab.world.place("zero")
    name = place.add("www", "A", "10.0.0.1", ttl=0)
    client = await lab.wild()
    for number in range(1, 4):
        answer = await client.ask(name)
        equal("TTL", [0], answer.times())
        equal("queries to the zone", number, len(place.asked(name, "A")))
        await asyncio.sleep(0.1)


@REGISTRY.check("cache/ttl-with-the-top-bit-is-0")
async def _top_bit(lab: Lab) -> None:
    place = await lab.world.place("top-bit")
    name = place.add("www", "A", "10.0.0.1", ttl=0x80000001)
    answer = await (await lab.wild()).ask(name)
    expect(answer.times()[0] <= 86_400, f"TTL {answer.times()[0]}")


@REGISTRY.check("cache/ttl-is-bounded-by-max-ttl")
async def _max_ttl(lab: Lab) -> None:
    place = await lab.world.place("year", minimum=YEAR_SECONDS)
    name = place.add("www", "A", "10.0.0.1", ttl=YEAR_SECONDS)
    client = await lab.wild()
    for _ in range(2):
        expect(86_398 <= (await client.ask(name)).times()[0] <= 86_400, "TTL of a year: expected 86400")
        soa = (await client.ask(place.at("none"))).soa()
        expect(soa is not None, "no SOA with NXDOMAIN")
        expect(soa and 3598 <= soa[1] <= 3600, f"negative TTL of a year: expected 3600, got {soa}")


@REGISTRY.check("cache/options-for-times")
async def _options(lab: Lab) -> None:
    place = await lab.world.place("bounds", minimum=500)
    high = place.add("high", "A", "10.0.0.1", ttl=500)
    low = place.add("low", "A", "10.0.0.1", ttl=1)
    options = ("--max-ttl", "100", "--min-ttl=20", "--negative-ttl-max", "50")
    async with lab.own(*options) as lane, udp(lane.address) as client:
        for _ in range(2):
            expect(99 <= (await client.ask(high)).times()[0] <= 100, "--max-ttl 100 does not bound a TTL of 500")
            expect(19 <= (await client.ask(low)).times()[0] <= 20, "--min-ttl 20 does not lift a TTL of 1")
            soa = (await client.ask(place.at("none"))).soa()
            expect(soa and 49 <= soa[1] <= 50, f"--negative-ttl-max 50: the SOA has {soa}")


@REGISTRY.check("cache/negative-ttl-is-the-lower-of-two")
async def _lower(lab: Lab) -> None:
    for soa_ttl, minimum, expected in ((30, 600, 30), (600, 30, 30)):
        place = await lab.world.place("lower", minimum=minimum)
        place.script = negative_with(place, soa_ttl)
        soa = (await (await lab.wild()).ask(place.at("none"))).soa()
        expect(soa and expected - 1 <= soa[1] <= expected, f"SOA {soa_ttl}, minimum {minimum}: got {soa}")


def negative_with(place: Place, soa_ttl: int) -> Callable[[Asked], bytes]:
    """Return a script that says NXDOMAIN with a TTL of the SOA."""
    return lambda asked: asked.reply(authority=[place.soa(soa_ttl)], rcode=NXDOMAIN)


def hits(label: str, kind: str, prepare: Callable[[Place], str]) -> None:
    """Add a check that a second question is answered from the cache."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place(label)
        name = prepare(place)
        client = await lab.wild()
        first = await client.ask(name, kind)
        before = len(place.log)
        for _ in range(3):
            again = await client.ask(name, kind)
            equal("answer from the cache", first.shape(name, kind), again.shape(name, kind))
        equal("queries to the zone after the first answer", before, len(place.log))

    REGISTRY.add(Check(f"cache/answers-{label}", run))


def _alias(place: Place) -> str:
    place.add("target", "A", "10.0.0.1")
    return place.add("alias", "CNAME", place.at("target"))


def _alias_to_nothing(place: Place) -> str:
    return place.add("alias", "CNAME", place.at("nothing"))


hits("positive", "A", lambda place: place.add("www", "A", "10.0.0.1"))
hits("mx", "MX", lambda place: place.add("www", "MX", "10 mail.example.", "20 mail2.example."))
hits("nxdomain", "A", lambda place: place.at("none"))
hits("nodata", "AAAA", lambda place: place.add("www", "A", "10.0.0.1"))
hits("alias", "A", _alias)
hits("alias-to-nothing", "A", _alias_to_nothing)
hits("unknown-type", "TYPE65280", lambda place: place.add("www", "TYPE65280", r"\# 3 010203"))


@REGISTRY.check("cache/target-of-an-alias-is-shared")
async def _shared_target(lab: Lab) -> None:
    place = await lab.world.place("shared-target")
    target = place.add("target", "A", "10.0.0.1")
    first, second = (place.add(label, "CNAME", target) for label in ("one", "two"))
    client = await lab.wild()
    for name in (first, second):
        equal(name, 1, len((await client.ask(name)).shape(name, "A").records))
    answer = await client.ask(target)
    equal("code", 0, answer.rcode)


@REGISTRY.check("cache/ttl-of-a-chain-is-each-record's-own")
async def _chain_ttl(lab: Lab) -> None:
    place = await lab.world.place("chain-ttl")
    place.add("target", "A", "10.0.0.1", ttl=400)
    name = place.add("alias", "CNAME", place.at("target"), ttl=3)
    client = await lab.wild()
    await client.ask(name)
    await asyncio.sleep(4.2)
    place.records.pop((name, 5))
    place.add("other", "A", "10.0.0.9")
    place.add("alias", "CNAME", place.at("other"))
    answer = await client.ask(name)
    equal("address after the alias changed", "10.0.0.9", str(answer.answer[-1][0]))


@REGISTRY.check("cache/failures-are-not-kept-long")
async def _failures(lab: Lab) -> None:
    place = await lab.world.place("recovers")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.reply(rcode=SERVFAIL)
    client = await lab.wild()
    equal("code while the zone fails", "SERVFAIL", rcode_text((await client.ask(name)).rcode))
    place.script = None
    await asyncio.sleep(5.5)
    equal("code after it recovered", "NOERROR", rcode_text((await client.ask(name)).rcode))


@REGISTRY.check("cache/delegations-are-kept")
async def _delegations(lab: Lab) -> None:
    place = await lab.world.place("kept")
    names = [place.add(f"host{number}", "A", "10.0.0.1") for number in range(20)]
    client = await lab.wild()
    for name in names:
        await client.ask(name)
    equal("queries for the zone that reached the root", 1, len([a for a in lab.world.root.log if place.zone in a.text]))


@REGISTRY.check("cache/bounded-in-bytes", alone=True, seconds=90)
async def _bounded(lab: Lab) -> None:
    place = await lab.world.place("flood")
    place.script = lambda asked: asked.reply(f"{asked.text} 3600 A 10.0.0.1")
    async with lab.own("--cache-bytes", "256kb") as lane, udp(lane.address) as client:
        await client.ask(place.at("first"))
        before = lane.memory_bytes()
        for start in range(0, FLOOD, FLOOD_AT_ONCE):
            names = [place.at(f"n{number}") for number in range(start, start + FLOOD_AT_ONCE)]
            await asyncio.gather(*(client.ask(name) for name in names))
        grown = lane.memory_bytes() - before
        expect(grown < RSS_SLACK_BYTES, f"memory grew by {grown >> 20} MB with --cache-bytes 256kb")
        if not lab.foreign:
            counters = await lane.counters()
            expect(
                counters["cache_bytes"] <= CACHE_BYTES, f"cache_bytes={counters['cache_bytes']}, limit {CACHE_BYTES}"
            )
            expect(0 < counters["cache_entries"] < FLOOD, f"cache_entries={counters['cache_entries']}")
        seen = len(place.log)
        await client.ask(place.at(f"n{FLOOD - 1}"))
        equal("queries for the newest name: it is in the cache", seen, len(place.log))
        await client.ask(place.at("n0"))
        timely(len(place.log) == seen + 1, f"the oldest name is still in a cache of 256 KB after {FLOOD} others")


@REGISTRY.check("cache/what-is-used-stays", alone=True, seconds=90)
async def _used_stays(lab: Lab) -> None:
    place = await lab.world.place("used")
    place.script = lambda asked: asked.reply(f"{asked.text} 3600 A 10.0.0.1")
    favourite = place.at("favourite")
    async with lab.own("--cache-bytes", "256kb") as lane, udp(lane.address) as client:
        for start in range(0, FLOOD, FLOOD_AT_ONCE):
            names = [place.at(f"n{number}") for number in range(start, start + FLOOD_AT_ONCE)]
            await asyncio.gather(*(client.ask(name) for name in names), client.ask(favourite))
        equal("queries for a name that is asked all the time", 1, len(place.asked(favourite)))
