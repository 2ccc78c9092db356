"""A Jupyter server extension: the engine starts in the background with the server.

The course's Binder image switches it on. The engine ends with the server, too: a pod
in which that was the first process ends then, and would tear it down half-way.
"""

import atexit
import os

from jupyter_server.serverapp import ServerApp

import rootless
from course.errors import CourseError


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "rootless.jupyter"}]


def _load_jupyter_server_extension(server: ServerApp) -> None:
    if "DOCKER_HOST" in os.environ:
        return  # somebody provides another engine
    try:
        rootless.up()
    except CourseError as error:
        server.log.warning(str(error))
        return
    atexit.register(rootless.down)
    # Notebooks and terminals inherit it.
    os.environ["DOCKER_HOST"] = rootless.HOST
