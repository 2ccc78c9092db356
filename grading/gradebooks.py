"""CSV files that Canvas and Moodle import."""

import csv
from pathlib import Path

from grading.labs import Lab
from grading.report import safe
from grading.results import Result

CANVAS_COLUMNS = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"]


def write(results: list[Result], lab: Lab, out: Path) -> None:
    """Write ``canvas.csv`` and ``moodle.csv``; copies with a problem have no grade."""
    _write(out / "canvas.csv", _canvas(results, lab))
    _write(out / "moodle.csv", _moodle(results, lab))


def _canvas(results: list[Result], lab: Lab) -> list[list[object]]:
    """As Canvas exports and imports: it finds students by ID, else by login.

    Without Canvas's ids (files that do not come from its download) the student's
    name in the submission is taken for the login.
    """
    possible = max((r.possible for r in results), default=0)
    rows: list[list[object]] = [
        [*CANVAS_COLUMNS, lab.title],
        ["    Points Possible", "", "", "", "", possible],
    ]
    for result in results:
        who = result.submission
        login = "" if who.lms_id else safe(who.student)
        grade = "" if result.problem else result.points
        rows.append([safe(who.student), who.lms_id, "", login, "", grade])
    return rows


def _moodle(results: list[Result], lab: Lab) -> list[list[object]]:
    """For Moodle's "Import grades from CSV": map "Username" to the user's field.

    Feedback goes with the grade: Moodle drops the grade of an import that has only
    one of both.
    """
    rows: list[list[object]] = [["Username", "Full name", lab.title, f"{lab.title} (feedback)"]]
    for result in results:
        name = safe(result.submission.student)
        grade = "-" if result.problem else result.points
        rows.append([name, name, grade, safe(_words(result))])
    return rows


def _words(result: Result) -> str:
    if result.problem:
        return result.problem
    exercises = dict.fromkeys(verdict.check.exercise for verdict in result.verdicts)
    parts = []
    for exercise in exercises:
        verdicts = result.of(exercise)
        earned, possible = sum(v.points for v in verdicts), sum(v.possible for v in verdicts)
        parts.append(f"{exercise}: {earned}/{possible}")
    return ", ".join(parts)


def _write(path: Path, rows: list[list[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
