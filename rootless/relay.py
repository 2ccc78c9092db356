"""The socket that DOCKER_HOST names: passes requests on to dockerd in the guest.

It looks at the first line of each request. Those that start or end a container wait
until the ports that it publishes are forwarded in the pod, or no longer are: then a
port that is taken is an error of the command that wanted it, as with any engine.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator

from rootless import guard, state
from rootless.engine import LONGEST_HEAD, Engine
from rootless.ports import Ports, wanted
from rootless.slirp import PortTaken

STARTS = re.compile(r"POST (?:/v[\d.]+)?/containers/([^/]+)/start")
ENDS = re.compile(
    r"POST (?:/v[\d.]+)?/containers/[^/]+/(?:stop|kill|restart)"
    r"|DELETE (?:/v[\d.]+)?/containers/[^/]+"
)
UPGRADE = re.compile(rb"\r\nUpgrade:", re.IGNORECASE)
CONNECTION = re.compile(rb"\r\nConnection:[^\r]*", re.IGNORECASE)


class Client:
    """Somebody who has connected to the socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, data: bytes) -> None:
        """Send ``data``."""
        self.writer.write(data)
        await self.writer.drain()


class Relay:
    """Listens from the start, and answers once dockerd does."""

    def __init__(self, engine: Engine, ports: Ports, guarded: bool) -> None:
        self._engine = engine
        self._ports = ports
        self._guarded = guarded
        self._at_work: set[asyncio.Task[None]] = set()
        self.opened = asyncio.Event()

    async def listen(self) -> asyncio.Server:
        """Begin to listen."""
        state.SOCKET.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._welcome, state.SOCKET, limit=LONGEST_HEAD)
        state.SOCKET.chmod(0o666 if self._guarded else 0o600)
        return server

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(Client(reader, writer)))
        self._at_work.add(task)  # the event loop itself keeps no task alive
        task.add_done_callback(self._at_work.discard)

    async def _serve(self, client: Client) -> None:
        try:
            head = await client.reader.readuntil(b"\r\n\r\n")
            await self.opened.wait()
            body = b""
            if self._guarded:
                head, body = await _guarded(head, client)
            await self._pass_on(_last(head) + body, client)
        except guard.Refused as refused:
            await client.answer(_error("403 Forbidden", str(refused)))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client sees that the connection ends
        finally:
            client.writer.close()

    async def _pass_on(self, head: bytes, client: Client) -> None:
        request = _request(head)
        if starts := STARTS.fullmatch(request):
            await self._start(starts[1], head, client)
        elif ENDS.fullmatch(request):
            answer = b"".join([part async for part in self._answers(head, client)])
            await self._ports.update()
            await client.answer(answer)
        else:
            async for part in self._answers(head, client):
                await client.answer(part)

    async def _start(self, name: str, head: bytes, client: Client) -> None:
        container = await self._engine.get(f"/containers/{name}/json")
        stopped = container and not container["State"]["Running"]
        ports = wanted(container) if stopped else set()
        try:
            await self._ports.claim(ports)
        except PortTaken as taken:
            await client.answer(_refusal(container, taken))
            return
        try:
            answer = b"".join([part async for part in self._answers(head, client)])
        finally:
            await self._ports.settle(ports)
        await client.answer(answer)

    async def _answers(self, head: bytes, client: Client) -> AsyncIterator[bytes]:
        """What dockerd answers to a request: its head, and the rest from the client."""
        connection = await self._engine.connect()
        await connection.send(head)
        rest = asyncio.create_task(connection.send_all_of(client.reader))
        try:
            while part := await connection.answers.read(65536):
                yield part
        finally:
            rest.cancel()
            connection.close()


async def _guarded(head: bytes, client: Client) -> tuple[bytes, bytes]:
    """A request's head as it may pass, and its body where that was looked at.

    Raises:
        Refused: it may not.
    """
    guard.require_plain(head)
    if kind := guard.looks_at(_request(head), _query(head)):
        body = await client.reader.readexactly(guard.body_length(head))
        body = guard.harmless(kind, body)
        return guard.with_length(head, len(body)), body
    return head, b""


def _last(head: bytes) -> bytes:
    """The head of a request that is its connection's last: only one has to be read."""
    closing = b"Upgrade, close" if UPGRADE.search(head) else b"close"
    return CONNECTION.sub(b"", head[:-2]) + b"Connection: " + closing + b"\r\n\r\n"


def _request(head: bytes) -> str:
    """The method and the path, without what is asked of it."""
    method, target = head.split(b" ", 2)[:2]
    return f"{method.decode()} {target.decode().partition('?')[0]}"


def _query(head: bytes) -> str:
    """What is asked of the path."""
    return head.split(b" ", 2)[1].decode().partition("?")[2]


def _refusal(container: dict, taken: PortTaken) -> bytes:
    """The answer that dockerd gives where a port is taken."""
    name, short_id = container["Name"].lstrip("/"), container["Id"][:12]
    message = (
        f"driver failed programming external connectivity on endpoint {name} ({short_id}): "
        f"Bind for 127.0.0.1:{taken} failed: port is already allocated"
    )
    return _error("500 Internal Server Error", message)


def _error(status: str, message: str) -> bytes:
    body = json.dumps({"message": message}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
