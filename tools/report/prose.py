"""Markdown of ours and of strangers as HTML that can do nothing: no raw HTML, no script, no address to fetch.

The tables of the READMEs are Markdown already, so the site turns the same text into HTML instead of writing each
number a second time. A comment (our markers are comments) disappears; any other HTML is shown as the text it is. Only
links to the web stay links; what points into the repository is shown as its text, and a picture as its description.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from tools import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping, Sequence

COMMENTS = re.compile(r"(?:\s*<!--.*?-->\s*)+", re.DOTALL)
WEB = re.compile(r"https?://", re.IGNORECASE)
TABLE_LABEL = "table_label"


def block(text: str, *, shift: int = 0, label: str = "Table") -> Markup:
    """Render Markdown; headings move down by `shift` levels, a first-level one goes; `label` names its tables."""
    return _rendered(parsed(text), shift, label)


def inline(text: str) -> Markup:
    """Render one line of Markdown, as the cells of our tables are written."""
    tokens = _parser().parseInline(text)
    return _rendered(tokens, 0, "")


def words(text: str) -> str:
    """Give the plain text that one line of Markdown shows."""
    return "".join(plain(token) for token in _parser().parseInline(text))


def readme(text: str, name: str) -> Markup:
    """Render the README of a project without its title and without the blocks that the page shows itself.

    Raises:
        TablesError: a marker is wrong; the places are in the message.
    """
    document = documents.parse(text, name)
    document.refuse_problems()
    pieces, last = [], 0
    for found in document.blocks:
        pieces.append(text[last : text.rindex("<!--", 0, found.start)])
        last = found.end_marker.end
    return block("".join([*pieces, text[last:]]), shift=1, label="Table of the README")


def section(text: str, heading: str) -> Markup:
    """Render what stands below a second-level heading, up to the next; nothing where there is no such heading."""
    tokens = parsed(text)
    levels = [index for index, token in enumerate(tokens) if token.type == "heading_open" and token.tag in {"h1", "h2"}]
    for start, end in zip(levels, [*levels[1:], len(tokens)], strict=True):
        if tokens[start].tag == "h2" and tokens[start + 1].content == heading:
            return _rendered(tokens[start + 3 : end], 0, heading)
    return Markup()


def parsed(text: str) -> list[Token]:
    """Parse Markdown as GitHub would, as far as our documents go."""
    return _parser().parse(text.removeprefix("\ufeff"))


def plain(token: Token) -> str:
    """Give the text that a reader sees in an inline token."""
    shown = (child.content for child in token.children or [] if child.type in {"text", "text_special", "code_inline"})
    return "".join(shown)


@cache
def _parser() -> MarkdownIt:
    """Make the parser once; its rules for HTML and tables are ours."""
    made = MarkdownIt("commonmark").enable("table")
    for kind in ("html_block", "html_inline"):
        made.add_render_rule(kind, _raw_html)
    made.add_render_rule("table_open", _table_open)
    made.add_render_rule("table_close", _table_close)
    return made


def _raw_html(_: Any, tokens: Sequence[Token], index: int, __: Any, ___: Any) -> str:
    """Show HTML as text; a comment is nothing."""
    content = tokens[index].content
    return "" if COMMENTS.fullmatch(content) else str(escape(content))


def _table_open(_: Any, __: Any, ___: int, ____: Any, env: MutableMapping[str, Any]) -> str:
    """Let a wide table scroll by itself, also by keyboard."""
    label = escape(env[TABLE_LABEL])
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{label}"><table>\n'


def _table_close(*_: Any) -> str:
    """Close what `_table_open` opened."""
    return "</table></div>\n"


def _rendered(tokens: list[Token], shift: int, label: str) -> Markup:
    """Take the sting out of a token stream and write it as HTML."""
    kept = list(_filled(list(_lowered(tokens, shift))))
    for token in kept:
        if token.type in {"th_open", "td_open"}:  # a class, because the policy of the pages allows no style here
            token.attrs = {"class": "r"} if "right" in str(token.attrs.get("style", "")) else {}
        if token.children:
            _tame(token.children)
    parser = _parser()
    html = parser.renderer.render(kept, parser.options, {TABLE_LABEL: label})
    return Markup(html)  # noqa: S704 - every text in it was escaped by the renderer or by our rules


def _lowered(tokens: Sequence[Token], shift: int) -> Iterator[Token]:
    """Move headings down by some levels and leave out a first-level one, which is the title of the page."""
    title = False
    for token in tokens:
        if token.type == "heading_open":
            title = shift > 0 and token.tag == "h1"
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + (0 if title else shift), 6)}"
        lone_comment = token.type == "html_block" and COMMENTS.fullmatch(token.content)
        if not title and not lone_comment:
            yield token
        if token.type == "heading_close":
            title = False


def _filled(tokens: Sequence[Token]) -> Iterator[Token]:
    """Leave out headings below which nothing is left."""
    kept_from = 0
    for index, token in enumerate(tokens):
        if token.type == "heading_open" and _empty(tokens, index):
            kept_from = index + 3
        if index >= kept_from:
            yield token


def _empty(tokens: Sequence[Token], index: int) -> bool:
    """Say whether nothing follows a heading but the end, or a heading that is not below it."""
    if index + 3 >= len(tokens):
        return True
    after = tokens[index + 3]
    return after.type == "heading_open" and after.tag <= tokens[index].tag


def _tame(children: Sequence[Token]) -> None:
    """Keep links to the web, make other links and pictures plain text."""
    opened: list[bool] = []
    for child in children:
        if child.type == "link_open":
            opened.append(bool(WEB.match(str(child.attrGet("href") or ""))))
            child.attrs = {"href": child.attrs["href"], "rel": "noopener noreferrer"} if opened[-1] else {}
            child.tag = "a" if opened[-1] else "span"
        elif child.type == "link_close" and opened:
            child.tag = "a" if opened.pop() else "span"
        elif child.type == "image":
            child.type, child.tag, child.children = "text", "", None
