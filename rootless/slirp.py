"""The pod's side of the network: slirp4netns, and the ports that it forwards."""

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from rootless import state

WIRE = state.HOME / "wire.sock"
"""Where the machine's network card is plugged in."""
API = state.HOME / "slirp.sock"
PATIENCE_SECONDS = 3


class PortTaken(Exception):
    """Something else in the pod listens on the port already."""


class Slirp:
    """A running slirp4netns.

    Attributes:
        lifeline: a descriptor. It ends when no process has that open any more.
    """

    def __init__(self, log: int) -> None:
        for path in (WIRE, API):
            path.unlink(missing_ok=True)
        watched, self.lifeline = os.pipe()
        # Containers reach whatever the pod reaches, but not what listens on the
        # pod's own loopback address.
        command = [
            "slirp4netns",
            "--target-type=bess",
            "--mtu=1500",
            "--disable-host-loopback",
            f"--exit-fd={watched}",
            f"--api-socket={API}",
            str(WIRE),
        ]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[watched],
            process_group=0,  # it is two processes
        )
        os.close(watched)

    async def listening(self) -> None:
        """Wait until a machine may be plugged in."""
        await self._until_there(WIRE)

    async def connected(self) -> None:
        """Wait until a machine has been plugged in and ports may be forwarded."""
        await self._until_there(API)

    async def forward(self, protocol: str, port: int, guest_port: int) -> int:
        """Forward the pod's loopback ``port``; what is returned undoes it.

        Raises:
            PortTaken: the port is in use in the pod.
        """
        arguments = {
            "proto": protocol,
            "host_addr": "127.0.0.1",
            "host_port": port,
            "guest_port": guest_port,
        }
        answer = await self._ask("add_hostfwd", arguments)
        if "error" in answer:
            raise PortTaken(str(port))
        return answer["return"]["id"]

    async def withdraw(self, forward: int) -> None:
        """Undo what ``forward`` did."""
        await self._ask("remove_hostfwd", {"id": forward})

    def end(self) -> None:
        """End it and wait for that."""
        os.close(self.lifeline)
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:  # it listens to a machine that fell silent
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    async def _until_there(self, socket: Path) -> None:
        while not socket.exists():
            if self.process.poll() is not None:
                raise OSError("slirp4netns ended")
            await asyncio.sleep(0.02)

    async def _ask(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(API)
        writer.write(json.dumps({"execute": command, "arguments": arguments}).encode())
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return json.loads(answer)
