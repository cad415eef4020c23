#!/usr/bin/env python3
"""unbound under the command line of a lane, to prove the oracle on a resolver that the world relies on.

DIFFERS names the checks in which unbound behaves otherwise by design, and how; on all others it must pass. With
DNS_FAULT set, a relay before it (dns_liar.py) or a line of its configuration plants that fault. Port 53 must be ours.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import dns_liar

ATTEMPTS = 5
UNBOUND = """
server:
    verbosity: 0
    interface: 127.0.0.1@{port}
    access-control: 127.0.0.0/8 allow_snoop
    num-threads: {threads}
    do-ip6: no
    do-daemonize: no
    use-syslog: no
    username: ""
    chroot: ""
    directory: "{run}"
    pidfile: ""
    module-config: "iterator"
    root-hints: "{hints}"
    do-not-query-localhost: no
    outgoing-interface: {bind}
    outgoing-range: 4096
    num-queries-per-thread: 2048
    incoming-num-tcp: 1000
    outgoing-num-tcp: 200
    tcp-idle-timeout: 10000
    unblock-lan-zones: yes
    insecure-lan-zones: yes
    qname-minimisation: no
    minimal-responses: yes
    hide-version: yes
    hide-identity: yes
    msg-cache-size: {cache_bytes}
    rrset-cache-size: {cache_bytes}
    cache-max-ttl: {max_ttl}
    cache-min-ttl: {min_ttl}
    cache-max-negative-ttl: {negative_ttl_max}
    edns-buffer-size: {edns_size}
    max-udp-size: 65535
    target-fetch-policy: "0 0 0 0 0"
    deny-any: no
    harden-short-bufsize: no
    {fault}
remote-control:
    control-enable: no
"""

DIFFERS: dict[str, str] = {
    "usage/*,bulk/*,counters/*,spoof/counted": "its options and counters are its own, and it has no bulk mode",
    "end/sigterm-waits-*,end/drain-timeout,end/second-signal-*,end/nothing-was-logged-*": "it ends at once",
    "refused/any,refused/axfr,refused/ixfr,refused/opcode-notify,tcp/refusals": "it answers ANY, and refuses transfers",
    "refused/class-any": "it answers for any class",
    "refused/nothing-cached-without-rd,flags/rd-0-asks-nobody": "where snooping is allowed it asks for RD=0 too",
    "malformed/question-missing,malformed/many-questions,malformed/name-*,malformed/no-type,malformed/half-*,malformed/no-class,"
    "malformed/label-*,malformed/pointer-*,malformed/answer-promised,malformed/authority-promised,malformed/two-opt,"
    "mutations/*": "its FORMERR repeats the malformed question",
    "malformed/opt-option-that-is-cut": "it does not look at options that it does not know",
    "size/0/*,tcp/answers-are-whole-*": "it answers FORMERR to an EDNS size of 0",
    "tcp/at-most-1000-connections": "it has half as many in this configuration",
    "upstream/every-query-is-sound": "it sets DO",
    "cache/failures-are-not-kept-long": "it remembers failing servers for minutes",
    "one-server-of-two/silent,one-server-of-two/nobody-*,only-server/silent,only-server/nobody-*": (
        "it tries for half a minute"
    ),
    "one-server-of-two/refers-*,only-server/refers-*": "it takes a referral to the zone itself for an answer",
    "hopeless/www.lame-to-parent.*": "as above",
    "hopeless/www.dead-all.*,lame/*.dead-*": "it tries for half a minute",
    "retries/*,limits/thousand-*,limits/*-without-end,tcp-upstream/never-answers,tcp-upstream/length-that-lies":
        "as above",
    "limits/delegation-steps": "it follows any number of delegations",
    "limits/twelve-*,aliases/c1?.*,aliases/c20.*,chains-over-zones/www.hop1?.*,zone/chain.alpha.,zone/hop1?.*":
        "it follows any number of aliases in one message",
    "spoof/wrong-*,spoof/name-one-letter-off,spoof/not-a-response,spoof/other-opcode,spoof/query-of-our-own":
        "a packet with the right id, address and port ends its waiting, whatever else is wrong in it",
    "hurt/a-of-*,hurt/cname-rdata-longer-*,hurt/soa-cut,hurt/dname-to-itself,hurt/mutated-answers":
        "it passes on records that are malformed inside",
}  # fmt: skip
"""What was seen, and why it is so."""
CONFIGURED: dict[str, tuple[str, str]] = {
    "one-port": ("upstream/ids-and-ports-are-hard-to-guess",
                 "outgoing-port-avoid: 0-65535\n    outgoing-port-permit: 40000-40003"),
    "small-edns": ("upstream/edns-with-the-size-of-the-option", "edns-buffer-size: 700"),
    "serves-expired": ("cache/expires-and-is-fetched-again",
                       "serve-expired: yes\n    serve-expired-client-timeout: 0"),
    "keeps-nothing": ("cache/answers-positive", "cache-max-ttl: 0"),
    "forgets-nxdomain": ("cache/answers-nxdomain", "cache-max-negative-ttl: 0"),
    "lifts-ttl": ("cache/expires-and-is-fetched-again", "cache-min-ttl: 3600"),
}  # fmt: skip
"""Faults of the configuration: the check that must notice, and the lines."""


def arguments() -> argparse.Namespace:
    """Read the command line of a lane."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--hints", required=True)
    parser.add_argument("--ipv4-only", action="store_true")
    for name, default in (
        ("port-of-servers", "53"), ("bind", "127.0.0.1"), ("timeout", "0.4"), ("attempts", "4"),
        ("cache-bytes", "64m"), ("max-ttl", "86400"), ("min-ttl", "0"), ("negative-ttl-max", "3600"),
        ("max-depth", "16"), ("max-queries", "100"), ("edns-size", "1232"), ("threads", "1"), ("drain-timeout", "5"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", default=default)
    return parser.parse_args()


def free_port() -> int:
    """Return a free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Ask the kernel to kill unbound when this process ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


async def answers(process: asyncio.subprocess.Process, port: int) -> bool:
    """Wait until unbound accepts, and tell whether it ever did."""
    for _ in range(200):
        if process.returncode is not None:
            return False
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        await asyncio.sleep(0.05)
    return False


async def start(port: int, settings: dict[str, str], run: Path, fault: str) -> asyncio.subprocess.Process | None:
    """Start unbound; None when it could not listen there (a free port may be taken before unbound binds it)."""
    text = UNBOUND.format(**settings, port=port, run=run, fault=CONFIGURED.get(fault, ("", ""))[1])
    (run / "unbound.conf").write_text(text, encoding="ascii")
    process = await asyncio.create_subprocess_exec(
        "/usr/sbin/unbound", "-d", "-p", "-c", str(run / "unbound.conf"), preexec_fn=die_with_parent
    )
    if await answers(process, port):
        return process
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    return None


async def serve(options: argparse.Namespace, run: Path) -> None:
    """Run unbound, and the liar before it where a fault is asked for, until a signal."""
    fault = os.environ.get("DNS_FAULT", "")
    asked = int(options.listen.rpartition(":")[2])
    relayed = fault in dns_liar.FAULTS
    settings = {name: value.replace("mb", "m") for name, value in vars(options).items() if isinstance(value, str)}
    process = None
    for _ in range(1 if asked and not relayed else ATTEMPTS):
        listen = asked or free_port()
        port = free_port() if relayed else listen
        if process := await start(port, settings, run, fault):
            break
    if process is None:
        raise SystemExit("error: unbound does not start")
    if relayed:
        await dns_liar.Relay(fault, port).open(listen)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    print(f"listening on 127.0.0.1:{listen}", flush=True)
    waiting = asyncio.ensure_future(process.wait())
    await asyncio.wait({waiting, asyncio.ensure_future(ended.wait())}, return_when=asyncio.FIRST_COMPLETED)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


def main() -> int:
    """Run the adapter."""
    options = arguments()
    if options.port_of_servers != "53":
        print(f"error: --port-of-servers {options.port_of_servers}: unbound knows 53 only", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(serve(options, Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
