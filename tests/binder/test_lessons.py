"""Notebooks, run headlessly in a pod like Binder's."""

from collections.abc import Iterator

import pytest
from binder.pod import binder_image, pod

from authoring.source import masters
from course import ROOT, images

NAMES = [master.name for master in masters()]
WITHOUT_LARGE = """\
import sys, nbformat
nb = nbformat.read(sys.argv[1], as_version=4)
nb.cells = [cell for cell in nb.cells if "large" not in cell.metadata.get("tags", [])]
nbformat.write(nb, sys.argv[1])
"""


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image that Binder opens."""
    with binder_image() as built:
        yield built


@pytest.mark.engine
@pytest.mark.binder
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_a_pod_of_its_own(image: str, name: str):
    """All but the cells tagged ``large``, which the README lists."""
    with pod(image, "course-test-lessons") as started:
        key = f"lab{name[:2]}" if (ROOT / f"labs/{name}.ipynb").exists() else name
        for ref in images.LESSON_IMAGES.get(key, []):
            if ref not in (images.PYTHON, images.REGISTRY):  # these the image has
                started.load(ref)
        for path in ("notebooks", "solutions"):
            file = f"$COURSE/{path}/{name}.ipynb"
            started.out(f"test ! -e {file} || python - {file}", stdin=WITHOUT_LARGE)
        done = started.run(f"cd $COURSE && course run {name}")
        assert done.returncode == 0, done.stdout + done.stderr[-3000:]
