"""Puts grades into the gradebook of nbgrader, in an environment that has nbgrader.

nbgrader is none of the course's dependencies, so this file uses nothing of the
course and runs by itself, with that environment activated (nbgrader calls alembic)::

    python grading/to_nbgrader.py OUT/grades.json sqlite:///gradebook.db
"""

import json
import sys
from pathlib import Path


def import_into_nbgrader(grades: Path, db_url: str) -> int:
    """Write the points of each exercise as nbgrader's automatic score.

    The assignment and its notebook have the lab's name, and each exercise is a grade
    cell. Running it again updates the scores. Copies with a problem are left out.

    Args:
        grades: the ``grades.json`` that `course grade` wrote.
        db_url: the gradebook, such as ``sqlite:///gradebook.db``.

    Returns:
        How many students were written.
    """
    from nbgrader.api import Gradebook

    report = json.loads(grades.read_text())
    lab = report["lab"]
    graded = [student for student in report["students"] if not student["problem"]]
    with Gradebook(db_url) as gradebook:
        gradebook.update_or_create_assignment(lab)
        gradebook.update_or_create_notebook(lab, lab)
        for exercise, possible in _possible(report["students"]).items():
            gradebook.update_or_create_grade_cell(
                exercise, lab, lab, max_score=possible, cell_type="code"
            )
        for student in graded:
            gradebook.update_or_create_student(student["student"])
            gradebook.update_or_create_submission(lab, student["student"])
            for exercise, (points, _) in _by_exercise(student).items():
                grade = gradebook.find_grade(exercise, lab, lab, student["student"])
                grade.auto_score = points
        gradebook.db.commit()
    return len(graded)


def _possible(students: list[dict]) -> dict[str, int]:
    """The possible points of each exercise: a copy with a problem may not have them all."""
    most: dict[str, int] = {}
    for student in students:
        for exercise, (_, possible) in _by_exercise(student).items():
            most[exercise] = max(possible, most.get(exercise, 0))
    return most


def _by_exercise(student: dict) -> dict[str, tuple[int, int]]:
    """The points and possible points of each exercise."""
    sums: dict[str, tuple[int, int]] = {}
    for verdict in student["verdicts"]:
        points, possible = sums.get(verdict["exercise"], (0, 0))
        sums[verdict["exercise"]] = (points + verdict["points"], possible + verdict["possible"])
    return sums


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(f"usage: {sys.argv[0]} OUT/grades.json DB_URL")
    print(f"{import_into_nbgrader(Path(sys.argv[1]), sys.argv[2])} students written.")
