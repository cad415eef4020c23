"""Finding markers by what Markdown sees, and rewriting nothing but what is between them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.errors import TablesError
from tools.splice import checksum, decode, splice

if TYPE_CHECKING:
    from collections.abc import Mapping

TABLE = "| a | b |\n|---|---:|\n| ä | 1 |"
EMPTY = "<!-- deadheat:begin plan -->\n<!-- deadheat:end plan -->\n"


class Fake:
    """A source with one known block, one value and claims that hold or not."""

    def __init__(self, table: str = TABLE) -> None:
        """Keep the text of the block."""
        self.table = table

    def block(self, name: str, options: Mapping[str, str]) -> str:
        """Know `plan`, and `results` with an option."""
        if name == "plan" and not options:
            return self.table
        if name == "results":
            return f"results of {options.get('workload', 'bench')}"
        raise LookupError(f"unknown block {name}")

    def value(self, words: tuple[str, ...]) -> str:
        """Know the value `ratio`."""
        if words[0] == "ratio":
            return "2.9x"
        raise LookupError(f"unknown value {words[0]}")

    def claim(self, words: tuple[str, ...]) -> str | None:
        """Support `true` and nothing else."""
        return None if words[0] == "true" else "it is a tie"


def render(text: str, table: str = TABLE) -> str:
    """Splice a document named d.md."""
    return splice(text, "d.md", Fake(table)).text


def problems(text: str) -> list[str]:
    """Give the lines of the error that a document ends in."""
    with pytest.raises(TablesError) as caught:
        render(text)
    return caught.value.message.splitlines()


def test_a_block_is_filled() -> None:
    """A block gets its text between blank lines and the checksum of that text in its end marker."""
    filled = f"<!-- deadheat:begin plan -->\n\n{TABLE}\n\n<!-- deadheat:end plan sha={checksum(TABLE)} -->\n"
    assert render(EMPTY) == filled
    assert splice(filled, "d.md", Fake()).differences == []


def test_new_data_replace_old() -> None:
    """When the results change, the block is outdated, and rewriting gives what a fresh document would have."""
    old = render(EMPTY)
    spliced = splice(old, "d.md", Fake("new"))
    assert [str(one) for one in spliced.differences] == ["d.md:1: block plan is outdated"]
    assert spliced.text == render(EMPTY, "new")


def test_a_hand_edit_is_noticed() -> None:
    """A change inside a block is told apart from new data, with file and line."""
    old = "intro\n\n" + render(EMPTY)
    spliced = splice(old.replace("| 1 |", "| 2 |"), "d.md", Fake())
    assert [(one.line, one.kind) for one in spliced.differences] == [(3, "hand-edit")]
    bare = splice("<!-- deadheat:begin plan -->\nmine\n<!-- deadheat:end plan -->\n", "d.md", Fake())
    assert [one.kind for one in bare.differences] == ["hand-edit"]


def test_an_emptied_block_is_filled_again() -> None:
    """Who empties a block, with or without its checksum, asks for a new one: that is no hand edit."""
    emptied = f"<!-- deadheat:begin plan -->\n\n<!-- deadheat:end plan sha={checksum('old')} -->\n"
    spliced = splice(emptied, "d.md", Fake())
    assert [one.kind for one in spliced.differences] == ["outdated"]
    assert spliced.text == render(EMPTY)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["", "  ", "\tx"])
def test_bytes_outside_stay(newline: str, bom: str, end: str) -> None:
    """Line endings, byte order mark, trailing blanks and a missing final newline are kept, and the block follows."""
    text = bom + EMPTY.rstrip().replace("\n", newline) + newline + "tail  " + end
    text = text if bom else "head \t" + newline + newline + text
    result = render(text)
    start, stop = result.index("<!-- deadheat:begin"), result.index("<!-- deadheat:end")
    assert result[:start] == text[: text.index("<!-- deadheat:begin")]
    assert result.endswith(newline + "tail  " + end)
    inside = result[start:stop]
    assert inside.replace(newline, "").count("\n") + inside.replace(newline, "").count("\r") == 0
    assert render(result) == result


@pytest.mark.parametrize(
    "text",
    [
        "```\n{}\n```\n",
        "~~~md\n{}~~~\n",
        "    <!-- deadheat:begin plan -->\n    <!-- deadheat:end plan -->\n",
        "`<!-- deadheat:value ratio -->x<!-- /deadheat -->`\n",
        "``a ` <!-- deadheat:begin x --> b``\n",
        "\\<!-- deadheat:value nothing -->\n",
        "&lt;!-- deadheat:begin x --&gt;\n",
        "<!--\n<!-- deadheat:begin plan -->\n",
        "<script>\n<!-- deadheat:begin plan -->\n</script>\n",
        '[a](b "<!-- deadheat:begin plan -->")\n',
        "> ```\n> <!-- deadheat:begin plan -->\n> ```\n",
        "| a |\n|---|\n| `<!-- deadheat:value ratio -->` |\n",
    ],
)
def test_what_markdown_takes_for_text_is_text(text: str) -> None:
    """A marker in a fence, in code, in a comment or in a title is left alone."""
    text = text.format(EMPTY)
    assert render(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "It is <!-- deadheat:value ratio -->?<!-- /deadheat --> faster.\n",
        "<!-- deadheat:value ratio -->?<!-- /deadheat --> at the start\n",
        "- in a list <!-- deadheat:value ratio -->?<!-- /deadheat -->\n",
        "> quoted **<!-- deadheat:value ratio -->?<!-- /deadheat -->**\n",
        "| a |\n|---|\n| <!-- deadheat:value ratio -->?<!-- /deadheat --> |\n",
        "`<!-- deadheat:value ratio -->` then <!-- deadheat:value ratio -->?<!-- /deadheat -->\n",
        "# Title <!-- deadheat:value ratio -->?<!-- /deadheat -->\n",
    ],
)
def test_values_are_filled_where_they_stand(text: str) -> None:
    """A value is found in prose, lists, quotations, headings and table cells, and only its text changes."""
    spliced = splice(text, "d.md", Fake())
    assert spliced.text == text.replace("?", "2.9x")
    assert [one.kind for one in spliced.differences] == ["outdated"]
    assert splice(spliced.text, "d.md", Fake()).differences == []


def test_a_false_claim_is_named() -> None:
    """A sentence that the data no longer support is reported with its words, file and line, and stays as it is."""
    text = "Intro.\n\n<!-- deadheat:claim true -->Fine.<!-- /deadheat --> "
    text += "<!-- deadheat:claim no -->Rust\nwins.<!-- /deadheat -->\n"
    spliced = splice(text, "d.md", Fake())
    assert spliced.text == text
    assert [str(one) for one in spliced.differences] == [
        "d.md:3: the data no longer say 'Rust wins.' (no): it is a tie"
    ]


BROKEN = {
    "unclosed": ("<!-- deadheat:begin plan -->\n", "d.md:1: block plan of line 1 is not closed"),
    "end alone": ("x\n\n<!-- deadheat:end plan -->\n", "d.md:3: this end marker closes nothing"),
    "close alone": ("x <!-- /deadheat -->\n", "d.md:1: this close marker closes nothing"),
    "doubled": (EMPTY + "\n" + EMPTY, "d.md:4: block plan is there already in line 1"),
    "nested": ("<!-- deadheat:begin plan -->\n" + EMPTY, "d.md:2: begin marker inside block plan of line 1"),
    "other closing": (
        "<!-- deadheat:begin plan -->\n<!-- /deadheat -->\n",
        "d.md:2: this close marker does not close block plan of line 1",
    ),
    "other end": (
        "<!-- deadheat:begin plan -->\n<!-- deadheat:end results -->\n",
        "d.md:1: block plan of line 1 ends as results in line 2",
    ),
    "unknown name": (EMPTY.replace("plan", "pla"), "d.md:1: unknown block pla"),
    "unknown value": ("a <!-- deadheat:value x -->1<!-- /deadheat -->\n", "d.md:1: unknown value x"),
    "not alone": ("text <!-- deadheat:begin plan -->\n", "d.md:1: the marker of block plan must stand alone"),
    "in a list": (
        "- a\n\n  <!-- deadheat:begin plan -->\n  <!-- deadheat:end plan -->\n",
        "d.md:3: the marker of block",
    ),
    "in a quotation": ("> <!-- deadheat:begin plan -->\n> <!-- deadheat:end plan -->\n", "d.md:1: the marker of block"),
    "text behind": ("<!-- deadheat:begin plan --> x\n<!-- deadheat:end plan -->\n", "d.md:1: the marker of block plan"),
    "malformed": ("<!-- deadheat:begin <b> -->\n", "d.md:1: malformed marker"),
    "unknown kind": ("x <!-- deadheat:begins plan -->\n", "d.md:1: malformed marker"),
    "no space": ("<!--deadheat:begin plan-->\n", "d.md:1: malformed marker"),
    "bad option": ("<!-- deadheat:begin plan a -->\n<!-- deadheat:end plan -->\n", "'a' is no option"),
    "checksum in begin": ("<!-- deadheat:begin plan sha=00 -->\n<!-- deadheat:end plan -->\n", "'sha=00' is no option"),
    "value over two lines": ("<!-- deadheat:value ratio -->1\n2<!-- /deadheat -->\n", "is not closed on its line"),
    "value in a value": (
        "<!-- deadheat:value ratio -->1<!-- deadheat:value ratio -->2<!-- /deadheat -->\n",
        "d.md:1: value marker inside value ratio of line 1",
    ),
    "claim over paragraphs": ("<!-- deadheat:claim true -->1\n\n2<!-- /deadheat -->\n", "not closed in its paragraph"),
    "fence eats the end": (
        "<!-- deadheat:begin plan -->\n\n```\n<!-- deadheat:end plan -->\n",
        "d.md:1: block plan of line 1 is not closed",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_wrong_markers_are_errors(name: str) -> None:
    """Every wrong marker is named with file and line."""
    text, expected = BROKEN[name]
    assert any(expected in line for line in problems(text)), problems(text)


def test_all_problems_are_listed() -> None:
    """One wrong marker does not hide another, and a required block that is missing is one of them."""
    text = "<!-- deadheat:begin pla -->\n<!-- deadheat:end pla -->\n\n<!-- /deadheat -->\n"
    with pytest.raises(TablesError) as caught:
        splice(text, "d.md", Fake(), required=["plan"])
    assert caught.value.message.splitlines() == [
        "d.md:1: block plan is missing",
        "d.md:1: unknown block pla",
        "d.md:4: this close marker closes nothing",
    ]


def test_a_document_that_is_not_utf_8() -> None:
    """Bytes that are no UTF-8 are an error with their line, not a guess."""
    with pytest.raises(TablesError, match=r"d\.md:2: not UTF-8"):
        decode(b"a\n\xff", "d.md")


PIECES = st.sampled_from(
    ["", "# Title\n", "text\n", "text  \r\n", "- list\n", "> quote\n", "\n", "\r\n", "\n\n", "```\n", "~~~\n",
     "    code\n", "`", "``", "<div>\n", "</div>\n", "<!-- comment -->\n", "<!--\n", "-->\n", "\t", " ", "\\",
     "[a](b)\n", "ä€😀\n",
     "\x00", "\x0b", "\u2028", "| a | b |\n|---|---|\n| 1 | 2 |\n", "***\n", "1. one\n", "<b>x</b>\n", "\ufeff", "\r"]
)  # fmt: skip
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)


@settings(max_examples=400, deadline=None)
@given(before=TEXTS, after=TEXTS, newline=st.sampled_from(["\n", "\r\n"]))
def test_any_document_around_a_block(before: str, after: str, newline: str) -> None:
    """Around a block any text may stand: it keeps its bytes, or the document is refused; twice equals once."""
    text = before + newline * 2 + EMPTY.replace("\n", newline) + newline + after
    try:
        once = render(text)
    except TablesError:
        return
    assert render(once) == once
    pattern = re.compile(r"(<!-- deadheat:begin plan -->).*?(<!-- deadheat:end plan)[^>]*?( -->)", re.DOTALL)
    assert pattern.sub(r"\1\2\3", once) == pattern.sub(r"\1\2\3", text)


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_a_document_without_markers_is_untouched(text: str) -> None:
    """What has no marker comes back byte for byte."""
    assert render(text) == text


@settings(max_examples=300, deadline=None)
@given(fence=st.sampled_from(["```", "````", "~~~", "~~~~~"]), before=st.sampled_from(["", "a\n\n", "- b\n\n\n"]))
def test_a_fence_protects_its_markers(fence: str, before: str) -> None:
    """An example of a marker in a fence is never rewritten, while the same marker outside is."""
    text = f"{before}{fence}md\n{EMPTY}{fence}\n\n{EMPTY}"
    result = render(text)
    assert result.startswith(f"{before}{fence}md\n{EMPTY}{fence}\n\n")
    assert TABLE in result
    assert render(result) == result
