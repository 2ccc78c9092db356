"""The notebook's process: runs cells and answers calls, as the student's user.

The student's code shares this process and can change everything here. Nothing
depends on that it does not: process 1 takes what comes as the student's answer.
"""

import json
import os
import socket
import subprocess
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

ERROR_LENGTH = 500


class Shell(InteractiveShell):
    """IPython without a terminal, a history file, and printed tracebacks."""

    def showtraceback(self, *_: Any, **__: Any) -> None:
        """Print nothing: nobody reads it, and it costs time."""

    showsyntaxerror = showtraceback

    def enable_gui(self, gui: str | None = None) -> None:
        """Let `%matplotlib inline` pass."""


def serve(channel: socket.socket) -> int:
    """Answer requests, one JSON document a line, until the other end closes."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = Shell.instance(config=config)
    me = os.getpid()
    stream = channel.makefile("rwb")
    for line in stream:
        request = json.loads(line)
        if "cell" in request:
            answer = _run(shell, request["cell"])
        elif "session" in request:
            # The calls of one check run in a fork: what they change or break is
            # gone with it, and the next check finds the notebook as it was.
            # The next request comes when this is answered, so none is in both's buffers.
            if child := os.fork():
                answer = {"ended": os.waitpid(child, 0)[1]}
            else:
                me = os.getpid()
                answer = {"ready": True}
        else:
            answer = _call(shell.user_ns, **request["call"])
        if os.getpid() != me:
            os._exit(0)  # a cell forked, and this is the copy
        stream.write(json.dumps(answer | {"id": request["id"]}).encode() + b"\n")
        stream.flush()
    return 0


def _run(shell: Shell, source: str) -> dict:
    result = shell.run_cell(source, store_history=False)
    error = result.error_before_exec or result.error_in_exec
    return {"error": _text(error), "todo": isinstance(error, NotImplementedError)} if error else {}


def _call(namespace: dict, function: str, args: list, kwargs: dict) -> dict:
    if not callable(namespace.get(function)):
        return {"missing": True}
    try:
        value = namespace[function](*args, **kwargs)
    except NotImplementedError:
        return {"todo": True}
    except BaseException as error:
        return {"error": _text(error)}
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return {"no_json": f"{repr(value)[:70]}: JSON has no inf, no nan, no loops"}
    except (TypeError, RecursionError) as reason:
        kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
        advice = "convert with bool(), float(), int(), str() or list()"
        return {"no_json": f"a {kind}, which JSON cannot hold ({reason}): {advice}"[:ERROR_LENGTH]}
    return {"value": value}


def _text(error: BaseException) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return f"an error: a command ended with status {error.returncode}"
    return f"{type(error).__name__}: {error}"[:ERROR_LENGTH]
