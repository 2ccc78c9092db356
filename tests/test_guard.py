"""The guard of the engine that copies get: what passes, and what does not."""

import json

import pytest

from rootless import guard

CREATE = "POST /v1.45/containers/create"

# As the command line sends it for `docker run --publish 127.0.0.1:8080:8000 image`.
PLAIN = {
    "Hostname": "",
    "AttachStdout": True,
    "Env": None,
    "Cmd": None,
    "Image": "course-fraud:1.0",
    "Volumes": {},
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": {},
    "HostConfig": {
        "Binds": None,
        "ContainerIDFile": "",
        "LogConfig": {"Type": "", "Config": {}},
        "NetworkMode": "default",
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "ConsoleSize": [0, 0],
        "CapAdd": None,
        "IpcMode": "",
        "Privileged": False,
        "MemorySwappiness": -1,
        "MaskedPaths": None,
    },
    "NetworkingConfig": {"EndpointsConfig": {"default": {"Aliases": None}}},
}


def test_an_ordinary_container_passes_with_less_rights_than_usual():
    passed = json.loads(guard.harmless("container", json.dumps(PLAIN).encode()))
    assert passed["HostConfig"]["PortBindings"] == PLAIN["HostConfig"]["PortBindings"]
    assert passed["HostConfig"]["CapDrop"] == ["MKNOD", "NET_RAW"]
    assert not passed["HostConfig"].keys() & {"Privileged", "MaskedPaths", "CapAdd"}


@pytest.mark.parametrize(
    "more",
    [
        {"Privileged": True},
        {"CapAdd": ["SYS_ADMIN"]},
        {"Binds": ["/:/host"]},
        {"Binds": ["../x:/host"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"PidMode": "host"},
        {"IpcMode": "host"},
        {"UTSMode": "host"},
        {"CgroupnsMode": "host"},
        {"NetworkMode": "host"},
        {"NetworkMode": "container:other"},
        {"Devices": [{"PathOnHost": "/dev/ubda"}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"MaskedPaths": ["/none"]},
        {"VolumesFrom": ["other"]},
        {"Runtime": "other"},
        {"CgroupParent": "/"},
        {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "unix:///run/docker.sock"}}},
        {"privileged": True},  # dockerd does not mind the case
        {"Unknown": "x"},
    ],
    ids=lambda more: next(f"{name}={value}" for name, value in more.items()),
)
def test_a_container_with_more_rights_does_not(more):
    body = PLAIN | {"HostConfig": PLAIN["HostConfig"] | more}
    with pytest.raises(guard.Refused, match=r"not allowed here"):
        guard.harmless("container", json.dumps(body).encode())


def test_rights_cannot_hide_from_the_look():
    hidden = PLAIN | {"hostconfig": {"Privileged": True}}
    with pytest.raises(guard.Refused, match="hostconfig"):
        guard.harmless("container", json.dumps(hidden).encode())
    host = PLAIN | {"NetworkingConfig": {"EndpointsConfig": {"host": {}}}}
    with pytest.raises(guard.Refused, match="network host"):
        guard.harmless("container", json.dumps(host).encode())
    # Twice the same name: what was looked at is what passes.
    twice = b'{"HostConfig": {"Privileged": true}, "HostConfig": {}}'
    assert b"Privileged" not in guard.harmless("container", twice)
    unmasked = PLAIN | {"HostConfig": {"MaskedPaths": [], "ReadonlyPaths": []}}
    assert b"Paths" not in guard.harmless("container", json.dumps(unmasked).encode())
    for body in (b"", b"[]", b"null", b"[" * 100_000):
        with pytest.raises(guard.Refused, match="JSON"):
            guard.harmless("container", body)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("command", {"Cmd": ["id"], "Privileged": True}),
        ("network", {"Name": "x", "Driver": "macvlan"}),
        ("network", {"Name": "x", "Options": {"parent": "vec0"}}),
        ("volume", {"Name": "x", "DriverOpts": {"type": "none", "o": "bind", "device": "/"}}),
        ("volume", {"Name": "x", "Driver": "other"}),
    ],
)
def test_neither_do_commands_networks_and_volumes(kind, body):
    with pytest.raises(guard.Refused):
        guard.harmless(kind, json.dumps(body).encode())


@pytest.mark.parametrize(
    "query", ["networkmode=host", "t=x&network%6Dode=container:y", "cgroupparent=/"]
)
def test_nor_do_builds(query):
    with pytest.raises(guard.Refused, match="not allowed here"):
        guard.looks_at("POST /v1.45/build", query)


def test_a_build_as_the_command_line_asks_for_it_passes():
    query = "buildargs=%7B%7D&cgroupparent=&networkmode=default&t=course-fraud%3A1.0&version=2"
    assert guard.looks_at("POST /v1.45/build", query) is None


def test_nothing_is_asked_in_a_form():
    head = b"POST /build HTTP/1.1\r\nContent-Type: Application/X-WWW-Form-URLencoded\r\n\r\n"
    with pytest.raises(guard.Refused, match="form"):
        guard.require_plain(head)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /_ping",
        "HEAD /_ping",
        "GET /v1.45/containers/json",
        "GET /v1.45/containers/course-fraud/logs",
        "POST /v1.45/containers/course-fraud/start",
        "DELETE /v1.45/containers/course-fraud",
        "PUT /v1.45/containers/x/archive",
        "POST /v1.45/build",
        "POST /session",
        "POST /grpc",
        "GET /v1.45/images/course-fraud:1.0/json",
        "POST /v1.45/images/localhost:5000/course-fraud/push",
        "GET /v1.45/exec/abc/json",
        "POST /v1.45/exec/abc/start",
    ],
)
def test_what_the_labs_ask_passes_unread(request_line):
    assert guard.looks_at(request_line) is None


@pytest.mark.parametrize(
    "request_line",
    [
        "POST /v1.45/plugins/pull",
        "POST /v1.45/swarm/init",
        "POST /v1.45/services/create",
        "POST /v1.45/containers/x/update",
        "POST /v1.45/containers/../containers/create",
        "POST /v1.45//containers/create",
        "POST /v1.45/containers/cre%61te",
        "POST http://docker/v1.45/containers/create",
        "POST /v1.45/containers/create/",
        "post /v1.45/containers/create",
        "GET /v1.45/images/../../containers/create",
        "PRI *",
    ],
)
def test_nothing_else_does(request_line):
    with pytest.raises(guard.Refused):
        guard.looks_at(request_line)


def test_bodies_are_read_where_it_matters():
    assert guard.looks_at(CREATE) == "container"
    assert guard.looks_at("POST /containers/create") == "container"
    assert guard.looks_at("POST /v1.45/containers/x/exec") == "command"
    assert guard.looks_at("POST /v1.45/networks/create") == "network"
    assert guard.looks_at("POST /v1.45/volumes/create") == "volume"


def test_a_request_cannot_hide_behind_another():
    good = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n"
    guard.require_plain(good)
    assert guard.body_length(good) == 12
    assert b"\r\nContent-Length: 7\r\n" in guard.with_length(good, 7)
    for head in (
        b"GET /_ping HTTP/1.1\nHost: x\n\nPOST /containers/create HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\rPOST /x HTTP/1.1\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
    ):
        with pytest.raises(guard.Refused):
            guard.require_plain(head)
    for lengths in (
        b"",
        b"Content-Length: 12\r\nContent-Length: 13\r\n",
        b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length : 12\r\n",
        b"Content-Length: +12\r\n",
        b"Content-Length: 99999999\r\n",
    ):
        with pytest.raises(guard.Refused):
            guard.body_length(b"POST /containers/create HTTP/1.1\r\n" + lengths + b"\r\n")
