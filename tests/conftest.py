"""What all tests share, and what happens where there is no container engine."""

import os
import re
import shutil
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import nbformat
import pytest
from xdist.scheduler import LoadScopeScheduling

from authoring.build import build
from authoring.source import masters
from course import ROOT, engine, images
from course.errors import CourseError

# Notebooks that the tests run write their files here, not beside the student's.
os.environ["COURSE_WORKSPACE_PARENT"] = tempfile.mkdtemp(prefix="course-tests-")

_seconds: dict[str, float] = defaultdict(float)
_not_run: list[str] = []


def _why_no_engine() -> str:
    """Why tests with containers cannot run, or an empty string."""
    try:
        missing = images.missing(engine.find().client(), images.ALL)
    except CourseError as error:
        return error.problem
    return f"Images are missing: {', '.join(missing)}. Run `course images`." if missing else ""


def _needs_engine(item: pytest.Item) -> bool:
    if item.path.suffix == ".ipynb":
        course = nbformat.read(item.path, as_version=4).metadata.get("course", {})
        return "engine" in course.get("needs", [])
    return item.get_closest_marker("engine") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without an engine leave out what needs one; in CI that is a failure."""
    notebooks: dict[Path, bool] = {}
    needing = []
    for item in items:
        if item.path.suffix == ".ipynb":
            if item.path not in notebooks:
                notebooks[item.path] = _needs_engine(item)
            needs = notebooks[item.path]
        else:
            needs = _needs_engine(item)
        if needs:
            needing.append(item)
    # `make check` asks for none of them: then the engine does not matter.
    expression = config.option.markexpr
    if not needing or "not engine" in expression:
        return
    reason = _why_no_engine()
    if not reason:
        return
    if os.environ.get("CI") == "true":
        pytest.exit(f"CI needs a container engine. {reason}", returncode=1)
    items[:] = [item for item in items if item not in needing]
    config.hook.pytest_deselected(items=needing)
    files = sorted({str(item.path.relative_to(ROOT)) for item in needing})
    _not_run.append(f"{len(needing)} tests in {', '.join(files)}. {reason}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the time of each file."""
    _seconds[report.nodeid.split("::")[0]] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the time of each part, and what was not run."""
    terminalreporter.section("time of each part")
    for part, seconds in sorted(_seconds.items(), key=lambda pair: -pair[1]):
        terminalreporter.write_line(f"{seconds:7.1f} s  {part}")
    for line in _not_run:
        terminalreporter.section("NOT RUN: no container engine", yellow=True)
        terminalreporter.write_line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of xdist's hands over what it left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["not_run"] = _not_run


class ByNotebook(LoadScopeScheduling):
    """One process for each lesson or lab: two runs of it would remove each other's containers."""

    def _split_scope(self, nodeid: str) -> str:
        notebook = re.search(r"[/[](\d\d_\w+)", nodeid)
        return notebook[1] if notebook else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByNotebook:
    """Share out the tests by lesson and lab, others by file."""
    return ByNotebook(config, log)


def pytest_testnodedown(node: Any) -> None:
    """Take what such a process left out; all leave out the same."""
    _not_run[:] = getattr(node, "workeroutput", {}).get("not_run", _not_run)


def pytest_unconfigure() -> None:
    """Remove the files of the notebooks that were run."""
    shutil.rmtree(os.environ["COURSE_WORKSPACE_PARENT"], ignore_errors=True)


@pytest.fixture
def client():
    """A client of the engine that the tests use."""
    return engine.find().client()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout of its own: one lesson and one lab, and no notebooks yet."""
    return _make_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkout with its notebooks; not to be changed."""
    root = _make_checkout(tmp_path_factory.mktemp("once") / "checkout")
    for master in masters(root):
        build(master, root)
    return root


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Path:
    """A copy of the small checkout with its notebooks."""
    return shutil.copytree(built_once, tmp_path / "built")


def _make_checkout(root: Path) -> Path:
    (root / "source/notebooks").mkdir(parents=True)
    (root / "source/labs").mkdir()
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "nbval.cfg", root)
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "source/notebooks/01_tiny.md").write_text(TINY_LESSON)
    (root / "source/labs/01_tiny.md").write_text(TINY_LAB)
    return root


HEAD = """\
---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
course:
  title: Tiny
  needs: []
---

"""

TINY_LESSON = (
    HEAD
    + """\
# Tiny

Words about [another file](01_tiny.ipynb).

```{code-cell} ipython3
import time

print("ran in 1.25 s at 10:11:12")
```

```{code-cell} ipython3
:tags: [nbval-ignore-output]

time.time()
```

```{code-cell} ipython3
:tags: [raises-exception]

raise ValueError("on purpose")
```

```{code-cell} ipython3
2 + 2
```
"""
)

TINY_LAB = (
    HEAD
    + """\
# Lab

```{code-cell} ipython3
:tags: [ex1]

def ping() -> str:
    ### BEGIN SOLUTION
    return "pong"
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [ex2]

%%writefile Dockerfile
FROM python:3.13-slim
### BEGIN SOLUTION
USER 1000
### END SOLUTION
```

```{code-cell} ipython3
ping()
```
"""
)
