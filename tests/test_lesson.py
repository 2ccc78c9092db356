"""What a lesson's first and last cells do, run as a student runs them: in a kernel."""

import http.server
import socket
import threading

import nbformat
import pytest
from containers import own_container

from course import cleanup, images, lesson
from course.errors import CourseError
from course.execute import execute


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder for the notebook, and no memory of an earlier start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COURSE_WORKSPACE_PARENT")
    monkeypatch.setattr(lesson, "_origin", None)
    return tmp_path


@pytest.fixture
def server():
    """A server that answers 503 twice, then 200."""
    answers = iter([503, 503])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(next(answers, 200))
            self.end_headers()
            self.wfile.write(b"ready")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def test_start_works_in_a_fresh_folder_and_keeps_the_last_one(work):
    lesson.start("00_welcome")
    (work / "workspace/00_welcome/mine.txt").write_text("first")
    lesson.start("00_welcome")  # Run All again in the same kernel
    assert list((work / "workspace/00_welcome").iterdir()) == []
    assert (work / "workspace/00_welcome.previous/mine.txt").read_text() == "first"
    lesson.start("00_welcome")  # an empty folder does not push out the kept one
    assert (work / "workspace/00_welcome.previous/mine.txt").exists()


def test_start_exports_the_ports_and_this_environments_programs(work):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cells = [
        f"from course import lesson\nlesson.start('00_welcome', PORT={port})",
        "%%bash -e\necho $PORT\npython -c 'import course'\ncommand -v papermill >/dev/null",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    done, failure = execute(nb)
    assert failure is None
    assert done.cells[1].outputs[0].text == f"{port}\n"


@pytest.mark.parametrize("host", [None, "tcp://127.0.0.1:9"], ids=["", "no engine"])
def test_a_taken_port_names_who_holds_it(work, server, monkeypatch, host):
    if host:
        monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(CourseError, match=rf"Port {server} is taken by the process \d+ \("):
        lesson.start("00_welcome", PORT=server)


def test_wait_for_returns_the_answer_once_it_is_good(server):
    assert lesson.wait_for(f"http://127.0.0.1:{server}/", seconds=5) == "ready"


def test_wait_for_says_what_it_saw_last(server):
    with pytest.raises(CourseError, match=r"within 0\.1 s: HTTP status 503"):
        lesson.wait_for(f"http://127.0.0.1:{server}/", seconds=0.1)


def test_a_foreseen_fault_shows_no_traceback_in_a_notebook():
    source = "from course import lesson\nlesson.wait_for('http://127.0.0.1:9/', seconds=0.1)"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    done, failure = execute(nb)
    assert failure.message.startswith("CourseError: http://127.0.0.1:9/ did not answer")
    shown = done.cells[0].outputs[0].traceback
    assert len(shown) == 2
    assert "docker logs" in shown[1]


@pytest.mark.engine
def test_a_port_held_by_a_container_names_the_container(work, client):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    held = {"name": "own-holder", "ports": {"80": ("127.0.0.1", port)}}
    with (
        own_container(client, images.PYTHON, "sleep 60", **held),
        pytest.raises(CourseError, match=f"Port {port} is taken by the container own-holder"),
    ):
        lesson.start("01_docker", PORT=port)


@pytest.mark.engine
def test_start_removes_the_leftover_of_a_crashed_run_even_if_it_holds_the_port(work, client):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    client.containers.run(
        images.PYTHON,
        "sleep 60",
        name="course-leftover",
        labels={cleanup.LABEL: "01_docker"},
        ports={"80": ("127.0.0.1", port)},
        detach=True,
    )
    lesson.start("01_docker", PORT=port)
    assert "course-leftover" not in [c.name for c in client.containers.list(all=True)]


@pytest.mark.engine
def test_a_killed_kernel_leaves_a_container_that_the_next_run_all_removes(client):
    def notebook(*cells):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        return nb

    start = "from course import lesson\nlesson.start('01_docker')"
    run = (
        "%%bash -e\ndocker run -d --name course-mid --label mlops.course=01_docker "
        f"{images.PYTHON} sleep 60"
    )
    with pytest.raises(CourseError, match="kernel did not start or died"):
        execute(notebook(start, run, "import os\nos.kill(os.getpid(), 9)"))
    assert "course-mid" in [c.name for c in client.containers.list()]
    _, failure = execute(notebook(start, run, "lesson.finish('01_docker')"))
    assert failure is None
    assert "course-mid" not in [c.name for c in client.containers.list(all=True)]


@pytest.mark.engine
def test_finish_leaves_the_files(work, client, capsys):
    lesson.start("01_docker")
    (work / "workspace/01_docker/app.py").write_text("")
    lesson.finish("01_docker")
    assert "nothing of this lesson is left" in capsys.readouterr().out
    assert (work / "workspace/01_docker/app.py").exists()


def test_without_an_engine_start_says_how_to_get_one(work, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(CourseError, match="No container engine answers at DOCKER_HOST"):
        lesson.start("01_docker")
