"""The rooms of toy_chat.py, and what all its clients share."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Protocol

import toy_wire as wire
from toy_wire import LIE, Options

COUNTERS = (
    *("connects_total", "messages_offered_total", "messages_accepted_total", "messages_refused_total"),
    *("deliveries_total", "deliveries_dropped_total", "slow_consumers_total", "protocol_errors_total"),
    "ping_timeouts_total",
)


class Member(Protocol):
    """What a room knows of a client."""

    nick: str
    held: bytes

    def push(self, data: bytes, chats: int = 0) -> None:
        """Queue a frame."""

    def close(self, code: int, reason: str) -> None:
        """Queue a close frame."""


class Room:
    """Members, and what was said."""

    def __init__(self, name: str, kept: int) -> None:
        """Start empty."""
        self.name = name
        self.members: list[Member] = []
        self.seq = 0
        self.past: deque[bytes] = deque(maxlen=max(0, kept - (LIE == "history-short")))
        self.told = 0.0
        self.timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Tell the members how many they are, now or later."""
        if self.timer or LIE == "no-presence":
            return
        wait = self.told + (0.1 if LIE == "presence-too-often" else 1.0) - time.monotonic()
        if wait <= 0:
            self.tell()
        else:
            self.timer = asyncio.get_running_loop().call_later(wait, self.tell)

    def tell(self) -> None:
        """Send presence."""
        self.timer, self.told = None, time.monotonic()
        for member in self.members:
            member.push(wire.encode(type="presence", room=self.name, members=len(self.members)))


class Server:
    """Everything."""

    def __init__(self, options: Options) -> None:
        """Start without clients."""
        self.options = options
        self.rooms: dict[str, Room] = {}
        self.clients: set[Member] = set()
        self.taken = 0
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.draining = False
        self.draw = random.Random(3)
        self.tokens: list[float] = [options["burst"], time.monotonic()]
        self.seq = 0

    def metrics(self) -> str:
        """Show the counters."""
        gauges = {
            "connections": len(self.clients),
            "rooms": len(self.rooms),
            "members": sum(len(room.members) for room in self.rooms.values()),
        }
        return "".join(f"chat_{name} {value}\n" for name, value in {**gauges, **self.counts}.items())

    def deliver(self, room: Room, sender: Member, text: str) -> None:
        """Send a text to all others."""
        frame = wire.encode(type="chat", room=room.name, nick=sender.nick, seq=room.seq, text=text)
        receivers = [member for member in room.members if member is not sender or LIE == "echoes-to-sender"]
        if LIE == "leaks-to-rooms":
            receivers += [member for other in self.rooms.values() if other is not room for member in other.members]
        room.past.append(frame)
        for member in receivers:
            if LIE == "drops" and self.draw.random() < 0.0005:
                continue
            if LIE == "reorders" and self.draw.random() < 0.001 and not member.held:
                member.held = frame
                continue
            member.push(frame, chats=1)
            if member.held:
                member.push(member.held, chats=1)
                member.held = b""
            if LIE == "doubles" and self.draw.random() < 0.0005:
                member.push(frame)
