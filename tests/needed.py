"""What a test needs of the machine."""

import os

import pytest


def require(missing: str) -> None:
    """Skip where something is ``missing``, which says what; in CI that is a failure."""
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
