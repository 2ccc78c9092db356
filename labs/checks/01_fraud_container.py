"""Hints and checks of the lab 01_fraud_container.

Made by `course build` from source/labs/01_fraud_container.md: edit that instead.
"""

import hashlib
import json
import re
import sys
from bisect import bisect_left
from contextlib import AbstractContextManager
from fnmatch import fnmatch
from posixpath import basename, dirname
from typing import Any

import requests
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.images import Image
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from course.checks import Client, NotAttempted, Target, check

SMALL = ([0.4, 0.9, 0.7, 0.3, 0.8, 0.6, 0.5], [0, 1, 0, 1, 1, 1, 0])
LARGE = (
    [0.95, 0.91, 0.84, 0.77, 0.7, 0.66, 0.58, 0.52, 0.45, 0.3827, 0.3814, 0.12],
    [1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 0],
)
# Scores and labels, the floor, and recall and precision of the best threshold.
CASES = [
    (SMALL, 0.7, (3 / 4, 0.75)),
    (LARGE, 0.7, (1.0, 0.7)),
    (LARGE, 0.72, (3 / 7, 0.75)),
]


def alarms(target: Target, scores: list[float], labels: list[int], floor: float) -> list[int]:
    """The labels of the alarms with the threshold that the student's function chooses."""
    threshold = target.call("choose_threshold", scores, labels, floor)
    asked = f"choose_threshold({scores}, {labels}, {floor})"
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    assert number, f"{asked} returned {threshold!r}, not a number."
    raised = [label for score, label in zip(scores, labels, strict=True) if score >= threshold]
    assert raised, f"{asked} returned {threshold}: with that, there is no alarm at all."
    return raised


@check("ex1", points=1, kind="call")
def precision_reaches_the_floor(target: Target) -> None:
    """The precision at the chosen threshold is at least the floor."""
    for (scores, labels), floor, _ in CASES:
        raised = alarms(target, scores, labels, floor)
        assert sum(raised) / len(raised) >= floor, (
            f"With the scores {scores} and the labels {labels}, only {sum(raised)} of your "
            f"{len(raised)} alarms are frauds. The floor is {floor}."
        )


@check("ex1", points=1, kind="call")
def recall_is_the_highest(target: Target) -> None:
    """The threshold is a score, and no other that reaches the floor catches more frauds."""
    for (scores, labels), floor, (best, precision) in CASES:
        raised = alarms(target, scores, labels, floor)
        threshold = target.call("choose_threshold", scores, labels, floor)
        assert threshold in scores, f"The threshold {threshold} is none of the scores {scores}."
        assert sum(raised) / sum(labels) == best, (
            f"With the scores {scores}, the labels {labels} and the floor {floor}, your "
            f"threshold {threshold} catches {sum(raised)} of {sum(labels)} frauds. The best of "
            f"those that reach the floor catches {round(best * sum(labels))}, at a precision of "
            f"{precision}."
        )


@check("ex1", points=1, kind="call")
def equal_scores_stay_together(target: Target) -> None:
    """Transactions with equal scores are counted together, as alarms or not."""
    raised = alarms(target, [0.9, 0.6, 0.6, 0.6, 0.2], [1, 1, 0, 0, 0], 0.7)
    assert raised == [1], (
        "The scores are 0.9, 0.6, 0.6, 0.6 and 0.2, the labels 1, 1, 0, 0 and 0. From 0.6 on, "
        "two of four alarms are frauds, which is below the floor of 0.7: only 0.9 will do."
    )


@check("ex1", points=1, kind="call")
def none_where_the_floor_is_out_of_reach(target: Target) -> None:
    """The answer is None where no threshold reaches the floor."""
    threshold = target.call("choose_threshold", [0.9, 0.8, 0.3], [0, 1, 0], 0.75)
    assert threshold is None, (
        f"With the scores 0.9, 0.8, 0.3 and the labels 0, 1, 0 no threshold has a precision "
        f"of 0.75. Your function returned {threshold!r}."
    )
    (scores, labels), floor, _ = CASES[0]
    assert target.call("choose_threshold", scores, labels, floor) is not None, (
        "Your function returns None where a threshold does reach the floor, too."
    )


JSON = "application/json"
# The service gets a version and a threshold that nobody can have written into the code.
VERSION = "7.3"
THRESHOLD = 0.64
START = f"""
import sys
sys.path.insert(0, "service")
import model
given = model.load()
model.load = lambda: dict(given, version="{VERSION}", threshold={THRESHOLD})
from flask.cli import cli
cli.main(["--app", "service/app.py", "run", "--port", "{{port}}"])
"""
RANGES = {
    "amount": (0.01, 1_000_000),
    "hour": (0, 23),
    "distance_km": (0, 20_100),
    "seconds_since_last": (0, 10**9),
}
HARMLESS = {
    "amount": 24.9,
    "hour": 13,
    "distance_km": 3.2,
    "category": "grocery",
    "seconds_since_last": 30_000,
}
# The score of this one rises with its amount, slowly enough to meet each threshold.
DOUBTFUL = {"hour": 14, "distance_km": 45.0, "category": "online", "seconds_since_last": 3_600}


def service(target: Target) -> AbstractContextManager[Client]:
    """The student's service, with the version and the threshold above."""
    target.read("service/app.py")
    return target.serve(["python", "-c", START], ready="/")


def answer(client: Client, transaction: Any) -> dict:
    """What POST /predict says to a good transaction."""
    got = client.request("POST", "/predict", json=transaction)
    shown = f"POST /predict with {json.dumps(transaction)} gave status {got.status_code}"
    assert got.status_code == 200, f"{shown}, expected 200. It says: {got.text[:200].strip()}"
    return as_object(got, shown)


def as_object(got: requests.Response, shown: str) -> dict:
    """The JSON object in an answer."""
    try:
        value = got.json()
    except requests.JSONDecodeError:
        value = None
    assert isinstance(value, dict), f"{shown} and no JSON object, but: {got.text[:80]!r}"
    return value


def refused(client: Client, body: str, naming: str = "", kind: str = JSON) -> None:
    """Make sure that POST /predict refuses a body in a helpful way."""
    got = client.request("POST", "/predict", data=body, headers={"Content-Type": kind})
    shown = f"POST /predict with {body or 'no body'} gave status {got.status_code}"
    assert got.status_code == 400, f"{shown}, expected 400."
    error = as_object(got, shown).get("error")
    assert isinstance(error, str) and error, f'{shown} without a text under "error".'
    assert naming in error, f"{shown}. The error should name {naming}, but says: {error}"
    others = [name for name in HARMLESS if naming and name != naming and name in error]
    assert not others, f"{shown}. Only {naming} is wrong, but the error says: {error}"


@check("ex2", points=1, kind="http")
def health_tells_the_version(target: Target) -> None:
    """GET /health says that the service works, and the version of its model."""
    with service(target) as client:
        got = client.request("GET", "/health")
        shown = f"GET /health gave status {got.status_code}"
        assert got.status_code == 200, f"{shown}, expected 200."
        expected = {"status": "ok", "version": VERSION}
        assert as_object(got, shown) == expected, (
            f"With a model of version {VERSION}, {shown} and {got.text.strip()}: not {expected}."
        )


@check("ex2", points=1, kind="http")
def alarm_from_the_threshold_on(target: Target) -> None:
    """POST /predict answers with score, version, and an alarm from the threshold on."""
    with service(target) as client:

        def score(transaction: dict) -> float:
            got = answer(client, transaction)
            missing = {"score", "alarm", "version"} - got.keys()
            assert not missing, f"{', '.join(sorted(missing))} is missing in the answer {got}."
            good = type(got["score"]) in (int, float) and 0 <= got["score"] <= 1
            assert good, f"The score {got['score']!r} is not a number from 0 to 1."
            alarm = got["score"] >= THRESHOLD
            assert got["alarm"] is alarm, (
                f"The score is {got['score']}, the threshold of the model is {THRESHOLD}: "
                f"the alarm should be {json.dumps(alarm)}, but is {json.dumps(got['alarm'])}."
            )
            assert got["version"] == VERSION, (
                f"With a model of version {VERSION}, the version is {got['version']}."
            )
            return got["score"]

        # The search meets the lowest amount that scores as much as the threshold, and its
        # neighbor below, which just does not.
        amounts = range(1, 5_000)
        bisect_left(amounts, THRESHOLD, key=lambda amount: score(DOUBTFUL | {"amount": amount}))
        harmless, highest = score(HARMLESS), score(DOUBTFUL | {"amount": amounts[-1]})
        assert harmless < highest, (
            f"A harmless transaction scores {harmless}, one over {amounts[-1]} dollars {highest}: "
            "expected less. model.score gives the score."
        )


@check("ex2", points=1, kind="http")
def missing_and_mistyped_fields_are_refused(target: Target) -> None:
    """A field that is missing, or of another type, is refused by its name."""
    with service(target) as client:
        for name in HARMLESS:
            rest = {key: value for key, value in HARMLESS.items() if key != name}
            refused(client, json.dumps(rest), naming=name)
        for name in HARMLESS:
            for value in [7, [], {}] if name == "category" else ["12", True, None, []]:
                refused(client, json.dumps(HARMLESS | {name: value}), naming=name)


@check("ex2", points=1, kind="http")
def impossible_values_are_refused(target: Target) -> None:
    """A value out of its range is refused by its name; its ends and further fields are not."""
    with service(target) as client:
        for name, ends in RANGES.items():
            for value in (ends[0] - 0.01, ends[1] + 0.01):
                refused(client, json.dumps(HARMLESS | {name: value}), naming=name)
            for value in ends:
                answer(client, HARMLESS | {name: value})
        refused(client, json.dumps(HARMLESS | {"category": "gambling"}), naming="category")
        refused(client, json.dumps(HARMLESS | {"amount": float("nan")}))  # Flask lets it pass
        answer(client, HARMLESS | {"terminal": "A7"})


@check("ex2", points=1, kind="http")
def anything_else_is_refused(target: Target) -> None:
    """What is no JSON object is refused, in JSON."""
    with service(target) as client:
        for body in (json.dumps([HARMLESS]), '"hello"', "null", "", "amount=12"):
            refused(client, body)
        refused(client, "amount=12", kind="text/plain")


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with what follows them, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\s*\n", " ", "\n".join(lines))
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word.upper(), " ".join(rest).strip()) for word, *rest in parts]


def last(found: list[tuple[str, str]], name: str) -> str:
    """What the last instruction of a name says; empty if there is none."""
    return next((rest for word, rest in reversed(found) if word == name), "")


def filled_in(found: list[tuple[str, str]], text: str) -> str:
    """A text with the values of ARG and ENV in place of their names, and without quotes."""
    values = {}
    for word, rest in found:
        if word in ("ARG", "ENV"):
            values |= dict(re.findall(r"""(\w+)(?:=|\s+(?!\w+=))["']?([^\s"']*)""", rest))
    return re.sub(r"\$\{?(\w+)\}?", lambda name: values.get(name[1], name[0]), text).strip("\"'")


def copied(word: str, rest: str) -> list[str]:
    """What an instruction copies into the image from the folder of the build."""
    if word not in ("COPY", "ADD") or "--from=" in rest:
        return []
    rest = rest.translate(str.maketrans('[]",', "    "))
    *sources, _ = [part for part in rest.split() if not part.startswith("--")] or [""]
    assert sources, f"`{word} {rest}` does not say where to: a COPY ends with its destination."
    return [source.removeprefix("./").strip("/") for source in sources]


def brings(sources: list[str], name: str) -> bool:
    """Whether a file is among what is copied: by its name, a pattern, or all the folder."""
    return any(source in ("", ".") or fnmatch(name, source) for source in sources)


@check("ex3", points=1, kind="file")
def requirements_come_before_the_code(target: Target) -> None:
    """The requirements are installed before the code is copied, all of it."""
    found = instructions(target.read("service/Dockerfile"))
    installs = [n for n, (word, rest) in enumerate(found) if word == "RUN" and "pip" in rest]
    sources = [copied(word, rest) for word, rest in found]
    assert installs, "No RUN installs the requirements with pip."
    # Others may come first, such as an upgrade of pip.
    locked = next((n for n in installs if "requirements.txt" in found[n][1]), None)
    install = found[installs[0] if locked is None else locked][1]
    assert locked is not None, f"`RUN {install}` does not install requirements.txt."
    assert re.search(r"(-r|--requirement)[=\s]*\S*requirements\.txt", install), (
        f"`RUN {install}` looks for a package of the name requirements.txt: -r is missing."
    )
    there = [brings(those, "requirements.txt") for those in sources[:locked]]
    assert any(there) or "--mount=type=bind" in install, (
        "When pip starts, requirements.txt is not in the image yet: no COPY before it brings it."
    )
    for name in ("app.py", "model.py", "rules.py", "model.json"):
        copies = [n for n, those in enumerate(sources) if brings(those, name)]
        assert copies, f"No COPY brings {name} into the image: the service does not start without."
        assert locked < copies[0] or name == "model.json", (
            f"`{' '.join(found[copies[0]])}` comes before pip: each change of code installs anew."
        )


@check("ex3", points=1, kind="file")
def runs_as_a_numbered_user(target: Target) -> None:
    """The service runs as a user who is not root, given as a number."""
    found = instructions(target.read("service/Dockerfile"))
    assert last(found, "USER"), "There is no USER, so the service runs as root."
    number = filled_in(found, last(found, "USER")).partition(":")[0]
    assert number.isdigit(), f"USER {number} is a name. Only a number can be verified as not root."
    assert int(number) != 0, "User 0 is root."
    names = [word for word, _ in found]
    installs = [n for n, (word, rest) in enumerate(found) if word == "RUN" and "pip" in rest]
    at_home = any(word == "ENV" and "PATH" in rest for word, rest in found)
    assert at_home or not installs or names.index("USER") > installs[-1], (
        f"USER {number} comes before pip, which may then not write where Python looks."
    )


@check("ex3", points=1, kind="file")
def health_is_watched(target: Target) -> None:
    """A health check asks /health on port 8000 with what the image has."""
    health = last(instructions(target.read("service/Dockerfile")), "HEALTHCHECK")
    assert health, "There is no HEALTHCHECK."
    assert re.match(r"(--\S+\s+)*CMD\b", health), (
        f"HEALTHCHECK {health}: the word CMD is missing before what is to be run."
    )
    asks = re.sub(r"(--\S+\s+)*CMD\s*", "", health)
    if asks.startswith("["):
        program = words(asks, "HEALTHCHECK CMD")[0]
        assert " " not in program, (
            f"There is no program of the name `{program}`: each word is a text of its own."
        )
    for script in re.findall(r"[\w-]+\.py\b", asks):
        asks += "\n" + target.read(f"service/{script}")
    assert re.search(r"/health(?![\w./-])", asks), "The HEALTHCHECK does not ask /health."
    assert not re.search(r"\b(curl|wget)\b", asks), (
        "The slim image has neither curl nor wget. Let Python ask, and install nothing for it."
    )
    assert "python" in asks, "Nothing in this HEALTHCHECK can ask. Python can."
    always = re.search(r"\|\|\s*(true|:|exit 0)", asks)
    assert not always, f"With `{always and always[0]}` the HEALTHCHECK succeeds whatever happens."
    assert re.search(r"\b8000\b", asks), "The HEALTHCHECK does not ask port 8000."
    assert "http.client" not in asks or "status" in asks, (
        "http.client raises nothing for a bad answer: this HEALTHCHECK does not look at the status."
    )
    imports = re.findall(r"\bfrom\s+(\w+)[\w.]*\s+import\b|\bimport\s+([\w., \t]+)", asks)
    names = "\n".join(module or several for module, several in imports)
    for package in re.findall(r"(?:^|,)\s*(\w+)", names, re.MULTILINE):
        assert package in sys.stdlib_module_names, (
            f"The HEALTHCHECK imports {package}, which Python does not bring along: "
            "it would always fail. The standard library can ask, too."
        )


@check("ex3", points=1, kind="file")
def gunicorn_is_process_1(target: Target) -> None:
    """Process 1 is gunicorn with app:app, in /app, on all interfaces at port 8000."""
    found = instructions(target.read("service/Dockerfile"))
    folder = filled_in(found, last(found, "WORKDIR"))
    assert folder.rstrip("/") == "/app", f"WORKDIR is {folder or 'not set'}: not /app."
    code = (n for n, (word, rest) in enumerate(found) if brings(copied(word, rest), "app.py"))
    first = next(code, 0)
    to = found[first][1].strip('[]" ').split()[-1].strip('"')
    assert not first or to.startswith("/") or last(found[:first], "WORKDIR"), (
        f"`{' '.join(found[first])}` comes before WORKDIR, so it copies to /, not to /app."
    )
    given = [(name, last(found, name)) for name in ("ENTRYPOINT", "CMD") if last(found, name)]
    assert given, "Nothing says what to start: there is no CMD."
    start = [word for name, said in given for word in words(said, name)]
    program = start[2:3] if start[1:2] == ["-m"] else start[:1]
    assert [basename(word) for word in program] == ["gunicorn"], (
        f"{start[0]} is started, not gunicorn."
        + (" Each word is a text of its own in the list." if " " in start[0] else "")
    )
    assert "app:app" in start, "gunicorn is not given app:app, the program `app` of app.py."
    settings = " ".join([*start, *(rest for word, rest in found if word == "ENV")])
    assert re.search(r"(0\.0\.0\.0|\[::\]|[\s=]):8000\b", settings), (
        f"It does not listen on 0.0.0.0:8000. It is started with: {' '.join(start)}"
    )


def words(said: str, name: str) -> list[str]:
    """The list form of a command."""
    try:
        found = json.loads(said)
    except json.JSONDecodeError:
        found = None
    assert isinstance(found, list) and found and all(isinstance(word, str) for word in found), (
        f"{name} {said} is no JSON list of texts in double quotes, "
        "so a shell is started and may keep signals to itself."
    )
    return found


@check("ex3", points=1, kind="file")
def secrets_stay_outside(target: Target) -> None:
    """.dockerignore keeps the key and the data out, and lets the service pass."""
    patterns = [line.strip() for line in target.read("service/.dockerignore").splitlines()]

    def ignored(name: str) -> bool:
        verdict = False
        for pattern in patterns:  # the last one that fits decides
            if pattern and not pattern.startswith("#"):
                bare = pattern.removeprefix("!").strip("/").removeprefix("**/")
                if fnmatch(name, bare):
                    verdict = not pattern.startswith("!")
        return verdict

    for name in (".env", "customers.csv"):
        assert ignored(name), f"{name} would still be sent to the engine."
    for name in ("requirements.txt", "app.py", "rules.py", "model.py", "model.json"):
        assert not ignored(name), f"{name} is kept out, but the image needs it."


def image(target: Target, tag: str) -> Image:
    """The student's image of a version."""
    try:
        return target.docker().images.get(f"course-fraud:{tag}")
    except NotFound:
        raise NotAttempted(
            f"There is no image course-fraud:{tag} (not built, or removed by `course check`). "
            "Run the cells of exercise 4."
        ) from None


def container(target: Target, name: str) -> Container:
    """The student's container of a name, which must be running."""
    image(target, "1.0")
    try:
        found = target.docker().containers.get(name)
    except NotFound:
        assert name == "course-fraud", (
            f"There is no container {name}. The first cell of exercise 4 starts it, "
            "and the roll-back must leave it alone."
        )
        raise NotAttempted(f"There is no container {name} yet.") from None
    said = found.logs(tail=5).decode(errors="replace") or found.attrs["State"]["Error"]
    assert found.status == "running", (
        f"{name} is not running, but {found.status}. It last said:\n{said}"
    )
    return found


def published(found: Container) -> dict:
    """The address at which a container's port 8000 is published."""
    addresses = found.ports.get("8000/tcp")
    assert addresses, f"Port 8000 of {found.name} is not published."
    return addresses[0]


def version(found: Container) -> str:
    """The version that a container tells at its published port."""
    url = f"http://127.0.0.1:{published(found)['HostPort']}/health"
    try:
        return str(retrying().get(url, timeout=5).json().get("version"))
    except requests.RequestException as error:
        raise AssertionError(f"{found.name} does not answer: {type(error).__name__}.") from None


def retrying() -> requests.Session:
    """A session that asks again while a server is still starting."""
    session = requests.Session()
    session.trust_env = False
    again = Retry(total=8, backoff_factor=0.2, backoff_max=3, status_forcelist=[502, 503])
    session.mount("http://", HTTPAdapter(max_retries=again))
    return session


@check("ex4", points=1, kind="live")
def both_versions_are_built(target: Target) -> None:
    """The tags 1.0 and 1.1 name two different images."""
    assert image(target, "1.0").id != image(target, "1.1").id, (
        "course-fraud:1.0 and course-fraud:1.1 are one and the same image. "
        "Was service/model.json exchanged between the two builds?"
    )


@check("ex4", points=1, kind="live")
def both_answer_side_by_side(target: Target) -> None:
    """Production answers, and version 1.1 answers beside it."""
    version(container(target, "course-fraud"))
    beside = version(container(target, "course-fraud-next"))
    assert beside == "1.1", (
        f"course-fraud-next says that it is version {beside}, not 1.1. Was models/1.1.json copied "
        "over service/model.json before the build, and does /health take the version from MODEL?"
    )


@check("ex4", points=1, kind="live")
def only_this_machine_can_ask(target: Target) -> None:
    """Each is published on the port asked for, on 127.0.0.1 only."""
    for name in ("course-fraud", "course-fraud-next"):
        address = published(container(target, name))
        assert address["HostIp"] == "127.0.0.1", (
            f"{name} is published on {address['HostIp']}: the whole network can ask it."
        )
        wanted = target.call("port_of", name)
        assert int(address["HostPort"]) == wanted, (
            f"{name} is published on port {address['HostPort']} of this machine, not on {wanted}."
        )


@check("ex4", points=1, kind="live")
def production_is_back_on_1_0(target: Target) -> None:
    """After the rollback, production runs version 1.0 again."""
    production = container(target, "course-fraud")
    told = version(production)
    assert told == "1.0", f"course-fraud says that it is version {told}."
    runs = production.attrs["Config"]["Image"]
    assert runs.endswith("course-fraud:1.0"), (
        f"course-fraud says that it is version 1.0, but it runs the image {runs}."
    )
    others = target.docker().containers.list(all=True, filters={"name": "course-fraud-next"})
    if any(other.attrs["Created"] > production.attrs["Created"] for other in others):
        raise NotAttempted(
            "course-fraud has not been replaced since course-fraud-next was started. "
            "Run the cell that puts 1.1 into production, then yours, "
            "which must not start course-fraud-next anew."
        )


# Commands and signs that write what they read, and what they may write to.
KEEPS = re.compile(r"(?<![\w.-])(?:cp|mv|tee|dd|(?<!pip )install)\s|>")
HARMLESS_OUTPUT = re.compile(r"(?:\d|&)?>>?\s*(?:/dev/(?:null|stdout|stderr)|&\d)")
KEY_DIGEST = "68c8e74b4b8dd34a467b953198f78518ac64095b63cb23f3db3a1784d126e5c7"


@check("ex5", points=1, kind="call")
def key_is_found(target: Target) -> None:
    """The key that is hidden in the image has been found."""
    key = target.call("leaked_key")
    assert isinstance(key, str), f"leaked_key returned {key!r}, which is no text."
    assert not key.startswith("API_KEY="), "Without `API_KEY=`: the key alone."
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert digest == KEY_DIGEST, (
        f"{key!r} is not it. The key begins with fk- and stood in the file that was deleted."
    )


@check("ex5", points=1, kind="file")
def key_is_never_in_a_layer(target: Target) -> None:
    """The mended build reads the key from a secret mount and keeps it nowhere."""
    found = instructions(target.read("repaired/Dockerfile"))
    for word, rest in found:
        copied = word in ("COPY", "ADD")
        assert not copied, f"`{word} {rest}` makes a layer of what it copies, for good."
        placeholder = "changeme" in rest  # the contractor's own line may stay
        noted = word in ("ARG", "ENV") and "KEY" in rest.upper() and not placeholder
        assert not noted, f"`{word} {rest}` stays readable in the image's description."
    with_secret = re.compile(r"--mount=\S*type=secret")
    mounts = [rest for word, rest in found if word == "RUN" and with_secret.search(rest)]
    assert mounts, "No RUN has a mount of the type secret."
    for rest in mounts:
        kept = KEEPS.search(HARMLESS_OUTPUT.sub("", rest))
        assert not kept, (
            f"The step writes a file: `{kept[0].strip()}`. Let grep read the secret where it is "
            "mounted, and write nothing."
        )
    mount, command = re.search(r"--mount=(\S*type=secret\S*)(.*)", mounts[0]).groups()
    options = dict(option.partition("=")[::2] for option in mount.split(","))
    assert options.get("id") == "settings", "The mounted secret is not the one called settings."
    assert "grep" in command, "The RUN with the mount does not read the file with grep."
    named = next((options[key] for key in ("target", "dst", "destination") if key in options), "")
    assert dirname(named or "/run/secrets/settings") in command, (
        f"With target={named} the secret lies there, but grep reads something else."
        if named
        else "grep reads a file that is not there: "
        "without target= the secret lies in /run/secrets/settings."
    )


HINTS = {
    "ex1": [
        """\
Only the scores themselves can be thresholds: between two of them, nothing changes.
So try each, ask precision_recall what it gives, and forget those below the floor.""",
        """\
What happens to the recall if you lower the threshold? It can only rise or stay. So of all
thresholds that reach the floor, the lowest is the best one: walk upwards through the
distinct scores and stop at the first that fits. What is left to do if none fits?""",
    ],
    "ex2": [
        """\
Go through the fields in a loop: RANGES.items() gives you each name with its two ends.
transaction.get(name) is None where a field is missing, and None is no number.
For bodies that are no JSON, see what request.get_json(silent=True) returns.""",
        """\
problem: first make sure that it is a dict. Then, for each field of RANGES: is it an int or a
float (and not a bool, which Python counts as an int)? Is it within the range? Then the category.
predict: ask problem(...) before anything else; if it has something to say, that is the error.
Else model.score(transaction, MODEL) gives the score, and MODEL["threshold"] decides.""",
    ],
    "ex3": [
        """\
Section 3 of lesson 01 mends a Dockerfile in just these respects; look at its last version.
(Your service has more files than that one.)
In .dockerignore, a line is a file's name or a pattern: * stands for any characters.""",
        """\
What changes least comes first: requirements.txt is copied alone and installed, then come the
Python files and model.json. A user needs no name and no account: any number above 0 will do.
The health check can be Python: urlopen from urllib.request raises an error, and so ends with a
status that is not 0, unless the answer is good. CMD is a list of words in double quotes.
.dockerignore needs one line for .env (the dot counts) and one for all that ends in .csv.""",
    ],
    "ex4": [
        """\
docker build --tag NAME:TAG FOLDER builds with what lies in the folder at that moment: so copy
the right model there before each build. docker run needs --detach, --name and --publish.
A running container cannot change its image. To roll back, remove it and run another one.""",
        """\
--publish takes ADDRESS:PORT-OF-THIS-MACHINE:PORT-OF-THE-CONTAINER. The address 127.0.0.1 keeps
others out. For the way back, look at the Friday cell: it does the same in the wrong direction.""",
    ],
    "ex5": [
        """\
docker history shows which instruction brought the file, and which hid it. A layer that is
hidden is still in the image: docker save writes all layers to an archive. And the key that you
see with docker inspect is not the one.""",
        """\
docker save IMAGE | tar --extract --directory FOLDER unpacks the image. Some of the files in the
folder are archives again, the layers. Try each with tar and ask for the deleted file's path.
For the mended build, see the end of section 9 of lesson 01: RUN --mount=type=secret,id=...
gives that one step a file in /run/secrets.""",
    ],
}

STUBS = {
    "service/rules.py": """\
RANGES = {
    "amount": (0.01, 1_000_000),
    "hour": (0, 23),
    "distance_km": (0, 20_100),
    "seconds_since_last": (0, 1e9),
}
CATEGORIES = ["grocery", "fuel", "restaurant", "travel", "electronics", "online"]


def problem(transaction):
    \"""What is wrong with a transaction, naming the field, or None.\"""
    raise NotImplementedError("your code here")
""",
    "service/app.py": """\
import model
from flask import Flask, request
from rules import problem

app = Flask(__name__)
MODEL = model.load()


@app.get("/")
def index():
    \"""What can be asked here.\"""
    return {"ask": ["GET /health", "POST /predict"]}


@app.get("/health")
def health():
    \"""Whether the service works, and which version it is.\"""
    raise NotImplementedError("your code here")


@app.post("/predict")
def predict():
    \"""The score of the transaction in the request, and whether it raises an alarm.\"""
    raise NotImplementedError("your code here")
""",
    "service/Dockerfile": """\
FROM python:3.13-slim
LABEL mlops.course="lab01"
# TODO: your lines here
""",
    "service/.dockerignore": """\
# TODO: your lines here
""",
    "repaired/Dockerfile": """\
FROM python:3.13-slim
LABEL mlops.course="lab01"
# TODO: your lines here
""",
}
