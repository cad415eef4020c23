"""The zones of the private tree in which something is special: what a resolver must get right, or survive."""

from __future__ import annotations

import random

from dns_tree import LEVELS, LONG_TTL, NOBODY, NameServer, Tree, Zone, below

LABEL_63 = "l" * 63
CHAIN_LINKS = 12
"""So many CNAME links a resolver follows."""
GLUELESS_TTL = 172_800


def hatch(tree: Tree) -> None:
    """Add all special zones."""
    kinds(tree)
    names(tree)
    wildcards(tree)
    big(tree)
    times(tree)
    aliases(tree)
    cross_zone_chain(tree)
    loops(tree)
    dnames(tree)
    delegations(tree)
    lame(tree)
    root_names(tree)


def kinds(tree: Tree) -> None:
    """Every type, plain and at its limits."""
    zone = tree.delegate("kinds.alpha.", "zones")
    at = below("kinds.alpha", ".")
    zone.add("@", "A", "10.1.0.1")
    zone.add("@", "MX", f"10 mail.{at}")
    zone.add("@", "TXT", '"v=spf1 -all"')
    zone.add("mail", "A", "10.1.0.2")
    zone.add("a-one", "A", "10.1.0.3")
    for last in (9, 10, 100, 2, 255):
        zone.add("a-many", "A", f"10.1.1.{last}")
    zone.add("a-edges", "A", "0.0.0.1")
    zone.add("a-edges", "A", "255.255.255.255")
    for text in ("2001:db8::1", "2001:db8:0:0:1:0:0:1", "2001:db8:1:1:1:1:1:1", "::1", "2001:db8::", "ff02::fb"):
        zone.add("aaaa", "AAAA", text)
    zone.add("both", "A", "10.1.0.4")
    zone.add("both", "AAAA", "2001:db8::4")
    for preference, target in ((0, "m0"), (10, "m10"), (10, "m11"), (65535, "m65535")):
        zone.add("mx", "MX", f"{preference} {target}.{at}")
    zone.add("mx-null", "MX", "0 .")
    zone.add("mx-out", "MX", "5 mx.hosting.beta.")
    zone.add("txt", "TXT", '"one"')
    zone.add("txt-many", "TXT", '"one" "two" "three"')
    zone.add("txt-empty", "TXT", '""')
    zone.add("txt-full", "TXT", '"' + "x" * 255 + '"')
    zone.add("txt-odd", "TXT", r'"a \"quoted\" word; and \\ \000\007\127\255"')
    zone.add("txt-set", "TXT", '"b"')
    zone.add("txt-set", "TXT", '"a"')
    zone.add("txt-set", "TXT", '"aa"')
    zone.add("_sip._tcp", "SRV", f"10 60 5060 a-one.{at}")
    zone.add("_sip._tcp", "SRV", f"10 20 5060 a-many.{at}")
    zone.add("_sip._tcp", "SRV", f"0 0 65535 both.{at}")
    zone.add("_none._tcp", "SRV", "0 0 0 .")
    zone.add("cname", "CNAME", f"a-one.{at}")
    zone.add("cname-out", "CNAME", "www.hosting.beta.")
    zone.add("ptr", "PTR", f"a-one.{at}")
    zone.add("ptr", "PTR", f"a-many.{at}")
    zone.add("unknown", "TYPE65280", r"\# 4 0A000001")
    zone.add("unknown", "TYPE65280", r"\# 4 0A000002")
    zone.add("unknown-empty", "TYPE65281", r"\# 0")
    zone.add("unknown-long", "TYPE65282", r"\# 300 " + "ab" * 300)
    zone.add("unknown-pointer", "TYPE65283", r"\# 6 C00CC00C3F00")
    zone.add("caa", "TYPE257", r"\# 19 00056973737565" + b"ca.example.x".hex())
    zone.add("hinfo", "TYPE13", r"\# 8 0350444d035a3830")
    zone.add("mixed", "A", "10.1.0.5")
    zone.add("mixed", "TXT", '"beside"')
    zone.add("mixed", "TYPE65280", r"\# 1 FF")
    zone.add("UPPER", "A", "10.1.0.6")
    zone.add("upper-target", "MX", f"10 MAIL.{at}")


def names(tree: Tree) -> None:
    """Names at their limits."""
    zone = tree.delegate("names.beta.", "zones")
    zone.add(LABEL_63, "A", "10.2.0.1")
    longest = ".".join([LABEL_63, "m" * 63, "n" * 63, "o" * (254 - 3 * 64 - len("names.beta.") - 1)])
    zone.add(longest, "A", "10.2.0.2")
    zone.add(".".join("abcdefghijklmnopqrstuvwxyz" * 4), "A", "10.2.0.3")
    zone.add("xn--bcher-kva", "A", "10.2.0.4")
    zone.add("_under_score", "TXT", '"under"')
    zone.add("0", "A", "10.2.0.5")
    zone.add("-dash-", "A", "10.2.0.6")
    zone.add(r"dot\.ted", "A", "10.2.0.7")
    zone.add(r"sp\032ace", "A", "10.2.0.8")
    zone.add(r"nul\000l", "A", "10.2.0.9")
    zone.add(r"high\200\255", "A", "10.2.0.10")
    zone.add(r"back\\slash", "A", "10.2.0.11")
    zone.add("alias", "CNAME", below(longest, "names.beta."))
    zone.add("deep.empty.non.terminal", "A", "10.2.0.12")


def wildcards(tree: Tree) -> None:
    """Wildcards, and what they do not cover."""
    zone = tree.delegate("wild.gamma.", "zones")
    zone.add("*", "A", "10.3.0.1")
    zone.add("*", "MX", "10 mail.wild.gamma.")
    zone.add("mail", "A", "10.3.0.2")
    zone.add("host", "TXT", '"no address here"')
    zone.add("sub.ent", "A", "10.3.0.3")
    zone.add("*.only-txt", "TXT", '"wild text"')
    zone.add("*.alias", "CNAME", "mail.wild.gamma.")
    zone.add("*.alias-out", "CNAME", "www.hosting.beta.")
    zone.add("*.alias-none", "CNAME", "none.names.beta.")
    zone.add("x.*.inner", "A", "10.3.0.4")
    tree.delegate("cut.wild.gamma.", "deep").add("www", "A", "10.3.0.5")


def big(tree: Tree) -> None:
    """Answers that no datagram holds."""
    rng = random.Random("dns-resolver big")
    zone = tree.delegate("big.delta.", "zones")
    for count in (20, 28, 70, 75, 250, 1000):
        for number in range(count):
            zone.add(f"a{count}", "A", f"10.4.{number >> 8}.{number & 255}")
    for count in (2, 5, 6, 20, 200):
        for number in range(count):
            zone.add(f"txt{count}", "TXT", f'"{number:03} ' + "".join(rng.choices("abcdef", k=200)) + '"')
    zone.add("txt-long", "TXT", " ".join('"' + "y" * 255 + '"' for _ in range(16)))
    for number in range(60):
        zone.add("mx60", "MX", f"{number} mail-exchange-number-{number:03}.big.delta.")
    zone.add("alias", "CNAME", "txt20.big.delta.")


def times(tree: Tree) -> None:
    """Times to live at their limits, and negative ones."""
    zone = tree.delegate("times.alpha.", "zones")
    for ttl in (0, 1, 2, 5, 300, 86_400, 604_800, 2_147_483_647):
        zone.add(f"ttl{ttl}", "A", "10.5.0.1", ttl)
    for name, soa_ttl, minimum in (("low", 3600, 30), ("short", 20, 3600), ("huge", 604_800, 604_800)):
        negative = tree.delegate(f"negative-{name}.alpha.", "zones")
        negative.soa_ttl, negative.minimum = soa_ttl, minimum
        negative.add("exists", "A", "10.5.0.2")


def aliases(tree: Tree) -> None:
    """Chains of CNAME in one zone."""
    zone = tree.delegate("chain.alpha.", "zones")
    zone.add("end", "A", "10.6.0.1")
    zone.add("end", "TXT", '"end"')
    for links in range(1, CHAIN_LINKS + 1):
        zone.add(f"c{links}", "CNAME", "end.chain.alpha." if links == 1 else f"c{links - 1}.chain.alpha.")
    for links in range(CHAIN_LINKS + 1, CHAIN_LINKS + 9):
        zone.add(f"c{links}", "CNAME", f"c{links - 1}.chain.alpha.")
    zone.add("to-nothing", "CNAME", "nothing.chain.alpha.")
    zone.add("to-nothing-2", "CNAME", "to-nothing.chain.alpha.")
    zone.add("to-no-tld", "CNAME", "www.no-such-tld.")
    zone.add("to-no-zone", "CNAME", "www.no-such-zone.beta.")
    zone.add("to-no-data", "CNAME", "only-txt.chain.alpha.")
    zone.add("only-txt", "TXT", '"only"')
    zone.add("to-lame", "CNAME", "www.lame-all.alpha.")
    zone.add("to-big", "CNAME", "txt20.big.delta.")
    zone.add("to-wild", "CNAME", "anything.wild.gamma.")
    zone.add("to-apex", "CNAME", "kinds.alpha.")
    zone.add("to-tld", "CNAME", "beta.")
    zone.add("to-root", "CNAME", ".")
    zone.add("to-deep", "CNAME", "www.cut.wild.gamma.")
    zone.add("to-glueless", "CNAME", "www.glueless-far.alpha.")


def cross_zone_chain(tree: Tree) -> None:
    """A chain that changes zone, top-level domain and server with every link."""
    last = "end.chain.alpha."
    homes = [("alpha.", "zones"), ("beta.", "zones"), ("gamma.", "zones"), ("delta.", "zones")]
    for link in range(1, 15):
        tld, level = homes[link % len(homes)]
        zone = tree.delegate(f"hop{link}.{tld}", level)
        zone.add("www", "CNAME", last)
        last = f"www.{zone.name}"


def loops(tree: Tree) -> None:
    """Aliases without an end."""
    zone = tree.delegate("loop.beta.", "zones")
    zone.add("self", "CNAME", "self.loop.beta.")
    zone.add("two-a", "CNAME", "two-b.loop.beta.")
    zone.add("two-b", "CNAME", "two-a.loop.beta.")
    zone.add("into", "CNAME", "two-a.loop.beta.")
    zone.add("far", "CNAME", "far.loop.gamma.")
    zone.add("*.wild", "CNAME", "next.wild.loop.beta.")
    other = tree.delegate("loop.gamma.", "zones")
    other.add("far", "CNAME", "far.loop.delta.")
    third = tree.delegate("loop.delta.", "deep")
    third.add("far", "CNAME", "far.loop.beta.")


def dnames(tree: Tree) -> None:
    """Whole subtrees that moved."""
    new = tree.delegate("new.delta.", "zones")
    new.add("@", "A", "10.7.0.1")
    new.add("www", "A", "10.7.0.2")
    new.add("www", "TXT", '"moved here"')
    new.add("a.b.c", "A", "10.7.0.3")
    new.add("alias", "CNAME", "www.new.delta.")
    new.add("*.dyn", "A", "10.7.0.4")
    hosts = [NameServer("ns1.hosting.beta."), NameServer("ns2.hosting.beta.")]  # a DNAME has no names below it
    old = tree.zone("old.delta.", "zones", hosts)
    old.add("@", "DNAME", "new.delta.")
    old.add("@", "A", "10.7.0.5")
    mixed = tree.delegate("mixed.delta.", "zones")
    mixed.add("moved", "DNAME", "new.delta.")
    mixed.add("moved", "TXT", '"the name itself stays"')
    mixed.add("near", "DNAME", "place.mixed.delta.")
    mixed.add("www.place", "A", "10.7.0.6")
    mixed.add("twice", "DNAME", "moved.mixed.delta.")
    mixed.add("gone", "DNAME", "nothing.mixed.delta.")
    mixed.add("to-no-tld", "DNAME", "no-such-tld.")
    mixed.add("to-cname", "CNAME", "www.moved.mixed.delta.")
    mixed.add("www", "A", "10.7.0.7")


def delegations(tree: Tree) -> None:
    """Name servers that live elsewhere."""
    host = tree.delegate("hosting.beta.", "zones")
    host.add("www", "A", "10.8.0.1")
    host.add("www", "AAAA", "2001:db8::8:1")
    host.add("mx", "A", "10.8.0.2")
    for number, address in enumerate(LEVELS["zones"], 1):
        host.add(f"ns{number}", "A", address)
    for number, address in enumerate(LEVELS["deep"], 1):
        host.add(f"deep{number}", "A", address)
    host.add("nobody", "A", NOBODY)
    host.add("six", "AAAA", "2001:db8::53")

    inside_and_out = [NameServer("ns1.glueless-half.alpha.", LEVELS["zones"][0]), NameServer("ns2.hosting.beta.")]
    both = [NameServer("ns1.hosting.beta."), NameServer("ns2.hosting.beta.")]
    for name, servers in (
        ("glueless-far.alpha.", both),
        ("glueless-near.beta.", both),
        ("glueless-half.alpha.", inside_and_out),
        ("glueless-six.gamma.", [NameServer("six.hosting.beta."), NameServer("ns3.hosting.beta.")]),
    ):
        _www(tree.zone(name, "zones", servers), "10.8.1.1")
    farther = tree.zone("glueless-farther.gamma.", "zones", [NameServer("ns.glueless-far.alpha.")])
    _www(farther, "10.8.1.2")
    tree.zones["glueless-far.alpha."].add("ns", "A", LEVELS["zones"][1])
    farthest = tree.zone("glueless-farthest.delta.", "zones", [NameServer("ns.glueless-farther.gamma.")])
    _www(farthest, "10.8.1.3")
    farther.add("ns", "A", LEVELS["zones"][2])
    _www(tree.zone("eu.glueless-far.alpha.", "deep", [NameServer("deep1.hosting.beta.")]), "10.8.1.4")
    _www(tree.delegate("sub.hosting.beta.", "deep"), "10.8.1.5")
    many = [NameServer(f"ns{number}.many.gamma.", LEVELS["zones"][number % 4]) for number in range(1, 14)]
    _www(tree.zone("many.gamma.", "zones", many), "10.8.1.6")
    ruined = [NameServer(f"none{number}.hosting.beta.") for number in range(6)]
    _www(tree.zone("mostly-missing.gamma.", "zones", [*ruined, NameServer("ns4.hosting.beta.")]), "10.8.1.7")


def lame(tree: Tree) -> None:
    """Delegations to servers that do not know, do not exist or do not answer."""
    alpha, beta = tree.zones["alpha."], tree.zones["beta."]
    good, wrong = LEVELS["zones"], LEVELS["deep"]

    def at(name: str, *addresses: str) -> list[NameServer]:
        return [NameServer(f"ns{number}.{name}", address) for number, address in enumerate(addresses, 1)]

    for name, addresses in (
        ("lame-one.alpha.", (wrong[0], good[0])),
        ("lame-two.alpha.", (wrong[0], wrong[1], good[1])),
        ("lame-last.alpha.", (good[2], wrong[0])),
        ("dead-one.alpha.", (NOBODY, good[3])),
        ("dead-and-lame.alpha.", (NOBODY, wrong[1], good[0])),
    ):
        _www(tree.zone(name, "zones", at(name, *addresses)), "10.9.0.1")
    tree.refer(alpha, "lame-all.alpha.", at("lame-all.alpha.", *wrong))
    tree.refer(alpha, "lame-to-parent.alpha.", at("lame-to-parent.alpha.", *LEVELS["tld"]))
    tree.refer(alpha, "lame-to-root.alpha.", at("lame-to-root.alpha.", LEVELS["root"][0]))
    tree.refer(alpha, "dead-all.alpha.", at("dead-all.alpha.", NOBODY))
    tree.refer(alpha, "missing-ns.alpha.", [NameServer("ns.nowhere.alpha.")])
    tree.refer(alpha, "missing-tld.alpha.", [NameServer("ns.no-such-tld.")])
    tree.refer(alpha, "only-six.alpha.", [NameServer("six.hosting.beta.")])
    tree.refer(alpha, "no-glue.alpha.", [NameServer("ns.no-glue.alpha.")])
    tree.refer(alpha, "cycle-a.alpha.", [NameServer("ns.cycle-b.beta.")])
    tree.refer(beta, "cycle-b.beta.", [NameServer("ns.cycle-a.alpha.")])


def root_names(tree: Tree) -> None:
    """Records beside the delegations in the root and in a top-level domain."""
    tree.zones["."].add("alone", "A", "10.10.0.1")
    tree.zones["."].add("text.of.the.root", "TXT", '"root"')
    tree.zones["beta."].add("www", "A", "10.10.0.2")
    tree.zones["beta."].add("@", "A", "10.10.0.3")


def _www(zone: Zone, address: str) -> None:
    zone.add("@", "A", address, LONG_TTL)
    zone.add("www", "A", address)
    zone.add("alias", "CNAME", f"www.{zone.name}")
