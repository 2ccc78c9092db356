"""The student's notebook as process 1 has it run: its cells, then calls."""

import re
import socket

from course.checks import Json, NotAttempted
from grading.inside import processes
from grading.inside.channel import Channel, Silence
from grading.inside.limits import Limits
from grading.inside.notebook import Cell
from grading.inside.nursery import HOST, Nursery

REMARKS = 10
NEEDS_MORE = re.compile(r"(?:%%(?:bash|sh)\b|!).*\b(?:docker|git|dvc)\b", re.DOTALL)
"""Commands that cannot work here: there is no engine, no Git and no DVC."""
BASIC_SECONDS = 10
"""For what the notebook's process does without running the student's code."""

_WHY = {
    "too slow": "took longer than {seconds:g} s",
    "too long": "answered with more than 1 MB",
    "ended": "ended the process, or ran out of memory",
}


class Notebook:
    """A notebook whose cells have been run in a process of their own.

    Args:
        nursery: starts the process.
        cells: the cells to run.
        given: the sources of the lab's own cells, whose errors are no news.
        limits: what it may use.
    """

    def __init__(
        self, nursery: Nursery, cells: list[Cell], given: list[str], limits: Limits
    ) -> None:
        self._nursery = nursery
        self._cells = cells
        self._given = given
        self._limits = limits
        self._bad: set[int] = set()
        self._channel: Channel | None = None
        self._session: str | None = None
        self.pid: int | None = None
        self.remarks: list[str] = []

    def run(self) -> None:
        """Run all cells; what ends the process is left out when it starts anew."""
        self.pid = None
        while self.pid is None:
            processes.sweep(self._nursery.pid, None)
            self._start()
            for number, cell in enumerate(self._cells):
                if number not in self._bad and not self._run_cell(number, cell):
                    processes.sweep(self._nursery.pid, None)
                    self.pid = None
                    break
        self.freeze()

    def freeze(self) -> None:
        """Stop the notebook's process, and end all others of the student's."""
        processes.sweep(self._nursery.pid, self.pid)
        if self._session and self.pid:
            # Its end is still reported; whoever asks next must not read that.
            processes.resume(self.pid)
            try:
                self._channel.answer(BASIC_SECONDS, self._session)
            except Silence:
                self.pid = None
            self._session = None
            processes.sweep(self._nursery.pid, self.pid)

    def call(self, function: str, args: tuple[Json, ...], kwargs: dict[str, Json]) -> Json:
        """What a function of the notebook returns, as of ``course.checks.Target``."""
        if self.pid is None or processes.status(self.pid) is not None:
            self.run()  # an earlier check's call ended it
        processes.resume(self.pid)
        seconds = self._limits.call_seconds
        call = {"function": function, "args": args, "kwargs": kwargs}
        try:
            if self._session is None:
                self._session = self._channel.send({"session": True}, BASIC_SECONDS)
                self._channel.answer(BASIC_SECONDS, self._session)
            number = self._channel.send({"call": call}, BASIC_SECONDS)
            answer = self._channel.answer(seconds, number, self._session)
        except Silence as reason:
            raise AssertionError(_silent(function, reason, seconds)) from None
        if answer["id"] == self._session:
            self._session = None
            raise AssertionError(_silent(function, Silence("ended"), seconds))
        if answer.get("missing"):
            raise NotAttempted(f"{function} is not defined.")
        if answer.get("todo"):
            raise NotAttempted(f"{function} is still as it was given.")
        if "error" in answer:
            raise AssertionError(f"{function} raised {answer['error']}")
        if "value" not in answer:
            raise AssertionError(f"{function} returned {answer.get('no_json')}.")
        return answer["value"]

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self.pid = self._nursery.spawn("notebook", [theirs.fileno()])
        theirs.close()
        self._channel = Channel(ours, self.pid)
        self._session = None

    def _run_cell(self, number: int, cell: Cell) -> bool:
        """Run a cell; whether the process is still there."""
        seconds = self._limits.cell_seconds
        try:
            request = self._channel.send({"cell": cell.source}, BASIC_SECONDS)
            answer = self._channel.answer(seconds, request)
        except Silence as reason:
            self._bad.add(number)
            self._remark(_silent(cell.label, reason, seconds) + "; the rest was run without it.")
            return False
        told = cell.source in self._given or (not HOST and NEEDS_MORE.match(cell.source))
        if answer.get("error") and not answer.get("todo") and not told:
            self._remark(f"{cell.label} raised {answer['error']}")
        return True

    def _remark(self, text: str) -> None:
        # The cells run again where a call ended the process.
        if text not in self.remarks and len(self.remarks) < REMARKS:
            self.remarks.append(text)


def _silent(what: str, reason: Silence, seconds: float) -> str:
    return f"{what} {_WHY[str(reason)].format(seconds=seconds)}"
