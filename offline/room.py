"""In the room: base images come from the bundle, and builds reach its package index.

Dockerfiles stay as they are. A container serves ``bundle/packages`` on the engine's
own bridge, which builds can reach, and not on the network. Pip learns its address
from the Python image: what builds take for ``python:3.13-slim`` is the bundle's image
and two variables more. It has a stand-in's label, so `course clean` removes it.
"""

import hashlib
import io
import json
from collections.abc import Callable
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container

from course import ROOT, cleanup, images
from course.errors import CourseError

FOLDER = ROOT / "bundle"
PACKAGES = FOLDER / "packages"
SUMS = "SHA256SUMS"
INDEX = "course-index"
INDEX_LABEL = "bundle"
PORT = 3141


def is_here() -> bool:
    """Whether this is an unpacked bundle."""
    return (FOLDER / "about.json").exists()


@cache
def about() -> dict[str, Any]:
    """For which machine, Pythons and lessons the bundle is, and its images."""
    return json.loads((FOLDER / "about.json").read_text())


def provide(client: DockerClient, refs: list[str], tell: Callable[[str], None] = print) -> None:
    """Take the images that are missing from the bundle, and serve its packages to builds.

    Does nothing where this is no unpacked bundle, and can be repeated.

    Raises:
        CourseError: an image is not in the bundle, is damaged, or is here from
            elsewhere; the index does not start.
    """
    if not is_here():
        return
    missing = images.missing(client, refs)
    if absent := [ref for ref in missing if ref not in about()["images"]]:
        raise CourseError(
            f"Not in this bundle: {', '.join(absent)}.",
            f"It is for {', '.join(about()['lessons'])}. Where there is a network, "
            "`course bundle` makes one for other lessons.",
        )
    pythons = [ref for ref in refs if ref in images.DEBIAN_OF_PYTHON]
    gateway = _gateway(client)
    for ref in missing:
        tell(f"{ref}: loading from the bundle")
        _load(client, ref)
        if ref in pythons:
            _tell_pip(client, ref, gateway)
    for ref in pythons:
        variables = client.images.get(ref).attrs["Config"].get("Env") or []
        if f"PIP_TRUSTED_HOST={gateway}" not in variables:
            raise CourseError(
                f"{ref} is here already, and not from the bundle: "
                "builds would look for packages in the network.",
                f"Run `course clean` and `docker rmi {ref}`, then the same command again.",
            )
    if pythons:
        _serve(client, pythons[0], gateway)


def stored(ref: str) -> str:
    """The path of an image's archive inside the bundle."""
    return f"images/{ref.replace('/', '_').replace(':', '_')}.tar.gz"


def checksum(path: Path) -> str:
    """The SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gateway(client: DockerClient) -> str:
    """The engine's address on the network that builds run in."""
    try:
        config = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
        # Before Docker Engine was started a second time, it may not say the address.
        return config.get("Gateway") or str(next(ip_network(config["Subnet"]).hosts()))
    except (NotFound, IndexError, KeyError) as error:
        raise CourseError(
            "This engine has no bridge on which builds could reach the package index.",
            "Use Docker Engine with its default network.",
        ) from error


def _load(client: DockerClient, ref: str) -> None:
    path = FOLDER / stored(ref)
    sums = dict(reversed(line.split("  ")) for line in (FOLDER / SUMS).read_text().splitlines())
    if not path.exists() or checksum(path) != sums[stored(ref)]:
        raise CourseError(
            f"bundle/{stored(ref)} is damaged or missing.",
            "Check the archive against its .sha256 file, and unpack it again.",
        )
    with path.open("rb") as archive:
        client.images.load(archive)


def _tell_pip(client: DockerClient, ref: str, gateway: str) -> None:
    """Let ``ref`` name the image with the index's address in it."""
    recipe = (
        f"FROM {ref}\n"
        f"ENV PIP_INDEX_URL=http://{gateway}:{PORT}/simple/ PIP_TRUSTED_HOST={gateway}\n"
        f"LABEL {images.STAND_IN_LABEL}={ref}\n"
    )
    client.images.build(fileobj=io.BytesIO(recipe.encode()), tag=ref, rm=True)


def _serve(client: DockerClient, image: str, gateway: str) -> None:
    """Make sure that the index runs, from this folder."""
    try:
        there = client.containers.get(INDEX)
        if there.status == "running" and _serves_this_folder(there):
            return
        there.remove(force=True)
    except NotFound:
        pass
    try:
        client.containers.run(
            image,
            ["python", "-m", "http.server", "--directory", "/packages", "8000"],
            name=INDEX,
            labels={cleanup.LABEL: INDEX_LABEL},
            volumes={str(PACKAGES): {"bind": "/packages", "mode": "ro"}},
            ports={"8000/tcp": (gateway, PORT)},
            restart_policy={"Name": "unless-stopped"},
            read_only=True,
            user="65534:65534",
            cap_drop=["ALL"],
            init=True,  # Python as process 1 would not hear the engine's SIGTERM
            detach=True,
        )
    except APIError as error:
        raise CourseError(
            f"The bundle's package index does not start: {error.explanation or error}",
            f"Free port {PORT} of {gateway} if it is taken, then run the same command again.",
        ) from error


def _serves_this_folder(container: Container) -> bool:
    return [mount["Source"] for mount in container.attrs["Mounts"]] == [str(PACKAGES)]
