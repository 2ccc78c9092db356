"""Published ports: what a container publishes in the guest appears in the pod."""

import asyncio
from contextlib import suppress
from typing import Any

from rootless.engine import Engine
from rootless.slirp import PortTaken, Slirp

Port = tuple[str, int]
"""A protocol and a number, such as ("tcp", 8001)."""


class Ports:
    """The forwards of published ports, kept in step with the running containers."""

    def __init__(self, engine: Engine, slirp: Slirp) -> None:
        self._engine = engine
        self._slirp = slirp
        self._forwards: dict[Port, int] = {}
        self._claimed: set[Port] = set()
        self._lock = asyncio.Lock()

    async def claim(self, ports: set[Port]) -> None:
        """Forward ``ports`` for a container that is about to start.

        They stay, even though nobody publishes them yet, until ``settle``.

        Raises:
            PortTaken: one is in use; none has been forwarded.
        """
        await self.update()
        async with self._lock:
            mine: list[Port] = []
            try:
                for port in sorted(ports):
                    if port in self._forwards:
                        raise PortTaken(str(port[1]))
                    await self._add(port)
                    mine.append(port)
            except PortTaken:
                for port in mine:
                    await self._drop(port)
                raise
            self._claimed |= ports

    async def settle(self, ports: set[Port]) -> None:
        """The container has started, or has failed to."""
        self._claimed -= ports
        await self.update()

    async def update(self) -> None:
        """Forward what running containers publish, and nothing else."""
        async with self._lock:
            published = published_now(await self._engine.get("/containers/json") or [])
            for port in self._forwards.keys() - published - self._claimed:
                await self._drop(port)
            for port in published - self._forwards.keys():
                # A container that dockerd started by itself, after a restart of the
                # engine or of the container: there is nobody to tell.
                with suppress(PortTaken):
                    await self._add(port)

    async def follow(self) -> None:
        """Keep in step with containers that start and end by themselves."""
        async for _ in self._engine.events("start", "die"):
            await self.update()

    async def _add(self, port: Port) -> None:
        self._forwards[port] = await self._slirp.forward(*port, guest_port=port[1])

    async def _drop(self, port: Port) -> None:
        await self._slirp.withdraw(self._forwards.pop(port))


def wanted(container: dict[str, Any]) -> set[Port]:
    """The ports that a container publishes by number, from what `inspect` shows."""
    return {
        (inside.rpartition("/")[2], int(binding["HostPort"]))
        for inside, bindings in (container["HostConfig"].get("PortBindings") or {}).items()
        for binding in bindings or []
        if binding.get("HostPort", "").isdigit() and binding["HostPort"] != "0"
    }


def published_now(containers: list[dict[str, Any]]) -> set[Port]:
    """The ports that running containers publish, from the engine's list of them."""
    return {
        (port["Type"], port["PublicPort"])
        for container in containers
        for port in container["Ports"]
        if "PublicPort" in port
    }
