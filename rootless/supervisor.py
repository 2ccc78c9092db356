"""The process in the background that keeps network, machine and relay together.

Started by ``rootless.up`` as ``python -m rootless.supervisor``; ended by SIGTERM.
"""

import asyncio
import json
import os
import re
import secrets
import signal
import socket
import sys
import tarfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rootless import machine, state
from rootless.control import SYSTEM_FOLDERS
from rootless.engine import Engine
from rootless.machine import Machine
from rootless.ports import Ports
from rootless.relay import Relay
from rootless.slirp import Slirp
from rootless.state import Status

DOORMAN_PORT = 2375
"""Where guest/doorman.py listens in the guest."""
IMAGES = Path("/opt/course-engine/images")
"""Where an image of the course carries base images, as `docker save` writes them."""
STOP_SECONDS = 120
"""What was written last has yet to reach the disk."""

OUT_OF_MEMORY = re.compile(r"(?<!cgroup )Out of memory: Killed process \d+ \((.+?)\)", re.I)
PANIC = re.compile(r"Kernel panic - not syncing: (.+)")
TOO_MANY_PAGES = re.compile(r"UML ran out of memory on the host side")


class Supervisor:
    """One run of the engine, from its start to its end."""

    def __init__(self, lock: int, log: int, guarded: bool) -> None:
        self._status = Status("booting", supervisor=os.getpid())
        self._lock = lock
        self._log = log
        self._guarded = guarded
        self._memory_mb = machine.memory_mb()
        self._secret = secrets.token_hex(32)
        self._loaded: asyncio.Queue[bool] = asyncio.Queue()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start everything, and return when all has ended."""
        self._publish()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        slirp = Slirp(self._log)
        engine = Engine(_free_port(), self._secret)
        ports = Ports(engine, slirp)
        relay = Relay(engine, ports, self._guarded)
        server = await relay.listen()
        machine.make_disk()
        await slirp.listening()
        inherited = [self._lock, slirp.lifeline]
        self._machine = Machine(self._memory_mb, inherited, self._guarded)
        serving = asyncio.create_task(self._serve(engine, slirp, ports, relay))
        stopping = asyncio.create_task(self._stop_when_asked())
        console = asyncio.create_task(self._listen_to_console())
        try:
            await asyncio.wait({console, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and not self._stopping.is_set():
                serving.result()  # what went wrong
            await console
        finally:
            for task in (console, serving, stopping):
                task.cancel()
            server.close()
            state.SOCKET.unlink(missing_ok=True)
            self._machine.end()
            slirp.end()
        if self._status.stage not in ("stopped", "failed"):
            self._publish("failed", "its machine was ended, perhaps for lack of memory")

    async def _listen_to_console(self) -> None:
        async for line in self._machine.console():
            os.write(self._log, f"{line}\n".encode())
            if line.startswith("rootless: "):
                self._heed(*line.split()[1:])
            elif killed := OUT_OF_MEMORY.search(line):
                self._note(
                    f"Out of memory: a container's process {killed[1]} was ended. All "
                    f"containers together have {self._memory_mb} MB; stop some."
                )
            elif panic := PANIC.search(line):
                self._publish("failed", f"its kernel stopped: {panic[1]}")
            elif TOO_MANY_PAGES.search(line):
                self._note(
                    "A container's process was ended: it wanted more memory than this "
                    "host gives to one process, which is often 250 MB."
                )

    def _heed(self, word: str, *rest: str) -> None:
        """Act on what the guest's init.sh said."""
        match word:
            case "stage":
                self._publish(*rest)
                if rest == ("dockerd",):
                    self._machine.tell(f"secret {self._secret}")
            case "loaded" | "not-loaded":
                self._loaded.put_nowait(word == "loaded")
            case "stopped" | "failed":
                self._publish(word, " ".join(rest))

    async def _serve(self, engine: Engine, slirp: Slirp, ports: Ports, relay: Relay) -> None:
        await slirp.connected()
        await slirp.forward("tcp", engine.port, DOORMAN_PORT)
        await _until_it_answers(engine)
        self._publish("loading")
        await ports.update()
        relay.opened.set()
        following = asyncio.create_task(_keep_following(ports))
        try:
            await self._load_images(engine)
            self._publish("ready")
            await following
        finally:
            following.cancel()

    async def _load_images(self, engine: Engine) -> None:
        for archive in sorted(IMAGES.glob("*.tar")):
            ref = _reference(archive)
            if await engine.get(f"/images/{ref}/json"):
                continue
            self._publish("loading", archive.stem)
            self._machine.tell(f"load {archive}")
            if not await self._loaded.get():
                self._note(f"The base image {ref} could not be loaded from {archive}.")

    async def _stop_when_asked(self) -> None:
        await self._stopping.wait()
        self._publish("stopping")
        self._machine.tell("stop")
        await asyncio.sleep(STOP_SECONDS)
        self._publish("failed", f"it did not stop within {STOP_SECONDS} s and was ended")
        self._machine.end()

    def _publish(self, stage: str = "", detail: str = "") -> None:
        self._status = replace(self._status, stage=stage or self._status.stage, detail=detail)
        state.publish(self._status)

    def _note(self, text: str) -> None:
        self._status = replace(self._status, notes=[*self._status.notes[-9:], text])
        state.publish(self._status)


async def _until_it_answers(engine: Engine) -> None:
    while True:
        with suppress(OSError, ValueError):
            await engine.get("/version")
            return
        await asyncio.sleep(0.1)


async def _keep_following(ports: Ports) -> None:
    while True:
        with suppress(OSError, EOFError):
            await ports.follow()
        await asyncio.sleep(0.5)


def _reference(archive: Path) -> str:
    """The name of the image in an archive that `docker save` wrote."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))
    return manifest[0]["RepoTags"][0]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def serve(lock: int, guarded: bool = False) -> None:
    """Run the engine until it is told to end.

    Args:
        lock: see ``state.lock``.
        guarded: whether its user is held to what ``rootless.guard`` lets pass.
    """
    log = os.open(state.LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ["PATH"] += f":{SYSTEM_FOLDERS}"
    try:
        asyncio.run(Supervisor(lock, log, guarded).run())
    except Exception as error:
        state.publish(Status("failed", str(error)))
        raise


if __name__ == "__main__":
    serve(int(sys.argv[1]))  # taken by control.up
