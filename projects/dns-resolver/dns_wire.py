"""Messages of the DNS: queries to the byte, answers in a form that can be compared.

Queries and the answers of our own name server are packed by hand, because many of them must be wrong; what a resolver
says is read by dnspython, which believes nothing that is malformed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

QR, AA, TC, RD, RA, Z, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0010
A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, DNAME, OPT = 1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 39, 41
IXFR, AXFR, ANY = 251, 252, 255
IN, CH = 1, 3
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, YXDOMAIN, BADVERS = 0, 1, 2, 3, 4, 5, 6, 16
HEADER_BYTES = 12
SHOWN_BYTES = 120


class WireError(Exception):
    """What came is no message of the DNS, or not an answer to what was asked."""


def kind_number(kind: str | int) -> int:
    """Return the number of a type."""
    return kind if isinstance(kind, int) else int(dns.rdatatype.from_text(kind))


def kind_text(kind: int) -> str:
    """Return the name of a type."""
    return dns.rdatatype.to_text(dns.rdatatype.RdataType.make(kind))


def rcode_text(rcode: int) -> str:
    """Return the name of a response code."""
    return dns.rcode.to_text(dns.rcode.Rcode.make(rcode))


def name_of(name: str | dns.name.Name) -> dns.name.Name:
    """Return an absolute name."""
    return name if isinstance(name, dns.name.Name) else dns.name.from_text(name)


def name_wire(name: str | bytes | dns.name.Name) -> bytes:
    """Return a name as it stands in a message, uncompressed; bytes are taken as they are."""
    return name if isinstance(name, bytes) else bytes(name_of(name).to_wire() or b"")


def lower(name: dns.name.Name) -> str:
    """Return a name as text in lower case."""
    return name.to_text().lower()


# --- queries ---------------------------------------------------------------------------------------------------------


def opt(size: int = 1232, *, version: int = 0, flags: int = 0, options: bytes = b"", owner: bytes = b"\0") -> bytes:
    """Return an OPT record."""
    return owner + struct.pack("!HHBBHH", OPT, size, 0, version, flags, len(options)) + options


def question(name: str | bytes | dns.name.Name, kind: str | int, klass: int = IN) -> bytes:
    """Return an entry of the question section."""
    return name_wire(name) + struct.pack("!HH", kind_number(kind), klass)


def packet(number: int, flags: int, counts: Sequence[int], body: bytes) -> bytes:
    """Return a message with any counts."""
    return struct.pack("!HHHHHH", number, flags, *counts) + body


def query(
    name: str | bytes | dns.name.Name,
    kind: str | int = "A",
    *,
    number: int = 0,
    flags: int = RD,
    klass: int = IN,
    edns: bytes | None = None,
) -> bytes:
    """Return a query; `edns` is a whole OPT record."""
    return packet(number, flags, (1, 0, 0, int(edns is not None)), question(name, kind, klass) + (edns or b""))


# --- answers ---------------------------------------------------------------------------------------------------------


def record(text: str, *, klass: int = IN) -> bytes:
    """Return a record given as `owner ttl type data`."""
    owner, ttl, kind, data = text.split(maxsplit=3)
    rdata = dns.rdata.from_text("IN", kind, data, origin=dns.name.root, relativize=False)
    return raw_record(owner, kind, rdata.to_wire() or b"", int(ttl), klass=klass)


def raw_record(owner: str | bytes, kind: str | int, data: bytes, ttl: int = 3600, *, klass: int = IN) -> bytes:
    """Return a record with any bytes as its data."""
    return name_wire(owner) + struct.pack("!HHIH", kind_number(kind), klass, ttl, len(data)) + data


def packed(section: Iterable[str | bytes]) -> list[bytes]:
    """Return records as bytes."""
    return [one if isinstance(one, bytes) else record(one) for one in section]


def end_of_question(data: bytes) -> int:
    """Return where the question section of a simple query ends.

    Raises:
        WireError: it is not a query with one question.
    """
    place = HEADER_BYTES
    while place < len(data) and data[place]:
        if data[place] > 63:
            raise WireError(f"a compressed name in a question: {shown(data)}")
        place += data[place] + 1
    if place + 5 > len(data):
        raise WireError(f"a question that is cut: {shown(data)}")
    return place + 5


# --- what a resolver says --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    """An answer without its times: code, the chain of aliases, and the records asked for."""

    rcode: int
    chain: tuple[tuple[str, str], ...] = ()
    records: frozenset[bytes] = frozenset()
    texts: tuple[str, ...] = field(default=(), compare=False)
    """The records for people."""

    def __str__(self) -> str:
        """Return one line."""
        links = [f"{owner} CNAME {target}" for owner, target in self.chain]
        parts = [*links, *(self.texts[:4]), *([f"({len(self.texts)} records)"] if len(self.texts) > 4 else [])]
        return f"{rcode_text(self.rcode)} {' ; '.join(parts) or '-'}"


class Answer:
    """A message that a resolver sent, parsed."""

    def __init__(self, data: bytes) -> None:
        """Parse a message.

        Raises:
            WireError: it is malformed.
        """
        if len(data) < HEADER_BYTES:
            raise WireError(f"{len(data)} bytes are no message: {shown(data)}")
        self.data = data
        self.number, self.flags, *counts = struct.unpack("!HHHHHH", data[:HEADER_BYTES])
        self.counts = tuple(counts)
        try:
            self.message = dns.message.from_wire(data, one_rr_per_rrset=True)
        except (dns.exception.DNSException, ValueError, struct.error, IndexError) as error:
            raise WireError(f"a malformed message ({type(error).__name__}: {error}): {shown(data)}") from error
        self.rcode = int(self.message.rcode())
        self.edns = self.message.edns >= 0
        self.answer: list[dns.rrset.RRset] = list(self.message.answer)
        self.authority: list[dns.rrset.RRset] = list(self.message.authority)

    @property
    def truncated(self) -> bool:
        """Whether TC is set."""
        return bool(self.flags & TC)

    def shape(self, name: str | dns.name.Name, kind: str | int) -> Shape:
        """Return what can be compared.

        Raises:
            WireError: there are records that nobody asked for, or the chain is out of order.
        """
        wanted = kind_number(kind)
        current = name_of(name)
        chain: list[tuple[str, str]] = []
        records: dict[bytes, str] = {}
        for rrset in self.answer:
            data = rrset[0]
            if rrset.rdtype == DNAME and wanted != DNAME:
                continue
            if rrset.name != current:
                raise WireError(f"unexpected {rrset.name} {kind_text(rrset.rdtype)} where {current} is due: {self}")
            if rrset.rdtype == CNAME and wanted != CNAME:
                if records:
                    raise WireError(f"a CNAME after records of {current}: {self}")
                chain.append((lower(current), lower(data.target)))
                current = data.target
            elif rrset.rdtype == wanted:
                digestable = data.to_digestable(dns.name.root)
                if digestable in records:
                    raise WireError(f"the same record twice: {rrset}")
                records[digestable] = data.to_text()
            else:
                raise WireError(f"unexpected {kind_text(rrset.rdtype)} record of {rrset.name}: {self}")
        return Shape(self.rcode, tuple(chain), frozenset(records), tuple(sorted(records.values())))

    def times(self) -> list[int]:
        """Return the times to live in the answer section."""
        return [int(rrset.ttl) for rrset in self.answer]

    def soa(self) -> tuple[str, int] | None:
        """Return owner and time to live of the SOA in the authority section, if it has one."""
        found = [rrset for rrset in self.authority if rrset.rdtype == SOA]
        return (lower(found[0].name), int(found[0].ttl)) if found else None

    def __str__(self) -> str:
        """Return one line."""
        records = [str(rrset) for rrset in self.answer[:6]]
        more = f" and {len(self.answer) - 6} more" if len(self.answer) > 6 else ""
        tc = " TC" if self.truncated else ""
        return f"{rcode_text(self.rcode)}{tc} [{' ; '.join(records)}{more}]"


def shown(data: bytes) -> str:
    """Return bytes for a failure text."""
    cut = data[:SHOWN_BYTES].hex()
    return f"{cut}... ({len(data)} bytes)" if len(data) > SHOWN_BYTES else cut or "nothing"
