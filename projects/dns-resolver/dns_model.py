"""What the right answer is: computed from the master files, as dnspython reads them, and from who serves which zone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.exception
import dns.name
import dns.node
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.zone
from dns_wire import CNAME, DNAME, NOERROR, NS, NXDOMAIN, SERVFAIL, SOA, YXDOMAIN, A, Shape, kind_number, lower, name_of

MOST_LINKS = 12
WILD = dns.name.Name([b"*"])


@dataclass(frozen=True)
class Expected:
    """The right answer and the times it may have."""

    shape: Shape
    ttl: int = 0
    """Of the final records in the master file."""
    negative: tuple[str, int] | None = None
    """Owner of the SOA and the time to live of a negative answer."""


@dataclass(frozen=True)
class Step:
    """What one zone says about one name."""

    rcode: int
    zone: ZoneData | None = None
    target: dns.name.Name | None = None
    rdataset: dns.rdataset.Rdataset | None = None


class ZoneData:
    """A zone as dnspython reads it."""

    def __init__(self, name: str, level: str, path: Path) -> None:
        """Read a master file."""
        self.origin = name_of(name)
        self.level = level
        zone = dns.zone.from_file(str(path), origin=self.origin, relativize=False, check_origin=False)
        self.nodes: dict[dns.name.Name, dns.node.Node] = dict(zone.nodes)
        self.names = {above for name in self.nodes for above in ancestors(name, self.origin)}
        """All names that exist, those without records too."""

    def get(self, name: dns.name.Name, kind: int) -> dns.rdataset.Rdataset | None:
        """Return the records of a name and type."""
        node = self.nodes.get(name)
        return node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.RdataType.make(kind)) if node else None

    def negative(self) -> tuple[str, int]:
        """Return owner and time to live of the SOA in negative answers."""
        soa = self.get(self.origin, SOA)
        assert soa is not None
        return lower(self.origin), min(soa.ttl, soa[0].minimum)

    def kinds(self, name: dns.name.Name) -> list[int]:
        """Return the types that a name has."""
        return sorted(int(rdataset.rdtype) for rdataset in self.nodes[name].rdatasets)


def ancestors(name: dns.name.Name, origin: dns.name.Name) -> Iterator[dns.name.Name]:
    """Yield a name and those above it, up to and with the origin."""
    while True:
        yield name
        if name in (origin, dns.name.root):
            return
        name = name.parent()


class Model:
    """The whole tree."""

    def __init__(self, data: Path) -> None:
        """Read the tree of a workload."""
        self.raw = json.loads((data / "tree.json").read_text(encoding="ascii"))
        self.levels: dict[str, list[str]] = self.raw["levels"]
        self.zones = {
            name_of(zone["name"]): ZoneData(zone["name"], zone["level"], data / zone["file"])
            for zone in self.raw["zones"]
        }
        self.level_of = {address: level for level, addresses in self.levels.items() for address in addresses}
        self.reached: dict[dns.name.Name, bool] = {}
        self.underway: set[dns.name.Name] = set()

    def resolve(self, name: str | dns.name.Name, kind: str | int) -> Expected:
        """Return the right answer to a question."""
        current = name_of(name)
        wanted = kind_number(kind)
        chain: list[tuple[str, str]] = []
        while True:
            step = self.step(current, wanted)
            if step.rcode == SERVFAIL:
                return Expected(Shape(SERVFAIL))
            if step.target is not None:
                chain.append((lower(current), lower(step.target)))
                if len(chain) > MOST_LINKS:
                    return Expected(Shape(SERVFAIL))
                current = step.target
                continue
            break
        if step.rdataset is not None:
            records = frozenset(rdata.to_digestable(dns.name.root) for rdata in step.rdataset)
            texts = tuple(sorted(rdata.to_text() for rdata in step.rdataset))
            return Expected(Shape(NOERROR, tuple(chain), records, texts), step.rdataset.ttl)
        assert step.zone is not None
        return Expected(Shape(step.rcode, tuple(chain)), 0, step.zone.negative())

    def step(self, name: dns.name.Name, kind: int) -> Step:
        """Return what the zone that is responsible for a name says."""
        zone = self.responsible(name)
        if zone is None:
            return Step(SERVFAIL)
        for above in ancestors(name, zone.origin):
            moved = zone.get(above, DNAME)
            if moved is not None and above != name:
                try:
                    target = name.relativize(above).concatenate(moved[0].target)
                except dns.name.NameTooLong:
                    return Step(YXDOMAIN, zone)
                if kind == CNAME:
                    made = dns.rdataset.from_text("IN", "CNAME", moved.ttl, target.to_text())
                    return Step(NOERROR, zone, None, made)
                return Step(NOERROR, zone, target)
        source: dns.name.Name | None = name
        if name not in zone.names:
            source = self.wildcard(zone, name)
        if source is None:
            return Step(NXDOMAIN, zone)
        alias = zone.get(source, CNAME)
        if alias is not None and kind != CNAME:
            return Step(NOERROR, zone, alias[0].target)
        return Step(NOERROR, zone, None, zone.get(source, kind))

    @staticmethod
    def wildcard(zone: ZoneData, name: dns.name.Name) -> dns.name.Name | None:
        """Return the wildcard that covers a name that does not exist."""
        encloser = next(above for above in ancestors(name, zone.origin) if above in zone.names)
        wild = WILD.concatenate(encloser)
        return wild if wild in zone.names else None

    def responsible(self, name: dns.name.Name) -> ZoneData | None:
        """Return the zone that a name belongs to, reached from the root; None where the way is broken."""
        zone = self.zones[dns.name.root]
        while True:
            cut = self.cut(zone, name)
            if cut is None:
                return zone
            if not self.reachable(zone, cut):
                return None
            zone = self.zones[cut]

    @staticmethod
    def cut(zone: ZoneData, name: dns.name.Name) -> dns.name.Name | None:
        """Return the delegation on the way from a zone to a name."""
        for above in reversed(list(ancestors(name, zone.origin))[:-1] if name != zone.origin else []):
            if zone.get(above, NS) is not None:
                return above
        return None

    def reachable(self, parent: ZoneData, cut: dns.name.Name) -> bool:
        """Whether some server of a delegation is found, and serves the zone."""
        if cut in self.underway:
            return False
        if cut not in self.reached:
            self.underway.add(cut)
            found = any(self.serves(address, cut) for address in self.addresses(parent, cut))
            self.underway.discard(cut)
            if self.underway:
                return found  # what a circle hides may be seen from elsewhere
            self.reached[cut] = found
        return self.reached[cut]

    def serves(self, address: str, cut: dns.name.Name) -> bool:
        """Whether the server at an address knows a zone."""
        zone = self.zones.get(cut)
        return zone is not None and self.level_of.get(address) == zone.level

    def addresses(self, parent: ZoneData, cut: dns.name.Name) -> Iterator[str]:
        """Yield the addresses of the servers of a delegation."""
        for record in parent.get(cut, NS) or ():
            server = record.target
            glue = parent.get(server, A) if server.is_subdomain(parent.origin) else None
            if glue is not None:
                yield from (one.address for one in glue)
            elif not server.is_subdomain(cut):
                yield from self.resolved(server)

    def resolved(self, server: dns.name.Name) -> Iterator[str]:
        """Yield the addresses of a name server that has no glue."""
        step = self.step(server, A)
        for one in step.rdataset or ():
            yield one.address
