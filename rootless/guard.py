"""What a guarded engine does for its user: nothing that reaches beyond a container.

Whoever may ask dockerd for anything is root beside it, and could put a liar in its place.
A grader must be able to believe it, so this lets pass only what is listed here: no host
folders, devices, namespaces or added rights for containers, no plugins, no swarm.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qsl

LONGEST_BODY = 2**20

_VERSION = r"(?:/v1\.\d+)?"
_SOMETHING = r"[^%?]*"  # dockerd would decode what follows a %
_OPEN = re.compile(
    rf"(?:GET|HEAD) {_VERSION}/(?:_ping|version|info|events|system/df)"
    rf"|POST {_VERSION}/_ping"
    rf"|(?:GET|HEAD|POST|DELETE) {_VERSION}/(?:images|build)(?:/{_SOMETHING})?"
    rf"|POST {_VERSION}/(?:session|grpc)"
    rf"|(?:GET|HEAD|PUT|DELETE) {_VERSION}/containers/{_SOMETHING}"
    rf"|POST {_VERSION}/containers/[\w.-]+/"
    r"(?:attach|kill|pause|rename|resize|restart|start|stop|unpause|wait)"
    rf"|POST {_VERSION}/containers/prune"
    rf"|POST {_VERSION}/exec/\w+/(?:start|resize)"
    rf"|GET {_VERSION}/exec/\w+/json"
    rf"|(?:GET|DELETE) {_VERSION}/networks(?:/{_SOMETHING})?"
    rf"|POST {_VERSION}/networks/(?:prune|[\w.-]+/(?:connect|disconnect))"
    rf"|(?:GET|DELETE) {_VERSION}/volumes(?:/{_SOMETHING})?"
)
_BUILD = re.compile(rf"POST {_VERSION}/build")
_LOOKED_AT = {
    "container": re.compile(rf"POST {_VERSION}/containers/create"),
    "command": re.compile(rf"POST {_VERSION}/containers/[\w.-]+/exec"),
    "network": re.compile(rf"POST {_VERSION}/networks/create"),
    "volume": re.compile(rf"POST {_VERSION}/volumes/create"),
}

_FIELDS = {
    "container": (
        "AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts "
        "Healthcheck HostConfig Hostname Image Labels NetworkingConfig OnBuild OpenStdin Shell "
        "StdinOnce StopSignal StopTimeout Tty User Volumes WorkingDir"
    ),
    "host": (
        "AutoRemove Binds CapDrop ConsoleSize CpuShares Dns DnsOptions DnsSearch ExtraHosts "
        "Init Memory MemorySwap MemorySwappiness NanoCpus NetworkMode PidsLimit PortBindings "
        "PublishAllPorts ReadonlyRootfs RestartPolicy SecurityOpt ShmSize Tmpfs Ulimits"
    ),
    "command": (
        "AttachStderr AttachStdin AttachStdout Cmd ConsoleSize Detach DetachKeys Env Tty User "
        "WorkingDir"
    ),
    "network": "CheckDuplicate Driver EnableIPv6 IPAM Internal Labels Name",
    "volume": "Driver Labels Name",
}
_ALLOWED = {kind: frozenset(names.split()) for kind, names in _FIELDS.items()}
_NAMED_VOLUME = re.compile(r"[A-Za-z0-9][\w.-]*:/[^:]*(?::(?:ro|rw))?")
_DROPPED = ["MKNOD", "NET_RAW"]
"""Rights that containers have elsewhere. With the first they could read the disk."""
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+) *(?=\r\n)", re.IGNORECASE)
_STATED_LENGTH = re.compile(rb"\r\n(?:Content-Length|Transfer-Encoding)\s*:", re.IGNORECASE)


class Refused(Exception):
    """The request may not pass; says why."""


def require_plain(head: bytes) -> None:
    """Raise Refused if dockerd might read another request in ``head`` than we do."""
    if re.search(rb"(?<!\r)\n|\r(?!\n)|\r\n[ \t]", head):
        raise Refused("The request has lines that end in another way than HTTP's.")
    if re.search(rb"x-www-form-urlencoded", head, re.IGNORECASE):
        raise Refused("What is asked must stand in the address, not in a form.")


def looks_at(request: str, query: str = "") -> str | None:
    """Which kind of body has to be looked at; None if the request may pass as it is.

    Args:
        request: its method and path, such as ``POST /v1.41/containers/create``.
        query: what follows the path's question mark.

    Raises:
        Refused: it is none of those that are allowed.
    """
    for kind, pattern in _LOOKED_AT.items():
        if pattern.fullmatch(request):
            return kind
    path = request.partition(" ")[2]
    if not _OPEN.fullmatch(request) or "//" in path or "/." in path:
        raise Refused(f"{request} is not allowed here.")
    if _BUILD.fullmatch(request):
        for name, value in parse_qsl(query):
            if name == "networkmode":
                _require_own_network(value)
            elif name == "cgroupparent":
                raise Refused(f"{name} is not allowed here.")
    return None


def body_length(head: bytes) -> int:
    """How long the body is, in bytes.

    Raises:
        Refused: the head does not say so once and clearly, or it is too long.
    """
    stated = _LENGTH.findall(head)
    if len(stated) != 1 or len(_STATED_LENGTH.findall(head)) != 1:
        raise Refused("The request must state the length of its body.")
    if int(stated[0]) > LONGEST_BODY:
        raise Refused("The body is too long.")
    return int(stated[0])


def with_length(head: bytes, length: int) -> bytes:
    """``head`` for a body of another length."""
    return _LENGTH.sub(b"\r\nContent-Length: %d" % length, head)


def harmless(kind: str, body: bytes) -> bytes:
    """The body with nothing in it but what is allowed.

    Raises:
        Refused: it asks for more.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Refused("The body is not JSON.") from None
    checked = _only(kind, asked)
    if kind == "container":
        checked["HostConfig"] = _host_config(checked.get("HostConfig") or {})
        networks = (checked.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        if "host" in networks:
            raise Refused("The network host is not allowed here.")
        checked["NetworkingConfig"] = {"EndpointsConfig": networks}
    if kind == "network" and checked.get("Driver") not in (None, "", "bridge"):
        raise Refused("Networks other than bridges are not allowed here.")
    if kind == "volume" and checked.get("Driver") not in (None, "", "local"):
        raise Refused("Volumes with a driver are not allowed here.")
    return json.dumps(checked).encode()


def _host_config(asked: dict[str, Any]) -> dict[str, Any]:
    config = _only("host", asked)
    _require_own_network(str(config.get("NetworkMode") or ""))
    for bind in config.get("Binds") or []:
        if not _NAMED_VOLUME.fullmatch(str(bind)):
            raise Refused(f"The mount {bind} is not allowed here: only named volumes are.")
    for option in config.get("SecurityOpt") or []:
        if option not in ("no-new-privileges", "no-new-privileges=true"):
            raise Refused(f"The security option {option} is not allowed here.")
    config["CapDrop"] = [*(config.get("CapDrop") or []), *_DROPPED]
    return config


def _require_own_network(mode: str) -> None:
    if mode.split(":")[0] in ("host", "container"):
        raise Refused(f"The network {mode} is not allowed here.")


def _only(kind: str, asked: Any) -> dict[str, Any]:
    """The allowed fields of ``asked``; others must be empty, and are left out."""
    if not isinstance(asked, dict):
        raise Refused("The body is not a JSON object.")
    for name, value in asked.items():
        unset = value in (None, "", [], {}, 0, False) or value == {"Type": "", "Config": {}}
        if name not in _ALLOWED[kind] and not unset:
            raise Refused(f"{name} is not allowed here.")
    return {name: value for name, value in asked.items() if name in _ALLOWED[kind]}
