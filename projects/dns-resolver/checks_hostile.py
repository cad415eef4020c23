"""Name servers and strangers that lie: spoofed answers, poison beside the answer, and messages made to hurt."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Sequence

import dns.name
from dns_client import udp
from dns_lab import REGISTRY, Check, Failed, Lab, equal, expect
from dns_wire import (
    AA,
    IN,
    NOERROR,
    NXDOMAIN,
    QR,
    SERVFAIL,
    TC,
    A,
    name_wire,
    packet,
    question,
    raw_record,
    rcode_text,
    record,
)
from dns_world import TTL, Asked, Place, refer

POISON = "10.66.66.66"
TRUTH = "10.0.0.1"
SPOOFS = 200
MUTANTS = 400
Alter = Callable[[Asked], bytes]


async def ask(lab: Lab, name: str, kind: str = "A") -> str:
    """Return the final records of an answer of the shared lane, or its code."""
    answer = await (await lab.wild()).ask(name, kind)
    records = sorted(str(rrset[0]) for rrset in answer.answer)
    return " ".join(records) if records else rcode_text(answer.rcode)


# --- answers that nobody should believe ------------------------------------------------------------------------------


def spoofed(label: str, alter: Callable[[Asked, Place], None]) -> None:
    """Add a check: before the right answer comes another one that does not fit the query."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place(f"spoof-{label}")
        name = place.add("www", "A", TRUTH)

        def script(asked: Asked) -> None:
            alter(asked, place)
            asked.send_later(0.06, place.sound(asked))

        place.script = script
        equal("address", TRUTH, await ask(lab, name))
        equal("queries: the right answer was waited for", 1, len(place.log))

    REGISTRY.add(Check(f"spoof/{label}", run))


def _lie(asked: Asked, **how: object) -> bytes:
    return asked.reply(f"{asked.text} 3600 A {POISON}", **how)  # type: ignore[arg-type]  # keywords of reply, checked there


def _every_other_id(asked: Asked, place: Place) -> None:
    del place
    for step in range(1, SPOOFS):
        asked.send(_lie(asked, number=(asked.number + step) & 0xFFFF))


def _from_other_port(asked: Asked, place: Place) -> None:
    del place
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((asked.server, 0))
        stranger.sendto(_lie(asked), asked.source)


def _from_other_address(asked: Asked, place: Place) -> None:
    place.world.spoof("127.9.0.2", asked.source, _lie(asked))


def _to_other_port(asked: Asked, place: Place) -> None:
    for step in (-2, -1, 1, 2):
        port = asked.source[1] + step
        if 1024 <= port < 65_536:
            place.world.spoof(asked.server, (asked.source[0], port), _lie(asked))


def _with_question(body: Callable[[Asked], bytes]) -> Callable[[Asked, Place], None]:
    return lambda asked, _: asked.send(_lie(asked, question=body(asked)))


spoofed("wrong-id", _every_other_id)
spoofed("wrong-port", _from_other_port)
spoofed("wrong-address", _from_other_address)
spoofed("to-other-ports", _to_other_port)
spoofed("wrong-name", _with_question(lambda _: question("other.example.", "A")))
spoofed("wrong-type", _with_question(lambda asked: question(asked.name, "TXT")))
spoofed("wrong-class", _with_question(lambda asked: question(asked.name, "A", 3)))
spoofed("name-one-letter-off", _with_question(lambda asked: question("xww." + asked.text[4:], "A")))
spoofed("not-a-response", lambda asked, _: asked.send(_lie(asked, flags=AA)[:2] + b"\x04\0" + _lie(asked)[4:]))
spoofed("other-opcode", lambda asked, _: asked.send(_lie(asked)[:2] + b"\xa4\0" + _lie(asked)[4:]))
spoofed("two-bytes", lambda asked, _: asked.send(asked.data[:2]))
spoofed("eleven-bytes", lambda asked, _: asked.send(_lie(asked)[:11]))
spoofed("empty", lambda asked, _: asked.send(b""))
spoofed("query-of-our-own", lambda asked, _: asked.send(asked.data))
spoofed("random-bytes", lambda asked, _: asked.send(random.Random(5).randbytes(200)))


@REGISTRY.check("spoof/counted", alone=True)
async def _counted(lab: Lab) -> None:
    place = await lab.world.place("spoof-counted")
    name = place.add("www", "A", TRUTH)

    def script(asked: Asked) -> None:
        for step in range(1, 21):
            asked.send(_lie(asked, number=(asked.number + step) & 0xFFFF))
        asked.send_later(0.1, place.sound(asked))

    place.script = script
    async with lab.own() as lane, udp(lane.address) as client:
        before = (await lane.counters())["spoofed"]
        equal("code", NOERROR, (await client.ask(name)).rcode)
        after = (await lane.counters())["spoofed"]
        expect(15 <= after - before <= 40, f"spoofed= rose by {after - before} after 20 answers with a wrong id")


@REGISTRY.check("spoof/unasked-answers-change-nothing")
async def _unasked(lab: Lab) -> None:
    place = await lab.world.place("unasked")
    name = place.add("www", "A", TRUTH)
    await ask(lab, place.add("first", "A", "10.0.0.2"))
    target = place.log[0].source
    for number in range(0, 65_536, 97):
        data = packet(number, QR | AA, (1, 1, 0, 0), question(name, "A") + record(f"{name} 3600 A {POISON}"))
        place.world.spoof(place.addresses[0], target, data)
    await asyncio.sleep(0.1)
    equal("address", TRUTH, await ask(lab, name))


# --- poison beside the answer ----------------------------------------------------------------------------------------


def poisoned(
    label: str,
    script: Callable[[Asked, Place], bytes],
    *,
    answer: str | None = TRUTH,
    victim_label: str = "www",
) -> None:
    """Add a check: an answer of one zone speaks of another; that one is asked all the same."""

    async def run(lab: Lab) -> None:
        victim = await lab.world.place("victim")
        name = victim.add(victim_label, "A", "10.0.0.7")
        victim.add("ns1", "A", victim.addresses[0])
        evil = await lab.world.place("evil", lambda asked: script(asked, victim))
        got = await ask(lab, evil.at("www"))
        expect(POISON not in got or answer is None, f"the lie was passed on: {got}")
        if answer is not None:
            expect(answer in got, f"expected {answer} in the answer, got {got}")
        equal(f"address of {name} afterwards", "10.0.0.7", await ask(lab, name))
        expect(victim.asked(name), "the victim's own server was never asked")
        equal("name of the victim that only the lie knew", "NXDOMAIN", await ask(lab, victim.at("fresh")))

    REGISTRY.add(Check(f"poison/{label}", run))


def _www(asked: Asked) -> str:
    return f"{asked.text} 3600 A {TRUTH}"


poisoned(
    "additional-address",
    lambda asked, victim: asked.reply(_www(asked), additional=[f"www.{victim.zone} 3600 A {POISON}"]),
)
poisoned(
    "answer-section-address",
    lambda asked, victim: asked.reply(_www(asked), f"www.{victim.zone} 3600 A {POISON}"),
)
poisoned(
    "authority-of-another-zone",
    lambda asked, victim: asked.reply(
        _www(asked),
        authority=[f"{victim.zone} 3600 NS ns.evil-one.{victim.zone}"],
        additional=[f"ns.evil-one.{victim.zone} 3600 A {asked.server}"],
    ),
)
poisoned(
    "authority-of-the-root",
    lambda asked, _: asked.reply(
        _www(asked), authority=[". 3600 NS ns.evil-root."], additional=[f"ns.evil-root. 3600 A {asked.server}"]
    ),
)
poisoned(
    "glue-for-the-name-server-of-another",
    lambda asked, victim: asked.reply(
        _www(asked),
        authority=[f"{asked.place.zone} 3600 NS ns1.{victim.zone}"],
        additional=[f"ns1.{victim.zone} 3600 A {asked.server}"],
    ),
)
poisoned(
    "soa-of-another-zone",
    lambda asked, victim: asked.reply(authority=[victim.soa(3600)], rcode=NXDOMAIN),
    answer=None,
)
poisoned(
    "cname-with-its-target",
    lambda asked, victim: asked.reply(
        f"{asked.text} 3600 CNAME www.{victim.zone}", f"www.{victim.zone} 3600 A {POISON}"
    ),
    answer="10.0.0.7",
)
poisoned(
    "dname-of-another-zone",
    lambda asked, victim: asked.reply(_www(asked), f"{victim.zone} 3600 DNAME {asked.place.zone}"),
)
poisoned(
    "refers-to-a-zone-that-is-not-below",
    lambda asked, victim: refer(asked, victim.zone, [(f"ns1.{victim.zone}", asked.server)]),
    answer=None,
)


@REGISTRY.check("poison/glue-outside-the-zone-is-looked-up")
async def _outside_glue(lab: Lab) -> None:
    honest = await lab.world.place("honest")
    server = honest.add("ns", "A", honest.addresses[0])
    trap = await lab.world.place("trap", lambda asked: asked.reply(f"{asked.text} 60 A {POISON}"))
    evil = await lab.world.place("evil")
    name = f"www.sub.{evil.zone}"
    sub = f"sub.{evil.zone}"

    def script(asked: Asked) -> bytes:
        return asked.reply(
            authority=[f"{sub} {TTL} NS {server}"], additional=[f"{server} {TTL} A {trap.addresses[0]}"], flags=0
        )

    evil.script = script
    honest.script = lambda asked: asked.reply(f"{name} 60 A {TRUTH}") if asked.text == name else honest.sound(asked)
    equal("address", TRUTH, await ask(lab, name))
    equal("queries to the address that only the glue of a stranger named", 0, len(trap.log))
    equal("address of the name server", honest.addresses[0], await ask(lab, server))


@REGISTRY.check("poison/nothing-of-a-lie-is-passed-on")
async def _passed_on(lab: Lab) -> None:
    extra = [f"bank.example. 3600 A {POISON}", f"example. 3600 NS ns.{POISON}."]
    place = await lab.world.place("passes")
    place.script = lambda asked: asked.reply(_www(asked), extra[0], authority=[extra[1]], additional=[extra[0]])
    answer = await (await lab.wild()).ask(place.at("www"))
    text = answer.message.to_text()
    expect("bank" not in text and POISON not in text, f"passed on: {answer}")


@REGISTRY.check("poison/answer-of-other-name-only")
async def _other_name(lab: Lab) -> None:
    place = await lab.world.place("other-name")
    place.script = lambda asked: asked.reply(f"elsewhere.{place.zone} 3600 A {POISON}")
    got = await ask(lab, place.at("www"))
    expect(POISON not in got, f"an address of another name was taken: {got}")


@REGISTRY.check("poison/answer-of-other-type-only")
async def _other_type(lab: Lab) -> None:
    place = await lab.world.place("other-type")
    place.script = lambda asked: asked.reply(f'{asked.text} 3600 TXT "{POISON}"')
    got = await ask(lab, place.at("www"))
    expect(POISON not in got, f"a record of another type was taken: {got}")


@REGISTRY.check("poison/parent-does-not-speak-for-the-child")
async def _child(lab: Lab) -> None:
    place = await lab.world.place("family")
    child = await lab.world.place("child-server")
    sub = f"sub.{place.zone}"
    child.script = lambda asked: asked.reply(f"{asked.text} 300 A {TRUTH}")
    place.script = lambda asked: refer(asked, sub, [(f"ns.{sub}", child.addresses[0])])
    equal("address", TRUTH, await ask(lab, f"www.{sub}"))
    equal("address", TRUTH, await ask(lab, f"www2.{sub}"))
    equal("queries to the parent: the delegation is kept", 1, len(place.log))


# --- messages made to hurt -------------------------------------------------------------------------------------------

HEADER = 12


def built(asked: Asked, counts: Sequence[int], body: bytes) -> bytes:
    """Return an answer with the right id and question and anything behind."""
    return packet(asked.number, QR | AA, (1, *counts), asked.question + body)


def fixed(kind: int, length: int, ttl: int = 3600) -> bytes:
    """Return type, class, time and length of a record."""
    return struct.pack("!HHIH", kind, IN, ttl, length)


def _end(asked: Asked) -> int:
    return HEADER + len(asked.question)


def _pointer(place: int) -> bytes:
    return struct.pack("!H", 0xC000 | place)


HURTFUL: dict[str, Alter] = {
    "owner-points-to-itself": lambda q: built(q, (1, 0, 0), _pointer(_end(q)) + fixed(A, 4) + b"\x0a\0\0\1"),
    "owner-points-forward": lambda q: built(q, (1, 0, 0), _pointer(_end(q) + 12) + fixed(A, 4) + b"\x0a\0\0\1"),
    "owner-points-past-the-end": lambda q: built(q, (1, 0, 0), _pointer(0x3FFF) + fixed(A, 4) + b"\x0a\0\0\1"),
    "two-pointers-in-a-circle": lambda q: built(
        q, (1, 0, 0), _pointer(_end(q) + 2) + _pointer(_end(q)) + fixed(A, 4) + b"\x0a\0\0\1"
    ),
    "label-and-pointer-in-a-circle": lambda q: built(
        q, (1, 0, 0), b"\1x" + _pointer(_end(q)) + fixed(A, 4) + b"\x0a\0\0\1"
    ),
    "pointer-cut": lambda q: built(q, (1, 0, 0), b"\xc0"),
    "label-type-01": lambda q: built(q, (1, 0, 0), b"\x41" + b"x" * 65 + b"\0" + fixed(A, 4) + b"\x0a\0\0\1"),
    "label-past-the-end": lambda q: built(q, (1, 0, 0), b"\x3fxxx"),
    "name-over-255": lambda q: built(
        q, (1, 0, 0), (b"\x3f" + b"x" * 63) * 4 + b"\0" + fixed(A, 4) + b"\x0a\0\0\1"
    ),
    "name-over-255-by-pointer": lambda q: built(
        q, (1, 0, 0), (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"x" * 61 + _pointer(HEADER) + fixed(A, 4) + b"\x0a\0\0\1"
    ),
    "rdata-past-the-end": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(A, 400) + b"\x0a\0\0\1"),
    "a-of-3-bytes": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(A, 3) + b"\x0a\0\0"),
    "a-of-5-bytes": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(A, 5) + b"\x0a\0\0\1\1"),
    "a-of-0-bytes": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(A, 0)),
    "record-cut-in-its-head": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(A, 4)[:7]),
    "65535-answers-promised": lambda q: built(q, (65_535, 0, 0), _pointer(HEADER) + fixed(A, 4) + b"\x0a\0\0\1"),
    "65535-of-everything": lambda q: built(q, (65_535, 65_535, 65_535), b""),
    "two-questions": lambda q: packet(q.number, QR | AA, (2, 0, 0, 0), q.question * 2),
    "cname-to-itself": lambda q: q.reply(f"{q.text} 60 CNAME {q.text}"),
    "cname-rdata-loop": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(5, 2) + _pointer(_end(q) + 12)),
    "cname-rdata-longer-than-its-name": lambda q: built(
        q, (1, 0, 0), _pointer(HEADER) + fixed(5, 9) + b"\1a\0morexx"
    ),
    "cname-rdata-shorter-than-its-name": lambda q: built(
        q, (1, 0, 0), _pointer(HEADER) + fixed(5, 2) + b"\x05abcde\0"
    ),
    "cname-rdata-empty": lambda q: built(q, (1, 0, 0), _pointer(HEADER) + fixed(5, 0)),
    "two-cnames": lambda q: q.reply(
        f"{q.text} 60 CNAME self-a.{q.place.zone}", f"{q.text} 60 CNAME self-b.{q.place.zone}"
    ),
    "cname-circle-in-one-message": lambda q: q.reply(
        f"{q.text} 60 CNAME x.{q.place.zone}", f"x.{q.place.zone} 60 CNAME {q.text}"
    ),
    "soa-cut": lambda q: packet(
        q.number, QR | AA | NXDOMAIN, (1, 0, 1, 0), q.question + name_wire(q.place.zone) + fixed(6, 5) + b"\0\0\0\0\1"
    ),
    "ns-rdata-loop": lambda q: packet(
        q.number, QR, (1, 0, 1, 0), q.question + _pointer(HEADER) + fixed(2, 2) + _pointer(_end(q) + 12)
    ),
    "opt-in-the-answer-section": lambda q: built(q, (1, 0, 0), b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)),
    "two-opts": lambda q: built(q, (0, 0, 2), (b"\0" + struct.pack("!HHIH", 41, 1232, 0, 0)) * 2),
    "60000-bytes-of-zeros": lambda q: built(q, (1, 0, 0), bytes(60_000)),
    "5000-records": lambda q: built(
        q, (4000, 0, 0), (_pointer(HEADER) + fixed(A, 4) + b"\x0a\0\0\1") * 4000
    ),
    "dname-that-makes-too-long-a-name": lambda q: q.reply(
        f"{q.place.zone} 60 DNAME {'y' * 63}.{'y' * 63}.{'y' * 63}.{'y' * 61}."
    ),
    "dname-to-itself": lambda q: q.reply(f"{q.place.zone} 60 DNAME sub.{q.place.zone}"),
}  # fmt: skip


MAY_HAVE_RECORDS = ("5000-records", "two-opts", "two-cnames", "dname-that-makes-too-long-a-name", "dname-to-itself")


def hurtful(label: str, alter: Alter) -> None:
    """Add a check: the only server sends such a message; the lane answers in time and goes on."""

    async def run(lab: Lab) -> None:
        place = await lab.world.place("hurts")
        sound = place.add("sound", "A", TRUTH)
        place.script = lambda asked: place.sound(asked) if asked.text == sound else alter(asked)
        got = await ask(lab, place.at("www"))
        expect(len(place.log) <= 60, f"{len(place.log)} queries after {label}")
        if label not in MAY_HAVE_RECORDS:
            expect(got in ("SERVFAIL", "NXDOMAIN", "NOERROR", "YXDOMAIN"), f"expected no records, got {got}")
        equal("a sound name of the same zone afterwards", TRUTH, await ask(lab, sound))

    REGISTRY.add(Check(f"hurt/{label}", run, seconds=45))


for _label, _alter in HURTFUL.items():
    hurtful(_label, _alter)


@REGISTRY.check("hurt/mutated-answers", alone=True, seconds=90)
async def _mutated(lab: Lab) -> None:
    rng = random.Random("dns-resolver mutated answers")
    place = await lab.world.place("mutants")
    zone = place.zone

    def script(asked: Asked) -> bytes:
        data = bytearray(
            asked.reply(
                f"{asked.text} 60 CNAME target.{zone}",
                f"target.{zone} 60 A {TRUTH}",
                f"target.{zone} 60 A 10.0.0.2",
                authority=[f"{zone} 60 NS ns1.{zone}", place.soa()],
                additional=[f"ns1.{zone} 60 A {place.addresses[0]}"],
            )
        )
        for _ in range(rng.choice((1, 2, 4))):
            at = rng.randrange(12 + len(asked.question), len(data))
            data[at] = rng.choice((0, 1, 63, 64, 128, 192, 255, rng.randrange(256)))
        if rng.randrange(4) == 0:
            del data[rng.randrange(12, len(data)) :]
        return bytes(data)

    async with lab.own("--attempts", "1") as lane, udp(lane.address) as client:
        place.script = script
        for start in range(0, MUTANTS, 40):
            await asyncio.gather(*(client.ask(place.at(f"n{number}")) for number in range(start, start + 40)))
        sound = await lab.world.place("after-mutants")
        name = sound.add("www", "A", TRUTH)
        equal("afterwards", TRUTH, str((await client.ask(name)).answer[0][0]))
        expect(lane.alive, f"the lane died: {lane.said()}")


@REGISTRY.check("hurt/flood-of-answers", alone=True)
async def _flood(lab: Lab) -> None:
    place = await lab.world.place("flooded")
    name = place.add("www", "A", TRUTH)

    def script(asked: Asked) -> None:
        for _ in range(5):
            _every_other_id(asked, place)
        asked.send_later(0.1, place.sound(asked))

    place.script = script
    equal("address", TRUTH, await ask(lab, name))


@REGISTRY.check("hurt/oversized-udp-answer")
async def _oversized(lab: Lab) -> None:
    place = await lab.world.place("oversized")
    name = place.add("www", "TXT", *(f'"{number:03} {"o" * 200}"' for number in range(30)))
    place.script = place.sound
    async with lab.tcp("world") as connection:
        answer = await connection.ask(name, "TXT")
    if answer.rcode == NOERROR:
        expect(len(answer.answer) in (0, 30), f"{len(answer.answer)} of 30 records")
    else:
        equal("code", SERVFAIL, answer.rcode)


@REGISTRY.check("hurt/names-with-any-bytes")
async def _any_bytes(lab: Lab) -> None:
    place = await lab.world.place("bytes")
    place.script = lambda asked: asked.reply(raw_record(asked.name.to_wire() or b"", "A", b"\x0a\0\0\1"))
    client = await lab.wild()
    rng = random.Random("dns-resolver any bytes")
    for _ in range(20):
        label = rng.randbytes(rng.randrange(1, 64))
        name = dns.name.Name([label]).concatenate(dns.name.from_text(place.zone))
        answer = await client.ask(name, "A")
        if [str(rrset[0]) for rrset in answer.answer] != [TRUTH]:
            raise Failed(f"{name}: {answer}")


@REGISTRY.check("hurt/tc-with-everything-wrong")
async def _tc_wrong(lab: Lab) -> None:
    place = await lab.world.place("tc-wrong")

    def script(asked: Asked) -> bytes | None:
        if asked.tcp:
            asked.write(struct.pack("!H", 65_535) + bytes(65_535) * 4)
            return None
        return asked.reply(flags=AA | TC)

    place.script = script
    equal("code", "SERVFAIL", await ask(lab, place.at("www")))
