"""Hints and checks of the lab 05_news_feed.

Made by `course build` from source/labs/05_news_feed.md: edit that instead.
"""

import hashlib
import io
import math
import re
import tarfile
from typing import Any

import yaml
from docker.errors import ImageNotFound
from docker.models.containers import Container

from course.checks import NotAttempted, NotReady, Target, check

PROMETHEUS = "prom/prometheus:v3.5.0"

SHOWN = [{"id": f"i{n}", "time": float(n)} for n in range(10)]


def counted(target: Target, clicks: list[dict], now: float = 20.0, wait: float = 6.0) -> list:
    """What the student's click_rate returns for ten impressions, one in each hour."""
    got = target.call("click_rate", SHOWN, clicks, now, wait)
    assert isinstance(got, list) and len(got) == 2, f"It returned {got!r}: not a list of two."
    return got


@check("ex1", points=1, kind="call")
def clicks_are_counted(target: Target) -> None:
    """Impressions and their clicks are counted."""
    clicks = [{"id": "i1", "time": 2.0}, {"id": "i4", "time": 9.5}]
    got = counted(target, clicks)
    assert got == [10, 2], (
        "At hour 20 with a wait of 6, two of ten impressions were clicked, after 1.0 and 5.5 "
        f"hours: expected [10, 2], not {got}."
    )


@check("ex1", points=1, kind="call")
def young_impressions_do_not_count(target: Target) -> None:
    """An impression that is too young counts neither way."""
    clicks = [{"id": "i1", "time": 2.0}, {"id": "i8", "time": 8.5}]
    got = counted(target, clicks, now=12.0)
    assert got == [7, 1], (
        "At hour 12 with a wait of 6, the impressions of hours 0 to 6 are old enough; one of them "
        f"was clicked, and so was the one of hour 8. Expected [7, 1], not {got}."
    )


@check("ex1", points=1, kind="call")
def late_clicks_do_not_count(target: Target) -> None:
    """A click that comes after the wait does not count, one just in time does."""
    clicks = [{"id": "i0", "time": 6.0}, {"id": "i1", "time": 7.1}]
    got = counted(target, clicks)
    assert got == [10, 1], (
        f"Clicks after 6.0 and 6.1 hours, a wait of 6: expected [10, 1], not {got}."
    )
    got = counted(target, clicks[:1], wait=2.0)
    assert got == [10, 0], f"A click after 6.0 hours, a wait of 2: expected [10, 0], not {got}."


@check("ex1", points=1, kind="call")
def stray_clicks_do_not_count(target: Target) -> None:
    """A click that comes twice counts once, one without an impression never."""
    twice = [{"id": "i2", "time": 3.0}, {"id": "i2", "time": 3.5}, {"id": "lost", "time": 4.0}]
    got = counted(target, twice)
    assert got == [10, 1], (
        f"One click sent twice, one of an unknown id: expected [10, 1], not {got}."
    )
    for times in ((4.0, 15.0), (15.0, 4.0)):
        got = counted(target, [*twice, *({"id": "i3", "time": time} for time in times)])
        assert got == [10, 2], (
            f"One more impression, of hour 3, with clicks at {times}: expected [10, 2], not {got}; "
            "one click in time is enough, in whatever order they come."
        )


def index(target: Target, expected: list[int], actual: list[int], floor: float) -> float:
    """What the student's psi returns, if it is a finite number."""
    try:
        got = target.call("psi", expected, actual, floor)
    except AssertionError as problem:
        raise AssertionError(f"psi({expected}, {actual}, {floor}): {problem}") from None
    finite = isinstance(got, int | float) and math.isfinite(got)
    assert finite, f"psi({expected}, {actual}, {floor}) returned {got!r}, not a finite number."
    return got


def right_index(expected: list[int], actual: list[int], floor: float) -> float:
    """The index by its formula."""
    e = [max(count / sum(expected), floor) for count in expected]
    a = [max(count / sum(actual), floor) for count in actual]
    return sum((y - x) * math.log(y / x) for x, y in zip(e, a, strict=True))


@check("ex2", points=1, kind="call")
def the_index_is_that_of_the_formula(target: Target) -> None:
    """The index is that of the formula, with the natural logarithm."""
    given = ([300, 250, 450], [200, 300, 500], 1e-4)
    got = index(target, *given)
    right = right_index(*given)
    assert abs(got - right) < 1e-9, f"psi{given} should be {right:.6f}, not {got:.6f}."


@check("ex2", points=1, kind="call")
def only_shares_matter(target: Target) -> None:
    """Ten times the rows with the same shares give an index of 0."""
    got = index(target, [30, 25, 45], [300, 250, 450], 1e-4)
    assert abs(got) < 1e-9, f"The same shares with other totals gave {got}, expected 0."


@check("ex2", points=1, kind="call")
def empty_bins_are_finite(target: Target) -> None:
    """A share below the floor, that of an empty bin included, is taken as the floor."""
    for given in (
        ([50, 50, 0], [40, 40, 20], 1e-3),
        ([50, 50, 0], [100, 0, 0], 1e-3),
        ([1, 9999], [50, 50], 1e-3),
    ):
        got = index(target, *given)
        right = right_index(*given)
        assert abs(got - right) < 1e-9, f"psi{given} should be {right:.6f}, not {got:.6f}."


QUIET = {
    "missing": 0.0,
    "psi_category": 0.004,
    "psi_score": 0.006,
    "clicks": 420,
    "expected_clicks": 410.0,
    "sd": 19.0,
}
EVERYTHING = {"missing": 0.4, "psi_category": 0.5, "psi_score": 0.6, "clicks": 100}


def diagnosed(target: Target, expected: list[str], **changed: Any) -> None:
    """Make sure of the diagnosis of a quiet day with some changes."""
    got = target.call("diagnose", QUIET | changed)
    assert got == expected, f"diagnose({QUIET | changed}) should be {expected}, not {got!r}."


@check("ex3", points=1, kind="call")
def quiet_days_are_quiet(target: Target) -> None:
    """A quiet day has nothing wrong, not even at the limits."""
    diagnosed(target, [])
    diagnosed(target, [], missing=0.02, psi_category=0.1, psi_score=0.1)
    diagnosed(target, [], clicks=410 + 66)


@check("ex3", points=1, kind="call")
def each_drift_has_its_name(target: Target) -> None:
    """Data drift and prediction drift are told apart, in the order of the table."""
    diagnosed(target, ["data drift"], psi_category=0.11)
    diagnosed(target, ["prediction drift"], psi_score=0.11)
    both = ["data drift", "prediction drift"]
    diagnosed(target, both, psi_category=0.2, psi_score=0.2)
    diagnosed(target, [*both, "concept drift"], psi_category=0.2, psi_score=0.2, clicks=100)


@check("ex3", points=1, kind="call")
def clicks_tell_of_concept_drift(target: Target) -> None:
    """Too many clicks or too few mean concept drift; missing truth means nothing yet."""
    diagnosed(target, ["concept drift"], clicks=410 - 68)
    diagnosed(target, ["concept drift"], clicks=0)
    diagnosed(target, ["concept drift"], clicks=410 + 68)
    diagnosed(target, [], clicks=None)
    diagnosed(target, ["data drift"], psi_category=0.2, clicks=None)
    diagnosed(target, ["concept drift"], clicks=140, expected_clicks=100.0, sd=9.0)
    diagnosed(target, [], clicks=990, expected_clicks=900.0, sd=30.0)


@check("ex3", points=1, kind="call")
def broken_data_come_first(target: Target) -> None:
    """Where data are broken, that is the only diagnosis."""
    diagnosed(target, ["data quality"], **EVERYTHING)
    diagnosed(target, ["data quality"], **EVERYTHING | {"clicks": None})
    diagnosed(target, ["data quality"], missing=0.021)


def rules(target: Target) -> dict[str, dict]:
    """The alert rules of alerts.yml by their names."""
    try:
        groups = yaml.safe_load(target.read("alerts.yml"))["groups"]
        written = [rule for group in groups for rule in group["rules"] or []]
        found = {rule["alert"]: rule for rule in written if "alert" in rule}
    except yaml.YAMLError as error:
        raise AssertionError(
            f"alerts.yml is no YAML: {error}. (Line 1 of the file is line 2 of the cell. "
            "A text with a colon needs quotes.)"
        ) from None
    except (KeyError, TypeError) as error:
        raise AssertionError(
            f"alerts.yml has not the form of a rule file: {error}. "
            "Keep its first three lines as given; each rule begins with `- alert:`."
        ) from None
    if not found:
        raise NotAttempted("alerts.yml has no rules yet.")
    return found


def rule_of(target: Target, name: str) -> dict:
    """The alert rule of a name."""
    found = rules(target)
    assert name in found, f"There is no rule {name}. There are: {', '.join(found)}."
    return found[name]


def firing(target: Target, story: str, history: str, expected: dict[str, list[str]]) -> None:
    """Play a history in Prometheus; which alerts fire at which times.

    Args:
        target: the student's work.
        story: the history in words.
        history: the values of feed_psi, one every minute, in promtool's notation.
        expected: for each time, the names of the alerts that fire.
    """
    for name in {name for names in expected.values() for name in names}:
        rule_of(target, name)
    asked = [
        {
            "eval_time": time,
            "alertname": name,
            "exp_alerts": [{"exp_labels": {}}] if name in names else [],
        }
        for time, names in expected.items()
        for name in ("FeedDrift", "FeedSilent")
    ]
    written = yaml.safe_load(target.read("alerts.yml"))
    if any(expected.values()):  # promtool would compare texts, with their values filled in
        for rule in (rule for group in written["groups"] for rule in group["rules"] or []):
            rule.pop("annotations", None)
            rule.pop("labels", None)
    series = [{"series": "feed_psi", "values": history}] if history else []
    test = {
        "rule_files": ["alerts.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": asked}],
    }
    status, said = promtool(target, yaml.safe_dump(written), yaml.safe_dump(test))
    if status == 0:
        return
    otherwise = re.search(r"alertname: (\w+), time: (\w+)", said)
    assert otherwise, f"Prometheus does not take alerts.yml: {said.strip()[-300:]}"
    name, time = otherwise.groups()
    should, does = ("fires", "is silent") if name in expected[time] else ("is silent", "fires")
    silent = (name, does) == ("FeedSilent", "is silent")
    why = " (A comparison with a metric that is not there has no answer.)" if silent else ""
    raise AssertionError(f"{story} After {time} a right {name} {should}; yours {does}.{why}")


def promtool(target: Target, text: str, test: str) -> tuple[int, str]:
    """Run `promtool test rules` in a container; its status and what it said."""
    client = target.docker()
    try:
        box: Container = client.containers.create(
            PROMETHEUS,
            ["test", "rules", "test.yml"],
            entrypoint="/bin/promtool",
            working_dir="/etc/prometheus",
            labels={"mlops.course": "lab05"},
            network_mode="none",
        )
    except ImageNotFound:
        raise NotReady(
            f"The engine has no image {PROMETHEUS}. `.venv/bin/course images lab05`, "
            "in a terminal in the course's folder, gets it."
        ) from None
    try:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for name, content in (("alerts.yml", text), ("test.yml", test)):
                info = tarfile.TarInfo(name)
                info.size, info.mode = len(content.encode()), 0o644
                tar.addfile(info, io.BytesIO(content.encode()))
        box.put_archive("/etc/prometheus", packed.getvalue())
        box.start()
        status = box.wait()["StatusCode"]
        return status, box.logs().decode(errors="replace")
    finally:
        box.remove(force=True, v=True)


@check("ex4", points=1, kind="call")
def the_budget_is_kept(target: Target) -> None:
    """The threshold is the smallest value that keeps the budget."""
    values = [0.02, 0.31, 0.05, 0.12, 0.05, 0.22, 0.01, 0.12]
    for budget, wanted in ((0, 0.31), (1, 0.22), (2, 0.12), (4, 0.05), (8, 0.01)):
        got = target.call("threshold", values, budget)
        why = (
            f"at most {budget} of the values may be above it, and it is the smallest of these"
            if got in values
            else "it is one of the values"
        )
        assert got == wanted, (
            f"threshold({values}, {budget}) should be {wanted}, not {got!r}: {why}."
        )


@check("ex4", points=1, kind="file")
def the_rules_say_who_is_told_what(target: Target) -> None:
    """Both rules have their severity and a summary."""
    for name, severity in (("FeedDrift", "page"), ("FeedSilent", "ticket")):
        rule = rule_of(target, name)
        labels, notes = rule.get("labels") or {}, rule.get("annotations") or {}
        for kind, given in (("labels", labels), ("annotations", notes)):
            assert isinstance(given, dict), (
                f"The {kind} of {name} are {given!r}: below `{kind}:`, each line is "
                "`name: text`, without a dash."
            )
        assert labels.get("severity") == severity, (
            f"{name} should have the label `severity: {severity}`; its labels are {labels}."
        )
        assert notes.get("summary"), f"{name} needs an annotation `summary`; it has {notes}."


@check("ex4", points=1, kind="live")
def drift_pages_after_six_hours(target: Target) -> None:
    """In Prometheus, FeedDrift fires after six hours above 0.1 without a break."""
    story = "The index is 0.05 for three hours, then 0.12."
    firing(target, story, "0.05x180 0.12x720", {"8h55m": [], "9h10m": ["FeedDrift"]})
    story = "The index is 0.3, with one reading of 0.02 every four hours."
    history = "0.3x240 0.02x5 0.3x240 0.02x5 0.3x240"
    firing(target, story, history, {"4h": [], "8h": [], "12h": []})
    for value in (0.09, 0.1):
        firing(target, f"The index is {value} all the time.", f"{value}x720", {"11h": []})


@check("ex4", points=1, kind="live")
def silence_is_noticed(target: Target) -> None:
    """In Prometheus, FeedSilent fires one hour after the metric has vanished."""
    story = "There never was a metric."
    firing(target, story, "", {"1h5m": ["FeedSilent"]})
    story = "The index is 0.01 for five hours, then it is missing."
    firing(target, story, "0.01x300 _x300", {"5h55m": [], "6h15m": ["FeedSilent"]})


@check("ex5", points=1, kind="live")
def the_data_are_those_of_version_1(target: Target) -> None:
    """The data are those of version 1, and so is the hash beside them."""
    data = target.read("versions/clicks.csv")
    days = {line.split(",")[0] for line in data.splitlines()[1:]}
    pointer = yaml.safe_load(target.read("versions/clicks.csv.dvc"))
    digest = hashlib.md5(data.encode(), usedforsecurity=False).hexdigest()
    if "39" in days:
        assert pointer["outs"][0]["md5"] == digest, (
            "clicks.csv.dvc was changed, but clicks.csv still is version 2. "
            "`dvc checkout` makes the data agree with it."
        )
        raise NotAttempted("clicks.csv still is version 2.")
    assert days == {str(n) for n in range(1, 31)}, "clicks.csv is neither version 1 nor 2."
    assert pointer["outs"][0]["md5"] == digest, (
        "clicks.csv is version 1, but clicks.csv.dvc names other data."
    )


@check("ex5", points=1, kind="live")
def the_history_tells_it(target: Target) -> None:
    """The newest commit on main says version 1, and version 2 is before it."""
    head = target.read("versions/.git/HEAD").strip()
    # Tags can be moved: the first commit of main is what version 1 was.
    said = [target.call("pointer", commit) for commit in target.call("history", "main")]
    newest, first = said[0], said[-1]
    assert set(said) != {first}, (
        "main no longer holds version 2. `git checkout main`, then `git reset --hard v2` "
        "brings it back; or begin again with the cells that make the repository."
    )
    if len(said) == 2:
        assert head == "ref: refs/heads/main", (
            f"main still ends in version 2, and HEAD is {head}. `git checkout main`, take the "
            "pointer alone from the tag (`git checkout v1 -- clicks.csv.dvc`), then commit."
        )
        raise NotAttempted("No commit has been added to main.")
    assert newest == first, "clicks.csv.dvc in the newest commit on main is not version 1's."


def decided(target: Target, given: tuple[int, ...], expected: str) -> None:
    """Make sure of one decision."""
    got = target.call("decide", *given)
    assert got == expected, f"decide{given} should be {expected!r}, not {got!r}."


@check("ex6", points=1, kind="call")
def clear_cases_are_decided(target: Target) -> None:
    """A clear difference is decided, to either side."""
    decided(target, (400, 4000, 480, 4000, 4000), "B")
    decided(target, (480, 4000, 400, 4000, 4000), "A")
    decided(target, (400, 4000, 455, 4000, 4000), "B")
    decided(target, (455, 4000, 400, 4000, 4000), "A")


@check("ex6", points=1, kind="call")
def luck_is_not_taken_for_a_winner(target: Target) -> None:
    """A difference that may be luck is undecided, and so is one without any clicks."""
    decided(target, (400, 4000, 452, 4000, 4000), "undecided")
    decided(target, (452, 4000, 400, 4000, 4000), "undecided")
    decided(target, (100, 1000, 489, 4000, 1000), "undecided")  # by the pooled rate
    decided(target, (0, 4000, 0, 4000, 4000), "undecided")
    decided(target, (4000, 4000, 4000, 4000, 4000), "undecided")


@check("ex6", points=1, kind="call")
def nothing_is_decided_early(target: Target) -> None:
    """With too few readers on either side, nothing is decided."""
    decided(target, (400, 4000, 480, 4000, 5000), "undecided")
    decided(target, (400, 5000, 480, 4000, 5000), "undecided")
    decided(target, (400, 4000, 480, 3999, 4000), "undecided")
    decided(target, (300, 3000, 700, 5500, 4000), "undecided")


HINTS = {
    "ex1": [
        """\
Two questions for each impression: is it old enough to be judged at all? And is there a click
for it that came in time? A set counts each id once.""",
        """\
First make a dict from id to time of the impressions that are old enough. Then collect the ids of
the clicks that are in it and came at most wait hours later. Return both lengths.""",
    ],
    "ex2": [
        """\
Counts become shares by their own total, each list by its own. Only then comes the floor,
and only then the formula.""",
        """\
For each bin: e = the larger of floor and the expected count divided by the expected total; the
same for a. Add (a - e) times the natural logarithm (np.log) of a / e. Return a plain float.""",
    ],
    "ex3": [
        """\
Begin with what makes everything else worthless, and return at once.
"To either side" calls for an absolute value; None is neither 0 nor a number to compute with.""",
        """\
Missing first: return a list with that one name. Then an empty list, to which each rule appends
its name, in the order of the table. Concept drift: only where clicks is not None, and the
absolute difference from expected_clicks is larger than three and a half times sd.""",
    ],
    "ex4": [
        """\
threshold: try the values themselves, from the smallest one on. The rules: Prometheus has a
keyword for "without a break for", and a function that is 1 where a metric is missing.""",
        """\
A rule has the keys alert, expr, for, labels and annotations. The keyword is `for`, with a
duration such as 30m; the function is called absent. Each rule begins with "- alert:".""",
    ],
    "ex5": [
        """\
git knows clicks.csv.dvc of version 1, and can give out a single file of an older version
without moving the branch. What does DVC do with the file that then lies there?""",
        """\
git checkout TAG -- FILE takes one file from a tag and stages it. `dvc checkout` then makes the
data agree with it. At last, a commit.""",
    ],
    "ex6": [
        """\
Three ways to be undecided: too few readers, a z between the two limits, and a scatter of 0,
by which one cannot divide.""",
        """\
First compare the smaller number of readers with what is needed. Then the pooled rate, then the
square root below the fraction (return "undecided" where it is 0), then z and its two limits.""",
    ],
}

STUBS = {
    "alerts.yml": """\
groups:
  - name: feed
    rules:
      # TODO: your lines here
""",
}
