"""``course doctor``: whether this machine has what the lessons need."""

import importlib.metadata
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
from packaging.markers import Marker
from rich.table import Table

import rootless
from course import ROOT, engine, images
from course.errors import CourseError
from offline import room

OLDEST_PYTHON = (3, 11)
PORTS = {
    "lesson 01": [8001, 8002, 5001],
    "lesson 02": [8021, 8022],
    "lesson 03": [8031, 8032, 5031],
    "lesson 04": [8041, 8042],
    "lesson 05": [8051, 8052, 8053, 8054, 8055],
    "lesson 06": [8061, 8062, 8063, 8064, 8065],
    "lab 01": [8011, 8012],
    "lab 02": [8121],
    "lab 03": [8131, 8132, 5131],
    "lab 06": [8161],
}
"""The ports of this machine that lessons use."""
NEEDED_DISK_GB = 5
NEEDED_MEMORY_GB = 4
PROGRAMS = ("git", "curl", "bash")

GOOD, WARNING, BAD = "green", "yellow", "red"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table.

    Attributes:
        subject: what was looked at.
        status: ``green``, ``yellow`` (a lesson may need it later) or ``red``.
        found: what is there, and where it comes from.
        fix: what to do, empty where nothing is.
    """

    subject: str
    status: str
    found: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything, in the order in which a lesson needs it."""
    # Most checks wait for another program or the network: let them wait together.
    with ThreadPoolExecutor() as pool:
        return [f for findings in pool.map(lambda check: list(check()), CHECKS) for f in findings]


def is_ready(findings: list[Finding]) -> bool:
    """Whether no finding is red."""
    return all(finding.status != BAD for finding in findings)


def table(findings: list[Finding]) -> Table:
    """The findings as a table for the terminal or a notebook."""
    shown = Table("", "what")
    shown.add_column("found", overflow="fold")
    shown.add_column("what to do", overflow="fold")
    marks = {GOOD: "[green]ok[/]", WARNING: "[yellow]note[/]", BAD: "[red]fix[/]"}
    for f in findings:
        shown.add_row(marks[f.status], f.subject, f.found, f.fix)
    return shown


def system() -> Iterator[Finding]:
    """The operating system, and what it does differently."""
    name, release = platform.system(), platform.release()
    found = f"{name} {release}, {platform.machine()}"
    if name == "Windows":
        fix = "Work inside WSL 2: `wsl --install`, then clone the course there."
        yield Finding("system", BAD, found, fix)
    elif "microsoft" not in release.lower():
        yield Finding("system", GOOD, found)
    elif "WSL2" not in release:
        fix = "This is WSL 1. In Windows: `wsl --set-version <distribution> 2`."
        yield Finding("system", BAD, found, fix)
    elif ROOT.is_relative_to("/mnt"):
        fix = "Files on Windows' disk are slow and lose their modes: clone the course into ~."
        yield Finding("system", WARNING, f"{found}; the course is in {ROOT}", fix)
    else:
        yield Finding("system", GOOD, f"{found}, WSL 2")


def python() -> Iterator[Finding]:
    """The Python that runs the course."""
    found = platform.python_version()
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("Python", GOOD, found)
    else:
        yield Finding("Python", BAD, found, "Install Python 3.11 or later, then `make start`.")


def packages() -> Iterator[Finding]:
    """The installed packages against the lock."""
    locked = _locked_versions()
    wrong = []
    for name, version in locked.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = "missing"
        if installed != version:
            wrong.append(f"{name} {installed}, locked {version}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        yield Finding("packages", BAD, "; ".join(wrong[:3]) + more, "Run `make setup`.")
    else:
        yield Finding("packages", GOOD, f"{len(locked)} as locked in requirements.txt")


def programs() -> Iterator[Finding]:
    """The programs that cells call."""
    for name in PROGRAMS:
        if path := shutil.which(name):
            yield Finding(name, GOOD, path)
        else:
            fix = f"Install it: `sudo apt-get install {name}`, or your system's way."
            yield Finding(name, BAD, "not found", fix)


def container_engine() -> Iterator[Finding]:
    """The engine, the docker command, its plugins and the base images."""
    if (starting := rootless.status()).is_starting:
        fix = "It takes half a minute; look again then."
        yield Finding("engine", WARNING, f"the rootless engine is {starting}", fix)
        return
    try:
        found = engine.find()
    except CourseError as error:
        fix = "Run `course engine up`." if isinstance(error, engine.NoEngine) else error.fix
        yield Finding("engine", BAD, error.problem, fix)
        return
    yield Finding("engine", GOOD, f"{found.version}, found by {found.found_by} ({found.host})")
    yield from _command_and_plugins()
    client = found.client()
    for ref in images.ALL:
        state = images.state(client, ref)
        if state.origin == "missing":
            absent = room.is_here() and ref not in room.about()["images"]
            fix = "It is not in this bundle." if absent else "Its lesson gets it."
            yield Finding(f"image {ref}", WARNING, "missing", fix)
        else:
            yield Finding(f"image {ref}", GOOD, f"{state.origin}, {state.size_mb} MB")


def ports() -> Iterator[Finding]:
    """The ports that lessons publish on 127.0.0.1."""
    free = []
    for user, wanted in PORTS.items():
        for port in wanted:
            with socket.socket() as probe:
                taken = probe.connect_ex(("127.0.0.1", port)) == 0
            if taken:
                fix = f"Stop what uses it, or change the port in {user}'s first cell."
                yield Finding(f"port {port}", WARNING, "taken", fix)
            else:
                free.append(port)
    yield Finding("ports", GOOD, f"{len(free)} that lessons use are free")


def machine() -> Iterator[Finding]:
    """Disk and memory."""
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    fix = "Free some space; `docker system df` shows what images take."
    enough = free_gb >= NEEDED_DISK_GB
    yield Finding(
        "disk",
        GOOD if enough else BAD,
        f"{free_gb:.0f} GB free, {NEEDED_DISK_GB} needed",
        "" if enough else fix,
    )
    memory_gb = psutil.virtual_memory().available / 1e9
    enough = memory_gb >= NEEDED_MEMORY_GB
    yield Finding(
        "memory",
        GOOD if enough else WARNING,
        f"{memory_gb:.1f} GB available, {NEEDED_MEMORY_GB} wanted",
        "" if enough else "Close other programs.",
    )


def network() -> Iterator[Finding]:
    """Whether the package index and the image registry can be reached, or the bundle is here."""
    if room.is_here():
        lessons = ", ".join(room.about()["lessons"])
        yield Finding("bundle", GOOD, f"packages and images of {lessons}")
        return
    if images.index_answers():
        yield Finding("package index", GOOD, "answers")
    else:
        fix = "Images that install packages cannot be built: check the network."
        yield Finding("package index", WARNING, "does not answer", fix)
    if images.download_mb(images.PYTHON) is not None:
        yield Finding("image registry", GOOD, "answers")
    else:
        fix = "Missing base images can get stand-ins: `course images`."
        yield Finding("image registry", WARNING, "does not answer", fix)


def _locked_versions() -> dict[str, str]:
    """Name and version of each locked package that this machine takes."""
    lines = re.findall(
        r"^([\w.-]+)==([\w.!+-]+)(?: ; (.*?))? \\$",
        (ROOT / "requirements.txt").read_text(),
        re.MULTILINE,
    )
    return {n: v for n, v, marker in lines if not marker or Marker(marker).evaluate()}


def _command_and_plugins() -> Iterator[Finding]:
    command = shutil.which("docker")
    if not command:
        fix = "Install Docker's command line (docker-cli)."
        yield Finding("docker command", BAD, "not found", fix)
        return
    yield Finding("docker command", GOOD, command)
    there = engine.plugins()
    for name, subject in (("buildx", "BuildKit"), ("compose", "docker compose")):
        if name in there:
            yield Finding(subject, GOOD, f"plugin {name} {there[name]}")
        else:
            fix = f"Install Docker's {name} plugin (docker-{name})."
            yield Finding(subject, BAD, f"no plugin {name}", fix)


CHECKS: list[Callable[[], Iterator[Finding]]] = [
    system,
    python,
    packages,
    programs,
    container_engine,
    ports,
    machine,
    network,
]
