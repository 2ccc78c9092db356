"""The setup that every `make` target runs first, on a small checkout of its own.

Packages come from an index on the loopback interface, made from the ones that are
installed here, so nothing is downloaded.
"""

import ast
import base64
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from course import ROOT

BOOTSTRAP = Path("course/bootstrap.py")
NO_INDEX = "http://127.0.0.1:9"  # nothing listens there
WAITS = "Another setup is at work here: waiting for it.\n"


class Index(ThreadingHTTPServer):
    """A package index that can be told to hold back one package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held_back = "nothing"
        self.asked = threading.Event()
        self.go_on = threading.Event()
        super().__init__(("127.0.0.1", 0), _Pages)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def hold_back(self, package: str) -> None:
        self.held_back = package
        self.asked.clear()
        self.go_on.clear()

    def release(self) -> None:
        self.held_back = "nothing"
        self.go_on.set()

    def add(self, package: str, version: str, files: dict[str, bytes], tag: str) -> str:
        """Add a wheel, and return the lines that lock it."""
        folder = self.folder / package
        folder.mkdir(exist_ok=True)
        wheel = folder / f"{package}-{version}-{tag}.whl"
        record = f"{package}-{version}.dist-info/RECORD"
        lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, data in files.items():
                executable = zipfile.ZipInfo(name)
                executable.external_attr = 0o100755 << 16
                archive.writestr(executable, data)
            archive.writestr(record, "\n".join([*lines, f"{record},,\n"]))
        return f"{package}=={version} \\\n    --hash=sha256:{_hex(wheel.read_bytes())}\n"

    def add_tiny(self, version: str) -> str:
        """Add a version of a package that only prints its own version."""
        info = f"tiny-{version}.dist-info"
        files = {
            "tiny.py": f"print('tiny {version}')\n".encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        return self.add("tiny", version, files, "py3-none-any")

    def add_installed(self, package: str) -> str:
        """Add a package as it is installed beside this test."""
        installed = importlib.metadata.distribution(package)
        prefix = f"{package}-{installed.version}"
        files = {}
        for path in installed.files or []:
            if path.suffix == ".pyc" or path.name in ("RECORD", "INSTALLER", "REQUESTED"):
                continue
            is_script = path.parts[-2:-1] == ("bin",)
            name = f"{prefix}.data/scripts/{path.name}" if is_script else path.as_posix()
            files[name] = Path(str(path.locate())).read_bytes()
        tag = re.search("^Tag: (.*)", installed.read_text("WHEEL") or "", re.MULTILINE)
        assert tag
        return self.add(package, installed.version, files, tag.group(1))


class _Pages(SimpleHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        if Path(self.path).name.startswith(f"{self.server.held_back}-"):
            self.server.asked.set()
            self.server.go_on.wait(300)
        super().do_GET()

    def translate_path(self, path: str) -> str:
        return str(self.server.folder / path.strip("/"))

    def log_message(self, *args: object) -> None:
        pass


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory):
    with Index(tmp_path_factory.mktemp("index")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.release()
        server.shutdown()


@pytest.fixture(scope="module")
def lock_head(index: Index) -> str:
    """The head of a lock, with what every setup needs."""
    head = "# download: 7 MB (a test)\n"
    return head + index.add_installed("setuptools") + index.add_installed("uv")


@pytest.fixture(scope="module")
def lock(index: Index, lock_head: str) -> str:
    return lock_head + index.add_tiny("1.0")


@pytest.fixture
def small(tmp_path: Path, lock: str) -> Path:
    """A small checkout, in a folder with a space in its name."""
    return make_small(tmp_path / "my course", lock)


def make_small(root: Path, lock: str) -> Path:
    (root / "course").mkdir(parents=True)
    shutil.copy(ROOT / BOOTSTRAP, root / BOOTSTRAP)
    (root / "course/__init__.py").touch()
    (root / "course/cli.py").write_text("def main():\n    import tiny\n")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\n'
        'build-backend = "setuptools.build_meta"\n'
        '[project]\nname = "small"\nversion = "1"\nscripts = {course = "course.cli:main"}\n'
        '[tool.setuptools]\npackages = ["course"]\n'
    )
    (root / "requirements.txt").write_text(lock)
    return root


def variables(root: Path, url: str, **more: str) -> dict[str, str]:
    """A user's environment, without the settings of the machine for pip and uv."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith(("PIP_", "UV_"))}
    return kept | {
        "HOME": str(root.parent),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": url,
        "PIP_RETRIES": "0",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(root.parent / "uv-cache"),
        "VIRTUAL_ENV": "/nonexistent",  # one that is active elsewhere is left alone
        **more,
    }


def start(root: Path, url: str, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, root / BOOTSTRAP],
        env=variables(root, url, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Under nohup and in some CI systems Ctrl-C is switched off for children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def set_up(root: Path, url: str, **more: str) -> tuple[int, str]:
    """The exit code and the output of a setup."""
    process = start(root, url, **more)
    output = process.communicate()[0]
    return process.returncode, output


def course(root: Path, name: str = "course") -> str:
    """What the installed command prints: the version of the tiny package."""
    return subprocess.check_output([root / ".venv/bin" / name], text=True)


def as_module(root: Path) -> ModuleType:
    """The setup of a small checkout, to be called in this process."""
    spec = importlib.util.spec_from_file_location("small_bootstrap", root / BOOTSTRAP)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- What stops it --------------------------------------------------------------


OLD_PYTHON = """\
#!{python}
import runpy, sys
sys.version_info = (3, 8, 18, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """A folder with a `python3` that says it is Python 3.8."""
    folder = tmp_path / "old"
    folder.mkdir()
    program(folder / "python3", OLD_PYTHON.format(python=sys.executable))
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run_on(path: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Run the setup with the `python3` of the only folder on PATH."""
    return subprocess.run(
        [path / "python3", root / BOOTSTRAP],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
    )


def test_a_python_that_is_too_old_stops_with_the_ways_to_get_one(small: Path, old_python: Path):
    done = run_on(old_python, small)
    assert done.returncode == 2
    assert "Python 3.11 or later is needed. `python3` is Python 3.8.18" in done.stderr
    for way in ("apt-get install -y python3 python3-venv", "brew install", "environment.yml"):
        assert way in done.stderr
    assert "Traceback" not in done.stderr
    assert not (small / ".venv").exists()


def test_an_old_python_hands_over_to_a_newer_one_that_runs(small: Path, old_python: Path):
    program(old_python / "python3.13", "#!/bin/sh\necho not installed >&2; exit 127\n")
    program(old_python / "python3.12", '#!/bin/sh\n[ "$1" = -I ] && echo 3.12 || echo took over\n')
    assert run_on(old_python, small).stdout == "took over\n"


def test_it_is_written_for_an_old_python():
    ast.parse((ROOT / BOOTSTRAP).read_text(), feature_version=(3, 6))


def test_it_asks_for_the_python_that_the_project_does(small: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = ".".join(map(str, as_module(small).OLDEST_PYTHON))
    assert project["requires-python"] == f">={oldest}"


def test_a_full_disk_stops_it(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    usage = shutil.disk_usage(small)._replace(free=1_300_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert as_module(small).main() == 2
    assert "needs 2 GB of disk, and only 1.3 GB are free" in capsys.readouterr().err
    assert not (small / ".venv").exists()


@pytest.mark.slow
def test_without_a_network_it_says_so(small: Path):
    code, output = set_up(small, NO_INDEX)
    assert code == 2
    assert "pip failed; its last lines:" in output
    assert "The network does not answer, or refuses:" in output
    assert "Traceback" not in output


# --- What it makes --------------------------------------------------------------


def test_the_lines_of_uv_come_with_all_their_hashes(small: Path):
    lock = (ROOT / "requirements.txt").read_text()
    lines = as_module(small).pinned("uv", lock).splitlines()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert lines[0].split()[0] in pyproject["project"]["dependencies"]
    following = lock[lock.index(lines[0]) :].splitlines()
    assert lines[1:] == [line for line in following[1 : len(lines)] if "--hash=" in line]
    assert "--hash=" not in following[len(lines)]


def test_the_lock_says_what_it_downloads(small: Path):
    shutil.copy(ROOT / "requirements.txt", small)
    assert re.fullmatch(r"about [1-9]\d+ MB", as_module(small).download_size())


@pytest.mark.slow
def test_the_lock_is_what_the_project_resolves_to(tmp_path: Path):
    (tmp_path / ".ci").mkdir()
    for name in (".ci/lock", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run([sys.executable, tmp_path / ".ci/lock"], check=True)
    old, new = ((root / "requirements.txt").read_text() for root in (ROOT, tmp_path))
    pins = re.compile("^[^ #].*==.*", re.MULTILINE)
    assert pins.findall(old) == pins.findall(new), "run `make lock`"
    assert new.startswith("# download: ")
    assert "://" not in old + new


@pytest.mark.slow
def test_from_nothing_over_an_update_to_one_that_fails(small: Path, index: Index, lock_head: str):
    code, output = set_up(small, index.url)
    assert code == 0, output
    assert output.splitlines() == [
        "Making .venv: about 7 MB to download, 2 GB of disk.",
        "The environment is ready.",
    ]
    assert course(small) == "tiny 1.0\n"

    assert set_up(small, index.url) == (0, ""), "a second setup has nothing to do or to say"

    pyproject = small / "pyproject.toml"
    right = pyproject.read_text()
    pyproject.write_text(right + "[project")
    code, output = set_up(small, NO_INDEX)
    assert code == 2
    assert "uv failed; its last lines:" in output
    pyproject.write_text(right.replace("course =", "lessons ="))
    code, output = set_up(small, NO_INDEX)
    assert code == 0, f"what is there needs no network: {output}"
    assert course(small, "lessons") == "tiny 1.0\n"
    pyproject.write_text(right)

    kept = small / ".venv/kept"
    kept.touch()
    (small / "requirements.txt").write_text(lock_head + index.add_tiny("2.0"))
    code, output = set_up(small, index.url)
    assert code == 0, output
    assert "updating .venv. Only what differs is downloaded." in output
    assert course(small) == "tiny 2.0\n"
    assert kept.exists()

    (small / "requirements.txt").write_text(lock_head + index.add_tiny("3.0"))
    code, output = set_up(small, NO_INDEX)
    assert code == 2
    assert "uv failed; its last lines:" in output
    assert "The network does not answer, or refuses:" in output
    assert "Traceback" not in output
    assert set_up(small, index.url)[0] == 0
    assert course(small) == "tiny 3.0\n"


@pytest.mark.slow
def test_it_is_made_again_after_a_move_and_after_its_python_is_gone(small: Path, index: Index):
    assert set_up(small, index.url)[0] == 0
    moved = small.rename(small.with_name("moved"))
    assert "Making .venv" in set_up(moved, index.url)[1]
    assert course(moved) == "tiny 1.0\n"

    (moved / ".venv/bin/python").unlink()
    (moved / ".venv/bin/python").symlink_to("/nonexistent/python3.12")
    assert "Making .venv" in set_up(moved, index.url)[1]
    assert course(moved) == "tiny 1.0\n"


@pytest.mark.slow
@pytest.mark.parametrize(("package", "how"), [("uv", signal.SIGKILL), ("tiny", signal.SIGINT)])
def test_what_was_interrupted_is_completed(
    small: Path, index: Index, package: str, how: signal.Signals
):
    index.hold_back(package)
    process = start(small, index.url)
    assert index.asked.wait(300)
    if how == signal.SIGINT:  # as Ctrl-C does: to all that run in the terminal
        os.killpg(process.pid, how)
        output = process.communicate()[0]
        assert process.returncode == 130
        assert "stopped. Run the same command again to finish it." in output
        assert "Traceback" not in output
        again = start(small, index.url)
    else:
        process.kill()
        again = start(small, index.url)
        assert again.stdout
        assert again.stdout.readline() == WAITS, "for the pip that still runs"
    index.release()
    output = again.communicate()[0]
    assert again.returncode == 0, output
    assert course(small) == "tiny 1.0\n"


@pytest.mark.slow
def test_a_second_setup_at_the_same_time_waits_for_the_first(small: Path, index: Index):
    index.hold_back("tiny")
    first = start(small, index.url)
    assert index.asked.wait(300)
    second = start(small, index.url)
    assert second.stdout
    assert second.stdout.readline() == WAITS
    index.release()
    assert first.wait() == 0
    assert second.communicate()[0] == "", "the first one left it nothing to do"
    assert second.returncode == 0
    assert course(small) == "tiny 1.0\n"


def test_a_note_that_cannot_be_read_counts_as_none(small: Path):
    module = as_module(small)
    for text in ("", "half a no", json.dumps({})):
        (small / ".venv").mkdir(exist_ok=True)
        Path(module.STAMP).write_text(text)
        assert not module.is_up_to_date()
