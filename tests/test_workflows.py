"""The workflows, ours and the one for students: valid, without findings, and run by act."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from course import ROOT

BIN = Path(sys.executable).parent
WORKFLOW = ROOT / ".github/workflows/ci.yml"
FEEDBACK = ROOT / "grading/feedback.yml"
OURS = sorted((ROOT / ".github/workflows").glob("*.yml"))
EACH = pytest.mark.parametrize("workflow", [*OURS, FEEDBACK], ids=lambda path: path.stem)

# Takes setup-python's place, which act would have to fetch: it checks its input, and
# puts a `python3` on PATH that says which one it is.
SETUP_PYTHON = """\
name: setup-python
inputs:
  python-version: {required: true}
runs:
  using: composite
  steps:
    - shell: bash
      run: |
        mkdir -p "$RUNNER_TEMP/python" && cd "$RUNNER_TEMP/python"
        test -n "${{ inputs.python-version }}"
        { echo '#!/bin/sh'; echo 'echo python ${{ inputs.python-version }}'; } > python3
        chmod +x python3
        pwd >> "$GITHUB_PATH"
"""
UPLOAD = """\
name: upload-artifact
inputs:
  name: {required: true}
  path: {required: true}
  if-no-files-found: {required: false}
runs:
  using: composite
  steps:
    - run: echo "upload ${{ inputs.name }}" >> "$RECORD"
      shell: bash
"""
# Like the runner's, it changes PATH and drops variables; here there may be none.
SUDO = """\
#!/bin/sh
exec env -i PATH=/usr/local/bin:/usr/bin:/bin RECORD="$RECORD" FAIL="$FAIL" "$@"
"""
MAKEFILE = """\
%:
\t@echo "make $@ CI=$$CI $$(python3 -V)" >> $(RECORD)
\t@test "$@" != "$(FAIL)"
"""


def actions():
    """Each action that the workflow uses, with its pinned commit."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    return {step["uses"] for job in jobs for step in job["steps"] if "uses" in step}


@EACH
def test_the_workflow_is_valid_and_could_be_invalid(tmp_path, workflow):
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", workflow]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    worse = tmp_path / "ci.yml"
    worse.write_text(workflow.read_text().replace("runs-on:", "run-on:"))
    assert subprocess.run([*command[:-1], worse], capture_output=True).returncode == 1


def zizmor(path):
    command = [BIN / "zizmor", "--offline", "--persona=pedantic", "--format=json", path]
    done = subprocess.run(command, capture_output=True, text=True)
    return json.loads(done.stdout)


@EACH
def test_zizmor_has_no_finding_and_would_have_one(tmp_path, workflow):
    assert zizmor(workflow) == []
    worse = workflow.read_text().replace("persist-credentials: false", "fetch-depth: 1")
    (tmp_path / "ci.yml").write_text(worse)
    assert {finding["ident"] for finding in zizmor(tmp_path / "ci.yml")} == {"artipacked"}


@EACH
def test_every_action_is_pinned_to_a_commit_with_its_version(workflow):
    lines = [line for line in workflow.read_text().splitlines() if "uses:" in line]
    pinned = re.compile(r".*uses: [\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+")
    assert lines
    assert [line for line in lines if not pinned.fullmatch(line)] == []


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository with our workflow, and a Makefile that notes what is called."""
    root = tmp_path / "repository"
    (root / ".github/workflows").mkdir(parents=True)
    shutil.copy(WORKFLOW, root / ".github/workflows")
    (root / "Makefile").write_text(MAKEFILE)
    sudo = tmp_path / "bin/sudo"
    sudo.parent.mkdir()
    sudo.write_text(SUDO)
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    for name, text in {"setup-python": SETUP_PYTHON, "upload-artifact": UPLOAD}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "action.yml").write_text(text)
        git(tmp_path / name)
    git(root)
    return root


def git(folder):
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "test"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)


def act(root, fail=""):
    """Run the workflow as a push does; the exit status and what was noted, in order."""
    record = root.parent / "record"
    record.unlink(missing_ok=True)
    local = []
    for used in actions():
        folder = root.parent / used.split("@")[0].split("/")[1]
        if folder.is_dir():
            local.append(f"--local-repository={used}={folder}")
    command = [BIN / "act", "push", "-P", "ubuntu-latest=-self-hosted", *local]
    command += [f"--env=RECORD={record}", f"--env=FAIL={fail}", "--concurrent-jobs=1"]
    env = os.environ | {"HOME": str(root.parent), "XDG_CACHE_HOME": str(root.parent / "cache")}
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=120)
    noted = record.read_text().splitlines() if record.exists() else []
    return done, noted


def test_act_runs_every_job_in_order(repository):
    done, noted = act(repository)
    assert done.returncode == 0, done.stdout[-3000:]
    assert noted[0] == "make check CI=true python 3.13"
    for version in ("3.11", "3.13"):  # the two run at the same time
        assert [line for line in noted[1:] if version in line] == [
            f"make test CI=true python {version}",
            f"make run CI=true python {version}",
            f"upload reports-{version}",
        ]


def test_act_a_failing_check_stops_the_rest_and_is_red(repository):
    done, noted = act(repository, fail="check")
    assert done.returncode != 0
    assert noted == ["make check CI=true python 3.13"]


def test_act_a_failing_test_is_red_and_its_reports_are_kept(repository):
    done, noted = act(repository, fail="test")
    assert done.returncode != 0
    assert not any(line.startswith("make run") for line in noted)
    assert {"upload reports-3.11", "upload reports-3.13"} <= set(noted)


@pytest.mark.slow
@pytest.mark.parametrize(("folder", "points"), [("labs", " 0 of 20"), ("solutions", "20 of 20")])
def test_act_gives_students_feedback_on_a_push(tmp_path, folder, points):
    course = tmp_path / "course"
    unwanted = shutil.ignore_patterns(".git", ".venv", "workspace", "reports", "__pycache__")
    shutil.copytree(ROOT, course, ignore=unwanted)
    git(course)
    subprocess.run(["git", "tag", "v0.1.0"], cwd=course, check=True)
    student = tmp_path / "student"
    (student / ".github/workflows").mkdir(parents=True)
    (student / "labs").mkdir()
    shutil.copy(ROOT / folder / "02_recommendation_api.ipynb", student / "labs")
    text = FEEDBACK.read_text().replace("https://github.com/OWNER/mlops-cell-by-cell", str(course))
    (student / ".github/workflows/feedback.yml").write_text(text)
    git(student)
    command = [BIN / "act", "push", "-P", "ubuntu-latest=-self-hosted"]
    env = os.environ | {"HOME": str(tmp_path), "UV_CACHE_DIR": uv_cache()}
    done = subprocess.run(command, cwd=student, env=env, capture_output=True, text=True)
    assert (done.returncode == 0) == (folder == "solutions"), done.stdout[-3000:]
    assert f"total  {points}" in done.stdout


def uv_cache():
    """Where uv keeps what it has downloaded, so that another home needs no second copy."""
    return subprocess.check_output([BIN / "uv", "cache", "dir"], text=True).strip()
