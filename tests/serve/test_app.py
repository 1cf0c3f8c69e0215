"""What the addresses answer."""

import html
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from served_model import ServedModel
from starlette.testclient import TestClient

from flax_imdb.serve import Limits, create_app
from flax_imdb.serve.limits import MAX_BODY

GOOD = {"label": "good", "probabilities": {"bad": 0.25, "good": 0.75}}
BAD = {"label": "bad", "probabilities": {"bad": 0.75, "good": 0.25}}
LIMITS = Limits(max_texts=32, max_characters=100, max_waiting=32, deadline=60)


def serve(model: ServedModel, limits: Limits = LIMITS, **options: Any) -> TestClient:
    return TestClient(create_app(model, limits), **options)


def wait_until_ready(client: TestClient) -> None:
    while client.get("/ready").status_code == 503:
        pass


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serve(ServedModel(), raise_server_exceptions=False) as client:
        wait_until_ready(client)
        yield client


class TestPredict:
    def test_a_text_or_a_list_of_them_is_answered_with_a_list(self, client: TestClient) -> None:
        for asked, answers in (
            ({"text": "good"}, [GOOD]),
            ({"texts": ["good", "bad"]}, [GOOD, BAD]),
            ({"instances": ["bad", "good"]}, [BAD, GOOD]),
            ({"texts": []}, []),
        ):
            response = client.post("/predict", json=asked)
            assert (response.status_code, response.json()) == (200, {"predictions": answers})

    def test_a_text_that_cannot_be_classified_has_its_own_error(self, client: TestClient) -> None:
        response = client.post("/predict", json={"texts": ["good", "", None, "bad"]})
        assert response.status_code == 200
        good, empty, none, bad = response.json()["predictions"]
        assert (good, bad) == (GOOD, BAD)
        assert empty == {"error": "no words in ''"}
        assert none == {"error": "no words in None"}

    def test_lone_surrogates_come_and_go_as_escapes(self, client: TestClient) -> None:
        response = client.post("/predict", content=b'{"text": "\\ud800"}', headers=JSON)
        assert response.json() == {"predictions": [BAD]}


class TestExplain:
    def test_offsets_count_code_points(self, client: TestClient) -> None:
        text = "\U0001f600 e\u0301 good"
        (answer,) = client.post("/explain", json={"text": text}).json()["explanations"]
        spans = [text[word["start"] : word["end"]] for word in answer["words"]]
        assert spans == ["\U0001f600", "e\u0301", "good"]
        assert answer["differences"] == {"good": 2.0}

    def test_a_sixteenth_as_many_texts_may_be_asked(self, client: TestClient) -> None:
        for texts, status in ((2, 200), (3, 422)):
            assert client.post("/explain", json={"texts": ["x"] * texts}).status_code == status


JSON = {"Content-Type": "application/json"}


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "status", "reason"),
        [
            (b"", 400, "the body is not JSON"),
            (b"{", 400, "the body is not JSON"),
            (b'{"text": NaN}', 400, "NaN is no number of JSON"),
            (b'{"text": "\xff"}', 400, "the body is not JSON"),
            (b"[" * 100_000, 400, "nested too deeply"),
            (b"[]", 422, "a JSON object is needed"),
            (b"{}", 422, "a JSON object is needed"),
            (b'{"texts": ["a"], "text": "a"}', 422, "a JSON object is needed"),
            (b'{"texts": ["a"], "more": 1}', 422, "a JSON object is needed"),
            (b'{"texts": "a"}', 422, '"texts" must be a list of texts'),
            (b'{"instances": {"a": 1}}', 422, '"instances" must be a list of texts'),
            (json.dumps({"texts": ["a"] * 33}).encode(), 422, "33 texts are too many: 32 at most"),
            (json.dumps({"texts": ["a", "b" * 101]}).encode(), 413, "text 2 has 101 characters"),
            (b" " * (MAX_BODY + 1), 413, "8,388,609 bytes are too many: 8,388,608 at most"),
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_they_have_a_status_and_a_reason(
        self, client: TestClient, body: bytes, status: int, reason: str
    ) -> None:
        response = client.post("/predict", content=body, headers=JSON)
        assert response.status_code == status
        assert reason in response.json()["error"]

    def test_the_longest_text_and_the_longest_list_are_answered(self, client: TestClient) -> None:
        texts = ["good" + "\U0001f600" * 96] * 32
        assert client.post("/predict", json={"texts": texts}).json() == {"predictions": [GOOD] * 32}

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/predict", 405),
            ("PUT", "/", 405),
            ("POST", "/health", 405),
            ("GET", "/nothing", 404),
            ("GET", "/predict/", 404),
            ("GET", "/page.html.jinja", 404),
            ("GET", "/../app.py", 404),
            ("GET", "/%2e%2e/app.py", 404),
            ("GET", "//etc/passwd", 404),
        ],
    )
    def test_there_is_nothing_else(
        self, client: TestClient, method: str, path: str, status: int
    ) -> None:
        response = client.request(method, path)
        assert response.status_code == status
        assert set(response.json()) == {"error"}
        assert status != 405 or response.headers["Allow"]

    @pytest.mark.parametrize("path", ["/predict", "/explain", "/"])
    def test_another_content_type_is_not_guessed_at(self, client: TestClient, path: str) -> None:
        response = client.post(
            path, content=b'{"text": "a"}', headers={"Content-Type": "text/plain"}
        )
        assert response.status_code == 415
        assert "'text/plain' is not known here" in response.text.replace("&#39;", "'")

    def test_a_bug_shows_no_traceback(self, client: TestClient) -> None:
        response = client.post("/predict", json={"text": "bug"})
        assert (response.status_code, response.json()) == (500, {"error": "internal error"})
        assert client.post("/predict", json={"text": "good"}).json() == {"predictions": [GOOD]}


class TestReadiness:
    def test_until_all_is_compiled_it_is_alive_and_not_ready(self) -> None:
        model = ServedModel()
        model.prepared.clear()
        with serve(model) as client:
            assert client.get("/health").json() == {"status": "alive"}
            for response in (client.get("/ready"), client.post("/predict", json={"text": "good"})):
                assert response.status_code == 503
                assert response.json() == {"error": "the model is still being compiled"}
                assert response.headers["Retry-After"] == "1"
            assert "still being compiled" in client.post("/", data={"text": "good"}).text
            model.prepared.set()
            wait_until_ready(client)
            assert client.get("/ready").json() == {"status": "ready"}

    def test_what_fails_then_is_told(self) -> None:
        model, failures = ServedModel(), []
        model.prepared = None  # type: ignore[assignment]
        with TestClient(create_app(model, LIMITS, failed=failures.append)) as client:
            while not failures:
                assert client.get("/ready").status_code == 503


class TestManyAtOnce:
    """While the model is held, requests come from threads of their own."""

    def post(self, client: TestClient, *texts: str) -> "Future[Any]":
        return self.threads.submit(client.post, "/predict", json={"texts": texts})

    @pytest.fixture(autouse=True)
    def _threads(self) -> Iterator[None]:
        with ThreadPoolExecutor(16) as self.threads:
            yield

    def waiting(self, client: TestClient) -> float:
        (line,) = [
            line
            for line in client.get("/metrics").text.splitlines()
            if line.startswith('flax_imdb_waiting_texts{kind="predict"}')
        ]
        return float(line.split()[1])

    def test_what_comes_meanwhile_is_answered_together(self) -> None:
        model = ServedModel(held=True)
        with serve(model) as client:
            wait_until_ready(client)
            first = self.post(client, "good")
            model.begun.acquire()
            others = [self.post(client, *texts) for texts in (["bad", "good"],) * 5]
            while self.waiting(client) < 10:
                pass
            model.go.set()
            assert first.result().json() == {"predictions": [GOOD]}
            for other in others:
                assert other.result().json() == {"predictions": [BAD, GOOD]}
        assert [len(batch) for batch in model.asked] == [1, 8, 2]

    def test_more_than_may_wait_is_refused_and_the_others_are_answered(self) -> None:
        model = ServedModel(held=True)
        with serve(model) as client:
            wait_until_ready(client)
            first = self.post(client, "good")
            model.begun.acquire()
            waiting = self.post(client, *["good"] * 31)
            while self.waiting(client) < 31:
                pass
            refused = client.post("/predict", json={"texts": ["good", "good"]})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert refused.json() == {"error": "too many texts are waiting"}
            model.go.set()
            assert first.result().status_code == waiting.result().status_code == 200

    def test_after_the_deadline_there_is_no_answer_and_no_work(self) -> None:
        model = ServedModel(held=True)
        limits = Limits(max_texts=8, max_waiting=8, deadline=0.2)
        with serve(model, limits) as client:
            wait_until_ready(client)
            first = self.post(client, "good")
            model.begun.acquire()
            second = self.post(client, "late")
            for response in (first.result(), second.result()):
                assert response.status_code == 504
                assert response.json() == {"error": "there was no answer within 0.2 seconds"}
            model.go.set()
            assert client.post("/predict", json={"text": "good"}).status_code == 200
        assert model.asked == [["good"], ["good"]]

    def test_who_has_gone_costs_nothing(self) -> None:
        model = ServedModel(held=True)
        app = create_app(model, LIMITS)

        async def leave(client: TestClient) -> None:
            messages = iter(
                [
                    {"type": "http.request", "body": b'{"text": "gone"}', "more_body": False},
                    {"type": "http.disconnect"},
                ]
            )

            async def receive() -> dict:
                return next(messages)

            async def send(message: dict) -> None:
                pass

            scope = {
                "type": "http",
                "method": "POST",
                "path": "/predict",
                "query_string": b"",
                "headers": [(b"content-type", b"application/json")],
            }
            await app(scope, receive, send)  # type: ignore[arg-type]

        with TestClient(app) as client:
            wait_until_ready(client)
            first = self.post(client, "good")
            model.begun.acquire()
            assert client.portal is not None
            client.portal.call(leave, client)
            assert self.waiting(client) == 0
            model.go.set()
            assert first.result().status_code == 200
        assert model.asked == [["good"]]


class TestSafety:
    def test_all_responses_have_the_headers_and_no_cookies(self, client: TestClient) -> None:
        for path in ("/", "/page.js", "/health", "/nothing", "/metrics", "/openapi.json"):
            headers = client.get(path).headers
            policy = headers["Content-Security-Policy"].split("; ")
            assert "default-src 'none'" in policy
            assert "script-src 'self'" in policy
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cache-Control"] == "no-store"
            assert "Set-Cookie" not in headers

    def test_requests_are_counted_by_known_paths_alone(self, client: TestClient) -> None:
        client.get("/secret")
        text = client.get("/metrics").text
        assert 'flax_imdb_requests_total{path="other",status="404"}' in text
        assert "flax_imdb_ready 1.0" in text
        assert "secret" not in text


class TestAbstaining:
    def test_a_label_is_there_if_the_set_has_one_class(self, client: TestClient) -> None:
        for abstain, label, in_set in ((0.5, "good", ["good"]), (0.2, None, ["bad", "good"])):
            response = client.post("/predict", json={"texts": ["good", ""], "abstain": abstain})
            good, empty = response.json()["predictions"]
            assert good == {**GOOD, "label": label, "prediction_set": in_set}
            assert empty == {"error": "no words in ''"}
        assert client.post("/predict", json={"text": "good", "abstain": None}).json() == {
            "predictions": [GOOD]
        }

    @pytest.mark.parametrize("abstain", [0, 1, 95, "0.9", True, [0.9]])
    def test_a_coverage_that_makes_no_sense_is_refused(
        self, client: TestClient, abstain: object
    ) -> None:
        response = client.post("/predict", json={"text": "good", "abstain": abstain})
        assert response.status_code == 422
        assert '"abstain"' in response.json()["error"]
        assert "a number between 0 and 1 is needed" in response.json()["error"]

    def test_explanations_do_not_abstain(self, client: TestClient) -> None:
        response = client.post("/explain", json={"text": "good", "abstain": 0.9})
        assert response.status_code == 422

    def test_each_text_of_a_batch_has_its_own_coverage(self) -> None:
        model = ServedModel(held=True)
        with serve(model) as client, ThreadPoolExecutor(3) as threads:
            wait_until_ready(client)
            asked = [
                threads.submit(client.post, "/predict", json={"text": "good", "abstain": abstain})
                for abstain in (None, 0.2, 0.5)
            ]
            model.go.set()
            labels = [each.result().json()["predictions"][0]["label"] for each in asked]
        assert labels == ["good", None, "good"]

    def test_the_form_of_the_page_abstains_too(self, client: TestClient) -> None:
        page = client.post("/", data={"text": "good", "abstain": "0.2"})
        assert page.status_code == 200
        assert "bad or good" in page.text
        assert "bad or good" not in client.post("/", data={"text": "good", "abstain": ""}).text
        assert client.post("/", data={"text": "good", "abstain": "7"}).status_code == 422
        refused = client.post("/", data={"text": "good", "abstain": "x"})
        assert refused.status_code == 422
        assert "'x' makes no sense" in html.unescape(refused.text)
        long = client.post("/predict", json={"text": "good", "abstain": "x" * 100_000})
        assert len(long.text) < 400
