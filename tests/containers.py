"""Containers of the tests' own, under names that a killed run may have left taken."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from docker import DockerClient
from docker.errors import NotFound
from docker.models.containers import Container


@contextmanager
def own_container(
    client: DockerClient, image: str, command: str | None = None, *, name: str, **options
) -> Iterator[Container]:
    """A container that runs meanwhile; one with its name is removed, before and after."""
    _remove(client, name)
    try:
        yield client.containers.run(image, command, name=name, detach=True, **options)
    finally:
        _remove(client, name)


def _remove(client: DockerClient, name: str) -> None:
    with suppress(NotFound):
        client.containers.get(name).remove(force=True, v=True)
