"""Grading with ``--live``: each copy with an engine of its own, which it cannot subvert."""

import nbformat
import pytest
from grading_tiny import found

from authoring.source import masters, with_wrong_answer
from course import ROOT
from course.errors import CourseError
from grading import labs
from grading.grade import grade
from grading.image import LABEL

pytestmark = [pytest.mark.engine, pytest.mark.slow]

FRAUD = next(master for master in masters() if master.name == "01_fraud_container")
LIVE = [check.name for check in labs.find("01").checks if check.kind == "live"]
WRONG = [answer for answer in FRAUD.wrong_answers() if answer.exercise == "ex4"]

# Runs after the right answer to exercise 4 has started its containers.
BREAK_OUT = r'''
import glob, os, socket, subprocess

leaks = []
RUN = ["docker", "run", "--rm"]
ASKS = [
    ["--privileged"], ["--volume=/:/host"], ["--volume=/lab:/host"], ["--pid=host"],
    ["--network=host"], ["--cap-add=SYS_ADMIN"], ["--device=/dev/ubda"], ["--ipc=host"],
    ["--mount=type=bind,source=/,target=/host"],
    ["--security-opt=seccomp=unconfined"], ["--userns=host"], ["--cgroupns=host"],
]
for words in ASKS:
    done = subprocess.run([*RUN, *words, "course-fraud:1.0", "id"], capture_output=True, text=True)
    if "not allowed here" not in done.stderr or "uid=" in done.stdout:
        leaks.append(f"{words}: {done.stdout} {done.stderr[-100:]}")
INSIDE = """
mknod /tmp/disk b 98 0 && head -c 1 /tmp/disk > /tmp/read && echo disk
mknod /tmp/memory c 1 1 && head -c 1 /tmp/memory > /tmp/read && echo memory
echo 1 > /proc/sys/kernel/sysrq && echo proc
mount -t tmpfs none /mnt && echo mount
ls /run/docker.sock 2> /dev/null
"""
done = subprocess.run(
    [*RUN, "--user=0", "--security-opt=systempaths=unconfined", "course-fraud:1.0",
     "sh", "-c", INSIDE], capture_output=True, text=True,
)
if done.stdout or done.returncode == 125:
    leaks.append(f"as root in a container: {done.stdout} {done.stderr[-200:]}")
BUILDS = {
    "RUN --network=host cat /proc/net/unix": ["--allow=network.host"],
    "RUN cat /proc/net/unix": ["--network=host", "--allow=network.host"],
    "RUN mknod /disk b 98 0 && head -c 1 /disk > /read": [],
}
for line, words in BUILDS.items():
    done = subprocess.run(
        ["docker", "build", "--progress=plain", *words, "-"], capture_output=True, text=True,
        input=f"FROM course-fraud:1.0\nUSER 0\n{line}\n",
    )
    if done.returncode == 0 or not any(
        why in done.stderr for why in ("not allowed", "Operation not permitted")
    ):
        leaks.append(f"build with {line}: {done.stderr[-300:]}")
execs = ["docker", "exec", "--privileged", "course-fraud", "id"]
if "not allowed" not in subprocess.run(execs, capture_output=True, text=True).stderr:
    leaks.append("exec --privileged")

CREATE = b'POST /containers/create?name=smuggled HTTP/1.1\r\nHost: x\r\n' \
    b'Content-Type: application/json\r\nContent-Length: 61\r\n\r\n' \
    b'{"Image":"course-fraud:1.0","HostConfig":{"Privileged":true}}'
for first in (
    b"GET /_ping HTTP/1.1\nHost: x\n\n",
    b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
    b"POST /exec/0/start HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n"
    b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /session HTTP/1.1\r\nHost: x\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n",
):
    with socket.socket(socket.AF_UNIX) as api:
        api.settimeout(3)
        api.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
        try:
            api.sendall(first + CREATE)
            while api.recv(65536):
                pass
        except OSError:
            pass
if "smuggled" in subprocess.run(["docker", "ps", "-a"], capture_output=True, text=True).stdout:
    leaks.append("a request behind another")

for path in ["/prepared/course-engine/disk.img", *glob.glob("/engine/course-engine/*")]:
    for mode in ("rb", "r+b"):
        try:
            open(path, mode)
            leaks.append(f"{path} opened as {mode}")
        except OSError:
            pass
for change in (lambda: os.rename("/engine/course-engine/docker.sock", "/engine/x"),
               lambda: os.symlink("/lab/x", "/engine/course-engine/y"),
               lambda: os.kill(1, 9)):
    try:
        change()
        leaks.append("changed the state folder")
    except OSError:
        pass
if any("rootless" in open(p).read() for p in glob.glob("/proc/[0-9]*/cmdline")):
    leaks.append("sees the engine's processes")
with open("leaks.txt", "w") as file:
    file.write("; ".join(leaks) or "none")
raise ValueError(f"found: {leaks or 'no leak'}")
'''

# Instead of containers: a server of one's own, and an engine that answers what one likes.
LIAR = r'''
import os, subprocess, sys
open("liar.py", "w").write("""
import http.server, json, os, socket, socketserver, threading
class Says(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        port = self.server.server_address[1] if isinstance(self.server.server_address, tuple) else 0
        body = json.dumps({"version": "1.1" if port == int(os.environ["PORT_B"]) else "1.0",
                           "Id": "x", "State": {"Status": "running", "Running": True}}).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    do_POST = do_GET
    def address_string(self): return "x"
class Unix(socketserver.ThreadingUnixStreamServer): pass
for port in (os.environ["PORT"], os.environ["PORT_B"]):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Says)
    threading.Thread(target=server.serve_forever).start()
Unix("/lab/docker.sock", Says).serve_forever()
""")
subprocess.Popen([sys.executable, "liar.py"], start_new_session=True)
os.environ["DOCKER_HOST"] = "unix:///lab/docker.sock"
import docker
docker.DockerClient = docker.from_env = lambda *a, **k: None
'''


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The right answer, wrong ones and attacks, graded once; results by name."""
    folder = tmp_path_factory.mktemp("live")
    copies = folder / "copies"
    copies.mkdir()
    solution = FRAUD.notebook()
    nbformat.write(solution, copies / "solution.ipynb")
    (copies / "fresh.ipynb").write_bytes(labs.find("01").notebook.read_bytes())
    for number, answer in enumerate(WRONG):
        nbformat.write(with_wrong_answer(solution, answer), copies / f"wrong{number}.ipynb")
    breaks_out = FRAUD.notebook()
    breaks_out.cells.append(nbformat.v4.new_code_cell(BREAK_OUT))
    nbformat.write(breaks_out, copies / "breaks_out.ipynb")
    lies = nbformat.read(labs.find("01").notebook, as_version=4)
    lies.cells.append(nbformat.v4.new_code_cell(LIAR))
    nbformat.write(lies, copies / "lies.ipynb")
    results = grade("01", copies, folder / "out", jobs=2, with_live=True)
    return {result.submission.student: result for result in results}


def test_running_containers_earn_their_points(graded):
    assert (graded["solution"].points, graded["solution"].possible) == (20, 20)
    assert graded["solution"].remarks == []
    assert (graded["fresh"].points, graded["fresh"].possible) == (0, 20)


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[answer.title for answer in WRONG])
def test_wrong_ones_lose_exactly_theirs(graded, number):
    statuses = found(graded[f"wrong{number}"])
    lost = {name for name, status in statuses.items() if status != "right"}
    assert lost == set(WRONG[number].fails), graded[f"wrong{number}"].verdicts


def test_a_copy_cannot_get_beyond_its_containers(graded):
    (remark,) = graded["breaks_out"].remarks
    assert "found: no leak" in remark
    assert graded["breaks_out"].points == 20


def test_a_false_engine_deceives_nobody(graded):
    assert graded["lies"].points == 0
    assert {found(graded["lies"])[name] for name in LIVE} == {"not attempted"}


def test_nothing_is_left(graded, client):
    for filters in ({"label": LABEL}, {"name": "course-grade-"}):
        assert client.containers.list(all=True, filters=filters) == []


@pytest.mark.binder
@pytest.mark.parametrize("number", ["05", "06"])
def test_so_they_do_in_the_other_labs_that_have_them(tmp_path, number):
    lab = labs.find(number)
    for name, path in {"solution": lab.solution, "fresh": lab.notebook}.items():
        (tmp_path / f"{name}.ipynb").write_bytes(path.read_bytes())
    results = grade(number, tmp_path, tmp_path / "out", jobs=2, with_live=True)
    fresh, solution = sorted(results, key=lambda result: result.points)
    possible = sum(c.points for c in lab.checks if c.kind != "live" or c.exercise in lab.live)
    assert (solution.points, solution.possible, solution.remarks) == (possible, possible, [])
    assert (fresh.points, fresh.possible) == (0, possible)


def test_a_lab_without_such_points_says_so(tmp_path):
    (tmp_path / "one.ipynb").write_bytes((ROOT / "labs/02_recommendation_api.ipynb").read_bytes())
    assert not labs.find("02").live
    with pytest.raises(CourseError, match=r"02_recommendation_api .* cannot be graded"):
        grade("02", tmp_path, tmp_path / "out", jobs=1, with_live=True)
