"""Starting, stopping and asking after the engine, from any other process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from course.errors import CourseError
from rootless import state
from rootless.state import Status, status

HOST = f"unix://{state.SOCKET}"
"""The engine's address, as DOCKER_HOST takes it."""

PACKAGES = {
    "linux.uml": "user-mode-linux",
    "slirp4netns": "slirp4netns",
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "xtables-legacy-multi": "iptables",
    "mkfs.ext4": "e2fsprogs",
    "modprobe": "kmod",
    "ip": "iproute2",
    "tcc": "tcc",
    "ld": "binutils",
}
"""The programs that it needs, and the packages of Debian 13 that bring them."""

SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Where some of them are, which is not on every user's PATH."""

WAIT_SECONDS = 180
"""How long a stage of its start, or its end, may take."""


def missing_packages() -> list[str]:
    """The Debian packages that are missing; empty where the engine can run."""
    path = f"{os.environ['PATH']}:{SYSTEM_FOLDERS}"
    return [
        package for program, package in PACKAGES.items() if not shutil.which(program, path=path)
    ]


def up() -> None:
    """Start the engine in the background, unless it runs.

    Returns after a moment: what uses ``HOST`` then waits until the engine answers.

    Raises:
        CourseError: a package is missing; says which.
    """
    if missing := missing_packages():
        raise CourseError(
            f"The rootless engine needs packages that are not here: {', '.join(missing)}.",
            "They are Debian 13's; elsewhere, use another container engine.",
        )
    while (lock := state.lock()) is None:
        if status().stage not in ("stopping", "failed"):
            return  # it runs, or somebody else is starting it
        time.sleep(0.1)  # the one before is still putting its disk in order
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "rootless.supervisor", str(lock)],
        pass_fds=[lock],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # It outlives the notebook or the server that started it.
        start_new_session=True,
    )
    os.close(lock)
    state.publish(Status("booting", supervisor=supervisor.pid))
    while supervisor.poll() is None and not _listens():
        time.sleep(0.02)


def wait(show: Callable[[Status], None] = lambda _: None) -> None:
    """Wait until the engine is ready.

    Args:
        show: called with each new status.

    Raises:
        CourseError: it does not start; says why and where its log is.
    """
    shown = None
    deadline = 0.0
    while (now := status()).stage != "ready":
        if now != shown:
            show(now)
            shown = now
            deadline = time.monotonic() + WAIT_SECONDS
        if now.stage in ("stopped", "failed") or time.monotonic() > deadline:
            raise CourseError(f"The rootless engine is {now}.", f"Its log is {state.LOG}.")
        time.sleep(0.1)


def down() -> bool:
    """Stop the engine; whether there was one. Its disk stays.

    Raises:
        CourseError: it does not stop.
    """
    running = status()
    if running.stage in ("stopped", "failed"):
        return False
    os.kill(running.supervisor, signal.SIGTERM)
    deadline = time.monotonic() + WAIT_SECONDS
    while (free := state.lock()) is None:
        if time.monotonic() > deadline:
            raise CourseError("The rootless engine does not stop.", f"Its log is {state.LOG}.")
        time.sleep(0.1)
    os.close(free)
    return True


def logs() -> str:
    """What the machine, dockerd and the network have said since the last start."""
    return state.LOG.read_text(errors="replace") if state.LOG.exists() else ""


def _listens() -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.connect(str(state.SOCKET))
        return True
    return False
