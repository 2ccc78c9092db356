"""The tracking server of docker/mlflow, and what lesson 04's scripts refuse."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import requests
import yaml
from mlflow import MlflowClient
from waiting import free_port

from authoring.source import masters
from course import ROOT

STACK = ROOT / "docker/mlflow"
NOT_IN_THE_LOCK = {"psycopg", "psycopg-binary"}  # only the server speaks to PostgreSQL
PASSWORD = "correct-horse-battery-staple"
PUBLISHED = ["127.0.0.1:${SERVER_PORT:-8042}:5000"]


def test_the_servers_pins_are_those_of_the_lock():
    lock = (ROOT / "requirements.txt").read_text()
    pins = (STACK / "requirements.txt").read_text().split()
    differing = {pin.split("==")[0] for pin in pins if f"\n{pin} " not in lock}
    assert "mlflow" in {pin.split("==")[0] for pin in pins}
    assert differing == NOT_IN_THE_LOCK


def test_only_the_server_is_published_and_only_on_this_machine():
    services = yaml.safe_load((STACK / "compose.yaml").read_text())["services"]
    assert {name: s.get("ports", []) for name, s in services.items()} == {
        "database": [],
        "server": PUBLISHED,
    }


class Stack:
    """The stack of docker/mlflow, running under a name of its own."""

    project = "course-test-tracking"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = shutil.copytree(STACK, folder / "mlflow")
        (self.folder / ".env").write_text(f"POSTGRES_PASSWORD={PASSWORD}\n")
        self.env = os.environ | {"SERVER_PORT": str(self.port), "LESSON": "test-mlflow"}
        self.env |= {"SERVER_IMAGE": f"{self.project}:1.0"}

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def compose(self, *command: str) -> str:
        return self.run("docker", "compose", "-p", self.project, *command)

    def stop(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5")
        subprocess.run(["docker", "rmi", self.env["SERVER_IMAGE"]], capture_output=True)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        running.compose("build", "--quiet")
        running.compose("up", "--detach", "--wait")
        yield running
    finally:
        running.stop()


@pytest.fixture
def client(stack, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    return MlflowClient(stack.url)


@pytest.mark.engine
@pytest.mark.slow
class TestServer:
    """The real server with the real database."""

    def test_records_and_files_outlive_the_containers(self, stack, client, tmp_path):
        experiment = client.create_experiment("kept")
        run = client.create_run(experiment).info
        client.log_metric(run.run_id, "recall", 0.1 + 0.2)
        client.log_text(run.run_id, "as it was", "notes.txt")
        stack.compose("down")
        stack.compose("up", "--detach", "--wait")
        assert client.get_run(run.run_id).data.metrics == {"recall": 0.1 + 0.2}
        path = client.download_artifacts(run.run_id, "notes.txt", str(tmp_path))
        assert Path(path).read_text() == "as it was"

    def test_clients_reach_files_only_through_the_server(self, client):
        assert client.get_experiment("0").artifact_location.startswith("mlflow-artifacts:")

    def test_a_name_that_is_not_listed_is_refused(self, stack):
        assert requests.get(stack.url, timeout=10).status_code == 200
        answer = requests.get(stack.url, headers={"Host": "evil.example"}, timeout=10)
        assert answer.status_code == 403

    def test_it_is_not_root_and_cannot_write_its_own_files(self, stack):
        assert stack.compose("exec", "-T", "server", "id", "--user").strip() != "0"
        write = "touch /srv/x 2>&1 || true"
        assert "Read-only" in stack.compose("exec", "-T", "server", "sh", "-c", write)

    def test_the_password_is_in_no_layer_and_no_log(self, stack):
        image = stack.env["SERVER_IMAGE"]
        inspected = stack.run("docker", "image", "inspect", image)
        history = stack.run("docker", "history", "--no-trunc", image)
        assert "POSTGRES_PASSWORD" not in inspected
        assert PASSWORD not in inspected + history + stack.compose("logs")

    def test_the_database_wants_the_password(self, stack):
        ask = "PGPASSWORD=wrong psql --host database --username mlflow --command 'SELECT 1' 2>&1"
        said = stack.compose("exec", "-T", "database", "sh", "-c", f"{ask} || true")
        assert "password authentication failed" in said

    def test_the_records_can_be_saved_and_the_tables_brought_up_to_date(self, stack):
        saved = stack.compose("exec", "-T", "database", "pg_dump", "-U", "mlflow", "mlflow")
        assert "COPY public.runs " in saved
        upgrade = 'mlflow db upgrade "$MLFLOW_BACKEND_STORE_URI"'
        assert "Updating database tables" in stack.compose(
            "run", "--rm", "-T", "server", "sh", "-c", upgrade
        )

    def test_everything_carries_the_label_by_which_it_is_removed(self, stack):
        mine = ["--quiet", "--filter", "label=mlops.course=test-mlflow"]
        counts = {
            what: len(stack.run("docker", *what.split(), *mine).split())
            for what in ("ps", "network ls", "volume ls", "images")
        }
        assert counts == {"ps": 2, "network ls": 1, "volume ls": 2, "images": 1}


@pytest.mark.engine
def test_without_a_password_compose_says_what_to_read(tmp_path):
    shutil.copytree(STACK, tmp_path, dirs_exist_ok=True)
    env = {name: v for name, v in os.environ.items() if name != "POSTGRES_PASSWORD"}
    done = subprocess.run(
        ["docker", "compose", "config"], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "README.md" in done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The scripts that lesson 04's cells write, 400 loans, and one recorded run."""
    folder = tmp_path_factory.mktemp("project")
    lesson = next(master for master in masters() if master.name == "04_mlflow")
    for cell in lesson.notebook().cells:
        head, _, body = cell.source.partition("\n")
        if cell.cell_type == "code" and head.startswith("%%writefile"):
            with (folder / head.split()[-1]).open("a" if " -a " in head else "w") as file:
                file.write(body + "\n")
    loans = pd.DataFrame({"bad": [0, 0, 0, 1] * 100, "income": range(400)})
    for name in ("term", "sub_grade", "addr_state", "verification_status", "emp_length"):
        loans[name] = ["a", "b"] * 200
    loans.to_csv(folder / "loans.csv", index=False)
    for command in (
        "git init --quiet --initial-branch main",
        "git config user.name A",
        "git config user.email a@example.com",
        "git add loans.py loans.csv train.py",
        "git commit --quiet --message first",
    ):
        subprocess.run(command.split(), cwd=folder, check=True)
    (folder / ".git/info/exclude").write_text("*\n")
    return folder


def run(project: Path, *command: str) -> subprocess.CompletedProcess:
    env = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/runs.db",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    command = [sys.executable, *command]
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def recorded(project) -> str:
    """The id of a run."""
    done = run(project, "train.py", "--c", "0.5", "--bad-weight", "3")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


@pytest.mark.slow
class TestReproduce:
    """What lesson 04's reproduce.py makes of a record that can and cannot be trusted."""

    def reproduce(self, project, run_id):
        return run(project, "reproduce.py", f"sqlite:///{project}/runs.db", run_id)

    def test_a_clean_record_gives_the_same_digits(self, project, recorded):
        assert self.reproduce(project, recorded).stdout == "all 5 metrics are equal\n"

    def test_a_metric_that_was_touched_up_is_named(self, project, recorded):
        client = MlflowClient(f"sqlite:///{project}/runs.db")
        true = client.get_run(recorded).data.metrics["recall"]
        client.log_metric(recorded, "recall", true + 1e-9, step=1)
        assert self.reproduce(project, recorded).stdout == "differ: recall\n"
        client.log_metric(recorded, "recall", true, step=2)

    def test_other_versions_are_refused(self, project, recorded):
        client = MlflowClient(f"sqlite:///{project}/runs.db")
        kept = mlflow.artifacts.load_dict(
            client.get_run(recorded).info.artifact_uri + "/environment.json"
        )
        client.log_dict(recorded, kept | {"numpy": "1.0"}, "environment.json")
        done = self.reproduce(project, recorded)
        client.log_dict(recorded, kept, "environment.json")
        assert (done.returncode, done.stderr[:15]) == (1, "other versions:")

    def test_uncommitted_code_is_tagged_and_refused(self, project, recorded):
        code = project / "loans.py"
        kept = code.read_text()
        code.write_text(kept + "# changed\n")
        run_id = run(project, "train.py").stdout.split()[-1]
        code.write_text(kept)
        done = self.reproduce(project, run_id)
        assert done.returncode == 1
        assert "uncommitted" in done.stderr
        assert "loans.py" in done.stderr
