"""The program as a whole: options, errors, counters, signals."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from checks_messages import ADDRESS, KNOWN, still_well
from dns_client import Late, tcp, udp
from dns_lab import REGISTRY, Check, Lab, equal, expect, timely
from dns_manual import MANUAL
from dns_program import Ended, Program, counters_of, excerpt, run
from dns_wire import WireError, query, rcode_text

LANGUAGES = (b"go", b"rust", b"zig")
FAULT_WORDS = (b"panic", b"goroutine ", b"stack backtrace", b"thread '", b"Segmentation", b"error: Unexpected")
LOG_LINES = 200


# --- usage -----------------------------------------------------------------------------------------------------------


def one_error(lab: Lab, what: str, ended: Ended, text: str) -> None:
    """Fail unless a run ended with exit code 2 and this one line."""
    said = ended.stderr.decode("utf-8", "replace").replace(str(lab.data), "DATA").replace(str(lab.folder), "RUN")
    equal(f"{what}: exit code", 2, ended.code)
    equal(f"{what}: stdout", b"", ended.stdout)
    equal(f"{what}: stderr", f"error: {text}\n", said)


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused, and the words for it; DATA stands for the workload."""

    args: Sequence[str]
    text: str


HINTS = ("--hints", "DATA/hints.zone")
LISTEN = ("--listen", "127.0.0.1:0")
NEITHER = "--listen or --bulk is missing (see --help)"
NO_ADDRESS = "no usable server: no address for a.root-servers."
NO_ROOT = "no usable server: no NS record of the root"
LONG_LABEL = f'label longer than 63 bytes: "{"x" * 60}"...'
LONG_NAME = f'name longer than 255 bytes: "{"x." * 30}"...'


def setting(option: str, value: str, why: str) -> Bad:
    """A value that an option of a server does not take."""
    return Bad((*LISTEN, *HINTS, option, value), f'{option} "{value}": {why}')


def count(option: str, value: str, least: int, most: int) -> Bad:
    """A number that is none, or out of bounds."""
    return setting(option, value, f"not a whole number from {least} to {most}")


def hints(name: str, text: str) -> Bad:
    """A file of hints that cannot be used."""
    return Bad((*LISTEN, "--hints", f"DATA/{name}"), f"DATA/{name}: {text}")


def queries(name: str, text: str) -> Bad:
    """A file of questions that cannot be used."""
    return Bad((*HINTS, "--bulk", f"DATA/{name}"), f"DATA/{name}: {text}")


BAD: dict[str, Bad] = {
    "nothing": Bad((), NEITHER),
    "unknown-option": Bad((*LISTEN, *HINTS, "--colour", "red"), 'unknown option: "--colour" (see --help)'),
    "unknown-option-with-value": Bad((*LISTEN, *HINTS, "--colour=red"), 'unknown option: "--colour" (see --help)'),
    "stray-word": Bad(
        (*LISTEN, *HINTS, 'a\n\\"\x1b\u00e9'), 'unknown option: "a\\n\\\\\\"\\x1b\\xc3\\xa9" (see --help)'
    ),
    "flag-with-value": Bad((*LISTEN, *HINTS, "--ipv4-only=yes"), "--ipv4-only takes no value"),
    "no-hints": Bad(LISTEN, "--hints is missing (see --help)"),
    "neither-listen-nor-bulk": Bad(HINTS, NEITHER),
    "both-listen-and-bulk": Bad((*LISTEN, *HINTS, "--bulk", "q"), '--bulk "q": not together with --listen'),
    "output-of-a-server": Bad((*LISTEN, *HINTS, "--output", "o"), "--output: only with --bulk"),
    "missing-value": Bad((*LISTEN, "--hints"), "--hints needs a value"),
    "empty-path": Bad((*LISTEN, "--hints="), '--hints "": not a path'),
    "bad-listen": Bad(("--listen", "nowhere", *HINTS), '--listen "nowhere": not HOST:PORT'),
    "listen-without-host": Bad(("--listen", ":53", *HINTS), '--listen ":53": not HOST:PORT'),
    "bad-listen-host": Bad(
        ("--listen", "a.example:53", *HINTS), '--listen "a.example:53": the host is not an IP address'
    ),
    "bad-listen-port": Bad(
        ("--listen", "127.0.0.1:dns", *HINTS), '--listen "127.0.0.1:dns": the port is not a number from 0 to 65535'
    ),
    "listen-port-too-large": Bad(
        ("--listen", "127.0.0.1:65536", *HINTS), '--listen "127.0.0.1:65536": the port is not a number from 0 to 65535'
    ),
    "listen-address-not-ours": Bad(
        ("--listen", "192.0.2.77:0", *HINTS), '--listen "192.0.2.77:0": cannot assign requested address'
    ),
    "bad-port-of-servers": count("--port-of-servers", "domain", 1, 65535),
    "port-of-servers-0": count("--port-of-servers", "0", 1, 65535),
    "bad-bind": setting("--bind", "here", "not an IP address"),
    "bind-address-not-ours": setting("--bind", "192.0.2.77", "cannot assign requested address"),
    "bind-without-ipv4": Bad(
        (*LISTEN, *HINTS, "--bind", "::1", "--ipv4-only"), '--bind "::1": not an IPv4 address, and --ipv4-only is given'
    ),
    "bad-timeout": setting("--timeout", "soon", "not a number of seconds from 0.001 to 3"),
    "negative-timeout": setting("--timeout", "-1", "not a number of seconds from 0.001 to 3"),
    "timeout-nan": setting("--timeout", "nan", "not a number of seconds from 0.001 to 3"),
    "timeout-0": setting("--timeout", "0", "not a number of seconds from 0.001 to 3"),
    "timeout-too-long": setting("--timeout", "3.1", "not a number of seconds from 0.001 to 3"),
    "bad-attempts": count("--attempts", "0", 1, 100),
    "bad-cache-bytes": setting("--cache-bytes", "lots", "not a size from 64kb to 16gb, such as 64mb"),
    "cache-too-small": setting("--cache-bytes", "63kb", "not a size from 64kb to 16gb, such as 64mb"),
    "cache-too-large": setting("--cache-bytes", "17gb", "not a size from 64kb to 16gb, such as 64mb"),
    "bad-max-ttl": count("--max-ttl", "-5", 0, 2147483647),
    "bad-min-ttl": count("--min-ttl", "x", 0, 2147483647),
    "min-ttl-above-max": Bad(
        (*LISTEN, *HINTS, "--min-ttl", "90000"), '--min-ttl "90000": more than --max-ttl "86400"'
    ),
    "bad-edns-size": count("--edns-size", "70000", 512, 4096),
    "bad-max-queries": count("--max-queries", "none", 1, 10000),
    "bad-max-depth": count("--max-depth", "0", 1, 100),
    "zero-threads": count("--threads", "0", 1, 1024),
    "bad-threads": Bad((*LISTEN, *HINTS, "--threads=many"), '--threads "many": not a whole number from 1 to 1024'),
    "bad-drain-timeout": setting("--drain-timeout", "later", "not a number of seconds from 0 to 86400"),
    "bad-in-flight": Bad(
        (*HINTS, "--bulk", "DATA/warm.txt", "--in-flight", "0"), '--in-flight "0": not a whole number from 1 to 10000'
    ),
    "bad-repeats": Bad(
        (*HINTS, "--bulk", "DATA/warm.txt", "--repeats", "0"), '--repeats "0": not a whole number from 1 to 1000000'
    ),
    "hints-missing": hints("none.zone", "no such file or directory"),
    "hints-is-a-folder": hints("zones", "is a directory"),
    "hints-empty": hints("bad/hints-empty.txt", f"line 1: {NO_ROOT}"),
    "hints-only-comments": hints("bad/hints-comments.txt", f"line 2: {NO_ROOT}"),
    "hints-no-server": hints("bad/hints-no-server.txt", f"line 1: {NO_ROOT}"),
    "hints-no-address": hints("bad/hints-no-address.txt", f"line 1: {NO_ADDRESS}"),
    "hints-other-address": hints("bad/hints-other-address.txt", f"line 1: {NO_ADDRESS}"),
    "hints-of-another-family": hints("bad/hints-only-six.txt", f"line 1: {NO_ADDRESS}"),
    "hints-bad-address": hints("bad/hints-bad-address.txt", 'line 2: "127.0.0.256" is not an address of type A'),
    "hints-bad-type": hints(
        "bad/hints-bad-type.txt", 'line 2: "ADDRESS" is not a type that hints have: NS, A, AAAA'
    ),
    "hints-long-label": hints("bad/hints-long-label.txt", f"line 2: {LONG_LABEL}"),
    "hints-long-name": hints("bad/hints-long-name.txt", f"line 1: {LONG_NAME}"),
    "hints-no-data": hints("bad/hints-no-data.txt", "line 1: a record of type NS wants one word of data"),
    "bulk-missing": queries("none.txt", "no such file or directory"),
    "bulk-is-a-folder": queries("zones", "is a directory"),
    "queries-long-label": queries("bad/queries-long-label.txt", f"line 2: {LONG_LABEL}"),
    "queries-long-name": queries("bad/queries-long-name.txt", f"line 3: {LONG_NAME}"),
    "queries-unknown-type": queries("bad/queries-unknown-type.txt", 'line 2: unknown type: "BOGUS"'),
    "queries-no-type": queries("bad/queries-no-type.txt", 'line 1: not a name and a type: "www.alpha."'),
    "queries-type-number": queries("bad/queries-type-number.txt", 'line 1: unknown type: "TYPE65536"'),
    "queries-empty-label": queries("bad/queries-empty-label.txt", 'line 1: empty label: "www..alpha."'),
    "queries-three-words": queries("bad/queries-three-words.txt", 'line 1: not a name and a type: "www.alpha. A now"'),
    "queries-bad-escape": queries("bad/queries-bad-escape.txt", 'line 1: bad escape: "www\\\\300.alpha."'),
}  # fmt: skip


def refused(name: str, bad: Bad) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of a command line that must be refused."""

    async def check(lab: Lab) -> None:
        args = [word.replace("DATA", str(lab.data)) for word in bad.args]
        one_error(lab, name, await run(lab.program, args), bad.text)

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
            one_error(lab, f"port-in-use-{kind}", ended, f'--listen "127.0.0.1:{port}": address already in use')


@REGISTRY.check("usage/output-in-no-folder")
async def _no_folder(lab: Lab) -> None:
    asked = lab.path("queries.txt")
    asked.write_text("www.alpha. A\n", encoding="ascii")
    ended = await run(lab.program, [*lab.tree_words, "--bulk", str(asked), "--output", "/nowhere/at/all.txt"])
    expect(ended.code in (1, 2), f"exit code: expected 2 (or 1), got {ended.code}")
    expect(b"/nowhere/at/all.txt" in ended.stderr, f"expected the path in {excerpt(ended.stderr)}")
    equal("lines on stderr", 1, ended.stderr.count(b"\n"))


@REGISTRY.check("usage/version")
async def _version(lab: Lab) -> None:
    ended = await run(lab.program, ["--version"])
    equal("exit code", 0, ended.code)
    expect(ended.stdout in {b"dns-resolver %b\n" % name for name in LANGUAGES}, f"got {excerpt(ended.stdout)}")
    equal("stderr", b"", ended.stderr)


@REGISTRY.check("usage/help-is-the-manual")
async def _help(lab: Lab) -> None:
    ended = await run(lab.program, ["--help"])
    equal("exit code", 0, ended.code)
    said = ended.stdout.decode("utf-8", "replace").splitlines(keepends=True)
    for number, (line, right) in enumerate(itertools.zip_longest(said, MANUAL.splitlines(keepends=True)), 1):
        equal(f"line {number}", right, line)
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
    async with lab.own("--timeout", "0.1") as lane, udp(lane.address) as client:
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
        timely(used <= 0.1, f"{used:.2f} s of CPU time in 1.5 s without a query")


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
