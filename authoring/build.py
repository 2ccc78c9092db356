"""Writing the notebooks that students open, from the masters in ``source/``."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbval.plugin import get_sanitize_patterns

from authoring.source import Master, without_solutions
from course import ROOT
from course.errors import CourseError
from course.execute import code_cells, execute, tags

IGNORE_OUTPUT = "nbval-ignore-output"


def build(master: Master, root: Path = ROOT) -> list[Path]:
    """Execute ``master`` and write its notebooks; return the files that changed.

    A stored file stays as it is where it has the same inputs and, once sanitized
    by ``nbval.cfg``, the same outputs: a second build changes nothing. A lab's checks
    are written first, since its notebook calls them.

    Raises:
        CourseError: the source is broken or a cell failed; names the file, the
            line and the cell. No notebook has been written then.
    """
    changed = _write_checks(master, root)
    fresh, failure = execute(master.notebook(), progress=True)
    if failure:
        line = master.line_of_code_cell(failure.index)
        raise CourseError(
            f"{master.shown}:{line}: code cell {failure.index + 1} failed:\n{failure.message}",
            "The notebooks stay as they were.",
        )
    files = {master.executed_path(root): _only_what_lasts(fresh)}
    if master.lab:
        files[master.lab_path(root)] = without_solutions(master.notebook())
    same = _comparison(root)
    for path, notebook in files.items():
        if path.exists() and same(nbformat.read(path, as_version=4), notebook):
            continue
        path.parent.mkdir(exist_ok=True)
        path.write_text(dumps(notebook))
        changed.append(path)
    return changed


def dumps(nb: NotebookNode) -> str:
    """``nb`` as the text of a file."""
    return nbformat.writes(nb, version=4) + "\n"


def inputs(nb: NotebookNode) -> list:
    """What a notebook is apart from its outputs, to compare two of them."""
    return [nb.metadata, *((c.cell_type, c.id, c.source, c.metadata) for c in nb.cells)]


def _write_checks(master: Master, root: Path) -> list[Path]:
    path, text = master.checks_path(root), master.checks()
    if not text or (path.exists() and path.read_text() == text):
        return []
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [path]


def _only_what_lasts(nb: NotebookNode) -> NotebookNode:
    """``nb`` without what differs from run to run: times, versions, pieces of streams."""
    nb, _ = CoalesceStreamsPreprocessor().preprocess(nb, {})
    kept = {key: nb.metadata[key] for key in ("kernelspec", "course")}
    nb.metadata = nbformat.from_dict(kept)
    for cell in nb.cells:
        cell.metadata = nbformat.from_dict({"tags": tags(cell)} if tags(cell) else {})
    return nb


def _comparison(root: Path) -> Callable[[NotebookNode, NotebookNode], bool]:
    """Whether two notebooks are the same as nbval would see it."""
    rules = get_sanitize_patterns((root / "nbval.cfg").read_text())

    def sanitize(value: object) -> object:
        if isinstance(value, str):
            for pattern, replacement in rules:
                value = re.sub(pattern, replacement, value)
            return value
        if isinstance(value, list):
            return [sanitize(item) for item in value]
        if isinstance(value, dict):
            # Pictures are not compared: cells assert on the values they show.
            return {k: sanitize(v) for k, v in value.items() if k != "image/png"}
        return value

    def outputs(nb: NotebookNode) -> list:
        compared = [c for c in code_cells(nb) if IGNORE_OUTPUT not in tags(c)]
        return [sanitize(cell.outputs) for cell in compared]

    return lambda a, b: inputs(a) == inputs(b) and outputs(a) == outputs(b)
