"""Every answer to every lab gets what it deserves."""

import itertools
import shutil
from functools import cache

import nbformat
import pytest

from authoring.source import masters, with_wrong_answer, without_solutions
from course import ROOT, lab
from course.checks import load
from course.execute import execute


def case(master, *more, soak=False):
    """A parameter of a test for one lab; marked if the lab needs an engine, and if it is long."""
    needs = master.notebook().metadata["course"]["needs"]
    titles = ["; ".join(answer.title for answer in rest) for rest in more]
    marks = [pytest.mark.slow, *([pytest.mark.engine] if "engine" in needs else [])]
    marks += [pytest.mark.soak] if soak else []
    return pytest.param(master, *more, marks=marks, id=": ".join([master.name, *titles]))


def rounds(master):
    """Wrong answers that one run can hold: of different stubs, failing different checks."""
    made = []
    for wrong in master.wrong_answers():
        for others in made:
            if all(_stub(o) != _stub(wrong) and not o.fails & wrong.fails for o in others):
                others.append(wrong)
                break
        else:
            made.append([wrong])
    return made


def wrong_cases():
    """All rounds of all labs.

    What needs no engine to be refused is tried in the grader, by its own tests. In the
    notebook one round of it is enough for each change; `make soak` has the others.
    """
    made = []
    for master in LABS:
        for number, wrong in enumerate(rounds(master)):
            live = any(_live(master, answer) for answer in wrong)
            made.append(case(master, wrong, soak=number > 0 and not live))
    return made


def _live(master, wrong):
    """Whether a running container is what shows that an answer is wrong."""
    return bool(wrong.fails & _live_checks(master.name))


@cache
def _live_checks(name):
    checks = load(ROOT / f"labs/checks/{name}.py")
    return {check.name for check in checks if check.kind == "live"}


def _stub(wrong):
    return wrong.exercise, wrong.stub


LABS = [master for master in masters() if master.lab]
EACH_LAB = pytest.mark.parametrize("master", [case(master) for master in LABS])


@pytest.fixture
def hand_in(tmp_path, master):
    """A function that runs a notebook as the student's: verdicts by name, and text."""
    shutil.copytree(ROOT / "labs/checks", tmp_path / "labs/checks")
    checks = load(tmp_path / f"labs/checks/{master.name}.py")

    def run(nb):
        nbformat.write(nb, tmp_path / f"labs/{master.name}.ipynb")
        text, complete = lab.run(master.name[:2], tmp_path)
        record = tmp_path / f"labs/workspace/{master.name}.json"
        found = lab._recorded(record, checks)
        assert complete == (len(checks) == sum(o.status == "right" for o in found.values()))
        return {check.name: found[check.name].status for check in checks}, text

    return run


def printed(cell):
    """What a cell has printed, which may have come in pieces."""
    return "".join(output.get("text", "") for output in cell.outputs)


def twice(nb):
    """A copy of ``nb`` in which everything that is checked is checked again."""
    nb = nbformat.from_dict(nb)
    for cell in [cell for cell in nb.cells if cell.source.startswith("lab.check(")]:
        nb.cells.insert(nb.cells.index(cell), nbformat.v4.new_code_cell(cell.source))
    return nb


@pytest.mark.engine
@EACH_LAB
def test_the_solution_is_right_the_second_time_too_and_leaves_nothing(client, master):
    done, failure = execute(twice(master.notebook()))
    assert failure is None
    verdicts = [printed(cell) for cell in done.cells if cell.source.startswith("lab.check(")]
    assert len(verdicts) == 2 * len(master.exercises())
    assert verdicts[0::2] == verdicts[1::2]
    assert all(text.count("right:") == text.count("\n") - 1 for text in verdicts)
    label = {"label": f"mlops.course=lab{master.name[:2]}"}
    assert client.containers.list(all=True, filters=label) == []
    assert client.images.list(filters=label) == []
    assert client.networks.list(filters=label) == []
    assert client.volumes.list(filters=label) == []


@EACH_LAB
def test_a_fresh_lab_has_no_points_and_nothing_is_called_wrong(hand_in, master):
    verdicts, text = hand_in(without_solutions(master.notebook()))
    assert set(verdicts.values()) == {"not attempted"}
    assert "total   0 of" in text


@EACH_LAB
def test_what_stands_before_the_first_exercise_runs(master):
    nb = without_solutions(master.notebook())
    first = next(n for n, cell in enumerate(nb.cells) if cell.id == "ex1")
    clean_up = nbformat.v4.new_code_cell(f"lesson.finish('lab{master.name[:2]}')")
    nb.cells = [*nb.cells[:first], clean_up]
    _, failure = execute(nb)
    assert failure is None


@pytest.mark.parametrize(("master", "wrong"), wrong_cases())
def test_wrong_answers_lose_what_they_should_and_no_more(hand_in, master, wrong):
    nb = master.notebook()
    for answer in sorted(wrong, key=_stub, reverse=True):  # the later stub first: they are counted
        nb = with_wrong_answer(nb, answer)
    verdicts, _ = hand_in(nb)
    lost = {name for name, status in verdicts.items() if status == "wrong"}
    assert lost == set(itertools.chain.from_iterable(answer.fails for answer in wrong))
    assert set(verdicts.values()) <= {"right", "wrong"}
