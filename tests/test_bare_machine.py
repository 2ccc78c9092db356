"""The setup on a bare Debian 13, with git, make and python3 and nothing else.

The root is made with mmdebstrap, and entered with chroot in namespaces of its own:
what is mounted there goes with the last process, also where a test is killed.
"""

import os
import platform
import pty
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from needed import require

from course import ROOT, debian, images

pytestmark = pytest.mark.slow

ENTER = """\
mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && mount --rbind /dev "$0/dev" &&
exec chroot "$@"
"""
USER_COMMAND = "sudo apt-get update && sudo apt-get install -y python3-venv"
CA_BUNDLE = "/etc/host-certificates.pem"
SETUP = "cd course && exec /usr/bin/make setup"


class Bare:
    """The bare machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self, script: str, home: str, user: int = 0, stdin: int = subprocess.DEVNULL, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the machine, in a user's home."""
        variables = {
            "PATH": "/usr/sbin:/usr/bin",
            "HOME": home,
            # Told to pip alone: uv has to find it there. The machine's own are not
            # enough in a network that inspects TLS.
            "PIP_CERT": CA_BUNDLE,
            **{name: v for name, v in os.environ.items() if name.lower().endswith("_proxy")},
            **more,
        }
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER]
        chroot = [str(self.root), f"--userspec={user}:{user}", str(self.root)]
        env = ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        return subprocess.run(
            [*enter, *chroot, *env, "/bin/sh", "-c", f"cd ~ && {script}"],
            stdin=stdin,
            capture_output=True,
            text=True,
        )


def _why_not() -> str:
    """Why a bare machine cannot be made here, or an empty string."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "A bare machine is made by root on Linux."
    absent = [name for name in ("mmdebstrap", "unshare") if not shutil.which(name)]
    return f"A bare machine needs {' and '.join(absent)}." if absent else ""


@pytest.fixture(scope="session")
def bare() -> Iterator[Bare]:
    """A bare machine; user 1000 and root each have a clone with what changed since."""
    require(_why_not())
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # user 1000 has to get through it
        root = Path(folder, "root")
        _make_root(root)
        machine = Bare(root)
        machine.run("useradd --create-home --uid 1000 student", "/root").check_returncode()
        for home, owner in (("root", 0), ("home/student", 1000)):
            _copy_project(root / home / "course", owner)
        yield machine


def _make_root(root: Path) -> None:
    mirror = debian.mirror() if debian.is_debian_like() else None
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", "--include=git,make,python3",
         "trixie", str(root), *([mirror] if mirror else [])],
        check=True,
    )  # fmt: skip
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    certificates = os.environ.get("SSL_CERT_FILE", images.CA_BUNDLE)
    shutil.copy(certificates, root / CA_BUNDLE.lstrip("/"))


def _copy_project(target: Path, owner: int) -> None:
    """Copy what is in the repository or would be: files tracked, and new ones."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():  # it may be deleted, and not committed yet
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    subprocess.run(["chown", "-R", f"{owner}:{owner}", str(target)], check=True)


def test_a_user_gets_the_exact_command(bare: Bare):
    done = bare.run(SETUP, "/home/student", user=1000)
    assert done.returncode == 2
    assert f"    {USER_COMMAND}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (bare.root / "home/student/course/.venv").exists()


def test_for_root_nothing_is_installed_without_consent(bare: Bare):
    done = bare.run(SETUP, "/root")
    assert done.returncode == 2
    assert "apt-get update && apt-get install" in done.stdout, "it says what it would do"
    assert "nothing was installed" in done.stderr

    terminal, stdin = pty.openpty()
    os.write(terminal, b"n\n")
    done = bare.run(SETUP, "/root", stdin=stdin)
    os.close(terminal)
    os.close(stdin)
    assert done.returncode == 2
    assert "Install them now? [Y/n]" in done.stdout
    assert "nothing was installed" in done.stderr
    assert not list((bare.root / "usr/lib/python3.13").glob("ensurepip"))


def test_a_python_that_is_too_old_is_named(bare: Bare):
    old = bare.root / "opt/old"
    old.mkdir(exist_ok=True)
    (old / "python3").write_text(
        "#!/usr/bin/python3\nimport runpy, sys\n"
        'sys.version_info = (3, 9, 2, "final", 0)\nsys.argv = sys.argv[1:]\n'
        'runpy.run_path(sys.argv[0], run_name="__main__")\n'
    )
    (old / "python3").chmod(0o755)
    done = bare.run(SETUP, "/root", PATH="/opt/old", CI="true")
    assert done.returncode == 2
    assert "Python 3.11 or later is needed. `python3` is Python 3.9.2" in done.stderr
    assert "sudo apt-get install -y python3 python3-venv" in done.stderr
    assert not (bare.root / "root/course/.venv").exists()


def test_for_root_it_installs_what_is_missing_and_then_is_silent(bare: Bare):
    done = bare.run(SETUP, "/root", CI="true")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.strip() for line in done.stdout.splitlines()]
    assert said[1].startswith("apt-get update && apt-get install -y"), "it says what it installs"
    assert said[2].startswith("Making .venv: about"), "it says what it downloads"

    course = bare.run("cd course && .venv/bin/course --help", "/root")
    assert "doctor" in course.stdout, course.stderr
    imports = bare.run("course/.venv/bin/python -c 'import docker, flask, mlflow'", "/root")
    assert imports.returncode == 0, imports.stderr

    again = bare.run(SETUP, "/root")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
