"""Building notebooks from their masters."""

import nbformat
import pytest

from authoring import gates
from authoring.build import _only_what_lasts, build
from authoring.source import masters, without_solutions
from course.errors import CourseError


def build_all(root):
    return [path for master in masters(root) for path in build(master, root)]


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_first_build_writes_lesson_lab_and_solution(checkout):
    written = {str(path.relative_to(checkout)) for path in build_all(checkout)}
    assert written == {"notebooks/01_tiny.ipynb", "labs/01_tiny.ipynb", "solutions/01_tiny.ipynb"}
    assert gates.check(checkout) == []


def test_second_build_changes_nothing(built):
    before = {path: path.read_bytes() for path in built.rglob("*.ipynb")}
    assert build_all(built) == []
    assert {path: path.read_bytes() for path in built.rglob("*.ipynb")} == before


def test_outputs_that_differ_only_where_the_rules_allow_leave_the_file(built):
    replace(built / "source/notebooks/01_tiny.md", "Words", "Words")  # same source
    stored = built / "notebooks/01_tiny.ipynb"
    replace(stored, r"ran in 1.25 s at 10:11:12\n", r"ran in 99 s at 23:59:59\n")
    assert build_all(built) == []
    replace(stored, r"ran in 99 s at 23:59:59\n", r"walked in 99 s at 23:59:59\n")
    assert build_all(built) == [stored]


def test_stored_outputs_are_what_came_out(built):
    cells = nbformat.read(built / "notebooks/01_tiny.ipynb", as_version=4).cells
    assert cells[1].outputs[0].text == "ran in 1.25 s at 10:11:12\n"
    assert cells[4].outputs[0].data["text/plain"] == "4"
    assert [c.execution_count for c in cells if c.cell_type == "code"] == [1, 2, 3, 4]
    assert all(set(cell.metadata) <= {"tags"} for cell in cells)


def test_output_that_came_in_pieces_is_stored_as_one(built):
    nb = nbformat.read(built / "notebooks/01_tiny.ipynb", as_version=4)
    whole = nb.cells[1].outputs[0]
    nb.cells[1].outputs = [{**whole, "text": text} for text in ("ran in 1.25 s", whole.text[13:])]
    assert _only_what_lasts(nbformat.from_dict(nb)).cells[1].outputs == [whole]


def test_lab_has_stubs_in_the_language_of_the_cell(built):
    lab = nbformat.read(built / "labs/01_tiny.ipynb", as_version=4)
    assert 'raise NotImplementedError("your code here")' in lab.cells[1].source
    assert "# TODO" in lab.cells[2].source
    text = (built / "labs/01_tiny.ipynb").read_text()
    assert "pong" not in text
    assert "USER 1000" not in text
    assert "SOLUTION" not in text
    assert [cell.id for cell in lab.cells[1:3]] == ["ex1", "ex2"]


def test_solution_keeps_its_solution_and_outputs(built):
    solution = nbformat.read(built / "solutions/01_tiny.ipynb", as_version=4)
    assert solution.cells[3].outputs[0].data["text/plain"] == "'pong'"
    assert without_solutions(solution).cells[3].outputs == []


def test_cell_ids_follow_the_content_and_differ_for_twins(checkout):
    (master, _) = masters(checkout)
    replace(master.path, "2 + 2\n", "2 + 2\n```\n\n```{code-cell} ipython3\n2 + 2\n")
    ids = [cell.id for cell in master.notebook().cells]
    assert len(set(ids)) == len(ids)
    assert ids == [cell.id for cell in master.notebook().cells]


BROKEN = {
    "a cell that fails": ("2 + 2", "2 +\n1 / 0", r"01_tiny.md:\d+: code cell 4 failed:\nSyn"),
    "no head": ("course:\n", "other:\n", r"01_tiny.md:1: the head has no `course:`"),
    "a solution in a lesson": ("2 + 2", "### BEGIN SOLUTION", r"01_tiny.md:\d+: a lesson has no"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_lesson_is_named_and_the_old_notebook_stays(built, fault):
    old, new, message = BROKEN[fault]
    stored = built / "notebooks/01_tiny.ipynb"
    before = stored.read_bytes()
    (lesson, _) = masters(built)
    replace(lesson.path, old, new)
    with pytest.raises(CourseError, match=message):
        build(lesson, built)
    assert stored.read_bytes() == before


BROKEN_LABS = {
    "not closed": ("    ### END SOLUTION\n", "", r"01_tiny.md:17: this solution is not closed"),
    "closed twice": ("USER 1000\n", "### END SOLUTION\n", r"01_tiny.md:\d+: this marker closes no"),
    "nested": ("USER 1000\n", "### BEGIN SOLUTION\n", r"01_tiny.md:\d+: a solution opens inside"),
}


@pytest.mark.parametrize("fault", BROKEN_LABS)
def test_broken_solution_marker_is_named_by_file_and_line(built, fault):
    old, new, message = BROKEN_LABS[fault]
    before = {path: path.read_bytes() for path in built.rglob("*.ipynb")}
    (_, lab) = masters(built)
    replace(lab.path, old, new)
    with pytest.raises(CourseError, match=message):
        build(lab, built)
    assert {path: path.read_bytes() for path in built.rglob("*.ipynb")} == before


def test_failing_cell_is_named_by_its_line(checkout):
    (lesson, _) = masters(checkout)
    replace(lesson.path, "2 + 2", "undefined_name")
    lines = lesson.path.read_text().splitlines()
    opening = lines.index("undefined_name")  # the line before, counted from 1
    with pytest.raises(CourseError, match=f"01_tiny.md:{opening}: code cell 4 failed"):
        build(lesson, checkout)


# Each gate with a planted fault: what to change in the built checkout, and what
# the gate then says.
PLANTED = {
    "in_sync": ("notebooks/01_tiny.ipynb", "Words about", "Words on", "differs from its source"),
    "in_sync, lab": ("labs/01_tiny.ipynb", "# Lab", "# My lab", "differs from its source"),
    "executed_in_order": (
        "notebooks/01_tiny.ipynb",
        '"execution_count": 4',
        '"execution_count": 5',
        "not executed in order",
    ),
    "no_unexpected_error": (
        "notebooks/01_tiny.ipynb",
        '"raises-exception"',
        '"other-tag"',
        "code cell 3 shows an error",
    ),
    "no_home_path": (
        "notebooks/01_tiny.ipynb",
        "ran in 1.25 s",
        "ran in /home/" + "jane",
        "path of somebody's home",
    ),
    "small_enough": ("notebooks/01_tiny.ipynb", "ran in", "ran in" * 200_000, "kB, more than"),
    "links_resolve": (
        "notebooks/01_tiny.ipynb",
        "(01_tiny.ipynb)",
        "(99_gone.ipynb)",
        "link to 99_gone.ipynb leads nowhere",
    ),
    "spelling": ("source/notebooks/01_tiny.md", "Words", "teh", "teh ==> the"),
    "spelling, American": ("source/notebooks/01_tiny.md", "Words", "colour", "colour ==> color"),
    "lint": ("notebooks/01_tiny.ipynb", "import time", "import time, os", "F401"),
}


@pytest.mark.parametrize("gate", PLANTED)
def test_gate_catches_its_planted_fault(built, gate):
    name, old, new, message = PLANTED[gate]
    check = getattr(gates, gate.split(",")[0])
    assert list(check(built)) == []
    replace(built / name, old, new)
    assert any(message in line for line in check(built)), list(check(built))


def test_every_gate_has_a_planted_fault():
    assert {gate.__name__ for gate in gates.GATES} == {name.split(",")[0] for name in PLANTED}


def test_notebook_without_a_source_is_found(built):
    stray = built / "labs/02_stray.ipynb"
    stray.write_bytes((built / "labs/01_tiny.ipynb").read_bytes())
    assert any("labs/02_stray.ipynb: has no source" in line for line in gates.in_sync(built))
