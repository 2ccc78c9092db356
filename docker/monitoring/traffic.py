"""Sends iris flowers from flowers.csv to the service, and can drift.

``--petals 1.5`` makes every petal 1.5 cm longer than it is, as a camera that was set up
anew might. ``--truth FILE`` keeps what each flower really was, under the request's id,
with the day on which a botanist will have looked: one second stands for one day.
"""

import argparse
import csv
import json
import random
import time
from pathlib import Path

import requests

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FIRST_TRUTH, MEAN_FURTHER_WAIT = 20, 7  # days


def main() -> None:
    """Send what the options say, and print how many answers had which status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8051")
    parser.add_argument("--requests", type=int, default=900)
    parser.add_argument("--rate", type=float, default=60, help="requests in a second")
    parser.add_argument("--petals", type=float, default=0, help="cm added to each petal's length")
    parser.add_argument("--wrong", type=int, default=0, help="every so many-th request is invalid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truth", type=Path)
    chosen = parser.parse_args()
    print(json.dumps(send(chosen)))


def send(chosen: argparse.Namespace) -> dict[str, int]:
    """Send the requests at the rate, and count the answers by status."""
    with Path(__file__).with_name("flowers.csv").open() as file:
        flowers = list(csv.DictReader(file))
    rng = random.Random(chosen.seed)  # noqa: S311  (nothing secret)
    statuses: dict[str, int] = {}
    truths = []
    session = requests.Session()
    started = time.monotonic()
    for n in range(chosen.requests):
        time.sleep(max(0, started + n / chosen.rate - time.monotonic()))
        drawn = rng.choice(flowers)
        flower: dict[str, float | None] = {name: float(drawn[name]) for name in FEATURES}
        flower["petal_length"] = round(float(drawn["petal_length"]) + chosen.petals, 3)
        if chosen.wrong and n % chosen.wrong == 0:
            flower["petal_width"] = None
        try:
            answer = session.post(f"{chosen.url}/predict", json=flower, timeout=30)
        except requests.RequestException as error:
            raise SystemExit(f"{chosen.url} does not answer: {type(error).__name__}") from None
        statuses[str(answer.status_code)] = statuses.get(str(answer.status_code), 0) + 1
        if answer.ok:
            wait = round(FIRST_TRUTH + rng.expovariate(1 / MEAN_FURTHER_WAIT), 2)
            request_id = answer.json()["request_id"]
            truths.append({"request_id": request_id, "truth": drawn["species"], "wait": wait})
    if chosen.truth:
        with chosen.truth.open("a") as file:
            file.writelines(json.dumps(truth) + "\n" for truth in truths)
    return statuses


if __name__ == "__main__":
    main()
