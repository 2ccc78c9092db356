"""The :class:`course.checks.Target` of the grader: all it asks is in other processes."""

from collections.abc import Iterator
from contextlib import contextmanager

from docker import DockerClient

from course.checks import Client, Json, NotAttempted, NotReady
from grading.inside import files, server
from grading.inside.limits import Limits
from grading.inside.nursery import HOST, Nursery
from grading.inside.remote import Notebook


class Remote:
    """A student's work in this container."""

    def __init__(
        self, nursery: Nursery, notebook: Notebook, stubs: dict[str, str], limits: Limits
    ) -> None:
        self._nursery = nursery
        self._notebook = notebook
        self._stubs = stubs
        self._limits = limits

    def call(self, function: str, *args: Json, **kwargs: Json) -> Json:
        """What the student's function returns."""
        return self._notebook.call(function, args, kwargs)

    def read(self, name: str) -> str:
        """The text of the student's file."""
        text = files.read(self._nursery, name)
        if text.strip() == self._stubs.get(name, "").strip():
            raise NotAttempted(f"{name} is still as it was given.")
        return text

    @contextmanager
    def serve(self, command: list[str], ready: str) -> Iterator[Client]:
        """Run the student's server; it and all it started ends with the context."""
        for word in command:
            if word.endswith(".py"):
                self.read(word)
        with server.running(self._nursery, command, ready, self._limits) as client:
            yield client
        self._notebook.freeze()

    def docker(self) -> DockerClient:
        """The copy's own engine, if it has one."""
        if not HOST:
            raise NotReady("There is no container engine in the grader.")
        return DockerClient(base_url=HOST, timeout=self._limits.call_seconds)
