"""What ``course build --check`` looks at: none of it needs a kernel or an engine.

Each gate takes the root of a checkout and yields one line for each thing that is
wrong, naming the file and what to do.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat

from authoring import guide
from authoring.build import dumps, inputs
from authoring.source import masters, solution_lines, without_solutions
from course.checks import load
from course.execute import EXPECTED_ERROR, code_cells, tags

MAX_NOTEBOOK_KB = 1000
HINTS, WRONG_ANSWERS = 2, 3
HOME = re.compile(r"(/home|/Users)/[\w.-]+|C:\\\\?Users")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def in_sync(root: Path) -> Iterator[str]:
    """Every notebook comes from its master, and nothing else is there."""
    expected = set()
    for master in masters(root):
        notebook = master.notebook()
        executed = master.executed_path(root)
        expected.add(executed)
        if not executed.exists() or inputs(_read(executed)) != inputs(notebook):
            yield _stale(executed, root, master.name)
        if master.lab:
            lab = master.lab_path(root)
            expected.add(lab)
            if not lab.exists() or lab.read_text() != dumps(without_solutions(notebook)):
                yield _stale(lab, root, master.name)
            if text := master.checks():
                checks = master.checks_path(root)
                expected.add(checks)
                if not checks.exists() or checks.read_text() != text:
                    yield _stale(checks, root, master.name)
    text, page = guide.guide(root), root / guide.PATH
    if text and (not page.exists() or page.read_text() != text):
        yield f"{guide.PATH}: is not what source/ says. Run `course build`."
    for path in [*_notebooks(root), *sorted(root.glob("labs/checks/*.py"))]:
        if path not in expected:
            yield f"{path.relative_to(root)}: has no source in source/. Delete it, or add one."


def executed_in_order(root: Path) -> Iterator[str]:
    """Execution counts of stored outputs are 1 to n, so nothing ran twice or not."""
    for path in _executed(root):
        counts = [cell.execution_count for cell in code_cells(_read(path))]
        if counts != list(range(1, len(counts) + 1)):
            yield f"{path.relative_to(root)}: cells were not executed in order. Build it again."


def no_unexpected_error(root: Path) -> Iterator[str]:
    """Only cells tagged ``raises-exception`` show an error."""
    for path in _executed(root):
        for number, cell in enumerate(code_cells(_read(path)), 1):
            failed = any(output.output_type == "error" for output in cell.outputs)
            if failed and EXPECTED_ERROR not in tags(cell):
                yield f"{path.relative_to(root)}: code cell {number} shows an error."


def no_home_path(root: Path) -> Iterator[str]:
    """No path of anyone's home is in a notebook."""
    for path in _notebooks(root):
        if found := HOME.search(path.read_text()):
            yield (
                f"{path.relative_to(root)}: names a path of somebody's home, {found[0]}. "
                "Print less, or a relative path."
            )


def small_enough(root: Path) -> Iterator[str]:
    """Notebooks stay small enough to review and to load in a browser."""
    for path in _notebooks(root):
        kb = path.stat().st_size // 1000
        if kb > MAX_NOTEBOOK_KB:
            yield (
                f"{path.relative_to(root)}: {kb} kB, more than {MAX_NOTEBOOK_KB}. "
                "Make its pictures smaller."
            )


def links_resolve(root: Path) -> Iterator[str]:
    """Every relative link in a notebook's text leads to a file."""
    for path in _notebooks(root):
        for cell in _read(path).cells:
            targets = LINK.findall(cell.source) if cell.cell_type == "markdown" else []
            for target in targets:
                if not (path.parent / target).exists():
                    yield f"{path.relative_to(root)}: the link to {target} leads nowhere."


def spelling(root: Path) -> Iterator[str]:
    """No known misspelling, and American spelling throughout."""
    folders = ("source", "course", "authoring", "grading")
    texts = [*root.glob("*.md"), *(root / folder for folder in folders)]
    names = [str(path.relative_to(root)) for path in texts if path.exists()]
    yield from _tool("codespell", "--builtin", "clear,en-GB_to_en-US", *names, cwd=root)


def lint(root: Path) -> Iterator[str]:
    """Ruff accepts the code in the notebooks."""
    folders = [name for name in ("notebooks", "labs", "solutions") if (root / name).is_dir()]
    yield from _tool("ruff", "check", "--quiet", "--output-format=concise", *folders, cwd=root)


def labs_are_complete(root: Path) -> Iterator[str]:
    """Each exercise of a lab with points has hints, checks and wrong answers."""
    for master in masters(root):
        points = master.notebook().metadata.course.get("points")
        path = master.checks_path(root)
        if points is None and not master.checks():
            continue
        checks = load(path) if path.exists() else []
        total = sum(check.points for check in checks)
        if total != points:
            yield f"{master.shown}: its checks give {total} points, its head says {points}."
        for exercise in master.exercises():
            names = {check.name for check in checks if check.exercise == exercise}
            if not names:
                yield f"{master.shown}: {exercise} has no check."
            hints = len(master.hints().get(exercise, []))
            if hints != HINTS:
                yield f"{master.shown}: {exercise} has {hints} hints. It needs {HINTS}."
            wrong = [w for w in master.wrong_answers() if w.exercise == exercise]
            if len(wrong) < WRONG_ANSWERS:
                yield (
                    f"{master.shown}: {exercise} has {len(wrong)} wrong answers. "
                    f"It needs {WRONG_ANSWERS}."
                )
            for answer in wrong:
                if not answer.fails & names:
                    yield f"{master.shown}: '{answer.title}' fails no check of {exercise}."
                for name in answer.fails - {check.name for check in checks}:
                    yield f"{master.shown}: '{answer.title}' names no check with {name}."


def no_solution_shown(root: Path) -> Iterator[str]:
    """No line of a lab's solution is in a file that students get."""
    for master in (master for master in masters(root) if master.lab):
        secret = solution_lines(master.notebook())
        for path in [*sorted(root.glob("labs/*.ipynb")), *sorted(root.glob("labs/checks/*.py"))]:
            shown = path.read_text()
            if path.suffix == ".ipynb":
                shown = "\n".join(cell.source for cell in _read(path).cells)
            for line in sorted(line for line in secret if line in shown):
                yield f"{path.relative_to(root)}: shows a line of {master.shown}'s solution: {line}"


GATES: list[Callable[[Path], Iterator[str]]] = [
    in_sync,
    executed_in_order,
    no_unexpected_error,
    no_home_path,
    small_enough,
    links_resolve,
    spelling,
    lint,
]
LAB_GATES: list[Callable[[Path], Iterator[str]]] = [labs_are_complete, no_solution_shown]


def check(root: Path) -> list[str]:
    """Everything that the gates find wrong in the checkout ``root``."""
    return [line for gate in [*GATES, *LAB_GATES] for line in gate(root)]


def _read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def _executed(root: Path) -> list[Path]:
    return sorted([*root.glob("notebooks/*.ipynb"), *root.glob("solutions/*.ipynb")])


def _notebooks(root: Path) -> list[Path]:
    return [*_executed(root), *sorted(root.glob("labs/*.ipynb"))]


def _stale(path: Path, root: Path, name: str) -> str:
    return f"{path.relative_to(root)}: differs from its source. Run `course build {name}`."


def _tool(*command: str, cwd: Path) -> list[str]:
    """The lines that a checker of this environment prints when it finds something."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent))
    done = subprocess.run([program, *command[1:]], cwd=cwd, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines if done.returncode else []
