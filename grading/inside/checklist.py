"""The checks of a lab: the public ones, and an instructor's own with them."""

from pathlib import Path

from course import checks
from course.checks import Check


def load(paths: list[Path]) -> tuple[dict[str, Check], dict[str, str]]:
    """The checks of all files by name, and the stubs of the lab's files.

    A check of a later file takes the place of one with the same name.
    """
    found = {check.name: check for path in paths for check in checks.load(path)}
    stubs: dict[str, str] = {}
    for check in found.values():
        stubs |= check.run.__globals__.get("STUBS", {})
    return found, stubs
