"""A lab small enough to be graded in a second, and copies of it."""

import json
from pathlib import Path

from grading.grade import grade
from grading.inside.limits import Limits
from grading.results import Result

LIMITS = Limits(cell_seconds=6, call_seconds=2, start_seconds=8, check_seconds=11, total_seconds=40)
"""Short, so that what never ends costs a test little."""

TITLE = "Tiny lab"

PING = "def ping(word):\n    return word + '!'"
MEAN = "def mean(values):\n    return sum(values) / len(values)"
APP = """%%writefile app.py
import sys
from flask import Flask, jsonify, request

app = Flask(__name__)

@app.get("/health")
def health():
    return jsonify(status="ok")

@app.post("/double")
def double():
    return jsonify(y=2 * request.get_json()["x"])

if __name__ == "__main__":
    app.run(port=int(sys.argv[1]))"""
DOCKERFILE = '%%writefile Dockerfile\nFROM python:3.13-slim\nUSER 1000\nCMD ["python"]'

ANSWERS = {"ex1": PING, "ex2": MEAN, "ex3": APP, "ex4": DOCKERFILE}
STUB = 'raise NotImplementedError("your code here")'
STUBS = {
    "ex1": f"def ping(word):\n    {STUB}",
    "ex2": f"def mean(values):\n    {STUB}",
    "ex3": f"%%writefile app.py\n{STUB}",
    "ex4": "%%writefile Dockerfile\nFROM python:3.13-slim\n# TODO: your lines here",
}

CHECKS = '''
from course.checks import check

STUBS = {
    "app.py": 'raise NotImplementedError("your code here")',
    "Dockerfile": "FROM python:3.13-slim\\n# TODO: your lines here",
}
SERVER = ["python", "app.py", "{port}"]


@check("ex1", points=2, kind="call")
def ping_answers(target):
    """ping repeats the word, with emphasis."""
    assert target.call("ping", "hello") == "hello!", "ping('hello') should give 'hello!'"


@check("ex2", points=1, kind="call")
def mean_of_three(target):
    """mean works for three numbers."""
    got = target.call("mean", [1, 2, 6])
    assert got == 3, f"mean([1, 2, 6]) gave {got}"


@check("ex2", points=1, kind="call")
def mean_of_one(target):
    """mean works for one number."""
    assert target.call("mean", [5]) == 5


@check("ex3", points=2, kind="http")
def doubles(target):
    """POST /double doubles."""
    with target.serve(SERVER, "/health") as client:
        answer = client.request("POST", "/double", json={"x": 21})
        assert answer.status_code == 200, f"status {answer.status_code}"
        assert answer.json() == {"y": 42}, f"it answered {answer.text}"


@check("ex4", points=1, kind="file")
def base_image(target):
    """The Dockerfile starts from Python 3.13."""
    assert target.read("Dockerfile").startswith("FROM python:3.13-slim")


@check("ex4", points=1, kind="file")
def not_root(target):
    """The container does not run as root."""
    lines = target.read("Dockerfile").splitlines()
    assert any(line.startswith("USER ") and line != "USER root" for line in lines)


@check("ex4", points=2, kind="live")
def container_runs(target):
    """The container runs."""
    assert target.docker().containers.list()
'''

PRIVATE = '''
from course.checks import check


@check("ex1", points=3, kind="call")
def secret_word(target):
    """ping works for another word."""
    assert target.call("ping", "s3cr3t") == "s3cr3t!"
'''


def cell(source: str, ident: str = "aaaa") -> dict:
    return {
        "cell_type": "code",
        "id": ident,
        "metadata": {"tags": [ident]} if ident.startswith("ex") else {},
        "execution_count": None,
        "outputs": [],
        "source": source,
    }


def notebook(answers: dict[str, str], before: str = "", after: str = "") -> dict:
    """A copy with these answers; ``before`` and ``after`` are cells of the student's."""
    setup = 'from course.lab import Lab\n\nlab = Lab("01_tiny")'
    cells = [{"cell_type": "markdown", "id": "text", "metadata": {}, "source": "# Tiny"}]
    cells.append(cell(setup))
    if before:
        cells.append(cell(before, "bbbb"))
    for exercise, source in answers.items():
        cells += [cell(source, exercise), cell(f'lab.check("{exercise}")', f"c{exercise}")]
    if after:
        cells.append(cell(after, "dddd"))
    return {
        "cells": cells,
        "metadata": {"course": {"title": TITLE}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def make_root(root: Path) -> Path:
    """A checkout with only this lab."""
    for folder in ("labs/checks", "solutions", "source/labs"):
        (root / folder).mkdir(parents=True)
    (root / "labs/01_tiny.ipynb").write_text(json.dumps(notebook(STUBS)))
    (root / "solutions/01_tiny.ipynb").write_text(json.dumps(notebook(ANSWERS)))
    (root / "labs/checks/01_tiny.py").write_text(CHECKS)
    (root / "source/labs/01_tiny.md").write_text("the solution and its secrets")
    return root


def submit(folder: Path, name: str, answers: dict[str, str], **cells: str) -> None:
    """Hand in a copy: the right answers, but for ``answers``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ipynb").write_text(json.dumps(notebook({**ANSWERS, **answers}, **cells)))


def grade_all(root: Path, folder: Path, out: Path, **options) -> dict[str, Result]:
    """Grade a folder of copies of this lab; the results by student."""
    options = {"jobs": 2, "limits": LIMITS} | options
    results = grade("01", folder, out, root=root, **options)
    return {result.submission.student: result for result in results}


def found(result: Result) -> dict[str, str]:
    """The status of each check of a result."""
    return {verdict.check.name: verdict.status for verdict in result.verdicts}
