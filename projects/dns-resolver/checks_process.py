"""The program as a whole: options, errors, counters, signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from checks_messages import ADDRESS, KNOWN, still_well
from dns_client import Late, tcp, udp
from dns_lab import REGISTRY, Check, Lab, equal, expect, timely
from dns_program import Ended, Program, counters_of, excerpt, run
from dns_wire import WireError, query, rcode_text

LANGUAGES = (b"go", b"rust", b"zig")
OPTIONS = (
    "--listen", "--hints", "--bulk", "--output", "--in-flight", "--repeats", "--port-of-servers", "--bind", "--timeout",
    "--attempts", "--cache-bytes", "--max-ttl", "--min-ttl", "--negative-ttl-max", "--max-depth", "--max-queries",
    "--edns-size", "--threads", "--drain-timeout", "--ipv4-only", "--version", "--help",
)  # fmt: skip
FAULT_WORDS = (b"panic", b"goroutine ", b"stack backtrace", b"thread '", b"Segmentation", b"error: Unexpected")
LOG_LINES = 200


# --- usage -----------------------------------------------------------------------------------------------------------


def one_error(lab: Lab, what: str, ended: Ended, *words: str) -> None:
    """Fail unless a run ended with exit code 2 and one line that names the offending value."""
    text = ended.stderr.decode("utf-8", "replace")
    equal(f"{what}: exit code", 2, ended.code)
    equal(f"{what}: stdout", b"", ended.stdout)
    expect(text.startswith("error: ") and text.count("\n") == 1 and text.endswith("\n"),
           f"{what}: expected one line 'error: ...', got {excerpt(ended.stderr)}")  # fmt: skip
    for word in words:
        expect(word in text, f"{what}: expected {word!r} in {excerpt(ended.stderr)}")
    lab.texts[what] = text.strip().replace(str(lab.data), "DATA").replace(str(lab.folder), "RUN")


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused; DATA stands for the workload."""

    args: Sequence[str]
    words: Sequence[str]


HINTS = ("--hints", "DATA/hints.zone")
LISTEN = ("--listen", "127.0.0.1:0")
BAD: dict[str, Bad] = {
    "nothing": Bad((), ()),
    "unknown-option": Bad((*LISTEN, *HINTS, "--colour", "red"), ("--colour",)),
    "unknown-option-with-value": Bad((*LISTEN, *HINTS, "--colour=red"), ("--colour",)),
    "stray-word": Bad((*LISTEN, *HINTS, "stray"), ("stray",)),
    "no-hints": Bad(LISTEN, ("--hints",)),
    "neither-listen-nor-bulk": Bad(HINTS, ("--listen",)),
    "missing-value": Bad((*LISTEN, "--hints"), ("--hints",)),
    "bad-listen": Bad(("--listen", "nowhere", *HINTS), ("nowhere",)),
    "bad-listen-port": Bad(("--listen", "127.0.0.1:dns", *HINTS), ("127.0.0.1:dns",)),
    "listen-port-too-large": Bad(("--listen", "127.0.0.1:65536", *HINTS), ("65536",)),
    "listen-address-not-ours": Bad(("--listen", "192.0.2.77:0", *HINTS), ("192.0.2.77",)),
    "hints-missing": Bad((*LISTEN, "--hints", "DATA/none.zone"), ("none.zone",)),
    "hints-is-a-folder": Bad((*LISTEN, "--hints", "DATA/zones"), ("zones",)),
    "bad-port-of-servers": Bad((*LISTEN, *HINTS, "--port-of-servers", "domain"), ("domain",)),
    "port-of-servers-0": Bad((*LISTEN, *HINTS, "--port-of-servers", "0"), ("--port-of-servers",)),
    "bad-bind": Bad((*LISTEN, *HINTS, "--bind", "here"), ("here",)),
    "bad-timeout": Bad((*LISTEN, *HINTS, "--timeout", "soon"), ("soon",)),
    "negative-timeout": Bad((*LISTEN, *HINTS, "--timeout", "-1"), ("-1",)),
    "timeout-nan": Bad((*LISTEN, *HINTS, "--timeout", "nan"), ("nan",)),
    "bad-attempts": Bad((*LISTEN, *HINTS, "--attempts", "0"), ("--attempts",)),
    "bad-cache-bytes": Bad((*LISTEN, *HINTS, "--cache-bytes", "lots"), ("lots",)),
    "bad-max-ttl": Bad((*LISTEN, *HINTS, "--max-ttl", "-5"), ("-5",)),
    "bad-min-ttl": Bad((*LISTEN, *HINTS, "--min-ttl", "x"), ("--min-ttl",)),
    "bad-edns-size": Bad((*LISTEN, *HINTS, "--edns-size", "70000"), ("70000",)),
    "bad-max-queries": Bad((*LISTEN, *HINTS, "--max-queries", "none"), ("none",)),
    "zero-threads": Bad((*LISTEN, *HINTS, "--threads", "0"), ("--threads",)),
    "bad-threads": Bad((*LISTEN, *HINTS, "--threads=many"), ("many",)),
    "bad-drain-timeout": Bad((*LISTEN, *HINTS, "--drain-timeout", "later"), ("later",)),
    "bulk-missing": Bad((*HINTS, "--bulk", "DATA/none.txt"), ("none.txt",)),
    "bulk-is-a-folder": Bad((*HINTS, "--bulk", "DATA/zones"), ("zones",)),
    "bad-in-flight": Bad((*HINTS, "--bulk", "DATA/warm.txt", "--in-flight", "0"), ("--in-flight",)),
    "bad-repeats": Bad((*HINTS, "--bulk", "DATA/warm.txt", "--repeats", "0"), ("--repeats",)),
    "hints-empty": Bad((*LISTEN, "--hints", "DATA/bad/hints-empty.txt"), ("hints-empty.txt",)),
    "hints-only-comments": Bad((*LISTEN, "--hints", "DATA/bad/hints-comments.txt"), ("hints-comments.txt",)),
    "hints-no-server": Bad((*LISTEN, "--hints", "DATA/bad/hints-no-server.txt"), ("hints-no-server.txt",)),
    "hints-no-address": Bad((*LISTEN, "--hints", "DATA/bad/hints-no-address.txt"), ("hints-no-address.txt",)),
    "hints-other-address": Bad((*LISTEN, "--hints", "DATA/bad/hints-other-address.txt"), ("hints-other-address.txt",)),
    "hints-bad-address": Bad(
        (*LISTEN, "--hints", "DATA/bad/hints-bad-address.txt"), ("hints-bad-address.txt: line 2: ", "127.0.0.256")
    ),
    "hints-bad-type": Bad((*LISTEN, "--hints", "DATA/bad/hints-bad-type.txt"), ("hints-bad-type.txt: line 2: ",)),
    "hints-long-label": Bad(
        (*LISTEN, "--hints", "DATA/bad/hints-long-label.txt"),
        ("hints-long-label.txt: line 2: label longer than 63 bytes",),
    ),
    "hints-long-name": Bad(
        (*LISTEN, "--hints", "DATA/bad/hints-long-name.txt"),
        ("hints-long-name.txt: line 1: name longer than 255 bytes",),
    ),
    "hints-no-data": Bad((*LISTEN, "--hints", "DATA/bad/hints-no-data.txt"), ("hints-no-data.txt: line 1: ",)),
    "queries-long-label": Bad(
        (*HINTS, "--bulk", "DATA/bad/queries-long-label.txt"),
        ("queries-long-label.txt: line 2: label longer than 63 bytes",),
    ),
    "queries-long-name": Bad(
        (*HINTS, "--bulk", "DATA/bad/queries-long-name.txt"),
        ("queries-long-name.txt: line 3: name longer than 255 bytes",),
    ),
    "queries-unknown-type": Bad(
        (*HINTS, "--bulk", "DATA/bad/queries-unknown-type.txt"), ("queries-unknown-type.txt: line 2: ", "BOGUS")
    ),
    "queries-no-type": Bad((*HINTS, "--bulk", "DATA/bad/queries-no-type.txt"), ("queries-no-type.txt: line 1: ",)),
    "queries-type-number": Bad(
        (*HINTS, "--bulk", "DATA/bad/queries-type-number.txt"), ("line 1: ", "TYPE65536")
    ),
    "queries-empty-label": Bad((*HINTS, "--bulk", "DATA/bad/queries-empty-label.txt"), ("line 1: ",)),
    "queries-three-words": Bad((*HINTS, "--bulk", "DATA/bad/queries-three-words.txt"), ("line 1: ",)),
    "queries-bad-escape": Bad((*HINTS, "--bulk", "DATA/bad/queries-bad-escape.txt"), ("line 1: ",)),
}  # fmt: skip


def refused(name: str, bad: Bad) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of a command line that must be refused."""

    async def check(lab: Lab) -> None:
        args = [word.replace("DATA", str(lab.data)) for word in bad.args]
        words = [word.replace("DATA", str(lab.data)) for word in bad.words]
        one_error(lab, name, await run(lab.program, args), *words)

    return check


for _name, _bad in BAD.items():
    REGISTRY.add(Check(f"usage/{_name}", refused(_name, _bad)))


@REGISTRY.check("usage/port-in-use")
async def _in_use(lab: Lab) -> None:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = str(taken.getsockname()[1])
            ended = await run(lab.program, ["--listen", f"127.0.0.1:{port}", *lab.tree_words])
            one_error(lab, f"port-in-use-{kind}", ended, port)
            lab.texts.pop(f"port-in-use-{kind}")


@REGISTRY.check("usage/output-in-no-folder")
async def _no_folder(lab: Lab) -> None:
    queries = lab.path("queries.txt")
    queries.write_text("www.alpha. A\n", encoding="ascii")
    ended = await run(lab.program, [*lab.tree_words, "--bulk", str(queries), "--output", "/nowhere/at/all.txt"])
    expect(ended.code in (1, 2), f"exit code: expected 2 (or 1), got {ended.code}")
    expect(b"/nowhere/at/all.txt" in ended.stderr, f"expected the path in {excerpt(ended.stderr)}")
    equal("lines on stderr", 1, ended.stderr.count(b"\n"))


@REGISTRY.check("usage/version")
async def _version(lab: Lab) -> None:
    ended = await run(lab.program, ["--version"])
    equal("exit code", 0, ended.code)
    expect(ended.stdout in {b"dns-resolver %b\n" % name for name in LANGUAGES}, f"got {excerpt(ended.stdout)}")
    equal("stderr", b"", ended.stderr)


@REGISTRY.check("usage/help-names-every-option")
async def _help(lab: Lab) -> None:
    ended = await run(lab.program, ["--help"])
    equal("exit code", 0, ended.code)
    absent = [option for option in OPTIONS if option.encode() not in ended.stdout]
    equal("options that --help does not name", [], absent)
    equal("stderr", b"", ended.stderr)


@REGISTRY.check("usage/value-after-equals-sign")
async def _equals(lab: Lab) -> None:
    words = ["--listen=127.0.0.1:0", f"--hints={lab.data}/hints.zone", f"--port-of-servers={lab.reference.port}"]
    async with lab.own(words=words) as lane, udp(lane.address) as client:
        await still_well(client)


@REGISTRY.check("usage/hints-as-master-files-are-written")
async def _hints(lab: Lab) -> None:
    path = lab.path("hints.zone")
    path.write_text(
        "; a comment\n$TTL 1d\n\n.   IN NS A.ROOT-SERVERS. ; the first\n"
        "    3600 IN NS b.root-servers.\n.\t3600\tNS\tnobody.root-servers.\n"
        "a.root-servers. 3600 IN A 127.53.0.1\nb.root-servers. IN 3600 A 127.53.0.2\n"
        "b.root-servers. 3600 IN AAAA 2001:db8::1\n",
        encoding="ascii",
    )
    words = ["--hints", str(path), "--port-of-servers", str(lab.reference.port)]
    async with lab.own(words=words) as lane, udp(lane.address) as client:
        await still_well(client)


@REGISTRY.check("usage/no-newline-at-the-end-of-hints")
async def _no_newline(lab: Lab) -> None:
    path = lab.path("hints.zone")
    path.write_text(". IN NS a.root-servers.\r\na.root-servers. IN A 127.53.0.1", encoding="ascii")
    words = ["--hints", str(path), "--port-of-servers", str(lab.reference.port)]
    async with lab.own(words=words) as lane, udp(lane.address) as client:
        await still_well(client)


# --- listening -------------------------------------------------------------------------------------------------------


@REGISTRY.check("listen/one-line-udp-and-tcp-on-one-port")
async def _one_line(lab: Lab) -> None:
    async with lab.own(tree=True) as lane:
        async with udp(lane.address) as client, tcp(lane.address) as connection:
            await still_well(client)
            await connection.ask(KNOWN)
        equal("stdout", f"listening on 127.0.0.1:{lane.address[1]}\n".encode(), bytes(lane.stdout))


@REGISTRY.check("listen/port-that-is-given")
async def _given(lab: Lab) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with lab.own(tree=True, port=port) as lane, udp(lane.address) as client:
        equal("port", port, lane.address[1])
        await still_well(client)


@REGISTRY.check("listen/two-threads", alone=True)
async def _threads(lab: Lab) -> None:
    async with lab.own("--threads", "2", tree=True) as lane, udp(lane.address) as client:
        names = [f"host{number % 8}.cedar0002.gamma." for number in range(200)]
        answers = await asyncio.gather(*(client.ask(name) for name in names))
        equal("codes", {0}, {answer.rcode for answer in answers})
        lane.signal(signal.SIGTERM)
        equal("exit code", 0, await lane.ended(7))


@REGISTRY.check("listen/answers-come-from-the-address-that-was-asked")
async def _source(lab: Lab) -> None:
    lane = await lab.shared("tree")
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_sendto(client, query(KNOWN, number=5), lane.address)
        async with asyncio.timeout(5):
            _, source = await loop.sock_recvfrom(client, 4096)
        equal("source", tuple(lane.address), tuple(source))


# --- counters --------------------------------------------------------------------------------------------------------


@REGISTRY.check("counters/add-up", alone=True)
async def _counters(lab: Lab) -> None:
    place = await lab.world.place("counted")
    names = [place.add(f"n{number}", "A", "10.0.0.1") for number in range(5)]
    async with lab.own() as lane, udp(lane.address) as client:
        start = await lane.counters()
        equal("queries at first", 0, start["queries"])
        for name in names:
            await client.ask(name)
        for _ in range(10):
            await client.ask(names[0])
        async with tcp(lane.address) as connection:
            await connection.ask(names[0])
        bad = place.at("bad")
        place.script = lambda asked: asked.reply(rcode=2)
        await client.ask(bad)
        found = await lane.counters()
        equal("queries", 17, found["queries"])
        equal("hits", 11, found["hits"])
        equal("misses", 6, found["misses"])
        equal("servfail", 1, found["servfail"])
        equal("tcp", 1, found["tcp"])
        equal("spoofed", 0, found["spoofed"])
        asked = len(place.log) + len([one for one in lab.world.root.log if place.zone in one.text])
        equal("upstream", asked, found["upstream"])
        expect(found["cache_entries"] >= 5, f"cache_entries={found['cache_entries']} after 5 names")
        expect(found["cache_bytes"] > 100, f"cache_bytes={found['cache_bytes']}")


@REGISTRY.check("counters/time-outs", alone=True)
async def _timeouts(lab: Lab) -> None:
    place = await lab.world.place("timeouts", lambda _: None)
    async with lab.own() as lane, udp(lane.address) as client:
        await client.ask(place.at("www"))
        found = await lane.counters()
        equal("timeouts", len(place.log), found["timeouts"])


@REGISTRY.check("counters/at-the-end")
async def _at_the_end(lab: Lab) -> None:
    async with lab.own(tree=True) as lane, udp(lane.address) as client:
        for _ in range(3):
            await client.ask(KNOWN)
        lane.signal(signal.SIGTERM)
        equal("exit code", 0, await lane.ended(7))
        equal("queries", 3, counters_of(bytes(lane.stderr))["queries"])


@REGISTRY.check("counters/many-signals")
async def _many_signals(lab: Lab) -> None:
    async with lab.own(tree=True) as lane, udp(lane.address) as client:
        for _ in range(30):
            lane.signal(signal.SIGUSR1)
            await still_well(client)
        expect(lane.alive, f"the lane died, {lane.said()}")


# --- the end ---------------------------------------------------------------------------------------------------------


async def waiting_question(lab: Lab, lane: Program, seconds: float) -> float:
    """Ask a slow question, send SIGTERM meanwhile; return after how long the lane ended.

    Raises:
        WireError: no answer came.
    """
    place = await lab.world.place("drained")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(seconds, place.sound(asked))
    async with udp(lane.address) as client:
        waiting = asyncio.ensure_future(client.ask(name, seconds=seconds + 3))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        lane.signal(signal.SIGTERM)
        try:
            answer = await waiting
        except Late as error:
            raise WireError(f"a question that was waiting at SIGTERM got no answer: {error}") from error
        equal("code", "NOERROR", rcode_text(answer.rcode))
        equal("exit code", 0, await lane.ended(7))
        return time.monotonic() - began


@REGISTRY.check("end/sigterm-waits-for-what-is-in-flight", alone=True)
async def _drain(lab: Lab) -> None:
    words = [*lab.world_words, "--timeout", "2"]
    async with lab.own(words=words) as lane:
        taken = await waiting_question(lab, lane, 0.8)
        timely(0.4 < taken < 4, f"ended {taken:.1f} s after SIGTERM, expected about 0.7")


@REGISTRY.check("end/sigterm-waits-for-tcp-too", alone=True)
async def _drain_tcp(lab: Lab) -> None:
    place = await lab.world.place("drained-tcp")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.5, place.sound(asked))
    async with lab.own(words=[*lab.world_words, "--timeout", "2"]) as lane, tcp(lane.address) as connection:
        connection.send(query(name, number=1))
        await asyncio.sleep(0.1)
        lane.signal(signal.SIGTERM)
        expect(len(await connection.receive(4)) > 12, "no answer over TCP")
        equal("exit code", 0, await lane.ended(7))


@REGISTRY.check("end/sigint-is-the-same")
async def _sigint(lab: Lab) -> None:
    async with lab.own(tree=True) as lane, udp(lane.address) as client:
        await still_well(client)
        began = time.monotonic()
        lane.signal(signal.SIGINT)
        equal("exit code", 0, await lane.ended(7))
        timely(time.monotonic() - began < 3, f"{time.monotonic() - began:.1f} s to end with nothing in flight")


@REGISTRY.check("end/idle-tcp-connections-do-not-hold-it-up")
async def _idle_at_end(lab: Lab) -> None:
    async with lab.own(tree=True) as lane, tcp(lane.address) as connection:
        await connection.ask(KNOWN)
        began = time.monotonic()
        lane.signal(signal.SIGTERM)
        equal("exit code", 0, await lane.ended(7))
        timely(time.monotonic() - began < 3, f"{time.monotonic() - began:.1f} s with an idle connection")


@REGISTRY.check("end/drain-timeout", alone=True)
async def _drain_timeout(lab: Lab) -> None:
    place = await lab.world.place("never", lambda _: None)
    words = [*lab.world_words, "--timeout", "3", "--drain-timeout", "1"]
    async with lab.own(words=words) as lane, udp(lane.address) as client:
        client.send(query(place.at("www"), number=9))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        lane.signal(signal.SIGTERM)
        equal("exit code", 0, await lane.ended(7))
        taken = time.monotonic() - began
        timely(0.5 < taken < 2.5, f"ended {taken:.1f} s after SIGTERM with --drain-timeout 1")


@REGISTRY.check("end/second-signal-ends-at-once", alone=True)
async def _second(lab: Lab) -> None:
    place = await lab.world.place("never", lambda _: None)
    async with lab.own(words=[*lab.world_words, "--timeout", "3"]) as lane, udp(lane.address) as client:
        client.send(query(place.at("www"), number=9))
        await asyncio.sleep(0.2)
        lane.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        expect(lane.alive, "the lane ended before the second signal, with a question in flight")
        began = time.monotonic()
        lane.signal(signal.SIGTERM)
        await lane.ended(3)
        timely(time.monotonic() - began < 1, f"{time.monotonic() - began:.1f} s after the second signal")


@REGISTRY.check("end/nothing-was-logged-per-query", alone=True)
async def _quiet(lab: Lab) -> None:
    for kind in ("tree", "world"):
        lane = lab.lanes.get(kind)
        if lane is None:
            continue
        lane.signal(signal.SIGTERM)
        equal("exit code", 0, await lane.ended(8))
        del lab.lanes[kind]
        lines = bytes(lane.stderr).count(b"\n")
        expect(lab.foreign or lines <= LOG_LINES, f"{lines} lines on stderr: {lane.said()}")
        found = [word for word in FAULT_WORDS if word in lane.stderr]
        expect(not found, f"stderr speaks of a crash: {lane.said()}")


@REGISTRY.check("end/idle-costs-nothing", alone=True)
async def _idle_cpu(lab: Lab) -> None:
    async with lab.own(tree=True) as lane, udp(lane.address) as client:
        await still_well(client)
        await asyncio.sleep(0.3)
        before = lane.cpu_seconds()
        await asyncio.sleep(1.5)
        used = lane.cpu_seconds() - before
        expect(used <= 0.1, f"{used:.2f} s of CPU time in 1.5 s without a query")


@REGISTRY.check("end/no-descriptor-is-leaked", alone=True)
async def _descriptors(lab: Lab) -> None:
    place = await lab.world.place("descriptors")
    place.script = lambda asked: asked.reply(f"{asked.text} 60 A {ADDRESS}")
    async with lab.own() as lane, udp(lane.address) as client:
        await client.ask(place.at("first"))
        folder = f"/proc/{lane.process.pid}/fd"
        for start in range(0, 600, 100):
            await asyncio.gather(*(client.ask(place.at(f"n{number}")) for number in range(start, start + 100)))
            async with tcp(lane.address) as connection:
                await connection.ask(place.at("first"))
        await asyncio.sleep(0.3)
        middle = len(os.listdir(folder))  # noqa: PTH208 - names only, of a folder that changes
        for start in range(600, 1800, 100):
            await asyncio.gather(*(client.ask(place.at(f"n{number}")) for number in range(start, start + 100)))
            async with tcp(lane.address) as connection:
                await connection.ask(place.at("first"))
        await asyncio.sleep(0.3)
        after = len(os.listdir(folder))  # noqa: PTH208 - as above
        expect(after <= middle + 32, f"{middle} descriptors after 600 names, {after} after 1800")
