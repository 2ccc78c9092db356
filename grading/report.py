"""What the instructor and the students read: grades.csv, grades.json, feedback/."""

import csv
import html
import json
from pathlib import Path

from grading.labs import Lab
from grading.results import Result, Verdict, clean

_CLASSES = {"right": "right", "wrong": "wrong"}


def write(results: list[Result], lab: Lab, out: Path) -> None:
    """Write the reports on all copies into the folder ``out``."""
    feedback = out / "feedback"
    feedback.mkdir(parents=True, exist_ok=True)
    for result in results:
        page = feedback / f"{result.submission.key}.html"
        page.write_text(feedback_page(result, lab.title), encoding="utf-8")
    exercises = list(dict.fromkeys(check.exercise for check in lab.checks))
    with (out / "grades.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["student", *exercises, "points", "of", "file", "remarks"])
        table.writerows(_row(result, exercises) for result in results)
    (out / "grades.json").write_text(json.dumps(_as_json(results, lab), indent=1))


def summary(results: list[Result]) -> list[str]:
    """What the command line says at the end: a sum, and a line for each problem."""
    graded = [result for result in results if not result.problem]
    lines = [f"{len(graded)} of {len(results)} copies graded."]
    if graded:
        mean = sum(result.points for result in graded) / len(graded)
        lines[0] += f" On average {mean:.1f} of {graded[0].possible} points."
    for result in results:
        if result.problem:
            lines.append(f"{result.submission.source}: {result.problem}")
    return [clean(line) for line in lines]


def safe(text: str) -> str:
    """A CSV cell that no spreadsheet takes for a formula.

    >>> print(safe("=1+1"), safe("Ada"))
    '=1+1 Ada
    """
    return f"'{text}" if text.lstrip()[:1] in ("=", "+", "-", "@") else text


def _row(result: Result, exercises: list[str]) -> list[object]:
    points = [sum(v.points for v in result.of(exercise)) for exercise in exercises]
    remarks = " ".join(filter(None, [result.problem, *result.remarks]))
    who = result.submission
    return [
        safe(who.student),
        *points,
        result.points,
        result.possible,
        safe(who.source),
        safe(remarks),
    ]


def _as_json(results: list[Result], lab: Lab) -> dict:
    """The grades for programs, such as ``grading/to_nbgrader.py``."""
    return {
        "lab": lab.name,
        "title": lab.title,
        "students": [
            {
                "student": result.submission.student,
                "problem": result.problem,
                "remarks": result.remarks,
                "verdicts": [
                    {
                        "exercise": v.check.exercise,
                        "name": v.check.name,
                        "claim": v.check.claim,
                        "status": v.status,
                        "points": v.points,
                        "possible": v.possible,
                        "message": v.message,
                    }
                    for v in result.verdicts
                ],
            }
            for result in results
        ],
    }


def feedback_page(result: Result, title: str) -> str:
    """A student's page: self-contained, and every word that is not ours escaped."""
    name = html.escape(result.submission.student)
    parts = [f"<p class=total>{result.points} of {result.possible} points</p>"]
    if result.problem:
        parts.append(f"<p class=problem>{html.escape(result.problem)}</p>")
    else:
        for exercise in dict.fromkeys(v.check.exercise for v in result.verdicts):
            parts.append(_section(exercise, result.of(exercise)))
    if result.remarks:
        items = "".join(f"<li>{html.escape(remark)}</li>" for remark in result.remarks)
        parts.append(f"<h2>Remarks</h2><ul>{items}</ul>")
    return _PAGE.format(title=html.escape(title), name=name, body="\n".join(parts))


def _section(exercise: str, verdicts: list[Verdict]) -> str:
    earned, possible = sum(v.points for v in verdicts), sum(v.possible for v in verdicts)
    rows = "\n".join(_line(verdict) for verdict in verdicts)
    return (
        f"<h2>{html.escape(exercise)} <span>{earned} of {possible}</span></h2><table>{rows}</table>"
    )


def _line(verdict: Verdict) -> str:
    kind = _CLASSES.get(verdict.status, "other")
    message = f"<pre>{html.escape(verdict.message)}</pre>" if verdict.message else ""
    return (
        f'<tr class="{kind}"><td class=points>{verdict.points}/{verdict.check.points}</td>'
        f"<td class=status>{html.escape(verdict.status)}</td>"
        f"<td>{html.escape(verdict.check.claim)}{message}</td></tr>"
    )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{title}: {name}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2530; }}
h1 {{ font-size: 1.5rem; margin-bottom: 0; }}
h2 {{ font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #d5dbe2; }}
h2 span {{ float: right; font-weight: normal; }}
.name, .status {{ color: #5a6673; }}
.total {{ font-size: 1.25rem; font-weight: 600; }}
.problem {{ background: #fdecea; border-left: 4px solid #b3261e; padding: .75rem 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td {{ vertical-align: top; padding: .4rem .75rem .4rem 0; }}
.points, .status {{ white-space: nowrap; width: 1%; }}
.right .points, .right .status {{ color: #1b6e3c; }}
.wrong .points, .wrong .status {{ color: #b3261e; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; background: #f3f5f8; padding: .5rem .75rem;
  margin: .4rem 0; font-size: .875rem; }}
</style></head>
<body><h1>{title}</h1><p class=name>{name}</p>
{body}
</body></html>
"""
