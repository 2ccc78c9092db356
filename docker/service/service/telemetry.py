"""What the service tells about itself: metrics, and one line of JSON for each prediction."""

import json
import sys
import time
from datetime import UTC, datetime

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from service.model import Model
from service.schemas import Flower, Prediction

disable_created_metrics()
REQUESTS = Counter("http_requests", "Requests answered", ["method", "path", "status"])
LATENCY = Histogram(
    "http_request_seconds",
    "Time from the request to its answer",
    ["path"],
    buckets=[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
)
PREDICTIONS = Counter("predictions", "Flowers classified", ["species", "model_version"])
BINS = Counter("feature_bin", "Values by bin of the training data", ["feature", "bin"])
EXPECTED = Gauge("feature_bin_expected", "Share of each bin in training", ["feature", "bin"])
INFO = Gauge("model_info", "1 for the model that answers", ["version", "sha256"])


def model_loaded(model: Model) -> None:
    """Publish which model answers, and what its features looked like in training."""
    INFO.labels(model.card["version"], model.card["model_sha256"][:12]).set(1)
    for feature in model.card["features"]:
        for number, share in enumerate(feature["bin_shares"]):
            EXPECTED.labels(feature["name"], number).set(share)
            BINS.labels(feature["name"], number)  # starts at 0, so that a rate exists


def predicted(model: Model, flower: Flower, answer: Prediction, started: float) -> None:
    """Count one prediction and log it; ``started`` is from ``time.perf_counter``."""
    PREDICTIONS.labels(answer.species, answer.model_version).inc()
    for feature, number in model.bins(flower):
        BINS.labels(feature, number).inc()
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": "prediction",
        "request_id": answer.request_id,
        "model_version": answer.model_version,
        "model_sha256": model.card["model_sha256"][:12],
        "features": flower.model_dump(),
        "species": answer.species,
        "probability": round(answer.probabilities[answer.species], 6),
        "milliseconds": round(1000 * (time.perf_counter() - started), 3),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
