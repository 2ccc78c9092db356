"""The Job that grades one copy in each pod of a cluster: its command, in a pod here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from binder.pod import LIMITS, RIGHTS, binder_image

from course import ROOT, engine
from grading import labs
from grading.grade import grade

MANIFEST = ROOT / "docker/hub/kubernetes/grading.yaml"
SECONDS = 1800


def test_the_manifest_is_one():
    subprocess.run(
        [Path(sys.executable).with_name("kubernetes-validate"), "--strict", MANIFEST],
        check=True,
        capture_output=True,
    )


@pytest.mark.engine
@pytest.mark.binder
def test_pods_fill_the_results_and_the_last_command_needs_no_container(tmp_path: Path):
    submissions, grades = tmp_path / "submissions", tmp_path / "grades"
    submissions.mkdir()
    grades.mkdir()
    grades.chmod(0o777)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    lab = labs.find("01")
    (submissions / "ada.ipynb").write_bytes(lab.solution.read_bytes())
    (submissions / "bob.ipynb").write_bytes((ROOT / f"labs/{lab.name}.ipynb").read_bytes())
    (container,) = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]["containers"]
    with binder_image() as image:
        for number in ("0", "1"):
            run = ["docker", "run", "--rm", "--name=course-test-grading-job", *RIGHTS, *LIMITS]
            run += [f"--env={value['name']}={value['value']}" for value in container["env"]]
            run += [f"--env=JOB_COMPLETION_INDEX={number}"]
            run += [f"--volume={submissions}:/submissions:ro", f"--volume={grades}:/grades"]
            command = [*run, image, *container["command"], *container["args"]]
            done = subprocess.run(
                command,
                env=os.environ | engine.find().environment(),
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            assert done.returncode == 0, done.stdout + done.stderr
    kept = {path: path.stat().st_mtime_ns for path in (grades / "results").iterdir()}
    assert sorted(path.stem for path in kept) == ["ada", "bob"]
    ada, bob = grade("01", submissions, grades, jobs=1)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert ada.points == ada.possible > 0
    assert bob.points == 0
