"""Reading the masters in ``source/`` and deriving notebooks from them.

One master gives a lesson's notebook, or a lab's notebook, its solution and its
checks. Nothing here executes anything; ``authoring.build`` does.
"""

import hashlib
import re
import textwrap
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
import yaml
from nbformat import NotebookNode

from course import ROOT
from course.errors import CourseError
from course.execute import KERNEL

WORD = re.compile(r"\w{2,}|\d")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
FENCE = re.compile(r"^(`{3,})\{code-cell\}")
MAGIC = re.compile(r"%%(?:writefile\s+(?P<file>\S+)|(?P<shell>bash|sh)\b)")
SOLUTION = re.compile(rf"^([ \t]*){BEGIN}\n(.*?)^[ \t]*{END}$", re.DOTALL | re.MULTILINE)
EXERCISE = re.compile(r"ex\d+")
BACKSTAGE = re.compile(r"checks|(?:hint|wrong)-ex\d+")
"""Tags of a lab's cells that are in neither of its notebooks."""


@dataclass(frozen=True)
class Wrong:
    """An answer that students really give, to try the checks on.

    Attributes:
        exercise: the exercise's id.
        title: the mistake, in words.
        stub: which of the exercise's stubs it takes the place of, from 1.
        source: what it says there.
        fails: the names of the checks that it must fail, and no others.
    """

    exercise: str
    title: str
    stub: int
    source: str
    fails: frozenset[str]


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

    def checks_path(self, root: Path) -> Path:
        """Where a lab's hints and checks go."""
        return root / "labs/checks" / f"{self.name}.py"

    def notebook(self) -> NotebookNode:
        """The notebook with all its inputs and no outputs.

        Cell ids are hashes of the content (an exercise's own id in a lab), so
        that the same source always gives the same bytes.

        Raises:
            CourseError: the file is not a notebook in MyST Markdown, or a solution
                marker is not closed; names the file and the line.
        """
        text, nb = self._read()
        self._check_markers(text)
        nb.metadata = nbformat.from_dict(
            {"kernelspec": KERNEL, "course": _front_matter(text, self.shown)}
        )
        nb.nbformat, nb.nbformat_minor = 4, 5
        nb.cells = [cell for cell in nb.cells if not _tag(cell, BACKSTAGE)]
        seen: Counter[str] = Counter()
        for cell in nb.cells:
            digest = hashlib.sha256(f"{self.name}{cell.cell_type}{cell.source}".encode())
            key = _tag(cell, EXERCISE) or digest.hexdigest()[:8]
            seen[key] += 1
            cell.id = key if seen[key] == 1 else f"{key}-{seen[key]}"
            tags = cell.metadata.get("tags")
            cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        return nb

    def exercises(self) -> list[str]:
        """The ids of the lab's exercises, in order."""
        return list(dict.fromkeys(filter(None, (_tag(c, EXERCISE) for c in self._read()[1].cells))))

    def hints(self) -> dict[str, list[str]]:
        """The hints for each exercise, in the order in which they are given."""
        found: dict[str, list[str]] = {}
        for cell in self._read()[1].cells:
            if tag := _tag(cell, re.compile(r"hint-ex\d+")):
                found.setdefault(tag.removeprefix("hint-"), []).append(cell.source)
        return found

    def wrong_answers(self) -> list[Wrong]:
        """The lab's wrong answers, in order."""
        return [
            Wrong(
                tag.removeprefix("wrong-"),
                cell.metadata.get("title", ""),
                cell.metadata.get("stub", 1),
                cell.source,
                frozenset(cell.metadata.get("fails", [])),
            )
            for cell in self._read()[1].cells
            if (tag := _tag(cell, re.compile(r"wrong-ex\d+")))
        ]

    def checks(self) -> str:
        """The text of the lab's Python file of hints, stubs and checks, empty if it has none."""
        code = [cell.source for cell in self._read()[1].cells if _tag(cell, re.compile("checks"))]
        if not code:
            return ""
        head = (
            f'"""Hints and checks of the lab {self.name}.\n\n'
            f'Made by `course build` from {self.shown}: edit that instead.\n"""\n\n'
        )
        hints = [
            f'    "{exercise}": [\n'
            + "".join(f"        {_literal(h)},\n" for h in stages)
            + "    ],\n"
            for exercise, stages in self.hints().items()
        ]
        stubs = [
            f'    "{file}": {_literal(text)},\n'
            for file, text in _files_with_stubs(self.notebook()).items()
        ]
        data = f"HINTS = {_dict(hints)}\n\nSTUBS = {_dict(stubs)}\n"
        return head + "\n\n\n".join([*code, data])

    def line_of_code_cell(self, index: int) -> int:
        """The line in the file where the ``index``-th code cell of the notebook opens, from 0."""
        text, nb = self._read()
        opening = (n for n, line in enumerate(text.splitlines(), 1) if FENCE.match(line))
        code = (cell for cell in nb.cells if cell.cell_type == "code")
        shown = [n for n, cell in zip(opening, code, strict=True) if not _tag(cell, BACKSTAGE)]
        return shown[index]

    def _read(self) -> tuple[str, NotebookNode]:
        """The file's text, and the notebook with all cells that it holds."""
        text = self.path.read_text()
        try:
            return text, jupytext.reads(text, fmt="md:myst")
        except Exception as error:  # jupytext raises what its parsers raise
            raise CourseError(f"{self.shown}: {error}") from None

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


def with_wrong_answer(nb: NotebookNode, wrong: Wrong) -> NotebookNode:
    """A copy of a lab's solution ``nb`` with one of its answers replaced by ``wrong``."""
    nb = nbformat.from_dict(nb)
    stub = 0
    for cell in nb.cells:
        if _tag(cell, EXERCISE) != wrong.exercise:
            continue
        for match in SOLUTION.finditer(cell.source):
            stub += 1
            if stub == wrong.stub:
                answer = textwrap.indent(wrong.source, match[1])
                cell.source = cell.source[: match.start()] + answer + cell.source[match.end() :]
                return nb
    raise CourseError(f"{wrong.exercise} has {stub} stubs, so none is number {wrong.stub}.")


def solution_lines(nb: NotebookNode) -> set[str]:
    """The lines of a lab's solutions that say something and that students are not given.

    Lines of fewer than three words, such as ``if known:``, say nothing.
    """
    given = {line.strip() for cell in without_solutions(nb).cells for line in _code(cell)}
    solved = {line.strip() for cell in nb.cells for line in _code(cell)}
    return {line for line in solved - given - {BEGIN, END} if len(WORD.findall(line)) >= 3}


def _code(cell: NotebookNode) -> list[str]:
    return cell.source.splitlines() if cell.cell_type == "code" else []


def _tag(cell: NotebookNode, pattern: re.Pattern[str]) -> str | None:
    """The first of the cell's tags that is of ``pattern``."""
    tags = cell.metadata.get("tags", [])
    return next((tag for tag in tags if pattern.fullmatch(tag)), None)


def _files_with_stubs(nb: NotebookNode) -> dict[str, str]:
    """The files that a lab's answer cells write before anything is answered."""
    pairs = zip(nb.cells, without_solutions(nb).cells, strict=True)
    changed = [lab.source for solved, lab in pairs if lab.source != solved.source]
    matches = [(MAGIC.match(source), source) for source in changed]
    return {m["file"]: s.partition("\n")[2] + "\n" for m, s in matches if m and m["file"]}


def _literal(text: str) -> str:
    """``text`` as a Python literal that keeps its lines."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"""')
    return f'"""\\\n{escaped}"""'


def _dict(entries: list[str]) -> str:
    """A Python dict display of ``entries``, each a line of its own."""
    return "{\n" + "".join(entries) + "}" if entries else "{}"


def _cut_solutions(source: str) -> str:
    return SOLUTION.sub(lambda match: match[1] + _stub(source), source)


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
