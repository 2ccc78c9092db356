"""Running one notebook from top to bottom with papermill."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from course.errors import CourseError

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
EXPECTED_ERROR = "raises-exception"
PAPERMILL_NOTE = "papermill-error-cell-tag"
# A kernel warns that who sees this machine's loopback sees what it says.
QUIET = ["--log-level=ERROR"]


@dataclass(frozen=True)
class Failure:
    """The first cell that failed.

    Attributes:
        index: which code cell, from 0.
        message: the exception's name and text, and the last lines that the cell
            wrote to standard error.
    """

    index: int
    message: str


def execute(nb: NotebookNode, *, progress: bool = False) -> tuple[NotebookNode, Failure | None]:
    """Run every cell of ``nb`` in an empty folder, up to the first that fails.

    A cell tagged ``raises-exception`` may fail. Papermill itself has no such tag:
    it runs on, then reports the error all the same, so its report is checked here.

    Args:
        nb: the notebook; it is not changed.
        progress: whether to show a progress bar.

    Returns:
        The notebook with its outputs, and the failure if there was one.

    Raises:
        CourseError: no kernel could be started.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.ipynb"), Path(folder, "out.ipynb")
        work = Path(folder, "work")
        work.mkdir()
        nbformat.write(nb, source)
        try:
            papermill.execute_notebook(
                source, target, cwd=work, progress_bar=progress, extra_arguments=QUIET
            )
        except PapermillExecutionError:
            pass  # whether it was expected is decided below
        except RuntimeError as error:
            raise CourseError(f"The notebook's kernel did not start or died: {error}") from None
        done = nbformat.read(target, as_version=4)
    done.cells = [c for c in done.cells if PAPERMILL_NOTE not in tags(c)]
    return done, _first_failure(done)


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    """The code cells of a notebook, in order."""
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def error_of(cell: NotebookNode) -> str:
    """How an executed cell failed, with the last lines of its standard error; or nothing."""
    said = "".join(o.text for o in cell.outputs if o.get("name") == "stderr")
    for output in cell.outputs:
        if output.output_type == "error":
            last_lines = said.strip().splitlines()[-5:]
            return "\n".join([f"{output.ename}: {output.evalue}", *last_lines])
    return ""


def _first_failure(nb: NotebookNode) -> Failure | None:
    for index, cell in enumerate(code_cells(nb)):
        message = error_of(cell)
        if message and EXPECTED_ERROR not in tags(cell):
            return Failure(index, message)
    return None
