"""Find the places in a Markdown document that Deadheat writes: blocks, inline values and claims.

    <!-- deadheat:begin NAME key=value -->          a block, each marker alone on its line
    <!-- deadheat:end NAME sha=0123456789ab -->
    <!-- deadheat:value WORDS -->2.9x<!-- /deadheat -->              a number inside prose
    <!-- deadheat:claim WORDS -->Rust wins.<!-- /deadheat -->        a sentence and the condition that it rests on

A marker counts only where Markdown sees an HTML comment; in a code fence or inline code it is text. To know, every
candidate is replaced by a numbered comment, markdown-it-py parses that, and the numbers that come back as comments are
the real ones. So every marker keeps its exact place in the source, in tables and lists as well.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from tools.errors import TablesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markdown_it.token import Token

NEWLINE = re.compile(r"\r\n?|\n")
CANDIDATE = re.compile(r"<!-- ((?:(?!--)[A-Za-z0-9 :=./_,%+-])*?) -->")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
OURS = re.compile(r"<!--\s*/?\s*deadheat", re.IGNORECASE)
RAW_HTML = re.compile(r"\s*<(script|style|textarea|pre|\?|!\[CDATA)", re.IGNORECASE)
OPTION = re.compile(r"([a-z]+)=([A-Za-z0-9._-]+)")
KINDS = {"deadheat:begin": "begin", "deadheat:end": "end", "deadheat:value": "value", "deadheat:claim": "claim"}


@dataclass(frozen=True)
class Marker:
    """One real marker: what it says and where it stands."""

    kind: str
    words: tuple[str, ...]
    start: int
    end: int
    line: int


@dataclass(frozen=True)
class Block:
    """A pair of begin and end markers; `start` and `end` bound the text between them."""

    name: str
    options: Mapping[str, str]
    sha: str | None
    start: int
    end: int
    end_marker: Marker
    line: int


@dataclass(frozen=True)
class Inline:
    """A value or a claim; `start` and `end` bound its text."""

    kind: str
    words: tuple[str, ...]
    start: int
    end: int
    line: int


@dataclass
class Document:
    """A Markdown text with the places that are ours, in order."""

    name: str
    text: str
    blocks: list[Block] = field(default_factory=list)
    inlines: list[Inline] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def refuse_problems(self) -> None:
        """Stop if a marker is wrong.

        Raises:
            TablesError: every problem with file and line.
        """
        if self.problems:
            lines = [f"{self.name}:{line}: {message}" for line, message in sorted(self.problems)]
            raise TablesError("\n".join(lines), remedy="repair the markers; nothing was written")


def parse(text: str, name: str) -> Document:
    """Find all blocks, values and claims; what is wrong with the markers is collected in `problems`."""
    document = Document(name, text)
    markers = _real_markers(document)
    _pair(document, markers)
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    for block in document.blocks:
        first = seen.setdefault((block.name, tuple(sorted(block.options.items()))), block.line)
        if first != block.line:
            document.problems.append((block.line, f"block {block.name} is there already in line {first}"))
    return document


def _real_markers(document: Document) -> list[Marker]:
    """List the candidates that Markdown sees as comments, in order; wrong ones become problems."""
    text = document.text
    candidates = [match for match in CANDIDATE.finditer(text) if "deadheat" in match[1]]
    word = "dh"
    while word in text:
        word += "h"
    pieces, last = [], 0
    for number, match in enumerate(candidates):
        pieces += [text[last : match.start()], f"<!-- {word}{number} -->"]
        last = match.end()
    pieces.append(text[last:])
    numbered = "".join(pieces).removeprefix("\ufeff")
    lines = _line_starts(text)
    found = []
    for comment, line, is_block in _comments(numbered):
        known = re.fullmatch(rf"<!-- {word}(\d+) -->", comment)
        if known is None:
            if OURS.match(comment):
                document.problems.append((line, "malformed marker"))
            continue
        match = candidates[int(known[1])]
        marker = _marker(match, bisect_right(lines, match.start()))
        problem = "malformed marker" if marker is None else _misplaced(marker, text, is_block=is_block)
        if marker is None or problem:
            document.problems.append((bisect_right(lines, match.start()), problem or ""))
        else:
            found.append(marker)
    return sorted(found, key=lambda marker: marker.start)


def _line_starts(text: str) -> list[int]:
    """Give the offset at which each line starts."""
    return [0, *(match.end() for match in NEWLINE.finditer(text))]


def _comments(text: str) -> Iterator[tuple[str, int, bool]]:
    """Yield every HTML comment that Markdown sees: its text, its line, and whether it is a block of the top level."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 1
        if token.type == "html_block" and not RAW_HTML.match(token.content):
            for match in COMMENT.finditer(token.content):
                yield match[0], line + token.content.count("\n", 0, match.start()), token.level == 0
        elif token.type == "inline":
            yield from ((child.content, line, False) for child in _html(token.children or []))


def _html(children: Sequence[Token]) -> Iterator[Token]:
    """Yield the HTML comments among inline tokens."""
    return (child for child in children if child.type == "html_inline" and child.content.startswith("<!--"))


def _marker(match: re.Match[str], line: int) -> Marker | None:
    """Read a candidate; None if it is ours but says nothing that we know."""
    first, *words = match[1].split() or [""]
    if first == "/deadheat" and not words:
        return Marker("close", (), match.start(), match.end(), line)
    if first in KINDS and words:
        return Marker(KINDS[first], tuple(words), match.start(), match.end(), line)
    return None


def _misplaced(marker: Marker, text: str, *, is_block: bool) -> str | None:
    """Say why a block marker may not stand here: other text around it, or a list or quotation."""
    if marker.kind not in {"begin", "end"}:
        return None
    before = NEWLINE.split(text[: marker.start])[-1].removeprefix("\ufeff")
    after = NEWLINE.split(text[marker.end :], maxsplit=1)[0]
    if not is_block or before.strip() or after.strip():
        return f"the marker of block {marker.words[0]} must stand alone on its line, outside lists and quotations"
    return None


def _pair(document: Document, markers: Sequence[Marker]) -> None:
    """Match opening and closing markers; whatever is left over or nested becomes a problem."""
    opened: Marker | None = None
    for marker in markers:
        closes = marker.kind in {"end", "close"}
        if opened is None and closes:
            document.problems.append((marker.line, f"this {marker.kind} marker closes nothing"))
        elif opened is None:
            opened = marker
        elif not closes:
            document.problems.append((marker.line, f"{marker.kind} marker inside {_shown(opened)}"))
        elif (marker.kind == "end") != (opened.kind == "begin"):
            document.problems.append((marker.line, f"this {marker.kind} marker does not close {_shown(opened)}"))
        else:
            _close(document, opened, marker)
            opened = None
    if opened is not None:
        document.problems.append((opened.line, f"{_shown(opened)} is not closed"))


def _shown(marker: Marker) -> str:
    """Name an opening marker in a message."""
    return f"{'block' if marker.kind == 'begin' else marker.kind} {marker.words[0]} of line {marker.line}"


def _close(document: Document, opened: Marker, marker: Marker) -> None:
    """Add a block, a value or a claim to the document."""
    if opened.kind == "begin":
        options, problem = _options(opened, marker)
        sha = options.pop("sha", None)
        document.blocks.append(Block(opened.words[0], options, sha, opened.end, marker.start, marker, opened.line))
    else:
        between = NEWLINE.split(document.text[opened.end : marker.start])
        torn = len(between) > 1 if opened.kind == "value" else any(not line.strip() for line in between[1:-1])
        problem = f"{_shown(opened)} is not closed {'on its line' if opened.kind == 'value' else 'in its paragraph'}"
        problem = problem if torn else ""
        document.inlines.append(Inline(opened.kind, opened.words, opened.end, marker.start, opened.line))
    if problem:
        document.problems.append((opened.line, problem))


def _options(opened: Marker, closing: Marker) -> tuple[dict[str, str], str]:
    """Read key=value words of a block's markers; only the end marker may carry a checksum."""
    options: dict[str, str] = {}
    if closing.words[0] != opened.words[0]:
        return options, f"{_shown(opened)} ends as {closing.words[0]} in line {closing.line}"
    for marker in (opened, closing):
        for word in marker.words[1:]:
            match = OPTION.fullmatch(word)
            if match is None or match[1] in options or (match[1] == "sha") != (marker is closing):
                return options, f"{_shown(opened)}: {word!r} is no option"
            options[match[1]] = match[2]
    return options, ""
