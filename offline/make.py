"""Making the bundle, on a machine with a network and the images."""

import gzip
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from pathlib import Path

from docker import DockerClient
from docker.errors import ContainerError
from packaging.markers import Marker
from packaging.utils import canonicalize_name

from course import ROOT, engine, images
from course.errors import CourseError
from offline.needs import installations
from offline.room import SUMS, checksum, stored

PROJECT = "mlops-cell-by-cell"
PACKAGES_GB = 1.5
"""What the packages take at the most."""
SUPPORTED = re.compile(r"3\.(1[1-9]|[2-9]\d)")
LOCKED = re.compile(r"^[\w.-]+==[^ \n]+( ; .+?)? \\\n(?: +--hash=.*\n)+", re.MULTILINE)
DOWNLOAD = """\
for asked in /asked/*.txt; do
  pip download --quiet --no-cache-dir --disable-pip-version-check --only-binary=:all: \
    --dest /packages --constraint /asked/pins --requirement "$asked" || exit 1
done
"""

Tell = Callable[[str], None]


def make(lessons: list[str], out: Path, pythons: list[str], tell: Tell = print) -> Path:
    """Write the archive for the room, and its checksum beside it; return its path.

    Args:
        lessons: whose images and packages go in, such as ``01_docker``.
        out: the folder for the archive.
        pythons: the versions of Python that may run the course there.
        tell: what to do with a line about the progress.

    Raises:
        CourseError: a Python is not supported, something is not committed, an image
            is missing, the disk is too small, or a package cannot be had.
    """
    if wrong := [python for python in pythons if not SUPPORTED.fullmatch(python)]:
        fix = "Name versions from 3.11 on, such as `--python 3.13`."
        raise CourseError(f"Not a Python for the course: {', '.join(wrong)}.", fix)
    _require_clean()
    refs = list(dict.fromkeys(ref for name in lessons for ref in images.LESSON_IMAGES[name]))
    client = engine.find().client()
    if absent := images.missing(client, refs):
        raise CourseError(f"Images are missing: {', '.join(absent)}.", "Run `course images`.")
    out.mkdir(parents=True, exist_ok=True)
    _require_disk(client, refs, out)
    name = f"{PROJECT}-{importlib.metadata.version(PROJECT)}"
    # In `out`, which has the room; and nothing half made is left under the final name.
    with tempfile.TemporaryDirectory(dir=out.resolve(), prefix=".bundle-") as folder:
        bundle = Path(folder, "bundle")
        packages = bundle / "packages"
        packages.mkdir(parents=True)
        (bundle / "images").mkdir()
        for python in pythons:
            tell(f"packages of requirements.txt for Python {python}")
            _download_locked(python, packages, tell)
        for image, wanted in _by_image(lessons).items():
            tell(f"packages that builds on {image} install")
            _download_for_builds(client, image, wanted, packages)
        _write_index(packages)
        for ref in refs:
            tell(f"image {ref}")
            _save(client, ref, bundle / stored(ref))
        about = {
            "machine": f"{platform.system()} {platform.machine()}",
            "pythons": pythons,
            "lessons": lessons,
            "images": refs,
        }
        (bundle / "about.json").write_text(json.dumps(about, indent=1) + "\n")
        tell("checksums and archive")
        _write_sums(bundle)
        made = Path(folder, f"{name}-bundle.tar")
        list(_lines("git", "archive", f"--prefix={name}/", f"--output={made}", "HEAD"))
        with tarfile.open(made, "a") as archive:
            archive.add(bundle, f"{name}/bundle")
        path = made.rename(out / made.name)
    path.with_name(f"{path.name}.sha256").write_text(f"{checksum(path)}  {path.name}\n")
    return path


def _require_clean() -> None:
    """Stop where the archive would not hold what lies here."""
    status = ["git", "status", "--porcelain", "--untracked-files=no"]
    shown = subprocess.run(status, cwd=ROOT, capture_output=True, text=True)
    if shown.returncode:
        raise CourseError("This is no git checkout.", "Make bundles from a clone of the course.")
    if shown.stdout:
        raise CourseError(
            f"A bundle holds what is committed, and these files differ:\n{shown.stdout.rstrip()}",
            "Commit or undo the changes, then run the same command again.",
        )


def _require_disk(client: DockerClient, refs: list[str], out: Path) -> None:
    saved_gb = sum(images.state(client, ref).size_mb for ref in refs) / 1e3
    needed_gb = 2 * (saved_gb + PACKAGES_GB)  # the parts, and the archive of them
    free_gb = shutil.disk_usage(out).free / 1e9
    if free_gb < needed_gb:
        raise CourseError(
            f"{needed_gb:.0f} GB of disk are needed, and {free_gb:.1f} GB are free in {out}.",
            "Choose another folder with --out, or fewer lessons.",
        )


def _download_locked(python: str, packages: Path, tell: Tell) -> None:
    """Get what the lock names for ``python`` on this platform."""
    wanted: list[str] = []
    # The lock tells even Python 3.11.4 from 3.11.5: get what the first and the last want.
    for version in (f"{python}.0", f"{python}.99"):
        new = [entry for entry in _locked(version) if entry not in wanted]
        wanted += new
        if new:
            _download(new, version, packages, tell)


def _download(entries: list[str], version: str, packages: Path, tell: Tell) -> None:
    """Get entries of the lock, with their hashes, for a version of Python."""
    command = [sys.executable, "-m", "pip", "download", "--progress-bar=off"]
    command += ["--no-deps", "--require-hashes", "--prefer-binary"]
    command += ["--python-version", version, "--dest", str(packages)]
    collected = 0
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
        lock.write("".join(entries))
        lock.flush()
        for line in _lines(*command, "--requirement", lock.name):
            if line.startswith("Collecting "):
                collected += 1
                if collected % 50 == 0:
                    tell(f"  {collected} of {len(entries)}")


def _locked(python: str) -> Iterator[str]:
    """The entries of the lock for a Python, such as ``3.13.0``, without their markers."""
    version = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    for entry in LOCKED.finditer((ROOT / "requirements.txt").read_text()):
        # Pip would look at the Python that runs it.
        marker = entry[1] or ""
        if not marker or Marker(marker.removeprefix(" ; ")).evaluate(version):
            yield entry[0].replace(marker, "", 1)


def _by_image(lessons: list[str]) -> dict[str, list[tuple[str, ...]]]:
    """For each base image, what each installation on it asks for."""
    found = defaultdict(list)
    for one in (one for name in lessons for one in installations(name)):
        if one.wanted not in found[one.image]:
            found[one.image].append(one.wanted)
    return dict(found)


def _download_for_builds(
    client: DockerClient, image: str, installed: list[tuple[str, ...]], packages: Path
) -> None:
    """Get packages as a build gets them: with the pip of its base image."""
    versions = defaultdict(set)
    for pin in (word for words in installed for word in words if "==" in word):
        versions[canonicalize_name(pin.partition("==")[0])].add(pin)
    pins = [pin for found in versions.values() if len(found) == 1 for pin in found]
    with tempfile.TemporaryDirectory(dir=packages.parent) as asked:
        Path(asked, "pins").write_text("\n".join(pins))
        for number, words in enumerate(installed):
            Path(asked, f"{number}.txt").write_text("\n".join(words))
        try:
            client.containers.run(
                image,
                ["sh", "-c", DOWNLOAD],
                user=f"{os.getuid()}:{os.getgid()}",
                environment={"HOME": "/tmp"},  # noqa: S108
                volumes={asked: {"bind": "/asked"}, str(packages): {"bind": "/packages"}},
                remove=True,
            )
        except ContainerError as error:
            tail = "\n".join(error.stderr.decode().strip().splitlines()[-5:])
            raise CourseError(
                f"What builds on {image} install cannot be downloaded:\n{tail}",
                "Check the network, then run the same command again.",
            ) from error


def _write_index(packages: Path) -> None:
    """Write a simple index of the packages: PEP 503, for any server of files."""
    by_name = defaultdict(list)
    for path in sorted(packages.iterdir()):
        # A wheel's name has no hyphen; that of a source archive may have some.
        stem = path.name.partition("-") if path.suffix == ".whl" else path.name.rpartition("-")
        by_name[canonicalize_name(stem[0])].append(path)
    for name, files in by_name.items():
        links = [f'<a href="../../{f.name}#sha256={checksum(f)}">{f.name}</a><br>' for f in files]
        page = packages / "simple" / name / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("<!DOCTYPE html>\n" + "\n".join(links) + "\n")


def _save(client: DockerClient, ref: str, path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as archive:
        for chunk in client.images.get(ref).save(named=ref):
            archive.write(chunk)


def _write_sums(bundle: Path) -> None:
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    lines = [f"{checksum(path)}  {path.relative_to(bundle)}\n" for path in files]
    (bundle / SUMS).write_text("".join(lines))


def _lines(*command: str) -> Iterator[str]:
    """What a program prints, as it comes; a fault at its end if it failed."""
    last: deque[str] = deque(maxlen=5)
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            last.append(line)
            yield line
    if process.returncode:
        raise CourseError(
            f"{Path(command[0]).name} failed; its last lines:\n{''.join(last).rstrip()}",
            "Put that right, then run the same command again.",
        )
