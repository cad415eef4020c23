"""`invoke new-project` makes a whole project at once or leaves no trace, whatever it is given."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from tools import build, caches, flow, matrix, names, project, rows, runners, scaffold, wish
from tools.errors import DeadheatError, ScaffoldError, UsageError, WriteError
from tools.scaffold import Wish

REPOSITORY = Path(__file__).resolve().parent.parent
LANGUAGES = ("go", "rust", "zig")
PLANNED = rows.planned()
WISH = Wish("Word counter", "", "", "", "batch", LANGUAGES)
KINDS = ("batch", "server", "client")
FOLDERS = {"batch": {"tests"}, "server": {"tests"}, "client": {"tests", "services"}}
# Accepted, and hard on every format that it ends up in; the folder sorts behind xxhash-rust in Cargo.lock.
HOSTILE = """Zebra's "finest" {0} %d $x #1: [a](b) *c* @@slug@@ & words"""
PUNCTUATION = st.characters(exclude_categories=("C", "Z", "L", "M", "N"), include_characters="abZ19 ")
SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with the three documents, their blocks empty, and no project."""
    for name in ("PLAN.md", "SUMMARY.md", "README.md"):
        text = (REPOSITORY / name).read_text()
        block = re.compile(r"(<!-- deadheat:begin.*?-->).*?<!-- deadheat:end (\w+).*?-->", re.DOTALL)
        (tmp_path / name).write_text(block.sub(r"\1\n<!-- deadheat:end \2 -->", text))
    (tmp_path / "projects").mkdir()
    return tmp_path


def settled(title: str = "Word counter", **changes: Any) -> scaffold.Place:
    """What a wish comes to beside the planned systems."""
    return wish.settle(replace(WISH, title=title, **changes), PLANNED)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "slug", "alias"),
    [
        ("Word counter", "word-counter", "word"),
        ("C++ symbol index", "c-symbol-index", "c"),
        ("TCP/IP tracer (v2)", "tcp-ip-tracer-v2", "tcp"),
        ("Baker's ledger: part 1", "bakers-ledger-part-1", "bakers"),
        ("CSV differ", "csv-differ", "csv-differ"),  # csv is the alias of a planned system
        (HOSTILE, "zebras-finest-0-d-x-1-a-b-c-slug-words", "zebras"),
        ("A" * 20, "a" * 20, "a" * 20),
    ],
)
def test_names_come_from_the_title(title: str, slug: str, alias: str) -> None:
    """The slug is made of the title's ASCII words, the alias of as many of them as are needed."""
    place = settled(title)
    assert (place.slug, place.alias, place.title) == (slug, alias, title)


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("../x", "must start with a letter"),
        ("/etc", "must start with a letter"),
        ("3D viewer", "must start with a letter"),
        ("-rf", "must start with a letter"),
        ("con", "reserved"),
        ("LPT1", "reserved"),
        ("main", "reserved"),
        ("Test", "reserved"),
        ("Fn", "reserved"),
        ("xxhash rust", "reserved"),
        ("W\u043erd counter", "CYRILLIC SMALL LETTER O"),
        ("Caf\u00e9", "LATIN SMALL LETTER E WITH ACUTE"),
        ("Word \uff11", "FULLWIDTH DIGIT ONE"),
        ("Word\u202ecounter", "U+202E"),
        ("Word\u200bcounter", "U+200B"),
        ("Word\ncounter", "U+000A"),
        ("Word\x1b[31m", "U+001B"),
        ("Word\\counter", "backslash"),
        ("Word `counter`", "backtick"),
        ("<b>Word</b>", "angle bracket"),
        ("Word | counter", "bar"),
        (" Word", "blanks"),
        ("Word  counter", "blanks"),
        ("W" * 81, "longer than 80"),
        ("W " * 30 + "x", "longer than 40"),
        ("A" * 21, "no short alias"),
    ],
)
def test_bad_titles_are_refused(title: str, words: str) -> None:
    """The message is one line that says what is wrong."""
    with pytest.raises(ScaffoldError, match=re.escape(words)) as caught:
        settled(title)
    assert str(caught.value).isprintable()


@settings(deadline=None)
@given(st.text(max_size=100))
def test_any_title_is_made_a_safe_name_or_refused(title: str) -> None:
    """No text leads to a folder outside projects/, and every refusal is one printable line."""
    try:
        place = settled(title)
    except DeadheatError as error:
        place, said = None, str(error)
    if place is None:
        assert said.isprintable()
    else:
        assert SLUG.fullmatch(place.slug)
        assert len(place.slug) <= 40
        assert re.fullmatch(r"[a-z0-9-]{1,20}", place.alias)


@settings(deadline=None)
@given(st.text(PUNCTUATION, max_size=70), st.sampled_from(KINDS))
def test_every_accepted_title_comes_back(rest: str, kind: str) -> None:
    """YAML, Go, Rust, Zig and Markdown all give the title that went in."""
    title = " ".join(f"Any {rest}".split())
    assume(not any(char in title for char in wish.REFUSED))
    try:
        place = settled(title, kind=kind)
    except ScaffoldError:
        assume(condition=False)
    made = scaffold.render(place)
    line = next(line for line in made["project.yaml"].splitlines() if line.startswith("title: "))
    assert YAML(typ="safe", pure=True).load(line)["title"] == title
    assert f"const manual = `{title}\n\nusage: " in made["go/main.go"]
    assert f"\\\\{title}\n" in made["zig/src/main.zig"]
    literal = re.search(r'MANUAL: &str = "\\\n(.*)\n\nusage', made["rust/src/main.rs"])
    assert literal is not None
    assert literal[1].replace('\\"', '"').replace("\\\\", "\\") == title
    assert not re.search(r'(?<!\\)"', literal[1])
    heading = MarkdownIt("commonmark").parse(made["README.md"])[1]
    shown = "".join(child.content for child in heading.children or ())
    wide = str.maketrans("@", "\uff20")  # tools.markdown defuses what would be a mention by a wide @
    assert shown.translate(wide) == title.translate(wide)


# --- number, group, alias, languages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "group", "expected"),
    [
        ("", "", ("11.1", "11 Further projects")),
        ("", "9", ("9.4", "9 Data engines")),
        ("", "9 Data engines", ("9.4", "9 Data engines")),
        ("", "data engines", ("9.4", "9 Data engines")),
        ("", "Text tools", ("11.1", "11 Text tools")),
        ("", "12 Text tools", ("12.1", "12 Text tools")),
        ("10.7", "", ("10.7", "10 Data formats")),
        ("42.5", "", ("42.5", "42 Further projects")),
        ("42.5", "42 Text tools", ("42.5", "42 Text tools")),
        ("", "S", ("S3", "S Scenarios")),
    ],
)
def test_number_and_group(number: str, group: str, expected: tuple[str, str]) -> None:
    """Each follows from the other; without both it is the next group behind the planned ones."""
    place = settled(number=number, group=group)
    assert (place.number, place.group) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"number": "9.1"}, "9.1 is taken by sqlite-query-engine"),
        ({"number": "11"}, "not a number"),
        ({"number": "0.1"}, "not a number"),
        ({"number": "11.1\n"}, "not a number"),
        ({"number": "11.1", "group": "12 Text tools"}, "not in the group"),
        ({"group": "9 Text tools"}, "group 9 is '9 Data engines'"),
        ({"group": "100 Text tools"}, "must start with a letter"),
        ({"group": "11 <b>"}, "angle bracket"),
        ({"alias": "csv"}, "csv is taken by csv-stream-aggregator"),
        ({"alias": "dns-resolver"}, "taken by dns-resolver"),
        ({"alias": "Word"}, "--alias"),
        ({"alias": "../x"}, "--alias"),
        ({"alias": "a" * 21}, "--alias"),
        ({"languages": ("go", "cobol")}, "no template for 'cobol'"),
        ({"languages": ("project",)}, "no template for 'project'"),
        ({"languages": ()}, "none given"),
        ({"kind": "scenario"}, "scenario: comes later"),
        ({"kind": "bach"}, "'bach': no such kind"),
        ({"title": "QUIC ping client"}, "planned as client"),
        ({"title": "Container watchdog", "kind": ""}, "planned as scenario, which comes later"),
    ],
)
def test_bad_or_taken_values_are_refused(changes: dict[str, Any], words: str) -> None:
    """The message names the value and who has it."""
    with pytest.raises(ScaffoldError, match=re.escape(words)):
        settled(**{"title": "Word counter", **changes})


def test_a_planned_system_keeps_its_place() -> None:
    """The title of a planned system gives the number, group and alias that PLAN.md has for it."""
    place = settled("Parquet file reader")
    assert (place.number, place.group, place.alias) == ("9.3", "9 Data engines", "parquet")


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Word counter", "batch"),
        ("Parquet file reader", "batch"),
        ("QUIC ping client", "client"),
        ("DNS resolver", "server"),
        ("WebSocket public chat", "server"),
        ("Log aggregator sidecar", "client"),
    ],
)
def test_the_kind_is_the_planned_one(title: str, kind: str) -> None:
    """Without --kind a planned system is made as what it is planned as, anything else as a batch job."""
    assert settled(title, kind="").kind == kind


# --- rendering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("languages", [c for count in (1, 2, 3) for c in combinations(LANGUAGES, count)])
def test_any_set_of_languages_is_a_valid_project(languages: tuple[str, ...], kind: str, root: Path) -> None:
    """The rendered project loads, has these lanes and no others, and no placeholder is left."""
    folder = scaffold.run(replace(WISH, kind=kind, languages=languages[::-1]), root)
    loaded = project.load(folder / "project.yaml")
    assert tuple(loaded.lanes) == languages
    assert loaded.kinds == (kind,)
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {*languages, *FOLDERS[kind]}
    assert not [name for name, content in tree(folder).items() if b"@@" in content]


@pytest.mark.parametrize("kind", KINDS)
def test_lanes_have_the_same_rooms(kind: str) -> None:
    """A reader who knows one lane finds the same files in the others, and each of them in the README."""
    made = scaffold.render(settled(kind=kind))
    rooms = {
        language: {
            Path(name).stem for name in made if name.startswith(language) and name.endswith((".go", ".rs", ".zig"))
        }
        for language in LANGUAGES
    }
    go = {room for room in rooms["go"] if not room.endswith("_test")}
    assert go == rooms["rust"] == rooms["zig"] - {"build"}
    assert go == set(re.findall(r"^\| `(\w+)` \|", made["README.md"], re.MULTILINE))


@pytest.mark.parametrize("kind", KINDS)
def test_no_project_has_the_name_of_a_crate_it_uses(kind: str) -> None:
    """Cargo knows a package by its name: such a title is refused."""
    lock = scaffold.render(settled(kind=kind))["rust/Cargo.lock"]
    crates = set(re.findall(r'^name = "(.*)"$', lock, re.MULTILINE)) - {"word-counter"}
    assert crates
    assert crates <= wish.RESERVED


@pytest.mark.parametrize(("title", "first"), [("Word counter", "word-counter"), ("Zebra", "xxhash-rust")])
def test_the_lock_file_is_in_cargos_order(title: str, first: str) -> None:
    """Cargo sorts packages by name and refuses a lock file in another order."""
    lock = scaffold.render(settled(title))["rust/Cargo.lock"]
    assert re.findall(r'^name = "(.*)"$', lock, re.MULTILINE)[0] == first
    assert lock.endswith(('"\n', "]\n"))


# --- the whole task --------------------------------------------------------------------------------------------------


def test_everything_finds_the_new_project(root: Path) -> None:
    """nox, the CI matrix, PLAN.md and `find` know it without any other edit."""
    folder = scaffold.run(replace(WISH, alias="words"), root)
    assert [(alias, title) for alias, title, _ in names.entries(root / "projects")] == [("words", "Word counter")]
    assert matrix.include(project.load_all(root / "projects"), None)[0]["slug"] == "word-counter"
    plan = (root / "PLAN.md").read_text()
    assert "### 11 Further projects" in plan
    assert "[Word counter](projects/word-counter/README.md)" in plan
    assert "*Not measured yet.*" in (folder / "README.md").read_text()
    assert scaffold.run(replace(WISH, title="Line sorter"), root).name == "line-sorter"
    assert project.find("line", root / "projects").number == "11.2"


def test_a_broken_document_does_not_undo_the_project(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The project stands; what could not be updated is said."""
    (root / "PLAN.md").write_text("# Plan without a marker\n")
    folder = scaffold.run(WISH, root)
    assert (folder / "project.yaml").exists()
    assert "documents are not updated: PLAN.md" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "projects/word-counter exists"),
        ({"title": "WORD, counter!"}, "projects/word-counter exists"),
        ({"title": "Other job", "alias": "word"}, "word is taken by word-counter"),
        ({"title": "Other job", "number": "11.1"}, "11.1 is taken by word-counter"),
    ],
)
def test_what_exists_is_never_touched(changes: dict[str, Any], words: str, root: Path) -> None:
    """An existing folder, slug, alias or number is named, and not a byte changes."""
    scaffold.run(WISH, root)
    before = tree(root)
    with pytest.raises(ScaffoldError, match=re.escape(words)):
        scaffold.run(replace(WISH, **changes), root)
    assert tree(root) == before


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_a_folder_that_is_no_project_is_not_touched_either(kind: str, root: Path) -> None:
    """Whatever has the name keeps it."""
    target = root / "projects" / "word-counter"
    match kind:
        case "folder":
            target.mkdir()
        case "file":
            target.touch()
        case _:
            target.symlink_to("nowhere")
    with pytest.raises(ScaffoldError, match="exists already"):
        scaffold.run(WISH, root)
    assert list((root / "projects").iterdir()) == [target]


def full_disk(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
    """The tenth file does not fit."""
    left = iter(range(9))

    def fsync(_: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def interrupt(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
    """Ctrl-C after everything is written and before it has its name."""

    def check(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scaffold, "_check", check)


def unknown_placeholder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A template that asks for what nobody gives."""
    _template(monkeypatch, folder, "go/main.go", "@@nothing@@")


def invalid_project(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A template that renders no valid project.yaml."""
    _template(monkeypatch, folder, "project/project.yaml", "schema: 1\nslug: @@slug@@\n")


def lost_title(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A template that says another title than the one asked for."""
    text = (wish.TEMPLATES / "batch" / "project" / "project.yaml").read_text()
    _template(monkeypatch, folder, "project/project.yaml", text.replace("@@title_quoted@@", "Another"))


def _template(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, text: str) -> None:
    shutil.copytree(wish.TEMPLATES, folder / "templates")
    (folder / "templates" / "batch" / name).write_text(text)
    monkeypatch.setattr(scaffold, "TEMPLATES", folder / "templates")


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (full_disk, WriteError, "No space left"),
        (interrupt, KeyboardInterrupt, "^$"),
        (unknown_placeholder, ScaffoldError, "unknown placeholder @@nothing@@"),
        (invalid_project, ScaffoldError, "not valid"),
        (lost_title, ScaffoldError, "Another"),
    ],
)
def test_a_failure_leaves_nothing(
    fault: Callable[[pytest.MonkeyPatch, Path], None],
    error: type[BaseException],
    words: str,
    root: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither half a project nor a temporary file nor a changed document stays behind."""
    before = tree(root)
    fault(monkeypatch, tmp_path_factory.mktemp("fault"))
    with pytest.raises(error, match=words):
        scaffold.run(WISH, root)
    assert tree(root) == before
    assert list((root / "projects").iterdir()) == []


def test_a_folder_made_meanwhile_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people, one name: the second is told, the first loses nothing."""
    theirs = root / "projects" / "word-counter" / "theirs"

    def race(*_: object) -> None:
        theirs.parent.mkdir()
        theirs.write_text("kept")

    monkeypatch.setattr(scaffold, "_check", race)
    with pytest.raises(ScaffoldError, match="exists already"):
        scaffold.run(WISH, root)
    assert tree(root / "projects") == {"word-counter/theirs": b"kept"}


def test_what_a_killed_run_left_goes_away_with_the_next(root: Path) -> None:
    """A leftover names its process: it is removed when that is gone, and nothing else is."""
    projects = root / "projects"
    keep = [f".b.{os.getpid()}-x.deadheat-tmp", ".c.deadheat-tmp", ".d.999999999-x"]
    for name in [".a.999999999-x.deadheat-tmp", *keep]:
        (projects / name / "a").mkdir(parents=True)
    scaffold.run(WISH, root)
    assert sorted(path.name for path in projects.iterdir()) == sorted([*keep, "word-counter"])


# --- asking ----------------------------------------------------------------------------------------------------------


def answers(*lines: str) -> tuple[Callable[[str], str], list[str]]:
    """Somebody who types these lines, and the questions they were asked."""
    rest, asked = iter(lines), []

    def ask(question: str) -> str:
        asked.append(question)
        return next(rest)

    return ask, asked


def test_defaults_are_one_return_away(root: Path) -> None:
    """A title and four empty lines make a project; each question shows its default."""
    ask, asked = answers("Word counter", "", "", "", "")
    scaffold.run(replace(WISH, title=""), root, ask)
    shown = [re.findall(r"\[(.*)\]", question) for question in asked]
    assert shown == [[], ["batch"], ["11.1"], ["word"], ["go,rust,zig"]]
    assert project.find("word", root / "projects").number == "11.1"


def test_a_bad_answer_is_asked_again_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason is said and the same question comes again; a group is taken where a number is asked for."""
    typed = ("", "../x", "Word counter", "bach", "client", "9.1", "Text tools", "csv", "words", "go, cobol", "zig go")
    ask, asked = answers(*typed)
    scaffold.run(replace(WISH, title="", kind=""), root, ask)
    assert [question.split()[0].rstrip(",") for question in asked] == [
        "Title", "Title", "Title", "Kind:", "Kind:", "Number", "Number", "Alias", "Alias", "Languages", "Languages",
    ]  # fmt: skip
    made = project.find("words", root / "projects")
    assert (made.group, made.kinds, tuple(made.lanes)) == ("11 Text tools", ("client",), ("go", "zig"))
    said = capsys.readouterr().err
    for words in ("--title is missing", "must start with a letter", "'bach'", "9.1 is taken", "csv is", "'cobol'"):
        assert words in said


def test_without_a_terminal_the_title_is_an_option(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked in a script: one line names the option."""
    monkeypatch.setattr("sys.stdin", open(os.devnull))  # noqa: PTH123, SIM115 - closed with the test process
    with pytest.raises(UsageError, match="--title is missing"):
        scaffold.run(replace(WISH, title=""), root)


# --- for real --------------------------------------------------------------------------------------------------------


@pytest.fixture
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds and inputs of these tests stay out of the checkout."""
    monkeypatch.setattr(caches, "WORK", tmp_path / "work")


WHOLE = "DEADHEAT_WHOLE_TEMPLATES"
ON_DEMAND = pytest.mark.skipif(WHOLE not in os.environ, reason=f"takes minutes: set {WHOLE}")


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.parametrize(
    "kind", ["batch", pytest.param("server", marks=ON_DEMAND), pytest.param("client", marks=ON_DEMAND)]
)
@pytest.mark.usefixtures("private_cache")
def test_the_lanes_build_are_right_and_clean(kind: str, root: Path) -> None:
    """All lanes of a project with a hostile title pass the oracle, their own unit tests and their lints."""
    made = project.load(scaffold.run(replace(WISH, title=HOSTILE, kind=kind), root) / "project.yaml")
    runner, _ = runners.choose("host")
    said: list[str] = []
    assert flow.verify_only(made, runner, flow.Options(), said.append), "\n".join(said)
    for lane in made.lanes.values():
        for what in ("lint", "test"):
            build.check(runner, build.source_of(made, lane), what)
