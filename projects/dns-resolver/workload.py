"""Makes the inputs of dns-resolver: a private tree of the DNS, and questions about it.

    python workload.py --workload bench --seed 2 --size '{"zones": 400, "hosts": 40, ...}' --out DIR

hints.zone        root hints
zones/*zone       master files of every zone; nsd/LEVEL.conf, the zones of each of the four name servers
tree.json         which zone is served at which level, and the addresses of the levels
warm.txt          `queries` questions for `warm` names and types that never expire, each as likely as any other
mixed.txt         the same names by Zipf's law, with 5 % names that do not exist and 10 % that expire at once
cold.txt          `cold` names once each, which expire after a second: every answer has to be fetched
bad/              inputs that must be refused

The tree has four top-level domains with `zones` zones of `hosts` hosts (addresses, aliases, mail, services, texts,
reverse names), a third of them with a zone further down; and the odd zones of dns_zoo. Same seed and size, same bytes.
"""

from __future__ import annotations

import argparse
import bisect
import itertools
import json
import random
from pathlib import Path

import dns_zoo
from dns_tree import LEVELS, TLDS, Tree, Zone

WEIGHT_OF_RANK_1 = 1 << 40
COLD_ZONES = 20
COLD_TTL = 1
EDGES = 100
MIXED_MISSING, MIXED_COLD = 5, 10
"""Percent."""
WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heron", "iris", "juniper", "kelp", "larch")

Question = tuple[str, str]


# --- the tree --------------------------------------------------------------------------------------------------------


def reverse_zone(tree: Tree) -> Zone:
    """Add the zones in which addresses of 10.0.0.0/8 have names."""
    tree.delegate("in-addr.arpa.", "zones")
    return tree.delegate("10.in-addr.arpa.", "deep")


def edges(tree: Tree) -> None:
    """Add the zone that aliases of other zones point to."""
    zone = tree.delegate("edge-network.gamma.", "zones")
    for number in range(EDGES):
        for copy in range(4):
            zone.add(f"edge{number}", "A", f"10.200.{number}.{copy}")
        zone.add(f"edge{number}", "AAAA", f"2001:db8:e::{number + 1:x}")


def ordinary(tree: Tree, rng: random.Random, number: int, hosts: int, reverse: Zone) -> list[Question]:
    """Add a zone as companies have them; return questions with an answer."""
    zone = tree.delegate(f"{WORDS[number % len(WORDS)]}{number:04}.{TLDS[number % len(TLDS)]}", "zones")
    own = zone.name
    for kind, data in (
        ("A", f"10.{16 + (number >> 8)}.{number & 255}.1"),
        ("AAAA", f"2001:db8:{number:x}::1"),
        ("MX", f"10 mail1.{own}"),
        ("MX", f"20 mail2.{own}"),
        ("TXT", f'"v=spf1 mx ip4:10.{16 + (number >> 8)}.{number & 255}.0/24 -all"'),
        ("TXT", f'"site-verification={rng.getrandbits(128):032x}"'),
    ):
        zone.add("@", kind, data)
    zone.add("www", "CNAME", f"web.{own}")
    zone.add("cdn", "CNAME", f"edge{rng.randrange(EDGES)}.edge-network.gamma.")
    zone.add("_sip._tcp", "SRV", f"10 60 5060 host0.{own}")
    zone.add("_sip._tcp", "SRV", f"20 10 5060 web.{own}")
    for label in ("web", "web", "mail1", "mail2"):
        zone.add(label, "A", f"10.100.{rng.randrange(256)}.{rng.randrange(256)}")
    zone.add("web", "AAAA", f"2001:db8:{number:x}::80")
    asked = [(own, kind) for kind in ("A", "AAAA", "MX", "TXT", "NS", "SOA")]
    asked += [(f"{label}.{own}", "A") for label in ("www", "cdn", "web", "mail1", "mail2")]
    asked += [(f"www.{own}", "AAAA"), (f"cdn.{own}", "AAAA"), (f"_sip._tcp.{own}", "SRV"), (f"mail1.{own}", "AAAA")]
    for host in range(hosts):
        asked += one_host(zone, reverse, number, host)
    if number % 3 == 0:
        zone.add("*.dyn", "A", f"10.101.{number >> 8}.{number & 255}")
        asked.append((f"client-{number}.dyn.{own}", "A"))
        branch = tree.delegate(f"eu.{own}", "deep")
        branch.add("www", "A", f"10.102.{number >> 8}.{number & 255}")
        branch.add("@", "TXT", '"branch"')
        asked += [(f"www.{branch.name}", "A"), (branch.name, "TXT")]
    return asked


def one_host(zone: Zone, reverse: Zone, number: int, host: int) -> list[Question]:
    """Add a host of a zone: its addresses, its reverse name, for some a text or an alias."""
    name = f"host{host}.{zone.name}"
    second, third, fourth = 110 + (number >> 8), number & 255, host & 255
    zone.add(f"host{host}", "A", f"10.{second}.{third}.{fourth}")
    reverse.add(f"{fourth}.{third}.{second}", "PTR", name)
    asked = [(name, "A"), (f"{fourth}.{third}.{second}.10.in-addr.arpa.", "PTR")]
    if host % 2 == 0:
        zone.add(f"host{host}", "AAAA", f"2001:db8:{number:x}::{host + 256:x}")
        asked.append((name, "AAAA"))
    if host % 8 == 1:
        zone.add(f"host{host}", "TXT", f'"rack {host}" "row {number}"')
        asked.append((name, "TXT"))
    if host % 8 == 3:
        zone.add(f"service{host}", "CNAME", name)
        asked.append((f"service{host}.{zone.name}", "A"))
    return asked


def cold_names(tree: Tree, count: int) -> list[Question]:
    """Add names that expire after a second."""
    zones = [tree.delegate(f"fresh{number:02}.{TLDS[number % len(TLDS)]}", "zones") for number in range(COLD_ZONES)]
    asked = []
    for number in range(count):
        zone = zones[number % COLD_ZONES]
        zone.add(f"n{number:06}", "A", f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", COLD_TTL)
        asked.append((f"n{number:06}.{zone.name}", "A"))
    return asked


# --- questions -------------------------------------------------------------------------------------------------------


def lines(questions: list[Question]) -> str:
    """Return questions as dnsperf reads them."""
    return "".join(f"{name} {kind}\n" for name, kind in questions)


def mixed(rng: random.Random, known: list[Question], cold: list[Question], count: int) -> list[Question]:
    """Return questions as users ask them: few names often, some that nobody has, some that nobody keeps."""
    scattered = rng.sample(known, len(known))
    ends = list(itertools.accumulate(WEIGHT_OF_RANK_1 // rank for rank in range(1, len(scattered) + 1)))
    found = []
    for number in range(count):
        draw = rng.randrange(100)
        if draw < MIXED_MISSING:
            name, _ = rng.choice(known)
            found.append((f"no-{number:06}.{name}", "A"))
        elif draw < MIXED_MISSING + MIXED_COLD:
            found.append(rng.choice(cold))
        else:
            found.append(scattered[bisect.bisect_right(ends, rng.randrange(ends[-1]))])
    return found


# --- files -----------------------------------------------------------------------------------------------------------

BAD_HINTS = {
    "empty": "",
    "comments": "; nothing\n\n",
    "no-server": "www.alpha. 3600 IN A 127.0.0.1\n",
    "no-address": ". 3600 IN NS a.root-servers.\n",
    "other-address": ". 3600 IN NS a.root-servers.\nb.root-servers. 3600 IN A 127.0.0.1\n",
    "bad-address": ". 3600 IN NS a.root-servers.\na.root-servers. 3600 IN A 127.0.0.256\n",
    "bad-type": ". 3600 IN NS a.root-servers.\na.root-servers. 3600 IN ADDRESS 127.0.0.1\n",
    "long-label": ". 3600 IN NS a.root-servers.\n" + "x" * 64 + ".root-servers. 3600 IN A 127.0.0.1\n",
    "long-name": ". 3600 IN NS " + "x." * 128 + "\na.root-servers. 3600 IN A 127.0.0.1\n",
    "no-data": ". 3600 IN NS\n",
    "only-six": ". 3600 IN NS a.root-servers.\na.root-servers. 3600 IN AAAA 2001:db8::1\n",
}
BAD_QUERIES = {
    "long-label": "www.alpha. A\n" + "x" * 64 + ".alpha. A\n",
    "long-name": "www.alpha. A\nwww.beta. A\n" + "x." * 128 + " A\n",
    "unknown-type": "www.alpha. A\nwww.alpha. BOGUS\n",
    "no-type": "www.alpha.\n",
    "type-number": "www.alpha. TYPE65536\n",
    "empty-label": "www..alpha. A\n",
    "three-words": "www.alpha. A now\n",
    "bad-escape": "www\\300.alpha. A\n",
}


def write_tree(tree: Tree, out: Path) -> None:
    """Write master files and what the servers and the oracle read about them."""
    (out / "zones").mkdir(parents=True, exist_ok=True)
    (out / "nsd").mkdir(exist_ok=True)
    for zone in tree.zones.values():
        (out / "zones" / zone.file).write_text(zone.text(), encoding="ascii")
    for level in LEVELS:
        (out / "nsd" / f"{level}.conf").write_text(tree.nsd_zones(level), encoding="ascii")
    (out / "hints.zone").write_text(tree.hints(), encoding="ascii")
    zones = [{"name": zone.name, "level": zone.level, "file": f"zones/{zone.file}"} for zone in tree.zones.values()]
    (out / "tree.json").write_text(json.dumps({"levels": LEVELS, "zones": zones}, indent=1) + "\n", encoding="ascii")


def write_bad(out: Path) -> None:
    """Write inputs that must be refused."""
    for kind, files in (("hints", BAD_HINTS), ("queries", BAD_QUERIES)):
        for name, text in files.items():
            path = out / "bad" / f"{kind}-{name}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")


def make(seed: int, size: dict[str, int], out: Path) -> None:
    """Make a workload."""
    rng = random.Random(f"dns-resolver {seed}")
    tree = Tree()
    dns_zoo.hatch(tree)
    reverse = reverse_zone(tree)
    edges(tree)
    known = [
        question for number in range(size["zones"]) for question in ordinary(tree, rng, number, size["hosts"], reverse)
    ]
    cold = cold_names(tree, size["cold"])
    warm = rng.sample(known, min(size["warm"], len(known)))
    write_tree(tree, out)
    write_bad(out)
    (out / "warm.txt").write_text(lines([rng.choice(warm) for _ in range(size["queries"])]), encoding="ascii")
    (out / "mixed.txt").write_text(lines(mixed(rng, warm, cold, size["queries"])), encoding="ascii")
    (out / "cold.txt").write_text(lines(rng.sample(cold, len(cold))), encoding="ascii")


def main() -> None:
    """Make a workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    make(options.seed, options.size, options.out)


if __name__ == "__main__":
    main()
