"""What is long: the lessons twice in a row, after a crash, and on a bare machine."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course import ROOT, cleanup
from course.errors import CourseError
from course.execute import code_cells, execute

pytestmark = pytest.mark.soak

COURSE = Path(sys.executable).with_name("course")
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return nbformat.read(request.param, as_version=4)


def cut_at(nb, index, source):
    """``nb`` up to its code cell ``index``, then ``source``."""
    cells = code_cells(nb)[:index]
    return nbformat.from_dict(
        {**nb, "cells": [*cells, nbformat.v4.new_code_cell(source)]},
    )


def test_run_all_twice_in_one_kernel(lesson):
    lesson.cells = [*lesson.cells, *nbformat.from_dict(lesson.cells)]
    for number, cell in enumerate(lesson.cells):
        cell.id = str(number)
    _, failure = execute(lesson)
    assert failure is None


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_run_all_after_the_kernel_was_killed(lesson, client, share):
    cells = code_cells(lesson)
    with pytest.raises(CourseError, match="died"):
        execute(cut_at(lesson, int(len(cells) * share), "import os\nos.kill(os.getpid(), 9)"))
    _, failure = execute(lesson)
    assert failure is None
    left = client.containers.list(all=True, filters={"label": cleanup.LABEL})
    assert left == []


def test_a_second_build_leaves_git_status_clean():
    before = subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT)
    subprocess.run([COURSE, "build"], cwd=ROOT, check=True)
    assert subprocess.check_output(["git", "status", "--porcelain"], cwd=ROOT) == before


def test_clean_leaves_nothing_of_the_course_and_all_the_rest(client):
    client.containers.run("python:3.13-slim", "true", name="own-soak", detach=True)
    client.volumes.create("own-soak")
    try:
        subprocess.run(["make", "clean"], cwd=ROOT, check=True)
        shown = subprocess.check_output(
            "docker ps -a; docker images; docker volume ls; docker network ls",
            shell=True,
            text=True,
        )
        assert "course-" not in shown
        assert shown.count("own-soak") == 2
    finally:
        client.containers.get("own-soak").remove()
        client.volumes.get("own-soak").remove()
        subprocess.run([COURSE, "images", "--yes"], check=True)


def test_space_and_time_do_not_grow_over_ten_starts(client):
    """Ten starts of the same lesson leave as many objects as one."""
    nb = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("from course import lesson\nlesson.start('01_docker')"),
            nbformat.v4.new_code_cell(
                "%%bash -e\ndocker run -d --label mlops.course=01_docker --name course-loop "
                "python:3.13-slim sleep 60"
            ),
        ]
    )
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    for _ in range(10):
        _, failure = execute(nb)
        assert failure is None
        assert len(client.containers.list(filters={"label": cleanup.LABEL})) == 1
    cleanup.remove(client)
