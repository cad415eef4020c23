"""The parts of the oracle that need no server: reading RESP, splitting lines, saying when two replies are the same."""

from __future__ import annotations

import kv_checks
import kv_picks
import kv_wire
import pytest
from kv_wire import Failure, Status, WireError, command

REPLIES = [
    (b"+OK\r\n", Status(b"OK")),
    (b"-ERR x\r\n", Failure(b"ERR x")),
    (b":-12\r\n", -12),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"$0\r\n\r\n", b""),
    (b"$4\r\n\r\n$1\r\n", b"\r\n$1"),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n+x\r\n", [1, [b"a", None], Status(b"x")]),
]


@pytest.mark.parametrize(("raw", "value"), REPLIES)
def test_replies_are_read_whole(raw: bytes, value: object) -> None:
    """A reply has its value, and no end before its last byte."""
    assert kv_wire.decode(raw) == value
    assert kv_wire.reply_end(raw + b"+next\r\n", 0) == len(raw)
    assert all(kv_wire.reply_end(raw[:cut], 0) == -1 for cut in range(len(raw)))


@pytest.mark.parametrize("raw", [b"hello\r\n", b"$x\r\n", b"*\r\n", b"$2\r\nabc\r\n", b"%1\r\n", b":1.5\r\n"])
def test_nonsense_is_refused(raw: bytes) -> None:
    """What is no RESP2 is an error, not a reply."""
    with pytest.raises(WireError):
        kv_wire.reply_end(raw, 0)


@pytest.mark.parametrize(
    ("args", "lane", "reference", "same"),
    [
        ("GET k", b"$1\r\na\r\n", b"$1\r\na\r\n", True),
        ("GET k", b"+a\r\n", b"$1\r\na\r\n", False),
        ("GET k", b"*-1\r\n", b"$-1\r\n", False),
        ("SMEMBERS k", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n", True),
        ("SMEMBERS k", b"*2\r\n$1\r\na\r\n$1\r\na\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n", False),
        ("LRANGE k 0 -1", b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"*2\r\n$1\r\nb\r\n$1\r\na\r\n", False),
        ("HGETALL k", b"*4\r\n+a\r\n+1\r\n+b\r\n+2\r\n", b"*4\r\n+b\r\n+2\r\n+a\r\n+1\r\n", True),
        ("HGETALL k", b"*4\r\n+a\r\n+2\r\n+b\r\n+1\r\n", b"*4\r\n+b\r\n+2\r\n+a\r\n+1\r\n", False),
        ("TTL k", b":99\r\n", b":100\r\n", True),
        ("TTL k", b":97\r\n", b":100\r\n", False),
        ("TTL k", b":-1\r\n", b":0\r\n", False),
        ("ttl k", b":-2\r\n", b":-1\r\n", False),
        ("SMEMBERS k", b"-ERR a\r\n", b"-ERR b\r\n", False),
    ],
)
def test_same_reply(args: str, lane: bytes, reference: bytes, same: bool) -> None:
    """Bytes decide, but for orders and remaining lives that are not defined."""
    assert kv_checks.same_reply(command(*args.split()), lane, reference) is same


def test_streams_are_the_same_every_time() -> None:
    """A seed defines a stream; another seed gives another."""
    weights = kv_picks.STREAMS["mixed"]
    first, again, other = (kv_picks.stream(weights, kv_picks.Picker(seed), 300) for seed in ("a", "a", "b"))
    assert first == again != other


def test_every_kind_of_command_is_drawn() -> None:
    """The mixed stream has every command that has a generator and a weight, and no short life."""
    drawn = kv_picks.stream(kv_picks.STREAMS["mixed"], kv_picks.Picker("all", nasty=0.3), 20_000)
    assert {args[0].upper().decode() for args in drawn} == set(kv_picks.STREAMS["mixed"])
    assert all(kv_picks.harmless(args) for args in drawn if args[0].upper() in {b"EXPIRE", b"PEXPIRE", b"GETEX"})


def test_dumps_tell_what_differs() -> None:
    """A missing, a further and a changed key, and a moved moment, are each named."""
    dump: kv_checks.Dump = {b"a": (b"string", b"1", -1), b"b": (b"string", b"2", 5000)}
    kv_checks.compare_dumps("x", dump, dict(dump))
    kv_checks.compare_dumps("x", dump, {**dump, b"b": (b"string", b"2", 5900)}, 1000)
    for wrong, text in (
        ({b"a": dump[b"a"]}, "missing, first 'b'"),
        ({**dump, b"c": dump[b"a"]}, "too many, first 'c'"),
        ({**dump, b"a": (b"string", b"9", -1)}, "key 'a'"),
        ({**dump, b"b": (b"string", b"2", 6001)}, "until 6001"),
        ({**dump, b"b": (b"string", b"2", -1)}, "key 'b'"),
    ):
        with pytest.raises(kv_checks.CheckError, match=text):
            kv_checks.compare_dumps("x", dump, wrong, 1000)
