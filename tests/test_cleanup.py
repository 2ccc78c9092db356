"""Cleaning up takes what is the course's, and nothing else."""

import http.server
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from containers import own_container

from course import cleanup, images

pytestmark = pytest.mark.engine

BIN = Path(sys.executable).parent


def build(client, tag, *lines, base=images.PYTHON):
    dockerfile = "\n".join([f"FROM {base}", *lines])
    client.images.build(fileobj=io.BytesIO(dockerfile.encode()), tag=tag, rm=True)


@pytest.fixture
def objects(client):
    """Some of the course's objects, and some of a student's own beside them."""
    label = {cleanup.LABEL: "99_test"}
    cleanup.remove(client, "99_test")  # what a killed run left
    build(client, "course-test:1.0", f"LABEL {cleanup.LABEL}=99_test")
    build(client, "course-test:1.0", f"LABEL {cleanup.LABEL}=99_test more=1")  # first dangles
    client.images.get("course-test:1.0").tag("localhost:5001/course-test", "1.0")
    build(client, "mine:1.0", "LABEL own=1", base="course-test:1.0")
    client.containers.run("course-test:1.0", "sleep 60", detach=True)
    client.containers.run(images.PYTHON, "true", name="course-plain", labels=label, detach=True)
    client.volumes.create("course-data", labels=label)
    client.volumes.create("own-data", labels=label)
    client.volumes.create("course-unlabeled")
    client.networks.create("course-net", labels=label)
    with own_container(client, "mine:1.0", "sleep 60", name="own-container"):
        yield
    for container in client.containers.list(all=True):
        if container.name == "course-plain" or "course-test" in str(
            container.attrs["Config"]["Image"]
        ):
            container.remove(force=True)
    client.images.remove("mine:1.0", force=True)
    for volume in ("own-data", "course-unlabeled"):
        client.volumes.get(volume).remove()
    cleanup.remove(client, "99_test")


def names(client):
    found = {c.name for c in client.containers.list(all=True)}
    found |= {v.name for v in client.volumes.list()} | {n.name for n in client.networks.list()}
    return found | {tag for image in client.images.list() for tag in image.tags}


def labeled(client):
    return client.containers.list(all=True, filters={"label": f"{cleanup.LABEL}=99_test"})


def test_removes_the_courses_objects_and_keeps_the_students(client, objects):
    before = names(client)
    removed = cleanup.remove(client, "99_test")
    gone = before - names(client)
    assert {"course-plain", "course-data", "course-net"} <= gone
    assert {"course-test:1.0", "localhost:5001/course-test:1.0"} <= gone
    stay = {"own-container", "mine:1.0", "own-data", "course-unlabeled", images.PYTHON}
    assert stay <= names(client)
    assert [container.name for container in labeled(client)] == ["own-container"]
    dangling = client.images.list(filters={"label": f"{cleanup.LABEL}=99_test", "dangling": True})
    assert dangling == []
    assert removed.kept == {}


def test_removing_twice_finds_nothing_more(client, objects):
    cleanup.remove(client, "99_test")
    assert cleanup.remove(client, "99_test").names == []


def test_another_lessons_objects_stay(client, objects):
    cleanup.remove(client, "98_other")
    assert {"course-plain", "course-data", "course-test:1.0"} <= names(client)


def test_what_is_in_use_is_kept_and_said(client, objects):
    used = {"name": "own-user", "volumes": ["course-data:/data"]}
    with own_container(client, images.PYTHON, "sleep 60", **used):
        removed = cleanup.remove(client, "99_test")
        assert "in use" in removed.kept["volume course-data"]


def test_the_command_removes_all_lessons_and_says_what_is_in_use(client, objects):
    stand_in = images.state(client, images.PYTHON).origin == "stand-in"
    with own_container(client, images.PYTHON, "sleep 60", name="own-user"):
        done = subprocess.run([BIN / "course", "clean"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "removed container course-plain" in done.stdout
    assert {"own-container", "mine:1.0", "own-data", images.PYTHON} <= names(client)
    assert (f"kept stand-in {images.PYTHON}" in done.stdout) == stand_in
    subprocess.run([BIN / "course", "images", "--yes"], check=True)  # stand-ins back


def test_an_engine_that_fails_is_a_message_and_no_traceback(tmp_path):
    """It answers the first question, as an engine that stops half-way does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith("/version"):
                self.connection.close()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"Version": "1", "ApiVersion": "1.41"}')

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = os.environ | {"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"}
        done = subprocess.run([BIN / "course", "clean"], env=env, capture_output=True, text=True)
        server.shutdown()
    assert done.returncode == 2
    assert "The container engine failed or stopped" in done.stderr
    assert "Traceback" not in done.stderr
