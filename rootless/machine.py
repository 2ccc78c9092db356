"""The machine that runs dockerd: a User-Mode Linux kernel, its disk and its console."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from rootless import slirp, state

KERNEL = "linux.uml"
REGISTERS = Path(__file__).with_name("registers.c")
"""What the kernel needs besides on newer processors."""
GUEST = Path(__file__).with_name("guest")
SCRATCH = state.HOME / "memory"
"""Where the kernel keeps its memory: a file. The pod's /dev/shm is too small for it."""
LARGEST_DISK_GB = 16
MIRROR = "COURSE_ENGINE_MIRROR"
"""The variable with the address of a registry's mirror, such as a hub's cache."""


class Machine:
    """A running kernel with dockerd in it. It shuts down cleanly when this process ends."""

    def __init__(self, memory_mb: int, inherited: list[int], guarded: bool) -> None:
        """Start it.

        Args:
            memory_mb: what it has for dockerd and all containers.
            inherited: descriptors that it holds open as long as it runs: the lock (see
                ``state.lock``), and slirp4netns' lifeline. Without its network the
                kernel would spin in its driver instead of shutting down.
            guarded: whether builds are held to what ``rootless.guard`` lets pass.
        """
        SCRATCH.mkdir(exist_ok=True)
        registers = _compiled(REGISTERS)
        shutil.rmtree(state.HOME / "uml", ignore_errors=True)
        command = [
            KERNEL,
            f"mem={memory_mb}M",
            f"uml_dir={state.HOME}/uml",
            "umid=engine",
            "root=none",
            "rootfstype=hostfs",
            "rw",
            "quiet",
            f"ubda={state.DISK}",
            f"vec0:transport=bess,dst={slirp.WIRE},depth=128,gro=1,mac=52:54:00:12:34:56",
            "con=null",
            "con0=fd:0,fd:1",
            "ssl=null",
            f"rootless_python={os.path.realpath(sys.executable)}",
            *([f"rootless_mirror={os.environ[MIRROR]}"] if os.environ.get(MIRROR) else []),
            *(["rootless_guarded=1"] if guarded else []),
            "init=/bin/bash",
            "--",
            str(GUEST / "init.sh"),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=inherited,
            env=os.environ | {"TMPDIR": str(SCRATCH), "LD_PRELOAD": str(registers)},
        )

    async def console(self) -> AsyncIterator[str]:
        """Each line that the machine prints, until it ends."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        while line := await reader.readline():
            yield line.decode(errors="replace").rstrip()

    def tell(self, command: str) -> None:
        """Send a command to init.sh."""
        try:
            self._process.stdin.write(f"{command}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended, which its console tells

    def end(self) -> None:
        """Make sure that it has ended."""
        self._process.kill()
        self._process.wait()


def memory_mb() -> int:
    """How much memory the machine gets: 60 % of what the pod may use.

    The rest is for Jupyter, its kernels and the machine's own overhead.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):
            continue  # another version of cgroups, or "max"
    return min(int(min(limits) * 0.6 / 2**20), 4096)


def make_disk(largest_gb: int = LARGEST_DISK_GB) -> None:
    """Make the disk for images, volumes and containers, where there is none yet.

    The file is sparse: it takes the space that is used in it.

    Args:
        largest_gb: its size; less where less is free.
    """
    if state.DISK.exists():
        return
    free_gb = shutil.disk_usage(state.HOME).free / 1e9
    size = int(min(largest_gb, free_gb * 0.9) * 1e9)
    draft = state.DISK.with_suffix(".new")
    with draft.open("wb") as file:
        file.truncate(size)
    lazily = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", lazily, draft], check=True)
    draft.rename(state.DISK)


def _compiled(source: Path) -> Path:
    """The shared library made from a C file, in the state folder."""
    part, library = (state.HOME / f"{source.stem}{suffix}" for suffix in (".o", ".so"))
    subprocess.run(["tcc", "-c", "-o", part, source], check=True)
    # tcc itself would ask for a stack that can be executed.
    subprocess.run(["ld", "-shared", "-z", "noexecstack", "-o", library, part], check=True)
    return library
