"""Process 1: reads a job from stdin, grades the copy, writes one JSON document.

Only this process ever has the container's stdin, stdout and stderr. The document
holds ``outcomes`` (name, status, message), ``remarks``, ``problem`` if the file
cannot be graded, or ``fault`` if the checks themselves cannot be used.
"""

import contextlib
import ctypes
import importlib
import json
import sys
import traceback
from pathlib import Path

from grading.inside.nursery import Nursery

PRIVATE = Path("/grader")
_PR_SET_DUMPABLE = 4


def main() -> None:
    """Grade the copy. The arguments are packages to import ahead."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0)
    _import_ahead(sys.argv[1:])
    nursery = Nursery()
    job = json.load(sys.stdin.buffer)  # only now: the nursery has nothing of it
    document = _document(nursery, job)
    sys.stdout.write(json.dumps(document))
    sys.stdout.flush()


def _import_ahead(packages: list[str]) -> None:
    for package in ("requests", "docker", "IPython.core.interactiveshell", *packages):
        # What is missing, the cell that wants it says.
        with contextlib.suppress(ImportError):
            importlib.import_module(package)


def _document(nursery: Nursery, job: dict) -> dict:
    # Imported here: what it imports was imported ahead, and the nursery has no
    # use for the module that the checks go through.
    from grading.inside import checklist, copies

    try:
        checks, stubs = checklist.load(_written(job["checks"]))
    except Exception:
        return {"fault": traceback.format_exc()}  # nothing of the copy was looked at yet
    try:
        return copies.grade(nursery, job, [checks[name] for name in job["asked"]], stubs)
    except Exception as broken:
        # What a copy breaks is its own problem, and never ends the run.
        return {"problem": f"Grading broke off: {type(broken).__name__}: {broken}"[:500]}


def _written(sources: list[str]) -> list[Path]:
    """The checks as files where only root can read them."""
    paths = []
    for number, source in enumerate(sources):
        paths.append(PRIVATE / f"checks_{number}.py")
        paths[-1].write_text(source)
    return paths


if __name__ == "__main__":
    main()
