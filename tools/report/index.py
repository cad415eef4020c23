"""What the first page shows: standings, heat map, where each language leads, what is not measured yet."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from tools import markdown as md
from tools import score_tables, wording
from tools.report import overview, prose
from tools.roster import languages

if TYPE_CHECKING:
    from tools.record import Environment
    from tools.report.gather import Gathered
    from tools.rows import Row


def index_page(found: Gathered) -> dict[str, Any]:
    """Collect the values of its template."""
    evidences = found.evidences
    rows = overview.heat_rows(found)
    names = languages(evidences)
    systems = {row.slug for row in rows}
    waiting = [row for row in evidences.rows if row.slug not in systems]
    return {
        "root": "",
        "title": "Deadheat",
        "standings": overview.standings(evidences),
        "counted": md.count(sum(1 for _, one in evidences.all() if one is not None and one.counts)),
        "measured": md.count(len(systems)),
        "total": md.count(len(evidences.rows)),
        "rows": rows,
        "languages": [(name, wording.language(name)) for name in names],
        "groups": list(dict.fromkeys(row.group for row in rows)),
        "kinds": sorted({kind for row in rows for kind in row.kinds}),
        "environments": [environment_line(one) for one in found.environments.values()],
        "several_environments": len(found.environments) > 1,
        "overall": prose.block(score_tables.overall(evidences), label="Geometric means over systems"),
        "choose": prose.block(score_tables.choose(evidences)),
        "waiting": [(group, list(each)) for group, each in groupby(waiting, key=_group)],
    }


def environment_line(record: Environment) -> dict[str, str]:
    """Describe an environment for a list of choices, and in full."""
    short = f"{record.cpu_model}, {record.cpus} CPUs, {record.runner}{', shared CI runner' if record.ci else ''}"
    return {"id": record.id, "short": short, "full": wording.environment(record)}


def _group(row: Row) -> str:
    return row.group
