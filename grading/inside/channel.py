"""Asking the notebook's process over its socket, whatever it answers."""

import json
import math
import secrets
import select
import socket
import time
from typing import Any

from grading.inside import processes

ANSWER_LIMIT = 1_000_000


class Silence(Exception):
    """No answer: the process took too long, sent too much, or ended."""


class Channel:
    """One end of the socket; what comes from the other end is not trusted.

    Args:
        theirs: the process id of who has the other end.
    """

    def __init__(self, ours: socket.socket, theirs: int) -> None:
        ours.setblocking(False)
        self._socket = ours
        self._theirs = theirs
        self._received = b""

    def send(self, request: dict, seconds: float) -> str:
        """Send a request; its id, which its answer bears and nobody can guess."""
        number = secrets.token_hex(16)
        data = json.dumps(request | {"id": number}).encode() + b"\n"
        end = time.monotonic() + seconds
        while data:
            self._wait(end, writing=True)
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Silence("ended") from None
        return number

    def answer(self, seconds: float, *numbers: str) -> dict:
        """The next answer to one of the requests ``numbers``; any other is dropped.

        Raises:
            Silence: none came in time.
        """
        end = time.monotonic() + seconds
        while True:
            while b"\n" not in self._received:
                self._receive(end)
            line, _, self._received = self._received.partition(b"\n")
            found = _parsed(line)
            if isinstance(found, dict) and found.get("id") in numbers:
                return found
            if time.monotonic() > end:
                raise Silence("too slow")

    def _receive(self, end: float) -> None:
        if len(self._received) > ANSWER_LIMIT:
            raise Silence("too long")
        self._wait(end)
        try:
            part = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            raise Silence("ended")
        self._received += part

    def _wait(self, end: float, *, writing: bool = False) -> None:
        """Until the socket is ready; zombies are collected meanwhile."""
        while True:
            ended = processes.status(self._theirs) is not None
            left = end - time.monotonic()
            wants = [[], [self._socket]] if writing else [[self._socket], []]
            if any(select.select(*wants, [], 0 if ended else max(0, min(left, 0.1)))):
                return
            if ended:
                raise Silence("ended")
            if left <= 0:
                raise Silence("too slow")


def _parsed(line: bytes) -> Any:
    """The JSON value of a line; None if it is none that can be had."""
    try:
        return json.loads(line, parse_float=_finite, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _finite(text: str) -> float:
    """A number as JSON has it: 1e999 would become one that is above every limit."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _no_constant(text: str) -> None:
    raise ValueError(text)
