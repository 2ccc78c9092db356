"""Asking before something is installed or built on the user's machine."""

import os
import sys

import typer


def granted(question: str, *, yes: bool = False) -> bool:
    """Whether the user agrees to ``question``.

    ``yes`` and ``CI=true`` agree without asking; without a terminal to ask on,
    the answer is no.
    """
    if yes or os.environ.get("CI") == "true":
        return True
    if not sys.stdin.isatty():
        return False
    return typer.confirm(question, default=True)
