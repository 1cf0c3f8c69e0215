"""The description of the API is true."""

from typing import Any

import jsonschema
import pytest
from served_model import ServedModel
from starlette.testclient import TestClient

from flax_imdb.serve import Limits, create_app

LIMITS = Limits(max_texts=32, max_characters=50, max_waiting=32)


@pytest.fixture(scope="module")
def client() -> Any:
    with TestClient(create_app(ServedModel(), LIMITS), raise_server_exceptions=False) as client:
        while client.get("/ready").status_code != 200:
            pass
        yield client


@pytest.fixture(scope="module")
def described(client: TestClient) -> Any:
    return client.get("/openapi.json").json()


def check(value: Any, content: Any, described: Any) -> None:
    """Assert that a value is of the JSON that a part of the description speaks of."""
    schema = content["content"]["application/json"]["schema"]
    jsonschema.validate(value, schema | {"components": described["components"]})


def test_it_has_every_path_and_method_but_those_of_the_pages_files(
    client: TestClient, described: Any
) -> None:
    served = {
        (route.path, method.lower())
        for route in client.app._app.routes  # type: ignore[attr-defined]
        for method in route.methods - {"HEAD"}
        if not route.path.endswith((".css", ".js", ".svg"))
    }
    assert served == {
        (path, method) for path, methods in described["paths"].items() for method in methods
    }


def test_its_schemas_are_schemas(described: Any) -> None:
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", ["/predict", "/explain"])
def test_its_examples_are_of_its_schemas_and_so_are_their_answers(
    client: TestClient, described: Any, path: str
) -> None:
    operation = described["paths"][path]["post"]
    asked, answers = operation["requestBody"], operation["responses"]["200"]
    examples = asked["content"]["application/json"]["examples"].values()
    for body in (*(example["value"] for example in examples), {"text": ""}):
        check(body, asked, described)
        response = client.post(path, json=body)
        assert response.status_code == 200
        check(response.json(), answers, described)


@pytest.mark.parametrize("path", ["/predict", "/explain"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"texts": "a"},
        {"text": "a", "texts": []},
        {"texts": ["a" * 51]},
        {"texts": ["a"] * 33},
    ],
    ids=str,
)
def test_what_its_schemas_refuse_is_refused_as_it_says(
    client: TestClient, described: Any, path: str, body: Any
) -> None:
    operation = described["paths"][path]["post"]
    with pytest.raises(jsonschema.ValidationError):
        check(body, operation["requestBody"], described)
    response = client.post(path, json=body)
    check(response.json(), operation["responses"][str(response.status_code)], described)


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_the_states_are_as_it_says(client: TestClient, described: Any, path: str) -> None:
    check(client.get(path).json(), described["paths"][path]["get"]["responses"]["200"], described)
