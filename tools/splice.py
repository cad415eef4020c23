"""Rewrite the places of a document that are ours: a pure function of text, and every byte outside stays.

The checksum in an end marker is that of the block's own text, so a hand edit inside a block is noticed before it is
lost. Rewriting twice equals rewriting once. Line endings follow the line of the begin marker.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tools.documents import NEWLINE, Block, Document, Inline, parse
from tools.errors import TablesError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHA_DIGITS = 12


class Source(Protocol):
    """Where the text of blocks, values and claims comes from."""

    def block(self, name: str, options: Mapping[str, str]) -> str:
        """Give the Markdown of a block; LookupError if there is none of this name, with the reason."""

    def value(self, words: tuple[str, ...]) -> str:
        """Give the text of an inline value; LookupError as above."""

    def claim(self, words: tuple[str, ...]) -> str | None:
        """Give None if the newest data support the claim, else what they say; LookupError as above."""


@dataclass(frozen=True)
class Difference:
    """A place where a document and the results do not agree; `kind` is outdated, hand-edit or claim."""

    name: str
    line: int
    kind: str
    message: str

    def __str__(self) -> str:
        """Show the difference in one line."""
        return f"{self.name}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Spliced:
    """The new text, and what the old one had that differs."""

    text: str
    differences: list[Difference]


def splice(text: str, name: str, source: Source, required: Iterable[str] = ()) -> Spliced:
    """Fill every place of a document from `source`; `required` names blocks that must be there.

    Raises:
        TablesError: markers are wrong, unknown or missing; every problem is listed with its line.
    """
    document = parse(text, name)
    missing = sorted(set(required) - {block.name for block in document.blocks})
    document.problems += [(1, f"block {block} is missing") for block in missing]
    edits: list[tuple[int, int, str]] = []
    differences: list[Difference] = []
    for block in document.blocks:
        _fill_block(document, block, source, edits, differences)
    for inline in document.inlines:
        _fill_inline(document, inline, source, edits, differences)
    document.refuse_problems()
    pieces, last = [], 0
    for start, end, new in sorted(edits):
        pieces += [text[last:start], new]
        last = end
    return Spliced("".join([*pieces, text[last:]]), sorted(differences, key=lambda one: one.line))


def decode(content: bytes, name: str) -> str:
    """Decode a document; a byte order mark stays part of the text.

    Raises:
        TablesError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(NEWLINE.findall(content[: error.start].decode("utf-8"))) + 1
        raise TablesError(f"{name}:{line}: not UTF-8") from error


def checksum(content: str) -> str:
    """Hash the text of a block, whatever its line endings and the blank lines around it are."""
    plain = NEWLINE.sub("\n", content).strip("\n")
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:SHA_DIGITS]


def _fill_block(
    document: Document, block: Block, source: Source, edits: list[tuple[int, int, str]], differences: list[Difference]
) -> None:
    """Add the edit of one block, and what differs from the text that is there."""
    try:
        wanted = source.block(block.name, block.options)
    except LookupError as error:
        document.problems.append((block.line, _reason(error)))
        return
    text, marker = document.text, block.end_marker
    old = text[block.start : block.end]
    newline = (NEWLINE.match(text, _line_end(text, block.start)) or ["\n"])[0]
    lines = ["", "", *NEWLINE.split(wanted.strip("\r\n")), "", ""] if wanted.strip() else ["", ""]
    tail = text[block.start : _line_end(text, block.start)]
    indent = NEWLINE.split(old)[-1]
    new = f"{tail}{newline.join(lines)}{indent}<!-- deadheat:end {block.name} sha={checksum(wanted)} -->"
    edits.append((block.start, marker.end, new))
    if text[block.start : marker.end] == new:
        return
    edited = bool(old.strip()) and checksum(old) not in {block.sha, checksum(wanted)}  # an emptied block is no loss
    if edited:
        message = f"block {block.name} was edited by hand, or written without a checksum"
        differences.append(Difference(document.name, block.line, "hand-edit", message))
    else:
        differences.append(Difference(document.name, block.line, "outdated", f"block {block.name} is outdated"))


def _line_end(text: str, start: int) -> int:
    """Find the end of the line that `start` lies in."""
    match = NEWLINE.search(text, start)
    return match.start() if match else len(text)


def _fill_inline(
    document: Document, inline: Inline, source: Source, edits: list[tuple[int, int, str]], differences: list[Difference]
) -> None:
    """Add the edit of one value, or judge one claim (a sentence is never rewritten)."""
    old, shown = document.text[inline.start : inline.end], " ".join(inline.words)
    try:
        if inline.kind == "claim":
            if (against := source.claim(inline.words)) is not None:
                message = f"the data no longer say {' '.join(old.split())!r} ({shown}): {against}"
                differences.append(Difference(document.name, inline.line, "claim", message))
            return
        new = source.value(inline.words)
    except LookupError as error:
        document.problems.append((inline.line, _reason(error)))
        return
    if old != new:
        edits.append((inline.start, inline.end, new))
        message = f"value {shown} is {new!r}, the text says {old!r}"
        differences.append(Difference(document.name, inline.line, "outdated", message))


def _reason(error: LookupError) -> str:
    """Read the sentence of a LookupError (KeyError would quote it)."""
    return str(error.args[0]) if error.args else "unknown"
