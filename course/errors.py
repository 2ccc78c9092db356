"""The one exception for faults that a user can put right."""


class CourseError(Exception):
    """A foreseen fault: what is wrong and where, and what to do about it.

    The command line prints it and exits with status 2; a notebook shows it
    without a traceback.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(f"{problem}\n{fix}" if fix else problem)
        self.problem = problem
        self.fix = fix

    def _render_traceback_(self) -> list[str]:
        # IPython calls this in place of formatting a traceback.
        return str(self).splitlines()
