"""What the builds of a lesson's images install, read from its master."""

import re
import shlex
from dataclasses import dataclass

from authoring.source import BACKSTAGE, masters
from course import ROOT, images

WRITES_REQUIREMENTS = re.compile(r"%%writefile \S*requirements\S*\.txt\n")
BASE = re.compile(r"^FROM (\S+)", re.MULTILINE)
INSTALLS = re.compile(r"\bpip install (.*?)(?:&&|$)", re.MULTILINE)
FILE_OPTIONS = {"-r", "--requirement", "-c", "--constraint"}
FOLDERS = {"materialize_service": "docker/service", "docker/mlflow": "docker/mlflow"}
"""What the code of a lesson says that takes a folder with a Dockerfile into use."""


@dataclass(frozen=True)
class Installation:
    """One `pip install` in a build: the base image, and what is asked for."""

    image: str
    wanted: tuple[str, ...]


def installations(lesson: str) -> list[Installation]:
    """What builds of ``lesson``, such as ``01_docker`` or ``lab01``, install."""
    cells = _code(lesson)
    text = "\n".join(cells)
    found = []
    for cell in cells:
        if match := WRITES_REQUIREMENTS.match(cell):
            found.append(_listed(cell[match.end() :]))
        for base in BASE.findall(cell)[:1]:
            for line in INSTALLS.findall(cell.replace("\\\n", " ")):
                found += [Installation(base, words) for words in _variants(_words(line), text)]
    for sign, folder in FOLDERS.items():
        if sign in text:
            found.append(_listed((ROOT / folder / "requirements.txt").read_text()))
    return [one for one in dict.fromkeys(found) if one.wanted]


def _code(lesson: str) -> list[str]:
    """The code cells that students run."""
    is_lab, start = lesson.startswith("lab"), lesson.removeprefix("lab")
    [master] = [m for m in masters(ROOT) if m.lab == is_lab and m.name.startswith(start)]
    cells = [cell for cell in master.notebook().cells if cell.cell_type == "code"]
    tags = [cell.metadata.get("tags", []) for cell in cells]
    return [
        cell.source
        for cell, own in zip(cells, tags, strict=True)
        if not any(BACKSTAGE.fullmatch(tag) for tag in own)
    ]


def _listed(requirements: str) -> Installation:
    """What a requirements file asks for, without comments and hashes."""
    names = re.findall(r"^[A-Za-z][^\s;#\\]*", requirements, re.MULTILINE)
    return Installation(images.PYTHON, tuple(names))


def _words(arguments: str) -> tuple[str, ...]:
    """The requirements among pip's arguments: no options, no names of files."""
    words = shlex.split(arguments)
    named = {words[i + 1] for i, word in enumerate(words[:-1]) if word in FILE_OPTIONS}
    return tuple(word for word in words if not word.startswith("-") and word not in named)


def _variants(words: tuple[str, ...], text: str) -> list[tuple[str, ...]]:
    """``words`` with their build argument, if any, as each build of the lesson sets it."""
    argument = re.search(r"\$\{?(\w+)\}?", " ".join(words))
    if not argument:
        return [words]
    values = re.findall(rf"--build-arg {argument[1]}=(\S+)", text)
    return [tuple(word.replace(argument[0], value) for word in words) for value in values]
