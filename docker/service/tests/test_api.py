"""What a client of the service sees."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service.app import app
from train import iris, train

FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a freshly trained model."""
    folder = tmp_path_factory.mktemp("model")
    train(iris(), "test", folder)
    return folder


@pytest.fixture
def client(model, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model))
    with TestClient(app) as started:
        yield started


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """The service without a model."""
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    with TestClient(app) as started:
        yield started


def test_a_flower_gets_its_species(client):
    answer = client.post("/predict", json=FLOWER, headers={"X-Request-ID": "abc"})
    assert answer.status_code == 200
    assert answer.json()["species"] == "setosa"
    assert sum(answer.json()["probabilities"].values()) == pytest.approx(1)
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "abc"


def test_a_batch_is_answered_in_order(client):
    other = {**FLOWER, "petal_length": 6.0, "petal_width": 2.5}
    answers = client.post("/predict/batch", json={"flowers": [FLOWER, other]}).json()
    assert [a["species"] for a in answers["predictions"]] == ["setosa", "virginica"]


@pytest.mark.parametrize("value", ["NaN", "1e400", "null", '"5.1"', "true", "-1", "31", "[1]"])
def test_a_wrong_value_is_named(client, value):
    body = json.dumps(FLOWER).replace("1.4", value)
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["petal_length"]


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"3", 422), (b"\xff", 400), (b"1" * 1_000_001, 413)]
)
def test_a_wrong_body_is_refused_as_json(client, body, status):
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == answer.json()["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_without_a_model_it_lives_but_is_not_ready(empty):
    assert empty.get("/health/live").status_code == 200
    assert empty.get("/health/ready").status_code == 503
    assert empty.post("/predict", json=FLOWER).status_code == 503


def test_each_prediction_is_logged_and_counted(client, capsys):
    client.post("/predict", json=FLOWER, headers={"X-Request-ID": "seen"})
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["request_id"] == "seen"
    assert line["features"] == FLOWER
    metrics = client.get("/metrics").text
    assert 'predictions_total{model_version="test",species="setosa"}' in metrics
    assert 'feature_bin_total{bin="0",feature="petal_length"}' in metrics
