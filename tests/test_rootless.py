"""The rootless engine: its messages anywhere, and all it does in a pod like Binder's."""

import re
from collections.abc import Iterator
from importlib import reload

import nbformat
import pytest
from binder.pod import ASK, STUCK_SECONDS, Pod, binder_image, pod
from browser import browse, run_all
from playwright.sync_api import expect

import rootless
from course.errors import CourseError
from rootless import control, state

APP = """\
import http.server, platform
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(platform.node().encode())
http.server.HTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
DOCKERFILE = """\
FROM python:3.13-slim
COPY app.py /
RUN pip install --quiet --root-user-action=ignore six
CMD ["python", "/app.py"]
"""
# What of the API answers a program that knows nothing but addresses and ports.
SCAN = """\
import socket, sys
hosts, ports = (words.split(",") for words in sys.argv[1:])
for host in hosts:
    for port in ports:
        try:
            with socket.create_connection((host, int(port)), timeout=2) as found:
                found.settimeout(20)
                found.sendall(b"GET /_ping HTTP/1.0\\r\\n\\r\\n")
                print(host, port, "answered", found.recv(1000).split(b"\\r\\n")[0].decode())
        except OSError as error:
            print(host, port, type(error).__name__)
"""
# Without those that have ended: nobody in a pod waits for orphans.
RUNNING = "pgrep --runstates D,R,S 'linux.uml|slirp4netns'"
# The service may still be starting.
ASK_BY_NAME = """\
import time, urllib.request
for attempt in range(100):
    try:
        print(urllib.request.urlopen("http://web:8000").read().decode())
        break
    except OSError:
        time.sleep(0.2)
"""
HUNGRY = """\
import subprocess, sys, time
eat = "import sys; held = b'x' * 150_000_000; sys.stdin.read()"
eaters = [subprocess.Popen([sys.executable, "-c", eat], stdin=subprocess.PIPE) for _ in range(10)]
deadline = time.monotonic() + 180
while all(eater.poll() is None for eater in eaters) and time.monotonic() < deadline:
    time.sleep(0.2)
for eater in eaters:
    eater.stdin.close()
print("killed", sum(eater.wait() == -9 for eater in eaters))
"""


# --- Anywhere -------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A state folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    reload(state)
    yield
    monkeypatch.undo()
    reload(state)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(control, "SYSTEM_FOLDERS", "/nowhere")
    assert "user-mode-linux" in rootless.missing_packages()
    with pytest.raises(CourseError, match=r"user-mode-linux.*slirp4netns.*docker\.io"):
        rootless.up()


def test_where_it_never_ran_it_is_stopped(home: None):
    assert state.status().stage == "stopped"


def test_an_engine_that_was_killed_is_not_taken_for_a_running_one(home: None):
    state.HOME.mkdir()
    state.publish(state.Status("ready", supervisor=2**22 + 1))
    assert state.status().stage == "failed"
    assert "ended from outside" in str(state.status())


# --- In a pod -------------------------------------------------------------------


@pytest.fixture(scope="module")
def binder() -> Iterator[Pod]:
    """A pod with the engine, an image `app` and nothing running."""
    with binder_image() as image, pod(image, "course-test-rootless") as started:
        started.out("mkdir app && cat > app/app.py", stdin=APP)
        started.out("cat > app/Dockerfile", stdin=DOCKERFILE)
        started.out("docker build --quiet --tag app app")
        yield started


@pytest.fixture
def fresh(binder: Pod) -> Iterator[Pod]:
    """The pod; its containers are removed afterwards."""
    yield binder
    binder.run("docker ps --all --quiet | xargs --no-run-if-empty docker rm --force --volumes")


def serve(fresh: Pod, name: str, publish: str) -> None:
    """Start the service and wait until it answers on port 8001 of the pod."""
    fresh.out(f"docker run --detach --name {name} {publish} app")
    fresh.out("for try in $(seq 100); do curl -sf 127.0.0.1:8001 && exit; sleep 0.2; done; exit 1")


@pytest.mark.engine
@pytest.mark.slow
class TestInAPod:
    """What a user does, in the order in which a pod lives.

    What lesson 01 does as well, and what takes longest, is only in `make test-binder`.
    """

    def test_the_pod_has_no_rights(self, fresh: Pod):
        status = fresh.out("cat /proc/self/status")
        assert re.search(r"^Uid:\t1000", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
        assert fresh.run("ls /dev/kvm /var/run/docker.sock").stdout == ""

    def test_it_started_with_jupyter_and_brings_the_base_images(self, fresh: Pod):
        assert fresh.python("print(rootless.status().stage)") == "ready"
        listed = fresh.out("docker images --format '{{.Repository}}:{{.Tag}}'").split()
        assert {"python:3.13-slim", "registry:2", "app:latest"} <= set(listed)

    def test_a_published_port_appears_on_the_pods_loopback(self, fresh: Pod):
        serve(fresh, "web", "--publish 127.0.0.1:8001:8000")
        identifier = fresh.out("docker inspect web --format '{{.Id}}'")
        assert fresh.out("curl -s 127.0.0.1:8001") == identifier[:12]
        assert fresh.run("curl -s $(hostname -i):8001").returncode == 7
        # Free at once: what comes next may look.
        assert fresh.run("docker rm --force web && curl -s 127.0.0.1:8001").returncode == 7

    @pytest.mark.binder
    def test_a_port_that_the_engine_chose_appears_too(self, fresh: Pod):
        fresh.out("docker run --detach --name web --publish 127.0.0.1::8000 app")
        address = fresh.out("docker port web 8000")
        assert fresh.out(f"curl -s --retry 50 --retry-all-errors --retry-delay 1 {address}")

    @pytest.mark.binder
    def test_exec_logs_stats_and_standard_input(self, fresh: Pod):
        serve(fresh, "web", "--publish 127.0.0.1:8001:8000")
        assert fresh.out("docker exec web python -c 'print(6 * 7)'") == "42"
        assert "GET / HTTP" in fresh.out("docker logs web 2>&1")
        stats = fresh.out("docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'")
        assert re.match(r"web [\d.]+MiB", stats)
        said = fresh.out("docker run --rm -i python:3.13-slim python -", stdin="print(6 * 7)")
        assert said == "42"
        assert fresh.run("docker run --rm python:3.13-slim sh -c 'exit 3'").returncode == 3

    @pytest.mark.binder
    def test_networks_volumes_and_the_users_own_files(self, fresh: Pod):
        fresh.out("docker network create net && docker volume create vol")
        fresh.out("docker run --detach --name web --network net app")
        answer = fresh.out("docker run --rm -i --network net app python -", stdin=ASK_BY_NAME)
        assert re.fullmatch(r"[0-9a-f]{12}", answer)
        fresh.out("docker run --rm -v vol:/data app sh -c 'echo kept > /data/note'")
        assert fresh.out("docker run --rm -v vol:/data app cat /data/note") == "kept"
        assert "app.py" in fresh.out("docker run --rm -v $PWD/app:/mine:ro app ls /mine")
        fresh.out("docker rm --force web && docker network rm net && docker volume rm vol")

    @pytest.mark.binder
    def test_push_to_a_registry_in_the_engine(self, fresh: Pod):
        fresh.out("docker run --detach --publish 127.0.0.1:5001:5000 registry:2")
        fresh.out(f"{ASK} 127.0.0.1:5001/v2/")
        fresh.out("printf 'FROM scratch\\nCOPY app.py /\\n' > small")
        fresh.out("docker build --quiet --file small --tag 127.0.0.1:5001/small app")
        fresh.out("docker push --quiet 127.0.0.1:5001/small")
        assert "small" in fresh.out("curl -s 127.0.0.1:5001/v2/_catalog")

    def test_a_taken_port_is_an_error_of_who_wanted_it(self, fresh: Pod):
        message = "Bind for 127.0.0.1:8001 failed: port is already allocated"
        serve(fresh, "web", "--publish 127.0.0.1:8001:8000")
        clash = fresh.run("docker run --detach --name second --publish 127.0.0.1:8001:8000 app")
        assert (clash.returncode, message in clash.stderr) == (125, True)
        assert "Created" in fresh.out("docker ps -a --filter name=second --format '{{.Status}}'")
        fresh.out("docker rm --force web && docker start second")

    def test_a_port_that_a_program_in_the_pod_has_is_taken_too(self, fresh: Pod):
        clash = fresh.run("docker run --detach --publish 8888:8000 app")  # JupyterLab's
        assert clash.returncode == 125
        assert "127.0.0.1:8888 failed: port is already allocated" in clash.stderr

    @pytest.mark.parametrize("network", ["bridge", "host"])
    def test_containers_cannot_reach_the_api(self, fresh: Pod, network: str):
        serve(fresh, "web", "--publish 8001:8000")
        pods_address = fresh.out("hostname -i")
        listening = fresh.out("cat /proc/net/tcp | awk '$4 == \"0A\" {print $2}'").split()
        ports = {int(entry.split(":")[1], 16) for entry in listening}
        assert len(ports) > 2  # Jupyter's, the published one, and the way to the engine
        hosts = ["127.0.0.1", "172.17.0.1", "10.0.2.2", "10.0.2.3", "10.0.2.100", pods_address]
        scan = f"{','.join(hosts)} {','.join(map(str, {2375, 2376} | ports))}"
        command = f"docker run --rm -i --network {network} app python - {scan}"
        answered = [
            line for line in fresh.out(command, stdin=SCAN).splitlines() if "answered HTTP" in line
        ]
        # It sees what may be seen, so it would have seen the API as well.
        assert any(line.startswith("172.17.0.1 8001 ") for line in answered)
        assert {line.split()[1] for line in answered} <= {"8001", "8888"}

    def test_lack_of_memory_ends_a_container_and_not_the_engine(self, fresh: Pod):
        serve(fresh, "web", "--publish 127.0.0.1:8001:8000")
        eaten = fresh.run("docker run --rm -i app python -", stdin=HUNGRY)
        assert eaten.stdout.strip() != "killed 0"
        notes = fresh.out("cd $COURSE && course engine status")
        assert re.search(r"Out of memory: a container's process python was ended", notes)
        assert fresh.out("docker run --rm app echo alive") == "alive"

    def test_the_course_stops_starts_and_tells_of_it(self, fresh: Pod):
        course = "cd $COURSE && course engine"
        assert "Stopped" in fresh.out(f"{course} down")
        stopped = fresh.run(f"{course} status")
        assert stopped.returncode == 2
        assert "course engine up" in stopped.stderr
        started = fresh.out(f"unset DOCKER_HOST; {course} up")
        assert "loading base images" in started or "starting dockerd" in started
        assert "found by the rootless engine" in started
        assert "found by" in fresh.out(f"{course} status")
        assert "rootless: stage dockerd" in fresh.out(f"{course} logs")

    def test_a_kernel_that_stops_at_once_is_told(self, fresh: Pod):
        fresh.python("rootless.down()")
        kernel = "#!/bin/sh\necho 'Kernel panic - not syncing: planted'\n"
        fresh.out("mkdir bad && cat > bad/linux.uml && chmod +x bad/linux.uml", stdin=kernel)
        start = "import rootless; rootless.up(); rootless.wait()"
        failed = fresh.run(f"PATH=$HOME/bad:$PATH python -c '{start}'")
        assert "The rootless engine is failed: its kernel stopped: planted" in failed.stderr
        fresh.out(f"for try in $(seq 100); do {RUNNING} || exit 0; sleep 0.1; done; exit 1")
        assert fresh.python("rootless.up(); rootless.wait(); print('ready')") == "ready"

    def test_a_browser_runs_lesson_01_from_top_to_bottom(self, fresh: Pod):
        notebook = "notebooks/01_docker.ipynb"
        with browse(fresh.url(f"lab/tree/{notebook}")) as page:
            expect(page.locator("h1", has_text="Containers with Docker")).to_be_visible(
                timeout=60_000
            )
            run_all(page)
            # The last cell counts what is left in the engine.
            last = page.locator(".jp-OutputArea-output", has_text="images:    0")
            expect(last).to_be_visible(timeout=STUCK_SECONDS * 1000)
            page.locator(".jp-Notebook").press("Control+s")
            expect(page.locator(".jp-mod-dirty")).to_have_count(0, timeout=30_000)
        saved = nbformat.reads(fresh.out(f"cat $COURSE/{notebook}"), as_version=4)
        code = [cell for cell in saved.cells if cell.cell_type == "code"]
        assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
        failed = [c for c in code if any(o.output_type == "error" for o in c.outputs)]
        assert all("raises-exception" in cell.metadata.get("tags", []) for cell in failed)
        answers = [o.get("text", "") for cell in code for o in cell.outputs]
        assert any('"species"' in text for text in answers)

    @pytest.mark.binder
    def test_stopped_and_started_it_has_kept_everything(self, fresh: Pod):
        fresh.out("docker run --rm -v kept:/data app sh -c 'echo kept > /data/note'")
        serve(fresh, "web", "--restart=always --publish 8001:8000")
        assert fresh.python("print(rootless.down(), rootless.down())") == "True False"
        assert fresh.python("print(rootless.status().stage)") == "stopped"
        assert fresh.run(RUNNING).stdout == ""
        assert fresh.run("curl -s 127.0.0.1:8001").returncode == 7
        shown = fresh.python("rootless.up(); rootless.up(); rootless.wait(print)").splitlines()
        assert [shown[0], shown[2]] == ["booting its kernel", "starting dockerd"]
        fresh.out(f"{ASK} 127.0.0.1:8001")
        assert fresh.out("docker run --rm -v kept:/data app cat /data/note") == "kept"

    def test_a_restart_of_the_server_keeps_everything(self, fresh: Pod):
        fresh.out("docker run --rm -v kept:/data app sh -c 'echo new > /data/note'")
        serve(fresh, "web", "--restart=always --publish 8001:8000")
        fresh.restart()
        fresh.out(f"{ASK} 127.0.0.1:8001")
        assert fresh.out("docker run --rm -v kept:/data app cat /data/note") == "new"

    @pytest.mark.binder
    def test_killed_it_can_be_started_again(self, fresh: Pod):
        fresh.out("kill -9 $(pgrep -f rootless.superviso[r])")
        assert "ended from outside" in fresh.python("print(rootless.status())")
        # The command waits until the engine is there.
        assert "app" in fresh.python(
            "import subprocess; rootless.up()\n"
            "print(subprocess.check_output(['docker', 'images', 'app'], text=True))"
        )
