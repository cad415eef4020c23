"""Make the inputs of @@slug@@, the same bytes from the same seed on any machine.

    python workload.py --workload verify --seed 1 --size '{"words": 20000, "vocabulary": 2000}' --out FOLDER

`text.txt` has words drawn by Zipf's law, in mixed case, with punctuation between them. The verify workload has a
folder of edge cases beside it, and files that must be refused.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from itertools import accumulate
from pathlib import Path

LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
SEPARATORS = (" ", " ", " ", " ", " ", " ", " ", " ", ", ", ". ", "\n", "; ")
CHUNK_WORDS = 100_000
LONGEST_WORD_BYTES = 64 << 10
BLOCK_BYTES = 256 << 10


def vocabulary(dice: random.Random, size: int) -> list[str]:
    """Return different words; one in fifty has letters beyond ASCII, one in fifty digits, one in ten a capital."""
    found: dict[str, None] = {}
    while len(found) < size:
        length = dice.choice((2, 3, 4, 5, 6, 7, 8, 11))
        word = "".join(dice.choices(LETTERS, weights=range(len(LETTERS), 0, -1), k=length))
        match dice.randrange(100):
            case 0 | 1:
                word += "\u00e9"
            case 2 | 3:
                word += str(dice.randrange(100))
            case 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12 | 13:
                word = word.capitalize()
        found[word] = None
    return list(found)


def write_text(path: Path, seed: int, words: int, different: int) -> None:
    """Write the text chunk by chunk, so that its size costs no memory."""
    dice = random.Random(seed)
    known = vocabulary(dice, different)
    weights = list(accumulate(1 / rank for rank in range(1, different + 1)))
    with path.open("w", encoding="utf-8", newline="") as file:
        for start in range(0, words, CHUNK_WORDS):
            count = min(CHUNK_WORDS, words - start)
            drawn = dice.choices(known, cum_weights=weights, k=count)
            between = dice.choices(SEPARATORS, k=count)
            file.write("".join(word + gap for word, gap in zip(drawn, between, strict=True)))


def edge_files() -> dict[str, bytes]:
    """Return the edge cases by name: what is a word, what is equal, and what crosses the edge of a block."""
    longest = b"w" * LONGEST_WORD_BYTES
    return {
        "empty.txt": b"",
        "no-words.txt": b" \n\t.,;-'\"\x00\x7f" * 100,
        "one-word.txt": b"word",
        "case.txt": b"Word wORD word WORD\nR2D2 r2d2",
        "ties.txt": b"c b a B A C d",
        "bytes.txt": bytes(range(256)) * 3,
        "high.txt": "\u00c9t\u00e9 \u00e9t\u00e9 \u00c9T\u00c9 \u65e5\u672c \U0001f600".encode(),
        "broken-utf8.txt": b"\xff\xfe \x80a \x80A \xc3",
        "lengths.txt": b" ".join(b"x" * length + b" " + b"x" * length + b"y" for length in range(1, 70)),
        "longest.txt": b"a " + longest + b" b " + longest,
        "edge-of-block.txt": b" " * (BLOCK_BYTES - 4) + b"crossing the edge " + b"ab " * BLOCK_BYTES,
        "word-at-edge.txt": b"z" * 60_000 + b" " * (BLOCK_BYTES - 60_004) + b"edge" + b" after",
    }


def bad_files() -> dict[str, bytes]:
    """Return files that must be refused."""
    too_long = b"w" * (LONGEST_WORD_BYTES + 1)
    return {"long-word.txt": b"a " + too_long + b" b", "long-end.txt": b"ab " + too_long, "endless.txt": too_long * 20}


def main() -> int:
    """Make one workload for the harness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", required=True, choices=["verify", "bench"])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=json.loads, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    write_text(options.out / "text.txt", options.seed, options.size["words"], options.size["vocabulary"])
    if options.workload == "verify":
        for folder, files in (("edge", edge_files()), ("bad", bad_files())):
            (options.out / folder).mkdir()
            for name, content in files.items():
                (options.out / folder / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
