"""Stopping and ending the student's processes, from process 1."""

import contextlib
import os
import signal
import time
from pathlib import Path

PROCESS_1 = 1
END_SECONDS = 5


def others(keep: set[int]) -> list[int]:
    """All processes but process 1 and ``keep``, those that have ended left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in keep | {PROCESS_1}:
            continue
        try:
            # The state follows the command's name, which may hold anything but ")".
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue
        if state not in "ZX":
            found.append(int(entry.name))
    return found


def sweep(nursery: int, frozen: int | None) -> None:
    """End every process of the student's but ``frozen``, which is left stopped.

    All are stopped at one stroke first, so that none can fork away meanwhile.
    """
    keep = {nursery} | ({frozen} if frozen else set())
    os.kill(-1, signal.SIGSTOP)
    end = time.monotonic() + END_SECONDS
    while (left := others(keep)) and time.monotonic() < end:
        for pid in left:
            _signal(pid, signal.SIGKILL)
        reap()
        time.sleep(0.001)
    resume(nursery)


def resume(pid: int) -> None:
    """Let a process that was stopped go on."""
    _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


_ended: dict[int, int] = {}


def reap() -> None:
    """Collect what has ended: zombies count as processes too."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _ended[pid] = status


def forget(pid: int) -> None:
    """A new process has this id: how an earlier one ended says nothing about it."""
    _ended.pop(pid, None)


def status(pid: int) -> int | None:
    """How a process ended, as of ``os.waitpid``; None while it runs."""
    reap()
    return _ended.get(pid)
