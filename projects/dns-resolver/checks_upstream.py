"""How a resolver asks: queries that are sound and hard to guess, retries, EDNS, TCP, and servers that fail."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import time
from collections import Counter
from collections.abc import Callable

from dns_client import udp
from dns_lab import REGISTRY, Check, Lab, equal, expect, timely
from dns_wire import AA, FORMERR, NOTIMP, REFUSED, SERVFAIL, TC, opt, query, rcode_text
from dns_world import Asked, Place, refer

MANY = 400
SAME = 60


async def ask_code(lab: Lab, name: str, kind: str = "A") -> str:
    """Return the code of an answer of the shared lane."""
    return rcode_text((await (await lab.wild()).ask(name, kind)).rcode)


async def address(lab: Lab, name: str) -> str:
    """Return the last record of an answer of the shared lane, or the code."""
    answer = await (await lab.wild()).ask(name)
    return str(answer.answer[-1][0]) if answer.answer else rcode_text(answer.rcode)


# --- what it sends ---------------------------------------------------------------------------------------------------


@REGISTRY.check("upstream/ids-and-ports-are-hard-to-guess", alone=True)
async def _random(lab: Lab) -> None:
    place = await lab.world.place("random")
    place.script = lambda asked: asked.reply(f"{asked.text} 3600 A 10.0.0.1")
    client = await lab.wild()
    for start in range(0, MANY, 50):
        await asyncio.gather(*(client.ask(place.at(f"n{number}")) for number in range(start, start + 50)))
    numbers = [asked.number for asked in place.log]
    ports = Counter(asked.source[1] for asked in place.log)
    expect(len(set(numbers)) >= MANY * 0.97, f"{len(set(numbers))} different ids in {len(numbers)} queries")
    steps = Counter((after - before) & 0xFFFF for before, after in itertools.pairwise(numbers))
    expect(steps.most_common(1)[0][1] < MANY * 0.05, f"ids go in steps: {steps.most_common(3)}")
    high = sum(number > 0x7FFF for number in numbers)
    expect(0.35 < high / len(numbers) < 0.65, f"{high} of {len(numbers)} ids have the top bit set")
    expect(len(ports) >= 16, f"{len(ports)} source ports for {MANY} queries, expected 16 or more")
    expect(max(ports) - min(ports) > 2000, f"source ports from {min(ports)} to {max(ports)}: expected a wide range")


@REGISTRY.check("upstream/every-query-is-sound", alone=True)
async def _sound(lab: Lab) -> None:
    await ask_code(lab, (await lab.world.place("sound")).at("none"))
    expect(not lab.world.violations, f"{len(lab.world.violations)} unsound queries: {lab.world.violations[:1]}")


@REGISTRY.check("upstream/edns-with-the-size-of-the-option")
async def _edns(lab: Lab) -> None:
    place = await lab.world.place("edns")
    await ask_code(lab, place.at("none"))
    equal("sizes", {(True, 1232)}, {(asked.edns, asked.size) for asked in place.log})
    async with lab.own("--edns-size=4000") as lane, udp(lane.address) as client:
        await client.ask(place.at("other"))
        equal("size", 4000, place.log[-1].size)


@REGISTRY.check("upstream/same-question-in-flight-is-asked-once")
async def _joined(lab: Lab) -> None:
    place = await lab.world.place("joined")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.15, place.sound(asked))
    async with lab.udp("world") as first, lab.udp("world") as second:
        asked = [(first if number % 2 else second).ask(name) for number in range(SAME)]
        answers = await asyncio.gather(*asked)
    equal("answers", {"10.0.0.1"}, {str(answer.answer[0][0]) for answer in answers})
    equal("queries to the zone", 1, len(place.log))


@REGISTRY.check("upstream/same-client-same-id-twice")
async def _duplicate(lab: Lab) -> None:
    place = await lab.world.place("twice")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.1, place.sound(asked))
    async with lab.udp("world") as client:
        data = query(name, number=5)
        client.send(data)
        answer = await client.raw(data)
        expect(len(answer) > len(data), "no answer to a query that was sent twice")
    equal("queries to the zone", 1, len(place.log))


# --- servers that fail -----------------------------------------------------------------------------------------------


def one_bad(label: str, bad: Callable[[Asked], bytes | None]) -> None:
    """Add a check: of two servers one misbehaves; names are found all the same."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place(f"half-{label}", servers=2)
        names = [place.add(f"n{number}", "A", f"10.0.1.{number}") for number in range(6)]

        def script(asked: Asked) -> bytes | None:
            return bad(asked) if asked.server == place.addresses[0] else place.sound(asked)

        place.script = script
        for number, name in enumerate(names):
            equal(name, f"10.0.1.{number}", await address(lab, name))

    REGISTRY.add(Check(f"one-server-of-two/{label}", run, seconds=40))


def all_bad(label: str, bad: Callable[[Asked], bytes | None]) -> None:
    """Add a check: the only server misbehaves; SERVFAIL, in time, after a bounded number of queries."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place(f"only-{label}", bad)
        began = time.monotonic()
        equal("code", "SERVFAIL", await ask_code(lab, place.at("www")))
        timely(time.monotonic() - began < 11, f"SERVFAIL after {time.monotonic() - began:.1f} s")
        expect(len(place.log) <= 40, f"{len(place.log)} queries to a server that fails")

    REGISTRY.add(Check(f"only-server/{label}", run))


def _upward(asked: Asked) -> bytes:
    servers = [("a.root.", "127.9.0.1"), ("b.root.", "127.9.0.2")]
    return refer(asked, ".", servers)


def _to_itself(asked: Asked) -> bytes:
    return refer(asked, asked.place.zone, asked.place.servers)


def _sideways(asked: Asked) -> bytes:
    return refer(asked, f"elsewhere-{asked.place.zone}", [("ns.elsewhere.", "127.9.0.9")])


def _other_question(asked: Asked) -> bytes:
    return asked.reply(f"{asked.text} 60 A 10.6.6.6", question=b"\x05other\0\0\x01\0\x01")


FAILINGS: dict[str, Callable[[Asked], bytes | None]] = {
    "silent": lambda _: None,
    "servfail": lambda asked: asked.reply(rcode=SERVFAIL, flags=0),
    "refused": lambda asked: asked.reply(rcode=REFUSED, flags=0),
    "notimp": lambda asked: asked.reply(rcode=NOTIMP, flags=0),
    "formerr": lambda asked: asked.reply(rcode=FORMERR, flags=0, edns=False),
    "refers-upward": _upward,
    "refers-to-itself": _to_itself,
    "refers-sideways": _sideways,
    "answers-another-question": _other_question,
    "header-only": lambda asked: asked.data[:2] + b"\x84\0" + bytes(8),
    "rcode-15": lambda asked: asked.reply(rcode=15, flags=0),
    "echo": lambda asked: asked.data,
}
for _label, _bad in FAILINGS.items():
    one_bad(_label, _bad)
    all_bad(_label, _bad)


@REGISTRY.check("one-server-of-two/nobody-at-the-address")
async def _nobody(lab: Lab) -> None:
    place = await lab.world.place("half-nobody", servers=2, silent=1)
    for number in range(6):
        name = place.add(f"n{number}", "A", "10.0.0.1")
        equal(name, "10.0.0.1", await address(lab, name))


@REGISTRY.check("only-server/nobody-at-the-address")
async def _nobody_at_all(lab: Lab) -> None:
    place = await lab.world.place("only-nobody", servers=2, silent=2)
    equal("code", "SERVFAIL", await ask_code(lab, place.at("www")))


@REGISTRY.check("retries/back-off", alone=True)
async def _back_off(lab: Lab) -> None:
    place = await lab.world.place("backoff", lambda _: None)
    async with lab.own(words=[*lab.world_words, "--timeout", "0.2"]) as lane, udp(lane.address) as client:
        answer = await client.ask(place.at("www"))
        equal("code", "SERVFAIL", rcode_text(answer.rcode))
    times = [asked.when for asked in place.log]
    expect(2 <= len(times) <= 8, f"{len(times)} queries to a silent server, expected about 4 (--attempts)")
    gaps = [after - before for before, after in itertools.pairwise(times)]
    timely(0.1 < gaps[0] < 0.7, f"first retry after {gaps[0]:.2f} s with --timeout 0.2")
    timely(gaps[-1] > gaps[0] * 1.5 or len(gaps) == 1, f"no back-off: {[f'{gap:.2f}' for gap in gaps]}")


@REGISTRY.check("retries/attempts-option", alone=True)
async def _attempts(lab: Lab) -> None:
    counts = {}
    for attempts in (1, 3):
        place = await lab.world.place("attempts", lambda _: None)
        words = [*lab.world_words, "--timeout", "0.1", "--attempts", str(attempts)]
        async with lab.own(words=words) as lane, udp(lane.address) as client:
            await client.ask(place.at("www"))
        counts[attempts] = len(place.log)
    equal("queries to a silent server by --attempts", {1: 1, 3: 3}, counts)


@REGISTRY.check("retries/first-packet-lost")
async def _lost(lab: Lab) -> None:
    place = await lab.world.place("lost")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: place.sound(asked) if len(place.log) > 1 else None
    equal("address", "10.0.0.1", await address(lab, name))
    expect(len(place.log) == 2, f"{len(place.log)} queries, expected 2")


@REGISTRY.check("retries/another-id-and-port")
async def _new_id(lab: Lab) -> None:
    place = await lab.world.place("again", lambda _: None)
    await ask_code(lab, place.at("www"))
    pairs = {(asked.number, asked.source[1]) for asked in place.log}
    expect(len(place.log) > 1, "a silent server was asked once")
    expect(len(pairs) > 1, f"the same id and port in each of {len(place.log)} tries")


@REGISTRY.check("retries/the-quicker-server-is-preferred", alone=True)
async def _optionser(lab: Lab) -> None:
    place = await lab.world.place("quicker", servers=2)

    def script(asked: Asked) -> None:
        slow = asked.server == place.addresses[0]
        asked.send_later(0.08 if slow else 0.0, asked.reply(f"{asked.text} 60 A 10.0.0.1"))

    place.script = script
    for number in range(60):
        await ask_code(lab, place.at(f"n{number}"))
    used = Counter(asked.server for asked in place.log[20:])
    share = used[place.addresses[1]] / sum(used.values())
    expect(share > 0.7, f"the quicker server got {share:.0%} of the queries, expected most")


@REGISTRY.check("retries/late-answer-does-no-harm")
async def _late_answer(lab: Lab) -> None:
    place = await lab.world.place("late")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.6 if len(place.log) == 1 else 0.0, place.sound(asked))
    equal("address", "10.0.0.1", await address(lab, name))
    await asyncio.sleep(0.5)
    equal("address", "10.0.0.1", await address(lab, name))


# --- EDNS and TCP ----------------------------------------------------------------------------------------------------


@REGISTRY.check("edns-upstream/formerr-means-ask-without")
async def _formerr(lab: Lab) -> None:
    place = await lab.world.place("no-edns")
    names = [place.add(f"n{number}", "A", "10.0.0.1") for number in range(3)]
    place.script = lambda asked: asked.reply(rcode=FORMERR, edns=False, flags=0) if asked.edns else place.sound(asked)
    for name in names:
        equal(name, "10.0.0.1", await address(lab, name))
    equal("the last query has EDNS", False, place.log[-1].edns)


@REGISTRY.check("edns-upstream/formerr-of-a-bare-header")
async def _formerr_header(lab: Lab) -> None:
    place = await lab.world.place("bare-formerr")
    name = place.add("www", "A", "10.0.0.1")

    def script(asked: Asked) -> bytes:
        return asked.data[:2] + b"\x80\x01" + bytes(8) if asked.edns else place.sound(asked)

    place.script = script
    equal("address", "10.0.0.1", await address(lab, name))


@REGISTRY.check("edns-upstream/answer-without-opt-is-fine")
async def _no_opt(lab: Lab) -> None:
    place = await lab.world.place("no-opt")
    name = place.at("www")
    place.script = lambda asked: asked.reply(f"{name} 60 A 10.0.0.1", edns=False)
    equal("address", "10.0.0.1", await address(lab, name))


@REGISTRY.check("edns-upstream/answer-with-odd-opt-is-fine")
async def _odd_opt(lab: Lab) -> None:
    place = await lab.world.place("odd-opt")
    name = place.at("www")
    odd = opt(65_535, flags=0x8000, options=b"\xff\xf0\0\4abcd")
    place.script = lambda asked: asked.reply(f"{name} 60 A 10.0.0.1", additional=[odd], edns=False)
    equal("address", "10.0.0.1", await address(lab, name))


def _big(place: Place, label: str = "www", count: int = 40) -> str:
    return place.add(label, "TXT", *(f'"{number:03} {"t" * 200}"' for number in range(count)))


@REGISTRY.check("tcp-upstream/tc-means-tcp")
async def _tc(lab: Lab) -> None:
    place = await lab.world.place("tc")
    name = _big(place)
    async with lab.tcp("world") as connection:
        answer = await connection.ask(name, "TXT")
        equal("records", 40, len(answer.answer))
    equal("transports", [False, True], [asked.tcp for asked in place.log])


@REGISTRY.check("tcp-upstream/64-kilobytes")
async def _tc_large(lab: Lab) -> None:
    place = await lab.world.place("tc-large")
    name = _big(place, count=260)
    async with lab.tcp("world") as connection:
        answer = await connection.ask(name, "TXT")
        equal("records", 260, len(answer.answer))


@REGISTRY.check("tcp-upstream/what-came-with-tc-is-not-the-answer")
async def _tc_partial(lab: Lab) -> None:
    place = await lab.world.place("tc-partial")
    name = place.add("www", "A", "10.0.0.1", "10.0.0.2", "10.0.0.3")

    def script(asked: Asked) -> bytes:
        partial = asked.reply(f"{name} 60 A 10.0.0.1", flags=AA | TC)
        return place.sound(asked) if asked.tcp else partial

    place.script = script
    answer = await (await lab.wild()).ask(name)
    equal("records", 3, len(answer.answer))


@REGISTRY.check("tcp-upstream/in-small-pieces")
async def _tc_pieces(lab: Lab) -> None:
    place = await lab.world.place("tc-pieces")
    name = _big(place, count=10)

    def script(asked: Asked) -> bytes | None:
        if not asked.tcp:
            return asked.reply(flags=AA | TC)
        data = place.sound(asked)
        stream = struct.pack("!H", len(data)) + data
        for number, start in enumerate(range(0, len(stream), 200)):
            asyncio.get_running_loop().call_later(0.01 * number, asked.write, stream[start : start + 200])
        return None

    place.script = script
    async with lab.tcp("world") as connection:
        equal("records", 10, len((await connection.ask(name, "TXT")).answer))


def tcp_failing(label: str, bad: Callable[[Asked], None], expected: str = "SERVFAIL") -> None:
    """Add a check: UDP says TC, and TCP fails in some way."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place(f"tcp-{label}")

        def script(asked: Asked) -> bytes | None:
            if asked.tcp:
                bad(asked)
                return None
            return asked.reply(flags=AA | TC)

        place.script = script
        equal("code", expected, await ask_code(lab, place.at("www")))
        expect(len(place.log) <= 40, f"{len(place.log)} queries")

    REGISTRY.add(Check(f"tcp-upstream/{label}", run))


tcp_failing("closes-at-once", lambda asked: asked.close())
tcp_failing("never-answers", lambda _: None)
tcp_failing("length-0", lambda asked: asked.write(b"\0\0"))
tcp_failing("garbage", lambda asked: asked.write(b"\0\x20" + b"x" * 32))
tcp_failing("length-that-lies", lambda asked: asked.write(b"\xff\xff" + asked.reply()))
tcp_failing("tc-again", lambda asked: asked.send(asked.reply(flags=AA | TC)))
tcp_failing("another-id", lambda asked: asked.send(asked.reply(f"{asked.text} 60 A 10.6.6.6", number=asked.number ^ 1)))


@REGISTRY.check("tcp-upstream/other-server-when-tcp-fails")
async def _tcp_other(lab: Lab) -> None:
    place = await lab.world.place("tcp-other", servers=2)
    name = place.add("www", "A", "10.0.0.1")

    def script(asked: Asked) -> bytes | None:
        if asked.server == place.addresses[1]:
            return place.sound(asked)
        if asked.tcp:
            asked.close()
            return None
        return asked.reply(flags=AA | TC)

    place.script = script
    equal("address", "10.0.0.1", await address(lab, name))


# --- limits ----------------------------------------------------------------------------------------------------------


@REGISTRY.check("limits/delegation-steps")
async def _steps(lab: Lab) -> None:
    place = await lab.world.place("steps")
    shared = place.addresses[0]

    def script(asked: Asked) -> bytes:
        labels = asked.text.rstrip(".").split(".")
        known = getattr(place, "depth", 1)
        place.depth = known + 1  # type: ignore[attr-defined]  # a note of this test on a place that it owns
        if known + 1 > len(labels):
            return asked.reply(f"{asked.text} 60 A 10.0.0.1")
        cut = ".".join(labels[-known - 1 :]) + "."
        return refer(asked, cut, [(f"ns.{cut}", shared)])

    place.script = script
    name = ".".join(f"d{number}" for number in range(10)) + f".{place.zone}"
    equal("ten steps down", "10.0.0.1", await address(lab, name))
    place.depth = 1  # type: ignore[attr-defined]  # a note of this test on a place that it owns
    name = ".".join(f"e{number}" for number in range(60)) + f".{place.zone}"
    equal("sixty steps down", "SERVFAIL", await ask_code(lab, name))


@REGISTRY.check("limits/names-of-servers-without-end")
async def _nxns(lab: Lab) -> None:
    victim = await lab.world.place("victim")
    place = await lab.world.place("nxns")
    servers = [(f"none{number}.{victim.zone}", None) for number in range(60)]
    place.script = lambda asked: refer(asked, asked.text, servers)
    equal("code", "SERVFAIL", await ask_code(lab, f"www.sub.{place.zone}"))
    asked = len(victim.log) + len(place.log)
    expect(asked <= 110, f"{asked} queries for one question, expected at most --max-queries 100")


@REGISTRY.check("limits/max-queries-option")
async def _max_queries(lab: Lab) -> None:
    victim = await lab.world.place("victim")
    place = await lab.world.place("nxns-few")
    servers = [(f"none{number}.{victim.zone}", None) for number in range(60)]
    place.script = lambda asked: refer(asked, asked.text, servers)
    async with lab.own("--max-queries", "10") as lane, udp(lane.address) as client:
        equal("code", "SERVFAIL", rcode_text((await client.ask(f"www.sub.{place.zone}")).rcode))
    asked = len(victim.log) + len(place.log)
    expect(asked <= 12, f"{asked} queries with --max-queries 10")


@REGISTRY.check("limits/aliases-without-end")
async def _endless(lab: Lab) -> None:
    place = await lab.world.place("endless")

    def script(asked: Asked) -> bytes:
        number = int(asked.text.partition(".")[0].strip("c") or 0)
        return asked.reply(f"{asked.text} 60 CNAME c{number + 1}.{place.zone}")

    place.script = script
    equal("code", "SERVFAIL", await ask_code(lab, place.at("c0")))
    expect(len(place.log) <= 40, f"{len(place.log)} queries for aliases without end")


@REGISTRY.check("limits/delegations-without-end")
async def _down(lab: Lab) -> None:
    place = await lab.world.place("down")
    shared = place.addresses[0]
    helper = await lab.world.place("helper")

    def endless(asked: Asked) -> bytes:
        return refer(asked, asked.text, [(f"x{len(helper.log)}.{asked.text}", None), (f"y.{asked.text}", shared)])

    helper.script = endless
    place.script = lambda asked: refer(asked, place.at("sub"), [(f"ns{len(place.log)}.{helper.zone}", None)])
    equal("code", "SERVFAIL", await ask_code(lab, f"www.sub.{place.zone}"))
    expect(len(place.log) + len(helper.log) <= 110, f"{len(place.log) + len(helper.log)} queries")


@REGISTRY.check("limits/thousand-questions-to-a-silent-zone", alone=True, seconds=60)
async def _thousand_silent(lab: Lab) -> None:
    silent = await lab.world.place("thousand-silent", lambda _: None)
    sound = await lab.world.place("beside")
    name = sound.add("www", "A", "10.0.0.1")
    async with lab.own("--timeout=0.2") as lane, udp(lane.address) as other, contextlib.AsyncExitStack() as stack:
        waiting = []
        for start in range(0, 1000, 50):  # a thousand at once would fill the buffer of a socket
            client = await stack.enter_async_context(udp(lane.address))
            names = [silent.at(f"n{number}") for number in range(start, start + 50)]
            waiting += [asyncio.ensure_future(client.ask(one, seconds=25)) for one in names]
            await asyncio.sleep(0.02)
        began = time.monotonic()
        equal("code beside them", 0, (await other.ask(name)).rcode)
        timely(time.monotonic() - began < 2, f"{time.monotonic() - began:.1f} s for a question beside 1000 that wait")
        codes = Counter(rcode_text(answer.rcode) for answer in await asyncio.gather(*waiting))
        equal("codes", {"SERVFAIL": 1000}, dict(codes))


@REGISTRY.check("options/are-taken")
async def _quick(lab: Lab) -> None:
    async with lab.own("--max-depth=16", "--min-ttl", "0", "--ipv4-only", "--bind", "127.0.0.1") as lane:
        async with udp(lane.address) as client:
            place = await lab.world.place("options")
            name = place.add("www", "A", "10.0.0.1")
            equal("code", 0, (await client.ask(name)).rcode)
        equal("source address", "127.0.0.1", place.log[0].source[0])
