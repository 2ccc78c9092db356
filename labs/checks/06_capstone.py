"""Hints and checks of the lab 06_capstone.

Made by `course build` from source/labs/06_capstone.md: edit that instead.
"""

import hashlib
import io
import json
import tarfile
from contextlib import suppress
from typing import Any

import requests
import yaml
from docker.errors import NotFound
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from course.checks import Target, check

HALF = [0.5, 0.5]
LABEL = {"mlops.course": "lab06"}
PROMETHEUS = "prom/prometheus:v3.5.0"
FOLDER = "/etc/prometheus"


def psi_is(target: Target, expected: list[float], counts: list[int], right: float) -> None:
    """Make sure that the student's PSI has the right value."""
    told = target.call("psi", expected, counts)
    asked = f"psi({expected}, {counts})"
    number = isinstance(told, int | float) and not isinstance(told, bool)
    assert number, f"{asked} returned {told!r}, not a number."
    assert abs(told - right) < 1e-6, f"{asked} returned {told:.6f}. It should be {right:.6f}."


@check("ex1", points=1, kind="call")
def psi_has_known_values(target: Target) -> None:
    """PSI is 0 for equal shares, right where shares differ, and finite for empty bins."""
    psi_is(target, [0.25, 0.25, 0.25, 0.25], [30, 30, 30, 30], 0.0)
    psi_is(target, HALF, [20, 80], 0.415888)
    psi_is(target, [0.1, 0.2, 0.7], [30, 30, 40], 0.428154)
    psi_is(target, HALF, [100, 0], 3.447663)
    psi_is(target, [0.5, 0.5, 0.0], [40, 40, 20], 1.098994)


@check("ex1", points=1, kind="call")
def alarm_needs_size_and_rows(target: Target) -> None:
    """The alarm wants a PSI above 0.25 and at least 150 values."""
    cases = [([200, 800], True), ([480, 520], False), ([20, 80], False), ([30, 120], True)]
    # Just beside each limit: a PSI of 0.251 and 0.246, and 149 values. And nothing at all.
    cases += [([260, 740], True), ([262, 738], False), ([29, 120], False), ([0, 0], False)]
    for counts, expected in cases:
        told = target.call("drift_alarm", HALF, counts)
        assert told is expected, (
            f"drift_alarm({HALF}, {counts}) returned {told!r}: {sum(counts)} values, "
            f"expected {expected}."
        )


def rules(target: Target) -> dict[str, dict]:
    """The student's alerts by name."""
    text = target.read("rules.yml")
    try:
        groups = yaml.safe_load(text)["groups"]
        listed = [rule for group in groups for rule in group["rules"]]
        found = {rule["alert"]: rule for rule in listed if "alert" in rule}
    except yaml.YAMLError as error:
        raise AssertionError(f"rules.yml is no YAML: {error}") from None
    except (KeyError, TypeError):
        raise AssertionError(
            "rules.yml is no file of rules: the list `rules` needs items with keys, each indented."
        ) from None
    for name in ("InputDrift", "ModelUnreliable"):
        assert name in found, f"There is no alert {name} in rules.yml."
    return found


def packed(files: dict[str, str]) -> bytes:
    """Files as a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def promtool(target: Target, test: dict) -> str:
    """What promtool says against the rules; empty if it is content."""
    files = {"rules.yml": target.read("rules.yml"), "test.yml": json.dumps(test)}
    options = {"entrypoint": "/bin/promtool", "labels": LABEL, "name": "course-fraud-promtool"}
    options["working_dir"] = FOLDER
    client = target.docker()
    with suppress(NotFound):
        client.containers.get(options["name"]).remove(force=True)
    container = client.containers.create(PROMETHEUS, "test rules test.yml", **options)
    try:
        container.put_archive(FOLDER, packed(files))
        container.start()
        status = container.wait(timeout=30)["StatusCode"]
        return container.logs().decode(errors="replace") if status else ""
    finally:
        container.remove(force=True, v=True)


def alert_is(
    target: Target,
    alert: str,
    fires: bool,
    psi: float,
    rows: int,
    precision: float,
    verdicts: int,
    feature: str = "amount",
    version: str = "7",
) -> None:
    """Make sure that an alert fires, or does not, ten minutes into a steady state."""
    rules(target)
    other = "6" if version == "7" else "7"
    quiet = "pause" if feature == "amount" else "amount"
    series = {
        f'feature:psi{{feature="{feature}"}}': psi,
        f'feature:rows{{feature="{feature}"}}': rows,
        f'feature:psi{{feature="{quiet}"}}': 0.02,
        f'feature:rows{{feature="{quiet}"}}': 400,
        f'version:precision{{model_version="{version}"}}': precision,
        f'version:verdicts{{model_version="{version}"}}': verdicts,
        f'version:precision{{model_version="{other}"}}': 0.8,
        f'version:verdicts{{model_version="{other}"}}': 400,
    }
    inputs = [{"series": name, "values": f"{value}+0x15"} for name, value in series.items()]
    by = "max by (model_version)" if alert == "ModelUnreliable" else "max"
    asked = f'{by} (ALERTS{{alertname="{alert}",alertstate="firing"}})'
    labels = f'{{model_version="{version}"}}' if alert == "ModelUnreliable" else "{}"
    expected = [{"labels": labels, "value": 1}] if fires else []
    cases = [{"expr": asked, "eval_time": "10m", "exp_samples": expected}]
    test = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": cases}],
    }
    said = promtool(target, test)
    reason = said.split("FAILED:")[-1].strip()
    assert not said or "got:" in said, f"promtool cannot use rules.yml: {reason[:300]}"
    wrong = "should fire, but is silent" if fires else "should be silent, but fires"
    if fires and "got: nil" not in said:  # it fires, without the label or for another version
        wrong = f'should fire with the label model_version="{version}", and for no other version'
    assert not said, (
        f"For ten minutes the PSI of {feature} is {psi} on {rows} rows, and the precision of "
        f"version {version} is {precision} on {verdicts} verdicts (of {other}: 0.8 on 400): "
        f"{alert} {wrong}."
    )


@check("ex2", points=1, kind="file")
def labels_say_what_to_do(target: Target) -> None:
    """Both alerts wait three minutes and carry the right action."""
    found = rules(target)
    for name, action in {"InputDrift": "retrain", "ModelUnreliable": "rollback"}.items():
        labels = found[name].get("labels") or {}
        assert labels.get("action") == action, (
            f"{name} has the labels {labels}. Its action should be {action}."
        )
        waits = str(found[name].get("for", "nothing"))
        same = ("3m", "180s", "3m0s", "180000ms")
        assert waits in same, f"{name} waits for {waits}, not for 3m."


@check("ex2", points=1, kind="live")
def drift_fires_on_enough_rows(target: Target) -> None:
    """InputDrift fires on a large PSI of any feature, and not on a small one or on few rows."""
    for feature in ("amount", "pause"):
        alert_is(target, "InputDrift", True, 0.26, 151, 0.8, 90, feature)
    alert_is(target, "InputDrift", False, psi=0.24, rows=300, precision=0.8, verdicts=90)
    alert_is(target, "InputDrift", False, psi=0.4, rows=150, precision=0.8, verdicts=90)


@check("ex2", points=1, kind="live")
def unreliable_fires_on_enough_verdicts(target: Target) -> None:
    """ModelUnreliable fires on a low precision, and not on a good one or on few verdicts."""
    for version in ("7", "12"):
        alert_is(target, "ModelUnreliable", True, 0.24, 300, 0.49, 31, version=version)
    alert_is(target, "ModelUnreliable", False, psi=0.24, rows=300, precision=0.51, verdicts=90)
    alert_is(target, "ModelUnreliable", False, psi=0.24, rows=300, precision=0.3, verdicts=30)


@check("ex2", points=1, kind="live")
def unreliable_is_silent_while_inputs_drift(target: Target) -> None:
    """ModelUnreliable is silent while inputs drift, and few rows are no drift."""
    for feature in ("amount", "pause"):
        alert_is(target, "ModelUnreliable", False, 0.26, 151, 0.4, 90, feature)
    alert_is(target, "ModelUnreliable", True, psi=0.4, rows=150, precision=0.4, verdicts=90)


def decisions(n: int, frauds: int, caught: int, false: int) -> list[int]:
    """Alarms of a model that catches the first frauds, and errs on the last honest ones."""
    return [1] * caught + [0] * (n - caught - false) + [1] * false


def judged(
    target: Target, n: int, frauds: int, champion: tuple[int, int], candidate: tuple[int, int]
) -> tuple[set[str], str]:
    """The student's reasons, and the case in words."""
    old, new = (decisions(n, frauds, *model) for model in (champion, candidate))
    told = target.call("gate", old, new, [1] * frauds + [0] * (n - frauds))
    case = (
        f"{n} transactions with {frauds} frauds; the champion catches {champion[0]} with "
        f"{champion[1]} false alarms, the candidate {candidate[0]} with {candidate[1]}"
    )
    assert isinstance(told, list), f"gate returned {told!r}, not a list. The case: {case}."
    return set(told), case


@check("ex3", points=1, kind="call")
def a_clear_gain_passes(target: Target) -> None:
    """A candidate that is better beyond doubt has nothing against it."""
    for champion, candidate in [((30, 20), (40, 20)), ((40, 25), (40, 8)), ((30, 20), (35, 20))]:
        told, case = judged(target, 2000, 60, champion, candidate)
        assert not told, f"{case}: nothing speaks against it, but your gate says {sorted(told)}."


@check("ex3", points=1, kind="call")
def doubt_is_no_gain(target: Target) -> None:
    """A gain that may be chance is none, and neither is a loss or no change."""
    cases = [((30, 20), (33, 20)), ((30, 20), (30, 20)), ((30, 20), (25, 0)), ((40, 117), (38, 20))]
    for champion, candidate in cases:
        told, case = judged(target, 2000, 60, champion, candidate)
        assert told == {"no gain"}, (
            f"{case}: the reason should be 'no gain' alone. Your gate says {sorted(told)}."
        )


@check("ex3", points=1, kind="call")
def floor_and_evidence_are_asked_for(target: Target) -> None:
    """Too many false alarms, or too few frauds to judge by, speak against a candidate."""
    cases = [
        (2000, 60, (30, 20), (60, 100), {"precision"}),
        (2000, 60, (10, 20), (60, 49), {"precision"}),
        (2000, 60, (30, 20), (0, 0), {"no gain"}),
        (600, 20, (0, 0), (20, 0), {"few frauds"}),
        (600, 29, (0, 0), (29, 0), {"few frauds"}),
        (600, 30, (0, 0), (30, 0), set()),
    ]
    for n, frauds, champion, candidate, right in cases:
        told, case = judged(target, n, frauds, champion, candidate)
        reasons = f"the reason should be {min(right)!r} alone" if right else "no reason holds"
        assert told == right, f"{case}: {reasons}. Your gate says {sorted(told)}."


@check("ex3", points=1, kind="call")
def all_reasons_are_named(target: Target) -> None:
    """Where several reasons hold, all are named."""
    told, case = judged(target, 600, 20, (15, 5), (10, 40))
    assert told == {"few frauds", "precision", "no gain"}, (
        f"{case}: three reasons speak against it. Your gate says {sorted(told)}."
    )


def state(champion: str, previous: str | None, *rejected: str) -> dict:
    """A state of the registry."""
    return {"champion": champion, "previous": previous, "rejected": list(rejected)}


def becomes(target: Target, function: str, before: dict, version: str, after: dict) -> None:
    """Make sure that promote or rollback leads from one state to another."""
    told = target.call(function, before, version)
    assert told == after, (
        f"{function}({before}, {version!r}) returned {told!r}. It should be {after}."
    )


@check("ex4", points=1, kind="call")
def promotion_remembers_and_refuses(target: Target) -> None:
    """The champion becomes previous; rejected versions and the champion are not promoted."""
    becomes(target, "promote", state("2", "1"), "3", state("3", "2"))
    becomes(target, "promote", state("1", None, "2"), "3", state("3", "1", "2"))
    becomes(target, "promote", state("2", "1", "3"), "3", state("2", "1", "3"))
    becomes(target, "promote", state("2", "1"), "2", state("2", "1"))


@check("ex4", points=1, kind="call")
def rollback_restores_and_rejects(target: Target) -> None:
    """A rollback brings the previous champion back and rejects the accused for good."""
    becomes(target, "rollback", state("3", "2"), "3", state("2", None, "3"))
    becomes(target, "rollback", state("5", "4", "3"), "5", state("4", None, "3", "5"))


@check("ex4", points=1, kind="call")
def old_news_changes_nothing(target: Target) -> None:
    """An alert about another version, or with nowhere to go, changes nothing."""
    becomes(target, "rollback", state("3", "2"), "2", state("3", "2"))
    becomes(target, "rollback", state("2", None, "3"), "3", state("2", None, "3"))
    becomes(target, "rollback", state("2", None), "2", state("2", None))


def sealed(line: dict) -> str:
    """The hash that a line should have."""
    content = {key: value for key, value in line.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def chain() -> list[dict[str, Any]]:
    """Four lines as they should be."""
    lines, before = [], ""
    events = [
        {"event": "alert", "version": "3"},
        {"event": "gate", "week": 5, "reasons": ["no gain"]},
        {"event": "promoted", "version": "3", "why": "drift"},
        {"event": "rolled back", "version": "3"},
    ]
    for event in events:
        line = event | {"before": before}
        line["hash"] = before = sealed(line)
        lines.append(line)
    return lines


@check("ex5", points=1, kind="call")
def lines_are_chained(target: Target) -> None:
    """A new line keeps its event, names the hash before it, and carries its own."""
    right, lines = chain(), []
    for number, good in enumerate(right, 1):
        event = {key: value for key, value in good.items() if key not in ("before", "hash")}
        lines = target.call("append", lines, event)
        assert lines == right[:number], (
            f"After {number} calls of append, the last line should be {good}. "
            f"append returned {lines!r:.400}"
        )


@check("ex5", points=1, kind="call")
def changes_are_found(target: Target) -> None:
    """Changed, resealed, removed and swapped lines are found; an intact trail is not accused."""
    changed, resealed, removed, swapped = chain(), chain(), chain(), chain()
    changed[1]["week"] = 6
    resealed[1]["week"] = 6
    resealed[1]["hash"] = sealed(resealed[1])
    del removed[2]
    swapped[0], swapped[1] = swapped[1], swapped[0]
    cases = {
        "an intact trail": (chain(), None),
        "an empty trail": ([], None),
        "a trail whose line 1 was changed": (changed, 1),
        "a trail whose line 1 was changed and sealed again": (resealed, 2),
        "a trail whose line 2 was removed": (removed, 2),
        "a trail whose first two lines were swapped": (swapped, 0),
    }
    for case, (lines, right) in cases.items():
        told = target.call("broken", lines)
        assert told == right and not isinstance(told, bool), (
            f"For {case}, broken returned {told!r}. It should be {right}. (Lines count from 0.)"
        )


@check("ex5", points=1, kind="call")
def every_answer_is_traced(target: Target) -> None:
    """A request leads to the version that answered it, and an unknown one to None."""
    answers = [{"request_id": f"r{n}", "version": "1" if n < 3 else "2"} for n in range(5)]
    facts = {v: {"data": f"d{v}", "commit": f"c{v}", "image": "i"} for v in ("1", "2", "3")}
    for one in answers:
        told = target.call("trace", one["request_id"], answers, facts)
        right = facts[one["version"]] | {"version": one["version"]}
        assert told == right, (
            f"Request {one['request_id']} was answered by version {one['version']}: "
            f"trace should return {right}. It returned {told!r}."
        )
    told = target.call("trace", "r99", answers, facts)
    assert told is None, f"Nothing is known of the request r99. trace returned {told!r}."


REFUSED = {"event": "gate", "why": ["no gain"]}
THREE = [REFUSED, {"event": "gate", "why": ["precision"]}]
THREE.append({"event": "gate", "why": ["few frauds", "no gain"]})
CALLED = {"event": "call a person", "why": "retrain"}
PASSED = {"event": "gate", "why": []}
PROMOTED = {"event": "promoted", "why": "drift"}


def decides(
    target: Target, right: str, action: str, accused: str, before: dict, trail: list[dict]
) -> None:
    """Make sure that an alert leads to the right decision."""
    alert = {"action": action, "model_version": accused}
    told = target.call("decide", before, alert, trail)
    past = [f"{line['event']} {line['why']}" for line in trail]
    assert told == right, (
        f"State {before}, alert {alert}, the trail's last lines {past}: "
        f"decide returned {told!r}. It should be {right!r}."
    )


@check("ex6", points=1, kind="call")
def each_alert_gets_its_remedy(target: Target) -> None:
    """Drift leads to training, a bad model to a rollback, and old news to nothing."""
    two = state("2", "1")
    decides(target, "retrain", "retrain", "2", two, [])
    decides(target, "retrain", "retrain", "2", state("2", None), [PASSED, PROMOTED])
    decides(target, "roll back", "rollback", "2", two, [PASSED, PROMOTED])
    decides(target, "roll back", "rollback", "2", two, THREE)
    decides(target, "roll back", "rollback", "3", state("3", "2", "1"), [])
    for action in ("retrain", "rollback", "page"):
        decides(target, "ignore", action, "1", two, [])
    decides(target, "ignore", "retrain", "3", two, THREE)


@check("ex6", points=1, kind="call")
def a_person_is_called(target: Target) -> None:
    """A person is called when nothing is left to try, and not before."""
    two = state("2", "1")
    decides(target, "call a person", "rollback", "2", state("2", None, "3"), [])
    decides(target, "call a person", "rollback", "2", state("2", None), [])
    decides(target, "call a person", "page", "2", two, [])
    decides(target, "call a person", "retrain", "2", two, THREE)
    decides(target, "call a person", "retrain", "2", two, [PASSED, PROMOTED, *THREE])
    decides(target, "call a person", "retrain", "2", two, [*THREE, CALLED])
    decides(target, "retrain", "retrain", "2", two, [REFUSED, REFUSED])
    decides(target, "retrain", "retrain", "2", two, [*THREE, PASSED])
    decides(target, "retrain", "retrain", "2", two, [REFUSED, PASSED, PROMOTED, REFUSED, REFUSED])


ASK = "from urllib.request import urlopen; print(urlopen('http://127.0.0.1:8000').read().decode())"


def running(target: Target, name: str) -> Any:
    """A container that should run."""
    try:
        found = target.docker().containers.get(name)
    except NotFound:
        raise AssertionError(f"There is no container {name}. Run the drill again.") from None
    assert found.status == "running", f"{name} does not run: its status is {found.status}."
    return found


@check("ex7", points=1, kind="live")
def green_answers_and_blue_is_warm(target: Target) -> None:
    """The public is answered by version 2 from green, and blue still has version 1."""
    target.read("switch.sh")
    proxy = running(target, "course-fraud-proxy")
    green = running(target, "course-fraud-green")
    session = requests.Session()
    session.trust_env = False
    again = Retry(total=5, backoff_factor=0.2, status_forcelist=[502, 503])
    session.mount("http://", HTTPAdapter(max_retries=again))
    url = f"http://127.0.0.1:{proxy.ports['80/tcp'][0]['HostPort']}/"
    for _ in range(8):  # a proxy that still sends half to blue shows it within these
        try:
            told = session.get(url, timeout=5).json().get("version")
        except (requests.RequestException, ValueError) as error:
            raise AssertionError(f"The proxy gives no answer: {type(error).__name__}.") from None
        assert told == "2", f"The public is answered by version {told}, not 2."
    blue = running(target, "course-fraud-blue")
    for container, version in ((blue, "1"), (green, "2")):
        said = container.exec_run(["python", "-c", ASK]).output.decode(errors="replace")
        assert f'"version": "{version}"' in said, (
            f"{container.name} does not answer with version {version}, but: {said[-200:]}"
        )


@check("ex7", points=1, kind="live")
def no_customer_noticed(target: Target) -> None:
    """The customers saw both versions, and no failed request."""
    target.read("switch.sh")
    running(target, "course-fraud-proxy")
    notes = json.loads(target.read("customers.json"))
    seen = {version for _, version in notes if version}
    assert seen == {"1", "2"}, f"The customers saw the versions {sorted(seen)}, not 1 and 2."
    failed = [status for status, _ in notes if status != 200]
    assert not failed, (
        f"{len(failed)} of {len(notes)} requests failed, the first with status {failed[0]}."
    )
    late = {version for _, version in notes[-20:]}
    assert late == {"2"}, "Seconds after your script's end some customers still saw version 1."


HINTS = {
    "ex1": [
        """\
First turn the counts into shares: divide each by the sum of all. Then raise shares that are
too small, in both lists, and only then take the logarithm of their quotient.""",
        """\
Walk over both lists at once with zip. For each bin, max(share, ...) gives the floor. Add up the
difference times math.log of the quotient. The alarm is two conditions joined by `and`; ask for
the number of values first.""",
    ],
    "ex2": [
        """\
Each rule is an item of the list, with the keys alert, expr, for and labels; lesson 06, section 4,
has two of them. `A and B > 150` keeps those of A for which B, with equal labels, is above 150.""",
        """\
max(...) makes one number without labels out of all features. The right side of `unless` has no
label model_version, so say on what to match: `unless on () ...` matches everything. That side is
the whole condition of InputDrift, rows included, in parentheses.
Indent the rules by six spaces: they belong to the list `rules`.""",
    ],
    "ex3": [
        """\
Begin with an empty list, and append to it in three separate `if`s. For the third, write a little
function for what one decision costs, and build the list of savings, one for each transaction.""",
        """\
Most savings are 0: both decided alike. That is what makes the comparison sharp, so do not compute
the two models' costs and intervals apart. zip takes three lists as well as two. Multiply the
number of alarms by 0.6 rather than divide by it: there may be none.""",
    ],
    "ex4": [
        """\
Each function begins with the cases in which nothing happens: there it returns the state it got.
What is left is one new dict.""",
        """\
promote: `version in state["rejected"]`, or the version is the champion already.
rollback: the version is not the champion, or previous is None. After a rollback previous is None
and not the accused version: else two alerts in a row would bring it back.""",
    ],
    "ex5": [
        """\
append: make the line with `before` first, and seal that; its hash comes last.
broken: walk through the lines and remember the hash of the line that you have just left.""",
        """\
`event | {"before": ...}` makes a new dict with one entry more; `[*lines, line]` a new list.
In broken, what you remember is an empty text before the first line. Each line is asked two
questions. trace looks for the answer first, and takes the version from it, from nowhere else.""",
    ],
    "ex6": [
        """\
Ask first whom the alert accuses: that question is the same for all actions. For the refusals,
make a list of the gate's answers in the trail; other lines may stand between them.""",
        """\
`[-3:]` takes the last three of a list, or fewer where there are fewer. An answer is a refusal if
its list of reasons is not empty. Only three of three are too many. Let the function's last line,
without an `if`, call the person: all that no `if` before it has answered ends there.""",
    ],
    "ex7": [
        """\
Look at how reset.sh makes blue: create, copy, start. Green differs in its name and in the number
in the file service/version. It takes two seconds until it listens; the proxy must not be
switched before.""",
        """\
`until COMMAND; do sleep 0.2; done` repeats a command until it succeeds. `sed -i.bak
's/blue/green/'` changes a file in place. After docker cp, nginx still works by the old file;
`nginx -s reload`, executed inside the proxy, makes it read the new one.""",
    ],
}

STUBS = {
    "rules.yml": """\
groups:
  - name: loop
    rules:
# TODO: your lines here
""",
    "switch.sh": """\
# TODO: your lines here
""",
}
