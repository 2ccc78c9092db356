"""``make site``: the course as HTML, with all that its pages need beside them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat

from authoring.source import Master, masters
from course import ROOT
from course.errors import CourseError

SITE = ROOT / "reports/site"
SOURCE = ROOT / "source/site"
LINK = re.compile(r"(?P<text>\[[^\]]*\]\()(?P<target>[^)#:\s]+)(?P<rest>[^)]*\))")
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


def build() -> Path:
    """Make the site; the folder with its pages.

    Raises:
        CourseError: a tool of the site cannot be installed, or Sphinx finds a fault.
    """
    tools = _tools()
    pages = SITE / "source"
    shutil.rmtree(pages, ignore_errors=True)
    collect(pages)
    scripts = pages / "_static"
    scripts.mkdir()
    for file in [SITE / "node_modules/mermaid/dist/mermaid.min.js", *SOURCE.glob("course.*")]:
        shutil.copy(file, scripts)
    html = SITE / "html"
    shutil.rmtree(html, ignore_errors=True)
    _run([tools / "sphinx-build", "-W", "--keep-going", "--quiet", "-j", "auto", pages, html])
    return html


def collect(pages: Path) -> None:
    """Copy the notebooks, the instructors' page and the settings to ``pages``; make the index."""
    pages.mkdir(parents=True)
    shutil.copy(SOURCE / "conf.py", pages)
    shutil.copy(ROOT / "pyproject.toml", pages)
    taken = sorted(p for f in ("notebooks", "labs", "solutions") for p in ROOT.glob(f"{f}/*.ipynb"))
    taken.append(ROOT / "solutions/README.md")
    for path in taken:
        copy = pages / path.relative_to(ROOT)
        copy.parent.mkdir(exist_ok=True)
        if path.suffix == ".md":
            copy.write_text(_with_links(path.read_text(), path, taken))
            continue
        nb = nbformat.read(path, as_version=4)
        for cell in nb.cells:
            if cell.cell_type == "markdown":
                cell.source = _with_links(cell.source, path, taken)
        nb.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
        nbformat.write(nb, copy)
    (pages / "index.md").write_text(_index())


def _with_links(text: str, path: Path, taken: list[Path]) -> str:
    """``text`` with links to what is not on the site leading to the repository."""

    def link(match: re.Match[str]) -> str:
        target = (path.parent / match["target"]).resolve()
        if target in taken or not target.exists():
            return match[0]
        kind = "tree" if target.is_dir() else "blob"
        address = f"{REPOSITORY}/{kind}/main/{target.relative_to(ROOT)}"
        return f"{match['text']}{address}{match['rest']}"

    return LINK.sub(link, text)


def _index() -> str:
    """The first page: what the course is, and its lessons and labs with their minutes."""
    intro = (ROOT / "README.md").read_text().partition("\n## ")[0].partition("\n")[2]
    intro = "\n".join(line for line in intro.splitlines() if not line.startswith("[!["))
    intro = _with_links(intro, ROOT / "README.md", [])
    lessons = [master for master in masters() if not master.lab]
    labs = [master for master in masters() if master.lab]
    parts = [f"# MLOps, cell by cell\n{intro.rstrip()}\n"]
    for title, folder, chosen in (("Lessons", "notebooks", lessons), ("Labs", "labs", labs)):
        rows = "".join(
            f"| [{m.name[:2]} {_course(m)['title']}]({folder}/{m.name}.ipynb) "
            f"| {_minutes(_course(m))} |\n"
            for m in chosen
        )
        parts.append(f"## {title}\n\n| | Minutes |\n|---|---|\n{rows}")
        parts.append(_toctree(title, [f"{folder}/{master.name}" for master in chosen]))
    solutions = ["solutions/README", *(f"solutions/{master.name}" for master in labs)]
    parts.append(_toctree("For instructors", solutions))
    return "\n".join(parts)


def _course(master: Master) -> dict:
    return master.notebook().metadata["course"]


def _minutes(course: dict) -> str:
    optional = course.get("minutes_optional", 0)
    return f"{course['minutes_core']} + {optional}" if optional else f"{course['minutes_core']}"


def _toctree(caption: str, pages: list[str]) -> str:
    return f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```\n"


def _tools() -> Path:
    """Install what makes the site, apart from the course's own packages; its programs' folder."""
    venv = SITE / "venv"
    uv = [sys.executable, "-m", "uv", "--quiet"]
    if not venv.exists():
        _run([*uv, "venv", venv])
    lock = SOURCE / "requirements.txt"
    _run([*uv, "pip", "sync", "--require-hashes", "--python", venv / "bin/python", lock])
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(SOURCE / name, SITE)
    # No package's own scripts: nothing needs them.
    _run([venv / "bin/npm", "ci", "--silent", "--ignore-scripts", "--prefix", SITE])
    return venv / "bin"


def _run(command: list[str | Path]) -> None:
    path = f"{SITE / 'venv/bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise CourseError(f"{Path(command[0]).name} failed:", said[-4000:])


if __name__ == "__main__":
    try:
        print(f"The site is in {build().relative_to(ROOT)}; open its index.html.")
    except CourseError as error:
        sys.exit(str(error))
