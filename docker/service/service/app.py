"""The HTTP API. Start it with ``uvicorn service.app:app``; MODEL_DIR names the model's folder."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from service import telemetry
from service.middleware import Watch, problem
from service.model import Model
from service.schemas import Batch, BatchPrediction, Flower, Prediction, Problem


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model; without one the service starts all the same, and is not ready."""
    app.state.model = None
    try:
        app.state.model = Model.load(Path(os.environ.get("MODEL_DIR", "model")))
        telemetry.model_loaded(app.state.model)
    except OSError as error:
        print(f"no model: {error}", flush=True)
    yield


# /docs brings its scripts along: it works without the internet.
app = FastAPIOffline(title="Iris", version="1.0", lifespan=lifespan, redoc_url=None)
app.add_middleware(Watch)


@app.exception_handler(RequestValidationError)
async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Name each wrong field; never echo its value, which JSON may be unable to hold (NaN)."""
    if error.errors()[0]["type"] == "json_invalid":
        return problem(400, "Invalid JSON", error.errors()[0]["ctx"]["error"])
    errors = [
        {"field": ".".join(map(str, e["loc"][1:])) or "body", "problem": e["msg"]}
        for e in error.errors()
    ]
    return problem(422, "Invalid input", f"Wrong: {len(errors)}", errors)


@app.exception_handler(StarletteHTTPException)
async def refused(request: Request, error: StarletteHTTPException) -> JSONResponse:
    """All other errors have the same form."""
    answer = problem(error.status_code, "Request refused", str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def model(request: Request) -> Model:
    """The model, or 503 where there is none."""
    if request.app.state.model is None:
        raise HTTPException(503, "No model is loaded", {"Retry-After": "5"})
    return request.app.state.model


Loaded = Annotated[Model, Depends(model)]


@app.get("/health/live")
def live() -> dict[str, str]:
    """Whether the process answers; if not, restart it."""
    return {"status": "alive"}


@app.get("/health/ready", responses={503: {"model": Problem}})
def ready(model: Loaded) -> dict[str, str]:
    """Whether it can predict; if not, send it no requests."""
    return {"status": "ready", "model_version": model.card["version"]}


@app.get("/model", responses={503: {"model": Problem}})
def card(model: Loaded) -> dict:
    """The model's card: versions, features, metrics, hashes."""
    return model.card


@app.post("/predict", responses={422: {"model": Problem}, 503: {"model": Problem}})
def predict(flower: Flower, request: Request, model: Loaded) -> Prediction:
    """The species of one flower."""
    return answer([flower], request, model)[0]


@app.post("/predict/batch", responses={422: {"model": Problem}, 503: {"model": Problem}})
def predict_batch(batch: Batch, request: Request, model: Loaded) -> BatchPrediction:
    """The species of up to 1,000 flowers."""
    return BatchPrediction(predictions=answer(batch.flowers, request, model))


def answer(flowers: list[Flower], request: Request, model: Model) -> list[Prediction]:
    """Predict, then count and log each prediction."""
    state = request.state
    predictions = []
    for flower, (species, probabilities) in zip(flowers, model.predict(flowers), strict=True):
        prediction = Prediction(
            species=species,
            probabilities=probabilities,
            model_version=model.card["version"],
            request_id=state.request_id,
        )
        telemetry.predicted(model, flower, prediction, state.started)
        predictions.append(prediction)
    return predictions


@app.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """Everything Prometheus may want to know."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
