"""The repository's papers agree with each other. Each check is also shown a fault."""

import ast
import importlib.metadata
import io
import re
import subprocess
import tokenize
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course import ROOT
from course.gates import LINK
from course.source import masters

MAX_CORE_LINES = 1500
LOCKED = re.compile(
    r"^([\w.-]+)==([\w.!+-]+)(?: ; (.*?))? \\\n((?: {4}--hash=\S+(?: \\)?\n)*)", re.M
)
# Pieces, so that this file does not name what it looks for.
HOSTS = re.compile("|".join([r"pypi\." + "org", "python" + "hosted", r"deb\." + r"debian\.org",
                             r"registry\.npm" + "js"]))  # fmt: skip
HOME = re.compile(r"(?:/home|/Users)/(?!jovyan|student)\w+")


def files():
    """The text files of the repository."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
    )
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text(name):
    return (ROOT / name).read_text()


PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]


# --- the lock -------------------------------------------------------------------


def locked(lock):
    """Versions and hashes of each package in a lock."""
    found = {}
    for name, version, _, hashes in LOCKED.findall(lock):
        found.setdefault(name, []).append((version, hashes.count("--hash")))
    return found


def faults_of_lock(lock, wanted, imported):
    """What is wrong with a lock for these requirements and imported packages."""
    found = locked(lock)
    for requirement in map(Requirement, wanted):
        versions = [version for version, _ in found.get(requirement.name, [])]
        if not versions or not all(v in requirement.specifier for v in versions):
            yield f"{requirement} is locked as {versions}"
    for name, entries in found.items():
        if not all(hashes for _, hashes in entries):
            yield f"{name} has no hash"
        if name in imported and len(entries) > 1:
            yield f"{name}, which a lesson imports, is locked in {len(entries)} versions"
    if "://" in lock:
        yield "an address is in the lock"


def imported_by_lessons():
    """The distributions that cells of the lessons and labs import."""
    modules = set()
    for master in masters():
        for cell in master.notebook().cells:
            if cell.cell_type == "code" and not cell.source.startswith("%%"):
                lines = [line for line in cell.source.splitlines() if "= !" not in line]
                for node in ast.walk(ast.parse("\n".join(lines))):
                    if isinstance(node, ast.Import):
                        modules |= {alias.name.split(".")[0] for alias in node.names}
                    elif isinstance(node, ast.ImportFrom):
                        modules.add(node.module.split(".")[0])
    by_module = importlib.metadata.packages_distributions()
    return {d.lower() for module in modules for d in by_module.get(module, [])}


def test_the_lock_holds_what_the_project_asks_for():
    imported = imported_by_lessons()
    assert {"pandas", "matplotlib", "docker", "scikit-learn"} <= imported
    wanted = PROJECT["dependencies"]
    assert list(faults_of_lock(text("requirements.txt"), wanted, imported)) == []


LOCK = "flask==3.1.3 \\\n    --hash=sha256:00\n    # via x\nnumpy==2.4.6 \\\n    --hash=sha256:01\n"


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        (LOCK.replace("3.1.3", "3.0.0"), "flask==3.1.3 is locked as"),
        (LOCK.replace("    --hash=sha256:01\n", ""), "numpy has no hash"),
        (LOCK + LOCK.replace("2.4.6", "1.26.4"), "numpy, which a lesson imports, is locked in 2"),
        (LOCK + "# https://example.org\n", "an address is in the lock"),
    ],
)
def test_a_faulty_lock_is_seen(lock, fault):
    assert list(faults_of_lock(LOCK, ["flask==3.1.3"], {"numpy"})) == []
    found = list(faults_of_lock(lock, ["flask==3.1.3"], {"numpy"}))
    assert any(fault in line for line in found), found


# --- Python versions, names and numbers -----------------------------------------


def test_supported_pythons_agree():
    supported = SpecifierSet(PROJECT["requires-python"])
    workflow = yaml.safe_load(text(".github/workflows/ci.yml"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    conda = yaml.safe_load(text("environment.yml"))["dependencies"]
    assert "3.10" not in supported
    assert min(matrix) == "3.11"
    assert all(version in supported for version in matrix)
    assert f"python={max(matrix)}" in conda
    assert "OLDEST_PYTHON = (3, 11)" in text("course/bootstrap.py")
    assert "OLDEST_PYTHON = (3, 11)" in text("course/doctor.py")
    assert "Python 3.11 or later" in text("README.md")


def test_versions_agree():
    version = PROJECT["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    assert f"## [{version}]" in text("CHANGELOG.md")


def test_the_name_is_one():
    assert yaml.safe_load(text("environment.yml"))["name"] == PROJECT["name"]
    assert ADDRESS.endswith(f"/{PROJECT['name']}")


# --- what no file may say -------------------------------------------------------


def faults_of_text(name, content):
    """Addresses and paths in a file that do not belong into the project."""
    for found in re.findall(r"https://github\.com/[\w.-]+/mlops-cell-by-cell\b", content):
        if found != ADDRESS:
            yield f"{name}: {found} is not the address in pyproject.toml"
    for pattern, what in ((HOSTS, "a registry's host"), (HOME, "a path of somebody's home")):
        if found := pattern.search(content):
            yield f"{name}: names {what}: {found[0]}"


def test_no_file_names_a_host_a_home_or_another_address():
    found = [
        fault
        for path in files()
        if path.suffix != ".png"
        for fault in faults_of_text(path.relative_to(ROOT), path.read_text(errors="replace"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "content",
    [
        "https://github.com/" + "someone/mlops-cell-by-cell",
        "https://pypi." + "org/simple",
        "/home/" + "jane/notes.txt",
        "/Users/" + "jane",
    ],
)
def test_a_faulty_text_is_seen(content):
    assert list(faults_of_text("x", content))


def broken_links(path, content):
    """Relative links of a Markdown file that lead nowhere."""
    return [link for link in LINK.findall(content) if not (path.parent / link).exists()]


def test_links_between_files_resolve():
    found = {
        path.name: broken_links(path, path.read_text())
        for path in files()
        if path.suffix == ".md" and "source" not in path.parts
    }
    assert not any(found.values()), found
    assert broken_links(ROOT / "README.md", "[x](gone.md) [y](README.md)") == ["gone.md"]


# --- the core stays small -------------------------------------------------------


def lines_of_code(source):
    """Lines without blank ones, comments and docstrings."""
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings |= set(range(node.lineno, node.end_lineno + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
               tokenize.ENDMARKER}  # fmt: skip
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_the_core_can_be_read_in_an_hour():
    assert lines_of_code('"""Doc."""\n\n# comment\nx = 1\ny = """a\nb"""\n') == 3
    # bootstrap.py runs on its own, before the package can be imported.
    core = [path for path in Path(ROOT, "course").glob("*.py") if path.stem != "bootstrap"]
    total = sum(lines_of_code(path.read_text()) for path in core)
    assert total <= MAX_CORE_LINES, f"{total} lines"
