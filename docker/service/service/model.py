"""The model and its card, from a folder."""

import json
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skops.io
from sklearn.pipeline import Pipeline

from service.schemas import Flower


@dataclass(frozen=True)
class Model:
    """A fitted pipeline, and the card that ``train.py`` wrote beside it."""

    pipeline: Pipeline
    card: dict

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """Read ``model.skops`` and ``card.json``.

        skops builds only types that it knows to be harmless; a pickle would run
        whatever code it contains.

        Raises:
            OSError: a file is missing.
            skops.io.exceptions.UntrustedTypesFoundException: the file holds other types.
        """
        card = json.loads((folder / "card.json").read_text())
        return cls(skops.io.load(folder / "model.skops"), card)

    def predict(self, flowers: list[Flower]) -> list[tuple[str, dict[str, float]]]:
        """For each flower the most likely species and all probabilities."""
        names = [feature["name"] for feature in self.card["features"]]
        rows = np.array([[getattr(flower, name) for name in names] for flower in flowers])
        classes = self.card["classes"]
        answers = []
        for row in self.pipeline.predict_proba(rows).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            answers.append((classes[best], dict(zip(classes, row, strict=True))))
        return answers

    def bins(self, flower: Flower) -> list[tuple[str, int]]:
        """In which bin of the training data each feature falls."""
        return [
            (feature["name"], bisect_left(feature["bin_edges"], getattr(flower, feature["name"])))
            for feature in self.card["features"]
        ]
