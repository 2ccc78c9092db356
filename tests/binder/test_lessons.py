"""Notebooks, run headlessly in a pod like Binder's."""

from collections.abc import Iterator

import pytest
from binder.pod import binder_image, pod

from course import images

LESSONS = ["00_welcome", "01_docker", "02_apis", "05_monitoring", "06_closing_the_loop"]
SOLUTIONS = ["01_fraud_container", "02_recommendation_api", "04_churn_mlflow"]
"""Those that the README says run there."""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image that Binder opens."""
    with binder_image() as built:
        yield built


@pytest.mark.engine
@pytest.mark.binder
@pytest.mark.parametrize("name", [*LESSONS, *SOLUTIONS])
def test_a_notebook_runs_in_a_pod_of_its_own(image: str, name: str):
    with pod(image, "course-test-lessons") as started:
        for ref in images.LESSON_IMAGES.get(name, []):
            if ref not in (images.PYTHON, images.REGISTRY):  # these the image has
                started.load(ref)
        done = started.run(f"cd $COURSE && course run {name}")
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
