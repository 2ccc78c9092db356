"""What a lab's checks are made of, the same in a notebook and in the grader.

A check is a function that looks at one behavior of what the student made. It asks
a :class:`Target`, which runs the student's code: in this process in a notebook, in
another process and as another user in the grader. So a check never holds a live
object of the student's, only JSON values, texts and HTTP answers.
"""

import importlib.util
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import requests
from docker import DockerClient

Kind = Literal["call", "http", "file", "live"]
Status = Literal["right", "wrong", "not attempted", "environment not ready"]
Json = Any
"""A value that JSON can hold: None, bool, number, text, list or dict of these."""


class NotAttempted(Exception):
    """The student has not written yet what a check looks at."""


class NotReady(Exception):
    """Something outside the student's work is missing, such as the engine."""


class Client(Protocol):
    """Sends requests to a server that the student wrote."""

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """The answer to a request; ``options`` as of ``requests.request``."""


class Target(Protocol):
    """The student's work, as checks may ask it."""

    def call(self, function: str, *args: Json, **kwargs: Json) -> Json:
        """What the student's ``function`` returns.

        Raises:
            NotAttempted: it is not defined, or raises NotImplementedError.
            AssertionError: it raises, takes too long or returns no JSON value.
        """

    def read(self, name: str) -> str:
        """The text of the student's file ``name``.

        Raises:
            NotAttempted: it is not written, or holds only the lab's stub.
        """

    def serve(self, command: list[str], ready: str) -> AbstractContextManager[Client]:
        """Run the student's server while the context is open.

        Args:
            command: what starts it; ``{port}`` stands for the port to listen on.
            ready: the path that answers with a status below 400 once it is up.

        Raises:
            NotAttempted: the file that it runs is not written.
            AssertionError: it does not start or does not answer.
        """

    def docker(self) -> DockerClient:
        """The engine that holds the student's containers.

        Raises:
            NotReady: no engine answers.
        """


@dataclass(frozen=True)
class Check:
    """One point or more, and the function that decides on it.

    Attributes:
        exercise: the exercise's id, such as ``ex1``.
        points: what it is worth.
        kind: what it looks at: a function, a server, a file or a live system.
        name: the function's name, unique in the lab.
        claim: what holds when it passes: the first line of its docstring.
        run: raises AssertionError with words that help, NotAttempted or NotReady.
    """

    exercise: str
    points: int
    kind: Kind
    name: str
    claim: str
    run: Callable[[Target], None]


@dataclass(frozen=True)
class Outcome:
    """What a check found."""

    check: Check
    status: Status
    message: str

    @property
    def points(self) -> int:
        """The points earned: all, or none."""
        return self.check.points if self.status == "right" else 0


def check(
    exercise: str, *, points: int, kind: Kind
) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
    """Mark a function of a checks file as the check of an exercise."""

    def mark(function: Callable[[Target], None]) -> Callable[[Target], None]:
        claim = (function.__doc__ or function.__name__).strip().splitlines()[0]
        function.check = Check(exercise, points, kind, function.__name__, claim, function)
        return function

    return mark


def load(path: Path) -> list[Check]:
    """The checks of the file ``path``, in its order."""
    spec = importlib.util.spec_from_file_location(f"checks_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return [value.check for value in vars(module).values() if hasattr(value, "check")]


def judge(checked: Check, target: Target) -> Outcome:
    """Run one check; whatever it raises becomes its outcome."""
    try:
        checked.run(target)
    except NotAttempted as reason:
        return Outcome(checked, "not attempted", str(reason))
    except NotReady as reason:
        return Outcome(checked, "environment not ready", str(reason))
    except Exception as reason:  # a wrong answer may make any of a check's lines fail
        return Outcome(checked, "wrong", str(reason) or type(reason).__name__)
    return Outcome(checked, "right", "")
