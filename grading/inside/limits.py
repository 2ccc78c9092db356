"""How much a copy may use, and clocks that end what takes longer."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one copy may use.

    Attributes:
        cell_seconds: for one cell of the notebook.
        call_seconds: for one call of a student's function, and one HTTP answer.
        start_seconds: until a server answers.
        check_seconds: for one check with all that it asks.
        total_seconds: for the copy.
        memory_mb: for all its processes and files together.
        processes: how many at once, threads included.
    """

    cell_seconds: float = 60
    call_seconds: float = 20
    start_seconds: float = 20
    check_seconds: float = 60
    total_seconds: float = 240
    memory_mb: int = 1536
    processes: int = 128


class TimeIsUp(BaseException):
    """The copy has had its time. Not an Exception: no check may swallow it."""


_clocks: list[tuple[float, BaseException]] = []


@contextmanager
def at_most(seconds: float, problem: BaseException) -> Iterator[None]:
    """Raise ``problem`` if the block takes longer; blocks may be nested."""
    clock = (time.monotonic() + seconds, problem)
    _clocks.append(clock)
    signal.signal(signal.SIGALRM, _ring)
    _wind()
    try:
        yield
    finally:
        _clocks.remove(clock)
        _wind()


def _wind() -> None:
    """Set the one alarm that a process has to the clock that rings first."""
    if not _clocks:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return
    left = min(end for end, _ in _clocks) - time.monotonic()
    # Zero would switch the alarm off. Ringing again covers a handler that was lost.
    signal.setitimer(signal.ITIMER_REAL, max(left, 0.001), 1)


def _ring(*_: object) -> None:
    end, problem = min(_clocks, key=lambda clock: clock[0], default=(float("inf"), None))
    if time.monotonic() >= end:
        raise problem
