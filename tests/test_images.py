"""The base images: pulled where a registry answers, stood in for where none does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import own_container

from course import ROOT, cleanup, engine, images
from course.errors import CourseError
from course.lesson import wait_for

pytestmark = pytest.mark.engine

COURSE = Path(sys.executable).with_name("course")


@pytest.fixture
def registry(client):
    """A registry on this machine, from the image that the lessons use."""
    ports = {"5000": ("127.0.0.1", None)}
    with own_container(client, images.REGISTRY, name="own-registry", ports=ports) as container:
        container.reload()
        port = container.ports["5000/tcp"][0]["HostPort"]
        wait_for(f"http://127.0.0.1:{port}/v2/")
        yield f"127.0.0.1:{port}"


def test_what_a_killed_run_left_is_in_nobodys_way(client):
    """The tests' own containers have fixed names."""
    client.containers.create(images.PYTHON, "sleep 60", name="own-leftover")
    with own_container(client, images.PYTHON, "sleep 60", name="own-leftover") as container:
        container.reload()
        assert container.status == "running"
    assert client.containers.list(all=True, filters={"name": "own-leftover"}) == []


def test_every_image_of_a_lesson_can_be_stood_in_for():
    folders = {path.name for path in (ROOT / "docker/stand-ins").iterdir()}
    names = {ref.rpartition("/")[2].partition(":")[0] for ref in images.ALL}
    assert names == folders


def test_an_image_that_is_there_is_left_alone(client):
    before = client.images.get(images.PYTHON).id
    images.build_stand_in(engine.find(), images.PYTHON)
    assert client.images.get(images.PYTHON).id == before


def test_an_image_built_on_a_stand_in_is_no_stand_in(client):
    client.images.get(images.PYTHON).tag("course-derived", "1")
    try:
        assert images.state(client, "course-derived:1").origin == "real"
    finally:
        client.images.remove("course-derived:1")


def test_state_of_an_image_that_is_not_there(client):
    assert images.state(client, "course-none:1") == images.State("course-none:1", "missing", 0)


def test_pull_takes_the_image_from_its_registry(client, registry):
    ref = f"{registry}/course-pulled:1"
    client.images.get(images.REGISTRY).tag(ref)
    client.images.push(ref)
    client.images.remove(ref)
    assert images.pull(client, ref) is None
    assert images.state(client, ref).size_mb > 0
    client.images.remove(ref)


def test_pull_gives_the_reason_where_it_cannot(client, registry):
    assert "not found" in images.pull(client, f"{registry}/course-none:1")


@pytest.fixture
def insecure_docker(monkeypatch, tmp_path):
    """A docker command that accepts the test's registry, which has no TLS."""
    real = shutil.which("docker")
    script = f'#!/bin/sh\nshift 2\nexec {real} manifest inspect --insecure "$@"\n'
    (tmp_path / "docker").write_text(script)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_download_size_is_that_of_the_compressed_layers(client, registry, insecure_docker):
    ref = f"{registry}/course-sized:1"
    client.images.get(images.PYTHON).tag(ref)
    try:
        client.images.push(ref)
        size = images.download_mb(ref)
        assert 10 < size < client.images.get(ref).attrs["Size"] / 1e6
    finally:
        client.images.remove(ref)


def test_no_registry_means_no_size():
    assert images.download_mb("127.0.0.1:9/course-none:1") is None


def test_the_python_stand_in_is_like_the_image_it_stands_in_for(client):
    run = lambda command: client.containers.run(images.PYTHON, command, remove=True).decode()  # noqa: E731
    assert run("python --version").startswith("Python 3.13.")
    assert run("pip --version").startswith("pip ")
    assert "trixie" in run("cat /etc/os-release")
    run(["sh", "-c", "pip install --no-index --dry-run pip && python -m venv /tmp/v"])


@pytest.mark.slow
def test_without_a_registry_the_command_asks_then_builds_and_says_so(client, monkeypatch):
    if images.state(client, images.REGISTRY).origin == "stand-in":
        client.images.remove(images.REGISTRY)
        monkeypatch.delenv("CI", raising=False)
        refused = subprocess.run(
            [COURSE, "images"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert refused.returncode == 2
        assert "course images --yes" in refused.stderr
    made = subprocess.run([COURSE, "images", "--yes"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert f"{images.REGISTRY}: " in made.stdout


def test_a_stand_in_that_cannot_be_built_says_what_is_needed(client, monkeypatch):
    monkeypatch.setattr(images, "missing", lambda client, refs: refs)
    monkeypatch.setattr(images.shutil, "which", lambda name: None)
    monkeypatch.setattr(images.debian, "can_install", lambda: False)
    with pytest.raises(CourseError, match="apt-get install mmdebstrap"):
        images.build_stand_in(engine.find(), images.PYTHON)


def test_stand_ins_carry_a_label_that_lessons_do_not_use():
    assert images.STAND_IN_LABEL != cleanup.LABEL
