"""Rules of this repository that a formatter cannot see: direction of imports, doors, lengths, reasons, traces."""

from __future__ import annotations

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tools.caches import ROOT

MAX_LINES = 40
LANE_FOLDERS = frozenset({"go", "rust", "zig", "c"})
SUBPROCESS_DOORS = {"tools/process.py", "tools/launcher/client.py"}
DOCKER_DOORS = {"tools/runners/engine.py", "tools/runners/images.py", "tools/runners/docker.py"}
FIRST_HALF = {
    "assemble", "baseline", "build", "environment", "flow", "languages", "launcher", "measure", "packages", "plan",
    "process", "revisions", "runners", "samples", "soaking", "temporary", "toolchains", "verify", "workloads",
}  # fmt: skip
SECOND_HALF = {
    "analysis", "changed", "checks", "compare", "compare_tables", "documents", "drift", "export", "fastschema",
    "figures", "generators_record", "generators_tables", "history", "history_tables", "markdown", "meaning",
    "overview_tables", "picture", "project_tables",
    "record", "recorded", "report", "result", "roster", "rows", "score_tables", "selection", "selftest_record",
    "selftest_tables",
    "shifts", "soak_tables", "splice", "strictjson", "tables", "validate", "values", "wording",
}  # fmt: skip
REGISTRIES = [
    "pypi" + ".org",
    "crates" + ".io/",
    "proxy.golang" + ".org",
    "registry.npmjs" + ".org",
    "deb.debian" + ".org",
]
SUPPRESSION = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*)?|type:\s*ignore(?:\[[a-z, -]+\])?)")


@cache
def tracked() -> list[str]:
    """Files that git knows, and those that are about to be added."""
    words = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, check=True, capture_output=True).stdout.decode().split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


def python_files(*folders: str) -> list[str]:
    """Our Python files under these folders; templates become files of other projects."""
    inside = [name for name in tracked() if name.endswith(".py") and "/templates/" not in name]
    return [name for name in inside if name.split("/")[0] in folders]


@cache
def tree(name: str) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


@cache
def imports(name: str) -> frozenset[str]:
    """Dotted names that a file imports anywhere, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def ours(name: str) -> set[str]:
    """Names right below `tools` that a file imports."""
    return {found.split(".")[1] for found in imports(name) if found.startswith("tools.")}


def unit(name: str) -> str:
    """`tools/runners/host.py` -> `runners`, `tools/flow.py` -> `flow`."""
    return Path(name).parts[1].removesuffix(".py")


TOOLS = python_files("tools")
ALL = [*python_files("tools", "tests", "projects"), "noxfile.py", "tasks.py"]


@pytest.mark.parametrize("name", [name for name in TOOLS if unit(name) == "languages"])
def test_languages_do_not_know_runners(name: str) -> None:
    """A language returns commands as data; it knows neither who runs them nor how."""
    assert ours(name) <= {"languages", "errors"}


@pytest.mark.parametrize("name", [name for name in TOOLS if unit(name) == "runners"])
def test_runners_know_languages_only_by_their_protocol(name: str) -> None:
    """A runner uses the table and the protocol, and no language by its name."""
    used = {found for found in imports(name) if found.startswith("tools.languages.")}
    assert {found.split(".")[2] for found in used} <= {"base", "get"}
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"""language (==|in) .*["'](go|rust|zig)["']""", text)


@pytest.mark.parametrize("name", [name for name in TOOLS if unit(name) in SECOND_HALF])
def test_second_half_does_not_know_the_first(name: str) -> None:
    """Tables come from result files alone: nothing there can build, run or measure."""
    assert ours(name) & FIRST_HALF == set()


@pytest.mark.parametrize("name", [name for name in TOOLS if unit(name) in FIRST_HALF])
def test_first_half_does_not_know_the_second(name: str) -> None:
    """What measures never reads a result or writes a table."""
    assert ours(name) & SECOND_HALF == set()


def test_every_named_module_exists() -> None:
    """The two lists above are about modules that are there."""
    assert {unit(name) for name in TOOLS} >= FIRST_HALF | SECOND_HALF


@pytest.mark.parametrize(
    ("package", "doors"), [("subprocess", SUBPROCESS_DOORS), ("docker", DOCKER_DOORS)], ids=["subprocess", "docker"]
)
def test_there_is_one_door(package: str, doors: set[str]) -> None:
    """Processes are started, and Docker is spoken to, in few named files."""
    assert {name for name in TOOLS if any(found.split(".")[0] == package for found in imports(name))} == doors


def test_no_shell_and_no_bare_except() -> None:
    """No value ever reaches a shell, and no error is swallowed unnamed."""
    for name in TOOLS:
        for node in ast.walk(tree(name)):
            assert not (isinstance(node, ast.keyword) and node.arg == "shell"), name
            assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{name}:{node.lineno}"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert f"{node.value.id}.{node.attr}" not in {"os.system", "os.popen"}, name


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(name: str) -> list[Function]:
    """Every function of a file."""
    return [node for node in ast.walk(tree(name)) if isinstance(node, Function)]


def test_functions_are_short() -> None:
    """A function of the harness fits on a screen (its docstring not counted)."""
    long = []
    for name in TOOLS:
        for function in functions(name):
            first = function.body[0]
            prose = (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(function) else 0
            if (lines := (function.end_lineno or 0) - function.lineno + 1 - prose) > MAX_LINES:
                long.append(f"{name}:{function.lineno}: {function.name} has {lines} lines")
    assert long == []


def public(node: ast.AST, name: str) -> list[str]:
    """Public functions and classes below a module or a public class that have no docstring."""
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            if ast.get_docstring(child) is None:
                found.append(f"{name}:{child.lineno}: {child.name}")
            found += public(child, name) if isinstance(child, ast.ClassDef) else []
    return found


def test_everything_public_is_described() -> None:
    """Every module, and every public class and function of the harness, says what it is."""
    assert [name for name in ALL if ast.get_docstring(tree(name)) is None] == []
    assert [missing for name in TOOLS for missing in public(tree(name), name)] == []


def test_every_test_states_its_behaviour() -> None:
    """A test has a docstring: what is true, in a sentence."""
    silent = [
        f"{name}:{function.lineno}: {function.name}"
        for name in python_files("tests", "projects")
        for function in functions(name)
        if function.name.startswith("test_") and ast.get_docstring(function) is None
    ]
    assert silent == []


def test_every_suppression_has_its_reason() -> None:
    """Whoever silences a tool says why, on the same line, or where the file says it once for all."""
    bare = []
    for name in ALL:
        text = (ROOT / name).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            match = SUPPRESSION.search(line)
            if match and '"' not in line[match.end() :] and not re.match(r"\s*(-|#)\s*[\w`]", line[match.end() :]):
                bare.append(f"{name}:{number}: {line.strip()}")
    assert bare == []


@cache
def texts() -> dict[str, str]:
    """Every tracked text file, except lock files, whose format is their tool's."""
    found = {}
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content and not name.endswith((".lock", "go.sum")):
            found[name] = content.decode("utf-8", "replace")
    return found


@pytest.mark.parametrize("host", REGISTRIES)
def test_no_registry_is_named(host: str) -> None:
    """Packages come from where the ordinary clients are told: a mirror works as well."""
    assert [name for name, text in texts().items() if host in text] == []


def test_no_trace_of_a_workplace() -> None:
    """No file knows in which folder, or in whose home, this checkout is."""
    traces = [
        f"{ROOT}/",
        f"{ROOT}\n",
        f"{Path.home()}/",
        "/home/" + "user/",
        "/opt/" + "tc/",
        "/ro" + "ot/",
        "/work/" + "main",
    ]
    assert [(name, trace) for name, text in texts().items() for trace in traces if trace in text] == []


def test_load_generators_share_their_clock() -> None:
    """Each is a crate of its own, which is built from its folder alone; what they have in common is one text."""
    pace, rooms = (ROOT / "tools" / "loads" / name / "src" / "clock.rs" for name in ("pace", "rooms"))
    assert pace.read_bytes() == rooms.read_bytes()


def test_nothing_generated_is_tracked() -> None:
    """Build output, caches and inputs stay out of the repository."""
    generated = ("zig-out", ".zig-cache", "target", "__pycache__", "node_modules", "data", ".deadheat", ".venv")
    assert [name for name in tracked() if set(Path(name).parts) & set(generated)] == []
