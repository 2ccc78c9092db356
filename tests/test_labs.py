"""Labs: their masters, their gates, and what their notebooks call."""

import os
import shutil
import sys
import types
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from conftest import HEAD
from nbformat.v4 import new_code_cell

from authoring import gates
from authoring.build import build
from authoring.source import Wrong, masters, solution_lines, with_wrong_answer
from course import ROOT, engine, lab
from course.checks import NotAttempted, NotReady, load
from course.errors import CourseError
from course.execute import execute

GRADED = HEAD.replace("needs: []", "needs: []\n  points: 3") + (
    '''# Lab

```{code-cell} ipython3
:tags: [ex1]

def ping() -> str:
    """Answer."""
    ### BEGIN SOLUTION
    return "po" + "ng"
    ### END SOLUTION
```

```{code-cell} ipython3
:tags: [ex1]

%%writefile Dockerfile
FROM python:3.13-slim
### BEGIN SOLUTION
USER 10001:10001
### END SOLUTION
```

```{code-cell} ipython3
:tags: [checks]

from course.checks import Target, check


@check("ex1", points=2, kind="call")
def says_pong(target: Target) -> None:
    """It says pong."""
    assert len(target.call("ping")) == 4, "That is not it."
```

```{code-cell} ipython3
:tags: [checks]

@check("ex1", points=1, kind="file")
def has_a_user(target: Target) -> None:
    """The Dockerfile sets a user."""
    assert "USER" in target.read("Dockerfile")
```

```{code-cell} ipython3
:tags: [hint-ex1]

What does one say to ping?
```

```{code-cell} ipython3
:tags: [hint-ex1]

It begins with "p", and a \\ stays a \\.
```

```{code-cell} ipython3
:tags: [wrong-ex1]
:title: says it in French
:fails: [says_pong]

return "le pong"
```

```{code-cell} ipython3
:tags: [wrong-ex1]
:title: says nothing
:fails: [says_pong]

return ""
```

```{code-cell} ipython3
:tags: [wrong-ex1]
:title: forgets the user
:stub: 2
:fails: [has_a_user]

WORKDIR /app
```

```{code-cell} ipython3
ping()
```
'''
)


@pytest.fixture(scope="session")
def graded_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("graded") / "checkout"
    (root / "source/labs").mkdir(parents=True)
    for name in ("nbval.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    (root / "source/labs/01_ping.md").write_text(GRADED)
    for master in masters(root):
        build(master, root)
    return root


@pytest.fixture
def graded(graded_once, tmp_path):
    """A small checkout with a lab that gives points."""
    return shutil.copytree(graded_once, tmp_path / "graded")


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- masters and gates


def test_a_labs_files_are_built_and_pass_the_gates(graded):
    made = {str(p.relative_to(graded)) for folder in ("labs", "solutions") for p in
            (graded / folder).rglob("*.*")}  # fmt: skip
    assert made == {"labs/01_ping.ipynb", "labs/checks/01_ping.py", "solutions/01_ping.ipynb"}
    assert gates.check(graded) == []
    (master,) = masters(graded)
    assert build(master, graded) == []


def test_checks_hints_and_wrong_answers_are_in_no_notebook(graded):
    for name in ("labs/01_ping.ipynb", "solutions/01_ping.ipynb"):
        text = (graded / name).read_text()
        assert not any(word in text for word in ("says_pong", "one say", "French", "WORKDIR"))
    assert "French" not in (graded / "labs/checks/01_ping.py").read_text()


def test_the_checks_file_is_a_plain_module_of_checks_hints_and_stubs(graded):
    path = graded / "labs/checks/01_ping.py"
    found = [(c.exercise, c.points, c.kind, c.name, c.claim) for c in load(path)]
    assert found == [
        ("ex1", 2, "call", "says_pong", "It says pong."),
        ("ex1", 1, "file", "has_a_user", "The Dockerfile sets a user."),
    ]
    names = {}
    exec(path.read_text(), names)
    assert names["HINTS"]["ex1"][1] == 'It begins with "p", and a \\ stays a \\.'
    assert names["STUBS"] == {"Dockerfile": "FROM python:3.13-slim\n# TODO: your lines here\n"}
    assert "Made by `course build` from source/labs/01_ping.md" in path.read_text()


def test_a_cell_that_fails_behind_the_checks_is_named_by_its_line(graded):
    (master,) = masters(graded)
    change(master.path, "\nping()\n", "\nundefined_name\n")
    opening = master.path.read_text().splitlines().index("undefined_name")
    with pytest.raises(CourseError, match=f"01_ping.md:{opening}: code cell 3 failed"):
        build(master, graded)


def test_a_wrong_answer_stands_where_the_solution_was(graded):
    (master,) = masters(graded)
    french, _, no_user = master.wrong_answers()
    cells = with_wrong_answer(master.notebook(), french).cells
    assert cells[1].source == 'def ping() -> str:\n    """Answer."""\n    return "le pong"'
    assert "USER 10001:10001" in cells[2].source
    cells = with_wrong_answer(master.notebook(), no_user).cells
    assert cells[2].source.splitlines()[1:] == ["FROM python:3.13-slim", "WORKDIR /app"]
    with pytest.raises(CourseError, match="ex1 has 2 stubs, so none is number 3"):
        with_wrong_answer(master.notebook(), Wrong("ex1", "", 3, "", frozenset()))


PLANTED = {
    "in_sync": ("labs/checks/01_ping.py", "points=2", "points=3", "differs from its source"),
    "labs_are_complete, points": (
        "source/labs/01_ping.md", "points: 3", "points: 4",
        "its checks give 3 points, its head says 4"),
    "labs_are_complete, no points": (
        "source/labs/01_ping.md", "  points: 3\n", "", "its head says None"),
    "labs_are_complete, checks": (
        "labs/checks/01_ping.py", '"ex1", points', '"ex2", points', "ex1 has no check"),
    "labs_are_complete, hints": (
        "source/labs/01_ping.md", "[hint-ex1]\n\nWhat", "[hint-ex2]\n\nWhat", "ex1 has 1 hints"),
    "labs_are_complete, wrong answers": (
        "source/labs/01_ping.md", "[wrong-ex1]\n:title: says it", "[wrong-ex2]\n:title: says it",
        "ex1 has 2 wrong answers"),
    "labs_are_complete, no loss": (
        "source/labs/01_ping.md", ":fails: [has_a_user]", ":fails: []",
        "'forgets the user' fails no check of ex1"),
    "labs_are_complete, no such check": (
        "source/labs/01_ping.md", "[has_a_user]", "[has_a_user, typo]", "no check with typo"),
    "no_solution_shown": (
        "labs/01_ping.ipynb", "# Lab", 'Write `return \\"po\\" + \\"ng\\"`.', '"po" + "ng"'),
    "no_solution_shown, in a hint": (
        "labs/checks/01_ping.py", "one say", "USER 10001:10001 say", "solution: USER 10001:10001"),
}  # fmt: skip


@pytest.mark.parametrize("gate", PLANTED)
def test_gate_catches_its_planted_fault(graded, gate):
    name, old, new, message = PLANTED[gate]
    check = getattr(gates, gate.split(",")[0])
    assert list(check(graded)) == []
    change(graded / name, old, new)
    assert any(message in line for line in check(graded)), list(check(graded))


def test_every_lab_gate_has_a_planted_fault():
    assert {g.__name__ for g in gates.LAB_GATES} <= {name.split(",")[0] for name in PLANTED}


def test_checks_without_a_source_are_found(graded):
    shutil.copy(graded / "labs/checks/01_ping.py", graded / "labs/checks/02_stray.py")
    assert any("labs/checks/02_stray.py: has no source" in line for line in gates.in_sync(graded))


def test_what_students_are_given_is_no_secret(graded):
    (master,) = masters(graded)
    assert solution_lines(master.notebook()) == {'return "po" + "ng"', "USER 10001:10001"}


# --- the notebook as checks ask it


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """The target, and the names that the student's cells have defined."""
    names = {}
    monkeypatch.setattr(lab, "get_ipython", lambda: types.SimpleNamespace(user_ns=names))
    return lab.Notebook(tmp_path, {"Dockerfile": "FROM a\n# TODO\n"}), names


def test_call_gives_what_the_function_returns(notebook):
    target, names = notebook
    names["pairs"] = lambda *args, **kwargs: [(args, kwargs)]
    assert target.call("pairs", 1, [2], x=None) == [[[1, [2]], {"x": None}]]


def test_what_a_function_does_to_its_arguments_is_not_seen(notebook):
    target, names = notebook
    names["take"] = lambda values: values.clear()
    given = [1, 2]
    target.call("take", given)
    assert given == [1, 2]


def stub():
    raise NotImplementedError("your code here")


@pytest.mark.parametrize("value", [stub, None, 5])
def test_a_stub_is_not_attempted(notebook, value):
    target, names = notebook
    names["f"] = value
    with pytest.raises(NotAttempted, match=r"f is (not defined|still as it was given)"):
        target.call("f")


def loop():
    while True:
        try:
            while True:
                pass
        except Exception:
            pass


def holds_itself():
    values = []
    values.append(values)
    return values


FAULTS = {
    "raises": (lambda: {}["key"], r"f\(\) raised KeyError: 'key'"),
    "exits": (sys.exit, r"f\(\) raised SystemExit"),
    "no JSON": (lambda: {1, 2}, "f returned a set, which JSON cannot hold"),
    "holding numpy": (lambda: [np.int64(3)], r"which JSON cannot hold \(Object of type int64"),
    "not a number": (lambda: float("nan"), "f returned nan: JSON has no inf, no nan"),
    "holds itself": (holds_itself, r"f returned \[\[\.\.\.\]\]: JSON has .* no loops"),
    "of numpy": (lambda: np.bool(True), "f returned a numpy.bool, which .* convert with bool"),
    "endless": (loop, "f took more than 0.2 seconds"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_function_that_fails_is_wrong_and_says_how(notebook, monkeypatch, fault):
    target, names = notebook
    monkeypatch.setattr(lab, "CALL_SECONDS", 0.2)
    names["f"], message = FAULTS[fault]
    with pytest.raises(AssertionError, match=message):
        target.call("f")


def test_an_endless_function_is_not_waited_for_as_long_again(notebook, monkeypatch):
    target, names = notebook
    monkeypatch.setattr(lab, "CALL_SECONDS", 0.5)
    names["f"] = loop
    for limit in ("0.5", "0.05"):
        with pytest.raises(AssertionError, match=f"f took more than {limit} seconds"):
            target.call("f")


def test_read_tells_a_written_file_from_a_stub(notebook, tmp_path):
    target, _ = notebook
    with pytest.raises(NotAttempted, match="Dockerfile is not written"):
        target.read("Dockerfile")
    (tmp_path / "Dockerfile").write_text("FROM a\n# TODO\n\n")
    with pytest.raises(NotAttempted, match="still as it was given"):
        target.read("Dockerfile")
    (tmp_path / "Dockerfile").write_text("FROM a\n# TODO\nUSER 1\n")
    assert target.read("Dockerfile").endswith("USER 1\n")


SERVER = """\
import http.server, subprocess, sys
child = subprocess.Popen(["sleep", "60"])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/broken":
            raise ZeroDivisionError("by me")
        if self.path == "/later":
            raise NotImplementedError("your code here")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(child.pid).encode())
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
COMMAND = ["python", "server.py", "{port}"]


def test_a_server_answers_and_is_gone_afterwards_with_its_children(notebook, tmp_path):
    target, _ = notebook
    (tmp_path / "server.py").write_text(SERVER)
    with target.serve(COMMAND, ready="/") as client:
        child = psutil.Process(int(client.request("GET", "/").text))
        server = child.parent()
    assert not server.is_running()
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_the_server_said_last_is_in_the_message(notebook, tmp_path):
    target, _ = notebook
    (tmp_path / "server.py").write_text(SERVER)
    with (
        pytest.raises(AssertionError, match=r"(?s)GET /broken got no.*log says: Zero.*: by me"),
        target.serve(COMMAND, ready="/") as client,
    ):
        client.request("GET", "/broken")


def test_a_part_of_a_server_that_is_not_written_is_not_attempted(notebook, tmp_path):
    target, _ = notebook
    (tmp_path / "server.py").write_text(SERVER)
    with (
        pytest.raises(NotAttempted, match="still as it was given"),
        target.serve(COMMAND, ready="/") as client,
    ):
        client.request("GET", "/later")


def test_a_server_that_does_not_start_shows_its_log(notebook, tmp_path):
    target, _ = notebook
    (tmp_path / "server.py").write_text("raise SystemExit('no model here')")
    with (
        pytest.raises(AssertionError, match=r"(?s)ended at once.*no model here"),
        target.serve(COMMAND, ready="/"),
    ):
        pass


def test_a_server_that_never_answers_well_is_killed(notebook, tmp_path, monkeypatch):
    target, _ = notebook
    monkeypatch.setattr(lab, "SERVER_SECONDS", 0.5)
    (tmp_path / "server.py").write_text(SERVER)
    with (
        pytest.raises(AssertionError, match="no good answer to GET /broken"),
        target.serve(COMMAND, ready="/broken"),
    ):
        pass
    assert not any("server.py" in c.cmdline() for c in psutil.Process().children())


def test_a_server_that_is_not_written_is_not_attempted(notebook):
    target, _ = notebook
    with pytest.raises(NotAttempted, match=r"server\.py is not"), target.serve(COMMAND, "/"):
        pass


def test_without_an_engine_the_environment_is_not_ready(notebook, monkeypatch):
    target, _ = notebook
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(NotReady, match="No container engine answers"):
        target.docker()


# --- what a student sees

NAME = "01_fraud_container"


def careless(scores, labels, floor):
    """An answer to exercise 1 of lab 1 that earns one point of four."""
    return None if floor == 0.75 else 0.5


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Lab 1 begun where there is no engine, and the names of its notebook."""
    names = {}
    monkeypatch.setattr(lab, "get_ipython", lambda: types.SimpleNamespace(user_ns=names))
    monkeypatch.setattr(engine, "addresses", list)
    monkeypatch.setattr("course.lesson._origin", tmp_path)
    monkeypatch.chdir(tmp_path)
    return lab.Lab(NAME), names


def test_a_lab_begins_without_an_engine_and_says_so(started, capsys):
    lab.Lab(NAME)
    assert "No container engine answers. Checks that need one" in capsys.readouterr().out
    assert Path.cwd().name == "lab01"


def test_check_prints_each_verdict_and_its_value_is_the_points(started, capsys):
    labbed, names = started
    names["choose_threshold"] = careless
    points = labbed.check("ex1")
    shown = capsys.readouterr().out
    assert points == 1
    assert "ex1: 1 of 4 points\n" in shown
    assert "  1/1  right:         The answer is None where no threshold" in shown
    assert "  0/1  wrong:         The precision at the chosen" in shown
    assert "only 3 of your 5 alarms are frauds" in " ".join(shown.split())
    assert labbed.check("ex4") == 0
    shown = capsys.readouterr().out
    assert shown.count("environment not ready") == 4
    assert "Ways to get one" in shown
    assert labbed.check("ex3") == 0
    assert capsys.readouterr().out.count("not attempted") == 5


def test_nbgrader_reads_the_points_and_people_see_nothing_twice():
    value = lab.Points(3)
    assert float(repr(value)) == 3.0  # nbgrader: the cell's plain text
    assert value._repr_html_() == ""


def test_hints_come_one_after_the_other(started, capsys):
    labbed, _ = started
    capsys.readouterr()
    shown = []
    for _ in range(3):
        labbed.hint("ex1")
        shown.append(capsys.readouterr().out)
    assert shown[0].startswith("Hint 1 of 2 for ex1\n\nOnly the scores")
    assert shown[1].startswith("Hint 2 of 2 for ex1\n\nWhat happens")
    assert shown[2] == shown[1] + "(This was the last one.)\n"


def test_progress_lasts_and_forgets_nothing(started, capsys, tmp_path):
    labbed, names = started
    names["leaked_key"] = lambda: "changeme"
    labbed.check("ex5")
    names["choose_threshold"] = careless
    labbed.check("ex1")
    lab.Lab(NAME)  # the kernel is restarted
    capsys.readouterr()
    labbed.progress()
    shown = capsys.readouterr().out
    assert "ex1     1 of  4  3 wrong\n" in shown
    assert "ex2     0 of  5  5 not checked\n" in shown
    assert "ex5     0 of  2  1 wrong, 1 not attempted\n" in shown
    assert "total   1 of 20" in shown
    (tmp_path / "labs").mkdir()
    shutil.copytree(ROOT / "labs/checks", tmp_path / "labs/checks")
    shutil.move(tmp_path / "workspace", tmp_path / "labs/workspace")
    assert shown.strip() in lab.progress(tmp_path)


@pytest.mark.parametrize("text", ["", '{"keeps_the_floor": ["ri'])
def test_a_record_that_was_cut_off_only_forgets(started, capsys, tmp_path, text):
    labbed, names = started
    names["choose_threshold"] = careless
    record = tmp_path / f"workspace/{NAME}.json"
    record.write_text(text)
    labbed.progress()
    assert "total   0 of 20" in capsys.readouterr().out
    assert labbed.check("ex1") == 1
    labbed.progress()
    assert "total   1 of 20" in capsys.readouterr().out


def test_a_full_disk_leaves_the_record_as_it_was(started, capsys, tmp_path, monkeypatch):
    labbed, names = started
    names["choose_threshold"] = careless
    labbed.check("ex1")

    def cut_off(path, text):
        with path.open("w") as file:
            file.write(text[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", cut_off)
        with pytest.raises(OSError, match="No space"):
            labbed.check("ex5")
    labbed.progress()
    assert "total   1 of 20" in capsys.readouterr().out


def test_an_unknown_exercise_or_lab_is_named(started):
    labbed, _ = started
    with pytest.raises(
        CourseError, match=r"no exercise ex9\.\nThis lab has ex1, ex2, ex3, ex4, ex5"
    ):
        labbed.check("ex9")
    with pytest.raises(CourseError, match=r"Which exercise\?\nThis lab has ex1, ex2"):
        labbed.check()
    with pytest.raises(CourseError, match="no checks for a lab 77_gone"):
        lab.Lab("77_gone")
    with pytest.raises(CourseError, match=f"no lab 77.\nThere are: {NAME}"):
        lab.run("77")


def test_a_lab_that_is_no_notebook_is_named(graded):
    (graded / "labs/01_ping.ipynb").write_text("{}")
    with pytest.raises(CourseError, match=r"01_ping\.ipynb is not a notebook"):
        lab.run("01", graded)


def test_a_lab_that_got_to_no_check_names_the_cell_that_failed_first(graded):
    said = r"(?s)01_ping.ipynb.\nCell \[3\] failed: NotImpl"
    with pytest.raises(CourseError, match=said):
        lab.run("01", graded)


KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
CELLS = {
    'from course.lab import Lab; lab = Lab("02_recommendation_api")': [],
    '%%bash\necho "the last words of a build" >&2\nexit 3': ["ex1"],
    "1 / 0": ["ex2"],
    'lab.check("ex1")': [],
    "2 / 0": [],
}


@pytest.mark.parametrize("metadata", [{}, {"kernelspec": KERNEL | {"name": "conda-env-mlops-py"}}])
def test_course_check_runs_a_notebook_that_another_kernel_saved(graded, metadata):
    nb = nbformat.v4.new_notebook(cells=[new_code_cell("1 / 0")], metadata=metadata)
    nbformat.write(nb, graded / "labs/01_ping.ipynb")
    with pytest.raises(CourseError, match=r"Cell \[1\] failed: ZeroDivisionError"):
        lab.run("01", graded)


@pytest.mark.slow
def test_course_check_says_when_the_notebook_was_saved_and_which_cells_failed(tmp_path):
    shutil.copytree(ROOT / "labs/checks", tmp_path / "labs/checks")
    path = tmp_path / "labs/02_recommendation_api.ipynb"
    cells = [new_code_cell(text, metadata={"tags": tags}) for text, tags in CELLS.items()]
    nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(nb, path)
    saved = datetime(2026, 3, 1, 14, 5).timestamp()
    os.utime(path, (saved, saved))
    shown, complete = lab.run("02", tmp_path)
    assert not complete
    assert shown.startswith("02_recommendation_api.ipynb as it was saved at 14:05:\n\nex1: 0 of")
    assert "\nA cell of ex1 failed: the last words of a build\n\nex2: not checked" in shown
    assert "\nA cell of ex2 failed: ZeroDivisionError: division by zero\n" in shown
    assert shown.count(" failed: ") == 2


LEFT_RUNNING = """%%bash
setsid bash -c 'end=$((SECONDS + 20)); while [ $SECONDS -lt $end ] && [ -e . ]; do
    mkdir -p left/over && touch left/over/$RANDOM
done' > /dev/null 2>&1 &"""


@pytest.mark.slow
def test_what_a_cell_left_running_does_not_stop_course_check(tmp_path):
    shutil.copytree(ROOT / "labs/checks", tmp_path / "labs/checks")
    first, _, _, check, _ = CELLS
    cells = [new_code_cell(text) for text in (first, LEFT_RUNNING, check)]
    nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL})
    nbformat.write(nb, tmp_path / "labs/02_recommendation_api.ipynb")
    shown, _ = lab.run("02", tmp_path)
    assert "\n\nex1: 0 of" in shown


STRAYING = """\
import mlflow
from course.lab import Lab
lab = Lab("04_churn_mlflow")
mlflow.set_tracking_uri("sqlite:///mine.db")
mine = mlflow.set_experiment("mine")

def choose(uri, data_sha256, floor):
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("churn")

lab.check("ex3")
assert mlflow.get_tracking_uri() == "sqlite:///mine.db"
with mlflow.start_run() as run:
    assert run.info.experiment_id == mine.experiment_id
assert len(mlflow.search_runs(["0", mine.experiment_id])) == 1
"""


@pytest.mark.slow
def test_a_check_leaves_mlflow_where_the_student_had_it():
    cells = [new_code_cell(STRAYING)]
    _, failure = execute(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNEL}))
    assert failure is None
