"""``course run``: every notebook executed headlessly, with a report of what happened."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from rich.console import Console
from rich.table import Table

from course import ROOT
from course.errors import CourseError
from course.execute import code_cells, execute


@dataclass(frozen=True)
class Result:
    """One notebook's run.

    Attributes:
        notebook: its path in the checkout.
        cells: how many code cells it has.
        seconds: how long all of it took.
        slowest_cell: the code cell that took longest, from 1.
        slowest_seconds: how long that one took.
        failure: what failed and in which cell, empty if nothing did.
    """

    notebook: str
    cells: int
    seconds: float
    slowest_cell: int
    slowest_seconds: float
    failure: str


def notebooks(names: list[str], root: Path = ROOT) -> list[Path]:
    """The notebooks called ``names`` (``01`` or ``01_docker``), or all of them.

    Raises:
        CourseError: there is no notebook of such a name.
    """
    found = sorted([*root.glob("notebooks/*.ipynb"), *root.glob("solutions/*.ipynb")])
    for name in names:
        if not any(path.stem.startswith(name) for path in found):
            known = ", ".join(path.stem for path in found)
            raise CourseError(f"There is no notebook {name}.", f"There are: {known}.")
    return [p for p in found if not names or any(p.stem.startswith(n) for n in names)]


def run(paths: list[Path], reports: Path, root: Path = ROOT) -> list[Result]:
    """Execute ``paths`` one after the other; a failing one does not stop the rest.

    Writes to ``reports`` the executed notebook and an HTML copy of each, and
    ``summary.json`` and ``summary.md`` of all.
    """
    reports.mkdir(parents=True, exist_ok=True)
    results = []
    for path in paths:
        started = time.monotonic()
        print(path.relative_to(root))
        done, failure = execute(nbformat.read(path, as_version=4), progress=True)
        seconds = time.monotonic() - started
        nbformat.write(done, reports / path.name)
        html, _ = HTMLExporter().from_notebook_node(done)
        (reports / f"{path.stem}.html").write_text(html)
        message = f"code cell {failure.index + 1}: {failure.message}" if failure else ""
        slowest, slowest_seconds = _slowest(done)
        results.append(
            Result(
                str(path.relative_to(root)),
                len(code_cells(done)),
                round(seconds, 1),
                slowest,
                slowest_seconds,
                message,
            )
        )
    _write_summary(results, reports)
    return results


def show(results: list[Result], console: Console) -> None:
    """Print the table of timings."""
    table = Table(title="Notebooks")
    for heading in ("notebook", "cells", "seconds", "slowest cell", "result"):
        table.add_column(heading, justify="right" if heading in ("cells", "seconds") else "left")
    for r in results:
        slowest = f"{r.slowest_cell} ({r.slowest_seconds} s)"
        outcome = f"[red]{r.failure}[/]" if r.failure else "[green]passed[/]"
        table.add_row(r.notebook, str(r.cells), str(r.seconds), slowest, outcome)
    console.print(table)


def _slowest(nb: nbformat.NotebookNode) -> tuple[int, float]:
    """The number, from 1, and the seconds of the slowest code cell."""
    durations = [
        (cell.metadata.get("papermill", {}).get("duration") or 0.0, number)
        for number, cell in enumerate(code_cells(nb), 1)
    ]
    seconds, number = max(durations, default=(0.0, 0))
    return number, round(seconds, 1)


def _write_summary(results: list[Result], reports: Path) -> None:
    listed = [asdict(result) for result in results]
    (reports / "summary.json").write_text(json.dumps(listed, indent=2) + "\n")
    lines = ["| notebook | cells | seconds | result |", "|---|---:|---:|---|"]
    for r in results:
        outcome = r.failure.splitlines()[0] if r.failure else "passed"
        lines.append(f"| {r.notebook} | {r.cells} | {r.seconds} | {outcome} |")
    (reports / "summary.md").write_text("\n".join(lines) + "\n")
