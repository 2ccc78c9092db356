"""Reading the masters in ``source/`` and deriving notebooks from them.

One master gives a lesson's notebook, or a lab's notebook and its solution. Nothing
here executes anything; ``course.build`` does.
"""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from course import ROOT
from course.errors import CourseError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
FENCE = re.compile(r"^(`{3,})\{code-cell\}")
MAGIC = re.compile(r"%%(?:writefile\s+(?P<file>\S+)|(?P<shell>bash|sh)\b)")


@dataclass(frozen=True)
class Master:
    """One file below ``source/``.

    Attributes:
        path: the file.
        lab: whether it is a lab, which has a solution beside it.
    """

    path: Path
    lab: bool

    @property
    def name(self) -> str:
        """The stem that all its notebooks share, such as ``01_docker``."""
        return self.path.stem

    @property
    def shown(self) -> str:
        """The path for messages, from ``source/`` on."""
        return "/".join(self.path.parts[-3:])

    def executed_path(self, root: Path) -> Path:
        """Where the executed notebook goes: the lesson, or the lab's solution."""
        return root / ("solutions" if self.lab else "notebooks") / f"{self.name}.ipynb"

    def lab_path(self, root: Path) -> Path:
        """Where a lab's notebook without its solutions goes."""
        return root / "labs" / f"{self.name}.ipynb"

    def notebook(self) -> NotebookNode:
        """The notebook with all its inputs and no outputs.

        Cell ids are hashes of the content (an exercise's own id in a lab), so
        that the same source always gives the same bytes.

        Raises:
            CourseError: the file is not a notebook in MyST Markdown, or a solution
                marker is not closed; names the file and the line.
        """
        text = self.path.read_text()
        try:
            nb = jupytext.reads(text, fmt="md:myst")
        except Exception as error:  # jupytext raises what its parsers raise
            raise CourseError(f"{self.shown}: {error}") from None
        self._check_markers(text)
        nb.metadata = nbformat.from_dict(
            {"kernelspec": KERNEL, "course": _front_matter(text, self.shown)}
        )
        nb.nbformat, nb.nbformat_minor = 4, 5
        seen: Counter[str] = Counter()
        for cell in nb.cells:
            tags = cell.metadata.get("tags", [])
            digest = hashlib.sha256(f"{self.name}{cell.cell_type}{cell.source}".encode())
            key = next((t for t in tags if re.fullmatch(r"ex\d+", t)), digest.hexdigest()[:8])
            seen[key] += 1
            cell.id = key if seen[key] == 1 else f"{key}-{seen[key]}"
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        return nb

    def line_of_code_cell(self, index: int) -> int:
        """The line in the file where the ``index``-th code cell (from 0) opens."""
        lines = self.path.read_text().splitlines()
        return [n for n, line in enumerate(lines, 1) if FENCE.match(line)][index]

    def _check_markers(self, text: str) -> None:
        """Solution markers come in pairs, inside one cell, and only in labs."""
        opened = 0
        for number, line in enumerate(text.splitlines(), 1):
            marker = line.strip()
            where = f"{self.shown}:{number}"
            if marker in (BEGIN, END) and not self.lab:
                raise CourseError(f"{where}: a lesson has no solutions to cut out.")
            if marker == BEGIN and opened:
                raise CourseError(f"{where}: a solution opens inside that of line {opened}.")
            if marker == END and not opened:
                raise CourseError(f"{where}: this marker closes no solution.")
            if opened and line.startswith("```"):
                raise CourseError(
                    f"{self.shown}:{opened}: this solution is not closed "
                    f"before its cell ends in line {number}.",
                    f"Add a line `{END}`.",
                )
            if marker in (BEGIN, END):
                opened = number if marker == BEGIN else 0


def masters(root: Path = ROOT) -> list[Master]:
    """All masters, lessons first, each kind in order."""
    lessons = sorted((root / "source/notebooks").glob("*.md"))
    labs = sorted((root / "source/labs").glob("*.md"))
    return [Master(path, False) for path in lessons] + [Master(path, True) for path in labs]


def without_solutions(nb: NotebookNode) -> NotebookNode:
    """A copy of ``nb`` as students get it: solutions become stubs, outputs go."""
    nb = nbformat.from_dict(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.source = _cut_solutions(cell.source)
            cell.outputs, cell.execution_count = [], None
    return nb


def _cut_solutions(source: str) -> str:
    block = re.compile(rf"^([ \t]*){BEGIN}\n.*?^[ \t]*{END}$", re.DOTALL | re.MULTILINE)
    return block.sub(lambda match: match[1] + _stub(source), source)


def _stub(source: str) -> str:
    """What stands where a solution was, in the language of the cell."""
    magic = MAGIC.match(source)
    python = not magic or (magic["file"] or "").endswith(".py")
    return 'raise NotImplementedError("your code here")' if python else "# TODO: your lines here"


def _front_matter(text: str, shown: str) -> dict:
    """The ``course`` part of the file's head: title, minutes, memory, needs."""
    parts = text.split("---\n", 2)
    head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else {}
    if not isinstance(head.get("course"), dict):
        raise CourseError(
            f"{shown}:1: the head has no `course:` with title, minutes and needs.",
            "See CONTRIBUTING.md, 'The head of a lesson'.",
        )
    return head["course"]
