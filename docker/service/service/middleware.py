"""What happens to every request before and after its endpoint."""

import re
import time
import uuid

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import LATENCY, REQUESTS

MAX_BODY_BYTES = 1_000_000
_SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def problem(status: int, title: str, detail: str, errors: list | None = None) -> JSONResponse:
    """An answer in the form of RFC 9457."""
    body = {"title": title, "status": status, "detail": detail, "errors": errors or []}
    return JSONResponse(body, status, media_type="application/problem+json")


class Watch:
    """Gives each request an id, limits its body, counts it and measures its time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, as ASGI says."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        asked = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = asked if _SAFE_ID.fullmatch(asked) else str(uuid.uuid4())
        scope.setdefault("state", {}).update(request_id=request_id, started=started)
        status, size = 500, 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        async def limited_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY_BYTES:
                raise HTTPException(413, f"The body is larger than {MAX_BODY_BYTES} bytes")
            return message

        try:
            await self.app(scope, limited_receive, watched_send)
        finally:
            route = scope.get("route")  # the pattern, not the path: few label values
            path = getattr(route, "path", "(none)")
            REQUESTS.labels(scope["method"], path, status).inc()
            LATENCY.labels(path).observe(time.perf_counter() - started)
