"""How long grading a class takes, beside nbgrader on the same lab.

Grades copies of lab 1's solution, two at a time: 30, or with ``--copies 300`` as
many as one likes. nbgrader is installed for this into an environment of its own and
grades the same answers with the same checks, but for what needs containers. It runs
them in the course's environment, with neither isolation nor limits. ``--alone``
leaves it out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from rich.console import Console
from rich.table import Table

from authoring.source import masters
from course import ROOT, engine
from grading import image, labs
from grading.grade import grade
from grading.labs import exercise_of

JOBS = 2
AIM_PER_COPY = 1.0
NAME = "lab"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--copies", type=int, default=30)
    parser.add_argument("--alone", action="store_true", help="leave nbgrader out")
    chosen = parser.parse_args()
    table = Table("way", "copies", "s", "s a copy", "score of each")
    with tempfile.TemporaryDirectory() as folder:
        ways = {f"course grade -j {JOBS}": _course, "nbgrader autograde": _nbgrader}
        for name, way in list(ways.items())[: 1 if chosen.alone else 2]:
            seconds, score = way(chosen.copies, Path(folder))
            each = seconds / chosen.copies
            table.add_row(name, str(chosen.copies), f"{seconds:.1f}", f"{each:.2f}", score)
    table.add_row("aim", "", "", f"{AIM_PER_COPY:.2f}", "")
    Console().print(table)


def _course(copies: int, folder: Path) -> tuple[float, str]:
    image.ensure(engine.find())  # built once, before any class
    (folder / "copies").mkdir()
    for n in range(copies):
        content = labs.find("01").solution.read_bytes()
        (folder / f"copies/student{n:03}.ipynb").write_bytes(content)
    started = time.monotonic()
    results = grade("01", folder / "copies", folder / "out", jobs=JOBS)
    seconds = time.monotonic() - started
    return seconds, _only({f"{result.points} of {result.possible}" for result in results})


def _nbgrader(copies: int, folder: Path) -> tuple[float, str]:
    """As nbgrader's documentation has it: source, release, submitted, autograde."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    _uv("pip", "install", "--quiet", "--python", str(environment / "bin/python"), "nbgrader")
    env = os.environ | {
        "PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_PATH": str(_kernel(folder)),
    }
    course = folder / "course"
    lab = labs.find("01")
    _write(_for_nbgrader(lab), course / f"source/{NAME}/{NAME}.ipynb")
    for n in range(copies):
        _write(_for_nbgrader(lab), course / f"submitted/student{n:03}/{NAME}/{NAME}.ipynb")
    _run(["nbgrader", "generate_assignment", NAME, "--create"], course, env)
    started = time.monotonic()
    _run(["nbgrader", "autograde", NAME, "--create"], course, env)
    seconds = time.monotonic() - started
    asked = subprocess.run(
        ["python", "-c", SCORES, f"sqlite:///{course}/gradebook.db"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return seconds, _only(set(json.loads(asked.stdout)))


SCORES = f"""\
import json, sys
from nbgrader.api import Gradebook
with Gradebook(sys.argv[1]) as book:
    found = book.assignment_submissions({NAME!r})
    print(json.dumps([f"{{s.score:g}} of {{s.max_score:g}}" for s in found]))
"""


def _for_nbgrader(lab: labs.Lab) -> NotebookNode:
    """The solution without what needs an engine, with each check as a graded cell."""
    nb = new_notebook(metadata={"kernelspec": {"name": "course", "display_name": "course"}})
    nb.cells.append(new_code_cell(_target(lab)))
    solution = next(m for m in masters() if m.name == lab.name).notebook()
    for number, cell in enumerate(solution.cells):
        live = "docker" in cell.source.split("\n", 1)[-1] and "%%bash" in cell.source
        if cell.cell_type != "code" or live or "lesson." in cell.source:
            continue
        if "lab.check(" in cell.source:
            exercise = cell.source.partition('"')[2].partition('"')[0]
            kinds = [c for c in lab.checks if c.exercise == exercise and c.kind != "live"]
            if kinds:
                most = sum(check.points for check in kinds)
                nb.cells.append(_marked(f"points({exercise!r})", f"check-{exercise}", points=most))
        elif exercise_of(cell):
            nb.cells.append(_marked(cell.source, f"answer-{number}"))
        elif "lab." not in cell.source and "Lab(" not in cell.source:
            nb.cells.append(new_code_cell(cell.source))
    return nb


def _target(lab: labs.Lab) -> str:
    """A cell that defines what the graded cells call: the points of an exercise."""
    return f"""\
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from course.checks import judge, load
from course.lab import Notebook
checks = load(Path({str(lab.public_checks)!r}))
target = Notebook(Path.cwd(), {{}})
def points(exercise):
    return sum(judge(c, target).points for c in checks if c.exercise == exercise)
"""


def _marked(source: str, ident: str, points: int | None = None) -> NotebookNode:
    """A cell as nbgrader knows it: an answer, or a test with its points."""
    graded = points is not None
    marks = {
        "schema_version": 3,
        "grade_id": ident,
        "grade": graded,
        "solution": not graded,
        "locked": graded,
        "task": False,
    }
    if graded:
        marks["points"] = points
    return new_code_cell(source, metadata={"nbgrader": marks})


def _kernel(folder: Path) -> Path:
    """A place for Jupyter to find a kernel in the course's environment."""
    spec = folder / "jupyter/kernels/course/kernel.json"
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": argv, "display_name": "course", "language": "python"}))
    return folder / "jupyter"


def _write(nb: NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True)
    nbformat.write(nb, path)


def _run(command: list[str], folder: Path, env: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command} failed:\n{done.stderr[-3000:]}")


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True)


def _only(scores: set[str]) -> str:
    return ", ".join(sorted(scores))


if __name__ == "__main__":
    main()
