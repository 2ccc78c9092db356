"""Grading a class: points, reports, resuming, bad input; and releasing a lab."""

import csv
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
import types
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grading_tiny as tiny
import nbformat
import pytest

from authoring.source import BEGIN, Wrong, masters, solution_lines, with_wrong_answer
from course import ROOT, engine
from course.errors import CourseError
from grading import image, labs, live, report, sandbox, submissions
from grading.grade import grade
from grading.inside.notebook import NotGradable, parse
from grading.release import release
from grading.to_nbgrader import import_into_nbgrader

LABS = [master for master in masters() if master.lab]
EACH_LAB = pytest.mark.parametrize("master", LABS, ids=[master.name for master in LABS])


@pytest.fixture
def root(tmp_path) -> Path:
    """A checkout with the tiny lab."""
    return tiny.make_root(tmp_path / "root")


@pytest.fixture
def copies(tmp_path) -> Path:
    """A folder for submissions."""
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


@pytest.fixture
def documents(monkeypatch):
    """No engine: each copy gets the document that its file's content names."""

    def graded(self, submission: bytes) -> dict:
        return {"outcomes": OUTCOMES, "remarks": [REMARK], "checkpoint": None}

    monkeypatch.setattr(engine, "find", lambda: engine.Engine("unix:///none", "a test", "0"))
    monkeypatch.setattr(image, "ensure", lambda found: "course-grade:test")
    monkeypatch.setattr(sandbox.Sandbox, "grade", graded)
    monkeypatch.setattr(sandbox.Sandbox, "remove_all", lambda self: None)


REMARK = "<script>alert(1)</script>"
OUTCOMES = [
    {"name": "ping_answers", "status": "right", "message": ""},
    {"name": "mean_of_three", "status": "wrong", "message": "=1+1 <b>&amp;"},
    {"name": "mean_of_one", "status": "right", "message": ""},
    {"name": "doubles", "status": "not attempted", "message": "app.py is not written."},
    {"name": "base_image", "status": "right", "message": ""},
    {"name": "not_root", "status": "wrong", "message": "\x1b[2J\ud800"},
]


# --- points


WRONG = {
    "no_emphasis": ({"ex1": "def ping(word):\n    return word"}, {"ping_answers"}),
    "fails": ({"ex1": "def ping(word):\n    return word + 1"}, {"ping_answers"}),
    "constant": ({"ex2": "def mean(values):\n    return 3"}, {"mean_of_one"}),
    "endless": (
        {"ex2": "def mean(values):\n    while len(values) > 1: pass\n    return values[0]"},
        {"mean_of_three"},
    ),
    "infinite": (
        {"ex2": "def mean(values):\n    return float('inf')"},
        {"mean_of_three", "mean_of_one"},
    ),
    "numpy": (
        {"ex2": "import numpy\ndef mean(values):\n    return [numpy.float32(1)]"},
        {"mean_of_three", "mean_of_one"},
    ),
    "syntax": ({"ex1": "def ping(word)\n    return"}, {"ping_answers"}),
    "ends_process": ({"ex1": "import os\nos._exit(1)"}, {"ping_answers"}),
    "wrong_status": (
        {"ex3": tiny.APP.replace("return jsonify(y=", "return jsonify(x=")},
        {"doubles"},
    ),
    "broken_server": ({"ex3": tiny.APP.replace("import sys", "import sis")}, {"doubles"}),
    "root": ({"ex4": tiny.DOCKERFILE.replace("1000", "root")}, {"not_root"}),
    "empty_file": ({"ex4": "%%writefile Dockerfile\n"}, {"base_image", "not_root"}),
}


@pytest.mark.engine
@pytest.mark.slow
def test_wrong_answers_lose_exactly_their_points(root, copies, tmp_path):
    tiny.submit(copies, "right", {})
    tiny.submit(copies, "fresh", tiny.STUBS)
    for name, (answers, _) in WRONG.items():
        tiny.submit(copies, name, answers)
    results = tiny.grade_all(root, copies, tmp_path / "out")
    assert (results["right"].points, results["right"].possible) == (8, 8)
    assert results["right"].remarks == []
    assert results["fresh"].points == 0
    assert set(tiny.found(results["fresh"]).values()) == {"not attempted", "not graded"}
    for name, (_, lost) in WRONG.items():
        statuses = tiny.found(results[name])
        assert {check for check, status in statuses.items() if status != "right"} == lost | {
            "container_runs"
        }, name
    words = {v.check.name: v.message for v in results["broken_server"].verdicts}
    assert "No module named 'sis'" in words["doubles"]
    assert "ping raised TypeError" in results["fails"].of("ex1")[0].message
    assert "mean took longer than 2 s" in results["endless"].of("ex2")[0].message
    assert "mean returned inf: JSON has no inf" in results["infinite"].of("ex2")[0].message
    assert "Object of type float32" in results["numpy"].of("ex2")[0].message
    assert "ex1 raised SyntaxError: expected ':'" in results["syntax"].remarks[0]


@pytest.mark.engine
@pytest.mark.slow
def test_what_one_check_changes_the_next_does_not_see(root, copies, tmp_path):
    counting = "calls = []\ndef mean(values):\n    calls.append(1)\n    return len(calls) * 3"
    tiny.submit(copies, "counts", {"ex2": counting})
    leaving = "%%bash\ncd /lab; (sleep 100 & sleep 100 &) > /dev/null 2>&1; touch left\n"
    tiny.submit(copies, "leaves", {}, before=leaving, after="import os\nos.remove('left')")
    results = tiny.grade_all(root, copies, tmp_path / "out")
    assert tiny.found(results["counts"])["mean_of_three"] == "right"
    assert results["counts"].of("ex2")[1].status == "wrong"
    assert (results["leaves"].points, results["leaves"].remarks) == (8, [])


@pytest.mark.engine
@pytest.mark.slow
def test_an_instructors_own_checks_count_and_replace(root, copies, tmp_path):
    tiny.submit(copies, "right", {})
    tiny.submit(copies, "knows", {"ex1": "def ping(word):\n    return 'hello!'"})
    private = tmp_path / "private"
    private.mkdir()
    stricter = tiny.CHECKS.partition('@check("ex2"')[0].replace('"hello"', '"other"')
    stricter = stricter.replace('"hello!"', '"other!"')
    (private / "01_tiny.py").write_text(stricter + tiny.PRIVATE)
    results = tiny.grade_all(root, copies, tmp_path / "out", tests=private)
    assert (results["right"].points, results["right"].possible) == (11, 11)
    assert (results["knows"].points, results["knows"].possible) == (6, 11)
    with pytest.raises(CourseError, match=r"no checks for the lab 01_tiny in .*copies"):
        grade("01", copies, tmp_path / "out", jobs=1, tests=copies, root=root)


@pytest.mark.engine
@pytest.mark.slow
@EACH_LAB
def test_answers_to_each_lab_get_what_they_deserve(tmp_path, copies, master):
    """The solution has all points, the fresh lab none, wrong answers lose theirs."""
    solution = master.notebook()
    lab = labs.find(master.name)
    gradable = {check.name: check.points for check in lab.checks if check.kind != "live"}
    nbformat.write(solution, copies / "solution.ipynb")
    (copies / "fresh.ipynb").write_bytes(lab.notebook.read_bytes())
    nothing = nbformat.read(lab.notebook, as_version=4)
    for cell in nothing.cells:
        cell.source = re.sub(r"raise NotImplementedError.*", "return None", cell.source)
    nbformat.write(nothing, copies / "nothing.ipynb")
    should_fail = {}
    for n, answers in enumerate(_one_of_each_exercise(master.wrong_answers())):
        nb = solution
        for answer in answers:
            nb = with_wrong_answer(nb, answer)
        nbformat.write(nb, copies / f"wrong{n}.ipynb")
        should_fail[f"wrong{n}"] = {name for a in answers for name in a.fails} & set(gradable)
    results = {
        r.submission.student: r for r in grade(master.name, copies, tmp_path / "out", jobs=2)
    }
    most = sum(gradable.values())
    assert (results["solution"].points, results["solution"].possible) == (most, most)
    assert results["solution"].remarks == results["fresh"].remarks == []
    assert results["fresh"].points == results["nothing"].points == 0
    for name, lost in should_fail.items():
        statuses = tiny.found(results[name])
        assert {check for check, status in statuses.items() if status == "wrong"} == lost
        assert results[name].points == most - sum(gradable[check] for check in lost)


def _one_of_each_exercise(wrong: list[Wrong]) -> list[list[Wrong]]:
    """The first wrong answers of all exercises, the second ones, and so on."""
    by_exercise = defaultdict(list)
    for answer in wrong:
        by_exercise[answer.exercise].append(answer)
    rounds = itertools.zip_longest(*by_exercise.values())
    return [[answer for answer in answers if answer] for answers in rounds]


@pytest.mark.engine
def test_a_fault_in_the_checks_is_the_instructors(root, copies, tmp_path):
    tiny.submit(copies, "right", {})
    (root / "labs/checks/01_tiny.py").write_text(
        tiny.CHECKS + "\nfrom pathlib import Path\nPath('/etc/hosts').write_text('x')"
        if os.geteuid()
        else tiny.CHECKS + "\nimport os\nassert os.getpid() != 1, 'not in here'"
    )
    with pytest.raises(CourseError, match=r"cannot be used in the grader: AssertionError: not in"):
        tiny.grade_all(root, copies, tmp_path / "out")


# --- runs


@pytest.mark.engine
@pytest.mark.slow
def test_ctrl_c_loses_nothing_and_leaves_nothing(root, copies, tmp_path):
    tiny.submit(copies, "0_quick", {})
    for n in range(4):
        tiny.submit(copies, f"slow{n}", {}, before=f"import time\ntime.sleep(2) or {n}")
    out = tmp_path / "out"
    # A shell's background job, as CI may be, starts with SIGINT ignored.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path; import grading_tiny as tiny\n"
        f"tiny.grade_all(Path({str(root)!r}), Path({str(copies)!r}), Path({str(out)!r}), jobs=1)"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    while not list(out.glob("results/*.json")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert "Stopped. " in said
    assert "Run the same command again" in said
    ours = f"ancestor={image.ensure(engine.find())}"
    left = subprocess.run(
        ["docker", "ps", "-aq", "--filter", ours, "--filter", "status=running"],
        capture_output=True,
        text=True,
    )
    assert left.stdout == ""
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("results/*.json")}
    assert "0_quick.json" in kept and len(kept) < 5
    results = tiny.grade_all(root, copies, out)
    assert {result.points for result in results.values()} == {8}
    assert (
        kept.items() <= {p.name: p.stat().st_mtime_ns for p in out.glob("results/*.json")}.items()
    )


def test_only_what_is_new_or_changed_is_graded_again(
    root, copies, tmp_path, documents, monkeypatch
):
    asked = []
    once = sandbox.Sandbox.grade
    monkeypatch.setattr(
        sandbox.Sandbox, "grade", lambda self, data: asked.append(data) or once(self, data)
    )
    tiny.submit(copies, "ada", {})
    tiny.submit(copies, "bob", tiny.STUBS)
    tiny.grade_all(root, copies, tmp_path / "out")
    assert len(asked) == 2
    tiny.grade_all(root, copies, tmp_path / "out")
    assert len(asked) == 2
    tiny.submit(copies, "bob", {})
    tiny.submit(copies, "eve", {})
    tiny.grade_all(root, copies, tmp_path / "out")
    assert len(asked) == 4
    checks = root / "labs/checks/01_tiny.py"
    checks.write_text(checks.read_text() + "\n# stricter")
    tiny.grade_all(root, copies, tmp_path / "out")
    assert len(asked) == 7


def test_an_engine_that_stops_is_said_and_one_bad_copy_is_not_one(
    root, copies, tmp_path, documents, monkeypatch
):
    monkeypatch.undo()
    monkeypatch.setattr(
        engine, "find", lambda: engine.Engine(f"unix://{tmp_path}/none.sock", "a test", "0")
    )
    monkeypatch.setattr(image, "ensure", lambda found: "course-grade:test")
    tiny.submit(copies, "ada", {})
    with pytest.raises(CourseError, match=r"engine .*none.sock\) stopped answering"):
        tiny.grade_all(root, copies, tmp_path / "out")


def test_a_copy_without_a_document_is_a_line_and_is_tried_again(
    root, copies, tmp_path, documents, monkeypatch
):
    def none(self, submission):
        raise sandbox.NoDocument("it ran out of memory or was stopped")

    monkeypatch.setattr(sandbox.Sandbox, "grade", none)
    tiny.submit(copies, "ada", {})
    result = tiny.grade_all(root, copies, tmp_path / "out")["ada"]
    assert result.problem == ("The copy could not be graded: it ran out of memory or was stopped.")
    assert (result.points, result.possible) == (0, 6 + 2)
    assert not list((tmp_path / "out/results").iterdir())


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"[" * 100_000,
        b'{"outcomes": [], "remarks": [], "checkpoint": null}',
        b'{"problem": 3}',
        json.dumps(
            {
                "outcomes": [{"name": "a", "status": "perfect", "message": ""}],
                "remarks": [],
                "checkpoint": None,
            }
        ).encode(),
        json.dumps(
            {
                "outcomes": [{"name": "b", "status": "right", "message": ""}],
                "remarks": [],
                "checkpoint": None,
            }
        ).encode(),
        json.dumps(
            {
                "outcomes": [{"name": "a", "status": "right", "message": "", "points": 99}],
                "remarks": [],
                "checkpoint": None,
            }
        ).encode(),
    ],
)
@pytest.mark.engine
def test_the_host_takes_no_other_document(root, forged):
    lab = labs.find("01", root)
    box = sandbox.Sandbox(engine.find(), "course-grade:test", lab, ["a"], tiny.LIMITS, "test")
    with pytest.raises(sandbox.NoDocument):
        box._document(forged, 0, "")


# --- bad input


def handed_in(data: object) -> bytes:
    return data if isinstance(data, bytes) else json.dumps(data).encode()


def with_cells(**changes) -> dict:
    return tiny.notebook(tiny.ANSWERS) | changes


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "The file is empty."),
        (b"print('hello')", "it is not JSON"),
        (b"[" * 1_000_000, "it is not JSON"),
        (b'{"cells": [], "nbformat": 4', "it is not JSON"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "it is not JSON"),
        ({"name": "a package.json"}, "not a notebook, although it is JSON"),
        ([1, 2], "not a notebook, although it is JSON"),
        ({"nbformat": 3, "worksheets": [{"cells": []}]}, "format is 3, not 4"),
        (with_cells(cells="none"), "format is 4, not 4"),
        (with_cells(metadata={"course": {"title": "Another lab"}}), "another lab: 'Another lab'"),
        (with_cells(cells=[tiny.cell("1 + 1")]), "none of the lab's exercises"),
    ],
)
def test_a_file_that_is_no_copy_of_the_lab_is_told_so(data, problem):
    with pytest.raises(NotGradable, match=problem):
        parse(handed_in(data), tiny.TITLE, list(tiny.ANSWERS))


def test_an_odd_copy_is_graded_with_a_remark():
    exercises = list(tiny.ANSWERS)
    turned = tiny.notebook({"ex2": tiny.MEAN, "ex1": tiny.PING, "ex4": tiny.DOCKERFILE})
    copy = parse(handed_in(turned), tiny.TITLE, exercises)
    assert copy.remarks[0] == "The cells of ex3 are missing."
    assert "another order" in copy.remarks[1]
    assert [cell.source for cell in copy.cells if cell.label == "ex2"] == [tiny.MEAN]
    nameless = tiny.notebook(tiny.ANSWERS)
    for cell in nameless["cells"]:
        del cell["id"]
    nameless["metadata"] = {}
    assert parse(handed_in(nameless), tiny.TITLE, exercises).remarks == []
    strange = tiny.notebook(tiny.ANSWERS)
    strange["cells"] += [None, 3, {}, {"cell_type": "code", "source": None, "metadata": []}]
    assert parse(handed_in(strange), tiny.TITLE, exercises).cells[-1].source == "None"


def test_submissions_are_found_in_all_layouts(copies):
    for name in [
        "ada.ipynb",
        "lovelaceada_LATE_123_4567_lab 1.ipynb",
        "hoppergrace_88_99_01_tiny-2.ipynb",
        "renamed.ipynb.txt",
        "Bob Byte_4321_assignsubmission_file/01_tiny.ipynb",
        "eve/notes/old.ipynb",
        "eve/01_tiny.ipynb",
        "eve/.ipynb_checkpoints/01_tiny-checkpoint.ipynb",
        "two/a.ipynb",
        "two/b.ipynb",
        ".DS_Store",
        "__MACOSX/ada.ipynb",
        "Ada/lab.ipynb",
        "=cmd|calc.ipynb",
    ]:
        path = copies / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (copies / "nothing").mkdir()
    (copies / "link.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(copies / "pipe.ipynb")
    with (copies / "big.ipynb").open("wb") as file:
        file.truncate(200_000_000)
    found = {s.source: s for s in submissions.find(copies, "01_tiny")}
    assert {s.source: (s.student, s.lms_id) for s in found.values() if not s.problem} == {
        "ada.ipynb": ("ada (ada.ipynb)", ""),
        "Ada/lab.ipynb": ("Ada (Ada/lab.ipynb)", ""),
        "lovelaceada_LATE_123_4567_lab 1.ipynb": ("lovelaceada", "123"),
        "hoppergrace_88_99_01_tiny-2.ipynb": ("hoppergrace", "88"),
        "renamed.ipynb.txt": ("renamed.ipynb.txt", ""),
        "Bob Byte_4321_assignsubmission_file/01_tiny.ipynb": ("Bob Byte", "4321"),
        "eve/01_tiny.ipynb": ("eve", ""),
        "=cmd|calc.ipynb": ("=cmd|calc", ""),
    }
    assert {s.source: s.problem for s in found.values() if s.problem} == {
        "two": "There are 2 notebooks in the folder; leave the one that counts.",
        "nothing": "There is no notebook in the folder.",
        "link.ipynb": "The file is a link, and links are not followed.",
        "pipe.ipynb": "This is not a plain file.",
        "big.ipynb": "The file has 200 MB; at most 20 MB are graded. "
        "Clear the outputs and save it again.",
    }
    assert len({s.key.casefold() for s in found.values()}) == len(found)
    with pytest.raises(CourseError, match="is not a folder"):
        submissions.find(copies / "ada.ipynb", "01_tiny")
    with pytest.raises(CourseError, match="There is nothing in"):
        submissions.find(copies / "nothing", "01_tiny")


@pytest.mark.engine
@pytest.mark.slow
def test_bad_copies_are_lines_and_the_rest_is_graded(root, copies, tmp_path):
    tiny.submit(copies, "right", {})
    (copies / "words.ipynb").write_text("my answers are correct")
    (copies / "deep.ipynb").write_text("[" * 5_000_000)
    (copies / "old.ipynb").write_text('{"nbformat": 3, "worksheets": []}')
    surrogate = tiny.notebook(tiny.ANSWERS)
    surrogate["cells"].append(tiny.cell("x = '\ud800'"))
    (copies / "surrogate.ipynb").write_text(json.dumps(surrogate))
    (copies / "link.ipynb").symlink_to("right.ipynb")
    results = tiny.grade_all(root, copies, tmp_path / "out")
    assert {name: bool(result.problem) for name, result in results.items()} == {
        "right": False,
        "words": True,
        "deep": True,
        "old": True,
        "surrogate": False,
        "link": True,
    }
    assert results["right"].points == results["surrogate"].points == 8
    with (tmp_path / "out/grades.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    assert rows["right"]["points"] == "8"
    assert rows["words"]["remarks"] == "The file is not a notebook: it is not JSON."


def test_unknown_labs_and_exercises_are_said(root, copies):
    tiny.submit(copies, "ada", {})
    with pytest.raises(CourseError, match="There is no lab 07"):
        grade("07", copies, copies, jobs=1, root=root)
    with pytest.raises(CourseError, match="01_tiny has no exercise ex9"):
        grade("01", copies, copies, jobs=1, root=root, checkpoint="ex9")


# --- reports


def test_reports_hold_what_was_found_and_nothing_that_runs(root, copies, tmp_path, documents):
    tiny.submit(copies, "=HYPERLINK(1)", {})
    tiny.submit(copies, "lovelaceada_123_456_lab", {})
    (copies / "bad\nname <i>.ipynb").symlink_to("nowhere")
    out = tmp_path / "out"
    tiny.grade_all(root, copies, out)
    with (out / "grades.csv").open(newline="") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    ada = rows["lovelaceada"]
    assert [ada[k] for k in ("ex1", "ex2", "ex3", "ex4", "points", "of")] == list("210148")
    assert "'=HYPERLINK(1)" in rows
    page = (out / "feedback/lovelaceada.html").read_text()
    assert "4 of 8 points" in page
    assert "=1+1 &lt;b&gt;&amp;amp;" in page
    assert REMARK not in page and "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "not graded" in page  # the live point
    assert len(list((out / "feedback").iterdir())) == 3
    assert all("<i>" not in p.read_text() for p in (out / "feedback").iterdir())


def test_the_command_line_gets_a_sum_and_each_problem(root, copies, tmp_path, documents):
    tiny.submit(copies, "ada", {})
    (copies / "bob.ipynb").symlink_to("ada.ipynb")
    results = tiny.grade_all(root, copies, tmp_path / "out")
    assert report.summary(list(results.values())) == [
        "1 of 2 copies graded. On average 4.0 of 8 points.",
        "bob.ipynb: The file is a link, and links are not followed.",
    ]


def test_names_that_are_not_utf8_are_graded_and_told_apart(root, copies, tmp_path, documents):
    """A zip made on an old Windows unpacks to such names."""
    tiny.submit(copies, "ada", {})
    for name in (b"M\xfcller.ipynb", b"M\xf6ller.ipynb", b"M\xfcller/01_tiny.ipynb"):
        path = copies / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((copies / "ada.ipynb").read_bytes())
    results = tiny.grade_all(root, copies, tmp_path / "out")
    with (tmp_path / "out/grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student"]: row["file"] for row in csv.DictReader(file)}
    assert rows == {
        "ada": "ada.ipynb",
        r"M\xf6ller": r"M\xf6ller.ipynb",
        r"M\xfcller (M\xfcller.ipynb)": r"M\xfcller.ipynb",
        r"M\xfcller (M\xfcller/01_tiny.ipynb)": r"M\xfcller/01_tiny.ipynb",
    }
    assert {result.points for result in results.values()} == {4}
    assert len(list((tmp_path / "out/feedback").iterdir())) == 4


@pytest.fixture
def live_engines(root, monkeypatch):
    """A lab with points for what runs, and no engine for them either."""
    for folder in ("labs", "solutions"):
        path = root / folder / "01_tiny.ipynb"
        nb = json.loads(path.read_text())
        nb["metadata"]["course"]["live"] = ["ex4"]
        path.write_text(json.dumps(nb))
    monkeypatch.setattr(live, "ensure", lambda *_: live.Live("course-grade-live:test", "disk"))


def test_a_copy_with_a_problem_is_of_as_many_points_as_the_others(
    root, copies, tmp_path, documents, live_engines, monkeypatch
):
    once = sandbox.Sandbox.grade
    running = {"name": "container_runs", "status": "right", "message": ""}
    monkeypatch.setattr(
        sandbox.Sandbox,
        "grade",
        lambda self, data: once(self, data) | {"outcomes": [*OUTCOMES, running]},
    )
    tiny.submit(copies, "bob", {})
    (copies / "ada.ipynb").symlink_to("bob.ipynb")
    out = tmp_path / "out"
    results = tiny.grade_all(root, copies, out, with_live=True)
    assert {who: (r.points, r.possible) for who, r in results.items()} == {
        "ada": (0, 10),
        "bob": (6, 10),
    }
    assert "0 of 10 points" in (out / "feedback/ada.html").read_text()
    with (out / "grades.csv").open(newline="") as file:
        assert {row["of"] for row in csv.DictReader(file)} == {"10"}


def test_nbgrader_gets_the_most_points_that_any_copy_could_have(tmp_path, monkeypatch):
    """Also from the grades of an earlier run, in which a copy with a problem had fewer."""
    grades = defaultdict(types.SimpleNamespace)
    most = {}

    class Gradebook:
        def __init__(self, url):
            self.db = types.SimpleNamespace(commit=lambda: None)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def update_or_create_grade_cell(self, exercise, notebook, lab, max_score, cell_type):
            most[exercise] = max_score

        def find_grade(self, exercise, notebook, lab, student):
            return grades[student, exercise]

        def __getattr__(self, name):
            return lambda *args: None

    def copy(name, problem, points, possible):
        verdict = {"exercise": "ex4", "points": points, "possible": possible}
        return {"student": name, "problem": problem, "verdicts": [verdict]}

    students = [copy("ada", "The file is empty.", 0, 0), copy("bob", "", 3, 4)]
    (tmp_path / "grades.json").write_text(json.dumps({"lab": "01_tiny", "students": students}))
    monkeypatch.setitem(sys.modules, "nbgrader", types.ModuleType("nbgrader"))
    monkeypatch.setitem(sys.modules, "nbgrader.api", types.SimpleNamespace(Gradebook=Gradebook))
    assert import_into_nbgrader(tmp_path / "grades.json", "sqlite://") == 1
    assert most == {"ex4": 4}
    assert {key: grade.auto_score for key, grade in grades.items()} == {("bob", "ex4"): 3}


def test_gradebooks_have_the_columns_that_canvas_and_moodle_read(root, copies, tmp_path, documents):
    tiny.submit(copies, "lovelaceada_123_456_lab", {})
    tiny.submit(copies, "bob", {})
    (copies / "link.ipynb").symlink_to("bob.ipynb")
    tiny.grade_all(root, copies, tmp_path / "out")
    with (tmp_path / "out/canvas.csv").open(newline="") as file:
        canvas = list(csv.reader(file))
    assert canvas == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Tiny lab"],
        ["    Points Possible", "", "", "", "", "8"],
        ["bob", "", "", "bob", "", "4"],
        ["link", "", "", "link", "", ""],
        ["lovelaceada", "123", "", "", "", "4"],
    ]
    with (tmp_path / "out/moodle.csv").open(newline="") as file:
        moodle = list(csv.reader(file))
    assert moodle[0] == ["Username", "Full name", "Tiny lab", "Tiny lab (feedback)"]
    assert moodle[1] == ["bob", "bob", "4", "ex1: 2/2, ex2: 1/2, ex3: 0/2, ex4: 1/2"]
    assert moodle[2][2:] == ["-", "The file is a link, and links are not followed."]


def test_points_before_a_checkpoint_are_forfeited(root, copies, tmp_path, documents, monkeypatch):
    tiny.submit(copies, "ada", {})
    result = tiny.grade_all(root, copies, tmp_path / "out", checkpoint="ex3")["ada"]
    assert (result.points, result.possible) == (1, 8)
    assert {v.status for v in result.of("ex1") + result.of("ex2")} == {"forfeited"}
    once = sandbox.Sandbox.grade
    monkeypatch.setattr(
        sandbox.Sandbox, "grade", lambda self, data: once(self, data) | {"checkpoint": "ex2"}
    )
    result = tiny.grade_all(root, copies, tmp_path / "new")["ada"]
    assert (result.points, result.possible) == (2, 8)


# --- release


@EACH_LAB
@pytest.mark.parametrize("checkpoint", [None, "ex3"])
def test_a_bundle_has_no_solution(tmp_path, master, checkpoint):
    stem = master.name
    bundle = zipfile.ZipFile(release(stem, tmp_path, checkpoint=checkpoint))
    assert bundle.namelist() == [f"labs/{stem}.ipynb", f"labs/checks/{stem}.py"]
    secret = master.notebook()
    if checkpoint:
        secret.cells = [c for c in secret.cells if not c.id.startswith(("ex1", "ex2"))]
    secret = solution_lines(secret)
    nb = nbformat.reads(bundle.read(f"labs/{stem}.ipynb").decode(), as_version=4)
    nbformat.validate(nb)
    lines = {line.strip() for cell in nb.cells for line in cell.source.splitlines()}
    lines |= {line.strip() for line in bundle.read(f"labs/checks/{stem}.py").decode().splitlines()}
    assert secret
    assert not lines & secret
    assert BEGIN not in lines
    assert nb.metadata.course.get("checkpoint") == checkpoint


def test_a_bundle_has_only_its_lab_and_is_the_same_each_time(root, tmp_path):
    (root / "labs/checks/private").mkdir()
    (root / "labs/checks/private/01_tiny.py").write_text(tiny.PRIVATE)
    (root / "labs/workspace").mkdir()
    (root / "labs/workspace/secret").write_text("x")
    path = release("01", tmp_path / "a", root=root)
    assert path.name == "01_tiny.zip"
    assert zipfile.ZipFile(path).namelist() == ["labs/01_tiny.ipynb", "labs/checks/01_tiny.py"]
    assert path.read_bytes() == release("01", tmp_path / "b", root=root).read_bytes()


def test_a_checkpoint_gives_the_answers_before_it(root, tmp_path):
    path = release("01", tmp_path, checkpoint="ex3", root=root)
    assert path.name == "01_tiny-from-ex3.zip"
    nb = json.loads(zipfile.ZipFile(path).read("labs/01_tiny.ipynb"))
    sources = {cell["id"]: cell["source"] for cell in nb["cells"]}
    assert (sources["ex1"], sources["ex2"]) == (tiny.PING, tiny.MEAN)
    assert (sources["ex3"], sources["ex4"]) == (tiny.STUBS["ex3"], tiny.STUBS["ex4"])


# --- the image and the live engines' disks


def test_two_live_runs_prepare_one_after_the_other(monkeypatch):
    ready, at_work, seen = [], [], []

    def docker(engine, *words, **streams):
        asks = "--entrypoint=test" in words
        return "" if not asks or any(f"--volume={v}:/engine" in words for v in ready) else "no"

    def prepare(engine, ref, volume, sources):
        at_work.append(volume)
        time.sleep(0.2)
        seen.append(at_work.copy())
        at_work.remove(volume)
        ready.append(volume)

    images = types.SimpleNamespace(get=lambda name: types.SimpleNamespace(id=name))
    volumes = types.SimpleNamespace(list=list)
    client = types.SimpleNamespace(images=images, volumes=volumes)
    found = types.SimpleNamespace(client=lambda: client)
    monkeypatch.setattr(live, "_docker", docker)
    monkeypatch.setattr(live, "_prepare", prepare)
    monkeypatch.setattr(live.image, "built", lambda *_: "course-grade-live:test")
    monkeypatch.setattr(live, "missing", lambda *_: [])
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(live.ensure, found, labs.find(n), "") for n in ("01", "01", "05")]
        disks = [run.result().disk for run in runs]
    assert disks[0] == disks[1] != disks[2]
    assert sorted(map(len, seen)) == [1, 1]


LOCK = """\
# head
flask==3.1.3 \\
    --hash=sha256:aa
    # via
    #   mlflow
    #   project (pyproject.toml)
click==8.5.1 \\
    --hash=sha256:bb
    # via
    #   flask
    #   typer
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:cc
    # via click
typer==1 \\
    --hash=sha256:dd
    # via project (pyproject.toml)
"""


def test_the_image_gets_what_it_needs_of_the_lock():
    part = image.lock_part(LOCK, ["flask"])
    assert [line.split()[0] for line in part.splitlines() if line[0] != " "] == [
        "flask==3.1.3",
        "click==8.5.1",
        "colorama==0.4.6",
    ]
    assert "sha256:bb" in part and "sha256:dd" not in part
