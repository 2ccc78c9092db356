"""Removing what the lessons made in the container engine, and nothing else.

Lessons label what they make with ``mlops.course=<lesson>`` and name it
``course-...``. Containers inherit their image's labels, and so do images built
from it; both the label and the name are asked for, so that a student's own image
built on a lesson's image stays.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from docker import DockerClient
from docker.errors import APIError, NotFound

LABEL = "mlops.course"
PREFIX = "course-"


@dataclass
class Removed:
    """What was removed, and what had to stay with the engine's reason."""

    names: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, remover: Callable[[], None]) -> None:
        """Call ``remover``, and note whether ``name`` is gone or had to stay."""
        try:
            remover()
            self.names.append(name)
        except NotFound:
            pass  # gone in the meantime
        except APIError as error:
            self.kept[name] = error.explanation or str(error)


def remove(client: DockerClient, lesson: str | None = None) -> Removed:
    """Remove the containers, networks, volumes and images of ``lesson``, or of all.

    Safe to call at any time, and again. What something else still uses is kept
    and reported.
    """
    label = f"{LABEL}={lesson}" if lesson else LABEL
    removed = Removed()
    for name, remover in _objects(client, label):
        removed.attempt(name, remover)
    return removed


def _objects(client: DockerClient, label: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """Each object of the course with the call that removes it, users first."""
    only = {"label": label}
    for container in client.containers.list(all=True, filters=only, ignore_removed=True):
        image = container.attrs["Config"]["Image"]
        if _is_ours(container.name) or _is_ours(image) or image.startswith("sha256:"):
            yield f"container {container.name}", lambda c=container: c.remove(v=True, force=True)
    for network in client.networks.list(filters=only):
        if _is_ours(network.name):
            yield f"network {network.name}", network.remove
    for volume in client.volumes.list(filters=only):
        if _is_ours(volume.name):
            yield f"volume {volume.name}", volume.remove
    for image in client.images.list(filters=only):
        for tag in image.tags:
            if _is_ours(tag):
                yield f"image {tag}", lambda t=tag: client.images.remove(t)
        if not image.tags:
            yield f"image {image.short_id}", lambda i=image.id: client.images.remove(i)


def _is_ours(name: str) -> bool:
    """Whether a container, network, volume or image reference has the course's name.

    >>> _is_ours("localhost:5001/course-hello:1.0"), _is_ours("python:3.13-slim")
    (True, False)
    """
    return name.rpartition("/")[2].startswith(PREFIX)
