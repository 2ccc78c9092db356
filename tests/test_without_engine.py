"""`make test` where no engine answers: what it runs, and what it says."""

import os
import subprocess
import sys

import pytest

from course import ROOT

pytestmark = pytest.mark.slow


def run_tests(**env):
    """The tests of one file, on a machine where no engine answers."""
    command = [sys.executable, "-m", "pytest", "tests/test_images.py", "tests/test_lesson.py"]
    env = os.environ | {"DOCKER_HOST": "tcp://127.0.0.1:9"} | env
    return subprocess.run(
        [*command, "--nbval", "notebooks/01_docker.ipynb", "-k", "wait_for or stand_in or Cell"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )


def test_runs_the_rest_and_ends_with_what_was_not_run():
    done = run_tests(CI="")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    said = done.stdout[done.stdout.index("NOT RUN: no container engine") :]
    assert "tests/test_images.py" in said
    assert "notebooks/01_docker.ipynb" in said
    assert "DOCKER_HOST=tcp://127.0.0.1:9" in said


def test_in_ci_a_missing_engine_is_a_failure():
    done = run_tests(CI="true")
    assert done.returncode == 1
    assert "CI needs a container engine" in done.stdout + done.stderr
