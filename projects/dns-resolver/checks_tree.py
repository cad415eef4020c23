"""Every name and type of the private tree: dnspython on the master files, unbound on the same servers, and the lane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import dns.name
import dns.rdatatype
from dns_client import Late, Udp
from dns_lab import REGISTRY, Check, Failed, Lab, equal, expect
from dns_model import Expected, Model, ZoneData
from dns_wire import AA, AAAA, NXDOMAIN, RA, RD, SERVFAIL, TXT, A, Answer, Shape, WireError, kind_text, name_of, opt

MOST_TTL = 86_400
MOST_NEGATIVE = 3600
WINDOW = 6
LARGE = opt(65_535)
PLAIN = opt(1232)

MAXIMAL = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61]) + "."
EXTRA: dict[str, str] = {
    "kinds": """
        a-one.kinds.alpha. MX | nothing.kinds.alpha. A | nothing.a-one.kinds.alpha. A | _tcp.kinds.alpha. A
        cname.kinds.alpha. CNAME | cname.kinds.alpha. A | cname.kinds.alpha. TXT | cname.kinds.alpha. MX
        cname-out.kinds.alpha. A | cname-out.kinds.alpha. AAAA | cname-out.kinds.alpha. MX | upper.kinds.alpha. A
        unknown.kinds.alpha. TYPE65281 | caa.kinds.alpha. TYPE257 | a-one.kinds.alpha. TYPE1 | kinds.alpha. NS
        kinds.alpha. SOA | a-one.kinds.alpha. SOA | a-one.kinds.alpha. NS | a-one.kinds.alpha. PTR
    """,
    "names": r"""
        empty.non.terminal.names.beta. A | non.terminal.names.beta. A | terminal.names.beta. TXT | alias.names.beta. A
        nope.empty.non.terminal.names.beta. A | dot.ted.names.beta. A | dot\.ted.names.beta. A | nul.names.beta. A
    """,
    "wildcards": """
        x.wild.gamma. A | x.y.z.wild.gamma. A | x.wild.gamma. MX | x.wild.gamma. TXT | *.wild.gamma. A
        host.wild.gamma. A | below.host.wild.gamma. A | ent.wild.gamma. A | x.ent.wild.gamma. A | sub.ent.wild.gamma. A
        x.only-txt.wild.gamma. TXT | x.only-txt.wild.gamma. A | only-txt.wild.gamma. TXT | only-txt.wild.gamma. A
        x.alias.wild.gamma. A | x.alias.wild.gamma. CNAME | x.alias.wild.gamma. MX | x.alias-out.wild.gamma. A
        x.alias-out.wild.gamma. AAAA | x.alias-none.wild.gamma. A | www.cut.wild.gamma. A | x.cut.wild.gamma. A
        x.*.inner.wild.gamma. A | y.inner.wild.gamma. A | *.inner.wild.gamma. A | cut.wild.gamma. NS | wild.gamma. A
    """,
    "aliases": " | ".join(
        [f"c{links}.chain.alpha. A" for links in range(1, 21)]
        + ["c5.chain.alpha. TXT", "c5.chain.alpha. MX", "c5.chain.alpha. CNAME", "c20.chain.alpha. CNAME"]
        + [f"to-{what}.chain.alpha. A" for what in (
            "nothing", "nothing-2", "no-tld", "no-zone", "no-data", "lame", "wild", "apex", "tld", "root", "deep",
            "glueless",
        )]
        + ["to-big.chain.alpha. TXT", "to-root.chain.alpha. NS", "to-tld.chain.alpha. SOA", "to-apex.chain.alpha. MX"]
    ),
    "chains-over-zones": " | ".join(
        f"www.hop{link}.{('alpha', 'beta', 'gamma', 'delta')[link % 4]}. A" for link in range(1, 15)
    ),
    "loops": """
        self.loop.beta. A | two-a.loop.beta. A | two-b.loop.beta. TXT | into.loop.beta. A | far.loop.beta. A
        far.loop.gamma. A | far.loop.delta. AAAA | self.loop.beta. CNAME | far.loop.beta. CNAME | x.wild.loop.beta. A
    """,
    "dnames": """
        www.old.delta. A | www.old.delta. TXT | www.old.delta. AAAA | old.delta. A | old.delta. DNAME | old.delta. NS
        a.b.c.old.delta. A | b.c.old.delta. A | none.old.delta. A | alias.old.delta. A | x.dyn.old.delta. A
        moved.mixed.delta. TXT | moved.mixed.delta. A | www.moved.mixed.delta. A | www.near.mixed.delta. A
        www.twice.mixed.delta. A | www.gone.mixed.delta. A | www.to-no-tld.mixed.delta. A | to-cname.mixed.delta. A
        near.mixed.delta. DNAME | www.old.delta. CNAME | x.twice.mixed.delta. A
    """,
    "delegations": " | ".join(
        f"{label}.{zone} A"
        for zone in (
            "glueless-far.alpha.", "glueless-near.beta.", "glueless-half.alpha.", "glueless-six.gamma.",
            "glueless-farther.gamma.", "glueless-farthest.delta.", "eu.glueless-far.alpha.", "sub.hosting.beta.",
            "many.gamma.", "mostly-missing.gamma.",
        )
        for label in ("www", "alias", "none")
    )
    + " | many.gamma. NS | glueless-far.alpha. NS | ns.glueless-far.alpha. A | six.hosting.beta. AAAA",
    "lame": " | ".join(
        f"{label}.{zone}.alpha. A"
        for zone in ("lame-one", "lame-two", "lame-last", "dead-one", "dead-and-lame")
        for label in ("www", "none")
    ),
    "hopeless": " | ".join(
        f"www.{zone}. A"
        for zone in (
            "lame-all.alpha", "lame-to-parent.alpha", "lame-to-root.alpha", "dead-all.alpha", "missing-ns.alpha",
            "missing-tld.alpha", "only-six.alpha", "no-glue.alpha", "cycle-a.alpha", "cycle-b.beta",
        )
    ),
    "root": """
        . NS | . SOA | . A | . TXT | alpha. NS | alpha. SOA | alpha. A | beta. A | www.beta. A | alone. A
        no-such-tld. A | no.such.tld. MX | text.of.the.root. TXT | of.the.root. A | root. A | a.root-servers. A
        arpa. NS | in-addr.arpa. NS | 10.in-addr.arpa. SOA | 1.2.3.11.in-addr.arpa. PTR | ns1.alpha. A
    """,
    "negative": """
        none.negative-low.alpha. A | exists.negative-low.alpha. TXT | none.negative-short.alpha. A
        exists.negative-short.alpha. MX | none.negative-huge.alpha. A | exists.negative-huge.alpha. AAAA
        """ + f"{MAXIMAL} A | {'x' * 63}.{'y' * 63}.alpha. A",
}  # fmt: skip
"""Questions that the records of a zone do not suggest."""
UNBOUND_APART = frozenset(
    {f"c{links}.chain.alpha." for links in range(12, 21)}
    | {"www.hop11.delta.", "www.hop12.alpha.", "www.hop13.beta.", "www.hop14.gamma."}
    | {"www.lame-to-parent.alpha.", "www.dead-all.alpha."}
    | {f"{label}.dead-{which}.alpha." for label in ("www", "none") for which in ("one", "and-lame")}
)
"""It follows any number of links, takes a referral of a zone to itself for an answer, and waits long for the dead."""


def questions(text: str) -> list[tuple[str, str]]:
    """Return the questions of a list."""
    found = [part.split() for line in text.splitlines() for part in line.split("|") if part.strip()]
    return [(name, kind) for name, kind in found]


# --- one question ----------------------------------------------------------------------------------------------------


async def ask_whole(client: Udp, name: str | dns.name.Name, kind: str | int, edns: bytes) -> Answer:
    """Ask over UDP."""
    return await client.ask(name, kind, edns=edns, seconds=28)


async def lane_answer(lab: Lab, name: str | dns.name.Name, kind: str | int) -> Answer:
    """Ask the lane; over TCP where the answer was truncated."""
    answer = await ask_whole(await lab.tree(), name, kind, PLAIN)
    if answer.truncated:
        async with lab.tcp("tree") as connection:
            answer = await connection.ask(name, kind, edns=PLAIN)
            expect(not answer.truncated, f"{name} {kind}: TC over TCP")
    return answer


async def unbound_shape(lab: Lab, name: str | dns.name.Name, kind: str | int) -> Shape | None:
    """Ask unbound; None where it is known to differ."""
    if name_of(name).to_text().lower() in UNBOUND_APART:
        return None
    answer = await ask_whole(lab.turn("unbound"), name, kind, LARGE)
    return answer.shape(name, kind)


async def compare(lab: Lab, name: str | dns.name.Name, kind: str | int) -> None:
    """Fail unless the lane answers what the master files say, and unbound too."""
    expected = lab.model.resolve(name, kind)
    asked = f"{name} {kind if isinstance(kind, str) else kind_text(kind)}"
    reference = asyncio.ensure_future(unbound_shape(lab, name, kind))
    try:
        answer = await lane_answer(lab, name, kind)
        theirs = await reference
    except Late as error:
        who = "unbound" if reference.done() or "29ffff" in str(error) else "the lane"
        raise Late(f"{asked}: {who} does not answer ({error})") from error
    finally:
        reference.cancel()
    if theirs is not None and theirs != expected.shape:
        raise Failed(f"{asked}: the oracle contradicts itself: dnspython {expected.shape}, unbound {theirs}")
    try:
        shape = answer.shape(name, kind)
    except WireError as error:
        raise WireError(f"{asked}: expected {expected.shape} (dnspython, unbound), {error}") from error
    equal(f"{asked} (dnspython and unbound agree)", expected.shape, shape)
    judge_header(asked, answer)
    judge_times(asked, answer, expected)


def judge_header(asked: str, answer: Answer) -> None:
    """Fail unless the flags are those of a resolver."""
    wrong = answer.flags & (AA | RA | RD) != RA | RD
    expect(not wrong, f"{asked}: flags {answer.flags:04x}, expected RD and RA without AA")
    expect(answer.edns, f"{asked}: the query had an OPT record, the answer has none")


def judge_times(asked: str, answer: Answer, expected: Expected) -> None:
    """Fail unless the times to live may be."""
    shape = expected.shape
    if shape.records:
        finals = answer.times()[-len(shape.records) :]
        most = min(expected.ttl, MOST_TTL)
        expect(max(finals) <= most, f"{asked}: TTL {max(finals)}, expected at most {most}")
        expect(min(finals) == max(finals), f"{asked}: TTLs of one RRset differ: {sorted(set(finals))}")
        made = asked.endswith("CNAME")  # an alias made from a DNAME may have 0
        expect(made or most < 400 or min(finals) >= most - 200, f"{asked}: TTL {min(finals)} of {most}")
    elif shape.rcode != SERVFAIL and expected.negative:
        owner, ttl = expected.negative
        found = answer.soa()
        expect(found is not None, f"{asked}: expected the SOA of {owner} in authority, got none")
        assert found is not None
        equal(f"{asked}: owner of the SOA", owner, found[0])
        most = min(ttl, MOST_NEGATIVE)
        expect(found[1] <= most, f"{asked}: TTL of the SOA {found[1]}, expected at most {most}")


def one_question(name: str, kind: str) -> Callable[[Lab], Awaitable[None]]:
    """Return the check of one question."""

    async def run(lab: Lab) -> None:
        await compare(lab, name, kind)

    return run


# --- whole zones -----------------------------------------------------------------------------------------------------


def zone_questions(model: Model, zone: ZoneData) -> list[tuple[dns.name.Name, int]]:
    """Return every name and type of a zone, some types that a name does not have, and names that do not exist."""
    found: list[tuple[dns.name.Name, int]] = []
    for place, name in enumerate(sorted(zone.nodes)):
        if model.cut(zone, name) is not None:
            continue
        kinds = zone.kinds(name)
        absent = [kind for kind in (A, AAAA, TXT) if kind not in kinds]
        found += [(name, kind) for kind in (*kinds, *absent[place % 2 : place % 2 + 1])]
    for label in ("zzz-none", "a.b.zzz-none"):
        found.append((dns.name.from_text(label, zone.origin), A))
    return found


async def whole_zone(lab: Lab, origin: str) -> None:
    """Ask everything of a zone."""
    zone = lab.model.zones[name_of(origin)]
    asked = zone_questions(lab.model, zone)
    failures: list[str] = []

    async def ask(name: dns.name.Name, kind: int) -> None:
        try:
            await compare(lab, name, kind)
        except (Failed, WireError, Late) as error:
            failures.append(str(error))

    for start in range(0, len(asked), WINDOW):
        await asyncio.gather(*(ask(name, kind) for name, kind in asked[start : start + WINDOW]))
    expect(not failures, f"{len(failures)} of {len(asked)} questions, first: {failures[0] if failures else ''}")


def register(data: Path | None) -> None:
    """Add a check for each zone of a workload."""
    if data is None:
        return
    zones = json.loads((data / "tree.json").read_text(encoding="ascii"))["zones"]
    for zone in zones:
        REGISTRY.add(Check(f"zone/{zone['name']}", partial(_zone, zone["name"]), seconds=60, first=True))


async def _zone(origin: str, lab: Lab) -> None:
    await whole_zone(lab, origin)


for _area, _text in EXTRA.items():
    for _name, _kind in questions(_text):
        _short = _name if len(_name) < 60 else _name[:20] + ".." + _name[-20:]
        REGISTRY.add(Check(f"{_area}/{_short} {_kind}", one_question(_name, _kind), first=True))


# --- how an answer is put ---------------------------------------------------------------------------------------------


@REGISTRY.check("case/question-is-repeated-as-asked")
async def _case_kept(lab: Lab) -> None:
    for spelling in ("a-one.kinds.alpha.", "A-ONE.KINDS.ALPHA.", "a-OnE.kInDs.AlPhA.", "A-one.kinds.alphA."):
        answer = await (await lab.tree()).ask(spelling, "A")
        equal(spelling, lab.model.resolve(spelling, "A").shape, answer.shape(spelling, "A"))


@REGISTRY.check("case/owner-is-spelled-as-asked")
async def _owner_case(lab: Lab) -> None:
    client = await lab.tree()
    await client.ask("both.kinds.alpha.", "A")
    answer = await client.ask("BOTH.kinds.ALPHA.", "A")
    equal("owner", "BOTH.kinds.ALPHA.", answer.answer[0].name.to_text())


@REGISTRY.check("case/cache-does-not-care")
async def _cache_case(lab: Lab) -> None:
    client = await lab.tree()
    for spelling in ("nothing-here.KINDS.alpha.", "NOTHING-HERE.kinds.alpha."):
        answer = await client.ask(spelling, "A")
        equal(spelling, NXDOMAIN, answer.rcode)


@REGISTRY.check("limits/twelve-links-over-zones-and-no-more")
async def _twelve(lab: Lab) -> None:
    client = await lab.tree()
    for name, rcode in (("www.hop12.alpha.", 0), ("www.hop13.beta.", SERVFAIL), ("c12.chain.alpha.", 0)):
        equal(name, rcode, (await client.ask(name, "A")).rcode)
