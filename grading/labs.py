"""A lab as the grader sees it: its notebook, its checks, its solution."""

import ast
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from course import ROOT
from course.checks import Check
from course.errors import CourseError
from grading.inside import checklist

EXERCISE = re.compile(r"ex\d+")
_REQUIREMENTS = re.compile(r"%%writefile \S*requirements\.txt\n(.*)", re.DOTALL)


@dataclass(frozen=True)
class Lab:
    """One lab of a checkout.

    Attributes:
        name: its stem, such as ``01_fraud_container``.
        root: the checkout.
        tests: the folder with an instructor's own checks, if any.
    """

    name: str
    root: Path
    tests: Path | None = None

    @property
    def notebook(self) -> Path:
        """The notebook that students get."""
        return self.root / "labs" / f"{self.name}.ipynb"

    @property
    def solution(self) -> Path:
        """The notebook with the answers."""
        return self.root / "solutions" / f"{self.name}.ipynb"

    @property
    def public_checks(self) -> Path:
        """The checks that students get."""
        return self.root / "labs/checks" / f"{self.name}.py"

    @property
    def check_files(self) -> list[Path]:
        """The checks for marks: the public ones, then the instructor's."""
        own = [self.tests / self.public_checks.name] if self.tests else []
        return [self.public_checks, *own]

    @cached_property
    def checks(self) -> list[Check]:
        """All checks, exercise by exercise."""
        found = list(checklist.load(self.check_files)[0].values())
        exercises = list(dict.fromkeys(check.exercise for check in found))
        return sorted(found, key=lambda check: exercises.index(check.exercise))

    @cached_property
    def document(self) -> dict[str, Any]:
        """The notebook's JSON."""
        return json.loads(self.notebook.read_text())

    @property
    def title(self) -> str:
        """The title in the notebook's metadata."""
        return self.document["metadata"]["course"]["title"]

    @property
    def number(self) -> str:
        """Its number, such as ``01``."""
        return self.name[:2]

    @property
    def live(self) -> list[str]:
        """The exercises whose points for running systems can be graded."""
        return self.document["metadata"]["course"].get("live", [])

    @property
    def exercises(self) -> list[str]:
        """The ids of the exercises, in the notebook's order."""
        return list(dict.fromkeys(filter(None, map(exercise_of, self.document["cells"]))))

    @property
    def sources(self) -> list[str]:
        """The code of the notebook's cells."""
        return ["".join(cell["source"]) for cell in self.document["cells"]]

    @property
    def installs(self) -> str:
        """What the requirements.txt that the notebook writes asks for, or nothing."""
        found = filter(None, map(_REQUIREMENTS.match, self.sources))
        return "".join(f"{written[1]}\n" for written in found)

    @property
    def packages(self) -> list[str]:
        """The modules that the notebook's own cells import."""
        return sorted(set().union(*map(_imports, self.document["cells"])))

    def require_exercise(self, exercise: str | None) -> None:
        """Raise CourseError unless the lab has ``exercise``, or it is None."""
        if exercise not in [None, *self.exercises]:
            raise CourseError(
                f"{self.name} has no exercise {exercise}.", f"It has {', '.join(self.exercises)}."
            )


def find(name: str, root: Path = ROOT, tests: Path | None = None) -> Lab:
    """The lab whose name starts with ``name``.

    Args:
        name: such as ``01``.
        root: the checkout.
        tests: a folder with a checks file of the same name as the public one.

    Raises:
        CourseError: there is none, or no such file in ``tests``.
    """
    paths = sorted((root / "labs").glob("*.ipynb"))
    path = next((path for path in paths if path.stem.startswith(name)), None)
    if not path:
        known = ", ".join(path.stem for path in paths) or "none"
        raise CourseError(f"There is no lab {name}.", f"There are: {known}.")
    lab = Lab(path.stem, root, tests)
    for file in lab.check_files:
        if not file.is_file():
            raise CourseError(
                f"There are no checks for the lab {lab.name} in {file.parent}.",
                f"They must be in a file called {file.name}.",
            )
    return lab


def exercise_of(cell: dict[str, Any]) -> str | None:
    """The exercise that a cell of our own notebooks belongs to, or None."""
    marks = [cell.get("id", "").partition("-")[0], *cell["metadata"].get("tags", [])]
    return next(filter(EXERCISE.fullmatch, marks), None)


def _imports(cell: dict[str, Any]) -> set[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return set()
    # The code of a %%writefile cell is worth looking at too: servers are in them.
    code = "\n".join("" if line.startswith("%") else line for line in source.splitlines())
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:  # another language, or a line magic in a block
        return set()
    plain = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    origins = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return {name for name in plain | origins if name.split(".")[0] != "course"}
