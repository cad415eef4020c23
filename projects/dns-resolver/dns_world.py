"""Name servers of our own, which answer as a check tells them: rightly, wrongly, late, or not at all.

A Place is a zone directly below a root of our own, with loopback addresses that nobody else uses. Every query that
reaches it is kept. Without a script it answers from its records as a sound name server does.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.exception
import dns.message
import dns.name
from dns_program import PORT_OF_DNS, common_port
from dns_wire import AA, CNAME, IN, NOERROR, NS, NXDOMAIN, QR, TC, end_of_question, kind_number, opt, packed, packet

ROOTS = ("127.9.0.1", "127.9.0.2")
TTL = 3600
UDP_BYTES = 512
MOST_BYTES = 65_535
Address = tuple[str, int]


@dataclass
class Asked:
    """One query that reached one of our servers."""

    place: Place
    data: bytes
    server: str
    source: Address
    tcp: bool
    when: float
    name: dns.name.Name
    kind: int
    edns: bool
    size: int
    write: Callable[[bytes], None]
    """Send bytes back the way the query came, as they are."""
    close: Callable[[], None]

    @property
    def number(self) -> int:
        """The id of the query."""
        return int(struct.unpack("!H", self.data[:2])[0])

    @property
    def text(self) -> str:
        """Return the name in lower case."""
        return self.name.to_text().lower()

    @property
    def question(self) -> bytes:
        """The question as it was asked, to the byte."""
        return self.data[12 : end_of_question(self.data)]

    def reply(
        self,
        *answers: str | bytes,
        authority: Iterable[str | bytes] = (),
        additional: Iterable[str | bytes] = (),
        rcode: int = NOERROR,
        flags: int = AA,
        number: int | None = None,
        question: bytes | None = None,
        edns: bool = True,
    ) -> bytes:
        """Return an answer; what is not said is as it should be."""
        sections = [packed(answers), packed(authority), packed(additional)]
        if edns and self.edns:
            sections[2].append(opt())
        counts = (1, *(len(section) for section in sections))
        body = (self.question if question is None else question) + b"".join(b"".join(one) for one in sections)
        return packet(self.number if number is None else number, QR | flags | rcode, counts, body)

    def send(self, data: bytes) -> None:
        """Send an answer."""
        self.write(struct.pack("!H", len(data)) + data if self.tcp else data)

    def send_later(self, seconds: float, data: bytes) -> None:
        """Send an answer after a while."""
        asyncio.get_running_loop().call_later(seconds, self.send, data)

    def answer_rightly(self) -> None:
        """Answer from the records of the place."""
        data = self.place.sound(self)
        limit = MOST_BYTES if self.tcp else max(UDP_BYTES, self.size)
        self.send(data if len(data) <= limit else self.reply(flags=AA | TC))


Script = Callable[[Asked], bytes | Sequence[bytes] | None]


@dataclass
class Place:
    """A zone with servers of its own."""

    world: World
    zone: str
    addresses: list[str]
    script: Script | None = None
    records: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    minimum: int = 60
    servers: list[tuple[str, str | None]] = field(default_factory=list)
    """What the root says: names of the servers, and their glue."""
    ttl: int = TTL

    def add(self, label: str, kind: str, *data: str, ttl: int = TTL) -> str:
        """Add records; return the owner."""
        owner = self.at(label)
        key = (owner.lower(), kind_number(kind))
        self.records.setdefault(key, []).extend(f"{owner} {ttl} {kind} {one}" for one in data)
        return owner

    def at(self, label: str) -> str:
        """Return a name in the zone."""
        return self.zone if label == "@" else f"{label}.{self.zone}"

    def asked(self, name: str, kind: str | int | None = None) -> list[Asked]:
        """Return the queries for a name."""
        wanted = None if kind is None else kind_number(kind)
        return [one for one in self.log if one.text == name.lower() and wanted in (None, one.kind)]

    def soa(self, ttl: int | None = None) -> str:
        """Return the SOA as a record."""
        life = self.minimum if ttl is None else ttl
        home = "root." if self.zone == "." else self.zone
        return f"{self.zone} {life} SOA ns1.{home} hostmaster.{home} 1 7200 900 1209600 {self.minimum}"

    def sound(self, asked: Asked) -> bytes:
        """Return what a sound server of this zone answers."""
        found: list[str] = []
        name = asked.text
        for _ in range(20):
            alias = self.records.get((name, CNAME))
            if alias is None or asked.kind == CNAME:
                break
            found += alias
            name = alias[0].rpartition(" ")[2].lower()
        records = self.records.get((name, asked.kind), [])
        if name == self.zone and asked.kind == NS:
            records = [f"{name} {self.ttl} NS {server}" for server, _ in self.servers]
        if records or (found and not name.endswith(self.zone)):
            return asked.reply(*found, *records)
        known = name == self.zone or any(owner == name or owner.endswith("." + name) for owner, _ in self.records)
        return asked.reply(*found, authority=[self.soa()], rcode=NOERROR if known else NXDOMAIN)

    def receive(self, asked: Asked) -> None:
        """Answer a query."""
        self.log.append(asked)
        if self.script is None:
            asked.answer_rightly()
            return
        said = self.script(asked)
        for data in [said] if isinstance(said, bytes) else said or ():
            asked.send(data)


class _Socket(asyncio.DatagramProtocol):
    """A UDP socket of a place."""

    def __init__(self, place: Place, server: str) -> None:
        self.place = place
        self.server = server
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # in Python 3.11 it does not say so itself

    def datagram_received(self, data: bytes, addr: Address) -> None:
        transport = self.transport
        assert transport is not None
        self.place.world.take(
            self.place, data, self.server, addr, lambda reply: transport.sendto(reply, addr), None, tcp=False
        )


class World:
    """The root of our own and all places."""

    def __init__(self, port: int | None) -> None:
        """Choose a port that is free at many addresses."""
        first = 20_053 if port is None else port
        self.port = common_port([*ROOTS, "127.9.1.1", "127.9.1.2"], first=first)
        self.root = Place(self, ".", list(ROOTS), script=self._refer)
        self.places: dict[str, Place] = {}
        self.transports: dict[str, asyncio.DatagramTransport] = {}
        self.listeners: list[asyncio.Server] = []
        self.violations: list[str] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.given = 0
        self.made = 0

    def hints(self) -> str:
        """Return the hints that lead here."""
        servers = [(f"{letter}.root.", address) for letter, address in zip("ab", ROOTS, strict=True)]
        return "".join(f". 3600 IN NS {name}\n{name} 3600 IN A {address}\n" for name, address in servers)

    @property
    def dns_port(self) -> bool:
        """Whether everything is at the port of DNS."""
        return self.port == PORT_OF_DNS

    async def open(self) -> None:
        """Listen at the addresses of the root."""
        for address in ROOTS:
            await self._listen(self.root, address)

    async def close(self) -> None:
        """Close everything."""
        for task in self.tasks:
            task.cancel()
        for transport in self.transports.values():
            transport.close()
        for listener in self.listeners:
            listener.close()

    async def place(
        self,
        label: str,
        script: Script | None = None,
        *,
        servers: int = 1,
        minimum: int = 60,
        ttl: int = TTL,
        silent: int = 0,
    ) -> Place:
        """Add a zone of a new name; the last `silent` of its servers have an address at which nobody listens."""
        self.made += 1
        zone = f"{label}-{self.made}."
        addresses = [self.address() for _ in range(servers)]
        place = Place(self, zone, addresses, script, minimum=minimum, ttl=ttl)
        place.servers = [(f"ns{number}.{zone}", address) for number, address in enumerate(addresses, 1)]
        self.places[zone] = place
        for address in addresses[: servers - silent]:
            await self._listen(place, address)
        return place

    def address(self) -> str:
        """Return an address that nobody has."""
        self.given += 1
        return f"127.9.{1 + self.given // 250}.{1 + self.given % 250}"

    async def _listen(self, place: Place, address: str) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(place, address), local_addr=(address, self.port)
        )
        self.transports[address] = transport

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                source: Address = writer.get_extra_info("peername")
                while True:
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(size)
                    self.take(place, data, address, source, writer.write, writer.close, tcp=True)
            with contextlib.suppress(OSError):
                writer.close()

        self.listeners.append(await asyncio.start_server(connected, address, self.port))

    def take(
        self,
        place: Place,
        data: bytes,
        server: str,
        source: Address,
        write: Callable[[bytes], None],
        close: Callable[[], None] | None,
        *,
        tcp: bool,
    ) -> None:
        """Look at a query and hand it to its place."""
        try:
            message = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError, struct.error) as error:
            self.violations.append(f"malformed query to a server ({type(error).__name__}): {data.hex()}")
            return
        if problem := unsound(data, message):
            self.violations.append(f"{problem}: {data.hex()}")
        if not message.question:
            return
        first = message.question[0]
        asked = Asked(
            place, data, server, source, tcp, time.monotonic(), first.name, int(first.rdtype), message.edns >= 0,
            int(message.payload), write, close or (lambda: None),
        )  # fmt: skip
        place.receive(asked)

    def _refer(self, asked: Asked) -> bytes:
        """Answer as the root does: with the delegation of a place."""
        if asked.text == ".":
            servers = [(f"{letter}.root.", address) for letter, address in zip("ab", ROOTS, strict=True)]
            if asked.kind == NS:
                glue = [f"{name} {TTL} A {address}" for name, address in servers]
                return asked.reply(*(f". {TTL} NS {name}" for name, _ in servers), additional=glue)
            return asked.reply(authority=[self.root.soa(60)])
        zone = asked.text.rstrip(".").rpartition(".")[2] + "."
        place = self.places.get(zone)
        if place is None:
            own = {f"{letter}.root.": address for letter, address in zip("ab", ROOTS, strict=True)}
            if asked.text in own and asked.kind == 1:
                return asked.reply(f"{asked.text} {TTL} A {own[asked.text]}")
            return asked.reply(authority=[self.root.soa(60)], rcode=NOERROR if asked.text in own else NXDOMAIN)
        return refer(asked, zone, place.servers, ttl=place.ttl)

    def spoof(self, server: str, target: Address, data: bytes) -> None:
        """Send a packet from the address of some server."""
        self.transports[server].sendto(data, target)


def refer(asked: Asked, zone: str, servers: Sequence[tuple[str, str | None]], *, ttl: int = TTL) -> bytes:
    """Return a delegation."""
    glue = [f"{name} {ttl} A {address}" for name, address in servers if address]
    return asked.reply(authority=[f"{zone} {ttl} NS {name}" for name, _ in servers], additional=glue, flags=0)


def unsound(data: bytes, message: dns.message.Message) -> str | None:
    """Return what is wrong with a query of a resolver to a name server."""
    flags, questions, answers, authority, additional = struct.unpack("!5H", data[2:12])
    if flags & ~0x0010:
        return f"a query of a resolver with flags {flags:04x}, expected none (CD may be set)"
    if (questions, answers, authority) != (1, 0, 0) or additional > 1:
        return f"a query with counts {(questions, answers, authority, additional)}, expected (1, 0, 0, 0 or 1)"
    if int(message.question[0].rdclass) != IN:
        return "a query of another class than IN"
    if additional and message.edns < 0:
        return "an additional record that is no OPT"
    if message.edns > 0 or message.ednsflags & 0x8000:
        return f"EDNS version {message.edns}, flags {message.ednsflags:04x}, expected version 0 and DO=0"
    return None
