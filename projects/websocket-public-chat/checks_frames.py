"""RFC 6455 on /chat: fragments, control frames, lengths, masks, close codes, UTF-8; with frames made by hand."""

from __future__ import annotations

import asyncio
import struct
import time

import chat_wire as wire
from chat_lab import REGISTRY, Lab, Server, between, equal, expect
from chat_wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, fragments, frame

JOIN = wire.join("room", "né")
JOINED = wire.joined("room", "né", 1)
LIMIT_BYTES = 1000
PEER_CLOSE_SECONDS = 2.0
PROTOCOL, BAD_TEXT, TOO_BIG, TEXT_ONLY = ((code, wire.REASONS[code]) for code in (1002, 1007, 1009, 1003))
Sent = tuple[bytes, tuple[int, str]]


async def closes(server: Server, sent: bytes, wanted: tuple[int, str], exact: str | None = None) -> None:
    """Fail unless the server closes with a code and some reason, and then ends the connection."""
    raw = await server.websocket()
    start = time.monotonic()
    await raw.send(sent)
    code, reason = await raw.close_code()
    equal("code", wanted[0], code)
    expect(exact is None or reason == exact, f"reason: expected {exact!r}, got {reason!r}")
    await raw.try_send(close_frame(wanted[0]))
    await raw.end(PEER_CLOSE_SECONDS + 2)
    between("seconds to the end", 0, time.monotonic() - start, PEER_CLOSE_SECONDS + 2)
    raw.close()


BROKEN: dict[str, Sent] = {
    "unmasked/text": (frame(TEXT, JOIN, mask=None), PROTOCOL),
    "unmasked/ping": (frame(PING, mask=None), PROTOCOL),
    "unmasked/close": (frame(CLOSE, struct.pack(">H", 1000), mask=None), PROTOCOL),
    "unmasked/second-fragment": (frame(TEXT, "{", final=False) + frame(CONTINUATION, "}", mask=None), PROTOCOL),
    **{f"rsv/{bits}": (frame(TEXT, JOIN, rsv=bits), PROTOCOL) for bits in range(1, 8)},
    "rsv/ping": (frame(PING, rsv=4), PROTOCOL),
    "rsv/continuation": (frame(TEXT, "{", final=False) + frame(CONTINUATION, "}", rsv=1), PROTOCOL),
    **{f"opcode/{code}": (frame(code, b"x"), PROTOCOL) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "opcode/reserved-between-fragments": (frame(TEXT, "{", final=False) + frame(11), PROTOCOL),
    "control/ping-of-126-bytes": (frame(PING, b"x" * 126), PROTOCOL),
    "control/pong-of-65536-bytes": (frame(PONG, b"x" * 65536), PROTOCOL),
    "control/close-of-126-bytes": (frame(CLOSE, struct.pack(">H", 1000) + b"x" * 124), PROTOCOL),
    "control/fragmented-ping": (frame(PING, b"x", final=False), PROTOCOL),
    "control/fragmented-pong": (frame(PONG, b"x", final=False), PROTOCOL),
    "control/fragmented-in-a-message": (frame(TEXT, "{", final=False) + frame(PING, b"x", final=False), PROTOCOL),
    "control/fragmented-close": (frame(CLOSE, struct.pack(">H", 1000), final=False), PROTOCOL),
    "fragment/continuation-of-nothing": (frame(CONTINUATION, b"x"), PROTOCOL),
    "fragment/open-continuation-of-nothing": (frame(CONTINUATION, b"x", final=False), PROTOCOL),
    "fragment/text-in-text": (frame(TEXT, "{", final=False) + frame(TEXT, "}"), PROTOCOL),
    "fragment/continuation-after-the-end": (frame(TEXT, JOIN) + frame(CONTINUATION, b"x"), PROTOCOL),
    "binary/short": (frame(BINARY, b"x"), TEXT_ONLY),
    "binary/empty": (frame(BINARY), TEXT_ONLY),
    "binary/fragmented": (frame(BINARY, b"x", final=False) + frame(CONTINUATION, b"y"), TEXT_ONLY),
    "large/one-byte-more": (frame(TEXT, " " * (LIMIT_BYTES + 1)), TOO_BIG),
    "large/two-fragments": (fragments(b" " * (LIMIT_BYTES + 1), [600]), TOO_BIG),
    "large/many-fragments": (fragments(b" " * (LIMIT_BYTES + 1), list(range(10, LIMIT_BYTES, 10))), TOO_BIG),
    "large/4-gib": (b"\x81\xff" + struct.pack(">Q", 1 << 32) + wire.MASK, TOO_BIG),
    "large/2-to-63-less-1": (b"\x81\xff" + struct.pack(">Q", (1 << 63) - 1) + wire.MASK + b"abc", TOO_BIG),
    "large/second-fragment-of-2-to-62": (
        frame(TEXT, "{", final=False) + b"\x80\xff" + struct.pack(">Q", 1 << 62) + wire.MASK,
        TOO_BIG,
    ),
    **{f"close/{code}": (close_frame(code), PROTOCOL) for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016)},
    **{f"close/{code}": (close_frame(code), PROTOCOL) for code in (1100, 2000, 2999, 5000, 65535)},
    "close/one-byte": (frame(CLOSE, b"\x03"), PROTOCOL),
    "close/reason-not-utf8": (close_frame(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), BAD_TEXT),
    "close/reason-cut-in-a-character": (close_frame(1000, b"x\xc3"), BAD_TEXT),
}
"""What a client must not send, and how its connection is closed then."""

INVALID_UTF8 = {
    "lone-continuation": b"\x80",
    "lone-lead-of-2": b"\xc3(",
    "lead-of-2-at-the-end": b"\xc3",
    "lead-of-3-at-the-end": b"\xe2\x82",
    "lead-of-4-at-the-end": b"\xf0\x9f\x98",
    "overlong-slash": b"\xc0\xaf",
    "overlong-of-2": b"\xc1\xbf",
    "overlong-of-3": b"\xe0\x9f\xbf",
    "overlong-of-4": b"\xf0\x8f\xbf\xbf",
    "high-surrogate": b"\xed\xa0\x80",
    "low-surrogate": b"\xed\xbf\xbf",
    "surrogate-pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above-10ffff": b"\xf4\x90\x80\x80",
    "five-bytes": b"\xf8\x88\x80\x80\x80",
    "six-bytes": b"\xfc\x84\x80\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "too-many-continuations": b"\xc3\xa9\xa9",
}
EDGES = "\u0001\u007f\u0080\u07ff\u0800\ud7ff\ue000\ufffd\uffff\U00010000\U0010ffff"
"""The first and the last character of every length, and those beside the surrogates."""


def _add_broken() -> None:
    for name, (sent, wanted) in BROKEN.items():

        async def check(lab: Lab, sent: bytes = sent, wanted: tuple[int, str] = wanted) -> None:
            async with lab.server("--max-message-bytes", str(LIMIT_BYTES)) as server:
                await closes(server, sent, wanted)
                counts = await server.counted(connections=0)
                if wanted == PROTOCOL:
                    equal("protocol errors", 1, counts["protocol_errors_total"])
                await server.well()

        REGISTRY.add(f"frames/broken/{name}", check)
    for name, bad in INVALID_UTF8.items():

        async def invalid(lab: Lab, bad: bytes = bad) -> None:
            whole = b'{"type":"join","room":"r","nick":"' + bad + b'"}'
            if bad in (b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"):
                whole = bad  # it must be the end of the message, not of a string in it
            async with lab.server() as server:
                await closes(server, frame(TEXT, whole), BAD_TEXT)
                await closes(server, fragments(whole, list(range(1, len(whole)))), BAD_TEXT)
                await closes(server, fragments(whole, [len(whole) - 1], frame(PONG)), BAD_TEXT)
                await server.counted(connections=0)

        REGISTRY.add(f"utf8/invalid/{name}", invalid)


_add_broken()


REASONED: dict[str, Sent] = {
    "1002-frame": BROKEN["rsv/4"],
    "1002-close-code": BROKEN["close/1005"],
    "1002-close-of-one-byte": BROKEN["close/one-byte"],
    "1003": BROKEN["binary/short"],
    "1007": (frame(TEXT, b"\xff"), BAD_TEXT),
    "1007-close-reason": BROKEN["close/reason-not-utf8"],
    "1009": BROKEN["large/one-byte-more"],
    "1009-64-bits": BROKEN["large/4-gib"],
}
"""Where the texts of close frames are compared too: the lanes behave alike to the byte."""


def _add_reasons() -> None:
    for name, (sent, wanted) in REASONED.items():

        async def check(lab: Lab, sent: bytes = sent, wanted: tuple[int, str] = wanted) -> None:
            async with lab.server("--max-message-bytes", str(LIMIT_BYTES)) as server:
                await closes(server, sent, wanted, wanted[1])

        REGISTRY.add(f"frames/reason/{name}", check)


_add_reasons()


@REGISTRY.named("frames/fragments/cut-anywhere", seconds=2)
async def cut_anywhere(lab: Lab) -> None:
    """A message in two fragments, cut at every byte, with a ping between them that is answered first."""
    payload = JOIN.encode()
    async with lab.server() as server:
        for at in range(len(payload) + 1):
            raw = await server.websocket()
            await raw.send(fragments(payload, [at], frame(PING, str(at))))
            equal(f"pong when cut at {at}", (PONG, str(at).encode()), _of(await raw.frame()))
            equal(f"joined when cut at {at}", JOINED, await raw.text())
            raw.close()
            await server.counted(members=0)


def _of(got: wire.Frame) -> tuple[int, bytes]:
    return got.opcode, got.payload


@REGISTRY.named("frames/fragments/of-one-byte")
async def one_byte_fragments(lab: Lab) -> None:
    """Fragments of one byte, with a pong between each two."""
    payload = JOIN.encode()
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.send(fragments(payload, list(range(1, len(payload))), frame(PONG, b"x")))
        equal("joined", JOINED, await raw.text())


@REGISTRY.named("frames/fragments/empty-ones")
async def empty_fragments(lab: Lab) -> None:
    """Fragments without a payload at the start, in the middle and at the end."""
    payload = JOIN.encode()
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.send(fragments(payload, [0, 0, 9, 9, 9, len(payload)]))
        equal("joined", JOINED, await raw.text())


@REGISTRY.named("frames/fragments/many-pings-between")
async def many_pings(lab: Lab) -> None:
    """A hundred pings between two fragments are answered in order, before the message."""
    async with lab.server() as server:
        raw = await server.websocket()
        pings = b"".join(frame(PING, str(number)) for number in range(100))
        await raw.send(fragments(JOIN.encode(), [10], pings))
        got = [_of(await raw.frame()) for _ in range(100)]
        equal("pongs", [(PONG, str(number).encode()) for number in range(100)], got)
        equal("joined", JOINED, await raw.text())


@REGISTRY.named("frames/fragments/close-between")
async def close_between(lab: Lab) -> None:
    """A close frame between two fragments ends the message too."""
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.send(frame(TEXT, JOIN[:9], final=False) + close_frame(1000))
        equal("code", 1000, (await raw.close_code())[0])
        await server.counted(protocol_errors_total=0, connections=0)


@REGISTRY.named("frames/split/two-segments", seconds=2)
async def two_segments(lab: Lab) -> None:
    """A frame cut at every byte into two segments."""
    sent = frame(TEXT, JOIN) + frame(PING, b"p")
    async with lab.server() as server:

        async def one(at: int) -> None:
            raw = await server.websocket()
            await raw.send(sent[:at])
            await asyncio.sleep(0.03)
            await raw.send(sent[at:])
            await raw.until_pong(b"p")
            raw.close()

        for start in range(1, len(sent), 20):
            await asyncio.gather(*(one(at) for at in range(start, min(start + 20, len(sent)))))


@REGISTRY.named("frames/split/byte-by-byte")
async def bytewise(lab: Lab) -> None:
    """Heads of 16 and 64 bits, masks and payloads that come byte by byte."""
    async with lab.server() as server:
        raw = await server.websocket()
        spaces = JOIN + " " * 100
        await raw.send_slowly(frame(TEXT, spaces), pause=0)
        equal("joined", JOINED, await raw.text())
        await raw.send_slowly(frame(TEXT, wire.chat(1, "x"), width=64), pause=0)
        await raw.send_slowly(frame(PING, b"slow"), pause=0)
        await raw.until_pong(b"slow")


@REGISTRY.named("frames/split/a-thousand-in-one-segment")
async def many_frames(lab: Lab) -> None:
    """A thousand frames that come at once are all understood, in order."""
    async with lab.server("--rate", "0") as server:
        member = await server.member()
        chats = b"".join(frame(TEXT, wire.chat(number, "x")) for number in range(1000))
        await member.raw.send(chats)
        for number in range(1000):
            equal("accepted", wire.accepted(number, number + 1), await member.of_kind("accepted"))


@REGISTRY.named("frames/length/every-width")
async def widths(lab: Lab) -> None:
    """Lengths need not be minimal: 7, 16 and 64 bits for the same payload."""
    async with lab.server() as server:
        for width in (7, 16, 64):
            raw = await server.websocket()
            await raw.send(frame(TEXT, JOIN, width=width))
            equal(f"joined with {width} bits", JOINED, await raw.text())
            raw.close()
            await server.counted(members=0)


@REGISTRY.named("frames/length/edges")
async def edges(lab: Lab) -> None:
    """Messages of 125, 126, 127, 128 bytes, and of as many as are allowed, in both directions."""
    async with lab.server("--max-message-bytes", "2100", "--rate", "0") as server:
        sender, receiver = await server.member("room", "n"), await server.member("room", "m")
        empty = len(wire.chatted("room", "n", 1, ""))
        sizes = [size - empty for size in (124, 125, 126, 127, 128)] + [2000]
        for number, size in enumerate(sizes, 1):
            await sender.say(number, "x" * size)
            equal("accepted", wire.accepted(number, number), await sender.of_kind("accepted", "error"))
            equal("chat", wire.chatted("room", "n", number, "x" * size), await receiver.of_kind("chat"))
        await sender.raw.say(wire.chat(9, "y").ljust(2100))
        equal("a message of just the limit", wire.accepted(9, 7), await sender.of_kind("accepted", "error"))


@REGISTRY.named("frames/length/64-bit-message")
async def large_message(lab: Lab) -> None:
    """A message of 70,000 bytes where the limit allows it."""
    async with lab.server("--max-message-bytes", "100000") as server:
        raw = await server.websocket()
        await raw.send(frame(TEXT, JOIN.ljust(70000)))
        equal("joined", JOINED, await raw.text())


@REGISTRY.named("frames/length/nothing-is-allocated", seconds=1)
async def no_allocation(lab: Lab) -> None:
    """Fifty heads that promise 1 GiB each cost no memory."""
    async with lab.server("--echo") as server:
        before = server.program.memory_bytes()
        for size in [1 << 30] * 25 + [(1 << 24) - 1] * 25:
            raw = await server.websocket("/echo")
            await raw.send(b"\x82\xff" + struct.pack(">Q", size) + wire.MASK + b"x")
        await asyncio.sleep(0.5)
        grown = server.program.memory_bytes() - before
        expect(grown < 64 << 20, f"memory: expected at most 64 MiB more, got {grown >> 20} MiB")
        await server.well()


@REGISTRY.named("frames/mask/every-mask")
async def masks(lab: Lab) -> None:
    """Any mask is taken: all zeros, all ones, and one for each frame."""
    async with lab.server("--rate", "0") as server:
        member = await server.member()
        for number in range(64):
            mask = b"\xff" * 4 if number == 1 else struct.pack(">I", (number * 0x01234567) & 0xFFFFFFFF)
            await member.raw.send(frame(TEXT, wire.chat(number, "é" * number + "x"), mask=mask))
            equal("accepted", wire.accepted(number, number + 1), await member.of_kind("accepted", "error"))


@REGISTRY.named("frames/ping/payload-comes-back")
async def pings(lab: Lab) -> None:
    """A pong carries the payload of its ping: of any length up to 125, binary too; a pong is not answered."""
    async with lab.server() as server:
        raw = await server.websocket()
        for size in (0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 64, 124, 125):
            payload = bytes((size * 7 + at) & 255 for at in range(size))
            await raw.send(frame(PONG, b"unasked") + frame(PING, payload))
            equal("pong", (PONG, payload), _of(await raw.frame()))


@REGISTRY.named("frames/close/codes-are-echoed")
async def echoed(lab: Lab) -> None:
    """Codes that a peer may send come back."""
    async with lab.server() as server:
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
            raw = await server.websocket()
            await raw.send(close_frame(code, b"bye" * 41 if code == 1000 else b""))
            equal("code", code, (await raw.close_code())[0])
            equal("after the close frame", b"", await raw.end(1.5))
        await server.counted(protocol_errors_total=0, connections=0)


@REGISTRY.named("frames/close/without-a-code")
async def empty_close(lab: Lab) -> None:
    """A close frame without a code is answered by one without a code."""
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.send(frame(CLOSE))
        equal("close", (0, ""), await raw.close_code())
        equal("after the close frame", b"", await raw.end(1.5))


@REGISTRY.named("frames/close/nothing-after-it")
async def after_close(lab: Lab) -> None:
    """What a client sends behind its close frame is not looked at."""
    async with lab.server() as server:
        other = await server.member("room", "other")
        raw = await server.websocket()
        await raw.send(frame(TEXT, JOIN))
        equal("joined", wire.joined("room", "né", 2), await raw.text())
        await raw.send(close_frame(1000) + frame(TEXT, wire.chat(1, "late")) + frame(PING, b"late"))
        equal("code", 1000, (await raw.close_code())[0])
        equal("to the other member", [], await other.quiet())


@REGISTRY.named("frames/close/peer-has-two-seconds", seconds=2.5)
async def peer_close_wait(lab: Lab) -> None:
    """A peer that does not answer a close frame is cut after 2 s."""
    async with lab.server() as server:
        raw = await server.websocket()
        start = time.monotonic()
        await raw.send(frame(TEXT, JOIN) + frame(TEXT, wire.LEAVE))
        equal("close", (1000, "left"), await raw.close_code())
        await raw.end(PEER_CLOSE_SECONDS + 3)
        between("seconds to the end", PEER_CLOSE_SECONDS - 0.4, time.monotonic() - start, PEER_CLOSE_SECONDS + 1.5)


@REGISTRY.named("frames/close/others-are-not-disturbed")
async def undisturbed(lab: Lab) -> None:
    """While clients break the protocol in every way, others go on."""
    async with lab.server("--max-message-bytes", str(LIMIT_BYTES)) as server:
        sender, receiver = await server.member("room", "n"), await server.member("room", "m")
        for number, (sent, _) in enumerate(list(BROKEN.values())[::4]):
            raw = await server.websocket()
            await raw.send(sent)
            if number % 2:
                raw.reset()
        for number in range(10):
            await sender.say(number, "still here")
            equal("chat", wire.chatted("room", "n", number + 1, "still here"), await receiver.of_kind("chat"))


@REGISTRY.named("utf8/valid/edges")
async def valid_edges(lab: Lab) -> None:
    """Every edge of UTF-8 passes, raw, and split between any two bytes into fragments and segments."""
    payload = wire.chat(1, EDGES).encode()
    async with lab.server("--rate", "0") as server:
        sender, receiver = await server.member("room", "n"), await server.member("room", "m")
        start = payload.index(b"\\u0001")
        for number, at in enumerate(range(start, len(payload)), 1):
            sent = fragments(payload, [at])
            await sender.raw.send(sent[: at + 3])
            await sender.raw.send(sent[at + 3 :])
            equal(f"chat when cut at {at}", wire.chatted("room", "n", number, EDGES), await receiver.of_kind("chat"))


@REGISTRY.named("utf8/late-at-the-end-of-a-frame")
async def by_the_frame(lab: Lab) -> None:
    """A frame that can no longer become UTF-8 closes at its end at the latest, though the message goes on."""
    async with lab.server() as server:
        for bad in (b"\xed\xa0", b"\xf4\x90", b"\xc0", b"ok\x80", b"\xe0\x80"):
            await closes(server, frame(TEXT, bad, final=False), BAD_TEXT)


@REGISTRY.named("utf8/control-frames-carry-anything")
async def control_bytes(lab: Lab) -> None:
    """Payloads of pings need not be text."""
    async with lab.server() as server:
        raw = await server.websocket()
        await raw.send(frame(TEXT, JOIN[:9], final=False) + frame(PING, b"\xff\xfe\x80"))
        equal("pong", (PONG, b"\xff\xfe\x80"), _of(await raw.frame()))
        await raw.send(frame(CONTINUATION, JOIN[9:]))
        equal("joined", JOINED, await raw.text())
