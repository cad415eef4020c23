"""Bulk mode: a file of questions, thousands in flight, answers in a canonical form, in the order of the questions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from os.path import commonpath

import dns.name
import dns.rdata
import dns.rdatatype
from checks_tree import EXTRA, questions, zone_questions
from dns_lab import REGISTRY, Lab, equal, expect, timely
from dns_model import Model
from dns_program import Ended, excerpt, run
from dns_wire import SERVFAIL, kind_number, kind_text, name_of, rcode_text
from dns_world import Asked

BLOCK = re.compile(
    rb"--- Statistics ---\n"
    rb"Total processed: (\d+)\n"
    rb"Processing time: \d+\.\d{3,}s\n"
    rb"Average latency: \d+\.\d{3,}ms\n"
    rb"Throughput: \d+\.\d{2,} items/sec\n"
    rb"Digest: ([0-9a-f]{16})\n"
)
KNOWN_TYPES = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}
SLOW_ZONES = ("dead-", "lame-to-", "cycle-", "only-six", "missing-", "mostly-")
THOUSANDS = 6000
MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip


# --- XXH64 -----------------------------------------------------------------------------------------------------------


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & MASK


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * P2) & MASK, 31) * P1 & MASK


def xxh64(data: bytes) -> int:
    """Return the digest of XXH64 with seed 0."""
    whole = len(data) - len(data) % 32
    if whole:
        lanes = [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
        words = memoryview(data[:whole]).cast("Q")
        for start in range(0, len(words), 4):
            lanes = [_round(lane, word) for lane, word in zip(lanes, words[start : start + 4], strict=True)]
        digest = sum(_rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            digest = ((digest ^ _round(0, lane)) * P1 + P4) & MASK
    else:
        digest = P5
    digest = (digest + len(data)) & MASK
    rest = data[whole:]
    while len(rest) >= 8:
        digest = (_rotated(digest ^ _round(0, int.from_bytes(rest[:8], "little")), 27) * P1 + P4) & MASK
        rest = rest[8:]
    if len(rest) >= 4:
        digest = (_rotated(digest ^ int.from_bytes(rest[:4], "little") * P1 & MASK, 23) * P2 + P3) & MASK
        rest = rest[4:]
    for byte in rest:
        digest = _rotated(digest ^ byte * P5 & MASK, 11) * P1 & MASK
    digest = (digest ^ digest >> 33) * P2 & MASK
    digest = (digest ^ digest >> 29) * P3 & MASK
    return digest ^ digest >> 32


# --- the canonical form ----------------------------------------------------------------------------------------------


def kind_shown(kind: int) -> str:
    """Return the type as it stands in a line."""
    return KNOWN_TYPES.get(kind, f"TYPE{kind}")


def data_shown(kind: int, wire: bytes) -> str:
    """Return the data of a record, given in canonical form, as it stands in a line."""
    if kind not in KNOWN_TYPES:
        return f"\\# {len(wire)} {wire.hex()}".rstrip()
    return dns.rdata.from_wire("IN", kind_text(kind), wire, 0, len(wire)).to_text()


def line(model: Model, name: str | dns.name.Name, kind: str | int) -> str:
    """Return the right line for a question."""
    wanted = kind_number(kind)
    shape = model.resolve(name, wanted).shape
    owner = name_of(name).to_text().lower()
    parts = [f"{link} CNAME {target}" for link, target in shape.chain]
    last = shape.chain[-1][1] if shape.chain else owner
    parts += [f"{last} {kind_shown(wanted)} {data_shown(wanted, wire)}" for wire in sorted(shape.records)]
    if shape.rcode == SERVFAIL:
        parts = []
    return f"{owner} {kind_shown(wanted)} {rcode_text(shape.rcode)} {' ; '.join(parts) or '-'}"


def every_question(lab: Lab) -> list[tuple[str, str]]:
    """Return every question of the tree that is quickly answered, in a scattered but fixed order."""
    found = {(name.to_text(), kind_shown(kind)) for zone in lab.model.zones.values()
             for name, kind in zone_questions(lab.model, zone)}  # fmt: skip
    extra = {(name, kind_shown(kind_number(kind))) for text in EXTRA.values() for name, kind in questions(text)}
    found = {one for one in found | extra if one[1] != "TYPE39"}
    quick = {one for one in found if not any(word in one[0] for word in SLOW_ZONES)}
    return sorted(quick, key=lambda one: (xxh64(" ".join(one).encode()), one))


async def bulk(
    lab: Lab, asked: Sequence[tuple[str, str]], *options: str, seconds: float = 60
) -> tuple[Ended, list[str]]:
    """Resolve questions in bulk; return how it ended and the answers."""
    queries, output = lab.path("queries.txt"), lab.path("answers.txt")
    queries.write_text("".join(f"{name} {kind}\n" for name, kind in asked), encoding="ascii")
    words = [*lab.tree_words, "--bulk", str(queries), "--output", str(output), *options]
    ended = await run(lab.program, words, seconds)
    equal(f"exit code ({excerpt(ended.stderr)})", 0, ended.code)
    return ended, output.read_text(encoding="ascii").splitlines()


def statistics(ended: Ended) -> tuple[int, str]:
    """Return items and digest of the block on stdout."""
    found = BLOCK.fullmatch(ended.stdout)
    expect(found, f"expected the statistics block alone on stdout, got {excerpt(ended.stdout)}")
    assert found is not None
    return int(found[1]), found[2].decode()


def tail(one: str, other: str) -> str:
    """Return a line from shortly before the place where it differs from another."""
    same = len(commonpath([one, other]))
    return one if same < 100 else f"{one[:40]}...{one[same - 40 : same + 200]}"


def same_lines(expected: Sequence[str], got: Sequence[str]) -> None:
    """Fail unless all lines are right."""
    equal("number of lines", len(expected), len(got))
    wrong = [(right, line) for right, line in zip(expected, got, strict=True) if right != line]
    first = f"expected {tail(*wrong[0])!r}, got {tail(*reversed(wrong[0]))!r}" if wrong else ""
    expect(not wrong, f"{len(wrong)} of {len(expected)} lines, first: {first}")


# --- checks ----------------------------------------------------------------------------------------------------------


@REGISTRY.check("bulk/every-question-of-the-tree", alone=True, seconds=90)
async def _everything(lab: Lab) -> None:
    asked = every_question(lab)
    ended, got = await bulk(lab, asked)
    same_lines([line(lab.model, name, kind) for name, kind in asked], got)
    text = "".join(f"{one}\n" for one in got).encode()
    equal("items and digest", (len(asked), f"{xxh64(text):016x}"), statistics(ended))


@REGISTRY.check("bulk/few-in-flight")
async def _few(lab: Lab) -> None:
    asked = every_question(lab)[:300]
    expected = [line(lab.model, name, kind) for name, kind in asked]
    for in_flight in ("1", "7"):
        _, got = await bulk(lab, asked, "--in-flight", in_flight)
        same_lines(expected, got)


@REGISTRY.check("bulk/thousands-in-flight", alone=True, seconds=90)
async def _thousands(lab: Lab) -> None:
    asked = [one for one in every_question(lab) if one[1] in ("A", "AAAA", "TXT", "PTR")]
    asked = (asked * (THOUSANDS // len(asked) + 1))[:THOUSANDS]
    ended, got = await bulk(lab, asked, "--in-flight", "5000")
    known = {one: line(lab.model, *one) for one in set(asked)}
    same_lines([known[one] for one in asked], got)
    equal("items", THOUSANDS, statistics(ended)[0])


@REGISTRY.check("bulk/hopeless-zones-do-not-hold-up-the-rest", alone=True, seconds=60)
async def _hopeless(lab: Lab) -> None:
    slow = questions(EXTRA["hopeless"])
    asked = slow + every_question(lab)[:200] + slow
    _, got = await bulk(lab, asked, seconds=40)
    same_lines([line(lab.model, name, kind) for name, kind in asked], got)


@REGISTRY.check("bulk/repeats", alone=True)
async def _repeats(lab: Lab) -> None:
    asked = [one for one in every_question(lab) if ".alpha." in one[0]][:200]
    once, got = await bulk(lab, asked)
    thrice, got_again = await bulk(lab, asked, "--repeats", "3")
    equal("answers with --repeats 3", got, got_again)
    text = "".join(f"{one}\n" for one in got).encode()
    equal("digest", (len(asked), f"{xxh64(text):016x}"), statistics(once))
    equal("digest with --repeats 3", (3 * len(asked), f"{xxh64(text * 3):016x}"), statistics(thrice))


@REGISTRY.check("bulk/repeats-begin-with-an-empty-cache")
async def _emptied(lab: Lab) -> None:
    place = await lab.world.place("repeated")
    name = place.add("www", "A", "10.0.0.1")
    queries = lab.path("queries.txt")
    queries.write_text(f"{name} A\n" * 5, encoding="ascii")
    ended = await run(lab.program, [*lab.world_words, "--bulk", str(queries), "--repeats", "3"])
    equal("exit code", 0, ended.code)
    equal("queries to the zone", 3, len(place.log))
    equal("items", 15, statistics(ended)[0])


@REGISTRY.check("bulk/cache-is-shared-and-questions-are-joined")
async def _joined(lab: Lab) -> None:
    place = await lab.world.place("bulk-joined")
    name = place.add("www", "A", "10.0.0.1")
    place.script = lambda asked: asked.send_later(0.1, place.sound(asked))
    queries = lab.path("queries.txt")
    queries.write_text(f"{name} A\n" * 500, encoding="ascii")
    ended = await run(lab.program, [*lab.world_words, "--bulk", str(queries)])
    equal("exit code", 0, ended.code)
    equal("queries to the zone", 1, len(place.log))


@REGISTRY.check("bulk/in-flight-is-kept-to")
async def _in_flight(lab: Lab) -> None:
    place = await lab.world.place("bulk-flight")
    now = most = 0

    def leave(asked: Asked) -> None:
        nonlocal now
        now -= 1
        asked.send(asked.reply(f"{asked.text} 60 A 10.0.0.1"))

    def script(asked: Asked) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        asyncio.get_running_loop().call_later(0.05, leave, asked)

    place.script = script
    queries = lab.path("queries.txt")
    queries.write_text("".join(f"n{number}.{place.zone} A\n" for number in range(200)), encoding="ascii")
    ended = await run(lab.program, [*lab.world_words, "--bulk", str(queries), "--in-flight", "20"])
    equal("exit code", 0, ended.code)
    expect(most <= 20, f"{most} questions at once with --in-flight 20")
    timely(most >= 10, f"at most {most} questions at once with --in-flight 20")


@REGISTRY.check("bulk/only-answers-on-stdout")
async def _stdout(lab: Lab) -> None:
    asked = [("www.old.delta.", "A"), ("none.alpha.", "A"), ("a-many.kinds.alpha.", "A")]
    queries = lab.path("queries.txt")
    queries.write_text("".join(f"{name} {kind}\n" for name, kind in asked), encoding="ascii")
    ended = await run(lab.program, [*lab.tree_words, "--bulk", str(queries), "--output", "-"])
    equal("exit code", 0, ended.code)
    same_lines([line(lab.model, name, kind) for name, kind in asked], ended.stdout.decode().splitlines())


@REGISTRY.check("bulk/from-stdin")
async def _stdin(lab: Lab) -> None:
    text = b"WWW.Old.Delta A\r\na-many.kinds.alpha a\nunknown.kinds.alpha. type65280"
    ended = await run(lab.program, [*lab.tree_words, "--bulk", "-", "--output", "-"], stdin=text)
    equal(f"exit code ({excerpt(ended.stderr)})", 0, ended.code)
    expected = [
        line(lab.model, name, kind)
        for name, kind in (("www.old.delta.", "A"), ("a-many.kinds.alpha.", "A"), ("unknown.kinds.alpha.", 65_280))
    ]
    same_lines(expected, ended.stdout.decode().splitlines())


@REGISTRY.check("bulk/no-questions")
async def _none(lab: Lab) -> None:
    ended, got = await bulk(lab, [])
    equal("lines", [], got)
    equal("items and digest", (0, f"{xxh64(b''):016x}"), statistics(ended))


@REGISTRY.check("bulk/block-alone-without-output")
async def _block(lab: Lab) -> None:
    queries = lab.path("queries.txt")
    queries.write_text("www.old.delta. A\n", encoding="ascii")
    ended = await run(lab.program, [*lab.tree_words, "--bulk", str(queries)])
    equal("exit code", 0, ended.code)
    equal("items", 1, statistics(ended)[0])
    equal("stderr", b"", ended.stderr)


@REGISTRY.check("bulk/no-partial-output-after-a-bad-line")
async def _partial(lab: Lab) -> None:
    queries, output = lab.path("queries.txt"), lab.path("answers.txt")
    queries.write_text("www.old.delta. A\n" * 50 + "www.old.delta. BOGUS\n", encoding="ascii")
    ended = await run(lab.program, [*lab.tree_words, "--bulk", str(queries), "--output", str(output)])
    equal("exit code", 2, ended.code)
    expect(b"line 51: " in ended.stderr, f"expected 'line 51: ' in {excerpt(ended.stderr)}")
    expect(not output.exists() or not output.stat().st_size, "there is output although the input was refused")


@REGISTRY.check("bulk/sound-lines-of-odd-names")
async def _odd(lab: Lab) -> None:
    asked = [(name, kind) for name, kind in every_question(lab) if "\\" in name or len(name) > 120]
    expect(len(asked) >= 8, "the tree has odd names")
    _, got = await bulk(lab, asked)
    same_lines([line(lab.model, name, kind) for name, kind in asked], got)
