"""How long it takes from a clone to an answering JupyterLab.

Cold: no ``.venv`` and empty caches of uv and pip. Warm: everything there. Beside
it what one would do by hand: ``python -m venv``, ``pip install -r
requirements.txt``, ``jupyter lab``. Prints a table; downloads about as much as the
head of requirements.txt says, twice.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
from rich.console import Console
from rich.table import Table

from course import ROOT

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/lab\S*\?token=(\w+)")
LIMIT_SECONDS = 900
AIM_COLD, AIM_WARM = 90, 5


def main() -> None:
    """Measure, and print the table."""
    table = Table("way", "cold, s", "warm, s")
    with tempfile.TemporaryDirectory() as folder:
        for name, command in {
            "make start": ["make", "start"],
            "pip and jupyter lab by hand": ["bash", "-ec", BY_HAND],
        }.items():
            checkout = _checkout(Path(folder, name.split()[0]))
            with _empty_caches() as env:
                cold = _seconds_until_jupyterlab(command, checkout, env)
                warm = _seconds_until_jupyterlab(command, checkout, env)
            table.add_row(name, f"{cold:.1f}", f"{warm:.1f}")
    table.add_row("aim", str(AIM_COLD), str(AIM_WARM))
    Console().print(table)


BY_HAND = """
test -d .venv || { python3 -m venv .venv; .venv/bin/pip install -q -r requirements.txt; }
exec .venv/bin/jupyter-lab --allow-root notebooks
"""


def _checkout(target: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


@contextlib.contextmanager
def _empty_caches() -> Iterator[dict[str, str]]:
    """The environment with caches that are empty at first, and no browser."""
    with tempfile.TemporaryDirectory() as caches:
        yield os.environ | {
            "UV_CACHE_DIR": f"{caches}/uv",
            "PIP_CACHE_DIR": f"{caches}/pip",
            "BROWSER": "true",
            "JUPYTER_PORT": "0",
            "YES": "1",
            "CI": "true",
        }


def _seconds_until_jupyterlab(command: list[str], checkout: Path, env: dict[str, str]) -> float:
    """Run ``command`` until the JupyterLab it starts answers its API; the seconds."""
    log = checkout.with_suffix(".log")
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=checkout, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while time.monotonic() - started < LIMIT_SECONDS and process.poll() is None:
            if address := ADDRESS.search(log.read_text()):
                port, token = address.groups()
                with contextlib.suppress(requests.RequestException):
                    url = f"http://127.0.0.1:{port}/api/status?token={token}"
                    if requests.get(url, timeout=2).ok:
                        return time.monotonic() - started
            time.sleep(0.05)
        raise SystemExit(f"{command} did not open JupyterLab:\n{log.read_text()[-2000:]}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    main()
