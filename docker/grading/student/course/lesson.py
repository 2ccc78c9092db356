"""Stands in for ``course.lesson``: every name is there and does nothing."""

from course import Silent, silent


def __getattr__(name: str) -> Silent:
    if name.startswith("_"):
        raise AttributeError(name)
    return silent
