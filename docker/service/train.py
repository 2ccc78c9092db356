"""Train the iris classifier and store it with a card that says what it is.

Run ``python train.py --version 1.0 --out model``; ``--data`` takes another CSV file
with the columns of ``FEATURES`` and ``species``.
"""

import argparse
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
BINS = 5  # for watching drift; each holds about a fifth of the training rows


def iris() -> pd.DataFrame:
    """150 flowers: the four FEATURES in cm, and the species."""
    bunch = load_iris()
    flowers = pd.DataFrame(bunch.data, columns=FEATURES)
    return flowers.assign(species=bunch.target_names[bunch.target])


def train(flowers: pd.DataFrame, model_version: str, out: Path, c: float = 1.0) -> dict:
    """Fit on four fifths of the rows, write ``model.skops`` and ``card.json``, return the card.

    ``c`` is the inverse of the regularization's strength.
    """
    fit, held_out = train_test_split(
        flowers, test_size=0.2, stratify=flowers["species"], random_state=0
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
    model.fit(fit[FEATURES].to_numpy(), fit["species"].to_numpy())
    probabilities = model.predict_proba(held_out[FEATURES].to_numpy())
    best = model.classes_[probabilities.argmax(axis=1)]
    card = {
        "name": "iris",
        "version": model_version,
        "classes": model.classes_.tolist(),
        "features": [describe(fit[name]) for name in FEATURES],
        "parameters": {"C": c},
        "metrics": {
            "accuracy": round(accuracy_score(held_out["species"], best), 6),
            "log_loss": round(log_loss(held_out["species"], probabilities), 6),
        },
        "data": {"rows": len(flowers), "sha256": data_hash(flowers)},
        "trained_with": {
            "python": platform.python_version(),
            **{name: version(name) for name in ["numpy", "scikit-learn", "skops"]},
        },
    }
    out.mkdir(parents=True, exist_ok=True)
    skops.io.dump(model, out / "model.skops")
    card["model_sha256"] = hashlib.sha256((out / "model.skops").read_bytes()).hexdigest()
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def describe(values: pd.Series) -> dict:
    """A feature as the model saw it: unit, range, and how it was distributed."""
    edges = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]).round(3)
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=BINS)
    return {
        "name": values.name,
        "unit": "cm",
        "min": float(values.min()),
        "max": float(values.max()),
        "bin_edges": edges.tolist(),
        "bin_shares": (counts / len(values)).round(6).tolist(),
    }


def data_hash(flowers: pd.DataFrame) -> str:
    """SHA-256 of the rows as CSV: the same data have the same hash on every machine."""
    return hashlib.sha256(flowers.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="1.0")
    parser.add_argument("--out", type=Path, default=Path("model"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--c", type=float, default=1.0)
    options = parser.parse_args()
    rows = pd.read_csv(options.data) if options.data else iris()
    trained = train(rows, options.version, options.out, options.c)
    print(json.dumps({"version": trained["version"], **trained["metrics"]}))
