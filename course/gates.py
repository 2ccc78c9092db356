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

from course.build import dumps, inputs
from course.execute import EXPECTED_ERROR, code_cells, tags
from course.source import masters, without_solutions

MAX_NOTEBOOK_KB = 1000
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
    for path in _notebooks(root):
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
    texts = [*root.glob("*.md"), root / "source", root / "course"]
    names = [str(path.relative_to(root)) for path in texts if path.exists()]
    yield from _tool("codespell", "--builtin", "clear,en-GB_to_en-US", *names, cwd=root)


def lint(root: Path) -> Iterator[str]:
    """Ruff accepts the code in the notebooks."""
    folders = [name for name in ("notebooks", "labs", "solutions") if (root / name).is_dir()]
    yield from _tool("ruff", "check", "--quiet", "--output-format=concise", *folders, cwd=root)


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


def check(root: Path) -> list[str]:
    """Everything that the gates find wrong in the checkout ``root``."""
    return [line for gate in GATES for line in gate(root)]


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
