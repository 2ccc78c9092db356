"""A real browser, and JupyterLab's menus in it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect, sync_playwright


@contextmanager
def browse(url: str) -> Iterator[Page]:
    """A page of Debian's Chromium or of Chrome at ``url``."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser_path:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no Chromium here")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browser_path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)  # a pod has half a processor
        page.goto(url)
        yield page
        browser.close()


def menu(page: Page, name: str, item: str) -> None:
    """Choose an item of one of JupyterLab's menus."""
    page.locator(".lm-MenuBar-itemLabel", has_text=name).first.click()
    page.locator(".lm-Menu-itemLabel", has_text=item).click()


def run_all(page: Page) -> None:
    """Clear the open notebook's outputs, restart its kernel and run all cells."""
    # A kernel that is restarted before the page is connected to it stays "Unknown" for ever.
    status = page.locator("#jp-main-statusbar", has_text=re.compile(r"\| Idle"))
    expect(status).to_be_visible(timeout=60_000)
    menu(page, "Edit", "Clear Outputs of All Cells")
    menu(page, "Run", "Restart Kernel and Run All Cells…")
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    # Cells out of sight are not in the page, so go to the last one.
    page.locator(".jp-Notebook").press("Control+End")
