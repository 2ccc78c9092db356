"""Copies that attack the grader: no points, nobody else harmed, nothing left behind."""

import hashlib
from pathlib import Path

import grading_tiny as tiny
import pytest
from grading_attacks import ATTACKS

from course import ROOT, engine
from grading.image import LABEL

pytestmark = [pytest.mark.engine, pytest.mark.slow]

RIGHT = ["0_first", "zz_last", "daemon_between"]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """All attacks, graded once among right copies; and what it did to this machine."""
    folder = tmp_path_factory.mktemp("attacks")
    root = tiny.make_root(folder / "root")
    (folder / "private").mkdir()
    (folder / "private/01_tiny.py").write_text(tiny.PRIVATE)
    for name in RIGHT:
        tiny.submit(folder / "copies", name, {})
    for name, (before, answers) in ATTACKS.items():
        tiny.submit(folder / "copies", name, {**tiny.STUBS, **answers}, before=before)
    was = _host(folder)
    results = tiny.grade_all(root, folder / "copies", folder / "out", tests=folder / "private")
    return results, was, _host(folder)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_no_point(graded, name):
    results, _, _ = graded
    result = results[name]
    assert (result.points, result.possible, result.problem) == (0, 11, "")
    words = [verdict.message for verdict in result.verdicts] + result.remarks
    assert not [text for text in words if "LEAK" in text or "s3cr3t" in text]


@pytest.mark.parametrize("name", RIGHT)
def test_right_copies_beside_them_keep_all_points(graded, name):
    results, _, _ = graded
    assert (results[name].points, results[name].possible) == (11, 11), tiny.found(results[name])


def test_nothing_is_left_and_nothing_is_changed(graded):
    _, was, now = graded
    assert now == was


def _host(folder: Path) -> dict[str, str]:
    """What an attack could have changed: files, and containers of the grader."""
    paths = [Path("/etc/passwd"), Path("/etc/hosts")]
    for place in (ROOT / "grading", ROOT / "course", folder / "copies", folder / "root"):
        paths += [path for path in place.rglob("*") if path.is_file()]
    paths += (folder / "private").iterdir()
    state = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if "__pycache__" not in path.parts
    }
    listed = engine.find().client().containers.list(all=True, filters={"label": LABEL})
    return state | {container.name: "a container" for container in listed}
