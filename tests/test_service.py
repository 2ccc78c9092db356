"""The service of lesson 02: what the lesson writes is what later lessons get, and it holds."""

import json
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from waiting import free_port

from authoring.source import masters
from course import ROOT
from course.lesson import wait_for

SERVICE = ROOT / "docker/service"
WRITTEN = re.compile(r"%%writefile service/(\S+)\n(.*)", re.DOTALL)
FIELDS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def written() -> dict[str, str]:
    """The files that lesson 02 writes below service/, as it writes them last."""
    (lesson,) = [master for master in masters() if master.name == "02_apis"]
    cells = [WRITTEN.fullmatch(cell.source) for cell in lesson.notebook().cells]
    return {found[1]: found[2] for found in cells if found}


def canonical() -> dict[str, str]:
    """The files that later lessons start from."""
    names = subprocess.check_output(["find", ".", "-type", "f"], cwd=SERVICE, text=True)
    kept = [name[2:] for name in names.split() if "cache" not in name]
    return {name: (SERVICE / name).read_text().rstrip("\n") for name in kept}


def test_lesson_02_writes_the_service_that_later_lessons_get():
    theirs = written()
    assert canonical().items() <= theirs.items()


def test_the_services_pins_are_those_of_the_lock():
    lock = (ROOT / "requirements.txt").read_text()
    pins = (SERVICE / "requirements.txt").read_text().split()
    assert pins
    assert [pin for pin in pins if f"\n{pin} " not in lock] == []


@pytest.mark.slow
def test_the_services_own_tests_pass():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=SERVICE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def url(tmp_path):
    """A running service with a model."""
    train = [sys.executable, "train.py", "--out", str(tmp_path)]
    subprocess.run(train, cwd=SERVICE, check=True, capture_output=True)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "service.app:app", f"--port={port}"]
    env = os.environ | {"MODEL_DIR": str(tmp_path)}
    with Path(tmp_path, "log").open("w") as log:
        server = subprocess.Popen(command, cwd=SERVICE, env=env, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def value(rng: random.Random) -> str:
    """A JSON text for a field, good or bad."""
    good = [lambda: repr(rng.uniform(0.1, 30)), lambda: str(rng.randint(1, 30))]
    bad = [
        lambda: repr(rng.uniform(-1e9, 0)),
        lambda: repr(rng.uniform(30.0001, 1e300)),
        lambda: str(rng.randint(31, 10**400)),
        *(lambda t=t: t for t in ("NaN", "-Infinity", "1e999", "null", "true", '"5.1"', "[1]")),
        lambda: json.dumps("".join(chr(rng.randint(0, 0x2FFF)) for _ in range(5))),
        lambda: '{"a":' * rng.randint(1, 2000),
    ]
    return rng.choice(good if rng.random() < 0.85 else bad)()


def body(rng: random.Random) -> bytes:
    """A request's body, good or hostile."""
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(rng.randint(0, 200))
    if kind < 0.07:
        return b"[" * rng.randint(1, 100_000)
    names = [name if rng.random() < 0.98 else "petal" for name in FIELDS]
    if rng.random() < 0.05:
        names.append(rng.choice([*FIELDS, "extra", ""]))
    text = "{" + ",".join(f"{json.dumps(name)}:{value(rng)}" for name in names) + "}"
    return text.encode() if rng.random() < 0.97 else text.encode()[: rng.randint(0, len(text))]


def acceptable(sent: bytes) -> bool:
    """Whether a body is a good flower, judged without the service's own means."""
    try:
        flower = json.loads(sent)
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(flower, dict)
        and set(flower) == set(FIELDS)
        and all(type(v) in (int, float) for v in flower.values())
        and all(0 < v <= 30 and math.isfinite(v) for v in flower.values())
    )


@pytest.mark.soak
def test_ten_thousand_hostile_requests_get_no_5xx_and_no_wrong_200(url):
    rng = random.Random(7)
    session = requests.Session()
    counts = {}
    for _ in range(10_000):
        sent = body(rng)
        headers = {"Content-Type": "application/json"}
        answer = session.post(f"{url}/predict", data=sent, headers=headers, timeout=30)
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        assert (answer.status_code == 200) == acceptable(sent), (answer.status_code, sent[:300])
        assert answer.status_code < 500, (answer.status_code, sent[:300])
    assert counts[200] > 1000
    assert counts[422] > 1000
