"""Finding a container engine, starting one, and installing one where allowed."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.errors import DockerException

import rootless
from course import consent, debian
from course.errors import CourseError

DEFAULT_SOCKET = "unix:///var/run/docker.sock"
LOG = Path("/var/log/course-dockerd.log")
PID = Path("/run/course-dockerd.pid")
START_SECONDS = 90

WAYS_TO_GET_ONE = """\
Ways to get one:
  - Windows and macOS: install Docker Desktop and start it. On Windows, work inside
    WSL 2 and switch on Docker Desktop's WSL integration for your distribution.
  - Linux: install Docker Engine from your distribution's packages, then
    `sudo systemctl start docker` and `sudo usermod -aG docker $USER`; log in again.
  - Podman: `systemctl --user start podman.socket`.
Then run the same command again. `course doctor` shows what was found."""


class NoEngine(CourseError):
    """No container engine answers in any of the usual places."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers.

    Attributes:
        host: its address, as DOCKER_HOST takes it.
        found_by: how the address was found, for people to read.
        version: the engine's own version.
    """

    host: str
    found_by: str
    version: str

    def client(self) -> docker.DockerClient:
        """A client of the Docker SDK for this engine."""
        return docker.DockerClient(base_url=self.host, timeout=120)

    def environment(self) -> dict[str, str]:
        """The variables that make every ``docker`` command use this engine."""
        return {
            "DOCKER_HOST": self.host,
            # Clients before version 23 use the old builder unless told.
            "DOCKER_BUILDKIT": "1",
            "DOCKER_CLI_HINTS": "false",
        }


def addresses() -> list[tuple[str, str]]:
    """Where an engine may answer, best first: pairs of address and how it was found."""
    if host := os.environ.get("DOCKER_HOST"):
        return [(host, "DOCKER_HOST")]
    found = [(DEFAULT_SOCKET, "the default socket")]
    if context := _docker_context():
        found.insert(0, context)
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.geteuid()}")
    for folder in (runtime_dir, "/run"):
        found.append((f"unix://{folder}/podman/podman.sock", "Podman's socket"))
    if rootless.status().stage not in ("stopped", "failed"):
        found.append((rootless.HOST, "the rootless engine"))
    return found


def find() -> Engine:
    """The first engine that answers; the rootless one is waited for if it is starting.

    Raises:
        NoEngine: none answers in the usual places; says how to get one.
        CourseError: this user may not use it, or DOCKER_HOST names one that
            does not answer.
    """
    refused = []
    for host, found_by in addresses():
        if host == rootless.HOST:
            _await_rootless()
        try:
            client = docker.DockerClient(base_url=host, timeout=10)
            version = client.version()["Version"]
            client.close()
        except (DockerException, OSError) as error:
            if "Permission denied" in str(error):
                refused.append(host)
        else:
            return Engine(host, found_by, version)
    if refused:
        raise CourseError(
            f"A container engine is there, but this user may not use it: {refused[0]}",
            "Run `sudo usermod -aG docker $USER`, log out and in again.",
        )
    if host := os.environ.get("DOCKER_HOST"):
        raise CourseError(
            f"No container engine answers at DOCKER_HOST={host}.",
            "Start that engine, or `unset DOCKER_HOST` to look in the usual places.",
        )
    raise NoEngine("No container engine answers.", WAYS_TO_GET_ONE)


def up(*, yes: bool = False) -> Engine:
    """Make sure that an engine answers: find it, start it, or install it.

    Args:
        yes: install without asking.

    Raises:
        CourseError: there is none and none could be had; says what to do.
    """
    try:
        return find()
    except NoEngine:
        if os.geteuid() != 0 and not rootless.missing_packages():
            rootless.up()
            return find()
        if not shutil.which("dockerd"):
            question = "No container engine is installed. Install Docker Engine with apt?"
            if not (debian.can_install() and consent.granted(question, yes=yes)):
                raise
            _install()
    _start()
    return find()


def down() -> bool:
    """Stop the engine if ``up`` started it; whether there was one to stop."""
    if os.geteuid() != 0 or not PID.exists():
        return rootless.down()
    # Empty if `up` was killed or the disk was full just then: no process is 0.
    pid = int(PID.read_text() or 0)
    PID.unlink()
    if not _is_dockerd(pid):
        return False
    os.kill(pid, 15)
    for _ in range(START_SECONDS * 10):
        if not _is_dockerd(pid):
            return True
        time.sleep(0.1)
    raise CourseError(f"dockerd (process {pid}) does not stop.", f"Its log is {LOG}.")


def logs() -> str:
    """What the engine that ``up`` started has said since its last start."""
    if os.geteuid() == 0 and LOG.exists():
        return LOG.read_text(errors="replace")
    return rootless.logs()


def plugins() -> dict[str, str]:
    """The docker command's plugins and their versions; empty without the command."""
    if not shutil.which("docker"):
        return {}
    info = subprocess.run(
        ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"],
        capture_output=True,
        text=True,
    )
    try:
        listed = json.loads(info.stdout) or []
    except json.JSONDecodeError:
        return {}
    return {plugin["Name"]: plugin.get("Version", "?") for plugin in listed}


def _await_rootless() -> None:
    now = rootless.status()
    if now.stage in ("stopped", "failed"):
        raise NoEngine(f"The rootless engine is {now}.", "Start it: `course engine up`.")
    rootless.wait(lambda status: print(f"The rootless engine is {status} ..."))


def _docker_context() -> tuple[str, str] | None:
    """The endpoint of the selected docker context, which the SDK does not read."""
    if not shutil.which("docker"):
        return None
    shown = subprocess.run(
        ["docker", "context", "inspect", "--format", "{{.Name}} {{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
    )
    name, _, host = shown.stdout.strip().partition(" ")
    if not host or name == "default":
        return None
    return host, f"the docker context {name}"


def _install() -> None:
    debian.update()
    debian.install("docker.io", "iptables", "curl", "ca-certificates")
    # The command, BuildKit's and compose's plugins have names of their own,
    # which differ between Debian and Ubuntu and are missing in Debian 12.
    for names in (["docker-cli"], ["docker-buildx"], ["docker-compose-v2", "docker-compose"]):
        package = next((name for name in names if debian.available(name)), None)
        if package and not _is_compose_v1(package):
            debian.install(package)
    if not {"buildx", "compose"} <= plugins().keys() and debian.mirror():
        debian.install_from("trixie", "docker-buildx", "docker-compose")


def _is_compose_v1(package: str) -> bool:
    """Whether ``package`` is the retired compose that is not a docker plugin."""
    if package != "docker-compose":
        return False
    shown = subprocess.run(["apt-cache", "show", package], capture_output=True, text=True)
    return "\nVersion: 1." in shown.stdout


def _start() -> None:
    """Start the installed Docker Engine and wait until it answers."""
    if os.geteuid() != 0:
        raise CourseError(
            "Docker Engine is installed but does not answer.",
            "Start it: `sudo systemctl start docker`, then run the same command again.",
        )
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False)
        process = None
    else:
        with LOG.open("wb") as log:
            process = subprocess.Popen(
                ["dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # It outlives this command, and Ctrl-C in the terminal.
                start_new_session=True,
            )
        PID.write_text(str(process.pid))
    for _ in range(START_SECONDS * 5):
        try:
            find()
            return
        except NoEngine:
            time.sleep(0.2)
        if process and process.poll() is not None:
            break
    tail = "\n".join(LOG.read_text().splitlines()[-5:]) if process else ""
    raise CourseError(
        f"Docker Engine was started but does not answer.\n{tail}".rstrip(),
        f"See {LOG}." if process else "See `systemctl status docker`.",
    )


def _is_dockerd(pid: int) -> bool:
    try:
        return b"dockerd" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
