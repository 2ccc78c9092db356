"""Packages on Debian and Ubuntu: the one family where the course can install some."""

import os
import platform
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from course.errors import CourseError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def is_debian_like() -> bool:
    """Whether this machine is Debian or derived from it."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return "debian" in f"{release['ID']} {release.get('ID_LIKE', '')}".split()


def can_install() -> bool:
    """Whether this user may install packages with apt."""
    return is_debian_like() and os.geteuid() == 0


@cache
def mirror() -> str | None:
    """The Debian mirror that this machine uses, or None where it uses none.

    Packages for stand-in images come from the same place, so that a company's
    or a university's own mirror keeps working.
    """
    if platform.freedesktop_os_release()["ID"] != "debian":
        return None
    listed = _apt("apt-get", "indextargets", "--format", "$(REPO_URI)").stdout
    mirrors = [line for line in listed.splitlines() if re.search(r"/debian/?$", line)]
    return mirrors[0] if mirrors else None


def available(package: str) -> bool:
    """Whether apt can install ``package`` from the sources it has."""
    policy = _apt("apt-cache", "policy", package).stdout
    return "Candidate:" in policy and "Candidate: (none)" not in policy


def update(options: tuple[str, ...] = ()) -> None:
    """Read the package lists anew.

    Raises:
        CourseError: the mirror does not answer.
    """
    if _apt("apt-get", *options, "update").returncode:
        raise CourseError(
            "The Debian package mirror does not answer.",
            "Check the network, then run the same command again.",
        )


def install(*packages: str, options: tuple[str, ...] = ()) -> None:
    """Install ``packages`` without their recommendations.

    Raises:
        CourseError: apt failed; its last lines are in the message.
    """
    done = _apt("apt-get", *options, "install", "-y", "--no-install-recommends", *packages)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise CourseError(
            f"apt could not install {', '.join(packages)}:\n{tail}",
            "Put that right, then run the same command again.",
        )


def install_from(release: str, *packages: str) -> None:
    """Install ``packages`` of another Debian ``release``, and nothing else of it.

    The release's package lists go to a temporary folder, so the machine's own
    apt sources stay as they are.
    """
    here = platform.freedesktop_os_release()["VERSION_CODENAME"]
    with tempfile.TemporaryDirectory() as folder:
        parts = Path(folder, "parts")
        parts.mkdir()
        Path(folder, "lists/partial").mkdir(parents=True)  # apt makes only its own
        for codename in (here, release):
            source = f"deb [signed-by={KEYRING}] {mirror()} {codename} main\n"
            (parts / f"{codename}.list").write_text(source)
        options = (
            "-o", "Dir::Etc::SourceList=/dev/null",
            "-o", f"Dir::Etc::SourceParts={parts}",
            "-o", f"Dir::State::Lists={folder}/lists",
            "-o", f"APT::Default-Release={here}",
        )  # fmt: skip
        update(options)
        install(*(f"{package}/{release}" for package in packages), options=options)


def _apt(*command: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    return subprocess.run(command, env=env, capture_output=True, text=True)
