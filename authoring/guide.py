"""The instructors' page: a text of our own, and the rubric of each lab from its master."""

from pathlib import Path

from authoring.source import Master, masters
from course.checks import load

PLACE = "<!-- labs -->"
PATH = Path("solutions/README.md")
"""Where the page goes, in a checkout."""


def guide(root: Path) -> str | None:
    """The text of the page; None in a checkout that has no text for it."""
    source = root / "source/solutions/README.md"
    if not source.exists():
        return None
    labs = [master for master in masters(root) if master.checks()]
    text = source.read_text()
    return text.replace(PLACE, "\n".join(_lab(master, root) for master in labs)).rstrip() + "\n"


def _lab(master: Master, root: Path) -> str:
    """The rubric of one lab, and its common mistakes."""
    head = master.notebook().metadata["course"]
    checks = load(master.checks_path(root))
    points = {check.name: check.points for check in checks}
    rows = [f"| {c.exercise} | {c.points} | {c.kind} | {c.claim} |" for c in checks]
    mistakes = [
        f"- {wrong.exercise}: {wrong.title} (-{sum(points.get(name, 0) for name in wrong.fails)})"
        for wrong in master.wrong_answers()
    ]
    lines = [
        f"### Lab {master.name[:2]}: {head['title']}",
        "",
        f"{head['points']} points, {head['minutes_core']} minutes, "
        f"{head['minutes_optional']} more for what is optional.",
        "",
        "| Exercise | Points | Kind | What must hold |",
        "|---|---|---|---|",
        *rows,
        "",
        "Common mistakes:",
        "",
        *mistakes,
        "",
    ]
    return "\n".join(lines)
