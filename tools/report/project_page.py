"""What the page of one project shows: the answer first, then every case, the programs, and where it all comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tools import markdown as md
from tools import overview_tables, project_tables, wording
from tools.record import SOAK
from tools.report import cases, overview, programs, prose, soaks
from tools.report.gather import shown
from tools.roster import languages
from tools.selection import MAIN_WORKLOAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from tools.record import Arm
    from tools.report.gather import Gathered
    from tools.rows import Row
    from tools.selection import Evidence


@dataclass(frozen=True)
class Answer:
    """The headline in four answers: who, by how much, how sure, on what machine; all in Markdown."""

    case: str
    work: str
    who: str
    said: str
    rivals: tuple[str, ...]
    peers: tuple[str, ...]
    sure: tuple[str, ...]
    machine: tuple[str, ...]


@dataclass(frozen=True)
class Checked:
    """What the oracle said of one program."""

    program: str
    state: str
    checks: str
    bad_inputs: str
    failures: tuple[tuple[str, str], ...]
    flags: str
    equal: str
    unequal: str


def project_page(found: Gathered, row: Row, evidence: Evidence | None) -> dict[str, Any]:
    """Collect the values of its template."""
    names = languages(found.evidences)
    return {
        "root": "../",
        "title": row.title,
        "row": row,
        "summary": row.project.summary if row.project else "",
        "status": overview_tables.status(row, evidence),
        "answer": _answer(evidence) if evidence else None,
        "rows": overview.case_rows(row, evidence, names, speaks=True) if evidence else [],
        "languages": [(name, wording.language(name)) for name in names],
        "workloads": [_workload(one) for one in shown(found.evidences, row)],
        "soaks": list(soaks.views(found.evidences.of(row, SOAK))),
        "multiples": programs.multiples(evidence) if evidence else [],
        "programs": _programs(evidence),
        "checked": list(_checked(evidence)) if evidence else [],
        "provenance": project_tables.provenance(evidence) if evidence else "",
        "environment": wording.environment(evidence.result.environment) if evidence else "",
        "source": _source(evidence) if evidence else "",
        "stale": bool(evidence and evidence.stale),
        "history": programs.history(found.history.get(row.slug, [])),
        "pasts": list(reversed(found.history.get(row.slug, []))),
        "prose": _readme(row),
    }


def _workload(evidence: Evidence) -> dict[str, Any]:
    """Make the cases of one workload."""
    name = evidence.result.plan.workload
    views = [cases.view(evidence, analysis) for analysis in evidence.analyses.values()]
    return {"name": name, "main": name == MAIN_WORKLOAD, "cases": views}


def _answer(evidence: Evidence) -> Answer:
    """Answer for the headline case."""
    analysis, result = evidence.headline, evidence.result
    group, arms, plan = analysis.main_group, result.arms, result.plan
    rivals: list[str] = []
    peers: list[str] = []
    if group is not None:
        others = [one for lane, one in group.to_leader.items() if lane != group.leader]
        rivals = [f"{wording.program(arms[one.a])} needs {cases.ratio(one)}" for one in others]
        leader = wording.program(arms[group.leader])
        beside = [arm for arm in arms.values() if (group.leader, arm.name) in analysis.pairs and arm.role == "peer"]
        peers = [
            f"{leader} is {wording.against(analysis.pairs[group.leader, arm.name])} than {wording.program(arm)}"
            for arm in beside
        ]
    runs = max((one.runs for one in analysis.figures.values()), default=0)
    sure = (
        f"{md.count(runs)} interleaved rounds, stopped by {analysis.case.stop}",
        f"all {md.count(plan.claims)} claims of this result together err at most {plan.alpha:.0%} of the time",
        wording.noise(analysis),
    )
    return Answer(
        case=analysis.case.title,
        work=wording.work(analysis.case, result.item.plural),
        who=wording.outcome(analysis, evidence),
        said=_sentence(evidence),
        rivals=tuple(rivals),
        peers=tuple(peers),
        sure=sure,
        machine=tuple(_machine(evidence)),
    )


def _sentence(evidence: Evidence) -> str:
    """Say in a few words what kind of answer this is."""
    group = evidence.headline.main_group
    if group is None:
        return "nothing could be measured"
    if group.winner:
        return "shown to be faster than every rival of equal parity"
    if group.tied:
        return "shown to be equal within 10 %"
    ahead = wording.program(evidence.result.arms[group.leader])
    return f"nobody wins: {ahead} was ahead, but the data cannot tell by how much, or whether at all"


def _machine(evidence: Evidence) -> Iterator[str]:
    """Describe the machine in short lines; the whole record stands below."""
    record = evidence.result.environment
    yield f"{md.text(record.cpu_model)}, {md.count(record.cpus)} logical CPUs"
    yield f"{md.size(record.memory_bytes)} of memory, {md.text(record.os)}, kernel {md.text(record.kernel)}"
    yield "in Docker containers" if record.runner == "docker" else "on the host, without containers"
    under = f"under {md.text(record.virtualization)}, " if record.virtualization else ""
    yield f"{under}{'a shared CI runner' if record.ci else 'a machine of its own'}"
    yield f"measured {evidence.result.created_at[:10]}"


def _programs(evidence: Evidence | None) -> Markup | str:
    """Give the table of programs as the README has it."""
    if evidence is None:
        return ""
    return prose.block(project_tables.programs(evidence), label="Programs, sizes and builds")


def _checked(evidence: Evidence) -> Iterator[Checked]:
    """List what the oracle said of every program, and how it was built."""
    for arm in evidence.result.arms.values():
        if arm.role == "null":
            continue
        yield Checked(
            program=cases.program(arm),
            state=arm.verification.state,
            checks=md.count(arm.verification.checks),
            bad_inputs=md.count(arm.verification.bad_inputs),
            failures=tuple((one.check, one.reason) for one in arm.verification.failures),
            flags=_flags(arm),
            equal=arm.notes.get("equal", ""),
            unequal=arm.notes.get("unequal", ""),
        )


def _flags(arm: Arm) -> str:
    """Write how a program was built."""
    return " ".join(arm.flags) or md.DASH


def _source(evidence: Evidence) -> str:
    """Name the result file."""
    path = evidence.result.path
    return f"results/{evidence.result.slug}/{path.name}"


def _readme(row: Row) -> Markup | str:
    """Render the project's own words, where it has them.

    Raises:
        TablesError: the README's markers are wrong.
    """
    if row.project is None or not (path := row.project.folder / "README.md").is_file():
        return ""
    return prose.readme(path.read_text(encoding="utf-8", errors="replace"), f"projects/{row.slug}/README.md")
