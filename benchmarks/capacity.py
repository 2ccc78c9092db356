"""What a student takes of a class's machine: memory, processor, disk.

Starts the hub of docker/hub with three students, looks at their servers at rest, then
lets all run lesson 01 at the same time. ``--students 1`` for another number.
"""

import argparse
import sys
import threading
import time

from course import ROOT

sys.path.insert(0, str(ROOT / "tests"))  # the hub is started as its test does

from binder.hub import HUB, Hub, hub_for
from docker import DockerClient
from rich.console import Console
from rich.table import Table

from course import engine

REST_SECONDS = 60
PAUSE_SECONDS = 1


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--students", type=int, default=3)
    names = [f"student{n}" for n in range(parser.parse_args().students)]
    table = Table("each student's server", "memory, MB", "processor, s", "within, s")
    with hub_for(names) as hub:
        started = time.monotonic()
        hub.servers(names)
        table.add_row("starts", "", "", f"{time.monotonic() - started:.0f}")
        for what, script in {
            "rests": f"sleep {REST_SECONDS}",
            "runs lesson 01": "course run 01_docker",
        }.items():
            table.add_row(what, *_measure(hub, names, script))
        disk = hub.in_server(names[0], "du -sm ~/.local/state/course-engine | cut -f1")
    Console().print(table)
    Console().print(f"Disk of a student's engine after lesson 01: {disk} MB.")


def _measure(hub: Hub, names: list[str], script: str) -> list[str]:
    """The largest memory and the most processor time of any, and how long all took."""
    client = engine.find().client()
    before = [_processor_seconds(client, name) for name in names]
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(PAUSE_SECONDS):
            peak[0] = max(peak[0], *(_memory(client, name) for name in names))

    thread = threading.Thread(target=watch)
    thread.start()
    started = time.monotonic()
    try:
        hub.all_run(names, script)
    finally:
        ended.set()
        thread.join()
    took = time.monotonic() - started
    spent = [_processor_seconds(client, name) for name in names]
    most = max(after - first for first, after in zip(before, spent, strict=True))
    return [f"{peak[0] / 1e6:.0f}", f"{most:.0f}", f"{took:.0f}"]


def _stats(client: DockerClient, name: str) -> dict:
    return client.api.stats(f"{HUB}-{name}", stream=False, one_shot=True)


def _processor_seconds(client: DockerClient, name: str) -> float:
    return _stats(client, name)["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9


def _memory(client: DockerClient, name: str) -> int:
    """What cannot be dropped, in bytes: the engine's kernel keeps its memory in a mapped file.

    The names are those of cgroups 1, then 2.
    """
    stats = _stats(client, name)["memory_stats"]["stats"]
    anonymous = stats.get("total_rss", stats.get("anon", 0))
    return anonymous + stats.get("total_mapped_file", stats.get("file_mapped", 0))


if __name__ == "__main__":
    main()
