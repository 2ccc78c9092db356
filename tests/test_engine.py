"""Finding, starting and stopping an engine."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import rootless
from course import debian, engine, lesson
from course.errors import CourseError

COURSE = Path(sys.executable).with_name("course")


def course(*args, **env):
    return subprocess.run(
        [COURSE, *args], env=os.environ | env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def real_socket(client):
    """Where the engine that the tests use listens."""
    return engine.find().host.removeprefix("unix://")


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine on which no engine answers, whatever the real one has."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", f"unix://{tmp_path}/none.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(rootless.state, "STATUS", tmp_path / "status.json")
    return tmp_path


def test_docker_host_that_does_not_answer_is_named():
    done = course("engine", "status", DOCKER_HOST="tcp://127.0.0.1:9")
    assert done.returncode == 2
    assert "No container engine answers at DOCKER_HOST=tcp://127.0.0.1:9" in done.stderr
    assert "unset DOCKER_HOST" in done.stderr
    assert "Traceback" not in done.stderr


def test_docker_host_is_the_only_place_looked_at(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    assert engine.addresses() == [("tcp://127.0.0.1:9", "DOCKER_HOST")]


def test_no_engine_anywhere_names_the_ways_to_get_one(nowhere):
    with pytest.raises(engine.NoEngine, match=r"WSL 2(.|\n)*Podman"):
        engine.find()


def test_socket_of_another_user_says_how_to_be_let_in(nowhere, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(engine.docker, "DockerClient", refuse)
    with pytest.raises(CourseError, match="usermod -aG docker"):
        engine.find()


def test_up_does_not_install_without_consent(nowhere, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(debian, "can_install", lambda: True)
    monkeypatch.setattr(debian, "install", lambda *p, **k: pytest.fail("installed"))
    with pytest.raises(engine.NoEngine):
        engine.up()


def test_up_tells_a_user_how_to_start_a_stopped_engine(nowhere, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/sbin/dockerd")
    monkeypatch.setattr(rootless, "missing_packages", lambda: ["user-mode-linux"])
    monkeypatch.setattr(engine, "_docker_context", lambda: None)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    with pytest.raises(CourseError, match="sudo systemctl start docker"):
        engine.up()


def test_a_rootless_engine_that_is_gone_is_not_waited_for(nowhere, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", rootless.HOST)  # as Jupyter sets it
    with pytest.raises(engine.NoEngine, match=r"not running\.\nStart it: `course engine up`"):
        engine.find()


def test_a_user_does_not_stop_the_engine_that_root_started(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PID", tmp_path / "pid")
    monkeypatch.setattr(engine.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(rootless, "down", lambda: True)
    engine.PID.write_text(str(os.getpid()))
    assert engine.down()  # the user's own
    assert engine.PID.exists()


def test_down_bears_with_an_empty_pid_file(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "PID", tmp_path / "pid")
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    engine.PID.touch()
    assert not engine.down()
    assert not engine.PID.exists()


@pytest.mark.engine
def test_status_shows_the_engine_and_how_it_was_found():
    done = course("engine", "status")
    assert done.returncode == 0
    assert "found by" in done.stdout


@pytest.mark.engine
def test_engine_behind_a_docker_context_is_found(client, monkeypatch, tmp_path):
    """Docker Desktop, Colima and others answer at a context's socket only."""
    found = engine.find()
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for command in (["create", "desk", f"--docker=host={found.host}"], ["use", "desk"]):
        subprocess.run(["docker", "context", *command], check=True, capture_output=True)
    assert engine.find().found_by == "the docker context desk"


@pytest.mark.engine
def test_podmans_socket_is_found_last(real_socket, nowhere):
    socket_file = nowhere / "podman/podman.sock"
    socket_file.parent.mkdir()
    # Podman's API is Docker's; the real engine's socket under Podman's name will do.
    socket_file.symlink_to(real_socket)
    assert engine.find().found_by == "Podman's socket"


@pytest.fixture
def fragile_engine(real_socket, nowhere, monkeypatch):
    """The real engine behind a socket that the test can cut off."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(nowhere / "fragile.sock"))
    listening.listen()
    open_sockets = [listening]

    def copy(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                inner, _ = listening.accept()
                outer = socket.socket(socket.AF_UNIX)
                outer.connect(real_socket)
                open_sockets.extend([inner, outer])
                for pair in ((inner, outer), (outer, inner)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    def stop():
        (nowhere / "fragile.sock").unlink(missing_ok=True)
        for each in open_sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    threading.Thread(target=accept, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{nowhere}/fragile.sock")
    yield stop
    stop()


@pytest.mark.engine
def test_engine_that_stops_half_way_is_said_and_the_lesson_starts_again(
    real_socket, fragile_engine, nowhere, monkeypatch
):
    monkeypatch.chdir(nowhere)
    monkeypatch.setattr(lesson, "_origin", None)
    lesson.start("01_docker")
    fragile_engine()
    with pytest.raises(CourseError, match="No container engine answers"):
        lesson.finish("01_docker")
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setattr(engine, "DEFAULT_SOCKET", f"unix://{real_socket}")
    lesson.start("01_docker")
    lesson.finish("01_docker")


@pytest.mark.engine
@pytest.mark.slow
def test_down_stops_the_engine_that_up_started_and_up_starts_it_again():
    if os.geteuid() != 0 or not engine.PID.exists():
        # Someone else's engine is not ours to stop. A service manager's in CI is that too.
        theirs = os.environ.get("CI") != "true" or Path("/run/systemd/system").is_dir()
        (pytest.skip if theirs else pytest.fail)("the course did not start the engine")
    assert course("engine", "down").stdout == "Stopped.\n"
    try:
        stopped = course("engine", "status")
        assert stopped.returncode == 2
        assert "Docker Desktop" in stopped.stderr
        assert course("engine", "down").stdout == "No engine was started by the course.\n"
    finally:
        started = course("engine", "up", "--yes")
    assert started.returncode == 0, started.stderr
    assert course("engine", "status").returncode == 0
