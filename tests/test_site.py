"""The site, built and looked at in a real browser."""

import functools
import http.server
import threading
from pathlib import Path
from urllib.parse import urldefrag, urljoin

import pytest
from browser import browse
from waiting import eventually

from authoring import site
from course import ROOT

AXE = site.SITE / "node_modules/axe-core/axe.min.js"
VIOLATIONS = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations
  .filter(v => ["serious", "critical"].includes(v.impact))
  .map(v => `${v.id}: ${v.nodes.length} x ${v.nodes[0].html.slice(0, 120)}`)"""
UNDRAWN = """() => [
  ...[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src),
  ...[...document.querySelectorAll("pre.mermaid:not([data-processed])")].map(d => d.textContent),
]"""
LINKS = """() => [...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href"))"""
TOO_WIDE = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and prints nothing."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def html() -> Path:
    """The folder of the site."""
    return site.build()


@pytest.fixture(scope="module")
def address(html):
    """Where the site is served."""
    handler = functools.partial(Quiet, directory=html)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def pages(html: Path) -> list[str]:
    """The addresses of all pages within the site."""
    names = sorted(str(path.relative_to(html)) for path in html.rglob("*.html"))
    return [name for name in names if not name.startswith("_static/")]


@pytest.fixture(scope="module")
def seen(html, address):
    """What a browser finds on each page: strange requests, faults, links, axe-core's words."""
    found = {}
    with browse(address) as first:
        for name in pages(html):
            strange, faults = [], []
            page = first.context.browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(120_000)
            page.on("request", lambda r, s=strange: s.append(r.url))
            page.on("response", lambda r, f=faults: r.ok or f.append(f"{r.status} {r.url}"))
            page.on("pageerror", lambda e, f=faults: f.append(str(e)))
            page.goto(address + name, wait_until="networkidle")
            eventually(lambda p=page: not p.evaluate(UNDRAWN))
            faults += page.evaluate(UNDRAWN)
            links = page.evaluate(LINKS)
            page.add_script_tag(path=AXE)
            page.add_style_tag(content="* { transition: none !important }")  # colors fade over
            problems = {}
            for theme in ("light", "dark"):
                page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
                problems[theme] = page.evaluate(VIOLATIONS)
            page.set_viewport_size({"width": 360, "height": 740})
            found[name] = {
                "strange": [u for u in strange if not u.startswith((address, "data:", "blob:"))],
                "faults": faults,
                "links": links,
                "axe": problems,
                "wide": page.evaluate(TOO_WIDE),
            }
            page.close()
    return found


@pytest.mark.slow
def test_every_lesson_and_lab_has_a_page(html):
    names = [p for f in ("notebooks", "labs", "solutions") for p in ROOT.glob(f"{f}/*.ipynb")]
    assert len(names) > 10
    expected = {str(path.relative_to(ROOT).with_suffix(".html")) for path in names}
    assert expected | {"index.html", "solutions/README.html"} <= set(pages(html))


@pytest.mark.slow
def test_pages_fetch_nothing_from_elsewhere_and_nothing_is_missing(seen):
    assert {name: page["strange"] for name, page in seen.items() if page["strange"]} == {}
    assert {name: page["faults"] for name, page in seen.items() if page["faults"]} == {}


@pytest.mark.slow
def test_links_within_the_site_lead_somewhere(html, seen):
    broken = []
    for name, page in seen.items():
        for link in page["links"]:
            target = urldefrag(urljoin(f"/{name}", link)).url
            if target.startswith("/") and not (html / target[1:]).exists():
                broken.append(f"{name}: {link}")
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_core_finds_nothing_serious(seen, theme):
    assert {n: p["axe"][theme] for n, p in seen.items() if p["axe"][theme]} == {}


@pytest.mark.slow
def test_pages_fit_a_telephone(seen):
    assert {name: page["wide"] for name, page in seen.items() if page["wide"] > 0} == {}
