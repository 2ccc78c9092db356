"""What a client may send, and what it gets back."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Centimeters = Annotated[
    float, Field(gt=0, le=30, strict=True, allow_inf_nan=False, description="in cm")
]


class Flower(BaseModel):
    """Four measurements of one flower."""

    model_config = ConfigDict(extra="forbid")

    sepal_length: Centimeters = Field(examples=[5.1])
    sepal_width: Centimeters = Field(examples=[3.5])
    petal_length: Centimeters = Field(examples=[1.4])
    petal_width: Centimeters = Field(examples=[0.2])


class Batch(BaseModel):
    """Up to 1,000 flowers in one request."""

    model_config = ConfigDict(extra="forbid")

    flowers: list[Flower] = Field(min_length=1, max_length=1000)


class Prediction(BaseModel):
    """The most likely species, and how likely each one is."""

    species: str = Field(examples=["setosa"])
    probabilities: dict[str, float]
    model_version: str = Field(examples=["1.0"])
    request_id: str


class BatchPrediction(BaseModel):
    """One answer for each flower, in the order of the request."""

    predictions: list[Prediction]


class Problem(BaseModel):
    """What went wrong, in the form of RFC 9457 (application/problem+json)."""

    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] = []
