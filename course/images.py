"""The base images of the lessons: pulled, or built here where no registry answers.

A stand-in is an image made from Debian's packages that takes the place of one
from a registry in an air-gapped room or behind a rate limit. It carries the label
``mlops.course.stand-in``, and never replaces an image that is there.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, ImageNotFound

from course import ROOT, debian
from course.cleanup import Removed
from course.engine import Engine
from course.errors import CourseError

STAND_IN_LABEL = "mlops.course.stand-in"
PYTHON = "python:3.13-slim"
OLDER_PYTHON = "python:3.11-slim"
REGISTRY = "registry:2"
NGINX = "nginx:1.28"
POSTGRES = "postgres:17"
PROMETHEUS = "prom/prometheus:v3.5.0"
ALERTMANAGER = "prom/alertmanager:v0.28.1"
LESSON_IMAGES = {
    "01_docker": [PYTHON, REGISTRY],
    "02_apis": [PYTHON],
    "03_cicd": [PYTHON, REGISTRY, NGINX],
    "04_mlflow": [PYTHON, POSTGRES],
    "05_monitoring": [PYTHON, OLDER_PYTHON, NGINX, PROMETHEUS, ALERTMANAGER],
    "06_closing_the_loop": [PYTHON, NGINX, PROMETHEUS, ALERTMANAGER],
    "lab01": [PYTHON],
    "lab03": [PYTHON, REGISTRY],
    "lab05": [PROMETHEUS],
    "lab06": [PYTHON, NGINX, PROMETHEUS],
}
"""The base images that each lesson needs."""
ALL = list(dict.fromkeys(ref for refs in LESSON_IMAGES.values() for ref in refs))
DEBIAN_OF_PYTHON = {PYTHON: "trixie", OLDER_PYTHON: "bookworm"}
"""Which release of Debian has the Python of an image."""

CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class State:
    """One base image as the engine has it.

    Attributes:
        ref: its reference, such as ``python:3.13-slim``.
        origin: ``real``, ``stand-in`` or ``missing``.
        size_mb: its size on disk in MB, 0 where it is missing.
    """

    ref: str
    origin: str
    size_mb: int


def state(client: DockerClient, ref: str) -> State:
    """What the engine has under ``ref``."""
    try:
        image = client.images.get(ref)
    except ImageNotFound:
        return State(ref, "missing", 0)
    # Images built on a stand-in inherit its label, so the value is compared too.
    stands_in = image.labels.get(STAND_IN_LABEL) == ref
    size_mb = round(image.attrs["Size"] / 1e6)
    return State(ref, "stand-in" if stands_in else "real", size_mb)


def missing(client: DockerClient, refs: list[str]) -> list[str]:
    """Those of ``refs`` that the engine does not have."""
    return [ref for ref in refs if state(client, ref).origin == "missing"]


def download_mb(ref: str) -> float | None:
    """What pulling ``ref`` downloads at the most, in MB; None if no registry answers.

    The sum of its layers' compressed sizes, as the registry's manifest gives them.
    """
    try:
        shown = subprocess.run(
            ["docker", "manifest", "inspect", "--verbose", ref],
            capture_output=True,
            text=True,
            timeout=15,
        )
        # One manifest, or a list with one for each platform.
        listed = json.loads(shown.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    manifests = listed if isinstance(listed, list) else [listed]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    for manifest in manifests:
        if manifest["Descriptor"]["platform"]["architecture"] == machine:
            content = manifest.get("OCIManifest") or manifest["SchemaV2Manifest"]
            return sum(layer["size"] for layer in content["layers"]) / 1e6
    return None


def index_answers() -> bool:
    """Whether the Python package index answers; builds install from it."""
    asked = subprocess.run(
        [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-cache", "--no-deps", "-"],
        input="six",
        env=os.environ | {"UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"},
        capture_output=True,
        text=True,
    )
    return asked.returncode == 0


def pull(client: DockerClient, ref: str) -> str | None:
    """Pull ``ref``; None if that worked, else the engine's reason."""
    try:
        client.images.pull(ref)
    except APIError as error:
        return error.explanation or str(error)
    return None


def build_stand_in(engine: Engine, ref: str) -> None:
    """Build the stand-in for ``ref``.

    Raises:
        CourseError: this machine cannot build one; says what is needed.
    """
    if not missing(engine.client(), [ref]):
        return
    if ref in DEBIAN_OF_PYTHON:
        _build_python(engine, ref)
        return
    build_stand_in(engine, PYTHON)  # the others are Dockerfiles on its Debian
    context = ROOT / "docker/stand-ins" / ref.rpartition("/")[2].partition(":")[0]
    _run("docker", "build", "--tag", ref, str(context), engine=engine)


def remove_stand_ins(client: DockerClient, removed: Removed) -> None:
    """Remove the stand-ins that nothing uses, and note in ``removed`` what went or stayed."""
    ours = [ref for ref in ALL if state(client, ref).origin == "stand-in"]
    for ref in reversed(ours):
        removed.attempt(f"stand-in {ref}", partial(client.images.remove, ref))


def _build_python(engine: Engine, ref: str) -> None:
    """A Python image from the release of Debian that has this Python."""
    if not shutil.which("mmdebstrap"):
        if not debian.can_install():
            raise CourseError(
                f"A stand-in for {ref} is made with mmdebstrap, which is not here.",
                "On Debian or Ubuntu: `sudo apt-get install mmdebstrap`. Elsewhere, get "
                f"a network where `docker pull {ref}` works.",
            )
        debian.update()
        debian.install("mmdebstrap", "debian-archive-keyring")
    # The hooks get the new root as $1. Debian's Python refuses `pip install`
    # into the system and has no `python`; the image it stands in for has both.
    hooks = [
        'ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
        'ln -s /usr/bin/pip3 "$1/usr/local/bin/pip"',
        'rm "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
        # A network that inspects TLS needs the host's certificates in builds too.
        f'cp {_host_ca_bundle()} "$1{CA_BUNDLE}"',
        f"copy-in {ROOT}/docker/stand-ins/python/99no-cache /etc/apt/apt.conf.d/",
        'rm -rf "$1"/var/cache/apt/*',
        'cd "$1/usr/share" && rm -rf doc/* man/* locale/*',
    ]
    changes = [
        "CMD python3",
        f"ENV SSL_CERT_FILE={CA_BUNDLE} PIP_CERT={CA_BUNDLE} REQUESTS_CA_BUNDLE={CA_BUNDLE}",
        f"LABEL {STAND_IN_LABEL}={ref} "
        'org.opencontainers.image.description="Debian standing in for the Python image"',
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root.tar")
        _run(
            "mmdebstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,python3-pip,ca-certificates",
            *(f"--customize-hook={hook}" for hook in hooks),
            DEBIAN_OF_PYTHON[ref],
            str(root),
            *filter(None, [debian.mirror()]),
        )
        options = [part for change in changes for part in ("--change", change)]
        _run("docker", "import", *options, str(root), ref, engine=engine)


def _host_ca_bundle() -> str:
    return os.environ.get("SSL_CERT_FILE", CA_BUNDLE)


def _run(*command: str, engine: Engine | None = None) -> None:
    env = os.environ | (engine.environment() if engine else {})
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise CourseError(
            f"Building a stand-in image failed in {command[0]}:\n{tail}",
            "Put that right, then run `course images` again.",
        )
