"""How long a student waits in a pod like Binder's: for the engine, a build, an answer.

The pod has no rights, 2 GB and one processor. Beside it stands the engine of this
machine, where that can be compared.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from course import ROOT

sys.path.insert(0, str(ROOT / "tests"))  # the pod is started as its tests do

from binder.pod import BASE, SOCKET, binder_image, pod
from rich.console import Console
from rich.table import Table

from course import engine

APP = """\
from flask import Flask

app = Flask(__name__)

@app.get("/")
def home():
    return "hello"
"""
DOCKERFILE = """\
FROM python:3.13-slim
RUN pip install --no-cache-dir --quiet --root-user-action=ignore flask==3.1.3
COPY app.py .
CMD ["flask", "run", "--host", "0.0.0.0"]
"""
BUILD = "docker build --quiet --no-cache --tag course-bench-flask ."
ANSWER = """\
docker run --detach --rm --name course-bench-flask --publish 127.0.0.1:8093:5000 \
  course-bench-flask
until curl --silent --fail 127.0.0.1:8093; do sleep 0.1; done
"""
CLEAN = "docker rm --force course-bench-flask; docker rmi --force course-bench-flask"
AIMS = {
    "JupyterLab answers": "",
    "the engine answers": "12",
    "base images are loaded": "40",
    "Flask image, built without a cache": "10",
    "first answer after docker run": "4",
}


def main() -> None:
    """Measure, and print the table."""
    table = Table("from the server's start, or for itself", "pod, s", "this engine, s", "aim, s")
    with binder_image() as image:
        seconds = _in_a_pod(image)
    here = _here()
    for what, aim in AIMS.items():
        table.add_row(what, f"{seconds[what]:.1f}", here.get(what, ""), aim)
    Console().print(table)


def _in_a_pod(image: str) -> dict[str, float]:
    """Seconds for each of AIMS."""
    seconds = {}
    started = time.monotonic()
    with pod(image, "course-bench-pod", wait=False) as student:
        for what, ready in {
            "JupyterLab answers": f"curl -sf '127.0.0.1:8888{BASE}api?token=t'",
            "the engine answers": f"curl -sf --unix-socket {SOCKET} http://engine/_ping",
            "base images are loaded": f"grep '\"ready\"' {Path(SOCKET).parent}/status.json",
        }.items():
            student.out(f"until {ready}; do sleep 0.2; done")
            seconds[what] = time.monotonic() - started
        student.out("mkdir flask && cat > flask/app.py", stdin=APP)
        student.out("cat > flask/Dockerfile", stdin=DOCKERFILE)
        work = ("cd flask && " + BUILD, ANSWER)
        return seconds | _timed(student.out, *work)


def _here() -> dict[str, str]:
    """The same in this machine's engine."""
    env = os.environ | engine.find().environment()

    def out(script: str) -> None:
        subprocess.run(
            ["bash", "-ec", script], cwd=folder, env=env, check=True, capture_output=True
        )

    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(APP)
        Path(folder, "Dockerfile").write_text(DOCKERFILE)
        try:
            return {what: f"{took:.1f}" for what, took in _timed(out, BUILD, ANSWER).items()}
        finally:
            out(CLEAN)


def _timed(out: Callable[[str], object], build: str, answer: str) -> dict[str, float]:
    started = time.monotonic()
    out(build)
    built = time.monotonic()
    out(answer)
    return {
        "Flask image, built without a cache": built - started,
        "first answer after docker run": time.monotonic() - built,
    }


if __name__ == "__main__":
    main()
