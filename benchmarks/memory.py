"""The peak memory of a notebook: its kernel with all that it starts, and its containers.

``python benchmarks/memory.py [NAME...]`` runs masters headlessly, all of them if none is
named, and prints a row for each. ``memory_mb`` in their front matter is this figure,
rounded up. The engine itself and JupyterLab are not counted.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
from docker import DockerClient
from docker.errors import APIError
from rich.console import Console
from rich.table import Table

from authoring.source import Master, masters
from course import engine
from course.execute import execute

LABEL = "mlops.course"
PAUSE_SECONDS = 0.3


class Peak:
    """The largest of the samples so far, in bytes.

    Attributes:
        kernel: of the kernel and its children alone.
        containers: of the containers alone.
        together: of both at the same moment.
    """

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self.kernel = self.containers = self.together = 0

    def sample(self) -> None:
        """Look once."""
        kernel, containers = _of_children(), _of_containers(self._client)
        self.kernel = max(self.kernel, kernel)
        self.containers = max(self.containers, containers)
        self.together = max(self.together, kernel + containers)


def main() -> None:
    """Measure, and print the table."""
    table = Table("notebook", "stated, MB", "peak, MB", "kernel", "containers", "cells")
    for master in masters():
        if not sys.argv[1:] or master.name in sys.argv[1:]:
            table.add_row(master.name, *_measure(master))
    Console().print(table)


def _measure(master: Master) -> list[str]:
    nb = master.notebook()
    with _watching(Peak(engine.find().client())) as peak:
        _, failure = execute(nb)
    sizes = [f"{size / 1e6:.0f}" for size in (peak.together, peak.kernel, peak.containers)]
    row = [str(nb.metadata.course.memory_mb), *sizes, "failed" if failure else "passed"]
    print(master.name, *row, file=sys.stderr, flush=True)
    return row


@contextmanager
def _watching(peak: Peak) -> Iterator[Peak]:
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            peak.sample()
            time.sleep(PAUSE_SECONDS)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _of_children() -> int:
    """What would be free again if all our child processes ended."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            total += process.memory_full_info().uss
    return total


def _of_containers(client: DockerClient) -> int:
    """What `docker stats` shows for the course's containers: without the page cache."""
    total = 0
    for container in client.api.containers(filters={"label": LABEL}):
        if container["Labels"][LABEL] == "grading":
            continue  # somebody grades meanwhile
        with suppress(APIError, KeyError, ValueError):  # it has just ended
            memory = client.api.stats(container["Id"], stream=False, one_shot=True)["memory_stats"]
            total += memory["usage"] - memory["stats"].get("inactive_file", 0)
    return total


if __name__ == "__main__":
    main()
