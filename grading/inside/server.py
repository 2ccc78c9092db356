"""A server that the student wrote, and a client that it cannot harm."""

import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import requests

from course.checks import NotAttempted
from grading.inside import processes
from grading.inside.limits import Limits, at_most
from grading.inside.nursery import Nursery

BODY_LIMIT = 1_000_000
LOG_TAIL = 600
PRIVATE = Path("/grader")


class Client:
    """Sends requests to the server and bounds what comes back."""

    def __init__(self, pid: int, port: int, limits: Limits) -> None:
        self._pid = pid
        self._port = port
        self._seconds = limits.call_seconds

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """The answer, with a body of at most 1 MB as it came over the wire."""
        too_slow = AssertionError(f"{method} {path} took longer than {self._seconds:g} s.")
        try:
            with at_most(self._seconds, too_slow), requests.Session() as session:
                session.trust_env = False
                session.headers["Accept-Encoding"] = "identity"
                answer = session.request(
                    method,
                    f"http://127.0.0.1:{self._port}{path}",
                    **options | {"stream": True, "allow_redirects": False, "timeout": None},
                )
                # Read raw: a few bytes may be packed to decompress to gigabytes.
                body = answer.raw.read(BODY_LIMIT + 1, decode_content=False)
        except (requests.RequestException, OSError, ValueError) as error:
            raise AssertionError(
                f"{method} {path} got no answer: {type(error).__name__}."
            ) from None
        assert len(body) <= BODY_LIMIT, f"{method} {path} answered with more than 1 MB."
        assert processes.status(self._pid) is None, "The server ended."
        answer._content, answer._content_consumed = body, True
        return answer


@contextmanager
def running(nursery: Nursery, command: list[str], ready: str, limits: Limits) -> Iterator[Client]:
    """Run the student's server while the context is open.

    Raises:
        AssertionError: it does not start or does not answer.
        NotAttempted: what failed is a part that the student has not written.
    """
    port = _free_port()
    with tempfile.TemporaryFile(dir=PRIVATE) as log:
        words = [word.format(port=port) for word in command]
        pid = nursery.spawn("server", [log.fileno()], command=words)
        client = Client(pid, port, limits)
        _wait(client, pid, port, ready, limits.start_seconds, log)
        try:
            yield client
        except AssertionError as wrong:
            said = _last_error(log)
            if "NotImplementedError" in said:
                raise NotAttempted(f"Some is still as it was given.{said}") from None
            raise AssertionError(f"{wrong}{said}") from None


def _wait(client: Client, pid: int, port: int, ready: str, seconds: float, log: BinaryIO) -> None:
    end = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < end:
        assert processes.status(pid) is None, f"The server ended at once. {_tail(log)}"
        if _listens(port):
            try:
                answer = client.request("GET", ready)
            except AssertionError as reason:
                last = str(reason)
            else:
                if answer.ok:
                    return
                last = f"HTTP status {answer.status_code}"
        time.sleep(0.02)
    raise AssertionError(f"The server gave no good answer to GET {ready}: {last} {_tail(log)}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _log_end(log: BinaryIO) -> str:
    size = os.fstat(log.fileno()).st_size
    # The server writes at the same position: read without moving it.
    start = max(0, size - LOG_TAIL)
    return os.pread(log.fileno(), LOG_TAIL, start).decode(errors="replace").strip()


def _tail(log: BinaryIO) -> str:
    end = _log_end(log)
    return f"Its log ends:\n{end}" if end else ""


def _last_error(log: BinaryIO) -> str:
    """What the server's last traceback ended with, on a line of its own."""
    errors = re.findall(r"^[\w.]+(?:Error|Exception)\b.*$", _log_end(log), re.MULTILINE)
    return f"\nThe server's log says: {errors[-1]}" if errors else ""
