"""Running one copy in a container of its own, and getting its document out."""

import base64
import json
import os
import subprocess
import tempfile
import threading
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from course.engine import Engine
from course.errors import CourseError
from grading import live
from grading.image import LABEL
from grading.inside.limits import Limits
from grading.labs import Lab
from grading.live import Live

PREFIX = "course-grade-"
DOCUMENT_LIMIT = 4_000_000
GRACE_SECONDS = 30
"""For the container to start and stop, beyond the copy's own time."""
STATUSES = {"right", "wrong", "not attempted", "environment not ready"}


class NoDocument(Exception):
    """The container gave no document that holds; says why."""


@dataclass(frozen=True)
class Sandbox:
    """Grades copies of one lab.

    Attributes:
        engine: the instructor's engine, which no copy gets to see.
        image: the reference of the grading image.
        lab: the lab.
        asked: the names of the checks to run.
        limits: what a copy may use.
        run: what this run's containers are labeled with.
        live: what an engine for each copy starts from; None for none.
    """

    engine: Engine
    image: str
    lab: Lab
    asked: list[str]
    limits: Limits
    run: str
    live: Live | None = None

    def grade(self, submission: bytes) -> dict[str, Any]:
        """The document for a copy: problem, or outcomes and remarks.

        Raises:
            NoDocument: the container gave none.
            CourseError: the lab's checks cannot be used, or the engine is gone.
        """
        name = PREFIX + uuid.uuid4().hex[:12]
        try:
            if self.live and (wrong := live.start(self.engine, self.live, name, self._label)):
                raise NoDocument(f"its engine did not start: {wrong}")
            return self._grade(name, submission)
        finally:
            if self.live:
                self.remove(live.beside(name))

    def _grade(self, name: str, submission: bytes) -> dict[str, Any]:
        with tempfile.TemporaryFile() as job, tempfile.TemporaryFile() as complaints:
            job.write(json.dumps(self._job(submission)).encode())
            job.seek(0)
            process = subprocess.Popen(
                self._command(name),
                env=os.environ | self.engine.environment(),
                stdin=job,
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,  # Ctrl-C is for us; we then remove it
            )
            overdue = threading.Timer(
                self.limits.total_seconds + GRACE_SECONDS, lambda: self.remove(name)
            )
            overdue.start()
            try:
                data = process.stdout.read(DOCUMENT_LIMIT + 1)
                if len(data) > DOCUMENT_LIMIT:
                    self.remove(name)
            finally:
                overdue.cancel()
                process.stdout.close()
                code = process.wait()
            complaints.seek(0)
            said = complaints.read(2000).decode(errors="replace").strip()
        return self._document(data, code, said)

    def remove(self, *names: str) -> None:
        """Remove containers by name, whatever they are doing."""
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", *names],
            env=os.environ | self.engine.environment(),
            capture_output=True,
        )

    def remove_all(self) -> None:
        """Remove every container of this run that is left."""
        listed = subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter", f"label={self._label}"],
            env=os.environ | self.engine.environment(),
            capture_output=True,
            text=True,
        )
        if names := listed.stdout.split():
            self.remove(*names)

    @property
    def _label(self) -> str:
        return f"{LABEL}={self.run}"

    def _job(self, submission: bytes) -> dict[str, Any]:
        return {
            "submission": base64.b64encode(submission).decode(),
            "checks": [path.read_text() for path in self.lab.check_files],
            "asked": self.asked,
            "title": self.lab.title,
            "exercises": self.lab.exercises,
            "given": self.lab.sources,
            "limits": asdict(self.limits),
        }

    def _command(self, name: str) -> list[str]:
        memory = f"{self.limits.memory_mb}m"
        options = {
            "name": [name],
            "label": [self._label],
            "pull": ["never"],
            "log-driver": ["none"],
            "memory": [memory],
            "memory-swap": [memory],
            "cpus": ["1"],
            "pids-limit": [str(self.limits.processes)],
            "cap-drop": ["ALL"],
            # To become the student's user, and to end the student's processes.
            "cap-add": ["SETUID", "SETGID", "KILL"],
            "security-opt": ["no-new-privileges"],
            "ulimit": ["nofile=1024:1024"],
            "shm-size": ["32m"],
            "tmpfs": [
                "/lab:size=256m,nr_inodes=20k,uid=1000,gid=1000,mode=755",
                "/tmp:size=128m,nr_inodes=20k,mode=1777",  # noqa: S108
                "/grader:size=16m,mode=700",
            ],
        }
        if self.live:
            beside = live.beside(name)
            options |= {"network": [f"container:{beside}"], "volumes-from": [f"{beside}:ro"]}
            options |= {"env": [f"DOCKER_HOST={live.HOST}"]}
        else:
            options |= {"network": ["none"], "hostname": ["lab"]}
        flags = [f"--{option}={value}" for option, values in options.items() for value in values]
        run = ["docker", "run", "--rm", "--interactive", "--read-only"]
        return [*run, *flags, self.live.image if self.live else self.image, *self.lab.packages]

    def _document(self, data: bytes, code: int, said: str) -> dict[str, Any]:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and "fault" in document:
            last = str(document["fault"]).strip().splitlines()[-1]
            raise CourseError(
                f"The checks of {self.lab.name} cannot be used in the grader: {last}",
                "Put the checks right, then run the same command again.",
            )
        if _holds(document, self.asked):
            return document
        if not _answers(self.engine):
            raise CourseError(
                f"The container engine ({self.engine.host}) stopped answering.",
                "Start it, then run the same command again: what is graded stays graded.",
            )
        reason = "it ran out of memory or was stopped" if code == 137 else said[-300:]
        raise NoDocument(reason or f"exit status {code}")


def _answers(engine: Engine) -> bool:
    try:
        return engine.client().ping()
    except Exception:  # whatever the SDK raises, it does not answer
        return False


def _holds(document: Any, asked: list[str]) -> bool:
    """Whether a document has the form that we expect, and nothing else."""
    if not isinstance(document, dict):
        return False
    if document.keys() == {"problem"}:
        return isinstance(document["problem"], str)
    if document.keys() != {"outcomes", "remarks", "checkpoint"}:
        return False
    outcomes, remarks = document["outcomes"], document["remarks"]
    return (
        isinstance(outcomes, list)
        and all(isinstance(o, dict) and _is_outcome(o) for o in outcomes)
        and [o["name"] for o in outcomes] == asked
        and isinstance(remarks, list)
        and all(isinstance(remark, str) for remark in remarks)
        and isinstance(document["checkpoint"], str | None)
    )


def _is_outcome(outcome: dict[str, Any]) -> bool:
    return (
        outcome.keys() == {"name", "status", "message"}
        and all(isinstance(value, str) for value in outcome.values())
        and outcome["status"] in STATUSES
    )
