"""What ``--live`` adds: an engine for each copy, in a container beside the copy's own.

The engine is ``rootless.guarded``. Its container has no network and no rights either. The
copy's container shares that (empty) network, where published ports appear, and sees the
engine's socket; neither its files nor its processes.
"""

import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from course import ROOT
from course.cleanup import LABEL as COURSE_LABEL
from course.engine import Engine
from course.errors import CourseError
from course.images import LESSON_IMAGES, PYTHON, missing
from grading import image
from grading.inside.limits import Limits
from grading.labs import Lab

LIMITS = Limits(cell_seconds=300, check_seconds=120, total_seconds=900)
"""Images are built, in a machine that is emulated."""
HOST = "unix:///engine/course-engine/docker.sock"
MEMORY_MB = 2048
PROCESSES = 512

_PACKAGES = [*image.NEEDED, "dvc"]
"""What the notebooks of labs with live points run."""
_CONTENT = {
    "docker/grading/live/Dockerfile": "Dockerfile",
    "course/errors.py": "opt/grader/course/errors.py",
    "rootless": "opt/grader/rootless",
}
_BASE_CONTENT = {"docker/grading/base/Dockerfile": "Dockerfile"}
_WAIT = """
import time, rootless
while rootless.status().stage == "stopped":  # it has only just been started
    time.sleep(0.1)
rootless.wait()
"""
_READY = "/engine/ready"
_MARK_IF_STOPPED = f"""
grep -q '"stopped"' /engine/course-engine/status.json && touch {_READY} \\
    || {{ cat /engine/course-engine/status.json >&2; false; }}
"""


@dataclass(frozen=True)
class Live:
    """What the engines of copies start from.

    Attributes:
        image: the reference of the image for both of a copy's containers.
        disk: the volume with an engine's disk that has the lab's base images on it.
    """

    image: str
    disk: str


def ensure(engine: Engine, lab: Lab, grading_image: str) -> Live:
    """What a lab's engines start from; it is made if it is not there.

    Raises:
        CourseError: it cannot be made, or the lab has no points for it.
    """
    if not lab.live:
        raise CourseError(
            f"The points of {lab.name} for running systems cannot be graded.",
            "Leave --live away; they do not count then.",
        )
    lock = (ROOT / "requirements.txt").read_text()
    packages = image.lock_part(lock, _PACKAGES)
    ref = image.built(engine, "course-grade-live", _CONTENT, packages, grading_image)
    wanted = LESSON_IMAGES[f"lab{lab.number}"]
    if absent := missing(engine.client(), wanted):
        raise CourseError(f"Images are missing: {', '.join(absent)}.", "Run `course images`.")
    sources = {name: name for name in wanted}
    if lab.installs:
        sources[PYTHON] = image.built(engine, "course-grade-base", _BASE_CONTENT, lab.installs)
    with _alone():
        return Live(ref, _disk(engine, ref, lab.number, sources))


def start(engine: Engine, live: Live, name: str, label: str) -> str:
    """Start the engine of the copy ``name`` and wait for it; why it does not, or nothing."""
    mounts = [f"--volume={live.disk}:/prepared:ro", "--volume=/engine"]
    return _start(engine, live.image, beside(name), [f"--label={label}", *mounts])


def beside(name: str) -> str:
    """The name of the container with the engine of the copy ``name``."""
    return f"{name}-engine"


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other run from this checkout prepares a disk.

    Two would remove each other's engine, or run two on one disk. What is there when
    it is our turn was left by a run that was killed.
    """
    with Path(__file__).open("rb") as lock:
        with suppress(OSError):  # some network disks have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _disk(engine: Engine, ref: str, lab: str, sources: dict[str, str]) -> str:
    """The volume with a disk on which each key of ``sources`` is the image it names."""
    client = engine.client()
    ids = {name: client.images.get(source).id for name, source in sources.items()}
    digest = hashlib.sha256(f"{ref} {sorted(ids.items())}".encode()).hexdigest()[:16]
    prefix = f"course-grade-disk-{lab}-"
    volume = prefix + digest
    ready = ["--entrypoint=test", ref, "-e", _READY]
    if _docker(engine, "run", "--rm", f"--volume={volume}:/engine", *ready):
        for old in client.volumes.list():
            if old.name.startswith(prefix):  # of earlier images, or left half-made
                _docker(engine, "volume", "rm", "--force", old.name)
        _prepare(engine, ref, volume, sources)
    return volume


def _prepare(engine: Engine, ref: str, volume: str, sources: dict[str, str]) -> None:
    name = "course-grade-prepare"
    label = f"--label={COURSE_LABEL}=grading"
    _docker(engine, "rm", "--force", "--volumes", name)
    try:
        _must(_docker(engine, "volume", "create", label, volume))
        _must(_start(engine, ref, name, [label, f"--volume={volume}:/engine"]))
        inside = ["exec", "--interactive", f"--env=DOCKER_HOST={HOST}", name, "docker"]
        for wanted, source in sources.items():
            with tempfile.TemporaryFile() as archive:
                _must(_docker(engine, "save", source, stdout=archive))
                archive.seek(0)
                _must(_docker(engine, *inside, "load", "--quiet", stdin=archive))
            if source != wanted:
                _must(_docker(engine, *inside, "tag", source, wanted))
                _must(_docker(engine, *inside, "rmi", source))
        _must(_docker(engine, "stop", "--time=130", name))
        marked = ["--entrypoint=sh", ref, "-c", _MARK_IF_STOPPED]
        _must(_docker(engine, "run", "--rm", f"--volume={volume}:/engine", *marked))
    finally:
        _docker(engine, "rm", "--force", "--volumes", name)


def _start(engine: Engine, ref: str, name: str, options: list[str]) -> str:
    """Run an engine in a container without rights and wait for it; what is wrong, or nothing."""
    locked = [
        "--pull=never",
        "--network=none",
        "--hostname=engine",
        "--log-driver=none",
        "--read-only",
        "--tmpfs=/tmp",
        "--user=1001:1001",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        f"--memory={MEMORY_MB}m",
        f"--memory-swap={MEMORY_MB}m",
        "--cpus=1",
        f"--pids-limit={PROCESSES}",
    ]
    program = ["--entrypoint=python", ref, "-P", "-m", "rootless.guarded"]
    ran = _docker(engine, "run", "--detach", f"--name={name}", *locked, *options, *program)
    return ran or _docker(engine, "exec", name, "python", "-P", "-c", _WAIT)


def _docker(engine: Engine, *words: str, **streams: IO[bytes]) -> str:
    """Run the command docker; the end of what it complained of if it failed."""
    where = os.environ | engine.environment()
    redirected = {"stdout": subprocess.DEVNULL} | streams
    done = subprocess.run(["docker", *words], env=where, stderr=subprocess.PIPE, **redirected)
    if done.returncode:
        return done.stderr.decode(errors="replace").strip()[-500:] or f"docker {words[0]} failed"
    return ""


def _must(wrong: str) -> None:
    if wrong:
        raise CourseError(
            f"The engine for live points could not be prepared: {wrong}",
            "Put that right, then run the same command again.",
        )
