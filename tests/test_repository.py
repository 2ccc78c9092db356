"""The repository's papers agree with each other. Each check is also shown a fault."""

import ast
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from pathlib import Path

import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from authoring.gates import LINK
from authoring.source import masters
from course import ROOT

MAX_CORE_LINES = 1500
PINNED = re.compile(r"([\w.-]+)==([\w.!+-]+)(?: ; .*?)?((?: +--hash=sha256:[0-9a-f]{64})*)")
# Pieces, so that this file does not name what it looks for.
HOSTS = re.compile(
    r"\b(?:pypi|pythonhosted|(?:deb|security|ftp)(?:\.\w+)?\.debian|archive\.ubuntu"
    r"|registry\.(?:npmjs|yarnpkg)|conda\.anaconda|proxy\.golang)\." + r"(?:org|com)\b",
    re.IGNORECASE,
)
# The tests' bare machine has a student, Binder's image has jovyan, and lesson 01 looks
# into a container's /root.
HOME = re.compile(r"(?:/home|/Users)/(?!(?:student|jovyan)\b)\w+|/root[/](?!\.cache/pip\b)")
REFERENCE = re.compile(r"^\[[^]]+\]: (?!https?://|#|mailto:)([^#\s]+)", re.MULTILINE)
CODE = re.compile(r"^(`{3,}).*?^\1|`[^`\n]+`", re.DOTALL | re.MULTILINE)


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
OWNER = ADDRESS.split("/")[-2]


# --- the lock -------------------------------------------------------------------


def lines_of(lock):
    """The lines of a lock without comments, those that go on joined."""
    kept = "\n".join(line for line in lock.splitlines() if not line.lstrip().startswith("#"))
    return kept.replace("\\\n", " ").splitlines()


def faults_of_lock(lock, wanted, imported):
    """What is wrong with a lock for these requirements and imported packages."""
    versions = {}
    for line in lines_of(lock):
        if pin := PINNED.fullmatch(line.rstrip(" \\")):
            name = canonicalize_name(pin[1])
            versions.setdefault(name, set()).add(pin[2])
            if not pin[3]:
                yield f"{name} has no hash"
        else:
            yield f"not a package with its version and hashes: {line}"
    for requirement in map(Requirement, wanted):
        found = versions.get(canonicalize_name(requirement.name), set())
        if not found or not all(version in requirement.specifier for version in found):
            yield f"{requirement} is locked as {sorted(found)}"
    for name in imported & versions.keys():
        if len(versions[name]) > 1:
            yield f"{name}, which a lesson imports, is locked in {len(versions[name])} versions"
    if "://" in lock:
        yield "an address is in the lock"


def modules_in(cell):
    """What the Python of a code cell imports, also that which it writes to a file."""
    magic, _, written = cell.partition("\n")
    is_python = magic.startswith("%%writefile") and magic.endswith(".py")
    source = written if is_python else TransformerManager().transform_cell(cell)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def imported_by_lessons():
    """The distributions that cells of the lessons and labs import."""
    cells = [cell for master in masters() for cell in master.notebook().cells]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    modules = {module for source in code for module in modules_in(source)}
    by_module = importlib.metadata.packages_distributions()
    return {canonicalize_name(d) for module in modules for d in by_module.get(module, [])}


def test_imports_are_found_in_every_kind_of_cell():
    cells = {"import a.b": "a", "!ls\nx = !ls\nimport b": "b", "%%writefile c.py\nimport c": "c"}
    for cell, module in cells.items():
        assert list(modules_in(cell)) == [module]
    assert list(modules_in("%%bash -e\npython -c 'import a'")) == []


def test_the_lock_holds_what_the_project_asks_for():
    imported = imported_by_lessons()
    assert {"pandas", "flask", "docker", "scikit-learn"} <= imported
    wanted = PROJECT["dependencies"]
    assert list(faults_of_lock(text("requirements.txt"), wanted, imported)) == []


HASH = "    --hash=sha256:" + 64 * "0" + "\n"
LOCK = f"flask==3.1.3 \\\n{HASH}    # via x\nnumpy==2.4.6 ; os_name == 'nt' \\\n{HASH}"


@pytest.mark.parametrize(
    ("lock", "fault"),
    [
        (LOCK.replace("3.1.3", "3.0.0"), "flask==3.1.3 is locked as"),
        (LOCK + "tqdm==4.67.1\n", "tqdm has no hash"),
        (LOCK + "tqdm==4.67.1 \\\n    # via x\n", "tqdm has no hash"),
        (LOCK + f"tqdm>=4 \\\n{HASH}", "not a package with its version and hashes: tqdm>=4"),
        (LOCK + "--editable .\n", "not a package with its version and hashes: --editable ."),
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


def newest(changelog):
    """The version of a changelog's first heading that has one."""
    return re.findall(r"^## \[(\d[\w.]*)\]", changelog, re.MULTILINE)[0]


def test_versions_agree():
    version = PROJECT["version"]
    assert yaml.safe_load(text("CITATION.cff"))["version"] == version
    assert newest(text("CHANGELOG.md")) == version
    assert newest("## [Unreleased]\n## [0.2.0]\n## [0.1.0]\n") == "0.2.0"


def test_the_citation_is_valid():
    checker = Path(sys.executable).with_name("check-jsonschema")
    schema = ["--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run(
        [checker, *schema, "CITATION.cff"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_the_name_is_one():
    assert yaml.safe_load(text("environment.yml"))["name"] == PROJECT["name"]
    assert ADDRESS.endswith(f"/{PROJECT['name']}")


# --- what no file may say -------------------------------------------------------


def faults_of_text(name, content):
    """Addresses and paths in a file that do not belong into the project."""
    for owner in re.findall(r"github\.com[/:]([^/\s]+)/mlops-cell-by-cell\b", content):
        if owner != OWNER:
            yield f"{name}: names {owner} as the owner, pyproject.toml {OWNER}"
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
        "git@github.com:" + "someone/mlops-cell-by-cell.git",
        "https://PyPI." + "org/simple",
        "http://security.debian." + "org",
        "/home/" + "jane/notes.txt",
        "/home/" + "students/notes.txt",
        "/Users/" + "jane",
        "/root" + "/notes.txt",
    ],
)
def test_a_faulty_text_is_seen(content):
    assert list(faults_of_text("x", content))


def broken_links(folder, content):
    """Relative links of a Markdown text that lead nowhere from a folder."""
    prose = CODE.sub("", content)
    links = LINK.findall(prose) + REFERENCE.findall(prose)
    return [link for link in links if not (folder / link).exists()]


def read_in(path):
    """The folder that a file's links start from: a master's are those of its notebook."""
    parts = path.relative_to(ROOT).parts
    return ROOT.joinpath(*parts[1:-1] if parts[0] == "source" else parts[:-1])


def test_links_between_files_resolve():
    texts = [path for path in files() if path.suffix == ".md"]
    found = {path.name: broken_links(read_in(path), path.read_text()) for path in texts}
    assert not any(found.values()), found


def test_a_broken_link_is_seen():
    content = "[x](gone.md) [y](README.md)\n[z]: lost.md\n```\nd[0](here)\n```\n`[a](b)`\n"
    assert broken_links(ROOT, content) == ["gone.md", "lost.md"]


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


def test_the_readme_can_say_when_the_course_last_passed(tmp_path):
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/verified", tmp_path / ".ci")
    readme = tmp_path / "README.md"
    shutil.copy(ROOT / "README.md", readme)
    before = readme.read_text().splitlines()
    subprocess.run([tmp_path / ".ci/verified", "2031-02-03"], check=True)
    changed = [
        new for old, new in zip(before, readme.read_text().splitlines(), strict=True) if old != new
    ]
    assert changed == ["Last passed with the newest versions of everything: 2031-02-03."]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["README.md"]
    for word in ("today", "2031-02-03; rm -r x"):
        wrong = subprocess.run([tmp_path / ".ci/verified", word], capture_output=True, text=True)
        assert (wrong.returncode, "Not a date" in wrong.stderr) == (2, True)


def test_the_core_can_be_read_in_an_hour():
    assert lines_of_code('"""Doc."""\n\n# comment\nx = 1\ny = """a\nb"""\n') == 3
    # bootstrap.py runs on its own, before the package can be imported.
    core = [path for path in Path(ROOT, "course").glob("*.py") if path.stem != "bootstrap"]
    total = sum(lines_of_code(path.read_text()) for path in core)
    assert total <= MAX_CORE_LINES, f"{total} lines"


def test_the_development_container_sets_up_what_the_readme_does():
    described = json.loads(text(".devcontainer/devcontainer.json"))
    targets = re.findall(r"^(\w+):", text("Makefile"), re.MULTILINE)
    [target] = re.findall(r"make (\w+)", described["postCreateCommand"])
    assert target in targets
    opened = described["customizations"]["codespaces"]["openFiles"]
    assert [name for name in opened if not (ROOT / name).exists()] == []


def test_what_students_write_is_not_taken_for_a_test_of_ours(tmp_path):
    for folder in ("workspace/02_apis", "mine"):
        (tmp_path / "notebooks" / folder).mkdir(parents=True)
        (tmp_path / "notebooks" / folder / "test_it.py").write_text("def test_it(): pass\n")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "notebooks"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "mine/test_it.py::test_it" in shown
    assert "workspace" not in shown


def wrong_minutes(readme):
    """The notebooks whose minutes a README tells wrongly, or not at all."""
    told = dict(re.findall(r"^\| \[[^]]+\]\(([\w/]+\.ipynb)\) .*\| ([\d +]+) \|$", readme, re.M))
    wrong = []
    for master in masters(ROOT):
        course = master.notebook().metadata["course"]
        minutes = [course["minutes_core"], course["minutes_optional"]]
        path = master.lab_path(ROOT) if master.lab else master.executed_path(ROOT)
        name = str(path.relative_to(ROOT))
        if told.get(name) != " + ".join(str(number) for number in minutes if number):
            wrong.append(name)
    return wrong


def told_memory(page):
    """The MB that a master's text tells, from its row "Memory"."""
    [row] = re.findall(r"^\| \**Memory\** \| ([\d,]+) MB at the peak", page, re.MULTILINE)
    return int(row.replace(",", ""))


@pytest.mark.parametrize("master", masters(), ids=lambda master: master.name)
def test_a_text_tells_the_memory_that_its_head_states(master):
    stated = master.notebook().metadata["course"]["memory_mb"]
    assert told_memory(master.path.read_text()) == stated


def test_the_readme_tells_the_minutes_of_each_lesson_and_lab():
    readme = text("README.md")
    assert wrong_minutes(readme) == []
    row = re.search(r"\(notebooks/02_apis\.ipynb\).*\| (90 \+ 20) \|", readme)
    fault = readme[: row.start(1)] + "90 + 40" + readme[row.end(1) :]
    assert wrong_minutes(fault) == ["notebooks/02_apis.ipynb"]
