"""Reading what was handed in, and finding out what is wrong with it."""

import json
from dataclasses import dataclass
from typing import Any


class NotGradable(Exception):
    """The file cannot be graded; says why, and what the student may do."""


@dataclass(frozen=True)
class Cell:
    """A code cell.

    Attributes:
        label: what messages call it: its exercise, or its place.
        source: its code.
    """

    label: str
    source: str


@dataclass(frozen=True)
class Submission:
    """A notebook that can be run.

    Attributes:
        cells: its code cells in their order.
        remarks: what is odd about it but does not keep it from being graded.
        checkpoint: the exercise before which the answers were given with the lab.
    """

    cells: list[Cell]
    remarks: list[str]
    checkpoint: str | None


def parse(data: bytes, title: str, exercises: list[str]) -> Submission:
    """The submission in the bytes of a file.

    Args:
        data: the file.
        title: the lab's title, as its notebook's metadata has it.
        exercises: the ids of the lab's exercises, in order.

    Raises:
        NotGradable: it is no notebook, or not of this lab.
    """
    nb = _document(data)
    metadata = _of_type(dict, nb.get("metadata"))
    course = _of_type(dict, metadata.get("course"))
    cells = [c for c in nb["cells"] if isinstance(c, dict) and c.get("cell_type") == "code"]
    found = list(dict.fromkeys(filter(None, (_exercise(c, exercises) for c in cells))))
    handed_in = course.get("title", title)
    if handed_in != title:
        raise NotGradable(f"This is another lab: {str(handed_in)[:100]!r}, not {title!r}.")
    if not found and exercises:
        raise NotGradable("This is another notebook: it has none of the lab's exercises.")
    remarks = []
    if missing := [e for e in exercises if e not in found]:
        remarks.append(f"The cells of {', '.join(missing)} are missing.")
    if found != [e for e in exercises if e in found]:
        remarks.append(
            "The exercises stand in another order than in the lab; "
            "the cells were run in the order they have here."
        )
    checkpoint = course.get("checkpoint")
    return Submission(
        [
            Cell(_exercise(cell, exercises) or f"code cell {number}", _source(cell))
            for number, cell in enumerate(cells, 1)
        ],
        remarks,
        checkpoint if checkpoint in exercises else None,
    )


def _document(data: bytes) -> dict:
    if not data.strip():
        raise NotGradable("The file is empty.")
    try:
        nb = json.loads(data)
    except (ValueError, RecursionError):
        raise NotGradable("The file is not a notebook: it is not JSON.") from None
    if not isinstance(nb, dict) or not {"nbformat", "cells", "worksheets"} & nb.keys():
        raise NotGradable("The file is not a notebook, although it is JSON.")
    version = nb.get("nbformat")
    if version != 4 or not isinstance(nb.get("cells"), list):
        raise NotGradable(
            f"The notebook's format is {str(version)[:20]}, not 4. "
            "Open it in JupyterLab, save it and hand it in again."
        )
    return nb


def _exercise(cell: dict, exercises: list[str]) -> str | None:
    """The exercise that a cell belongs to, by its id (ex1, ex1-2) or its tags."""
    marks = [str(cell.get("id", "")).partition("-")[0]]
    marks += _of_type(list, _of_type(dict, cell.get("metadata")).get("tags"))
    return next((mark for mark in marks if mark in exercises), None)


def _source(cell: dict) -> str:
    source = cell.get("source", "")
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _of_type(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) else kind()
