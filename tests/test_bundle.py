"""The bundle for a room without a network: made here, used where there is none.

The room is a network namespace with a loopback of its own and nothing else, and an
engine inside it, which has its own data and its own bridge. All of it goes with the
engine's process; this machine's engine is only asked for the images.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from needed import require
from waiting import eventually

from authoring.source import masters
from course import ROOT, images
from course.errors import CourseError
from offline import make, room
from offline.needs import Installation, installations

LESSON = "01_docker"
HERE = "{}.{}".format(*sys.version_info)
COURSE = [sys.executable, "-c", "from course.cli import main; main()"]
ENGINE = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount --bind "$0" /var/lib/docker
ip link set lo up
exec dockerd
"""


# --- what goes in ---------------------------------------------------------------


def test_what_builds_of_lesson_01_install_is_found():
    found = installations(LESSON)
    assert {one.image for one in found} == {images.PYTHON}
    wanted = [one.wanted for one in found]
    assert ("flask==3.1.3",) in wanted
    assert {"pandas==2.3.3", "pandas==3.1.1"} <= {word for words in wanted for word in words}
    assert any("gunicorn==" in word for words in wanted for word in words)


def test_other_lessons_name_another_python_and_the_service_of_lesson_02():
    found = installations("05_monitoring")
    assert Installation(images.OLDER_PYTHON, ("whylogs==1.6.4",)) in found
    assert any("uvicorn" in word for one in found for word in one.wanted)


def test_every_lesson_with_images_has_a_master():
    assert len(masters()) >= len(images.LESSON_IMAGES)
    for name in images.LESSON_IMAGES:
        assert all(one.wanted for one in installations(name))


def test_the_lock_is_taken_for_the_first_and_the_last_of_a_python():
    entries = [set(make._locked(python)) for python in ("3.11.0", "3.11.99", "3.13.0")]
    assert all(len(found) > 200 for found in entries)
    everything = "".join(entry for found in entries for entry in found)
    assert " ; " not in everything
    assert all("--hash=sha256:" in entry for found in entries for entry in found)
    names = [{entry.partition("==")[0] for entry in found} for found in entries]
    assert names[0] == names[1], "the lock differs in versions only"


def test_the_index_is_a_simple_one(tmp_path):
    for name in ("Flask_Cors-1.0-py3-none-any.whl", "antlr4-python3-runtime-4.9.3.tar.gz"):
        (tmp_path / name).write_text(name)
    make._write_index(tmp_path)
    assert {path.name for path in (tmp_path / "simple").iterdir()} == {
        "flask-cors",
        "antlr4-python3-runtime",
    }
    page = (tmp_path / "simple/flask-cors/index.html").read_text()
    digest = room.checksum(tmp_path / "Flask_Cors-1.0-py3-none-any.whl")
    assert f'href="../../Flask_Cors-1.0-py3-none-any.whl#sha256={digest}"' in page


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"pythons": ["3.99"]}, "this bundle is for Python 3.99. `python3` is Python 3."),
        ({"machine": "Plan9 pdp11"}, "this bundle is for Plan9 pdp11, and this machine is "),
    ],
)
def test_a_bundle_for_another_machine_is_refused(tmp_path, about, message):
    fits = {"machine": f"{platform.system()} {platform.machine()}", "pythons": [HERE]}
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/about.json").write_text(json.dumps(fits | about))
    for name in ("course/bootstrap.py", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    command = [sys.executable, tmp_path / "course/bootstrap.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"setup: {message}" in done.stderr
    assert not (tmp_path / ".venv").exists()


# --- making it ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that goes with the last test: pytest's own are kept, and this is large."""
    require(_why_no_room())
    with tempfile.TemporaryDirectory(prefix="course-bundle-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def committed(folder: Path) -> Path:
    """A clone with what changed since the last commit, committed there."""
    clone = folder / "clone"
    listed = _git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    _git(clone, "init", "--quiet")
    _git(clone, "add", "--all")
    _git(clone, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message=x")
    return clone


@pytest.fixture(scope="module")
def archive(committed: Path, folder: Path) -> Path:
    """The bundle of lesson 01."""
    done = _bundle(committed, LESSON, "--out", str(folder / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (folder / "out").glob("*.tar")
    assert sorted(p.name for p in (folder / "out").iterdir()) == [path.name, f"{path.name}.sha256"]
    return path


@pytest.mark.engine
@pytest.mark.slow
def test_what_is_not_committed_is_named(committed: Path, folder: Path):
    with _changed(committed / "README.md", b"another text"):
        done = _bundle(committed, LESSON, "--out", str(folder / "dirty"))
    assert done.returncode == 2
    assert " M README.md" in done.stderr
    assert not (folder / "dirty").exists()


@pytest.mark.parametrize("python", ["3.10", "3", "three", "3.13.1"])
def test_a_python_that_the_course_does_not_support_is_named(python, tmp_path):
    with pytest.raises(CourseError, match="Not a Python for the course: "):
        make.make([LESSON], tmp_path, [python])


@pytest.mark.engine
def test_an_image_that_is_not_here_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "_require_clean", lambda: None)
    monkeypatch.setitem(images.LESSON_IMAGES, LESSON, [images.PYTHON, "course-none:1"])
    with pytest.raises(CourseError, match=r"Images are missing: course-none:1\.\nRun `course im"):
        make.make([LESSON], tmp_path, [HERE])


@pytest.mark.engine
def test_a_disk_that_is_too_small_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(make, "_require_clean", lambda: None)
    monkeypatch.setattr(make, "PACKAGES_GB", 10**9)
    with pytest.raises(CourseError, match="GB are free in"):
        make.make([LESSON], tmp_path, [HERE])
    assert list(tmp_path.iterdir()) == []


# --- in the room ----------------------------------------------------------------


class Room:
    """A machine without a network, with an engine and the unpacked bundle."""

    def __init__(self, course: Path, home: Path, dockerd: subprocess.Popen) -> None:
        self.course = course
        self.home = home
        self.dockerd = dockerd

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the unpacked folder, without this machine's settings."""
        enter = ["nsenter", f"--target={self.dockerd.pid}", "--net", "--mount"]
        return subprocess.run(
            [*enter, "sh", "-c", f'cd "$0" && {script}', self.course],
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "CI": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="module")
def in_room(archive: Path, folder: Path) -> Iterator[Room]:
    """The room, with the bundle unpacked and nothing set up."""
    for name in ("room", "home", "engine"):
        (folder / name).mkdir()
    check = ["sha256sum", "--check", f"{archive.name}.sha256"]
    subprocess.run(check, cwd=archive.parent, check=True)
    subprocess.run(["tar", "-xf", archive, "-C", folder / "room"], check=True)
    archive.unlink()
    [course] = (folder / "room").iterdir()
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        dockerd = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", ENGINE, folder / "engine"],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    here = Room(course, folder / "home", dockerd)
    try:
        assert eventually(lambda: here.run("docker version").returncode == 0), log.read_text()
        yield here
    finally:
        dockerd.terminate()
        dockerd.wait(60)


@pytest.fixture(scope="module")
def ready(in_room: Room) -> Room:
    """The room after `make setup`."""
    done = in_room.run("make setup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Making .venv: from bundle/" in done.stdout
    return in_room


@pytest.mark.engine
@pytest.mark.slow
def test_the_room_has_no_network(in_room: Room):
    """It has its own machine and a bridge, and no way beyond them."""
    routes = in_room.run("ip route show").stdout.splitlines()
    assert [line.split()[2] for line in routes] == ["docker0"]
    assert "default" not in "".join(routes)
    assert in_room.run("docker images --quiet").stdout == ""


@pytest.mark.engine
@pytest.mark.slow
def test_a_damaged_wheel_is_refused(in_room: Room):
    [wheel] = (in_room.course / "bundle/packages").glob("six-*.whl")
    content = wheel.read_bytes()
    with _changed(wheel, content[:100] + b"?" + content[101:]):
        done = in_room.run("make setup")
        named = in_room.run("cd bundle && sha256sum --check --quiet SHA256SUMS")
    assert done.returncode == 2
    assert "six" in done.stderr
    assert "sha256sum --check" in done.stderr
    assert f"packages/{wheel.name}: FAILED" in named.stdout


@pytest.mark.engine
@pytest.mark.slow
def test_a_damaged_or_absent_image_is_named(ready: Room):
    stored = room.stored(images.REGISTRY)
    with _changed(ready.course / "bundle" / stored, b"nothing"):
        done = ready.run(f".venv/bin/course images {LESSON}")
    assert done.returncode == 2
    assert f"bundle/{stored} is damaged or missing" in done.stderr
    done = ready.run(".venv/bin/course images 05_monitoring")
    assert done.returncode == 2
    assert f"Not in this bundle: {images.OLDER_PYTHON}, " in done.stderr


@pytest.mark.engine
@pytest.mark.slow
def test_lesson_01_runs_there(ready: Room):
    done = ready.run(f".venv/bin/course images {LESSON} && .venv/bin/course run {LESSON}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    again = ready.run(f".venv/bin/course images {LESSON}")
    assert "loading" not in again.stdout
    index = ready.run("docker run --rm python:3.13-slim pip download --dest /tmp flask==3.1.3")
    assert f":{room.PORT}/flask-3.1.3" in index.stdout


@pytest.mark.engine
@pytest.mark.slow
def test_an_image_from_elsewhere_is_named(ready: Room):
    """Its pip would not find the index."""
    elsewhere = "echo nothing > x && tar -c x | docker import - python:3.13-slim"
    done = ready.run(f".venv/bin/course clean && {elsewhere} && .venv/bin/course images {LESSON}")
    assert done.returncode == 2
    assert f"{images.PYTHON} is here already, and not from the bundle" in done.stderr
    assert ready.run("docker rmi python:3.13-slim").returncode == 0


@pytest.mark.engine
@pytest.mark.slow
def test_clean_leaves_nothing_of_the_bundle(ready: Room):
    done = ready.run(f".venv/bin/course images {LESSON} && .venv/bin/course clean")
    assert "removed container course-index" in done.stdout
    left = ready.run("docker ps --all --quiet; docker images --all --quiet")
    assert left.stdout == ""


def _why_no_room() -> str:
    """Why a room cannot be made here, or an empty string."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "A room without a network is made by root on Linux."
    absent = [name for name in ("dockerd", "unshare", "nsenter", "ip") if not shutil.which(name)]
    return f"A room without a network needs {' and '.join(absent)}." if absent else ""


def _bundle(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `course bundle` of a checkout, by this environment's Python."""
    return subprocess.run(
        [*COURSE, "bundle", *arguments], cwd=checkout, capture_output=True, text=True
    )


def _git(checkout: Path, *arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=checkout, text=True)


@contextmanager
def _changed(path: Path, content: bytes) -> Iterator[None]:
    """A file with other content, for a while."""
    before = path.read_bytes()
    path.write_bytes(content)
    yield
    path.write_bytes(before)
