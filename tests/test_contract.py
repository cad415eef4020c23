"""The statistics block and the error line: exactly one block, exactly one line, nothing else."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tools.contract import Statistics, error_line, parse_statistics

GOOD = (
    b"--- Statistics ---\nTotal processed: 12\nProcessing time: 1.500s\nAverage latency: 125.000ms\n"
    b"Throughput: 8.00 items/sec\nDigest: 00ff00ff00ff00ff\n"
)
DIGITS = st.text("0123456789", min_size=1, max_size=9)
HEX = st.text("0123456789abcdef", min_size=16, max_size=16)


def fraction(least: int) -> st.SearchStrategy[str]:
    """Digits behind the point, never fewer than the contract asks."""
    return st.text("0123456789", min_size=least, max_size=12)


@settings(max_examples=100, deadline=None)
@given(DIGITS, DIGITS, fraction(3), fraction(3), fraction(2), HEX)
def test_every_right_block_parses(count: str, whole: str, part: str, latency: str, rate: str, digest: str) -> None:
    """Any number of digits from the least on; the count and the time are read to the nanosecond."""
    text = (
        f"--- Statistics ---\nTotal processed: {count}\nProcessing time: {whole}.{part}s\n"
        f"Average latency: {whole}.{latency}ms\nThroughput: {count}.{rate} items/sec\nDigest: {digest}\n"
    )
    expected = Statistics(int(count), int(whole) * 10**9 + int(part[:9].ljust(9, "0")), digest)
    assert parse_statistics(text.encode()) == expected


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD)), st.binary(max_size=3), st.integers(0, 3))
@example(len(GOOD), GOOD[:3], 0)
@example(0, b"\n", 0)
@example(len(GOOD), b"\n", 0)
@example(len(GOOD) - 1, b"\r", 0)
def test_a_changed_block_never_parses_as_another_shape(place: int, inserted: bytes, dropped: int) -> None:
    """After any small change it is refused, or it is still one whole block of six lines with the six names."""
    changed = GOOD[:place] + inserted + GOOD[place + dropped :]
    if parse_statistics(changed) is not None:
        names = [line.split(b":")[0] for line in changed.splitlines()]
        assert names == [line.split(b":")[0] for line in GOOD.splitlines()]
        assert changed.endswith(b"\n")
        assert b"\r" not in changed


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_nothing_may_stand_around_the_block(extra: bytes) -> None:
    """One byte before or behind, or a second block, and there is no block."""
    assert parse_statistics(extra + GOOD) is None
    assert parse_statistics(GOOD + extra) is None
    assert parse_statistics(GOOD + GOOD) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_block(noise: bytes) -> None:
    """Arbitrary bytes neither parse nor raise."""
    assert parse_statistics(noise) is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
@example(b"error: a\nerror: b\n")
@example(b"error: \n")
@example(b"error: a")
@example(b"Error: a\n")
@example(b"warning\nerror: a\n")
def test_error_line_is_exactly_one_line(stderr: bytes) -> None:
    """The message is there exactly when stderr is `error: `, some text and one line feed."""
    whole = stderr.startswith(b"error: ") and stderr.endswith(b"\n") and stderr.count(b"\n") == 1 and len(stderr) > 8
    assert (error_line(stderr) is not None) is whole


def test_error_line_gives_the_message() -> None:
    """Text after `error: `, with foreign bytes replaced."""
    assert error_line(b"error: a.csv:3: bad \xff\n") == "a.csv:3: bad \ufffd"
