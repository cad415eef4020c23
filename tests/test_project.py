"""project.yaml: every way in which it can be wrong is one line with file, line and column; the real ones load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import bad_lanes
from tools import names, project
from tools.errors import ProjectError, UsageError

REAL = sorted(project.PROJECTS.glob("*/project.yaml"))
LANE = "{language: go, parity: {library: own, threads: 1}}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good project.yaml with two lanes."""
    return bad_lanes.make(tmp_path, ["other"]).folder / "project.yaml"


def change(path: Path, old: str, new: str) -> None:
    """Replace a piece of the file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refusal(path: Path) -> str:
    """The message with which the file is refused, without the folder."""
    with pytest.raises(ProjectError) as caught:
        project.load(path)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(path), "F")


@pytest.mark.parametrize("real", REAL, ids=[path.parent.name for path in REAL])
def test_real_project_loads(real: Path) -> None:
    """Each project of this repository passes its schema and all cross checks."""
    loaded = project.load(real)
    assert loaded.slug == real.parent.name
    assert loaded.headline in loaded.cases


def test_all_real_projects_fit_together() -> None:
    """No two projects share a slug, an alias or a number; their order is that of the numbers."""
    loaded = project.load_all()
    assert len(loaded) == len(REAL)
    assert loaded == sorted(loaded, key=lambda one: project.number_key(one.number))


def test_fast_names_agree_with_the_loaded_projects() -> None:
    """The quick reading of alias and title, for `nox --list`, says what the full reading says."""
    quick = {path: (alias, title) for alias, title, path in names.entries()}
    assert quick == {path: (project.load(path).alias, project.load(path).title) for path in REAL}


SCHEMA = [
    ("title: Line counter", "title: Line counter\nnonsense: 1", r"F:1:1: project: .*'nonsense'"),
    ("slug: line-counter", "slug: ../x", r"F:3:7: slug: '../x' does not match"),
    ("alias: lines", "alias: Lines!", r"F:4:8: alias: 'Lines!' does not match"),
    ('number: "99.1"', 'number: "0.1"', r"F:2:9: number: '0.1' does not match"),
    ("schema: 1", "schema: 2", r"F:1:9: schema: 1 was expected"),
    ("kinds: [batch]", "kinds: [game]", r"F:7:9: kinds.0: 'game' is not one of"),
    ("kinds: [batch]", "kinds: []", r"F:7:8: kinds: \[\] (should be non-empty|is too short)"),
    ("seed: 1,", "seed: -1,", r"F:16:18: workloads.verify.seed: -1 is less than"),
    ("threads: 1", "threads: many", r"F:13:60: lanes.good.parity.threads: 'many' is not of type"),
    ("library: own", "library: mine", r"F:13:\d+: lanes.good.parity.library: 'mine' is not one of"),
    ("compare: exact", "compare: close", r"F:18:19: oracle.compare: 'close' is not one of"),
    ("timeout_seconds: 20", "timeout_seconds: 0", r"F:23:\d+: limits.timeout_seconds: 0 is less than or equal"),
    ("processes: 32", "processes: 32, shell: 1", r"F:23:9: limits: .*'shell' was unexpected"),
    ("direction: lower", "direction: down", r"F:11:\d+: metric.direction: 'down' is not one of"),
    ("summary: Counts lines.", 'summary: "a\\u001bb"', r"F:8:10: summary: .* does not match"),
    ("oracle: {compare: exact}\n", "", r"F:1:1: project: 'oracle' is a required property"),
    ("pip: [xxhash==4.1.0]", "pip: [xxhash]", r"F:13:\d+: lanes.good.packages.run.pip.0: 'xxhash' does not match"),
    ("pip: [xxhash==4.1.0]", 'apt: ["-o=x"]', r"F:13:\d+: lanes.good.packages.run.apt.0: '-o=x' does not match"),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), SCHEMA, ids=[new.strip()[:24] or old[:24] for old, new, _ in SCHEMA]
)
def test_schema_violation_names_the_place(path: Path, old: str, new: str, expected: str) -> None:
    """A value that the schema refuses is named with file, line, column and its path in the tree."""
    change(path, old, new)
    assert re.search(expected, refusal(path)), refusal(path)


def test_every_violation_is_listed(path: Path) -> None:
    """A person sees all problems of a file at once."""
    change(path, "alias: lines", "alias: Lines!")
    change(path, "kinds: [batch]", "kinds: [game]")
    message = refusal(path)
    assert "F:4:8: alias" in message
    assert "F:7:9: kinds.0" in message


CASE = "\n  - {name: count, title: t, args: [], workloads: [bench]}\nbad_inputs:"
MEANING = [
    ("slug: line-counter", "slug: other-slug", r"F:3:7: slug 'other-slug' differs from the folder 'line-counter'"),
    ("workloads: [verify, bench]", "workloads: [verify, huge]", r"F:20:\d+: unknown workload 'huge'"),
    ("\nbad_inputs:", CASE, r"F:21:\d+: case 'count' is listed twice"),
    ("title: count lines,", "title: c, without: {nobody: why},", r"F:20:\d+: unknown lane or peer 'nobody'"),
    ("{library: own, threads: 1},", "{library: own, threads: 1}, baseline_of: go,", r"F:13:\d+: unknown lane 'go'"),
    ("{library: own, threads: 1},", "{library: own, threads: 1}, baseline_of: good,", r"F:13:\d+: unknown lane 'good'"),
    ("lanes:", f"lanes:\n  third: {LANE}", r"F:13:\d+: folder 'third' does not exist"),
    ("limits:", "peers: {good: {title: t, folder: good, build: {language: c}, equal: a, unequal: b}}\nlimits:",
     r"F:23:\d+: a peer has the name of a lane"),
    ("limits:", "peers: {p: {title: t, folder: p, build: {language: c}, equal: a, unequal: b}}\nlimits:",
     r"F:23:\d+: folder 'p' does not exist"),
    ("lines, args: [", 'lines, args: ["{port:originn}", ', r"F:20:\d+: \{port:originn\} names no service, lane"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MEANING, ids=[new.strip()[:24] for _, new, _ in MEANING])
def test_contradiction_names_the_place(path: Path, old: str, new: str, expected: str) -> None:
    """What a schema cannot say (names that must exist, folders that must be there) has its place too."""
    change(path, old, new)
    assert re.search(expected, refusal(path)), refusal(path)


def test_two_headlines_are_refused(path: Path) -> None:
    """Only one case may be the one that PLAN.md shows."""
    change(path, "title: count lines,", "title: count lines, headline: true,")
    second = "\n  - {name: again, title: t, headline: true, args: [], workloads: [bench]}\nbad_inputs:"
    change(path, "\nbad_inputs:", second)
    assert "F:20:3: more than one case is the headline" in refusal(path)


PLANS = [
    ("{tool: rooms, protocol: websocket, script: s, rate: 5}", "says how many users there are"),
    ("{tool: rooms, protocol: http, script: s}", "speaks websocket"),
    ("{tool: pace, protocol: websocket, script: s}", "speaks websocket"),
    ("{tool: pace, protocol: http, script: s, scripts: {p: {protocol: websocket, script: s}}}", "speaks websocket"),
    ("{tool: pace, protocol: http, script: s, saturates: true}", "saturates"),
    ("{tool: pace, protocol: http, script: s}, soak: {seconds: 60}", "can be soaked"),
]


@pytest.mark.parametrize(("load", "expected"), PLANS)
def test_a_plan_has_its_own_rules(path: Path, load: str, expected: str) -> None:
    """Rates and connections stand in the plan, and only a plan can be run for long."""
    change(path, "title: count lines,", f"title: count lines, load: {load},")
    change(path, "limits:", "server: {args: []}\nlimits:")
    assert expected in refusal(path)


@pytest.mark.parametrize("folder", ["../x", "/etc", "good/../../x"])
def test_folder_outside_is_refused(path: Path, folder: str) -> None:
    """The folder of a lane cannot be written so that it leaves the project."""
    change(path, "good: {language: python,", f"good: {{language: python, folder: {folder},")
    assert re.search(r"F:13:\d+: lanes.good.folder: .* does not match", refusal(path))


def test_link_that_leads_outside_is_refused(path: Path, tmp_path: Path) -> None:
    """A folder that is a symbolic link out of the project is refused although its name is harmless."""
    (path.parent / "away").symlink_to(tmp_path, target_is_directory=True)
    change(path, "good: {language: python,", "good: {language: python, folder: away,")
    assert re.search(r"F:13:\d+: folder 'away' leaves the project", refusal(path))


def nest(depth: int) -> str:
    """A flow sequence in a flow sequence, and so on."""
    return "[" * depth + "]" * depth


BOMBS = [
    ("a: &a x\nb: [" + "*a, " * 100 + "]\n", "more than 64 YAML aliases"),
    ("a: &a [*a]\n", "F"),
    ("a: &a {b: *a}\n", "F"),
    (f"title: {nest(40)}\n", "nested too deeply"),
    (f"title: {nest(20_000)}\n", "F:1:31: nested too deeply"),
    ("title: a\ntitle: b\n", "F:2:1: found duplicate key"),
    ("title: [a\n", "F:2:1: "),
    ("title: !!python/object/apply:os.system [id]\n", "F"),
    ("title: \0\n", "not YAML"),
    ("- a\n- b\n", "F:1:1: expected a mapping"),
    ("", "F:1:1: expected a mapping"),
    ("title: a\n---\ntitle: b\n", "F"),
]


@pytest.mark.parametrize(("text", "expected"), BOMBS, ids=[text[:16].strip() or "empty" for text, _ in BOMBS])
def test_hostile_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """Bombs, loops, tags and half files end in lines that name the file; nothing is built of them."""
    path = tmp_path / "project.yaml"
    path.write_text(text)
    message = refusal(path)
    assert expected in message
    assert all(line.startswith("F") for line in message.splitlines())


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A file above the size limit is not even parsed."""
    path = tmp_path / "project.yaml"
    path.write_bytes(b"#" * (project.MAX_YAML_BYTES + 1))
    assert refusal(path) == f"F: larger than {project.MAX_YAML_BYTES} bytes"


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named by their place."""
    path = tmp_path / "project.yaml"
    path.write_bytes(b"title: \xff\n")
    assert refusal(path) == "F: not UTF-8 (byte 7)"


def test_missing_file_is_one_line(tmp_path: Path) -> None:
    """A file that is not there is a project error, not a traceback."""
    assert refusal(tmp_path / "project.yaml") == "F: No such file or directory"


@pytest.mark.parametrize("attribute", ["alias", "number"])
def test_two_projects_cannot_share(path: Path, attribute: str) -> None:
    """Alias and number are unique over all projects; the message names both."""
    twin = path.parent.parent / "twin"
    path.parent.rename(path.parent.parent / "first")
    first = path.parent.parent / "first"
    twin.mkdir()
    for folder, slug in ((first, "first"), (twin, "twin")):
        (folder / "good").mkdir(exist_ok=True)
        (folder / "other").mkdir(exist_ok=True)
        text = (
            (first / "project.yaml").read_text().replace("line-counter", slug).replace("slug: first", f"slug: {slug}")
        )
        free = "number" if attribute == "alias" else "alias"
        value = {"number": '"99.2"', "alias": "twins"}[free]
        text = re.sub(rf"(?m)^{free}: .*$", f"{free}: {value}", text) if slug == "twin" else text
        (folder / "project.yaml").write_text(text)
    with pytest.raises(ProjectError, match=rf"{attribute} '.*' is taken by .*/first"):
        project.load_all(path.parent.parent)


def test_find_knows_alias_and_slug(path: Path) -> None:
    """A project is found by either name, also when a neighbour is broken."""
    broken = path.parent.parent / "broken"
    broken.mkdir()
    (broken / "project.yaml").write_text("alias: broken\nno")
    assert project.find("lines", path.parent.parent) == project.find("line-counter", path.parent.parent)


@pytest.mark.parametrize("name", ["../x", "", "line", "project.yaml"])
def test_unknown_project_lists_the_known(path: Path, name: str) -> None:
    """A name that nobody has is a usage error that lists the aliases."""
    with pytest.raises(UsageError, match="known: lines"):
        project.find(name, path.parent.parent)
