"""Making what students get: the lab's notebook and its public checks, nothing else."""

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

from authoring.source import BEGIN, END
from course import ROOT
from grading import labs
from grading.labs import Lab, exercise_of

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Zip's first date: the same lab gives the same bytes."""


def release(name: str, out: Path, *, checkpoint: str | None = None, root: Path = ROOT) -> Path:
    """Write the bundle of a lab as a zip file and return its path.

    Args:
        name: the lab, such as ``01``.
        out: the folder for the file.
        checkpoint: an exercise. The answers before it are filled in, and the
            notebook's metadata says that their points are forfeited. A student can
            remove that: give `course grade` the same checkpoint for these copies.
        root: the checkout.

    Raises:
        CourseError: there is no such lab or exercise.
    """
    lab = labs.find(name, root)
    lab.require_exercise(checkpoint)
    notebook = _up_to(lab, checkpoint) if checkpoint else lab.document
    contents = {
        f"labs/{lab.notebook.name}": json.dumps(notebook, indent=1, ensure_ascii=False) + "\n",
        f"labs/checks/{lab.public_checks.name}": lab.public_checks.read_text(),
    }
    out.mkdir(parents=True, exist_ok=True)
    path = out / (f"{lab.name}-from-{checkpoint}.zip" if checkpoint else f"{lab.name}.zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        for inner, text in contents.items():
            info = zipfile.ZipInfo(inner, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(info, text)
    return path


def _up_to(lab: Lab, checkpoint: str) -> dict[str, Any]:
    """The lab's notebook with the answers before ``checkpoint``, and a note of it."""
    solved = json.loads(lab.solution.read_text())
    answers = {cell["id"]: _without_markers(cell["source"]) for cell in solved["cells"]}
    given = lab.exercises[: lab.exercises.index(checkpoint)]
    notebook = copy.deepcopy(lab.document)
    notebook["metadata"]["course"]["checkpoint"] = checkpoint
    for cell in notebook["cells"]:
        if exercise_of(cell) in given:
            cell["source"] = answers[cell["id"]]
    return notebook


def _without_markers(source: str | list[str]) -> str:
    lines = "".join(source).splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() not in (BEGIN, END))
