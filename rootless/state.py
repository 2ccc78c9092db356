"""What is kept in the state folder, and what the supervisor says there about itself."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

HOME = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state", "course-engine")
"""The state folder: the disk with images, volumes and containers survives here."""
SOCKET = HOME / "docker.sock"
LOCK = HOME / "lock"
LOG = HOME / "engine.log"
DISK = HOME / "disk.img"
STATUS = HOME / "status.json"

STAGES = {
    "stopped": "not running",
    "booting": "booting its kernel",
    "network": "connecting its network",
    "dockerd": "starting dockerd",
    "loading": "loading base images",
    "ready": "ready",
    "stopping": "stopping",
    "failed": "failed",
}
"""The stages of the engine and what they are called for people."""


@dataclass(frozen=True)
class Status:
    """What the engine is doing.

    Attributes:
        stage: one of ``STAGES``.
        detail: what is known besides, such as the image being loaded or why it failed.
        notes: what happened that a user should know, such as a lack of memory.
        supervisor: the process that looks after the engine, 0 if there is none.
    """

    stage: str
    detail: str = ""
    notes: list[str] = field(default_factory=list)
    supervisor: int = 0

    @property
    def is_starting(self) -> bool:
        """Whether it will be ready soon, if all goes well."""
        return self.stage in ("booting", "network", "dockerd", "loading")

    def __str__(self) -> str:
        first = f"{STAGES[self.stage]}: {self.detail}" if self.detail else STAGES[self.stage]
        return "\n".join([first, *self.notes])


def status() -> Status:
    """What the engine of this user is doing now."""
    try:
        last = Status(**json.loads(STATUS.read_text()))
    except FileNotFoundError:
        return Status("stopped")
    if last.stage in ("stopped", "failed") or _is_supervisor(last.supervisor):
        return last
    return replace(last, stage="failed", detail="it was ended from outside")


def publish(now: Status) -> None:
    """Let ``status`` return ``now``."""
    draft = STATUS.with_suffix(f".{os.getpid()}")  # others may publish as well
    draft.write_text(json.dumps(asdict(now)))
    draft.replace(STATUS)


def lock() -> int | None:
    """Take the lock that one supervisor and its machine hold; None if it is taken.

    It is held as long as any process has the descriptor, which may be inherited.
    """
    HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is_supervisor(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        return b"rootless.supervisor" in command or b"rootless.guarded" in command
    except OSError:
        return False
