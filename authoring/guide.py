"""The instructors' page: a text of our own, and the rubric of each lab from its master."""

import re
from pathlib import Path

from authoring.source import Master, masters
from course.checks import Check, load

PLACE = "<!-- labs -->"
TERM = "<!-- term -->"
DAYS = "<!-- days -->"
OPTIONAL = re.compile(r"^## Exercise (\d+) ★", re.MULTILINE)
PATH = Path("solutions/README.md")
"""Where the page goes, in a checkout."""


def guide(root: Path) -> str | None:
    """The text of the page; None in a checkout that has no text for it."""
    source = root / "source/solutions/README.md"
    if not source.exists():
        return None
    every = masters(root)
    labs = [master for master in every if master.checks()]
    text = source.read_text().replace(TERM, _term(every)).replace(DAYS, _days(every))
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
        f"{head['minutes_optional']} more for what is optional. {_counted(master, checks)}",
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


def _counted(master: Master, checks: list[Check]) -> str:
    """Which points grading counts, and which are for exercises that may be left out."""
    live = master.notebook().metadata["course"].get("live", [])
    without = sum(check.points for check in checks if check.kind != "live")
    more = sum(check.points for check in checks if check.kind == "live" and check.exercise in live)
    graded = f"`course grade` counts {without} of them" + (
        f", with `--live` {without + more}." if live else "; `--live` is refused."
    )
    optional = {f"ex{number}" for number in OPTIONAL.findall(master.path.read_text())}
    points = sum(check.points for check in checks if check.exercise in optional)
    return f"{graded} Optional ★: {', '.join(sorted(optional))}, {points} points."


def _term(every: list[Master]) -> str:
    """A week for each lesson and for each lab; lesson 00 is part of the first week."""
    lessons = [master for master in every if not master.lab]
    weeks = [lessons[:2]]
    for lesson in lessons[2:]:
        weeks += [_labs_of(every, weeks[-1][-1]), [lesson]]
    weeks.append(_labs_of(every, lessons[-1]))
    rows = [
        f"| {number} | {', '.join(map(_title, week))} | {_minutes(week)} |"
        for number, week in enumerate(filter(None, weeks), 1)
    ]
    return "\n".join(["| Week | Together | Minutes |", "|---|---|---|", *rows])


def _days(every: list[Master]) -> str:
    """The lessons alone in days of at most six hours."""
    days: list[list[Master]] = [[]]
    for lesson in (master for master in every if not master.lab):
        if _minutes([*days[-1], lesson]) > 360:
            days.append([])
        days[-1].append(lesson)
    rows = [
        f"| {number} | {', '.join(master.name[:2] for master in day)} | {_minutes(day)} |"
        for number, day in enumerate(days, 1)
    ]
    return "\n".join(["| Day | Lessons | Minutes |", "|---|---|---|", *rows])


def _labs_of(every: list[Master], lesson: Master) -> list[Master]:
    return [master for master in every if master.lab and master.name[:2] == lesson.name[:2]]


def _title(master: Master) -> str:
    kind = "lab" if master.lab else "lesson"
    return f"{kind} {master.name[:2]} {master.notebook().metadata['course']['title']}"


def _minutes(chosen: list[Master]) -> int:
    """What the core of all of them takes."""
    return sum(master.notebook().metadata["course"]["minutes_core"] for master in chosen)
