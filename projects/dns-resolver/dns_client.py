"""Clients of a resolver over UDP and TCP that control every byte."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import dns.name
from dns_wire import RD, Answer, WireError, end_of_question, query, shown

ASK_SECONDS = 20.0
Address = tuple[str, int]


class Late(Exception):  # noqa: N818 - a check that failed for its time
    """Something did not come in time, which a busy machine may be to blame for."""


class Udp(asyncio.DatagramProtocol):
    """One socket that is connected to a resolver."""

    def __init__(self) -> None:
        """Begin with nothing asked."""
        self.waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self.others: asyncio.Queue[bytes] = asyncio.Queue()
        self.transport: asyncio.DatagramTransport | None = None
        self.numbers = random.Random("numbers of queries")
        self.refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.DatagramTransport", transport)  # in Python 3.11 it does not say so itself

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Give an answer to whoever waits for its number."""
        del addr
        waiting = self.waiting.pop(data[:2], None)
        if waiting is not None and not waiting.done():
            waiting.set_result(data)
        else:
            self.others.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """Notice that nobody listens."""
        self.refused = isinstance(exc, ConnectionRefusedError)
        if self.refused:
            for waiting in self.waiting.values():
                if not waiting.done():
                    waiting.set_exception(Late("nobody listens at the resolver's port"))
            self.waiting.clear()

    def send(self, data: bytes) -> None:
        """Send a packet and expect nothing."""
        assert self.transport is not None
        self.transport.sendto(data)

    def number(self) -> int:
        """Return a number that nobody waits for."""
        while True:
            number = self.numbers.randrange(1, 1 << 16)
            if struct.pack("!H", number) not in self.waiting:
                return number

    async def raw(self, data: bytes, seconds: float = ASK_SECONDS) -> bytes:
        """Send a packet; return the packet with the same number that comes back."""
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting[data[:2]] = waiting
        self.send(data)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError:
            raise Late(f"no answer within {seconds:g} s to {shown(data)}") from None
        finally:
            self.waiting.pop(data[:2], None)

    async def ask(
        self,
        name: str | dns.name.Name,
        kind: str | int = "A",
        *,
        flags: int = RD,
        edns: bytes | None = None,
        seconds: float = ASK_SECONDS,
    ) -> Answer:
        """Ask a question; return the answer, of which id, question and QR are right."""
        data = query(name, kind, number=self.number(), flags=flags, edns=edns)
        try:
            return checked(data, await self.raw(data, seconds))
        except Late as error:
            raise Late(f"{name} {kind}: no answer within {seconds:g} s ({error})") from None

    async def silence(self, seconds: float) -> None:
        """Wait; raise where a packet comes that nobody waits for.

        Raises:
            WireError: a packet came.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                data = await self.others.get()
                raise WireError(f"expected silence, got {shown(data)}")

    def close(self) -> None:
        """Close the socket."""
        if self.transport is not None:
            self.transport.close()


def checked(asked: bytes, data: bytes) -> Answer:
    """Return a parsed answer that repeats number and question of the query.

    Raises:
        WireError: it does not.
    """
    answer = Answer(data)
    end = end_of_question(asked)
    if not answer.flags & 0x8000:
        raise WireError(f"QR is not set: {shown(data)}")
    if data[:2] != asked[:2]:
        raise WireError(f"id: expected {asked[:2].hex()}, got {data[:2].hex()}")
    if answer.counts[0] != 1 or data[12:end] != asked[12:end]:
        raise WireError(f"question: expected {shown(asked[12:end])}, got {shown(data[12:end])}")
    return answer


@asynccontextmanager
async def udp(address: Address) -> AsyncIterator[Udp]:
    """Open a socket that is connected to a resolver."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_datagram_endpoint(Udp, remote_addr=address)
    try:
        yield client
    finally:
        client.close()


class Tcp:
    """One connection to a resolver."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send a message."""
        self.writer.write(struct.pack("!H", len(data)) + data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    async def receive(self, seconds: float = ASK_SECONDS) -> bytes:
        """Return the next message.

        Raises:
            WireError: the connection ended.
            Late: none came.
        """
        try:
            async with asyncio.timeout(seconds):
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                return await self.reader.readexactly(size)
        except TimeoutError:
            raise Late(f"no message over TCP within {seconds:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WireError(f"the connection ended ({type(error).__name__})") from None

    async def ask(
        self,
        name: str | dns.name.Name,
        kind: str | int = "A",
        *,
        number: int = 7,
        edns: bytes | None = None,
        seconds: float = ASK_SECONDS,
    ) -> Answer:
        """Ask one question and return its answer."""
        data = query(name, kind, number=number, edns=edns)
        self.send(data)
        return checked(data, await self.receive(seconds))

    async def ask_all(self, asked: Sequence[bytes], seconds: float = ASK_SECONDS) -> dict[bytes, bytes]:
        """Send queries at once; return the answers by number."""
        self.writer.write(b"".join(struct.pack("!H", len(data)) + data for data in asked))
        found = [await self.receive(seconds) for _ in asked]
        return {data[:2]: data for data in found}

    async def closed(self, seconds: float) -> bool:
        """Whether the resolver closes the connection in time."""
        try:
            async with asyncio.timeout(seconds):
                while await self.reader.read(4096):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True

    async def close(self) -> None:
        """Close the connection."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def tcp(address: Address) -> AsyncIterator[Tcp]:
    """Open a connection to a resolver."""
    reader, writer = await asyncio.open_connection(*address)
    client = Tcp(reader, writer)
    try:
        yield client
    finally:
        await client.close()
