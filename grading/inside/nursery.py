"""A process that forks the student's processes, so that none waits for imports.

It is forked from process 1 before any check is read: what a student's process
inherits in memory holds nothing worth reading.
"""

import ctypes
import gc
import json
import os
import resource
import runpy
import shutil
import signal
import socket
import stat
import sys
import traceback
from pathlib import Path

from grading.inside import processes, worker

STUDENT = 1000
WORK = "/lab"
STUDENT_PATH = "/opt/student"
HOST = os.environ.get("DOCKER_HOST", "")
"""The copy's engine, if it has one."""
ENVIRONMENT = {
    "PATH": "/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp/home",  # noqa: S108
    "LANG": "C.UTF-8",
    "USER": "student",
    **{name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")},
    "MPLBACKEND": "Agg",
    "PYTHONPATH": STUDENT_PATH,
    "DVC_SITE_CACHE_DIR": "/tmp/dvc",  # noqa: S108  # its usual place is read-only
    **({"DOCKER_HOST": HOST, "DOCKER_CLI_HINTS": "false"} if HOST else {}),
}
READ_LIMIT = 1_000_000
MISSING, NO_FILE, TOO_LONG = 3, 4, 5
"""Exit statuses of the process that reads a file."""

_PR_SET_DUMPABLE = 4


class Nursery:
    """The nursery as process 1 sees it."""

    def __init__(self) -> None:
        """Fork it; from then on it only waits for requests."""
        self._asked = 0
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.freeze()  # or the collector would copy every page that is shared
        self.pid = os.fork()
        if self.pid == 0:
            self._control.close()
            _tend(theirs)
        theirs.close()

    def spawn(self, role: str, fds: list[int], **request: object) -> int:
        """Fork a student's process; its process id.

        Args:
            role: ``notebook``, ``server`` or ``reader``.
            fds: what it may use besides an empty stdin, as its role wants them.
            request: what the role wants to know.

        Raises:
            AssertionError: the copy has too many processes for another.
        """
        self._asked += 1
        message = json.dumps({"number": self._asked, "role": role, **request}).encode()
        socket.send_fds(self._control, [message], fds)
        number = pid = 0
        while number != self._asked:  # an alarm may have left an earlier answer unread
            number, pid = map(int, self._control.recv(64).split())
        assert pid, "No further process could be started: too many are running."
        processes.forget(pid)
        return pid


def _tend(control: socket.socket) -> None:
    """Answer requests until process 1 is gone. Never returns."""
    _silence()
    while True:
        message, fds, _, _ = socket.recv_fds(control, 100_000, 4)
        if not message:
            os._exit(0)
        request = json.loads(message)
        number = request.pop("number")
        try:
            between = os.fork()
        except OSError:
            control.send(b"%d 0" % number)
        else:
            if between == 0:
                _fork_orphan(control, number, request, fds)
            os.waitpid(between, 0)
        for fd in fds:
            os.close(fd)


def _fork_orphan(control: socket.socket, number: int, request: dict, fds: list[int]) -> None:
    """Fork once more and leave, so that the student's process is a child of process 1."""
    try:
        pid = os.fork()
    except OSError:
        pid = None
    if pid == 0:
        control.close()
        try:
            _become_student()
            code = _ROLES[request.pop("role")](fds, **request)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else bool(leaving.code)
        except BaseException as error:
            # Without our own frames, which say nothing to a student.
            traceback.print_exception(error, limit=-3)
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    control.send(b"%d %d" % (number, pid or 0))
    os._exit(0)


def _become_student() -> None:
    """Leave root for good, and forget what is the grader's."""
    os.setsid()
    # Out of memory should end these processes first. Only root may undo it.
    Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setgroups([])
    os.setresgid(STUDENT, STUDENT, STUDENT)
    os.setresuid(STUDENT, STUDENT, STUDENT)
    # Without this a process that changed its user cannot open its own /proc/self.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)
    os.umask(0o022)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    Path(ENVIRONMENT["HOME"]).mkdir(exist_ok=True)
    os.chdir(WORK)
    sys.path[:] = ["", STUDENT_PATH, *(p for p in sys.path if p != "/opt/grader")]
    for name in [name for name in sys.modules if name.split(".")[0] == "grading"]:
        del sys.modules[name]


def _silence() -> None:
    """Nothing to read, nowhere to print: these are the container's no longer."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


def _notebook(fds: list[int]) -> int:
    """Run cells and calls; ``fds``: the socket to process 1."""
    os.set_inheritable(fds[0], False)
    return worker.serve(socket.socket(fileno=fds[0]))


def _server(fds: list[int], command: list[str]) -> int:
    """Run a server; ``fds``: where it prints.

    What is Python runs in this fork, with its packages imported.
    """
    os.dup2(fds[0], 1)
    os.dup2(fds[0], 2)
    os.close(fds[0])
    if command[0] in ("python", "python3") and not command[1].startswith("-"):
        return _run_script(command[1], command[1:])
    if command[0] in ("python", "python3") and command[1] == "-m":
        sys.argv = command[2:]
        runpy.run_module(command[2], run_name="__main__", alter_sys=True)
        return 0
    program = shutil.which(command[0]) or command[0]
    with open(program, "rb") as file:  # noqa: PTH123
        first = file.readline(200)
    if first.startswith(b"#!") and b"python" in first:
        return _run_script(program, command)
    os.execv(program, command)  # noqa: S606
    return 0


def _run_script(path: str, argv: list[str]) -> int:
    sys.argv = argv
    sys.path[0] = str(Path(path).resolve().parent)
    runpy.run_path(path, run_name="__main__")
    return 0


def _reader(fds: list[int], path: str) -> int:
    """Copy a file's content to ``fds[0]``; a FIFO, device or link gives nothing."""
    try:
        # O_NONBLOCK: opening a FIFO would wait for who writes into it.
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return MISSING
    except OSError:
        return NO_FILE
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return NO_FILE
    content = os.read(fd, READ_LIMIT + 1)
    if len(content) > READ_LIMIT:
        return TOO_LONG
    with open(fds[0], "wb") as out:  # noqa: PTH123
        out.write(content)
    return 0


_ROLES = {"notebook": _notebook, "server": _server, "reader": _reader}
