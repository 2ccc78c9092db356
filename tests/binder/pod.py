"""The image that Binder opens, and a pod like Binder's: no rights, 2 GB, one processor."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from waiting import answers, eventually

from course import ROOT, engine, images

IMAGE = "course-test-binder"
SOCKET = "/home/jovyan/.local/state/course-engine/docker.sock"
RIGHTS = ["--user=1000:1000", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
BASE = "/user/student/"
# How BinderHub starts a server.
SERVER = ["jupyter-lab", "--ip=0.0.0.0", "--port=8888"]
SERVER += [f"--NotebookApp.base_url={BASE}", "--NotebookApp.token=t"]
ASK = "curl -sf --retry 120 --retry-all-errors --retry-delay 1"
"""Asks a server that may still be starting."""
STUCK_SECONDS = 2400
"""More than the longest lesson takes on a busy machine."""
LIMITS = ["--memory=2g", "--memory-swap=2g", "--cpus=1", "--shm-size=64m"]


class Pod:
    """A running pod; programs are run in it as its user."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, script: str, *, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a bash script in the user's home, with the rootless engine as its engine."""
        command = ["docker", "exec", "-i", "-e", f"DOCKER_HOST=unix://{SOCKET}"]
        command += ["-w", "/home/jovyan", self.name, "bash", "-c", script]
        return subprocess.run(
            command,
            input=stdin,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=STUCK_SECONDS,
        )

    def out(self, script: str, *, stdin: str = "") -> str:
        """What a script prints that has to succeed."""
        done = self.run(script, stdin=stdin)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def load(self, ref: str) -> None:
        """Give the pod's engine a base image of ours, in place of a pull."""
        saved = subprocess.Popen(
            ["docker", "save", ref], env=_environment(), stdout=subprocess.PIPE
        )
        into = ["docker", "exec", "-i", "-e", f"DOCKER_HOST=unix://{SOCKET}", self.name]
        subprocess.run(
            [*into, "docker", "load", "--quiet"],
            stdin=saved.stdout,
            env=_environment(),
            check=True,
        )
        assert saved.wait() == 0, f"{ref} could not be saved."

    def url(self, path: str) -> str:
        """The address of something on its JupyterLab."""
        return f"http://{_address(self.name)}:8888{BASE}{path}?token=t"

    def wait(self) -> None:
        """Wait until JupyterLab answers and the engine is ready."""
        self.out(f"{ASK} '127.0.0.1:8888{BASE}api?token=t'")
        self.python("rootless.wait()")

    def restart(self) -> None:
        """Stop the server, and with it all that runs in the pod, and start it again."""
        _docker("restart", "--time=30", self.name)
        self.wait()

    def python(self, code: str) -> str:
        """What Python code prints that has to succeed; `rootless` is imported."""
        return self.out("python -", stdin=f"import rootless\n{code}")


@contextmanager
def binder_image() -> Iterator[str]:
    """The image, built from this checkout as Binder builds it.

    Only the place of the base images differs: a registry of our own, so that none on
    the internet is needed.
    """
    registry = "course-test-images"
    _docker("rm", "--force", registry)
    _docker("run", "--detach", "--name", registry, "--publish=127.0.0.1::5000", images.REGISTRY)
    try:
        published = _docker("port", registry, "5000").split()[0]
        assert eventually(lambda: answers(f"http://{published}/v2/")), "no registry"
        for ref in [images.PYTHON, images.REGISTRY]:
            _docker("tag", ref, f"{published}/{ref}")
            _docker("push", "--quiet", f"{published}/{ref}")
            _docker("rmi", f"{published}/{ref}")
        address = _address(registry)
        _docker(
            "build",
            f"--file={ROOT}/.binder/Dockerfile",
            f"--build-arg=REGISTRY={address}:5000/",
            "--build-arg=SKOPEO_OPTIONS=--src-tls-verify=false",
            f"--tag={IMAGE}",
            str(ROOT),
        )
    finally:
        _docker("rm", "--force", "--volumes", registry)
    try:
        yield IMAGE
    finally:
        _docker("rmi", "--force", IMAGE)  # what it was built from stays in the cache


@contextmanager
def pod(image: str, name: str, *, wait: bool = True) -> Iterator[Pod]:
    """A pod in which JupyterLab runs, which starts the engine; ``wait`` until both answer."""
    _docker("rm", "--force", name)
    _docker("run", "--detach", "--name", name, *RIGHTS, *LIMITS, image, *SERVER)
    try:
        started = Pod(name)
        if wait:
            started.wait()
        yield started
    finally:
        _docker("rm", "--force", "--volumes", name)


def _address(container: str) -> str:
    network = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return _docker("inspect", f"--format={network}", container)


def _docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], env=_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def _environment() -> dict[str, str]:
    return os.environ | engine.find().environment()
