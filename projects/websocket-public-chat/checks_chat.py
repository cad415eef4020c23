"""The messages of the chat: joining, speaking, leaving, presence, errors, the limit of messages a second, history."""

from __future__ import annotations

import asyncio
import itertools
import time

import chat_wire as wire
from chat_client import Member
from chat_lab import REGISTRY, Lab, Server, between, equal, expect

LAST_ERROR = 10
PRESENCE_SECONDS = 1.0
JITTER_SECONDS = 0.9
"""So late may a message be seen on a busy machine."""


async def closed(member: Member) -> tuple[int, str]:
    """Answer the close frame; return it."""
    code = await member.raw.close_code()
    await member.raw.try_send(wire.close_frame(code[0]))
    await member.raw.end(3)
    return code


async def spoke(member: Member, number: int, text: str) -> str:
    """Say something; return the answer."""
    await member.say(number, text)
    return await member.of_kind("accepted", "refused", "error")


@REGISTRY.named("chat/join/counts-members")
async def join_counts(lab: Lab) -> None:
    """Each who joins is told how many there are, itself included; nicks need not be unique."""
    async with lab.server() as server:
        members = [await server.member("room", "same") for _ in range(5)]
        equal("members", [1, 2, 3, 4, 5], [member.members for member in members])
        other = await server.member("other", "same")
        equal("members of another room", 1, other.members)
        await server.counted(rooms=2, members=6, connections=6)


@REGISTRY.named("chat/join/joined-comes-first")
async def joined_first(lab: Lab) -> None:
    """Before joined nothing comes, not even presence."""
    async with lab.server() as server:
        for count in range(1, 6):
            member = await server.member("room", "n")
            equal("the first message", wire.joined("room", "n", count), member.texts[0])


@REGISTRY.named("chat/join/twice")
async def join_twice(lab: Lab) -> None:
    """The second join is an error, to the same room and to another, and changes nothing."""
    async with lab.server() as server:
        member, other = await server.member("room", "n"), await server.member("room", "m")
        for room in ("room", "other"):
            await member.raw.say(wire.join(room, "new"))
            equal("answer", wire.error("joined already"), await member.of_kind("error", "joined"))
        await member.say(1, "x")
        equal("chat", wire.chatted("room", "n", 1, "x"), await other.of_kind("chat"))
        await server.counted(rooms=1, members=2)


@REGISTRY.named("chat/not-joined/chat")
async def chat_first(lab: Lab) -> None:
    """Speaking before joining is an error, counted as offered and as nothing else."""
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.say(wire.chat(1, "x"))
        equal("answer", wire.error("not joined"), await raw.text())
        await server.counted(messages_offered_total=1, messages_accepted_total=0, messages_refused_total=0)


@REGISTRY.named("chat/not-joined/leave")
async def leave_first(lab: Lab) -> None:
    """Leaving before joining is an error, and the connection stays."""
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.say(wire.LEAVE)
        equal("answer", wire.error("not joined"), await raw.text())
        await raw.say(wire.join())
        equal("joined", wire.joined("room", "nick", 1), await raw.text())


@REGISTRY.named("chat/leave/answer-and-close")
async def leave(lab: Lab) -> None:
    """Leaving: left, then 1000, then the end; the others are told."""
    async with lab.server() as server:
        member, other = await server.member("room", "n"), await server.member("room", "m")
        await other.until(lambda text: text == wire.presence("room", 2), "presence of two")
        await member.raw.say(wire.LEAVE)
        equal("left", wire.left("room"), await member.of_kind("left", "error"))
        equal("close", (1000, "left"), await closed(member))
        await other.until(lambda text: text == wire.presence("room", 1), "presence of one")
        await server.counted(members=1, connections=1, protocol_errors_total=0)


@REGISTRY.named("chat/leave/nothing-after-left")
async def leave_ends(lab: Lab) -> None:
    """Who left gets nothing more, and what it still says is not heard."""
    async with lab.server("--rate", "0") as server:
        member, other = await server.member("room", "n"), await server.member("room", "m")
        await member.raw.send(wire.frame(wire.TEXT, wire.LEAVE) + wire.frame(wire.TEXT, wire.chat(1, "late")))
        await member.of_kind("left")
        await other.say(1, "alone")
        equal("accepted", wire.accepted(1, 1), await other.of_kind("accepted"))
        equal("after left", "close", str(await member.raw.next())[:5])
        equal("to the other", [], await other.quiet())
        await server.counted(messages_accepted_total=1, deliveries_total=0, deliveries_dropped_total=0)


@REGISTRY.named("chat/chat/alone")
async def alone(lab: Lab) -> None:
    """Who is alone is told that the message was accepted, and gets nothing else."""
    async with lab.server() as server:
        member = await server.member()
        equal("answer", wire.accepted(5, 1), await spoke(member, 5, "hello"))
        equal("after it", [], await member.quiet())
        await server.counted(messages_accepted_total=1, deliveries_total=0, deliveries_dropped_total=0)


@REGISTRY.named("chat/chat/never-to-the-sender")
async def not_to_sender(lab: Lab) -> None:
    """The sender gets accepted and never its own chat."""
    async with lab.server() as server:
        sender, other = await server.member("room", "n"), await server.member("room", "n")
        for number in range(10):
            equal("answer", wire.accepted(number, number + 1), await spoke(sender, number, "x"))
        for number in range(10):
            equal("chat", wire.chatted("room", "n", number + 1, "x"), await other.of_kind("chat"))
        await sender.quiet()
        equal("chats to the sender", [], sender.of("chat"))


@REGISTRY.named("chat/seq/counts-the-room")
async def seq_counts(lab: Lab) -> None:
    """Each room counts for itself, from 1."""
    async with lab.server("--rate", "0") as server:
        rooms = [await server.member(room, "n") for room in ("a", "b", "c")]
        for seq in range(1, 4):
            for member in rooms:
                equal("answer", wire.accepted(0, seq), await spoke(member, 0, "x"))


@REGISTRY.named("chat/seq/anew-after-empty")
async def seq_anew(lab: Lab) -> None:
    """A room that emptied starts at 1 again, by leaving and by cutting; while one member stays it goes on."""
    async with lab.server("--rate", "0", "--history", "5") as server:
        first, second = await server.member("room", "a"), await server.member("room", "b")
        equal("answer", wire.accepted(1, 1), await spoke(first, 1, "x"))
        first.raw.close()
        await server.counted(members=1)
        equal("with one that stayed", wire.accepted(2, 2), await spoke(second, 2, "y"))
        await second.raw.say(wire.LEAVE)
        await second.of_kind("left")
        await server.counted(rooms=0, members=0)
        third = await server.member("room", "c")
        equal("members", 1, third.members)
        equal("after it was empty", wire.accepted(3, 1), await spoke(third, 3, "z"))
        equal("chats of the old room", [], third.of("chat"))


@REGISTRY.named("chat/error/tenth-closes")
async def tenth_error(lab: Lab) -> None:
    """Nine errors are told; the tenth is told too and closes 1008."""
    async with lab.server() as server:
        raw = await server.websocket()
        for number in range(LAST_ERROR):
            await raw.say("{" if number % 2 else wire.LEAVE)
            wanted = wire.error("not json" if number % 2 else "not joined")
            equal(f"error {number + 1}", wanted, await raw.text())
        equal("close", wire.TOO_MANY_ERRORS, await raw.close_code())
        await raw.send(wire.close_frame(1008))
        await raw.end(3)
        await server.counted(connections=0)


@REGISTRY.named("chat/error/good-ones-between")
async def errors_between(lab: Lab) -> None:
    """Good messages between errors do not reset the count, and the room hears of the end."""
    async with lab.server("--rate", "0") as server:
        member, other = await server.member("room", "n"), await server.member("room", "m")
        await other.until(lambda text: text == wire.presence("room", 2), "presence of two")
        for number in range(LAST_ERROR - 1):
            await member.raw.say("[]")
            equal("error", wire.error("not an object"), await member.of_kind("error"))
            equal("answer", wire.accepted(number, number + 1), await spoke(member, number, "x"))
        await member.raw.say("[]")
        equal("close", wire.TOO_MANY_ERRORS, await closed(member))
        await other.until(lambda text: text == wire.presence("room", 1), "presence of one")
        await server.counted(members=1, messages_accepted_total=LAST_ERROR - 1)


@REGISTRY.named("chat/error/counters")
async def error_counters(lab: Lab) -> None:
    """Offered counts chat messages, malformed ones included: offered = accepted + refused + malformed."""
    async with lab.server("--rate", "0.01", "--burst", "2") as server:
        member = await server.member()
        await member.raw.say(wire.chat(1, ""))
        await member.raw.say('{"type":"chat","id":-1,"text":"x"}')
        for number in range(5):
            await spoke(member, number, "x")
        await member.raw.say("{")
        await member.raw.say('{"type":"other"}')
        await member.quiet()
        await server.counted(messages_offered_total=7, messages_accepted_total=2, messages_refused_total=3)


# --- presence --------------------------------------------------------------------------------------------------------


@REGISTRY.named("chat/presence/at-once-then-a-second", seconds=4)
async def presence_times(lab: Lab) -> None:
    """The first change is told at once, the next when a second is over, with the number of then."""
    async with lab.server() as server:
        start = time.monotonic()
        first = await server.member("room", "a")
        equal("first", wire.presence("room", 1), await first.of_kind("presence"))
        between("seconds to the first", 0, time.monotonic() - start, 0.9)
        others = [await server.member("room", "b") for _ in range(4)]
        equal("second", wire.presence("room", 5), await first.of_kind("presence"))
        between("seconds to the second", PRESENCE_SECONDS - 0.15, time.monotonic() - start, PRESENCE_SECONDS + 2)
        equal("to another", wire.presence("room", 5), await others[0].of_kind("presence"))
        await asyncio.sleep(PRESENCE_SECONDS + 0.3)
        start = time.monotonic()
        others[3].raw.close()
        equal("after a quiet second", wire.presence("room", 4), await first.of_kind("presence"))
        between("seconds to that", 0, time.monotonic() - start, 0.9)


@REGISTRY.named("chat/presence/at-most-once-a-second", seconds=5)
async def presence_rate(lab: Lab) -> None:
    """However often clients come and go, presence comes at most once a second, and the last is true."""
    async with lab.server() as server:
        watcher = await server.member("room", "w")
        watching = asyncio.ensure_future(watcher.quiet(30))
        for _ in range(25):
            guest = await server.member("room", "g")
            await asyncio.sleep(0.04)
            guest.raw.close()
        await server.counted(members=1)
        await asyncio.sleep(PRESENCE_SECONDS + 0.6)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        times = [at for text, at in zip(watcher.texts, watcher.times, strict=True) if wire.kind_of(text) == "presence"]
        for first, last in itertools.combinations(range(len(times)), 2):
            spent, least = times[last] - times[first], (last - first) * PRESENCE_SECONDS - JITTER_SECONDS
            expect(spent > least, f"{last - first + 1} presences: expected {least:.1f} s or more, got {spent:.2f}")
        equal("the last presence", wire.presence("room", 1), (watcher.of("presence") or [""])[-1])


@REGISTRY.named("chat/presence/only-when-changed", seconds=2.5)
async def presence_unchanged(lab: Lab) -> None:
    """Without a change there is no presence; another room's changes do not count."""
    async with lab.server() as server:
        watcher = await server.member("room", "w")
        equal("first", wire.presence("room", 1), await watcher.of_kind("presence"))
        await server.member("other", "o")
        await watcher.quiet(2.2)
        equal("presence", [wire.presence("room", 1)], watcher.of("presence"))


@REGISTRY.named("chat/presence/back-to-the-same-number", seconds=2)
async def presence_back(lab: Lab) -> None:
    """A number that changed and changed back did change: who joined meanwhile must not believe the old one."""
    async with lab.server() as server:
        first = await server.member("room", "a")
        second = await server.member("room", "b")
        equal("members, as the second was told", 2, second.members)
        await first.raw.say(wire.LEAVE)
        await first.of_kind("left")
        got = await second.until(lambda text: text == wire.presence("room", 1), "presence of one", 3)
        equal("presence", wire.presence("room", 1), got)


# --- the limit of messages -------------------------------------------------------------------------------------------


async def volley(member: Member, count: int, start: int = 0) -> list[str]:
    """Send messages at once; return the answers."""
    frames = [wire.frame(wire.TEXT, wire.chat(start + number, "x")) for number in range(count)]
    await member.raw.send(b"".join(frames))
    return [await member.of_kind("accepted", "refused") for _ in range(count)]


@REGISTRY.named("chat/rate/burst-then-refused")
async def burst(lab: Lab) -> None:
    """The burst is accepted, the rest refused by number; refused ones reach nobody and take no seq."""
    async with lab.server("--rate", "0.2", "--burst", "7") as server:
        sender, other = await server.member("room", "n"), await server.member("room", "m")
        answers = await volley(sender, 20)
        wanted = [wire.accepted(number, number + 1) for number in range(7)]
        equal("answers", wanted + [wire.refused(number) for number in range(7, 20)], answers)
        chats = [wire.chatted("room", "n", number + 1, "x") for number in range(7)]
        equal("to the other", chats, [text for text in other.texts if "chat" in text[:15]] + await other.quiet())
        await server.counted(messages_offered_total=20, messages_accepted_total=7, messages_refused_total=13)
        await server.counted(deliveries_total=7, deliveries_dropped_total=0)


@REGISTRY.named("chat/rate/default-burst-is-20")
async def default_burst(lab: Lab) -> None:
    """Without options a connection may say 20 at once, and 10 a second."""
    async with lab.server() as server:
        answers = await volley(await server.member(), 60)
        taken = sum(text.startswith('{"type":"accepted"') for text in answers)
        between("accepted", 20, taken, 26)


@REGISTRY.named("chat/rate/refills", seconds=2)
async def refills(lab: Lab) -> None:
    """Tokens come back at the rate, and never more than the burst."""
    async with lab.server("--rate", "5", "--burst", "2") as server:
        member = await server.member()
        start = time.monotonic()
        answers = await volley(member, 10)
        await asyncio.sleep(1.0)
        again = await volley(member, 10, 100)
        spent = time.monotonic() - start
        first = sum("accepted" in text[:20] for text in answers)
        second = sum("accepted" in text[:20] for text in again)
        between("accepted at once", 2, first, 3)
        between("accepted after a second", 2, second, 3)
        between(f"accepted in {spent:.2f} s", 4, first + second, 2 + 5 * spent + 0.01)


@REGISTRY.named("chat/rate/steady", seconds=3)
async def steady(lab: Lab) -> None:
    """Over a longer time the rate is what is accepted, neither more nor much less."""
    async with lab.server("--rate", "20", "--burst", "20") as server:
        member = await server.member()
        start, taken = time.monotonic(), 0
        for _ in range(10):
            taken += sum("accepted" in text[:20] for text in await volley(member, 25))
            await asyncio.sleep(0.25)
        taken += sum("accepted" in text[:20] for text in await volley(member, 25))
        spent = time.monotonic() - start
        between(f"accepted in {spent:.2f} s", 20 + 20 * min(spent, 2.5) * 0.9, taken, 20 + 20 * spent + 1)


@REGISTRY.named("chat/rate/each-connection-its-own")
async def own_bucket(lab: Lab) -> None:
    """One who has used up its tokens takes none from others."""
    async with lab.server("--rate", "0.1", "--burst", "3") as server:
        first, second = await server.member("room", "a"), await server.member("room", "b")
        await volley(first, 10)
        equal("answers", 3, sum("accepted" in text[:20] for text in await volley(second, 5)))


@REGISTRY.named("chat/rate/0-is-no-limit")
async def no_limit(lab: Lab) -> None:
    """--rate 0 refuses nothing."""
    async with lab.server("--rate", "0", "--burst", "1") as server:
        answers = await volley(await server.member(), 500)
        equal("answers", [wire.accepted(number, number + 1) for number in range(500)], answers)


@REGISTRY.named("chat/rate/malformed-costs-nothing")
async def malformed_free(lab: Lab) -> None:
    """What is malformed takes no token."""
    async with lab.server("--rate", "0.1", "--burst", "2") as server:
        member = await server.member()
        for _ in range(5):
            equal("answer", wire.error("bad text"), await spoke(member, 1, ""))
        equal("answers", [wire.accepted(0, 1), wire.accepted(1, 2)], await volley(member, 2))


# --- history ---------------------------------------------------------------------------------------------------------


async def heard(server: Server, after: int) -> list[str]:
    """Join; return what comes up to the first new message, presence left out."""
    guest = await server.member("room", "guest")
    speaker = await server.member("room", "late")
    await speaker.say(0, "new")
    await guest.until(lambda text: '"text":"new"' in text, "the new message")
    equal("first", "joined", wire.kind_of(guest.texts[0]))
    equal("the new message", wire.chatted("room", "late", after + 1, "new"), guest.of("chat")[-1])
    return guest.of("chat")[:-1]


async def _history(lab: Lab, kept: int, said: int) -> None:
    async with lab.server("--rate", "0", "--history", str(kept)) as server:
        speaker = await server.member("room", "old")
        for number in range(said):
            equal("answer", wire.accepted(number, number + 1), await spoke(speaker, number, f"text {number}"))
        first = max(0, said - kept)
        wanted = [wire.chatted("room", "old", number + 1, f"text {number}") for number in range(first, said)]
        equal("history", wanted, await heard(server, said))


def _add_histories() -> None:
    for kept, said in [(0, 5), (1, 5), (3, 2), (3, 3), (3, 10), (100, 250), (5, 0)]:

        async def check(lab: Lab, kept: int = kept, said: int = said) -> None:
            await _history(lab, kept, said)

        REGISTRY.add(f"chat/history/{said}-said-{kept}-kept", check)


_add_histories()


@REGISTRY.named("chat/history/own-words-too")
async def history_own(lab: Lab) -> None:
    """Who speaks, goes and comes back hears its own words; refused ones are not among them."""
    async with lab.server("--rate", "0.1", "--burst", "2", "--history", "10") as server:
        keeper = await server.member("room", "keeper")
        speaker = await server.member("room", "speaker")
        await volley(speaker, 4)
        speaker.raw.close()
        await keeper.of_kind("chat")
        again = await server.member("room", "speaker")
        wanted = [wire.chatted("room", "speaker", seq, "x") for seq in (1, 2)]
        equal("history", wanted, await again.quiet())
