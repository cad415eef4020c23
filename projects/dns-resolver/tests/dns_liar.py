"""A relay before a sound resolver that plants one fault in what passes."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Address = tuple[str, int]
Fault = Callable[[dns.message.Message, dns.message.Message], None]
"""Changes an answer, given the query."""


def _sections(answer: dns.message.Message) -> list[dns.rrset.RRset]:
    return [*answer.answer, *answer.authority]


def _final(answer: dns.message.Message) -> dns.rrset.RRset | None:
    return answer.answer[-1] if answer.answer else None


def _aa(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.flags |= dns.flags.AA


def _no_ra(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.flags &= ~dns.flags.RA


def _lower(_: dns.message.Message, answer: dns.message.Message) -> None:
    for rrset in answer.question:
        rrset.name = dns.name.from_text(rrset.name.to_text().lower())


def _fixed_ttl(_: dns.message.Message, answer: dns.message.Message) -> None:
    for rrset in _sections(answer):
        rrset.ttl = 300


def _long_ttl(_: dns.message.Message, answer: dns.message.Message) -> None:
    for rrset in _sections(answer):
        rrset.ttl += 100_000


def _no_soa(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.authority.clear()


def _lost_record(_: dns.message.Message, answer: dns.message.Message) -> None:
    final = _final(answer)
    if final is not None and len(final) > 1:
        final.items.popitem()


def _doubled_chain(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.answer.reverse()


def _stranger(query: dns.message.Message, answer: dns.message.Message) -> None:
    if query.question and answer.answer:
        answer.answer.append(dns.rrset.from_text("stranger.example.", 60, "IN", "A", "10.9.9.9"))


def _nxdomain(_: dns.message.Message, answer: dns.message.Message) -> None:
    if not answer.answer and answer.rcode() == dns.rcode.NOERROR:
        answer.set_rcode(dns.rcode.NXDOMAIN)


def _nodata(_: dns.message.Message, answer: dns.message.Message) -> None:
    if answer.rcode() == dns.rcode.NXDOMAIN:
        answer.set_rcode(dns.rcode.NOERROR)


def _no_servfail(_: dns.message.Message, answer: dns.message.Message) -> None:
    if answer.rcode() == dns.rcode.SERVFAIL:
        answer.set_rcode(dns.rcode.NXDOMAIN)


def _other_id(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.id ^= 1


def _opt(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.use_edns(0)


def _no_opt(_: dns.message.Message, answer: dns.message.Message) -> None:
    answer.use_edns(-1)


def _one_alias(_: dns.message.Message, answer: dns.message.Message) -> None:
    if len(answer.answer) > 2:
        del answer.answer[1]


def _none(_: dns.message.Message, answer: dns.message.Message) -> None:
    del answer


FAULTS: dict[str, tuple[str, Fault]] = {
    "sets-aa": ("kinds/a-one.kinds.alpha. MX", _aa),
    "clears-ra": ("kinds/a-one.kinds.alpha. MX", _no_ra),
    "lowers-the-question": ("case/question-is-repeated-as-asked", _lower),
    "ttl-stands-still": ("cache/counts-down", _fixed_ttl),
    "ttl-too-long": ("zone/kinds.alpha.", _long_ttl),
    "no-soa": ("negative/none.negative-low.alpha. A", _no_soa),
    "loses-a-record": ("zone/kinds.alpha.", _lost_record),
    "chain-upside-down": ("aliases/c5.chain.alpha. A", _doubled_chain),
    "leaves-out-an-alias": ("aliases/c5.chain.alpha. A", _one_alias),
    "adds-a-stranger": ("wildcards/x.wild.gamma. A", _stranger),
    "nxdomain-for-no-data": ("wildcards/ent.wild.gamma. A", _nxdomain),
    "no-data-for-nxdomain": ("names/nope.empty.non.terminal.names.beta. A", _nodata),
    "hides-failures": ("hopeless/www.lame-all.alpha. A", _no_servfail),
    "opt-unasked": ("edns/none-asked-none-given", _opt),
    "never-opt": ("zone/kinds.alpha.", _no_opt),
    "never-truncates": ("size/512/a1000", _none),
    "answers-responses": ("silence/a-response", _none),
    "one-tcp-answer-a-connection": ("tcp/one-question", _none),
    "tcp-in-order": ("tcp/slow-questions-do-not-hold-up-others", _none),
}
"""Fault -> the check that must notice it, and what it does to an answer."""
PASSES_RESPONSES = "answers-responses"


class Relay(asyncio.DatagramProtocol):
    """UDP and TCP at one port; everything is asked of the sound resolver over TCP or UDP."""

    def __init__(self, fault: str, behind: int) -> None:
        """Take a fault and the port of the sound resolver."""
        self.fault = fault
        self.change = FAULTS[fault][1]
        self.behind = ("127.0.0.1", behind)
        self.transport: asyncio.DatagramTransport | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.server: asyncio.Server | None = None

    async def open(self, port: int) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))
        self.server = await asyncio.start_server(self.connected, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.DatagramTransport", transport)  # in Python 3.11 it does not say so itself

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer a packet in a task of its own."""
        task = asyncio.ensure_future(self.packet(data, addr))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def packet(self, data: bytes, source: Address) -> None:
        """Ask and send what comes."""
        assert self.transport is not None
        if len(data) > 2 and data[2] & 0x80:
            if self.fault != PASSES_RESPONSES:
                return
            data = data[:2] + bytes([data[2] & 0x7F]) + data[3:]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if self.fault == "never-truncates":
                answer = await self.over_tcp(data)
            else:
                answer = await self.over_udp(data)
            self.transport.sendto(self.changed(data, answer), source)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer on a connection, each query in a task of its own where that is sound."""

        async def one(data: bytes) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                answer = self.changed(data, await self.over_tcp(data))
                writer.write(struct.pack("!H", len(answer)) + answer)

        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                data = await reader.readexactly(size)
                if self.fault in ("tcp-in-order", "one-tcp-answer-a-connection"):
                    await one(data)
                else:
                    task = asyncio.ensure_future(one(data))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
                if self.fault == "one-tcp-answer-a-connection":
                    break
        writer.close()

    async def over_tcp(self, data: bytes) -> bytes:
        """Ask the sound resolver over TCP."""
        reader, writer = await asyncio.open_connection(*self.behind)
        try:
            writer.write(struct.pack("!H", len(data)) + data)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(size)
        finally:
            writer.close()

    async def over_udp(self, data: bytes) -> bytes:
        """Ask the sound resolver over UDP."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[bytes] = loop.create_future()

        class Once(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Address) -> None:
                del addr
                if not found.done():
                    found.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Once, remote_addr=self.behind)
        try:
            transport.sendto(data)
            async with asyncio.timeout(30):
                return await found
        except TimeoutError:
            raise OSError("no answer") from None
        finally:
            transport.close()

    def changed(self, asked: bytes, answer: bytes) -> bytes:
        """Return an answer with the fault in it."""
        if self.change is _none:
            return answer
        try:
            query, message = dns.message.from_wire(asked), dns.message.from_wire(answer)
        except dns.exception.DNSException:
            return answer
        self.change(query, message)
        return message.to_wire(max_size=65_535)
