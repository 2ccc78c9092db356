"""What grading found for a copy, and the points that follow from it."""

from dataclasses import dataclass
from typing import Any, Literal

from course import checks
from course.checks import Check
from grading.submissions import Submission

Status = checks.Status | Literal["not graded", "forfeited"]
MESSAGE_LENGTH = 1000


@dataclass(frozen=True)
class Verdict:
    """What was found for one check.

    Attributes:
        check: the check.
        status: ``not graded`` leaves its points out of the maximum; ``forfeited``
            leaves them in.
        message: words for the student.
    """

    check: Check
    status: Status
    message: str

    @property
    def points(self) -> int:
        """The points earned."""
        return self.check.points if self.status == "right" else 0

    @property
    def possible(self) -> int:
        """The points that could have been earned in this run."""
        return 0 if self.status == "not graded" else self.check.points


@dataclass(frozen=True)
class Result:
    """One graded copy.

    Attributes:
        submission: the copy.
        verdicts: one for each check.
        remarks: what else the student should know.
        problem: why it could not be graded, or empty.
    """

    submission: Submission
    verdicts: list[Verdict]
    remarks: list[str]
    problem: str = ""

    @property
    def points(self) -> int:
        """All points earned."""
        return sum(verdict.points for verdict in self.verdicts)

    @property
    def possible(self) -> int:
        """All points that could have been earned."""
        return sum(verdict.possible for verdict in self.verdicts)

    def of(self, exercise: str) -> list[Verdict]:
        """The verdicts on one exercise."""
        return [v for v in self.verdicts if v.check.exercise == exercise]


def result(
    submission: Submission,
    document: dict[str, Any],
    all_checks: list[Check],
    asked: list[str],
    checkpoint: str | None,
) -> Result:
    """The result that a copy's document and the lab's own checks give.

    Args:
        submission: the copy.
        document: what the sandbox found, or only a ``problem``.
        all_checks: the lab's checks, asked or not: points come from these alone.
        asked: the names of those that this run asks, even where a copy's problem kept
            it from asking: their points count in each copy's maximum.
        checkpoint: the exercise before which points are forfeited; else what the
            copy says of itself counts.
    """
    found = {outcome["name"]: outcome for outcome in document.get("outcomes", [])}
    problem = clean(document.get("problem", ""))
    start = checkpoint or document.get("checkpoint")
    exercises = list(dict.fromkeys(check.exercise for check in all_checks))
    given = exercises[: exercises.index(start)] if start in exercises else []
    verdicts = []
    for check in all_checks:
        if check.exercise in given:
            why = f"The answer came with the lab, which was handed out from {start} on."
            verdicts.append(Verdict(check, "forfeited", why))
        elif check.name in found:
            outcome = found[check.name]
            verdicts.append(Verdict(check, outcome["status"], clean(outcome["message"])))
        elif check.name in asked:
            verdicts.append(Verdict(check, "not attempted", ""))
        else:
            why = "This point looks at running containers, which this run did not start."
            verdicts.append(Verdict(check, "not graded", why))
    return Result(submission, verdicts, [clean(r) for r in document.get("remarks", [])], problem)


def clean(text: str) -> str:
    """Text that may be written to any file: no control characters, no lone surrogates.

    >>> clean("a" + chr(27) + "[2J" + chr(0xD800) + "b")
    'a?[2J?b'
    """
    printable = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    return printable.encode(errors="replace").decode()[:MESSAGE_LENGTH]
