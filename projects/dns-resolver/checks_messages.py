"""Packets from clients: sound ones of every kind, malformed ones, sizes, EDNS, and what a resolver does not do."""

from __future__ import annotations

import random
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import dns.message
from dns_client import Late, Udp, checked
from dns_lab import REGISTRY, Check, Lab, equal, expect
from dns_wire import (
    AD,
    AXFR,
    CD,
    CH,
    FORMERR,
    HEADER_BYTES,
    IN,
    IXFR,
    NOERROR,
    NOTIMP,
    QR,
    RD,
    REFUSED,
    A,
    Answer,
    WireError,
    name_wire,
    opt,
    packet,
    query,
    rcode_text,
    shown,
)

KNOWN = "a-one.kinds.alpha."
ADDRESS = "10.1.0.3"
SILENCE_SECONDS = 0.7
MUTANTS = 1500
MUTANTS_AT_ONCE = 100
NAME = name_wire(KNOWN)
TAIL = struct.pack("!HH", A, IN)


async def still_well(client: Udp) -> None:
    """Fail unless the lane answers an ordinary question rightly."""
    answer = await client.ask(KNOWN, "A")
    equal("an ordinary question afterwards", [ADDRESS], [str(rrset[0]) for rrset in answer.answer])


def header(data: bytes, asked: bytes) -> int:
    """Return the code of an answer of which only the header need be sound.

    Raises:
        WireError: it is no answer to the query.
    """
    if len(data) < HEADER_BYTES:
        raise WireError(f"an answer of {len(data)} bytes")
    number, flags = struct.unpack("!HH", data[:4])
    equal("id", struct.unpack("!H", asked[:2])[0], number)
    expect(flags & QR, f"QR is not set: {shown(data)}")
    equal("opcode", struct.unpack("!H", asked[2:4])[0] & 0x7800, flags & 0x7800)
    Answer(data)
    return int(flags & 15)


# --- malformed -------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, bytes] = {
    "no-question": packet(0, RD, (0, 0, 0, 0), b""),
    "question-missing": packet(0, RD, (1, 0, 0, 0), b""),
    "two-questions": packet(0, RD, (2, 0, 0, 0), (NAME + TAIL) * 2),
    "many-questions": packet(0, RD, (65_535, 0, 0, 0), NAME + TAIL),
    "name-cut": packet(0, RD, (1, 0, 0, 0), NAME[:5]),
    "name-without-end": packet(0, RD, (1, 0, 0, 0), NAME[:-1]),
    "no-type": packet(0, RD, (1, 0, 0, 0), NAME),
    "half-a-type": packet(0, RD, (1, 0, 0, 0), NAME + b"\0"),
    "no-class": packet(0, RD, (1, 0, 0, 0), NAME + TAIL[:2]),
    "half-a-class": packet(0, RD, (1, 0, 0, 0), NAME + TAIL[:3]),
    "label-of-64": packet(0, RD, (1, 0, 0, 0), b"\x40" + b"x" * 64 + b"\0" + TAIL),
    "label-type-10": packet(0, RD, (1, 0, 0, 0), b"\x80" + b"x" * 64 + b"\0" + TAIL),
    "name-of-256": packet(0, RD, (1, 0, 0, 0), (b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"x" * 62 + b"\0" + TAIL),
    "name-of-320": packet(0, RD, (1, 0, 0, 0), (b"\x3f" + b"x" * 63) * 5 + b"\0" + TAIL),
    "name-of-200-labels": packet(0, RD, (1, 0, 0, 0), b"\x01x" * 200 + b"\0" + TAIL),
    "pointer-to-itself": packet(0, RD, (1, 0, 0, 0), b"\xc0\x0c" + TAIL),
    "pointer-forward": packet(0, RD, (1, 0, 0, 0), b"\xc0\x12" + TAIL + NAME),
    "pointer-past-the-end": packet(0, RD, (1, 0, 0, 0), b"\xff\xff" + TAIL),
    "pointer-cut": packet(0, RD, (1, 0, 0, 0), b"\xc0"),
    "pointer-after-label-to-start": packet(0, RD, (1, 0, 0, 0), b"\x03www\xc0\x0c" + TAIL),
    "answer-promised": packet(0, RD, (1, 1, 0, 0), NAME + TAIL),
    "authority-promised": packet(0, RD, (1, 0, 1, 0), NAME + TAIL),
    "additional-promised": packet(0, RD, (1, 0, 0, 1), NAME + TAIL),
    "additional-cut": packet(0, RD, (1, 0, 0, 1), NAME + TAIL + opt()[:-3]),
    "opt-with-length-that-lies": packet(0, RD, (1, 0, 0, 1), NAME + TAIL + opt()[:-2] + b"\xff\xff"),
    "opt-option-that-is-cut": packet(0, RD, (1, 0, 0, 1), NAME + TAIL + opt(options=b"\0\x0a\0\x08abc")),
    "two-opt": packet(0, RD, (1, 0, 0, 2), NAME + TAIL + opt() * 2),
    "opt-with-a-name": packet(0, RD, (1, 0, 0, 1), NAME + TAIL + opt(owner=b"\1x\0")),
}


def malformed(data: bytes) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of a malformed packet: FORMERR, and the lane lives on."""

    async def run(lab: Lab) -> None:
        async with lab.udp() as client:
            asked = struct.pack("!H", 4321) + data[2:]
            try:
                found = header(await client.raw(asked, 3), asked)
            except Late:
                expect(lab.foreign, "expected FORMERR, got silence")
            else:
                equal("code", "FORMERR", rcode_text(found))
            await still_well(client)

    return run


for _name, _data in MALFORMED.items():
    REGISTRY.add(Check(f"malformed/{_name}", malformed(_data)))

SILENT: dict[str, bytes] = {
    "one-byte": b"\0",
    "eleven-bytes": query(KNOWN)[:11],
    "a-response": query(KNOWN, flags=RD | QR, number=5),
    "a-response-with-answer": packet(
        6, QR | RD, (1, 1, 0, 0), NAME + TAIL + b"\xc0\x0c" + TAIL + b"\0\0\0\x3c\0\4abcd"
    ),
    "a-response-without-question": packet(7, QR, (0, 0, 0, 0), b""),
}


def silent(data: bytes) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of a packet that must not be answered at all."""

    async def run(lab: Lab) -> None:
        async with lab.udp() as client:
            client.send(data)
            await client.silence(SILENCE_SECONDS)
            await still_well(client)

    return run


for _name, _data in SILENT.items():
    REGISTRY.add(Check(f"silence/{_name}", silent(_data)))


@REGISTRY.check("silence/empty-packet")
async def _empty(lab: Lab) -> None:
    async with lab.udp() as client:
        client.send(b"")
        await still_well(client)


@REGISTRY.check("malformed/trailing-bytes")
async def _trailing(lab: Lab) -> None:
    async with lab.udp() as client:
        asked = query(KNOWN, number=77) + b"\0\1\2\3trailing"
        found = header(await client.raw(asked), asked)
        expect(found in (NOERROR, FORMERR), f"expected NOERROR or FORMERR, got {rcode_text(found)}")
        await still_well(client)


# --- mutations -------------------------------------------------------------------------------------------------------


def mutants(seed: str, count: int) -> list[bytes]:
    """Return queries with random damage."""
    rng = random.Random(f"dns-resolver {seed}")
    sound = [
        query(KNOWN, "A", edns=opt(4096, options=b"\0\x0a\0\x08abcdefgh")),
        query("www.old.delta.", "TXT", edns=opt()),
        query("_sip._tcp.kinds.alpha.", "SRV"),
        packet(0, RD, (1, 1, 1, 1), NAME + TAIL + (b"\xc0\x0c" + TAIL + b"\0\0\0\x3c\0\4abcd") * 2 + opt()),
    ]
    found = []
    for number in range(count):
        data = bytearray(rng.choice(sound))
        for _ in range(rng.choice((1, 1, 2, 3, 8))):
            place = rng.randrange(2, len(data))
            damage = rng.randrange(5)
            if damage == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif damage == 1:
                data[place] = rng.choice((0, 1, 0x3F, 0x40, 0x80, 0xC0, 0xFF))
            elif damage == 2:
                del data[place:]
            elif damage == 3:
                data[place:place] = rng.randbytes(rng.randrange(1, 9))
            else:
                del data[place : place + rng.randrange(1, 5)]
            if len(data) < 13:
                break
        if len(data) > 2:
            data[2] &= 0x87  # only queries: other opcodes have their own checks
        data[:2] = struct.pack("!H", number + 1)
        found.append(bytes(data))
    return found


@REGISTRY.check("mutations/1500-damaged-queries", alone=True, seconds=60)
async def _mutations(lab: Lab) -> None:
    async with lab.udp() as client, lab.udp() as witness:
        broken = mutants("mutations", MUTANTS)
        by_number = {data[:2]: data for data in broken}
        for start in range(0, len(broken), MUTANTS_AT_ONCE):
            for data in broken[start : start + MUTANTS_AT_ONCE]:
                client.send(data)
            await still_well(witness)
            while not client.others.empty():
                answer = client.others.get_nowait()
                asked = by_number.get(answer[:2])
                if asked is not None:
                    header(answer, asked)
                    expect(not asked[2] & 0x80, f"a response to a response: {shown(asked)}")


@REGISTRY.check("mutations/random-bytes", alone=True, seconds=60)
async def _random_bytes(lab: Lab) -> None:
    rng = random.Random("dns-resolver random bytes")
    async with lab.udp() as client, lab.udp() as witness:
        for _ in range(10):
            for _ in range(MUTANTS_AT_ONCE):
                client.send(rng.randbytes(rng.choice((12, 13, 20, 40, 100, 512, 1400))))
            await still_well(witness)


# --- what a resolver does not do -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Refusal:
    """A question that is not answered, and the code that says so."""

    rcode: int
    kind: str | int = "A"
    klass: int = IN
    opcode: int = 0
    name: str = KNOWN
    flags: int = RD


REFUSALS: dict[str, Refusal] = {
    "any": Refusal(NOTIMP, "ANY"),
    "axfr": Refusal(NOTIMP, AXFR),
    "ixfr": Refusal(NOTIMP, IXFR),
    "class-chaos": Refusal(REFUSED, klass=CH),
    "class-hesiod": Refusal(REFUSED, klass=4),
    "class-any": Refusal(REFUSED, klass=255),
    "class-0": Refusal(REFUSED, klass=0),
    "version-bind": Refusal(REFUSED, "TXT", CH, name="version.bind."),
    "version-server": Refusal(REFUSED, "TXT", CH, name="version.server."),
    "hostname-bind": Refusal(REFUSED, "TXT", CH, name="hostname.bind."),
    "opcode-iquery": Refusal(NOTIMP, opcode=1),
    "opcode-status": Refusal(NOTIMP, opcode=2),
    "opcode-notify": Refusal(NOTIMP, "SOA", opcode=4, name="kinds.alpha."),
    "opcode-update": Refusal(NOTIMP, "SOA", opcode=5, name="kinds.alpha."),
    "opcode-15": Refusal(NOTIMP, opcode=15),
    "nothing-cached-without-rd": Refusal(REFUSED, name="never-asked-before.kinds.alpha.", flags=0),
}


def refusal(one: Refusal) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of a question that is not answered."""

    async def run(lab: Lab) -> None:
        async with lab.udp() as client:
            flags = one.flags | one.opcode << 11
            asked = query(one.name, one.kind, number=99, flags=flags, klass=one.klass)
            data = await client.raw(asked, 5)
            equal("code", rcode_text(one.rcode), rcode_text(header(data, asked)))
            equal("answers", 0, Answer(data).counts[1])
            if one.opcode == 0:
                checked(asked, data)
            await still_well(client)

    return run


for _name, _refusal in REFUSALS.items():
    REGISTRY.add(Check(f"refused/{_name}", refusal(_refusal)))


# --- flags -----------------------------------------------------------------------------------------------------------


@REGISTRY.check("flags/rd-0-is-answered-from-the-cache")
async def _from_cache(lab: Lab) -> None:
    client = await lab.tree()
    await client.ask("txt.kinds.alpha.", "TXT")
    answer = await client.ask("txt.kinds.alpha.", "TXT", flags=0)
    equal("code", "NOERROR", rcode_text(answer.rcode))
    equal("answers", 1, len(answer.answer))
    expect(not answer.flags & RD, "RD is set in the answer, it was not in the query")
    expect(answer.flags & 0x80, "RA is not set")


@REGISTRY.check("flags/rd-0-asks-nobody")
async def _rd_asks_nobody(lab: Lab) -> None:
    place = await lab.world.place("rd")
    name = place.add("www", "A", "10.0.0.1")
    answer = await (await lab.wild()).ask(name, "A", flags=0)
    equal("code", "REFUSED", rcode_text(answer.rcode))
    equal("queries that reached the zone", 0, len(place.log))


@REGISTRY.check("flags/ad-and-z-are-0-cd-is-copied")
async def _copied(lab: Lab) -> None:
    client = await lab.tree()
    for sent in (RD, RD | CD, RD | AD, RD | AD | CD, RD | 0x0040):
        answer = await client.ask(KNOWN, "A", flags=sent)
        equal(f"CD of a query with flags {sent:04x}", sent & CD, answer.flags & CD)
        expect(not answer.flags & 0x0040, f"Z is set in {answer.flags:04x}")
        expect(lab.foreign or not answer.flags & AD, f"AD is set in {answer.flags:04x}, nothing was validated")


@REGISTRY.check("flags/aa-and-tc-of-a-query-do-not-matter")
async def _odd_flags(lab: Lab) -> None:
    client = await lab.tree()
    for sent in (RD | 0x0400, RD | 0x0080, RD | 0x000F):
        asked = query(KNOWN, "A", number=client.number(), flags=sent)
        answer = checked(asked, await client.raw(asked))
        expect(answer.rcode in (NOERROR, FORMERR), f"flags {sent:04x}: {rcode_text(answer.rcode)}")


# --- EDNS and sizes --------------------------------------------------------------------------------------------------


@REGISTRY.check("edns/none-asked-none-given")
async def _no_edns(lab: Lab) -> None:
    answer = await (await lab.tree()).ask(KNOWN, "A")
    expect(not answer.edns, "an OPT record in the answer to a query without")
    answer = await (await lab.tree()).ask(KNOWN, "A", edns=opt())
    expect(answer.edns, "no OPT record in the answer to a query with one")
    equal("EDNS version", 0, answer.message.edns)


@REGISTRY.check("edns/do-asks-for-signatures-that-nobody-made")
async def _do(lab: Lab) -> None:
    answer = await (await lab.tree()).ask(KNOWN, "A", edns=opt(flags=0x8000))
    equal("answers", 1, len(answer.answer))


@REGISTRY.check("edns/unknown-options-are-ignored")
async def _options(lab: Lab) -> None:
    for options in (b"\xff\x00\x00\x03abc", b"\0\x0a\0\x08abcdefgh", b"\0\x0c\0\x20" + bytes(32), b"\xfd\xe9\0\0" * 20):
        answer = await (await lab.tree()).ask(KNOWN, "A", edns=opt(options=options))
        equal("code", NOERROR, answer.rcode)


@REGISTRY.check("edns/version-1-gets-badvers")
async def _badvers(lab: Lab) -> None:
    asked = query(KNOWN, "A", number=11, edns=opt(version=1))
    async with lab.udp() as client:
        answer = checked(asked, await client.raw(asked))
        equal("code", "BADVERS", rcode_text(answer.rcode))
        equal("version that is offered", 0, answer.message.edns)


@REGISTRY.check("edns/empty-nodata-and-failures-have-opt-too")
async def _opt_everywhere(lab: Lab) -> None:
    client = await lab.tree()
    for name, kind in (("none.kinds.alpha.", "A"), (KNOWN, "MX"), ("self.loop.beta.", "A"), (KNOWN, "ANY")):
        answer = await client.ask(name, kind, edns=opt())
        expect(answer.edns, f"{name} {kind}: no OPT record in {answer}")


def size_check(name: str, kind: str, size: int | None) -> Callable[[Lab], Awaitable[None]]:
    """Return the check that an answer fits what the client takes, and is whole where it fits."""

    async def run(lab: Lab) -> None:
        edns = None if size is None else opt(size)
        limit = max(512, size or 0)
        async with lab.tcp() as connection:
            whole = await connection.ask(name, kind, edns=edns)
        expect(not whole.truncated, "TC over TCP")
        answer = await (await lab.tree()).ask(name, kind, edns=edns)
        expect(len(answer.data) <= limit, f"{len(answer.data)} bytes for a client that takes {limit}")
        fits = smallest(whole) <= min(limit, 1232)
        if fits and not lab.foreign:
            expect(not answer.truncated, f"TC, although {smallest(whole)} bytes fit into {limit}")
        if not answer.truncated:
            expected = lab.model.resolve(name, kind).shape
            equal("answer", expected, answer.shape(name, kind))
        else:
            Answer(answer.data)

    return run


def smallest(answer: Answer) -> int:
    """Return about how many bytes an answer needs where names are compressed as far as they can be."""
    message = dns.message.from_wire(answer.data)
    message.authority.clear()
    return len(message.to_wire(max_size=65_535))


for _size in (None, 0, 512, 513, 1232, 4096, 65_535):
    for _name, _kind in (
        ("a20.big.delta.", "A"),
        ("a28.big.delta.", "A"),
        ("a70.big.delta.", "A"),
        ("a1000.big.delta.", "A"),
        ("txt2.big.delta.", "TXT"),
        ("txt5.big.delta.", "TXT"),
        ("txt200.big.delta.", "TXT"),
        ("mx60.big.delta.", "MX"),
        ("txt-long.big.delta.", "TXT"),
    ):
        _label = "no-edns" if _size is None else f"{_size}"
        REGISTRY.add(Check(f"size/{_label}/{_name.partition('.')[0]}", size_check(_name, _kind, _size)))


@REGISTRY.check("size/names-are-compressed")
async def _compressed(lab: Lab) -> None:
    answer = await (await lab.tree()).ask("a20.big.delta.", "A")
    expect(not answer.truncated, "20 addresses do not fit into 512 bytes: names are not compressed")
    asked = await (await lab.tree()).ask("www.hop5.beta.", "A", edns=opt(4096))
    most = smallest(asked) * 2
    expect(len(asked.data) <= most, f"{len(asked.data)} bytes for a chain that takes {smallest(asked)} compressed")


@REGISTRY.check("size/truncated-has-no-half-rrset")
async def _no_half(lab: Lab) -> None:
    answer = await (await lab.tree()).ask("a1000.big.delta.", "A")
    expect(answer.truncated, "1000 addresses in 512 bytes without TC")
    equal("code", NOERROR, answer.rcode)
