"""Random inputs through every lane against the oracle, and damaged inputs that must end in one clear line.

DEADHEAT_SEED and DEADHEAT_ROUNDS override the seed and the number of random files.
"""

from __future__ import annotations

import gzip
import os
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import xxhash
import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = int(os.environ.get("DEADHEAT_SEED", "20"))
ROUNDS = int(os.environ.get("DEADHEAT_ROUNDS", "150"))
MUTATIONS = 200
LIMIT_SECONDS = 20
MEMORY_LIMIT_KIB = 64 * 1024
NUMBERS = ["", "0", "1", "-1", "1.50", "2.5", "-.125", "+3", "1e2", "12345678.12345678", "999999999999999999", "1e-18"]
BAD_NUMBERS = ["abc", "1e19", "NaN", "1.2.3", "1234567890123456789", "-", "1 "]
TEXTS = ["", "a", "b", "ab", "longer text of a field that spans more than one vector", "é", "日本", "x y", "0", "A"]
ODD_TEXTS = ["a,b", 'say "hi"', "two\nlines", "two\r\nlines", "c\rr", '"', ";", "\t", "|", "\n", '""']
BROKEN = [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xf5\x80\x80\x80", b"\x80"]


@dataclass(frozen=True)
class Outcome:
    """What a lane did."""

    code: int
    stdout: str
    stderr: str


def run(command: list[str], args: list[str], stdin: bytes | None = None) -> Outcome:
    """Run a lane, bounded in time."""
    done = subprocess.run(
        [*command, *args], input=stdin or b"", capture_output=True, timeout=LIMIT_SECONDS, check=False
    )
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode())


def field(rng: random.Random, delimiter: str, *, bad: bool) -> str:
    """Return one field, quoted where it has to be."""
    kind = rng.random()
    text = rng.choice(NUMBERS) if kind < 0.5 else rng.choice(TEXTS if kind < 0.85 else ODD_TEXTS)
    if any(char in text for char in '"\r\n' + delimiter) or rng.random() < 0.1:
        text = '"' + text.replace('"', '""') + '"'
    return text + ("x" if bad and rng.random() < 0.01 else "")


def row(rng: random.Random, delimiter: str, *, bad: bool) -> bytes:
    """Return one row of a key, two numbers and a text, bad now and then."""
    numbers = [rng.choice(NUMBERS) for _ in range(2)]
    if bad and rng.random() < 0.1:
        numbers[rng.randrange(2)] = rng.choice(BAD_NUMBERS)
    cells = [field(rng, delimiter, bad=bad), *numbers, field(rng, delimiter, bad=bad)]
    if bad and rng.random() < 0.05:
        cells = cells[: rng.randrange(1, 4)] if rng.random() < 0.5 else [*cells, "more"]
    line = delimiter.join(cells).encode()
    return line + rng.choice(BROKEN) if bad and rng.random() < 0.03 else line


def random_csv(rng: random.Random, delimiter: str, *, bad: bool) -> bytes:
    """Return a file; sound ones have every kind of line end as well."""
    ends = rng.choice([[b"\n"], [b"\r\n"], [b"\n", b"\r\n", b"\n\n", b"\n\r\n"]])
    lines = [delimiter.join(["key", "v", "w", "note"]).encode()]
    lines += [row(rng, delimiter, bad=bad) for _ in range(rng.choice([0, 1, 5, 50, 400]))]
    text = b"".join(line + rng.choice(ends) for line in lines)
    return rng.choice([b"", b"\xef\xbb\xbf"]) + (text.rstrip(b"\r\n") if rng.random() < 0.3 else text)


def random_args(rng: random.Random, delimiter: str) -> list[str]:
    """Return options for such a file."""
    wanted = ["count", *(f"{name}:{column}" for name in ["count", "sum", "mean", "min", "max"] for column in "vw")]
    args = ["--agg", ",".join(rng.sample(wanted, rng.randrange(1, 6))), "--delimiter", delimiter]
    keys = rng.sample(["key", "note", "v", "w"], rng.randrange(4))
    args += ["--group-by", ",".join(keys)] if keys else []
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        operator = rng.choice(["=", "!=", "<", "<=", ">", ">="])
        literal = rng.choice([number for number in NUMBERS if number] if operator[0] in "<>" else [*NUMBERS, *TEXTS])
        args += ["--where", f"{rng.choice(['v', 'w'] if operator[0] in '<>' else ['key', 'v'])} {operator} {literal}"]
    args += ["--format", "json"] if rng.random() < 0.3 else []
    return args + (["--on-error", "skip"] if rng.random() < 0.5 else [])


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "csv": bytes,
    "csv.gz": gzip.compress,
    "csv.zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}


@dataclass(frozen=True)
class Expected:
    """What the oracle says: an answer, or the text of an error."""

    text: bytes | None
    items: int = 0
    skipped: int = 0
    error: str = ""


def expect(oracle: Any, args: list[str]) -> Expected:
    """Ask the oracle."""
    try:
        made = oracle.answer(args)
    except oracle.BadInputError as error:
        return Expected(None, error=str(error))
    return Expected(made.text, made.items, made.skipped)


def check_failed(outcome: Outcome, text: str, output: Path, context: object) -> None:
    """A failed run says one line and leaves nothing."""
    assert outcome.code == 2, (context, outcome)
    assert outcome.stdout == "", context
    assert re.fullmatch(r"error: [^\n]*\n", outcome.stderr), (context, outcome)
    assert text in outcome.stderr, (context, outcome)
    assert not output.exists(), context


def check_done(outcome: Outcome, expected: Expected, output: Path, context: object) -> None:
    """A good run of two repeats prints statistics and digest and writes the answer."""
    assert expected.text is not None
    assert outcome.code == 0, (context, outcome)
    assert output.read_bytes() == expected.text, context
    assert f"Total processed: {expected.items * 2}\n" in outcome.stdout, (context, outcome)
    assert f"Digest: {xxhash.xxh64(expected.text * 2).hexdigest()}\n" in outcome.stdout, (context, outcome)
    note = f"note: {expected.skipped} bad rows skipped\n" if expected.skipped else ""
    assert outcome.stderr == note, (context, outcome)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_random_files(number: int, lane_commands: dict[str, list[str]], oracle: Any, tmp_path: Path) -> None:
    """Every lane gives the oracle's bytes, or the oracle's error, on a random file."""
    rng = random.Random(SEED * 100_003 + number)
    delimiter = rng.choice([",", ",", ";", "\t", "|"])
    kind = rng.choice(["csv", "csv", "csv.gz", "csv.zst"])
    path = tmp_path / f"in.{kind}"
    path.write_bytes(PACKERS[kind](random_csv(rng, delimiter, bad=rng.random() < 0.5)))
    args = ["--input", str(path), *random_args(rng, delimiter)]
    expected = expect(oracle, args)
    for language, command in lane_commands.items():
        output = tmp_path / f"{language}.out"
        outcome = run(command, [*args, "--repeats", "2", "--output", str(output)])
        if expected.text is None:
            check_failed(outcome, expected.error, output, (language, args))
        else:
            check_done(outcome, expected, output, (language, args))


def mutate(rng: random.Random, data: bytes) -> bytes:
    """Return a damaged copy: a few changed bytes, a cut, a doubled or a missing part."""
    damaged = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        if damaged:
            damaged[rng.randrange(len(damaged))] = rng.choice([0, 10, 13, 34, 44, 255, rng.randrange(256)])
    kind, start = rng.randrange(4), rng.randrange(len(damaged) + 1)
    end = min(len(damaged), start + rng.randrange(200))
    return bytes([damaged, damaged[:start], damaged[:start] + damaged[end:], damaged[:end] + damaged[start:]][kind])


@pytest.mark.parametrize("kind", list(PACKERS))
def test_damaged_files(kind: str, lane_commands: dict[str, list[str]], oracle: Any, tmp_path: Path) -> None:
    """Damage ends in exit 0 or 2 with at most one line; plain files still have the oracle's answer."""
    rng = random.Random(SEED)
    path = tmp_path / f"in.{kind}"
    for number in range(MUTATIONS):
        path.write_bytes(mutate(rng, PACKERS[kind](random_csv(rng, ",", bad=False))))
        policy = rng.choice(["fail", "skip"])
        args = ["--input", str(path), "--group-by", "key", "--agg", "count,sum:v,mean:w", "--on-error", policy]
        args += ["--compression", {"csv": "none", "csv.gz": "gzip", "csv.zst": "zstd"}[kind]]
        answer = expect(oracle, args).text if kind == "csv" else None
        for language, command in lane_commands.items():
            output = tmp_path / "out"
            output.unlink(missing_ok=True)
            outcome = run(command, [*args, "--output", str(output)])
            if outcome.code == 2:
                check_failed(outcome, "", output, (language, number))
            else:
                assert outcome.code == 0, (language, number, outcome)
                assert "Digest: " in outcome.stdout, (language, number)
            if kind == "csv":
                assert (outcome.code == 0) == (answer is not None), (language, number, outcome)
                assert answer is None or output.read_bytes() == answer, (language, number)


@pytest.mark.parametrize("size", [1, 2, 7, 31, 32, 33, 63, 64, 65])
def test_block_borders(size: int, lane_commands: dict[str, list[str]], oracle: Any, tmp_path: Path) -> None:
    """Quotes, CRLF and characters of several bytes survive any place of a block border."""
    path = tmp_path / "borders.csv"
    for block in [256 << 10, 512 << 10, 1 << 20]:
        pad = b"k,v,n\n" + b"pad,1,\n" * ((block - 4096) // 7)
        rows = [b'"q""%d",%d.5,"a\r\n,\xe6\x97\xa5"\r\n' % (i % 9, i) for i in range(400)]
        path.write_bytes(pad + b"x" * size + b",1,\n" + b"".join(rows))
        args = ["--input", str(path), "--group-by", "k,n", "--agg", "count,sum:v"]
        expected = expect(oracle, args)
        for language, command in lane_commands.items():
            output = tmp_path / "out"
            outcome = run(command, [*args, "--repeats", "2", "--output", str(output)])
            check_done(outcome, expected, output, (language, block))


def test_stdin(lane_commands: dict[str, list[str]], workload: Any) -> None:
    """A pipe is an input, once."""
    for language, command in lane_commands.items():
        args = ["--input", "-", "--agg", "count", "--output", "-"]
        for data in [workload.PEOPLE, gzip.compress(workload.PEOPLE), workload.frame(workload.PEOPLE)]:
            outcome = run(command, args, data)
            assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "count\n6\n", ""), (language, outcome)
        outcome = run(command, [*args, "--repeats", "2"], workload.PEOPLE)
        assert outcome.code == 2, language
        assert re.fullmatch(r"error: [^\n]*\n", outcome.stderr), language


def test_usage(lane_commands: dict[str, list[str]]) -> None:
    """Help and version work, and no half of a command line does."""
    for language, command in lane_commands.items():
        manual = run(command, ["--help"])
        assert manual.code == 0
        assert "--group-by" in manual.stdout
        assert run(command, ["--version"]) == Outcome(0, f"csv-stream-aggregator {language}\n", "")
        for args in [
            [],
            ["--agg", "count"],
            ["--input", "/dev/null", "--agg", "count", "--repeats", "0"],
            ["x\n\x1b[31m"],
        ]:
            outcome = run(command, args)
            assert outcome.code == 2, (language, args)
            assert re.fullmatch(r"error: [ -~]*\n", outcome.stderr), (language, outcome)


def test_output_that_fails(lane_commands: dict[str, list[str]], workload: Any, tmp_path: Path) -> None:
    """A full disk is exit 1 with one line, a reader that goes away exit 1 without noise; nothing is left behind."""
    path = tmp_path / "groups.csv"
    path.write_bytes(workload.many_groups(20_000))
    args = ["--input", str(path), "--group-by", "key", "--agg", "count,sum:v"]
    for language, command in lane_commands.items():
        full = run(command, [*args, "--output", "/dev/full"])
        assert (full.code, full.stdout) == (1, ""), language
        assert re.fullmatch(r"error: [^\n]*\n", full.stderr), (language, full)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([*command, *args, "--output", "-"], stdout=writer, stderr=subprocess.PIPE, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, b""), language
        folder = run(command, [*args, "--output", str(tmp_path)])
        assert folder.code == 2, language
        assert sorted(file.name for file in tmp_path.iterdir()) == ["groups.csv"], language


def test_memory(lane_commands: dict[str, list[str]], tmp_path: Path) -> None:
    """100,000 groups of a file of 60 MB fit in 64 MiB; so does one group of the same file under zstd."""
    path = tmp_path / "groups.csv"
    keys = "".join(f"C{key:07d},{key % 1000}.25,{'x' * 40}\n" for key in range(100_000))
    path.write_text("customer,amount,note\n" + keys * 10)
    packed = tmp_path / "groups.csv.zst"
    packed.write_bytes(PACKERS["csv.zst"](path.read_bytes()))
    for language, command in lane_commands.items():
        for file, column in [(path, "customer"), (packed, "note")]:
            args = ["--input", str(file), "--group-by", column, "--agg", "count,sum:amount"]
            assert peak_kib([*command, *args]) < MEMORY_LIMIT_KIB, (language, file.name)


def peak_kib(command: list[str]) -> int:
    """Return the largest resident set of a command.

    A small process starts it: on Linux the peak of a fresh program begins with that of the process that it replaces.
    """
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    script += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run([sys.executable, "-c", script, *command], capture_output=True, check=True, text=True)
    return int(done.stdout)
