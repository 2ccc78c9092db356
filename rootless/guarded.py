"""An engine for a user who is not trusted: the one program of a container of its own.

``python -m rootless.guarded`` runs it in the foreground. Other containers that share the
state folder may use its socket, within what ``rootless.guard`` lets pass, and nothing else
in that folder.
"""

import os
import subprocess
from pathlib import Path

from rootless import machine, state, supervisor

PREPARED = Path("/prepared/course-engine/disk.img")
"""A disk to start from, with images on it, where one is mounted."""
DISK_GB = 6


def main() -> None:
    """Run the engine until SIGTERM."""
    os.umask(0o077)
    lock = state.lock()
    state.HOME.chmod(0o711)  # to get at the socket, one must pass through
    if PREPARED.exists():
        subprocess.run(["cp", "--sparse=always", PREPARED, state.DISK], check=True)
    machine.make_disk(DISK_GB)
    supervisor.serve(lock, guarded=True)


if __name__ == "__main__":
    main()
