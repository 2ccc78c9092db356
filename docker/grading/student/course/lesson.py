"""Stands in for ``course.lesson``: waits for servers; whatever else it has does nothing."""

import os
import time

import requests

from course import Silent, silent


def wait_for(url: str, seconds: float = 30) -> str | Silent:
    """The body of ``url``, as soon as it answers with a status below 400."""
    if "DOCKER_HOST" not in os.environ:
        return silent  # nobody can answer
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = requests.get(url, timeout=2)
            if answer.ok:
                return answer.text
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{url} did not answer within {seconds:g} s.")


def __getattr__(name: str) -> Silent:
    if name.startswith("_"):
        raise AttributeError(name)
    return silent
