"""Ports that are free, and waiting for what is not there yet."""

import random
import socket
import time
from contextlib import suppress

import requests


def free_port() -> int:
    """A port that nobody listens on, below those that the kernel gives out by itself."""
    for port in random.sample(range(20_000, 30_000), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError("no port from 20,000 to 30,000 is free")


def answers(url: str) -> bool:
    """Whether a server answers at ``url`` with a status below 400."""
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def eventually(condition, seconds: float = 60) -> bool:
    """Whether ``condition()`` becomes true within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False
