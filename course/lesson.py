"""What every lesson's notebook calls: start, wait for a server, show a plot, finish."""

import os
import shutil
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import requests
from docker.errors import DockerException
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from course import ROOT, cleanup, engine, images
from course.errors import CourseError
from offline import room

_origin: Path | None = None  # the notebook's folder: start() leaves it


def start(name: str, **ports: int) -> None:
    """Give a lesson a clean place to work in.

    Makes the empty folder ``workspace/<name>`` beside the notebook the working
    directory (an earlier one is kept as ``<name>.previous``), and lets the cells'
    commands find this environment's programs. For a lesson with containers, it
    removes what an earlier run left in the engine, pulls missing base images, and
    lets the commands find the engine.

    Args:
        name: the lesson, such as ``01_docker``.
        ports: the ports that it publishes on 127.0.0.1. Each must be free, and is
            set as an environment variable under its name.

    Raises:
        CourseError: no engine answers, a base image is missing or a port is
            taken; says what to do.
    """
    bin_folder = str(Path(sys.executable).parent)
    if bin_folder not in os.environ["PATH"].split(os.pathsep):
        os.environ["PATH"] = bin_folder + os.pathsep + os.environ["PATH"]
    workspace = _fresh_workspace(name)
    print(f"Working in {workspace.relative_to(_origin)}.")
    if name in images.LESSON_IMAGES:
        _prepare_engine(name)
    for variable, port in ports.items():
        _require_free(port, variable)
        os.environ[variable] = str(port)


def finish(name: str) -> None:
    """Remove what the lesson made in the container engine; its files stay."""
    if name not in images.LESSON_IMAGES:
        print("Nothing to remove: this lesson used no container.")
        return
    removed = cleanup.remove(engine.find().client(), name)
    for what, reason in removed.kept.items():
        print(f"Kept {what}: {reason}")
    print("Clean: nothing of this lesson is left in the engine.")


def wait_for(url: str, seconds: float = 60) -> str:
    """Ask ``url`` until it answers with a status below 400, and return the body.

    Raises:
        CourseError: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            answer = requests.get(url, timeout=2)
            if answer.ok:
                return answer.text
            last = f"HTTP status {answer.status_code}"
        except requests.RequestException as error:
            last = type(error).__name__
        time.sleep(0.05)
    raise CourseError(
        f"{url} did not answer within {seconds:g} s: {last}",
        "Look at `docker ps -a` and `docker logs <container>`.",
    )


def materialize_service() -> None:
    """Put the service of lesson 02 into the folder ``service``, as that lesson leaves it."""
    unwanted = shutil.ignore_patterns("__pycache__", ".pytest_cache", "model")
    shutil.copytree(ROOT / "docker/service", "service", ignore=unwanted, dirs_exist_ok=True)
    print("The service of lesson 02 is in the folder service.")


def show(figure: Figure, alt: str) -> None:
    """Display ``figure`` with ``alt``, the text for those who cannot see it."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def _prepare_engine(name: str) -> None:
    found = engine.find()
    os.environ |= found.environment()
    client = found.client()
    cleanup.remove(client, name)
    room.provide(client, images.LESSON_IMAGES[name])
    for ref in images.missing(client, images.LESSON_IMAGES[name]):
        print(f"Pulling {ref} ...")
        if reason := images.pull(client, ref):
            raise CourseError(
                f"The base image {ref} is not here and cannot be pulled: {reason}",
                f"Run `course images {name}` in a terminal: it can build a stand-in.",
            )


def _fresh_workspace(name: str) -> Path:
    global _origin
    if _origin is None:
        # Tests set the variable, so as not to touch what a student wrote.
        _origin = Path(os.environ.get("COURSE_WORKSPACE_PARENT", Path.cwd()))
    workspace = _origin / "workspace" / name
    if workspace.exists() and any(workspace.iterdir()):
        previous = workspace.with_name(f"{name}.previous")
        shutil.rmtree(previous, ignore_errors=True)
        workspace.rename(previous)
        print(f"What was in workspace/{name} is now in workspace/{previous.name}.")
    workspace.mkdir(parents=True, exist_ok=True)
    os.chdir(workspace)
    return workspace


def _require_free(port: int, variable: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return
        except OSError:
            pass
    raise CourseError(
        f"Port {port} is taken by {_holder(port)}.",
        f"Stop that, or set {variable} to a free port in the cell above and run again.",
    )


def _holder(port: int) -> str:
    """Who listens on ``port``: a container, else a process, as far as one may see."""
    # Without an engine it is no container, and the port is taken all the same.
    with suppress(CourseError, DockerException, OSError):
        for container in engine.find().client().containers.list(ignore_removed=True):
            published = [p for listed in container.ports.values() for p in listed or []]
            if any(p["HostPort"] == str(port) for p in published):
                return f"the container {container.name}"
    try:
        connections = psutil.net_connections("tcp")
    except psutil.AccessDenied:
        return "a program of another user"
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        if listens and connection.pid:
            process = psutil.Process(connection.pid)
            return f"the process {connection.pid} ({process.name()})"
    return "a program of another user"
