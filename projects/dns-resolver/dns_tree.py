"""The private tree of the DNS: zones, who serves them, and master files.

Four name servers stand in a row, so that every answer has to be iterated for: `root`, `tld`, `zones` and `deep`. None
serves a zone and its parent. Each listens on a few loopback addresses, all on the same port; at NOBODY nothing listens.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LEVELS: dict[str, tuple[str, ...]] = {
    "root": ("127.53.0.1", "127.53.0.2"),
    "tld": ("127.53.1.1", "127.53.1.2"),
    "zones": ("127.53.2.1", "127.53.2.2", "127.53.2.3", "127.53.2.4"),
    "deep": ("127.53.3.1", "127.53.3.2"),
}
NOBODY = "127.53.9.9"
TLDS = ("alpha.", "beta.", "gamma.", "delta.")
LONG_TTL = 86_400
GLUE_TTL = 172_800


def below(label: str, origin: str) -> str:
    """Return a name under another one."""
    return f"{label}." if origin == "." else f"{label}.{origin}"


@dataclass(frozen=True)
class NameServer:
    """One NS record of a delegation, and the address that its glue says, if it has glue."""

    name: str
    glue: str | None = None


@dataclass
class Zone:
    """A zone with its records; `servers` is what its parent and its own apex say."""

    name: str
    level: str
    servers: list[NameServer]
    soa_ttl: int = 3600
    minimum: int = 3600
    default_ttl: int = LONG_TTL
    lines: list[str] = field(default_factory=list)

    def add(self, label: str, kind: str, data: str, ttl: int | None = None) -> None:
        """Add a record; the label `@` is the zone itself."""
        owner = self.name if label == "@" else below(label, self.name)
        self.lines.append(f"{owner} {self.default_ttl if ttl is None else ttl} IN {kind} {data}")

    def text(self) -> str:
        """Return the master file."""
        mail = below("hostmaster", self.name)
        soa = f"{self.servers[0].name} {mail} 2026010101 7200 900 1209600 {self.minimum}"
        head = [f"{self.name} {self.soa_ttl} IN SOA {soa}"]
        head += [f"{self.name} {self.default_ttl} IN NS {server.name}" for server in self.servers]
        return "\n".join([*head, *self.lines]) + "\n"

    @property
    def file(self) -> str:
        """Return the name of the master file."""
        return "root.zone" if self.name == "." else f"{self.name}zone"


class Tree:
    """All zones."""

    def __init__(self) -> None:
        """Plant the root and the top-level domains."""
        self.zones: dict[str, Zone] = {}
        self.turn = 0
        root = Zone(".", "root", [NameServer(f"{letter}.root-servers.") for letter in "ab"], 86_400, 900)
        self.zones["."] = root
        for letter, address in zip("ab", LEVELS["root"], strict=True):
            root.add(f"{letter}.root-servers", "A", address)
        for name in (*TLDS, "arpa."):
            self.delegate(name, "tld")

    def addresses(self, level: str, count: int = 2) -> list[str]:
        """Return the next few addresses of a server: they take turns."""
        self.turn += 1
        all_ = LEVELS[level]
        return [all_[(self.turn + index) % len(all_)] for index in range(count)]

    def parent(self, name: str) -> Zone:
        """Return the zone that a name is delegated from."""
        rest = name
        while True:
            rest = rest.partition(".")[2] or "."
            if rest in self.zones:
                return self.zones[rest]

    def zone(self, name: str, level: str, servers: list[NameServer]) -> Zone:
        """Add a zone that is served at `level`, and what the parent says of it."""
        parent = self.parent(name)
        made = self.zones[name] = Zone(name, level, servers)
        self.refer(parent, name, servers)
        for server in servers:
            if server.glue and server.name.endswith("." + name):
                made.lines.append(f"{server.name} {GLUE_TTL} IN A {server.glue}")
        return made

    @staticmethod
    def refer(parent: Zone, name: str, servers: list[NameServer]) -> None:
        """Add a delegation to the parent alone."""
        for server in servers:
            parent.lines.append(f"{name} {GLUE_TTL} IN NS {server.name}")
            if server.glue:
                parent.lines.append(f"{server.name} {GLUE_TTL} IN A {server.glue}")

    def delegate(self, name: str, level: str, count: int = 2) -> Zone:
        """Add an ordinary zone: name servers inside it, with glue."""
        places = enumerate(self.addresses(level, count), 1)
        return self.zone(name, level, [NameServer(f"ns{number}.{name}", place) for number, place in places])

    def hints(self) -> str:
        """Return the root hints."""
        lines = []
        for letter, address in zip("ab", LEVELS["root"], strict=True):
            lines.append(f".                3600000  IN NS  {letter}.root-servers.")
            lines.append(f"{letter}.root-servers.  3600000  IN A   {address}")
        return "; root hints of the private tree\n" + "\n".join(lines) + "\n"

    def served_by(self, level: str) -> list[Zone]:
        """Return the zones of a server."""
        return [zone for zone in self.zones.values() if zone.level == level]

    def nsd_zones(self, level: str) -> str:
        """Return the zone clauses of a server's configuration."""
        clauses = (f'zone:\n    name: "{zone.name}"\n    zonefile: "{zone.file}"\n' for zone in self.served_by(level))
        return "".join(clauses)
