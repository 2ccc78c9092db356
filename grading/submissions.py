"""Finding what was handed in, and whose it is.

Two layouts, which may be mixed:

- files: ``SUBMISSIONS/ada.ipynb``. The student is the file's stem. In Canvas's
  download, ``lovelaceada_LATE_1234_5678_lab.ipynb``, it is what stands before the
  numbers, and the first number is the student's Canvas id.
- a folder for each student: ``SUBMISSIONS/Ada Lovelace/lab.ipynb``. The student is
  the folder's name, in Moodle's download, ``Ada Lovelace_123_assignsubmission_file``,
  what stands before the number. Where a folder holds several notebooks, the one
  with the lab's name counts.

A file with another ending is taken for a renamed notebook. Nothing is left out: what
cannot be graded is an entry with a problem. Only hidden files are skipped.
"""

import hashlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from course.errors import CourseError

SIZE_LIMIT = 20_000_000
_CANVAS = re.compile(r"(?P<student>.+?)_(?:LATE_)?(?P<id>\d+)_\d+_.+", re.DOTALL)
_MOODLE = re.compile(r"(?P<student>.+?)_(?P<id>\d+)_assignsubmission_.+", re.DOTALL)


@dataclass(frozen=True)
class Submission:
    """One copy.

    Attributes:
        student: the student's name, as the file or folder says it; bytes that are not
            UTF-8, as in old zip files, are written in hex.
        lms_id: the student's number in the learning platform, or empty.
        source: the path below the submissions' folder, for people to find it; likewise.
        path: the file; None if there is none to be graded.
        problem: why it cannot be graded, or empty.
        key: the student's name as a file name of its own, for what is written.
    """

    student: str
    lms_id: str
    source: str
    path: Path | None
    problem: str = ""
    key: str = ""

    def content(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()


def find(folder: Path, lab: str) -> list[Submission]:
    """All copies below ``folder``, by student.

    Raises:
        CourseError: it is no folder, or there is nothing in it.
    """
    if not folder.is_dir():
        raise CourseError(f"{folder} is not a folder.", "Name the folder with the submissions.")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__")))
    if not entries:
        raise CourseError(f"There is nothing in {folder}.")
    found = [_in_folder(e, lab) if _is_folder(e) else _file(e) for e in entries]
    return _with_keys(sorted(found, key=lambda s: (s.student.casefold(), s.source)))


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _file(path: Path) -> Submission:
    stem = path.name.removesuffix(".ipynb")
    named = _CANVAS.fullmatch(stem)
    student, lms_id = (named["student"], named["id"]) if named else (stem, "")
    return Submission(_words(student), lms_id, _words(path.name), path, _problem(path))


def _in_folder(folder: Path, lab: str) -> Submission:
    named = _MOODLE.fullmatch(folder.name)
    student, lms_id = (named["student"], named["id"]) if named else (folder.name, "")
    files = [p for p in sorted(folder.rglob("*")) if not _is_hidden(p, folder) and not p.is_dir()]
    notebooks = [path for path in files if path.suffix == ".ipynb"] or files
    chosen = [path for path in notebooks if path.stem == lab] or notebooks
    if len(chosen) == 1:
        source = _words(str(chosen[0].relative_to(folder.parent)))
        return Submission(_words(student), lms_id, source, chosen[0], _problem(chosen[0]))
    problem = (
        f"There are {len(chosen)} notebooks in the folder; leave the one that counts."
        if chosen
        else "There is no notebook in the folder."
    )
    return Submission(_words(student), lms_id, _words(folder.name), None, problem)


def _words(name: str) -> str:
    """A file's name as text that can be written: of two names, never the same."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.relative_to(folder).parts)


def _problem(path: Path) -> str:
    """Why the file should not even be opened, or an empty string."""
    try:
        info = path.lstat()
    except OSError as error:
        return f"The file cannot be read: {error.strerror}."
    if stat.S_ISLNK(info.st_mode):
        return "The file is a link, and links are not followed."
    if not stat.S_ISREG(info.st_mode):
        return "This is not a plain file."
    if info.st_size > SIZE_LIMIT:
        return (
            f"The file has {info.st_size // 1_000_000} MB; at most "
            f"{SIZE_LIMIT // 1_000_000} MB are graded. Clear the outputs and save it again."
        )
    return ""


def _with_keys(found: list[Submission]) -> list[Submission]:
    """Name each copy's files; who handed in twice is told so in both."""
    counts = Counter(s.student.casefold() for s in found)
    taken: set[str] = set()
    keyed = []
    for submission in found:
        base = re.sub(r"[^\w.@ -]", "_", submission.student)[:80].strip(". ") or "copy"
        if base.casefold() in taken:
            base += "-" + hashlib.sha256(submission.source.encode()).hexdigest()[:6]
        taken.add(base.casefold())
        keyed.append(replace(submission, key=base))
    return [
        s if counts[s.student.casefold()] == 1 else replace(s, student=f"{s.student} ({s.source})")
        for s in keyed
    ]
