"""Reading the student's files as the student."""

import os
import select
import time

from course.checks import NotAttempted
from grading.inside import processes
from grading.inside.nursery import MISSING, NO_FILE, READ_LIMIT, TOO_LONG, Nursery

SECONDS = 10
_PROBLEMS = {
    NO_FILE: "{name} is not a plain file. Links, folders and devices are not read.",
    TOO_LONG: f"{{name}} is longer than {READ_LIMIT // 1_000_000} MB.",
}


def read(nursery: Nursery, name: str) -> str:
    """The text of the file ``name`` in the student's folder.

    A process of the student's user opens it, so that nothing comes out that the
    student could not read anyway.

    Raises:
        NotAttempted: there is none.
        AssertionError: it is no plain file, or too long.
    """
    out, theirs = os.pipe()
    try:
        pid = nursery.spawn("reader", [theirs], path=name)
    finally:
        os.close(theirs)
    content = b""
    end = time.monotonic() + SECONDS
    try:
        while select.select([out], [], [], max(0, end - time.monotonic()))[0]:
            part = os.read(out, 65536)
            content += part
            if not part or len(content) > READ_LIMIT:
                break
    finally:
        os.close(out)
    while (ended := processes.status(pid)) is None and time.monotonic() < end:
        time.sleep(0.001)
    code = os.waitstatus_to_exitcode(ended) if ended is not None else None
    if code == MISSING:
        raise NotAttempted(f"{name} is not written.")
    assert code == 0, _PROBLEMS.get(code, "{name} could not be read.").format(name=name)
    return content.decode(errors="replace")
