"""Talking with dockerd through the guest's doorman."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

LONGEST_HEAD = 2**20


class Connection:
    """One connection with dockerd, for one request.

    Attributes:
        answers: what dockerd says.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answers = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send ``data``; without any, say that nothing more will come."""
        self._writer.write(len(data).to_bytes(4) + data)  # a frame, see guest/doorman.py
        await self._writer.drain()

    async def send_all_of(self, source: asyncio.StreamReader) -> None:
        """Send what comes from ``source``, and its end."""
        with suppress(OSError):
            while data := await source.read(65536):
                await self.send(data)
            await self.send(b"")

    def close(self) -> None:
        """Listen no longer."""
        self._writer.close()


class Engine:
    """dockerd as it is reached from the pod.

    Attributes:
        port: on the pod's loopback address, forwarded to the guest's doorman.
        secret: what the doorman wants to hear first.
    """

    def __init__(self, port: int, secret: str) -> None:
        self.port = port
        self.secret = secret

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            OSError: the guest cannot be reached.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=LONGEST_HEAD)
        writer.write(f"{self.secret}\n".encode())
        return Connection(reader, writer)

    async def get(self, path: str) -> Any:
        """What dockerd has at ``path``; None where it has nothing.

        Raises:
            OSError: it does not answer.
        """
        connection = await self._request(path)
        try:
            status, _, rest = (await connection.answers.read()).partition(b"\r\n")
        finally:
            connection.close()
        if b" " not in status:
            raise ConnectionError("dockerd does not answer")
        body = rest.partition(b"\r\n\r\n")[2]
        return json.loads(body) if status.split()[1] == b"200" else None

    async def events(self, *actions: str) -> AsyncIterator[None]:
        """Something for each time that one of ``actions`` happens to a container.

        The first one comes when dockerd has begun to tell.
        """
        filters = json.dumps({"type": ["container"], "event": list(actions)})
        connection = await self._request(f"/events?filters={quote(filters)}")
        try:
            await connection.answers.readuntil(b"\r\n\r\n")
            yield
            while await connection.answers.readline():
                yield
        finally:
            connection.close()

    async def _request(self, path: str) -> Connection:
        connection = await self.connect()
        # HTTP 1.0: the answer comes in one piece, and its end closes the connection.
        await connection.send(f"GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n".encode())
        return connection
