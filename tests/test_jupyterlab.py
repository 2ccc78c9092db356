"""`make start` ends in a JupyterLab in which a lesson really runs: tried in a browser."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser import browse, run_all
from playwright.sync_api import expect
from waiting import answers, eventually

from course import ROOT

pytestmark = [pytest.mark.slow]

URL = re.compile(r"http://127\.0\.0\.1:\d+/lab/tree/\S*\?token=\w+")


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab that `course start` opened."""
    log = tmp_path / "log"
    env = os.environ | {
        # No browser of the user's own, and a port that is free.
        "BROWSER": "true",
        "JUPYTER_PORT": "0",
        "JUPYTER_CONFIG_DIR": str(tmp_path),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
    }
    course = Path(sys.executable).with_name("course")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [course, "start"], env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        assert eventually(lambda: URL.search(log.read_text()), seconds=60), log.read_text()
        address = URL.search(log.read_text())[0]
        # The server prints its address before it listens there.
        assert eventually(lambda: answers(address)), log.read_text()
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


@pytest.fixture
def page(lab):
    """A page of a real browser, at the address that `course start` gives."""
    with browse(lab) as page:
        yield page


def test_lesson_00_opens_and_runs_from_top_to_bottom(page):
    expect(page.locator(".jp-Notebook")).to_be_visible(timeout=60_000)
    expect(page.locator("h1", has_text="Welcome")).to_be_visible(timeout=30_000)
    # The system's picture is drawn, not shown as its source.
    expect(page.locator(".jp-RenderedMermaid img, .jp-RenderedMermaid svg").first).to_be_visible(
        timeout=30_000
    )
    run_all(page)
    done = page.get_by_text("Nothing to remove: this lesson used no container.")
    expect(done).to_be_visible(timeout=90_000)


def test_the_server_listens_on_loopback_and_asks_for_its_token(lab):
    address = lab.split("/lab")[0]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address}/api/contents")
    assert address.startswith("http://127.0.0.1:")
    assert (ROOT / "notebooks/00_welcome.ipynb").exists()
