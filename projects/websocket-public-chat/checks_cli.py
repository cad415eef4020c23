"""The command line: manual, version, what is refused and with which words, the end by a signal."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import chat_wire as wire
from chat_lab import REGISTRY, Lab, equal, expect
from chat_program import FAULTS, Program, excerpt, run

SLUG = "websocket-public-chat"
LANGUAGES = ("go", "rust", "zig")
LISTEN = ("--listen", "127.0.0.1:0")
OPTIONS = (
    *("--listen", "--threads", "--drain-timeout", "--queue", "--rate", "--burst", "--ping-interval", "--ping-timeout"),
    *("--join-timeout", "--max-message-bytes", "--max-connections", "--history", "--origins", "--echo"),
    *("--help", "--version"),
)
NOT_ORIGINS = "not a list of origins like https://a.example"


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused, and the words for it."""

    args: Sequence[str]
    text: str


def setting(option: str, value: str, why: str) -> Bad:
    """A value that an option does not take."""
    return Bad((*LISTEN, option, value), f'{option} "{value}": {why}')


def count(option: str, value: str, least: int = 1) -> Bad:
    """A number that is none, or out of bounds; the upper bound is the lane's."""
    return setting(option, value, f"not a whole number from {least} to ")


def seconds(option: str, value: str) -> Bad:
    """A time that is none."""
    return setting(option, value, "not a number of seconds from ")


BAD: dict[str, Bad] = {
    "nothing": Bad((), "--listen is missing (see --help)"),
    "no-listen": Bad(("--threads", "1"), "--listen is missing (see --help)"),
    "unknown-option": Bad((*LISTEN, "--colour", "red"), 'unknown option: "--colour" (see --help)'),
    "unknown-option-with-value": Bad((*LISTEN, "--colour=red"), 'unknown option: "--colour" (see --help)'),
    "stray-word": Bad((*LISTEN, "file"), 'unknown option: "file" (see --help)'),
    "flag-with-value": Bad((*LISTEN, "--echo=yes"), "--echo takes no value"),
    "missing-value": Bad(("--listen",), "--listen needs a value"),
    "missing-value-at-the-end": Bad((*LISTEN, "--rate"), "--rate needs a value"),
    "listen/nowhere": Bad(("--listen", "nowhere"), '--listen "nowhere": not HOST:PORT'),
    "listen/no-host": Bad(("--listen", ":8080"), '--listen ":8080": not HOST:PORT'),
    "listen/port-word": Bad(("--listen", "127.0.0.1:http"), '--listen "127.0.0.1:http": '),
    "listen/port-too-large": Bad(("--listen", "127.0.0.1:65536"), '--listen "127.0.0.1:65536": '),
    "listen/not-ours": Bad(("--listen", "192.0.2.77:0"), '--listen "192.0.2.77:0": '),
    "threads/word": count("--threads", "many"),
    "threads/0": count("--threads", "0"),
    "threads/fraction": count("--threads", "1.5"),
    "queue/word": count("--queue", "long"),
    "queue/0": count("--queue", "0"),
    "queue/negative": count("--queue", "-1"),
    "rate/word": setting("--rate", "fast", "not "),
    "rate/negative": setting("--rate", "-1", "not "),
    "rate/nan": setting("--rate", "nan", "not "),
    "burst/word": count("--burst", "big"),
    "burst/0": count("--burst", "0"),
    "ping-interval/word": seconds("--ping-interval", "soon"),
    "ping-interval/0": seconds("--ping-interval", "0"),
    "ping-timeout/negative": seconds("--ping-timeout", "-1"),
    "ping-timeout/infinite": seconds("--ping-timeout", "inf"),
    "join-timeout/word": seconds("--join-timeout", "10s"),
    "join-timeout/empty": seconds("--join-timeout", ""),
    "drain-timeout/word": seconds("--drain-timeout", "never"),
    "max-message-bytes/0": count("--max-message-bytes", "0"),
    "max-message-bytes/unit": count("--max-message-bytes", "4k"),
    "max-connections/0": count("--max-connections", "0"),
    "max-connections/huge": count("--max-connections", "99999999999999999999"),
    "history/word": count("--history", "all", 0),
    "history/negative": count("--history", "-1", 0),
    "origins/word": setting("--origins", "here", NOT_ORIGINS),
    "origins/empty": setting("--origins", "", NOT_ORIGINS),
    "origins/one-of-two": setting("--origins", "https://a.example,b.example", NOT_ORIGINS),
    "origins/scheme": setting("--origins", "ftp://a.example", NOT_ORIGINS),
    "origins/path": setting("--origins", "https://a.example/", NOT_ORIGINS),
}


async def refused(lab: Lab, bad: Bad) -> None:
    """Fail unless a command line is refused with exit code 2 and one line."""
    ended = await run(lab.program, bad.args)
    equal("exit code", 2, ended.code)
    equal("stdout", b"", ended.stdout)
    said = ended.stderr.decode("utf-8", "replace")
    expect(said.endswith("\n") and said.count("\n") == 1, f"expected one line on stderr, got {said!r:.300}")
    expect(said.startswith(f"error: {bad.text}"), f"stderr: expected 'error: {bad.text}', got {said!r:.300}")
    expect(not any(word in ended.stderr for word in FAULTS), f"expected no stack trace, got {excerpt(ended.stderr)}")


def _add_bad() -> None:
    for name, bad in BAD.items():

        async def check(lab: Lab, bad: Bad = bad) -> None:
            await refused(lab, bad)

        REGISTRY.add(f"cli/refused/{name}", check)


_add_bad()


@REGISTRY.named("cli/version")
async def version(lab: Lab) -> None:
    """--version names the slug and the language."""
    ended = await run(lab.program, ["--version"])
    wanted = [f"{SLUG} {language}\n".encode() for language in LANGUAGES]
    equal("exit code", 0, ended.code)
    equal("stderr", b"", ended.stderr)
    expect(ended.stdout in wanted, f"stdout: expected '{SLUG} LANGUAGE', got {ended.stdout!r}")


@REGISTRY.named("cli/help")
async def manual(lab: Lab) -> None:
    """--help is a manual with every option."""
    ended = await run(lab.program, ["--help"])
    text = ended.stdout.decode()
    equal("exit code", 0, ended.code)
    equal("stderr", b"", ended.stderr)
    for word in ("usage:", "xit code", "default", *OPTIONS):
        expect(word in text, f"manual: expected {word}, got none")


@REGISTRY.named("cli/help-beside-others")
async def manual_beside(lab: Lab) -> None:
    """--help counts wherever it stands."""
    ended = await run(lab.program, [*LISTEN, "--rate", "5", "--help"])
    equal("exit code", 0, ended.code)
    expect(b"usage:" in ended.stdout, f"stdout: expected a manual, got {ended.stdout!r:.100}")


@REGISTRY.named("cli/port-in-use")
async def port_in_use(lab: Lab) -> None:
    """A port that is taken: exit code 2 and the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        await refused(lab, Bad(("--listen", address), f'--listen "{address}": '))


@REGISTRY.named("cli/ready-line")
async def ready_line(lab: Lab) -> None:
    """Exactly one line on stdout, with the real port, and nothing on stderr."""
    async with lab.server() as server:
        await server.well()
        server.program.signal(signal.SIGTERM)
        equal("exit code", 0, await server.program.ended(8))
        equal("stdout", f"listening on 127.0.0.1:{server.port}\n".encode(), bytes(server.program.stdout))
        equal("stderr", b"", bytes(server.program.stderr))


@REGISTRY.named("cli/equals-sign")
async def equals_sign(lab: Lab) -> None:
    """--name=value is --name value."""
    async with lab.server("--burst=1", "--rate=0.5", "--origins=https://a.example") as server:
        answer = await server.ask(wire.upgrade_head(Origin="https://b.example"))
        equal("status of an origin that is not in --origins=", 403, answer.status)


@REGISTRY.named("cli/every-value-is-checked")
async def every_value(lab: Lab) -> None:
    """A bad value is refused even where a good one follows."""
    await refused(lab, Bad((*LISTEN, "--max-connections", "0x", "--max-connections", "1"), '--max-connections "0x": '))


@REGISTRY.named("cli/threads-2")
async def two_threads(lab: Lab) -> None:
    """More threads serve too."""
    async with lab.server("--threads", "2") as server:
        await asyncio.gather(*(server.member("room", f"n{number}") for number in range(10)))
        await server.counted(members=10, rooms=1, connections=10)


@REGISTRY.named("cli/ipv6")
async def version_6(lab: Lab) -> None:
    """HOST may be an IPv6 address in brackets, where this machine has any."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return
    program = await Program.start(lab.program, ["--listen", "[::1]:0"])
    try:
        equal("address", "[::1]", program.host)
    finally:
        await program.kill()
