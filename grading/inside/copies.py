"""Grading one copy, in process 1: parse it, run its cells, ask the checks."""

import base64

from course.checks import Check, judge
from grading.inside import notebook
from grading.inside.limits import Limits, TimeIsUp, at_most
from grading.inside.nursery import Nursery
from grading.inside.remote import Notebook
from grading.inside.target import Remote

MESSAGE_LENGTH = 1000


def grade(nursery: Nursery, job: dict, checks: list[Check], stubs: dict[str, str]) -> dict:
    """The document on a copy: outcomes, remarks and checkpoint, or a problem."""
    limits = Limits(**job["limits"])
    try:
        submission = notebook.parse(
            base64.b64decode(job["submission"]), job["title"], job["exercises"]
        )
    except notebook.NotGradable as problem:
        return {"problem": str(problem)}
    run = Notebook(nursery, submission.cells, job["given"], limits)
    target = Remote(nursery, run, stubs, limits)
    outcomes: list[dict] = []
    remarks = list(submission.remarks)
    try:
        with at_most(limits.total_seconds, TimeIsUp()):
            run.run()
            for check in checks:
                run.freeze()
                outcomes.append(_outcome(check, target, limits.check_seconds))
    except TimeIsUp:
        remarks.append(f"The copy took longer than {limits.total_seconds:g} s: not all was graded.")
        late = {"status": "wrong", "message": "The copy took too long; this was not reached."}
        outcomes += [{"name": check.name, **late} for check in checks[len(outcomes) :]]
    remarks += [remark[:MESSAGE_LENGTH] for remark in run.remarks]
    return {"outcomes": outcomes, "remarks": remarks, "checkpoint": submission.checkpoint}


def _outcome(check: Check, target: Remote, seconds: float) -> dict:
    too_slow = AssertionError(f"This took longer than {seconds:g} s in all.")
    try:
        with at_most(seconds, too_slow):
            outcome = judge(check, target)
    except AssertionError as late:  # it rang when the check had just ended
        return {"name": check.name, "status": "wrong", "message": str(late)}
    message = outcome.message[:MESSAGE_LENGTH]
    return {"name": check.name, "status": outcome.status, "message": message}
