"""Notebooks, run headlessly in a pod like Binder's."""

from collections.abc import Iterator

import pytest
from binder.pod import Pod, binder_image, pod

NAMES = ["00_welcome", "01_docker", "01_fraud_container"]
"""Those that the course says run there; the last one is the solution of lab 1."""


@pytest.fixture(scope="module")
def binder() -> Iterator[Pod]:
    """A pod with the engine ready."""
    with binder_image() as image, pod(image, "course-test-lessons") as started:
        yield started


@pytest.mark.engine
@pytest.mark.binder
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_the_pod(binder: Pod, name: str):
    done = binder.run(f"cd $COURSE && course run {name}")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
