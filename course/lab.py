"""What a lab's notebook calls: checks, hints and progress; and ``course check``."""

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import nbformat
import requests
from docker import DockerClient
from IPython import get_ipython

from course import ROOT, engine, lesson
from course.checks import Check, Client, Json, NotAttempted, NotReady, Outcome, judge, load
from course.errors import CourseError
from course.execute import EXPECTED_ERROR, KERNEL, code_cells, error_of, execute, tags

CALL_SECONDS = 60
SERVER_SECONDS = 20
INDENT = " " * 9


class Points(int):
    """Points as the value of a notebook's cell."""

    def _repr_html_(self) -> str:
        # nbgrader reads the number from the cell's plain text as partial credit.
        # People have it in the printed report: a notebook shows them this instead.
        return ""


class Lab:
    """A lab in the student's notebook: judges exercises, gives hints, shows progress."""

    def __init__(self, name: str, **ports: int) -> None:
        """Prepare the lab ``name`` as ``lesson.start`` does, with its ``ports``.

        Without a container engine it goes on: only what needs one is out of reach.
        """
        try:
            lesson.start(f"lab{name[:2]}", **ports)
        except engine.NoEngine as missing:
            print(f"{missing.problem} Checks that need one will say so. {missing.fix}")
        self._name = name
        self._checks = load(_checks_path(name))
        material = runpy.run_path(str(_checks_path(name)))
        self._hints: dict[str, list[str]] = material["HINTS"]
        self._given: Counter[str] = Counter()
        self._folder, self._stubs = Path.cwd(), material["STUBS"]
        self._record = _record_path(Path.cwd().parent, name)

    def check(self, exercise: str = "") -> Points:
        """Judge ``exercise``: print a line for each point, and return the points."""
        self._require(exercise)
        target = Notebook(self._folder, self._stubs)
        outcomes = [judge(c, target) for c in self._checks if c.exercise == exercise]
        found = _recorded(self._record, self._checks) | {o.check.name: o for o in outcomes}
        known = {name: [o.status, o.message] for name, o in found.items()}
        _keep(self._record, json.dumps(known, indent=1))
        print(report(exercise, outcomes))
        return Points(sum(outcome.points for outcome in outcomes))

    def hint(self, exercise: str = "") -> None:
        """Print the next hint for ``exercise``; after the last one, that again."""
        self._require(exercise)
        hints = self._hints[exercise]
        given = self._given[exercise]
        number = self._given[exercise] = min(given + 1, len(hints))
        print(f"Hint {number} of {len(hints)} for {exercise}\n\n{hints[number - 1]}")
        if given == len(hints):
            print("(This was the last one.)")

    def progress(self) -> None:
        """Print a table of the points of all exercises as they were last checked."""
        print(table(self._name, self._checks, _recorded(self._record, self._checks)))

    def _require(self, exercise: str) -> None:
        known = list(dict.fromkeys(check.exercise for check in self._checks))
        if exercise not in known:
            problem = f"There is no exercise {exercise}." if exercise else "Which exercise?"
            raise CourseError(problem, f"This lab has {', '.join(known)}.")


class Notebook:
    """The :class:`course.checks.Target` that is the student's running notebook."""

    def __init__(self, folder: Path, stubs: dict[str, str]) -> None:
        self._folder = folder
        self._stubs = stubs
        self._slow: set[str] = set()

    def call(self, function: str, *args: Json, **kwargs: Json) -> Json:
        """What the function of the notebook returns; a copy, as over a pipe."""
        defined = get_ipython().user_ns.get(function)
        if not callable(defined):
            raise NotAttempted(f"{function} is not defined. Run the cell that defines it.")
        # Nobody waits a minute for each check of an endless loop.
        limit = CALL_SECONDS / 10 if function in self._slow else CALL_SECONDS
        args, kwargs = json.loads(json.dumps([args, kwargs]))
        try:
            with _time_limit(limit):
                value = defined(*args, **kwargs)
        except NotImplementedError:
            raise NotAttempted(f"{function} is still as it was given.") from None
        except _TimeUp:
            self._slow.add(function)
            raise AssertionError(
                f"{function} took more than {limit:g} seconds. If the machine is busy, check again."
            ) from None
        except (Exception, SystemExit) as error:
            call = textwrap.shorten(f"{function}({', '.join(map(repr, args))})", 400)
            raise AssertionError(f"{call} raised {type(error).__name__}: {error}") from None
        try:
            return json.loads(json.dumps(value, allow_nan=False))
        except ValueError:
            said = f"{function} returned {repr(value)[:70]}: JSON has no inf, no nan, no loops."
            raise AssertionError(said) from None
        except (TypeError, RecursionError) as reason:
            kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
            raise AssertionError(
                f"{function} returned a {kind}, which JSON cannot hold ({reason}). "
                "Return plain Python values: convert with bool(), float(), int(), str() or list()."
            ) from None

    def read(self, name: str) -> str:
        """The text of a file in the lab's folder, if there is more than its stub."""
        path = self._folder / name
        if not path.is_file():
            raise NotAttempted(f"{name} is not written. Run the cell that writes it.")
        text = path.read_text(errors="replace")
        if text.strip() == self._stubs.get(name, "").strip():
            raise NotAttempted(
                f"{name} is still as it was given. Write your answer in its cell and run the cell."
            )
        return text

    @contextmanager
    def serve(self, command: list[str], ready: str) -> Iterator[Client]:
        """The student's server on a free port of this machine, killed afterwards."""
        for word in command:
            if word.endswith(".py"):
                self.read(word)
        port = _free_port()
        words = [word.format(port=port) for word in command]
        program = sys.executable if words[0] == "python" else words[0]
        with tempfile.NamedTemporaryFile() as log:
            process = subprocess.Popen(
                [program, *words[1:]],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that its children can be killed too
            )
            try:
                server = _Server(f"http://127.0.0.1:{port}")
                if reason := _why_not_ready(process, server, ready):
                    tail = "\n".join(_lines(log.name)[-5:])
                    raise AssertionError(f"{reason} Its log ends:\n{tail}")
                try:
                    yield server
                except AssertionError as wrong:
                    said = _last_error(log.name)
                    if "NotImplementedError" in said:
                        raise NotAttempted(f"Some is still as it was given.{said}") from None
                    raise AssertionError(f"{wrong}{said}") from None
            finally:
                with suppress(ProcessLookupError):  # it and its children have ended
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def docker(self) -> DockerClient:
        """A client of the engine that the notebook's commands use."""
        try:
            return engine.find().client()
        except CourseError as missing:
            raise NotReady(str(missing)) from None


@dataclass(frozen=True)
class _Server:
    url: str

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # a proxy does not reach this machine's ports
            try:
                return session.request(method, self.url + path, timeout=10, **options)
            except requests.RequestException as error:
                raise AssertionError(
                    f"{method} {path} got no answer: {type(error).__name__}."
                ) from None


def report(exercise: str, outcomes: list[Outcome]) -> str:
    """The verdicts on one exercise, for people to read."""
    earned, most = sum(o.points for o in outcomes), sum(o.check.points for o in outcomes)
    lines = [f"{exercise}: {earned} of {most} points"]
    said = ""
    for o in outcomes:
        lines.append(f"  {o.points}/{o.check.points}  {o.status + ':':<15}{o.check.claim}")
        if o.message != said:  # an answer that is missing is missing for each of its points
            for line in o.message.splitlines():
                lines += textwrap.wrap(line, 95, initial_indent=INDENT, subsequent_indent=INDENT)
        elif o.status == "wrong":
            lines.append(f"{INDENT}(the same)")
        said = o.message
    return "\n".join(lines)


def table(name: str, checks: list[Check], found: dict[str, Outcome]) -> str:
    """A lab's exercises with their points as they were last checked."""
    lines = [f"Lab {name}"]
    for exercise in dict.fromkeys(check.exercise for check in checks):
        ours = [check for check in checks if check.exercise == exercise]
        states = Counter(found[c.name].status if c.name in found else "not checked" for c in ours)
        states.pop("right", None)
        still = ", ".join(f"{count} {state}" for state, count in states.items())
        lines.append(f"  {exercise:<6} {_points(ours, found)}  {still or 'done'}")
    lines.append(f"  total  {_points(checks, found)}")
    return "\n".join(lines)


def run(name: str, root: Path = ROOT) -> tuple[str, bool]:
    """Execute the student's notebook of a lab and return what its checks found.

    It runs in a folder of its own, from top to bottom; a cell that fails does not
    stop the rest. Like every run, it first removes the lab's containers.

    Args:
        name: the lab, such as ``01``.
        root: the checkout.

    Returns:
        The verdicts, and whether all points were earned.

    Raises:
        CourseError: there is no such lab, it is not a notebook, or none of its
            cells got to a check.
    """
    path = _notebook_path(name, root)
    try:
        nb = nbformat.read(path, as_version=4)
    except Exception as error:  # whatever a broken file makes nbformat raise
        raise CourseError(f"{path.name} is not a notebook: {error}") from None
    for cell in nb.cells:
        cell.metadata["tags"] = [*tags(cell), EXPECTED_ERROR]
    # A copy that was saved elsewhere names a kernel that may not be here, or none.
    nb.metadata["kernelspec"] = KERNEL
    saved = path.stat().st_mtime
    checks = load(_checks_path(path.stem, root))
    # What a cell left running may still write there.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with _workspace_parent(folder):
            done, _ = execute(nb, progress=True)
        record = _record_path(Path(folder, "workspace"), path.stem)
        found = _recorded(record, checks)
        if not found:
            failures = map(_how_it_failed, code_cells(done))
            first = next((f"Cell [{n}] failed: {f}" for n, f in enumerate(failures, 1) if f), "")
            raise CourseError(f"Nothing was checked in {path.name}.", first)
        kept = _record_path(root / "labs/workspace", path.stem)
        kept.parent.mkdir(exist_ok=True)
        _keep(kept, record.read_text())
    parts = [f"{path.name} as it was saved at {datetime.fromtimestamp(saved):%H:%M}:"]
    for exercise in dict.fromkeys(check.exercise for check in checks):
        outcomes = [o for o in found.values() if o.check.exercise == exercise]
        missing = f'{exercise}: not checked. No cell got to lab.check("{exercise}").'
        failed = [_how_it_failed(cell) for cell in code_cells(done) if exercise in tags(cell)]
        lines = [f"A cell of {exercise} failed: {line}" for line in failed if line]
        parts.append("\n".join([report(exercise, outcomes) if outcomes else missing, *lines]))
    parts.append(table(path.stem, checks, found))
    complete = all(c.name in found and found[c.name].points for c in checks)
    return "\n\n".join(parts), complete


def progress(root: Path = ROOT) -> str:
    """The tables of all labs that have checks."""
    tables = []
    for path in sorted((root / "labs/checks").glob("*.py")):
        checks = load(path)
        found = _recorded(_record_path(root / "labs/workspace", path.stem), checks)
        tables.append(table(path.stem, checks, found))
    return "\n\n".join(tables) or "There are no labs yet."


def _how_it_failed(cell: nbformat.NotebookNode) -> str:
    """What an executed cell failed with, in one line; nothing if it did not fail."""
    if not (lines := error_of(cell).splitlines()):
        return ""
    # The exception of a shell cell only repeats its text; its last words say more.
    return lines[-1] if lines[0].startswith("CalledProcessError") else lines[0]


class _TimeUp(BaseException):
    """Not an Exception, so that a student's ``except Exception`` lets it pass."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TimeUp

    before: Callable | int | None = signal.signal(signal.SIGALRM, stop)
    # Every second anew, should a bare `except:` have caught the first.
    signal.setitimer(signal.ITIMER_REAL, seconds, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _why_not_ready(process: subprocess.Popen, server: _Server, path: str) -> str:
    """Wait until the server answers; why it does not, or an empty string."""
    deadline = time.monotonic() + SERVER_SECONDS
    last = "no answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return "The server ended at once."
        try:
            answer = server.request("GET", path)
            if answer.ok:
                return ""
            last = f"HTTP status {answer.status_code}"
        except AssertionError:
            pass
        time.sleep(0.05)
    return f"The server gave no good answer to GET {path}: {last}."


def _lines(log: str) -> list[str]:
    return Path(log).read_text(errors="replace").splitlines()


def _last_error(log: str) -> str:
    """What the server's last traceback ended with, on a line of its own."""
    errors = [line for line in _lines(log) if re.match(r"[\w.]+(Error|Exception)\b", line)]
    return f"\nThe server's log says: {errors[-1]}" if errors else ""


def _free_port() -> int:
    # Below the ports that the kernel gives out by itself: this one is used a moment later.
    port = 20_000 + time.monotonic_ns() % 10_000
    with socket.socket() as probe:
        return port if probe.connect_ex(("127.0.0.1", port)) else _free_port()


def _points(checks: list[Check], found: dict[str, Outcome]) -> str:
    earned = sum(found[check.name].points for check in checks if check.name in found)
    return f"{earned:>2} of {sum(check.points for check in checks):>2}"


def _checks_path(name: str, root: Path = ROOT) -> Path:
    path = root / "labs/checks" / f"{name}.py"
    if not path.exists():
        raise CourseError(f"There are no checks for a lab {name}: no {path.relative_to(root)}.")
    return path


def _notebook_path(name: str, root: Path) -> Path:
    labs = sorted((root / "labs").glob("*.ipynb"))
    found = next((path for path in labs if path.stem.startswith(name)), None)
    if not found:
        known = ", ".join(path.stem for path in labs) or "none"
        raise CourseError(f"There is no lab {name}.", f"There are: {known}.")
    return found


def _record_path(workspace: Path, name: str) -> Path:
    """The file that keeps what the checks of a lab found last."""
    return workspace / f"{name}.json"


def _keep(record: Path, text: str) -> None:
    """Write a record; whatever happens meanwhile, the old one or the new one is there."""
    draft = record.with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    draft.replace(record)


def _recorded(path: Path, checks: list[Check]) -> dict[str, Outcome]:
    """What the checks found last, as far as they were asked and still exist."""
    try:
        known = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # never written, or cut off
        known = {}
    return {c.name: Outcome(c, *known[c.name]) for c in checks if c.name in known}


@contextmanager
def _workspace_parent(folder: str) -> Iterator[None]:
    """Let notebooks that are run meanwhile write their files to ``folder``."""
    before = os.environ.get("COURSE_WORKSPACE_PARENT")
    os.environ["COURSE_WORKSPACE_PARENT"] = folder
    try:
        yield
    finally:
        os.environ.pop("COURSE_WORKSPACE_PARENT")
        if before is not None:
            os.environ["COURSE_WORKSPACE_PARENT"] = before
