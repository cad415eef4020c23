"""project.yaml -> Project, with errors that name file, line and column.

The YAML is read by ruamel.yaml (comments survive later rewrites), checked against schemas/project.schema.json before
anything else looks at it, then against what a schema cannot say.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from tools import fastschema, names
from tools.errors import ProjectError, UsageError
from tools.model import (
    BadInput,
    Case,
    Item,
    Lane,
    Limits,
    Load,
    Metric,
    Packages,
    Parity,
    Peer,
    Project,
    Rate,
    Server,
    Service,
    Soak,
    Workload,
)

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = ROOT / "projects"
MAX_YAML_BYTES = 256 * 1024
MAX_ALIASES = 64
MAX_DEPTH = 24  # deeper than any project


def load(path: Path) -> Project:
    """The project of one project.yaml.

    Raises:
        ProjectError: the file cannot be read, is no YAML, breaks the schema or contradicts itself.
    """
    tree = read_yaml(path)
    _check_schema(tree, path)
    _check_meaning(tree, path)
    return _project(tree, path.parent)


def load_all(root: Path = PROJECTS) -> list[Project]:
    """All projects in the order of their numbers; two with one slug, alias or number are an error."""
    projects = sorted((load(path) for path in sorted(root.glob("*/project.yaml"))), key=lambda p: number_key(p.number))
    for attribute in ("slug", "alias", "number"):
        seen: dict[str, Project] = {}
        for project in projects:
            other = seen.setdefault(getattr(project, attribute), project)
            if other is not project:
                value = getattr(project, attribute)
                raise ProjectError(f"{project.folder}/project.yaml: {attribute} {value!r} is taken by {other.folder}")
    return projects


def find(name: str, root: Path = PROJECTS) -> Project:
    """The project with this slug or alias; a broken neighbour does not matter.

    Raises:
        UsageError: there is none; the message lists the aliases.
    """
    known = names.entries(root)
    for alias, _, path in known:
        if name in {alias, path.parent.name}:
            return load(path)
    raise UsageError(f"no project {name!r}", remedy="known: " + ", ".join(alias for alias, _, _ in known))


def number_key(number: str) -> tuple[int, int, int]:
    """Sort key of a project number: 1.1 ... 10.2, then S1, S2, then plain numbers."""
    if number.startswith("S"):
        return (1000, int(number[1:]), 0)
    major, _, minor = number.partition(".")
    return (int(major), int(minor or 0), 0)


def read_yaml(path: Path) -> CommentedMap:
    """The YAML tree with positions and comments; bombs are refused before they are built."""
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ProjectError(f"{path}: larger than {MAX_YAML_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ProjectError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path}: not UTF-8 (byte {error.start})") from error
    yaml = YAML(typ="rt")
    yaml.allow_duplicate_keys = False
    try:
        _refuse_bombs(text, path)
        tree = yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ProjectError(f"{path}{place}: {error.problem or 'not YAML'}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ProjectError(
            f"{path}: not YAML: {str(error).splitlines()[0] if str(error) else 'nested too deeply'}"
        ) from error
    if not isinstance(tree, CommentedMap):
        raise ProjectError(f"{path}:1:1: expected a mapping")
    return tree


def _refuse_bombs(text: str, path: Path) -> None:
    """Aliases make trees exponential, depth makes composing quadratic: look at the events before anything is built."""
    aliases = depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        aliases += isinstance(event, AliasEvent)
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        place = f"{path}:{event.start_mark.line + 1}:{event.start_mark.column + 1}"
        if aliases > MAX_ALIASES:
            raise ProjectError(f"{place}: more than {MAX_ALIASES} YAML aliases")
        if depth > MAX_DEPTH:
            raise ProjectError(f"{place}: nested too deeply")


@cache
def _validator() -> jsonschema.Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / "project.schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(fastschema.anchored(schema))


def _plain(value: Any, depth: int = 0) -> Any:
    """The tree as plain dicts, lists and scalars (what JSON Schema expects)."""
    if depth > MAX_DEPTH:  # a self-referring alias would never end
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        return {str(key): _plain(child, depth + 1) for key, child in value.items()}
    if isinstance(value, list):
        return [_plain(child, depth + 1) for child in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _check_schema(tree: CommentedMap, path: Path) -> None:
    try:
        errors = sorted(_validator().iter_errors(_plain(tree)), key=lambda e: [str(part) for part in e.absolute_path])
    except (ValueError, RecursionError) as error:
        raise ProjectError(f"{path}: nested too deeply") from error
    if errors:
        lines = [f"{path}:{_place(tree, list(e.absolute_path))}: {_explain(e)}" for e in errors[:20]]
        raise ProjectError("\n".join(lines), remedy="see schemas/project.schema.json")


def _explain(error: jsonschema.ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path) or "project"
    message = error.message if len(error.message) <= 200 else error.message[:200] + "..."  # noqa: PLR2004 - one screen line
    return f"{where}: {message}"


def _place(tree: Any, parts: list[Any]) -> str:
    """`line:column` of the innermost node on this path that still has a position."""
    line, column = 0, 0
    node = tree
    for part in parts:
        try:
            line, column = node.lc.value(part) if isinstance(node, CommentedMap) else node.lc.item(part)
            node = node[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
    return f"{line + 1}:{column + 1}"


PORT = re.compile(r"\{port:([^{}]*)\}")
Finding = tuple[list[Any], str]
"""A place in the tree, and what is wrong there."""


def _check_meaning(tree: CommentedMap, path: Path) -> None:
    """What a schema cannot say: names that must exist, folders that must be there."""
    problems: list[Finding] = []
    if tree["slug"] != path.parent.name:
        problems.append((["slug"], f"slug {tree['slug']!r} differs from the folder {path.parent.name!r}"))
    peers = tree.get("peers", {})
    problems += [(["peers", name], "a peer has the name of a lane") for name in peers if name in tree["lanes"]]
    problems += _check_cases(tree, {*tree["lanes"], *peers})
    for name, lane in tree["lanes"].items():
        problems += _check_folder(path.parent, ["lanes", name], lane.get("folder", name))
        if (base := lane.get("baseline_of")) is not None and (base == name or base not in tree["lanes"]):
            problems.append((["lanes", name, "baseline_of"], f"unknown lane {base!r}"))
    for name, peer in peers.items():
        if "folder" in peer or "build" in peer:
            problems += _check_folder(path.parent, ["peers", name], peer["folder"])
    problems += _check_servers(tree, path.parent)
    problems += _check_ports(tree, path.parent)
    if problems:
        raise ProjectError("\n".join(f"{path}:{_place(tree, where)}: {text}" for where, text in problems))


def _check_cases(tree: CommentedMap, arms: set[str]) -> list[Finding]:
    """Case names are unique, and name workloads and arms that exist; at most one is the headline."""
    problems: list[Finding] = []
    names_ = [case["name"] for case in tree["cases"]]
    for index, case in enumerate(tree["cases"]):
        where = ["cases", index]
        if names_.index(case["name"]) != index:
            problems.append(([*where, "name"], f"case {case['name']!r} is listed twice"))
        unknown = [name for name in case["workloads"] if name not in tree["workloads"]]
        problems += [([*where, "workloads"], f"unknown workload {name!r}") for name in unknown]
        strangers = [name for name in case.get("without", {}) if name not in arms]
        problems += [([*where, "without"], f"unknown lane or peer {name!r}") for name in strangers]
    if sum(bool(case.get("headline")) for case in tree["cases"]) > 1:
        problems.append((["cases"], "more than one case is the headline"))
    return problems


def _check_servers(tree: CommentedMap, base: Path) -> list[Finding]:
    """Loads need a server to drive; templates exist; a rate is a share of a case that measures capacity before it."""
    problems: list[Finding] = []
    if any("load" in case for case in tree["cases"]) and "server" not in tree:
        problems.append((["cases"], "a case has a load, but the project has no server"))
    services = {("services", name): raw for name, raw in tree.get("services", {}).items()}
    services |= {("peers", name): raw["server"] for name, raw in tree.get("peers", {}).items() if "server" in raw}
    for (section, name), raw in services.items():
        if section == "services" and name in {*tree["lanes"], *tree.get("peers", {})}:
            problems.append(([section, name], "a service has the name of a lane or peer"))
        for template in raw.get("files", {}).values():
            target = (base / template).resolve()
            if not target.is_relative_to(base.resolve()) or not target.is_file():
                problems.append(([section, name], f"template {template!r} does not exist"))
    capacities: set[str] = set()
    for index, case in enumerate(tree["cases"]):
        rate = case.get("load", {}).get("rate")
        if isinstance(rate, dict) and rate["of"] not in capacities:
            problems.append((["cases", index, "load"], f"no case {rate['of']!r} before this one measures a capacity"))
        if "load" in case and rate is None:
            capacities.add(case["name"])
        problems += [(["cases", index], text) for text in _plan_problems(case)]
    return problems


def _check_ports(tree: CommentedMap, base: Path) -> list[Finding]:
    """A {port:NAME} names a service, lane or peer of the project; a misspelt one would be a port where nobody is."""
    known = {*tree.get("services", {}), *tree["lanes"], *tree.get("peers", {})}
    found = list(_texts(tree, []))
    for where, text in list(found):
        if "files" in where and (base / text).is_file():
            found.append((where, (base / text).read_text(encoding="utf-8", errors="replace")))
    asked = [(where, name) for where, text in found for name in PORT.findall(text)]
    return [(where, f"{{port:{name}}} names no service, lane or peer") for where, name in asked if name not in known]


def _texts(node: Any, where: list[Any]) -> Iterator[tuple[list[Any], str]]:
    """Every text of a tree, with its place."""
    if isinstance(node, str):
        yield where, str(node)
    elif isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _texts(child, [*where, key])


def _plan_problems(case: CommentedMap) -> Iterator[str]:
    """A plan has its own rates and its own protocol, and only a plan can be run for long."""
    load = case.get("load", {})
    planned = load.get("tool") == "rooms"
    if planned and {"rate", "prepare", "connections", "pipeline"} & load.keys():
        yield "the plan of `rooms` says how many users there are and what they do"
    protocols = [one.get("protocol") for one in (load, *load.get("scripts", {}).values())]
    if any(planned != (protocol == "websocket") for protocol in protocols):
        yield "`rooms` speaks websocket, and nothing else does"
    if "saturates" in load and not planned:
        yield "only a plan of `rooms` saturates"
    if "soak" in case and not planned:
        yield "only a load of `rooms` can be soaked"


def _check_folder(base: Path, where: list[Any], folder: str) -> list[Finding]:
    target = (base / folder).resolve()
    if not target.is_relative_to(base.resolve()):
        return [(where, f"folder {folder!r} leaves the project")]
    return [] if target.is_dir() else [(where, f"folder {folder!r} does not exist")]


def _parity(raw: Any) -> Parity:
    return Parity(**_plain(raw))


def _packages(raw: Any, step: str) -> Packages:
    section = (raw or {}).get(step, {}) or {}
    section = section.get("packages", section)
    return Packages(tuple(section.get("apt", ())), tuple(section.get("pip", ())))


def _lane(name: str, raw: Any, folder: Path) -> Lane:
    return Lane(
        name=name,
        language=raw["language"],
        variant=raw.get("variant"),
        folder=folder / raw.get("folder", name),
        parity=_parity(raw["parity"]),
        baseline_of=raw.get("baseline_of"),
        build_packages=_packages(raw.get("packages"), "build"),
        run_packages=_packages(raw.get("packages"), "run"),
    )


def _peer(name: str, raw: Any, folder: Path) -> Peer:
    return Peer(
        name=name,
        title=raw["title"],
        folder=folder / raw.get("folder", f"peers/{name}"),
        language=raw["build"]["language"] if "build" in raw else None,
        libraries=tuple(raw["build"].get("libraries", ())) if "build" in raw else (),
        build_packages=_packages(raw, "build"),
        run_packages=_packages(raw, "run"),
        parity=_parity(raw["parity"]) if "parity" in raw else None,
        counts_items=raw.get("counts_items", True),
        equal=raw["equal"],
        unequal=raw["unequal"],
        service=_service(name, raw["server"]) if "server" in raw else None,
    )


def _service(name: str, raw: Any) -> Service:
    plain = _plain(raw)
    return Service(
        name=name,
        command=tuple(plain["command"]),
        files=tuple(sorted(plain.get("files", {}).items())),
        ready=plain.get("ready"),
        packages=_packages(raw, "packages"),
    )


def _case(raw: Any) -> Case:
    fields = _plain(raw)
    if "load" in fields:
        fields["load"] = _load(fields["load"])
    if "soak" in fields:
        fields["soak"] = Soak(float(fields["soak"]["seconds"]))
    fields["peer_args"] = {name: tuple(args) for name, args in fields.get("peer_args", {}).items()}
    return Case(**{**fields, "args": tuple(fields["args"]), "workloads": tuple(fields["workloads"])})


def _load(fields: dict[str, Any]) -> Load:
    rate = fields.get("rate")
    if rate is not None:
        fields["rate"] = Rate(**rate) if isinstance(rate, dict) else Rate(per_second=rate)
    fields["scripts"] = {
        name: (other["protocol"], other.get("prepare"), other["script"])
        for name, other in fields.get("scripts", {}).items()
    }
    return Load(**fields)


def _project(tree: Any, folder: Path) -> Project:
    return Project(
        folder=folder,
        **{key: tree[key] for key in ("number", "slug", "alias", "title", "group", "summary")},
        kinds=tuple(tree["kinds"]),
        teaches=tuple(tree["teaches"]),
        item=Item(**tree["item"]),
        metric=Metric(**tree["metric"]),
        lanes={name: _lane(name, raw, folder) for name, raw in tree["lanes"].items()},
        workloads={name: Workload(name=name, **_plain(raw)) for name, raw in tree["workloads"].items()},
        workload_requirements=tuple(tree.get("workload_requirements", ())),
        compare=tree["oracle"]["compare"],
        oracle_source=tree["oracle"].get("source", ""),
        cases=tuple(_case(raw) for raw in tree["cases"]),
        peers={name: _peer(name, raw, folder) for name, raw in tree.get("peers", {}).items()},
        bad_inputs=tuple(BadInput(**{**_plain(raw), "args": tuple(raw["args"])}) for raw in tree.get("bad_inputs", [])),
        limits=Limits(**_plain(tree.get("limits", {}))),
        network=tree.get("network", "none"),
        server=Server(tuple(tree["server"]["args"]), tree["server"].get("ready", Server.ready))
        if "server" in tree
        else None,
        services=tuple(_service(name, raw) for name, raw in tree.get("services", {}).items()),
        oracle_packages=_packages(tree["oracle"], "packages"),
        oracle_timeout_seconds=float(tree["oracle"].get("timeout_seconds", Project.oracle_timeout_seconds)),
    )
