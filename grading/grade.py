"""Grading all copies of a folder: in parallel, resumable, one bad copy harming none."""

import hashlib
import json
import shutil
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from course import ROOT, engine
from course.errors import CourseError
from grading import gradebooks, image, labs, live, report, submissions
from grading.inside.limits import Limits
from grading.results import Result, result
from grading.sandbox import NoDocument, Sandbox
from grading.submissions import Submission


def grade(
    name: str,
    folder: Path,
    out: Path,
    *,
    jobs: int,
    tests: Path | None = None,
    checkpoint: str | None = None,
    with_live: bool = False,
    limits: Limits | None = None,
    root: Path = ROOT,
    console: Console | None = None,
) -> list[Result]:
    """Grade every copy in ``folder`` and write the reports to ``out``.

    What an earlier run graded is taken from ``out/results`` if neither the copy, the
    checks, the image nor the limits have changed.

    Args:
        name: the lab, such as ``01``.
        folder: the submissions; see ``grading.submissions`` for the layouts.
        out: where results and reports go.
        jobs: how many copies at once.
        tests: a folder with an instructor's own checks, in a file of the same name as
            the public ones; a check of the same name takes the public one's place.
        checkpoint: the exercise from which on the lab was handed out; points before
            it are forfeited.
        with_live: whether each copy gets an engine of its own, so that its running
            containers can be judged too.
        limits: what a copy may use.
        root: the checkout.
        console: where the progress bar goes.

    Raises:
        CourseError: something on the instructor's side is missing or wrong.
    """
    lab = labs.find(name, root, tests)
    lab.require_exercise(checkpoint)
    copies = submissions.find(folder, lab.name)
    if not shutil.which("docker"):
        raise CourseError("The command docker is missing.", "Install the Docker command line.")
    found = engine.find()
    live_ones = lab.live if with_live else []
    asked = [c.name for c in lab.checks if c.kind != "live" or c.exercise in live_ones]
    with Console(stderr=True).status("Preparing the image for grading"):
        ref = image.ensure(found)
        engines = live.ensure(found, lab, ref) if with_live else None
    limits = limits or (live.LIMITS if with_live else Limits())
    sandbox = Sandbox(found, ref, lab, asked, limits, uuid.uuid4().hex[:12], engines)
    store = _Store(out / "results", sandbox)
    documents = _all_documents(copies, store, jobs, console or Console(stderr=True))
    results = [result(c, documents[c.key], lab.checks, asked, checkpoint) for c in copies]
    report.write(results, lab, out)
    gradebooks.write(results, lab, out)
    return results


class _Store:
    """The documents of graded copies, kept from run to run."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self._folder = folder
        self._sandbox = sandbox
        folder.mkdir(parents=True, exist_ok=True)

    def document(self, copy: Submission) -> dict[str, Any]:
        """The document of a copy: kept, or made now."""
        if copy.problem:
            return {"problem": copy.problem}
        try:
            content = copy.content()
        except OSError as error:
            return {"problem": f"The file cannot be read: {error.strerror}."}
        path = self._folder / f"{copy.key}.json"
        digest = self._digest(content)
        if kept := _read(path, digest):
            return kept
        try:
            document = self._sandbox.grade(content)
        except NoDocument as reason:
            # Not kept: the next run tries again.
            return {"problem": f"The copy could not be graded: {reason}."}
        new = path.with_suffix(".new")
        new.write_text(json.dumps({"of": digest, "document": document}))
        new.replace(path)
        return document

    def finish(self) -> None:
        """Remove what containers are left."""
        self._sandbox.remove_all()

    def _digest(self, content: bytes) -> str:
        sandbox = self._sandbox
        live = asdict(sandbox.live) if sandbox.live else None
        decides = [sandbox.image, live, sandbox.asked, sandbox.lab.document]
        decides += [path.read_text() for path in sandbox.lab.check_files]
        settings = json.dumps([decides, asdict(sandbox.limits)])
        return hashlib.sha256(settings.encode() + content).hexdigest()


def _read(path: Path, digest: str) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return kept["document"] if kept["of"] == digest else None


def _all_documents(
    copies: list[Submission], store: _Store, jobs: int, console: Console
) -> dict[str, dict[str, Any]]:
    """The documents of all copies, by key; a bar shows how far it is."""
    columns = (TextColumn("Grading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ThreadPoolExecutor(jobs)
    waiting: dict[Future, Submission] = {pool.submit(store.document, c): c for c in copies}
    documents: dict[str, dict[str, Any]] = {}
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=len(copies))
            for done in as_completed(waiting):
                documents[waiting[done].key] = done.result()
                progress.advance(bar)
    except KeyboardInterrupt:
        raise CourseError(
            f"Stopped. {len(documents)} of {len(copies)} copies are graded.",
            "Run the same command again to go on from there.",
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # After Ctrl-C: a container may start just when the others are removed.
        while wait([f for f in waiting if not f.cancelled()], timeout=0.5).not_done:
            store.finish()
    return documents
