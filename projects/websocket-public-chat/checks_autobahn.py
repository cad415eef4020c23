"""The cases of Autobahn's fuzzing client on /echo, sections 1 to 7 and 10, written anew as checks of this oracle.

The suite itself (autobahntestsuite 0.8.2) needs Python 2.7, which no container of ours has, so what it sends and what
it expects is repeated here, under its numbers; sections 9 (performance), 12 and 13 (compression) are left out. Where it
calls an outcome NON-STRICT, that outcome passes here too, and as there a connection may be failed without a word (what
the lanes must say is for frames/broken). Sections 6.5 and up are one check each, with a list of texts. Case 7.1.6 (a
close frame right behind 256 KiB) is informational there, and is here only asked to end.

Where the suite is installed, CHAT_WSTEST="words that start wstest" adds the check autobahn/wstest, which runs it whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import chat_wire as wire
from chat_client import Ended, Raw
from chat_lab import REGISTRY, CheckError, Lab, Server, equal, expect
from chat_program import kill, spawn
from chat_wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_frame, fragments, frame

NORMAL, PROTOCOL, BAD_TEXT = 1000, 1002, 1007
FAILURES = (PROTOCOL, BAD_TEXT)
SYNC = -1
"""Chop between frames."""
HELLO = b"Hello, world!"
PAUSE_SECONDS = 0.2
QUIET_SECONDS = 0.15
WSTEST_SECONDS = 400.0
Reply = tuple[int, bytes]


@dataclass(frozen=True)
class Case:
    """What is sent, and what must come."""

    sent: Sequence[bytes | float]
    """Frames, and pauses in seconds."""
    replies: Sequence[Reply] = ()
    close: int | None = None
    """The code of the server's close frame; without one the client closes with 1000 at the end."""
    chop: int = 0
    """So many octets at once; 0: all frames in one segment."""
    may_lack: bool = False
    """Whether the replies may be missing, where what came with their messages fails the connection."""


def pieces(case: Case) -> list[bytes | float]:
    """Return the segments of a case."""
    if case.chop == SYNC:
        return list(case.sent)
    result: list[bytes | float] = []
    for part in case.sent:
        if isinstance(part, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += part
        else:
            result.append(part)
    if not case.chop:
        return result
    chopped: list[bytes | float] = []
    for part in result:
        if isinstance(part, bytes):
            chopped += [part[at : at + case.chop] for at in range(0, len(part), case.chop)]
        else:
            chopped.append(part)
    return chopped


async def transmit(raw: Raw, case: Case) -> None:
    """Send a case; the server may end the connection meanwhile."""
    try:
        for part in pieces(case):
            if isinstance(part, bytes):
                await raw.send(part)
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(part)
    except Ended:
        return


async def received(raw: Raw, case: Case) -> tuple[list[Reply], int | None]:
    """Read up to the close frame; return replies and its code, if any. Where nothing fails the client closes."""
    replies: list[Reply] = []
    if case.close is None:
        while len(replies) < len(case.replies):
            got = await raw.frame(what=f"{len(case.replies)} replies ({len(replies)} came)")
            if got.opcode == CLOSE:
                return replies, got.closing[0]
            replies.append((got.opcode, got.payload))
        await asyncio.sleep(QUIET_SECONDS if not case.replies else 0)
        await raw.send(close_frame(NORMAL))
    try:
        while (got := await raw.frame(what="a close frame")).opcode != CLOSE:
            replies.append((got.opcode, got.payload))
    except Ended:
        if case.close not in FAILURES:
            raise
        return replies, None
    return replies, None if case.close in FAILURES and not got.payload else got.closing[0]


async def play(server: Server, case: Case) -> None:
    """Fail unless the server does what the suite expects."""
    raw = await server.websocket("/echo")
    sending = asyncio.ensure_future(transmit(raw, case))
    try:
        replies, code = await received(raw, case)
        if code is not None:
            equal("code of the close frame", NORMAL if case.close is None else case.close, code)
        if not (case.may_lack and not replies):
            equal("replies", list(case.replies), replies)
        await raw.try_send(close_frame(code or NORMAL))
        equal("after the close frame", b"", await raw.end(4))
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        raw.close()


def echo(opcode: int, size: int, chop: int = 0) -> Case:
    """Return a message of one character that comes back."""
    payload = (b"*" if opcode == TEXT else b"\xfe") * size
    return Case([frame(opcode, payload)], [(opcode, payload)], chop=chop)


def ping(payload: bytes, chop: int = 0) -> Case:
    """Return a ping that is answered."""
    return Case([frame(PING, payload)], [(PONG, payload)], chop=chop)


def failing(*sent: bytes, before: bytes | None = None, chop: int = 0) -> Case:
    """Return frames that fail the connection, behind a good message."""
    good = [] if before is None else [frame(TEXT, before)]
    replies = [] if before is None else [(TEXT, before)]
    return Case([*good, *sent], replies, PROTOCOL, chop, may_lack=True)


def parts(*payloads: bytes, between: bytes = b"", opcode: int = TEXT) -> list[bytes]:
    """Return the fragments of a message, and a frame between the first two."""
    last = len(payloads) - 1
    result = [frame(CONTINUATION if at else opcode, part, final=at == last) for at, part in enumerate(payloads)]
    return [result[0], between, *result[1:]] if between else result


ONE, TWO = b"fragment1", b"fragment2"
BOTH = (TEXT, ONE + TWO)
P = frame(PING)
PINGED = frame(PING, b"ping payload")
PONGED = (PONG, b"ping payload")
RAW_BYTES = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
STRAY, OPEN_STRAY = frame(CONTINUATION, b"stray"), frame(CONTINUATION, b"stray", final=False)
UMLAUTS = "Hello-µ@ßöäüàá-UTF-8!!".encode()
KOSME = "κόσμε".encode()
SURROGATE, TOO_HIGH, EDITED = b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"edited"
FIVE = [b"fragment%d" % number for number in range(1, 6)]
PINGS = [b"pongme 1!", b"pongme 2!"]
LATE: list[bytes | float] = [
    *(frame(TEXT, FIVE[0], final=False), frame(CONTINUATION, FIVE[1], final=False), frame(PING, PINGS[0])),
    PAUSE_SECONDS,
    *(frame(CONTINUATION, FIVE[2], final=False), frame(CONTINUATION, FIVE[3], final=False), frame(PING, PINGS[1])),
    frame(CONTINUATION, FIVE[4]),
]
LATE_REPLIES: list[Reply] = [(PONG, PINGS[0]), (PONG, PINGS[1]), (TEXT, b"".join(FIVE))]
TEN_PINGS = [frame(PING, b"payload-%d" % number) for number in range(10)]
TEN_PONGS = [(PONG, b"payload-%d" % number) for number in range(10)]
WRONG_TEXT = KOSME + TOO_HIGH + EDITED
WRONG_FRAME = frame(TEXT, WRONG_TEXT)
WRONG_HEAD = len(WRONG_FRAME) - len(WRONG_TEXT)


def cut_frame(*ends: int) -> list[bytes | float]:
    """Return a frame that is wrong, in pieces that end at bytes of its payload, with pauses."""
    result: list[bytes | float] = []
    start = 0
    for end in (*(WRONG_HEAD + end for end in ends), len(WRONG_FRAME)):
        result += [WRONG_FRAME[start:end], PAUSE_SECONDS]
        start = end
    return result


SIZES = {1: 0, 2: 125, 3: 126, 4: 127, 5: 128, 6: 65535, 7: 65536}
CASES: dict[str, Case] = {
    **{f"1.1.{number}": echo(TEXT, size) for number, size in SIZES.items()},
    "1.1.8": echo(TEXT, 65536, 997),
    **{f"1.2.{number}": echo(BINARY, size) for number, size in SIZES.items()},
    "1.2.8": echo(BINARY, 65536, 997),
    "2.1": ping(b""),
    "2.2": ping(HELLO),
    "2.3": ping(RAW_BYTES),
    "2.4": ping(b"\xfe" * 125),
    "2.5": failing(frame(PING, b"\xfe" * 126)),
    "2.6": ping(b"\xfe" * 125, 1),
    "2.7": Case([frame(PONG)]),
    "2.8": Case([frame(PONG, b"unsolicited pong payload")]),
    "2.9": Case([frame(PONG, b"unsolicited pong payload"), PINGED], [PONGED]),
    "2.10": Case(TEN_PINGS, TEN_PONGS),
    "2.11": Case(TEN_PINGS, TEN_PONGS, chop=1),
    "3.1": failing(frame(TEXT, HELLO, rsv=1)),
    "3.2": failing(frame(TEXT, HELLO, rsv=2), P, before=HELLO),
    "3.3": failing(frame(TEXT, HELLO, rsv=3), P, before=HELLO, chop=SYNC),
    "3.4": failing(frame(TEXT, HELLO, rsv=4), P, before=HELLO, chop=1),
    "3.5": failing(frame(BINARY, RAW_BYTES, rsv=5)),
    "3.6": failing(frame(PING, HELLO, rsv=6)),
    "3.7": failing(frame(CLOSE, rsv=7)),
    "4.1.1": failing(frame(3)),
    "4.1.2": failing(frame(4, b"reserved opcode payload")),
    "4.1.3": failing(frame(5), P, before=HELLO),
    "4.1.4": failing(frame(6, HELLO), P, before=HELLO),
    "4.1.5": failing(frame(7, HELLO), P, before=HELLO, chop=1),
    "4.2.1": failing(frame(11)),
    "4.2.2": failing(frame(12, b"reserved opcode payload")),
    "4.2.3": failing(frame(13), P, before=HELLO),
    "4.2.4": failing(frame(14, HELLO), P, before=HELLO),
    "4.2.5": failing(frame(15, HELLO), P, before=HELLO, chop=1),
    "5.1": failing(frame(PING, ONE, final=False), frame(CONTINUATION, TWO)),
    "5.2": failing(frame(PONG, ONE, final=False), frame(CONTINUATION, TWO)),
    "5.3": Case(parts(ONE, TWO), [BOTH]),
    "5.4": Case(parts(ONE, TWO), [BOTH], chop=SYNC),
    "5.5": Case(parts(ONE, TWO), [BOTH], chop=1),
    "5.6": Case(parts(ONE, TWO, between=PINGED), [PONGED, BOTH]),
    "5.7": Case(parts(ONE, TWO, between=PINGED), [PONGED, BOTH], chop=SYNC),
    "5.8": Case(parts(ONE, TWO, between=PINGED), [PONGED, BOTH], chop=1),
    "5.9": failing(STRAY, frame(TEXT, HELLO)),
    "5.10": failing(STRAY, frame(TEXT, HELLO), chop=SYNC),
    "5.11": failing(STRAY, frame(TEXT, HELLO), chop=1),
    "5.12": failing(OPEN_STRAY, frame(TEXT, HELLO)),
    "5.13": failing(OPEN_STRAY, frame(TEXT, HELLO), chop=SYNC),
    "5.14": failing(OPEN_STRAY, frame(TEXT, HELLO), chop=1),
    "5.15": Case([*parts(ONE, TWO), OPEN_STRAY, frame(TEXT, b"fragment4")], [BOTH], PROTOCOL, may_lack=True),
    "5.16": failing(*(OPEN_STRAY, frame(TEXT, ONE, final=False), frame(CONTINUATION, TWO)) * 2),
    "5.17": failing(*(STRAY, frame(TEXT, ONE, final=False), frame(CONTINUATION, TWO)) * 2),
    "5.18": failing(frame(TEXT, ONE, final=False), frame(TEXT, TWO)),
    "5.19": Case(LATE, LATE_REPLIES),
    "5.20": Case(LATE, LATE_REPLIES, chop=SYNC),
    "6.1.1": echo(TEXT, 0),
    "6.1.2": Case(parts(b"", b"", b""), [(TEXT, b"")]),
    "6.1.3": Case(parts(b"", b"middle frame payload", b""), [(TEXT, b"middle frame payload")]),
    "6.2.1": Case([frame(TEXT, UMLAUTS)], [(TEXT, UMLAUTS)]),
    "6.2.2": Case(parts(UMLAUTS[:12], UMLAUTS[12:]), [(TEXT, UMLAUTS)]),
    "6.2.3": Case([fragments(UMLAUTS, list(range(1, len(UMLAUTS))))], [(TEXT, UMLAUTS)]),
    "6.2.4": Case([fragments(KOSME, list(range(1, len(KOSME))))], [(TEXT, KOSME)]),
    "6.3.1": Case([frame(TEXT, KOSME + SURROGATE + EDITED)], close=BAD_TEXT),
    "6.3.2": Case([fragments(KOSME + SURROGATE + EDITED, list(range(1, 20)))], close=BAD_TEXT),
    "6.4.1": Case([fragments(WRONG_TEXT, [11, 15])], close=BAD_TEXT),
    "6.4.2": Case([fragments(WRONG_TEXT, [12, 13])], close=BAD_TEXT),
    "6.4.3": Case(cut_frame(11, 15), close=BAD_TEXT),
    "6.4.4": Case(cut_frame(12, 13), close=BAD_TEXT),
    "7.1.1": Case([frame(TEXT, b"Hello World!")], [(TEXT, b"Hello World!")]),
    "7.1.2": Case([close_frame(NORMAL), frame(CLOSE)], close=NORMAL),
    "7.1.3": Case([close_frame(NORMAL), P], close=NORMAL),
    "7.1.4": Case([close_frame(NORMAL), frame(TEXT, b"Hello World!")], close=NORMAL),
    "7.1.5": Case([parts(ONE, TWO)[0], close_frame(NORMAL), parts(ONE, TWO)[1]], close=NORMAL),
    "7.3.1": Case([frame(CLOSE)], close=0),
    "7.3.2": failing(frame(CLOSE, b"a")),
    "7.3.3": Case([close_frame(NORMAL)], close=NORMAL),
    "7.3.4": Case([close_frame(NORMAL, b"Hello World!")], close=NORMAL),
    "7.3.5": Case([close_frame(NORMAL, b"*" * 123)], close=NORMAL),
    "7.3.6": failing(frame(CLOSE, struct.pack(">H", NORMAL) + b"*" * 124)),
    "7.5.1": Case([close_frame(NORMAL, KOSME + SURROGATE + EDITED)], close=BAD_TEXT),
    **{
        f"7.7.{number}": Case([close_frame(code)], close=code)
        for number, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1)
    },
    **{
        f"7.9.{number}": failing(close_frame(code))
        for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1)
    },
    "7.13.1": failing(close_frame(5000)),
    "7.13.2": failing(close_frame(65535)),
    "10.1.1": Case([fragments(b"*" * 65536, list(range(1300, 65536, 1300)))], [(TEXT, b"*" * 65536)]),
}

LONELY = [(0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)]
LACKING = [
    *(b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80"),
    *(b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfb\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf"),
]
TEXTS: dict[str, list[bytes]] = {
    "6.5-valid": [b"hello$world", "hello¢world".encode(), "hello€world".encode(), b"hello\xf0\xa4\xad\xa2world", KOSME],
    "6.6-prefixes": [KOSME[:end] for end in range(1, len(KOSME) + 1)],
    "6.7-first-of-a-length": [b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80"],
    "6.8-first-of-5-and-6": [b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"],
    "6.9-last-of-a-length": [b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xf4\x8f\xbf\xbf"],
    "6.10-last-of-4-5-6": [b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"],
    "6.11-boundaries": [b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80"],
    "6.12-continuations": [
        *(b"\x80", b"\xbf", *((b"\x80\xbf" * 3)[:size] for size in range(2, 7))),
        bytes(range(0x80, 0xBF)),
    ],
    "6.13-lonely-starts": [b"".join(bytes([code, 0x20]) for code in range(first, last)) for first, last in LONELY],
    "6.14-last-byte-missing": LACKING,
    "6.15-incomplete-ones-together": [b"".join(LACKING)],
    "6.16-impossible-bytes": [b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"],
    "6.17-overlong-ascii": [
        *(b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xfc\x80\x80\x80\x80\xaf"),
    ],
    "6.18-longest-overlong": [
        *(b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf", b"\xfc\x83\xbf\xbf\xbf\xbf"),
    ],
    "6.19-overlong-nul": [
        *(b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80", b"\xfc\x80\x80\x80\x80\x80"),
    ],
    "6.20-surrogates": [
        *(b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80"),
        b"\xed\xbf\xbf",
    ],
    "6.21-pairs-of-surrogates": [
        first + second
        for first in (b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xaf\xbf")
        for second in (b"\xed\xb0\x80", b"\xed\xbf\xbf")
    ],
    "6.22-noncharacters": [chr(plane << 16 | last).encode() for plane in range(17) for last in (0xFFFE, 0xFFFF)],
    "6.23-specials": [chr(code).encode() for code in range(0xFFF9, 0x10000)],
}
"""The texts of sections 6.5 to 6.23; whether one is UTF-8 is for Python to say."""


def text_case(payload: bytes) -> Case:
    """Return what must become of a text."""
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return Case([frame(TEXT, payload)], close=BAD_TEXT)
    return Case([frame(TEXT, payload)], [(TEXT, payload)])


def _add_cases() -> None:
    for number, case in CASES.items():

        async def one(lab: Lab, case: Case = case) -> None:
            async with lab.server("--echo") as server:
                await play(server, case)

        REGISTRY.add(f"autobahn/{number}", one)
    for number, texts in TEXTS.items():

        async def many(lab: Lab, texts: Sequence[bytes] = texts) -> None:
            async with lab.server("--echo") as server:
                for payload in texts:
                    try:
                        await play(server, text_case(payload))
                    except (CheckError, wire.WireError, Ended) as problem:
                        raise CheckError(f"text {payload.hex()}: {problem}") from problem

        REGISTRY.add(f"autobahn/{number}", many)


_add_cases()


@REGISTRY.named("autobahn/7.1.6")
async def close_behind_much(lab: Lab) -> None:
    """256 KiB, a short text, close and ping, at once: whatever of it comes back, the connection ends."""
    async with lab.server("--echo") as server:
        raw = await server.websocket("/echo")
        much = frame(TEXT, (b"BAsd7&jh23" * 26215)[: 256 << 10])
        sending = asyncio.ensure_future(raw.try_send(much + frame(TEXT, HELLO) + close_frame(NORMAL) + P))
        equal("code of the close frame", NORMAL, (await raw.close_code())[0])
        await sending
        await raw.end(4)


@REGISTRY.named("autobahn/16-mib", seconds=2)
async def sixteen_mebibytes(lab: Lab) -> None:
    """/echo takes 16 MiB, in one frame and in many, and one byte more is 1009."""
    async with lab.server("--echo") as server:
        payload = bytes(range(256)) * (1 << 16)
        cuts = list(range(1 << 20, len(payload), 1 << 20))
        for sent in (frame(BINARY, payload), fragments(payload, cuts, opcode=BINARY)):
            raw = await server.websocket("/echo")
            sending = asyncio.ensure_future(raw.send(sent, 20))
            got = await raw.frame(20)
            await sending
            same = got.opcode == BINARY and got.payload == payload
            expect(same, f"expected the same 16 MiB back, got {len(got.payload)} bytes")
            raw.close()
        raw = await server.websocket("/echo")
        await raw.send(b"\x82\xff" + struct.pack(">Q", len(payload) + 1) + wire.MASK)
        equal("close", (1009, wire.REASONS[1009]), await raw.close_code())


async def suite(lab: Lab, words: Sequence[str]) -> None:
    """Run Autobahn's suite itself; fail with the cases that it calls FAILED."""
    folder = lab.folder / "wstest"
    folder.mkdir()
    async with lab.server("--echo", "--ping-interval", "3600") as server:
        spec = {
            "outdir": str(folder / "reports"),
            "servers": [{"agent": "lane", "url": f"ws://127.0.0.1:{server.port}/echo"}],
            "cases": ["*"],
            "exclude-cases": ["9.*", "12.*", "13.*"],
            "exclude-agent-cases": {},
        }
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        process = await spawn([*words, "-m", "fuzzingclient", "-s", str(folder / "spec.json")])
        try:
            await asyncio.wait_for(process.communicate(), WSTEST_SECONDS)
        finally:
            kill(process)
    found = json.loads((folder / "reports" / "index.json").read_text(encoding="utf-8"))["lane"]
    expect(len(found) > 240, f"expected more than 240 cases, got {len(found)}")
    failed = [
        f"{number} {result['behavior']} {result['behaviorClose']}"
        for number, result in found.items()
        if "FAILED" in (result["behavior"], result["behaviorClose"]) or result["behaviorClose"] == "WRONG CODE"
    ]
    expect(not failed, f"expected no failed case, got {len(failed)}: {', '.join(failed[:10])}")


if WORDS := shlex.split(os.environ.get("CHAT_WSTEST", "")):

    @REGISTRY.named("autobahn/wstest", seconds=120)
    async def whole_suite(lab: Lab) -> None:
        """The suite itself."""
        await suite(lab, WORDS)
