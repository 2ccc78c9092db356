"""The command ``course`` as a user types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from rich.console import Console
from typer.testing import CliRunner

from authoring.source import masters
from course import ROOT, cli, doctor, images
from course import run as running

COURSE = Path(sys.executable).with_name("course")
COMMANDS = ["doctor", "engine", "engine up", "engine down", "engine status", "images", "build",
            "run", "clean", "start", "check", "progress", "grade",
            "release"]  # fmt: skip


def course(*args, **env):
    return subprocess.run([COURSE, *args], env=os.environ | env, capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = CliRunner().invoke(cli.app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.output


@pytest.mark.parametrize("args", [("build", "77"), ("run", "77"), ("check", "77")])
def test_an_unknown_name_is_a_message_and_status_2(args):
    done = course(*args)
    assert done.returncode == 2
    assert "77" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_packages_are_those_of_the_lock():
    (finding,) = doctor.packages()
    assert finding.status == doctor.GOOD, finding.found


def test_a_package_that_differs_from_the_lock_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "_locked_versions", lambda: {"flask": "0.1", "no-such": "1"})
    (finding,) = doctor.packages()
    assert finding.status == doctor.BAD
    assert "flask 3.1.3, locked 0.1" in finding.found
    assert "no-such missing" in finding.found
    assert finding.fix == "Run `make setup`."


@pytest.mark.parametrize(
    ("name", "release", "place", "status", "words"),
    [
        ("Linux", "6.12.0", "/srv/course", doctor.GOOD, ""),
        ("Darwin", "24.6.0", "/opt/course", doctor.GOOD, ""),
        ("Linux", "6.6.87-microsoft-standard-WSL2", "/srv/course", doctor.GOOD, ""),
        ("Linux", "6.6.87-microsoft-standard-WSL2", "/mnt/c/course", doctor.WARNING, "into ~"),
        ("Linux", "4.4.0-19041-Microsoft", "/srv/course", doctor.BAD, "--set-version"),
        ("Windows", "11", "C:/course", doctor.BAD, "WSL 2"),
    ],
)
def test_the_doctor_names_the_system(monkeypatch, name, release, place, status, words):
    monkeypatch.setattr(doctor.platform, "system", lambda: name)
    monkeypatch.setattr(doctor.platform, "release", lambda: release)
    monkeypatch.setattr(doctor, "ROOT", Path(place))
    (finding,) = doctor.system()
    assert finding.status == status
    assert words in finding.fix
    assert bool(finding.fix) == (status != doctor.GOOD)


def test_red_lines_say_what_to_do_and_fail_the_doctor(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: os.statvfs_result)
    monkeypatch.setattr(doctor, "NEEDED_MEMORY_GB", 1e6)
    findings = [*doctor.programs(), *doctor.container_engine()]
    assert not doctor.is_ready(findings)
    assert all(f.fix for f in findings if f.status == doctor.BAD)
    assert {"git", "curl", "bash", "engine"} <= {f.subject for f in findings}


def test_too_little_disk_is_red(monkeypatch):
    monkeypatch.setattr(doctor, "NEEDED_DISK_GB", 1e6)
    disk, _ = doctor.machine()
    assert disk.status == doctor.BAD
    assert "docker system df" in disk.fix


def test_a_taken_port_is_noted(monkeypatch):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setattr(doctor, "PORTS", {"lesson 77": [taken.getsockname()[1]]})
        finding, _ = doctor.ports()
    assert (finding.status, finding.found) == (doctor.WARNING, "taken")


def test_the_doctor_knows_the_ports_of_the_lessons():
    used = set()
    for master in masters():
        for cell in master.notebook().cells:
            if "parameters" in cell.metadata.get("tags", []):
                used |= {int(line.split("=")[1].split("#")[0]) for line in cell.source.splitlines()}
    assert used == {port for ports in doctor.PORTS.values() for port in ports}


def test_the_doctors_table_shows_every_finding():
    console = Console(record=True, width=120)
    console.print(doctor.table([doctor.Finding("thing", doctor.BAD, "broken", "mend it")]))
    shown = console.export_text()
    assert all(word in shown for word in ("fix", "thing", "broken", "mend it"))


@pytest.mark.engine
def test_the_doctor_on_this_machine_tells_stand_ins_from_real_images(client):
    done = course("doctor", COLUMNS="200")
    assert done.returncode == 0, done.stdout
    for ref in images.ALL:
        assert f"image {ref}" in done.stdout
        assert images.state(client, ref).origin in done.stdout


@pytest.fixture
def three_notebooks(checkout):
    """Notebooks of which the second fails."""
    for name, source in {"01_good": "1 + 1", "02_bad": "1 / 0", "03_good": "2 + 2"}.items():
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(nb, checkout / f"notebooks/{name}.ipynb")
    return checkout


@pytest.mark.slow
def test_a_failing_notebook_does_not_stop_the_others(three_notebooks, tmp_path):
    paths = running.notebooks([], three_notebooks)
    results = running.run(paths, tmp_path / "reports", three_notebooks)
    assert [bool(result.failure) for result in results] == [False, True, False]
    assert results[1].failure == "code cell 1: ZeroDivisionError: division by zero"
    reports = tmp_path / "reports"
    summary = json.loads((reports / "summary.json").read_text())
    assert [entry["cells"] for entry in summary] == [1, 1, 1]
    assert "ZeroDivisionError" in (reports / "summary.md").read_text()
    assert "ZeroDivisionError" in (reports / "02_bad.html").read_text()
    shown = Console(record=True, width=160)
    running.show(results, shown)
    assert "02_bad.ipynb" in shown.export_text()


def test_run_takes_a_number_for_a_name(three_notebooks):
    (only,) = running.notebooks(["03"], three_notebooks)
    assert only.name == "03_good.ipynb"


@pytest.mark.slow
def test_run_of_a_notebook_that_passes_exits_0_and_leaves_a_report():
    done = course("run", "00")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert (ROOT / "reports/00_welcome.html").exists()
