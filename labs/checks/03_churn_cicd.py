"""Hints and checks of the lab 03_churn_cicd.

Made by `course build` from source/labs/03_churn_cicd.md: edit that instead.
"""

import json
import re
from typing import Any

import requests
import yaml
from docker.errors import NotFound

from course.checks import NotAttempted, Target, check

GOOD = {
    "tenure": 12,
    "monthly_charges": 70.5,
    "total_charges": 846.0,
    "senior_citizen": 0,
    "contract": "One year",
    "internet_service": "DSL",
}
NEW = GOOD | {"tenure": 0, "total_charges": None}


def found(target: Target, rows: list[dict]) -> list[list]:
    """What the student's function finds in a table, in order."""
    pairs = target.call("violations", rows)
    listed = isinstance(pairs, list) and all(
        isinstance(pair, list) and len(pair) == 2 for pair in pairs
    )
    assert listed, f"violations returned {str(pairs)[:80]}, not a list of pairs."
    return sorted(pairs)


@check("ex1", points=1, kind="call")
def good_customers_pass(target: Target) -> None:
    """A good table has no violations, with new customers and values at the ends."""
    ends = GOOD | {"tenure": 72, "monthly_charges": 15, "total_charges": 10_000}
    for row in (GOOD, NEW, ends, GOOD | {"senior_citizen": 1, "internet_service": "No"}):
        pairs = found(target, [row])
        assert pairs == [], f"{row} is good, but violations found {pairs}."


@check("ex1", points=1, kind="call")
def bad_values_are_found(target: Target) -> None:
    """A value of the wrong type, out of its range or of no known choice is found."""
    bad = [
        ("tenure", 73),
        ("tenure", "12"),
        ("monthly_charges", -1),
        ("senior_citizen", True),
        ("contract", "one year"),
        ("internet_service", "Fibre optic"),
    ]
    for column, value in bad:
        pairs = found(target, [GOOD, GOOD | {column: value}])
        assert pairs == [[1, column]], (
            f"In a table of two, the second has {column}={value!r}: [[1, {column!r}]] was "
            f"expected, violations found {pairs}."
        )


@check("ex1", points=1, kind="call")
def missing_values_are_found(target: Target) -> None:
    """A missing value is found; only a new customer may lack the total."""
    for row, column in [
        (GOOD | {"total_charges": None}, "total_charges"),
        (GOOD | {"monthly_charges": None}, "monthly_charges"),
        ({key: value for key, value in GOOD.items() if key != "tenure"}, "tenure"),
    ]:
        pairs = found(target, [row])
        assert pairs == [[0, column]], f"{column} is missing in {row}, violations found {pairs}."
    old = GOOD | {"tenure": None, "total_charges": None}
    pairs = found(target, [old])
    assert [0, "tenure"] in pairs, f"tenure is missing in {old}, violations found {pairs}."


@check("ex1", points=1, kind="call")
def every_violation_is_listed(target: Target) -> None:
    """All violations are listed, not only the first of a customer or of the table."""
    rows = [GOOD | {"tenure": -1, "monthly_charges": 900.0}, GOOD, GOOD | {"senior_citizen": 2}]
    expected = [[0, "monthly_charges"], [0, "tenure"], [2, "senior_citizen"]]
    rows += [GOOD | {"tenure": None, "total_charges": None}]  # it cannot be told to be new
    expected += [[3, "tenure"], [3, "total_charges"]]
    pairs = found(target, rows)
    assert pairs == expected, f"Expected {expected} in some order, violations found {pairs}."


def names(target: Target, offline: list[dict], online: list[dict], expected: list[str]) -> None:
    """Make sure that the student's function names the expected features."""
    said = target.call("inconsistent", offline, online)
    assert said == expected, (
        f"inconsistent({offline}, {online}) should be {expected}, but returned {said}."
    )


@check("ex2", points=1, kind="call")
def differences_are_named(target: Target) -> None:
    """Features with other values are named once each, sorted."""
    offline = [{"customer": n, "b": 1.5, "a": 0.1 * n, "c": n} for n in range(3)]
    online = [{"customer": n, "b": 1.0, "a": 0.1 * n + (n == 2), "c": n} for n in range(3)]
    names(target, offline, online, ["a", "b"])
    names(target, offline, offline, [])
    names(target, [{"customer": 1, "a": 1.0}], [{"customer": 1, "a": 1.00001}], ["a"])
    names(target, [{"customer": 1, "a": 1e6}], [{"customer": 1, "a": 1e6 + 1e-4}], ["a"])


@check("ex2", points=1, kind="call")
def rounding_is_no_difference(target: Target) -> None:
    """Values that differ by rounding only are the same."""
    offline = [{"customer": 1, "a": 0.3, "b": -7.0}]
    names(target, offline, [{"customer": 1, "a": 0.1 + 0.2, "b": -7.0 - 1e-12}], [])


@check("ex2", points=1, kind="call")
def customers_are_matched_by_number(target: Target) -> None:
    """The order of the customers does not matter."""
    offline = [{"customer": n, "a": float(n)} for n in range(4)]
    names(target, offline, offline[::-1], [])


@check("ex2", points=1, kind="call")
def missing_features_are_named(target: Target) -> None:
    """A feature that only training or only serving has is named."""
    both = {"customer": 1, "a": 2.0}
    names(target, [both | {"b": 1.0}], [both], ["b"])
    names(target, [both], [both | {"z": 0.0}], ["z"])
    second = {"customer": 2, "a": 3.0}
    names(target, [both, second], [both, {"customer": 2}], ["a"])


def ranked(quality: float) -> tuple[list[int], list[float]]:
    """50 leavers and 50 others, with scores whose AUC is ``quality``."""
    better = round(100 * quality)  # of 100 others' places below each leaver's
    labels = [1] * 50 + [0] * 50
    return labels, [0.6] * 50 + [0.4] * (better // 2) + [0.8] * (50 - better // 2)


def decided(target: Target, expected: list[str], told: str, *lists: list) -> None:
    """Make sure that the student's gate decides as expected."""
    said = target.call("gate", *lists)
    assert said == expected, f"{told}: expected {expected}, but gate returned {said}."


def grouped(called: dict[str, tuple[int, int]], others: dict[str, tuple[int, int]]) -> tuple:
    """Lists with, by group, how many leavers and how many others are called, of how many.

    All leavers come out above all others, except for those who are not called.
    """
    labels, scores, groups = [], [], []
    for label, table in ((1, called), (0, others)):
        for group, (yes, total) in table.items():
            labels += [label] * total
            scores += [0.9 - 0.3 * (1 - label)] * yes + [0.1 + 0.15 * label] * (total - yes)
            groups += [group] * total
    # It calls all who left, so it is fair; and with an AUC of 0.8 it is no better than these.
    champion = [0.9 if label else (0.95, *[0.1] * 4)[i % 5] for i, label in enumerate(labels)]
    return labels, scores, champion, groups


@check("ex3", points=1, kind="call")
def bad_candidates_are_stopped(target: Target) -> None:
    """A candidate below the floor is stopped, and all reasons are told in their order."""
    labels, weak = ranked(0.7)
    _, good = ranked(0.9)
    same = ["all"] * 100
    decided(target, ["floor"], "AUC 0.7, as the champion", labels, weak, weak, same)
    decided(target, ["floor", "regression"], "AUC 0.7, champion 0.9", labels, weak, good, same)
    labels, _, champion, groups = grouped({"a": (40, 40), "b": (0, 40)}, {"a": (0, 100)})
    of = {"a": 0.9, "b": 0.1}
    weak = [of[g] if left else 0.2 for left, g in zip(labels, groups, strict=True)]
    every = ["floor", "regression", "fairness"]
    decided(target, every, "AUC 0.5, one group never called", labels, weak, champion, groups)


@check("ex3", points=1, kind="call")
def good_candidates_pass(target: Target) -> None:
    """A candidate that is good, not worse and fair has no reason against it."""
    labels, good = ranked(0.9)
    _, weak = ranked(0.7)
    decided(target, [], "AUC 0.9, champion 0.7", labels, good, weak, ["all"] * 100)


@check("ex3", points=1, kind="call")
def regression_has_a_margin(target: Target) -> None:
    """Worse than the champion by more than the margin is a reason, by less is none."""
    labels, best = ranked(0.96)
    _, worse = ranked(0.9)
    same = ["all"] * 100
    decided(target, ["regression"], "AUC 0.90, champion 0.96", labels, worse, best, same)
    labels = [1] * 200 + [0] * 200
    first = [0.6] * 200 + [0.4] * 180 + [0.8] * 20
    second = [0.6] * 200 + [0.4] * 179 + [0.8] * 21
    decided(target, [], "AUC 0.895, champion 0.900", labels, second, first, ["all"] * 400)


@check("ex3", points=1, kind="call")
def fairness_is_about_those_who_left(target: Target) -> None:
    """Groups are compared by the share of their leavers that is called."""
    unfair = grouped({"a": (40, 40), "b": (32, 40)}, {"a": (0, 100), "b": (8, 100)})
    decided(target, ["fairness"], "100% of the leavers of one group, 80% of the other", *unfair)
    fair = grouped({"a": (45, 50), "b": (90, 100)}, {"a": (0, 300), "b": (0, 20)})
    decided(target, [], "90% of the leavers of both groups, which leave at other rates", *fair)
    labels, scores, champion, groups = fair
    just = [0.3 if (s, g) == (0.9, "b") else s for s, g in zip(scores, groups, strict=True)]
    told = "The same, with scores of exactly the threshold in one group"
    decided(target, [], told, labels, just, champion, groups)
    three = grouped({"a": (90, 100), "b": (70, 100), "c": (90, 100)}, {"a": (0, 100)})
    decided(target, ["fairness"], "90%, 70% and 90% of the leavers of three groups", *three)


@check("ex3", points=1, kind="call")
def small_groups_are_not_judged(target: Target) -> None:
    """A group with too few leavers is not judged, one with just enough is."""
    stays = {"a": (0, 100), "b": (0, 100)}
    few = grouped({"a": (100, 100), "b": (14, 19)}, stays)
    decided(target, [], "One group has only 19 leavers", *few)
    enough = grouped({"a": (100, 100), "b": (15, 20)}, stays)
    decided(target, ["fairness"], "A group with 20 leavers, of whom 75% are called", *enough)
    tiny = grouped({"a": (5, 5), "b": (0, 5)}, {"a": (0, 10)})
    decided(target, [], "All groups have 5 leavers", *tiny)


def after(target: Target, name: str) -> dict[str, Any]:
    """What production looked like after the release of an image."""
    target.docker()
    target.read("churn/deploy/release.sh")
    return json.loads(target.read("seen.json"))[name]


def running(release: dict[str, Any], name: str) -> dict[str, Any]:
    """The container of production after a release."""
    assert release["container"], f"After the release of the {name} image there is no course-churn."
    return release["container"][0]


@check("ex4", points=1, kind="live")
def good_version_goes_live(target: Target) -> None:
    """The good version runs in production by its digest, for this machine only."""
    release = after(target, "good")
    assert release["status"] == 0, f"The script ended with status {release['status']}."
    container = running(release, "good")
    assert release["version"] == "1.0", "Production does not answer on its port."
    image = container["Config"]["Image"]
    assert "@sha256:" in image, f"Production was started from {image}, not from the digest given."
    published = container["NetworkSettings"]["Ports"]["8000/tcp"] or []
    hosts = sorted({address["HostIp"] for address in published})
    assert hosts == ["127.0.0.1"], f"Production is published on {hosts}, not on 127.0.0.1 alone."
    assert "STAGE=production" in container["Config"]["Env"], "STAGE is not production there."


@check("ex4", points=1, kind="live")
def broken_version_stops_in_staging(target: Target) -> None:
    """A version that fails in staging does not touch production."""
    before, release = after(target, "good"), after(target, "broken")
    assert release["status"] != 0, "The script ended with status 0, though the version is sick."
    states = [running(r, "broken")["State"]["StartedAt"] for r in (before, release)]
    assert states[0] == states[1], (
        "Production was stopped or replaced, though the version had failed in staging."
    )
    left = release["staging"]
    assert not left, "After the failed test course-churn-staging is still there: remove it too."


@check("ex4", points=1, kind="live")
def late_fault_is_taken_back(target: Target) -> None:
    """A version that fails in production only is taken back, and the one before answers."""
    release = after(target, "late")
    assert release["status"] != 0, "The script ended with status 0, though production was sick."
    assert release["version"] == "1.0", "Nothing healthy answers in production afterwards."
    image = running(release, "late")["Config"]["Image"]
    assert "@sha256:" in image, f"Production runs {image}, not the version from before."
    states = [running(after(target, name), name)["State"] for name in ("broken", "late")]
    assert states[0]["StartedAt"] != states[1]["StartedAt"], (
        "Production was never touched, so nothing was taken back. The late version is healthy in "
        "staging: does your staging container get STAGE=staging?"
    )


FILE = "churn/.github/workflows/churn.yml"


def workflow(target: Target) -> dict[str, Any]:
    """The student's workflow; it has the three jobs."""
    try:
        written = yaml.safe_load(target.read(FILE))
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise AssertionError(f"The workflow is no YAML{line}.") from None
    found = written.get("jobs", {}) if isinstance(written, dict) else {}
    for name in ("test", "image", "release"):
        assert isinstance(found.get(name), dict), f"There is no job {name} with anything in it."
    return written


def jobs(target: Target) -> dict[str, dict]:
    """The jobs of the student's workflow."""
    return workflow(target)["jobs"]


def needed(job: dict) -> list[str]:
    """The jobs that a job needs."""
    needs = job.get("needs", [])
    return [needs] if isinstance(needs, str) else list(needs)


@check("ex5", points=1, kind="file")
def jobs_wait_for_each_other(target: Target) -> None:
    """No image without tests, no release without an image."""
    found = jobs(target)
    assert "test" in needed(found["image"]), "The job image does not wait for test."
    assert "image" in needed(found["release"]), "The job release does not wait for image."


@check("ex5", points=1, kind="file")
def reference_is_handed_on(target: Target) -> None:
    """The digest goes from image to release; code, digest and ports get to the script."""
    written = workflow(target)
    found = written["jobs"]
    output = str(found["image"].get("outputs", {}).get("reference", ""))
    assert "steps.push.outputs.reference" in output, "The job image has no output reference."
    steps = found["release"].get("steps", [])
    scripts = [step for step in steps if "deploy/release.sh" in step.get("run", "")]
    assert scripts, "No step of release calls deploy/release.sh."
    assert not any("${{" in step.get("run", "") for step in steps), (
        "There is a ${{ }} inside a run: pass it as a variable, through env."
    )
    before = steps[: steps.index(scripts[0])]
    like = {name: found["test"]["steps"][0][name] for name in ("uses", "with")}
    assert any(like.items() <= step.items() for step in before), (
        "The script is called before release has got the code, by the step of the other jobs."
    )
    env = {}
    for place in (written, found["release"], scripts[0]):
        env |= place.get("env") or {}
    given = " ".join(map(str, env.values()))
    assert "needs.image.outputs.reference" in given, "release does not get image's reference."
    for name in ("PORT", "STAGING_PORT"):
        assert f"vars.{name}" in str(env.get(name, "")), f"The script does not get {name}."


@check("ex5", points=1, kind="file")
def only_main_is_released(target: Target) -> None:
    """Only pushes to main are released, in the environment, with the least rights."""
    release = jobs(target)["release"]
    condition = re.sub(r"\s+", "", str(release.get("if", "")).replace('"', "'"))
    limits = ["=='refs/heads/main'", "ref_name=='main'", "=='push'", "!='pull_request'"]
    assert any(limit in condition for limit in limits), (
        "The job release has no `if` that keeps pull requests out."
    )
    machine = release.get("runs-on")
    assert machine == "ubuntu-latest", f"release runs on {machine!r}, not on ubuntu-latest."
    environment = release.get("environment")
    name = environment.get("name") if isinstance(environment, dict) else environment
    assert name == "production", f"The environment of release is {name!r}, not production."
    assert release.get("permissions") == {"contents": "read"}, (
        f"The rights of release are {release.get('permissions')}: it needs to read, no more."
    )


@check("ex5", points=1, kind="live")
def image_of_the_commit_is_in_the_registry(target: Target) -> None:
    """The run has pushed the image of this commit to the registry, and released it."""
    client = target.docker()
    jobs(target)
    commit = target.read("commit").strip()
    try:
        registry = client.containers.get("course-churn-registry")
        (address,) = registry.ports["5000/tcp"]
    except (NotFound, KeyError):
        raise NotAttempted(
            "The registry is not running: run its cell and those below it again."
        ) from None
    url = f"http://127.0.0.1:{address['HostPort']}/v2/course-churn/tags/list"
    tags = requests.get(url, timeout=5).json().get("tags") or []
    assert commit in tags, f"The registry has the tags {tags}, but none is the commit {commit}."
    log = target.read("act.log")
    released = re.search(r"\[Churn/Release *\].*Job succeeded", log)
    assert released, "The image is pushed, but the job release has not succeeded: see act's log."


HINTS = {
    "ex1": [
        """\
Two loops: over the customers with their positions, and for each one over the columns.
customer.get(column) is None where the column is missing, and None is no number.""",
        """\
enumerate gives positions. For each column of RANGES: first the exception (skip it if the column
is the total, the value None and the tenure 0), then the type (an int or a float, but no bool,
which Python counts as an int), then the range. Then the columns of CHOICES. Collect all of them,
and return at the end.""",
    ],
    "ex2": [
        """\
First make it easy to find a customer's row on the other side: a dict from number to row.
Which names does a pair of rows have, all together? Keys of dicts can be joined like sets.""",
        """\
Go through one side, look up the other row by its number, and go through the union of both rows'
keys. A name is inconsistent if it is not in both, or if the absolute difference of the two
values is not below the tolerance. Collect names in a set, and sort at the end.""",
    ],
    "ex3": [
        """\
The first two rules are one comparison each. For the third, take one group at a time: the scores
of those of its customers whose label is 1. What share of them reaches the threshold?""",
        """\
zip walks through scores, labels and groups together. For each group with enough leavers, keep
the recall: called leavers divided by leavers. The fairness rule compares the largest recall with
the smallest. Append reasons to a list, rule by rule, and return it at the very end.""",
    ],
    "ex4": [
        """\
A stopped container keeps its image and settings. docker rename gives it another name, so that its
old name is free. docker start brings it back. An if can use a command's exit status directly.""",
        """\
Staging: run, test, keep the exit status in a variable ($? right after the command), remove, and
leave if it was not 0. Production: rename the old container and stop it, run the new one, test it.
Success: remove the old one. Failure: remove the new one, rename the old one back and start it.""",
    ],
    "ex5": [
        """\
needs, outputs, if, environment, permissions and steps are keys of a job, side by side. The steps
of release are two: the checkout (copy it from another job) and the script. Section 4 of
lesson 03 has a workflow of the same shape.""",
        """\
A job's output is read from a step: steps.ID.outputs.NAME. Another job reads it as
needs.JOB.outputs.NAME, if it names that job in its needs. Put it into a variable under env of
the step, and use the variable, in quotes, in run. github.ref is refs/heads/main for a push to
main.""",
    ],
}

STUBS = {
    "churn/deploy/release.sh": """\
#!/usr/bin/env bash
# TODO: your lines here
""",
    "churn/.github/workflows/churn.yml": """\
name: Churn

on:
  push:
    branches: [main]
  pull_request:

permissions: {}

env:
  IMAGE: ${{ vars.REGISTRY }}/course-churn

jobs:
  test:
    name: Tests
    runs-on: ubuntu-latest
    permissions:
      contents: read
    steps:
      - name: Get the code
        uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1
        with:
          persist-credentials: false
      - name: Unit tests
        run: python3 -m unittest tests.test_app

  image:
    name: Image
    runs-on: ubuntu-latest
    permissions:
      contents: read
      packages: write  # to push the image
    steps:
      - name: Get the code
        uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1  # v7.0.1
        with:
          persist-credentials: false
      - name: Build, once
        run: docker build --quiet --tag "$IMAGE:$GITHUB_SHA" .
      - name: Push
        id: push
        if: ${{ github.event_name != 'pull_request' }}
        run: |
          docker push --quiet "$IMAGE:$GITHUB_SHA"
          reference=$(docker inspect --format '{{index .RepoDigests 0}}' "$IMAGE:$GITHUB_SHA")
          echo "reference=$reference" >> "$GITHUB_OUTPUT"
    # TODO: your lines here

  release:
    name: Release
    # TODO: your lines here
""",
}
