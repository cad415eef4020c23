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


@dataclass(frozen=True)
class Bad:
    """A command line that must be refused, and what the line on stderr must name: the option and the value."""

    args: Sequence[str]
    names: Sequence[str]


def setting(option: str, value: str, part: str | None = None) -> Bad:
    """A value that an option does not take; `part` of it is what is wrong."""
    return Bad((*LISTEN, option, value), (option, f'"{value if part is None else part}'))


def address(value: str) -> Bad:
    """An address that is none."""
    return Bad(("--listen", value), ("--listen", f'"{value}'))


BAD: dict[str, Bad] = {
    "nothing": Bad((), ("--listen",)),
    "no-listen": Bad(("--threads", "1"), ("--listen",)),
    "unknown-option": Bad((*LISTEN, "--colour", "red"), ("--colour",)),
    "unknown-option-with-value": Bad((*LISTEN, "--colour=red"), ("--colour",)),
    "stray-word": Bad((*LISTEN, "file"), ("file",)),
    "flag-with-value": Bad((*LISTEN, "--echo=yes"), ("--echo",)),
    "missing-value": Bad(("--listen",), ("--listen",)),
    "missing-value-at-the-end": Bad((*LISTEN, "--rate"), ("--rate",)),
    "every-value-is-checked": Bad(
        (*LISTEN, "--max-connections", "0x", "--max-connections", "1"), ("--max-connections", '"0x"')
    ),
    "listen/nowhere": address("nowhere"),
    "listen/no-host": address(":8080"),
    "listen/port-word": address("127.0.0.1:http"),
    "listen/port-too-large": address("127.0.0.1:65536"),
    "listen/not-ours": address("192.0.2.77:0"),
    "threads/word": setting("--threads", "many"),
    "threads/0": setting("--threads", "0"),
    "threads/fraction": setting("--threads", "1.5"),
    "queue/word": setting("--queue", "long"),
    "queue/0": setting("--queue", "0"),
    "queue/negative": setting("--queue", "-1"),
    "rate/word": setting("--rate", "fast"),
    "rate/negative": setting("--rate", "-1"),
    "rate/nan": setting("--rate", "nan"),
    "burst/word": setting("--burst", "big"),
    "burst/0": setting("--burst", "0"),
    "ping-interval/word": setting("--ping-interval", "soon"),
    "ping-interval/0": setting("--ping-interval", "0"),
    "ping-timeout/negative": setting("--ping-timeout", "-1"),
    "ping-timeout/infinite": setting("--ping-timeout", "inf"),
    "join-timeout/word": setting("--join-timeout", "10s"),
    "join-timeout/empty": setting("--join-timeout", ""),
    "drain-timeout/word": setting("--drain-timeout", "never"),
    "max-message-bytes/0": setting("--max-message-bytes", "0"),
    "max-message-bytes/unit": setting("--max-message-bytes", "4k"),
    "max-connections/0": setting("--max-connections", "0"),
    "max-connections/huge": setting("--max-connections", "99999999999999999999"),
    "history/word": setting("--history", "all"),
    "history/negative": setting("--history", "-1"),
    "origins/word": setting("--origins", "here"),
    "origins/empty": setting("--origins", ""),
    "origins/one-of-two": setting("--origins", "https://a.example,b.example", ""),
    "origins/path": setting("--origins", "https://a.example/"),
}


async def refused(lab: Lab, bad: Bad) -> None:
    """Fail unless a command line is refused with exit code 2 and one line."""
    ended = await run(lab.program, bad.args)
    equal("exit code", 2, ended.code)
    equal("stdout", b"", ended.stdout)
    said = ended.stderr.decode("utf-8", "replace")
    expect(said.endswith("\n") and said.count("\n") == 1, f"stderr: expected one line, got {said!r:.300}")
    expect(said.startswith("error: "), f"stderr: expected 'error: ...', got {said!r:.300}")
    for name in bad.names:
        expect(name in said, f"stderr: expected {name} in it, got {said!r:.300}")
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
        await refused(lab, address(f"127.0.0.1:{taken.getsockname()[1]}"))


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
