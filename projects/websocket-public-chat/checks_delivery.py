"""Who gets what: many clients in many rooms, a plan from a seed, every text accounted for, and the counters exact.

A text names its sender and its number in the sender's plan, so that loss, doubles, strays and disorder have names.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import chat_wire as wire
from chat_client import Ended, Member, library
from chat_lab import REGISTRY, CheckError, Lab, Server, equal, expect

CLIENTS = 50
ROOMS = ("red", "green", "blue")
MESSAGES = 2000
LEAVERS = 15
QUIET_SECONDS = 0.3


@dataclass
class Listener:
    """A member that reads all the time, in a task of its own."""

    member: Member
    task: asyncio.Task[None] = field(init=False)
    stopped: bool = False
    fault: str | None = None

    def __post_init__(self) -> None:
        """Begin to read."""
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        try:
            while True:
                await self.member.take(60)
        except Ended as end:
            if not self.stopped:
                self.fault = f"expected a connection that lives, got: {end}"
        except wire.WireError as problem:
            self.fault = str(problem)

    @property
    def answers(self) -> list[str]:
        """What came for its own messages."""
        return [text for text in self.member.texts if wire.kind_of(text) in ("accepted", "refused")]

    async def answered(self, count: int, seconds: float = 40.0) -> None:
        """Wait for so many answers."""
        await until(lambda: len(self.answers) >= count or self.fault is not None, seconds)
        expect(not self.fault, f"{self.member.nick}: {self.fault}")
        equal(f"answers to {self.member.nick}", count, len(self.answers))

    async def heard(self, count: int, seconds: float = 5.0) -> None:
        """Wait for so many chats, or for the end of patience."""
        await until(lambda: len(self.member.of("chat")) >= count or self.fault, seconds)

    async def stop(self) -> None:
        """Read no more."""
        self.stopped = True
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def until(done: Callable[[], object], seconds: float) -> None:
    """Wait for a condition, at most so long."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not done() and loop.time() < end:  # noqa: ASYNC110 - what is waited for are lists that other tasks fill
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Said:
    """A message of the plan, and what became of it."""

    room: str
    nick: str
    number: int
    text: str
    seq: int


def said_by(listener: Listener, sent: Sequence[str]) -> list[Said]:
    """Return what a sender was told to be accepted, with its seq; fail where an answer is not for its message."""
    result, answers = [], listener.answers
    equal(f"answers to {listener.member.nick}", len(sent), len(answers))
    for number, (text, answer) in enumerate(zip(sent, answers, strict=True)):
        got = wire.content(answer)
        equal(f"id of answer {number} to {listener.member.nick}", number, got["id"])
        if got["type"] == "accepted":
            equal("accepted", wire.accepted(number, got["seq"]), answer)
            result.append(Said(listener.member.room, listener.member.nick, number, text, got["seq"]))
        else:
            equal("refused", wire.refused(number), answer)
    return result


def check_seqs(said: Iterable[Said]) -> None:
    """Fail unless the numbers of every room are 1, 2, 3 ..., in the order of each sender."""
    by_room: dict[str, list[Said]] = {}
    for one in said:
        by_room.setdefault(one.room, []).append(one)
    for room, all_said in by_room.items():
        equal(f"seqs of {room}", list(range(1, len(all_said) + 1)), sorted(one.seq for one in all_said))
        for nick in {one.nick for one in all_said}:
            seqs = [one.seq for one in sorted(all_said, key=lambda one: one.number) if one.nick == nick]
            expect(seqs == sorted(seqs), f"seqs of {nick} in its order: expected rising, got {seqs[:20]}")


def check_received(member: Member, wanted: Sequence[Said], may: Sequence[Said] = ()) -> None:
    """Fail unless a member got what it must get, each once, by seq; `may` are those it may get or not."""
    texts = {wire.chatted(one.room, one.nick, one.seq, one.text): one for one in [*wanted, *may]}
    got = member.of("chat")
    stray = [text for text in got if text not in texts]
    expect(not stray, f"{member.nick}: expected only others' messages of {member.room}, got {stray[:1]}")
    seqs = [texts[text].seq for text in got]
    doubled = sorted({seq for seq in seqs if seqs.count(seq) > 1}) if len(set(seqs)) < len(seqs) else []
    expect(not doubled, f"{member.nick}: expected each message once, got seq {doubled[:5]} more than once")
    missing = sorted({one.seq for one in wanted} - set(seqs))
    expect(not missing, f"{member.nick}: expected {len(wanted)} messages, got {len(got)}, without seq {missing[:5]}")
    bad = next((at for at in range(1, len(seqs)) if seqs[at] < seqs[at - 1]), None)
    expect(
        bad is None, f"{member.nick}: expected the order of seq, got {seqs[max(0, (bad or 0) - 2) : (bad or 0) + 2]}"
    )
    strange = {wire.kind_of(text) for text in member.texts} - {"joined", "accepted", "refused", "chat", "presence"}
    expect(not strange, f"{member.nick}: expected no other messages, got {strange}")


def texts_of(draw: random.Random, nick: str, count: int) -> list[str]:
    """Return what a client will say: from short to long, with characters that are escaped."""
    extras = ("", 'he said "hi"', "tab\tand\nfeed", "ünï", "\U0001f600", "x" * 120, "\\" * 7, "y" * 900)
    return [f"{nick}#{number} {draw.choice(extras)}" for number in range(count)]


async def say_all(member: Member, texts: Sequence[str], draw: random.Random) -> None:
    """Say a plan, some messages in one segment, now and then in fragments."""
    at = 0
    while at < len(texts):
        step = draw.choice((1, 1, 2, 5))
        parts = []
        for number in range(at, min(at + step, len(texts))):
            payload = wire.chat(number, texts[number]).encode()
            parts.append(wire.fragments(payload, [draw.randrange(len(payload))] if draw.random() < 0.2 else []))
        await member.raw.send(b"".join(parts), 20)
        at += step
        await asyncio.sleep(0)


async def crowd(server: Server, clients: int = CLIENTS, rooms: Sequence[str] = ROOMS) -> list[Listener]:
    """Let clients join rooms in turn and listen."""
    members = [await server.member(rooms[number % len(rooms)], f"n{number}") for number in range(clients)]
    return [Listener(member) for member in members]


@REGISTRY.named("delivery/plan/exactly-once", seconds=20)
async def exactly_once(lab: Lab) -> None:
    """50 clients in 3 rooms, 2,000 messages: every other member gets each once, in order; the counters agree."""
    async with lab.server("--rate", "0") as server:
        draw = random.Random(11)
        listeners = await crowd(server)
        plans = [texts_of(draw, one.member.nick, MESSAGES // CLIENTS) for one in listeners]
        draws = [random.Random(number) for number in range(CLIENTS)]
        jobs = zip(listeners, plans, draws, strict=True)
        await asyncio.gather(*(say_all(one.member, plan, own) for one, plan, own in jobs))
        said = []
        for one, plan in zip(listeners, plans, strict=True):
            await one.answered(len(plan))
            said += said_by(one, plan)
        equal("accepted", MESSAGES, len(said))
        sizes = {room: sum(one.member.room == room for one in listeners) for room in ROOMS}
        deliveries = sum(sizes[one.room] - 1 for one in said)
        wanted = {"messages_offered_total": MESSAGES, "messages_accepted_total": MESSAGES, "messages_refused_total": 0}
        total = {room: sum(one.room == room for one in said) for room in ROOMS}
        deadline = time.monotonic() + 5
        for one in listeners:
            due = total[one.member.room] - sum(other.nick == one.member.nick for other in said)
            await one.heard(due, deadline - time.monotonic())
        await asyncio.sleep(QUIET_SECONDS)
        check_seqs(said)
        for one in listeners:
            await one.stop()
            expect(not one.fault, f"{one.member.nick}: {one.fault}")
            others = [other for other in said if other.room == one.member.room and other.nick != one.member.nick]
            check_received(one.member, others)
        await server.counted(deliveries_total=deliveries, deliveries_dropped_total=0, slow_consumers_total=0, **wanted)


@REGISTRY.named("delivery/plan/with-the-library", seconds=3)
async def with_library(lab: Lab) -> None:
    """The same in small with the package websockets, which knows nothing of this oracle."""
    async with lab.server("--rate", "0") as server:

        async def one(number: int, ready: asyncio.Barrier) -> list[str]:
            async with library(server.port) as client:
                await client.send(wire.join("lib", f"n{number}"))
                equal("the first message", "joined", wire.kind_of(str(await client.recv())))
                await ready.wait()
                for message in range(10):
                    sent = wire.chat(message, f"n{number}#{message}")
                    await client.send([sent[:7], sent[7:]])
                got: list[str] = []
                while sum(wire.kind_of(text) in ("chat", "accepted") for text in got) < 60:
                    try:
                        got.append(str(await asyncio.wait_for(client.recv(), 10)))
                    except TimeoutError:
                        kinds = [wire.kind_of(text) for text in got]
                        raise CheckError(
                            f"expected 10 accepted and 50 chats within 10 s, got {kinds.count('accepted')} "
                            f"and {kinds.count('chat')}"
                        ) from None
                await ready.wait()
                return got

        ready = asyncio.Barrier(6)
        for number, got in enumerate(await asyncio.gather(*(one(number, ready) for number in range(6)))):
            chats = [json.loads(text) for text in got if wire.kind_of(text) == "chat"]
            wanted = sorted(f"n{other}#{message}" for other in range(6) if other != number for message in range(10))
            equal(f"texts to n{number}", wanted, sorted(chat["text"] for chat in chats))
            equal(f"order to n{number}", sorted(chat["seq"] for chat in chats), [chat["seq"] for chat in chats])
        await server.counted(messages_accepted_total=60, deliveries_total=300, deliveries_dropped_total=0)


@REGISTRY.named("delivery/plan/with-joins-and-leaves", seconds=6)
async def churn(lab: Lab) -> None:
    """While others come and go: who stays gets all; who goes gets an unbroken part."""
    async with lab.server("--rate", "0") as server:
        draw = random.Random(12)
        stay = await crowd(server, 12, ("room",))
        plans = [texts_of(draw, one.member.nick, 60) for one in stay]
        guests: list[Listener] = []

        async def come_and_go() -> None:
            for number in range(LEAVERS):
                guest = Listener(await server.member("room", f"guest{number}"))
                guests.append(guest)
                await asyncio.sleep(0.03)
                guest.stopped = True
                if number % 3 == 0:
                    await guest.member.raw.say(wire.LEAVE)
                elif number % 3 == 1:
                    await guest.stop()
                    guest.member.raw.reset()

        async def slowly(one: Listener, plan: Sequence[str]) -> None:
            for number, text in enumerate(plan):
                await one.member.say(number, text)
                await asyncio.sleep(0.01)

        await asyncio.gather(come_and_go(), *(slowly(one, plan) for one, plan in zip(stay, plans, strict=True)))
        said = []
        for one, plan in zip(stay, plans, strict=True):
            await one.answered(len(plan))
            said += said_by(one, plan)
        await asyncio.sleep(QUIET_SECONDS)
        check_seqs(said)
        for one in stay:
            await one.stop()
            check_received(one.member, [other for other in said if other.nick != one.member.nick])
        for number, guest in enumerate(guests):
            await guest.stop()
            texts = [text for text in guest.member.texts if wire.kind_of(text) != "left"]
            guest.member.texts = texts
            seqs = [wire.content(text)["seq"] for text in guest.member.of("chat")]
            stayed = number % 3 == 2
            last = len(said) if stayed else seqs[-1] if seqs else 0
            due = [one for one in said if seqs and seqs[0] <= one.seq <= last]
            check_received(guest.member, due, said)
        found = await server.counters()
        least = len(said) * (len(stay) - 1)
        most = len(said) * (len(stay) - 1 + LEAVERS)
        total = found["deliveries_total"] + found["deliveries_dropped_total"]
        expect(least <= total <= most, f"deliveries + dropped: expected {least} to {most}, got {total}")
        equal("accepted", len(said), found["messages_accepted_total"])


@REGISTRY.named("delivery/plan/with-refusals", seconds=4)
async def refusals(lab: Lab) -> None:
    """With a token bucket: what is refused reaches nobody, what is accepted all; offered = accepted + refused."""
    async with lab.server("--rate", "5", "--burst", "8") as server:
        draw = random.Random(13)
        listeners = await crowd(server, 12, ("a", "b"))
        plans = [texts_of(draw, one.member.nick, 30) for one in listeners]
        jobs = zip(listeners, plans, strict=True)
        await asyncio.gather(*(say_all(one.member, plan, random.Random(7)) for one, plan in jobs))
        said = []
        for one, plan in zip(listeners, plans, strict=True):
            await one.answered(len(plan))
            said += said_by(one, plan)
        await asyncio.sleep(QUIET_SECONDS)
        check_seqs(said)
        expect(12 * 8 <= len(said) < 12 * 30, f"accepted: expected at least {12 * 8}, got {len(said)}")
        for one in listeners:
            await one.stop()
            check_received(
                one.member,
                [other for other in said if other.room == one.member.room and other.nick != one.member.nick],
            )
        await server.counted(
            messages_offered_total=360,
            messages_accepted_total=len(said),
            messages_refused_total=360 - len(said),
            deliveries_total=len(said) * 5,
            deliveries_dropped_total=0,
        )


@REGISTRY.named("delivery/one-sees-what-all-see", seconds=2)
async def same_order(lab: Lab) -> None:
    """Two who only listen get the very same bytes in the very same order."""
    async with lab.server("--rate", "0") as server:
        listeners = [Listener(await server.member("room", f"l{number}")) for number in range(2)]
        speakers = await crowd(server, 8, ("room",))
        for number in range(25):
            await asyncio.gather(*(one.member.say(number, f"{one.member.nick} {number}") for one in speakers))
        await until(lambda: all(len(one.member.of("chat")) >= 200 for one in listeners), 10)
        for one in [*listeners, *speakers]:
            await one.stop()
        equal("messages", 200, len(listeners[0].member.of("chat")))
        same = listeners[0].member.of("chat") == listeners[1].member.of("chat")
        expect(same, "expected the same order, got two orders")


@REGISTRY.named("delivery/large-room", seconds=3)
async def large_room(lab: Lab) -> None:
    """200 members, 20 messages: 3,980 deliveries, exactly."""
    async with lab.server("--rate", "0") as server:
        listeners = await crowd(server, 200, ("big",))
        speaker = listeners[77]
        for number in range(20):
            await speaker.member.say(number, f"to all {number}")
        await speaker.answered(20)
        await server.counted(deliveries_total=20 * 199, deliveries_dropped_total=0, members=200)
        wanted = [wire.chatted("big", "n77", number + 1, f"to all {number}") for number in range(20)]
        await until(lambda: all(len(one.member.of("chat")) == 20 for one in listeners if one is not speaker), 5)
        for one in listeners:
            await one.stop()
            equal(f"chats to {one.member.nick}", [] if one is speaker else wanted, one.member.of("chat"))


@REGISTRY.named("delivery/rooms-are-apart")
async def apart(lab: Lab) -> None:
    """Rooms whose names begin alike do not mix."""
    async with lab.server("--rate", "0") as server:
        rooms = ("a", "aa", "a-", "a_", "a0", "a" * 64, "a" * 63)
        listeners = [Listener(await server.member(room, "n")) for room in rooms for _ in range(2)]
        for number, one in enumerate(listeners):
            await one.member.say(number, one.member.room)
        await asyncio.sleep(QUIET_SECONDS)
        for one in listeners:
            await one.heard(1)
            await one.stop()
            texts = [wire.content(text)["text"] for text in one.member.of("chat")]
            equal(f"texts in {one.member.room}", [one.member.room], texts)


@REGISTRY.named("delivery/gone-sender")
async def gone_sender(lab: Lab) -> None:
    """What was accepted is delivered though the sender is gone at once."""
    async with lab.server("--rate", "0") as server:
        other = await server.member("room", "m")
        sender = await server.member("room", "n")
        frames = b"".join(wire.frame(wire.TEXT, wire.chat(number, "bye")) for number in range(20))
        await sender.raw.send(frames + wire.close_frame(1000))
        await sender.raw.end(4)
        for number in range(20):
            equal("chat", wire.chatted("room", "n", number + 1, "bye"), await other.of_kind("chat"))
        await server.counted(messages_accepted_total=20, deliveries_total=20, deliveries_dropped_total=0, members=1)
