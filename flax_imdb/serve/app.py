"""The application: its addresses, and what they answer."""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flax_imdb.errors import InputError
from flax_imdb.serve.batcher import Batcher, Full
from flax_imdb.serve.limits import Limits
from flax_imdb.serve.metrics import CONTENT_TYPE, Metrics
from flax_imdb.serve.model import Model
from flax_imdb.serve.openapi import describe
from flax_imdb.serve.page import FILES, POLICY, Page
from flax_imdb.serve.requests import ABSTAIN, check_length, read_form, read_json

T = TypeVar("T")

_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]

_Batcher = Batcher[Any, dict[str, Any]]

_RETRY = {"Retry-After": "1"}


class Json(Response):
    """A response in strict JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The content in ASCII: any program reads that, and it holds lone surrogates."""
        return json.dumps(content, allow_nan=False).encode()


class Service:
    """A model, and the requests for it.

    Args:
      model: the model.
      limits: how much may be asked.
      prepared: called once it is prepared.
      failed: called if it cannot be.

    Attributes:
      ready: whether everything is prepared.
    """

    def __init__(
        self,
        model: Model,
        limits: Limits,
        prepared: Callable[[], object],
        failed: Callable[[Exception], object],
    ):
        self._model, self._limits = model, limits
        self._prepared, self._failed = prepared, failed
        self.ready = False
        self.metrics = Metrics()
        self.metrics.watch_ready(lambda: self.ready)
        self._page = Page(model.about, limits)
        self._predictions: _Batcher = Batcher(
            lambda asked: model.predict(*zip(*asked, strict=True)),
            model.sizes,
            limits.max_waiting,
            self.metrics.batch("predict"),
        )
        self._explanations: _Batcher = Batcher(
            lambda texts: list(map(model.explain, texts)),
            (1,),  # They are not faster together.
            limits.of_explanations().max_waiting,
            self.metrics.batch("explain"),
        )
        self.metrics.watch_waiting("predict", lambda: self._predictions.waiting)
        self.metrics.watch_waiting("explain", lambda: self._explanations.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Answer while this is open."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._predictions.run(), self._explanations.run(), self._prepare())
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _prepare(self) -> None:
        parts = self._model.prepare()
        try:
            while await asyncio.to_thread(next, parts, self) is not self:
                pass
        except Exception as error:
            self._failed(error)
        else:
            self.ready = True
            self._prepared()

    async def predict(self, request: Request) -> Response:
        """``POST /predict``."""
        asked = await read_json(request, self._limits, abstains=True)
        least = self._least(asked.abstain)
        return Json({"predictions": await self._predict(asked.texts, least, request)})

    async def _predict(
        self, texts: Sequence[Any], least: float | None, request: Request
    ) -> list[dict[str, Any]]:
        return await self._ask(self._predictions, [(text, least) for text in texts], request)

    def _least(self, abstain: Any) -> float | None:
        """What the model needs to abstain with a coverage."""
        if abstain is None:
            return None
        try:
            return self._model.least_probability(abstain)
        except InputError as error:
            # As what is asked for is called here.
            raise HTTPException(422, str(error).replace("`abstain`", f'"{ABSTAIN}"')) from None

    async def explain(self, request: Request) -> Response:
        """``POST /explain``."""
        asked = await read_json(request, self._limits.of_explanations())
        return Json({"explanations": await self._ask(self._explanations, asked.texts, request)})

    async def _ask(
        self, batcher: _Batcher, texts: Sequence[Any], request: Request
    ) -> list[dict[str, Any]]:
        if not self.ready:
            raise HTTPException(503, "the model is still being compiled", _RETRY)
        try:
            async with asyncio.timeout(self._limits.deadline):
                return await _unless_gone(request, batcher(texts))
        except Full:
            raise HTTPException(503, "too many texts are waiting", _RETRY) from None
        except TimeoutError:
            raise HTTPException(
                504, f"there was no answer within {self._limits.deadline:g} seconds"
            ) from None

    async def page(self, request: Request) -> Response:
        """``GET /``, and ``POST /`` of its form."""
        if request.method != "POST":
            return self._html()
        text, abstain, of_set = "", None, {}
        try:
            (text,), abstain = await read_form(request)
            check_length(text, self._limits)
            if (least := self._least(abstain)) is not None:
                (of_set,) = await self._predict([text], least, request)
            (answer,) = await self._ask(self._explanations, [text], request)
        except HTTPException as error:
            return self._html(text, abstain=abstain, problem=error.detail, status=error.status_code)
        if "error" in answer:
            return self._html(text, abstain=abstain, problem=answer["error"])
        in_set = of_set.get("prediction_set")
        return self._html(text, abstain=abstain, answer=answer, prediction_set=in_set)

    def _html(self, *content: Any, status: int = 200, **more: Any) -> Response:
        return Response(self._page(*content, **more), status, media_type="text/html")

    async def health(self, request: Request) -> Response:
        """``GET /health``: alive."""
        return Json({"status": "alive"})

    async def is_ready(self, request: Request) -> Response:
        """``GET /ready``: whether everything is compiled."""
        if not self.ready:
            raise HTTPException(503, "the model is still being compiled", _RETRY)
        return Json({"status": "ready"})

    async def show_metrics(self, request: Request) -> Response:
        """``GET /metrics``."""
        return Response(self.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def openapi(self, request: Request) -> Response:
        """``GET /openapi.json``."""
        return Json(describe(self._limits))


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled once nobody waits for it.

    Raises:
      ClientDisconnect: nobody does.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _file(name: str, request: Request) -> Response:
    content, media_type = FILES[name]
    return Response(content, media_type=media_type)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    return Json({"error": error.detail}, error.status_code, headers)


async def _left(request: Request, error: Exception) -> Response:
    return Json({"error": "the client has gone"}, 499)


async def _failed(request: Request, error: Exception) -> Response:
    """Of a bug. The traceback is in the log alone."""
    return Json({"error": "internal error"}, 500)


class _Watched:
    """An application whose responses have headers for safety, and are counted."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: set[str]):
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.request(path, status, time.perf_counter() - start)


def create_app(
    model: Model,
    limits: Limits,
    prepared: Callable[[], object] = lambda: None,
    failed: Callable[[Exception], object] = lambda error: None,
) -> ASGIApp:
    """The application that serves a model.

    Args:
      model: the model.
      limits: how much may be asked of it.
      prepared: called once it is prepared and answers.
      failed: called if it cannot be prepared.
    """
    service = Service(model, limits, prepared, failed)
    routes = [
        Route("/", service.page, methods=["GET", "POST"]),
        Route("/predict", service.predict, methods=["POST"]),
        Route("/explain", service.explain, methods=["POST"]),
        Route("/health", service.health),
        Route("/ready", service.is_ready),
        Route("/metrics", service.show_metrics),
        Route("/openapi.json", service.openapi),
        *(Route(f"/{name}", functools.partial(_file, name)) for name in FILES),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPException: _refused,
            ClientDisconnect: _left,
            Exception: _failed,
        },
        lifespan=service.lifespan,
    )
    app.router.redirect_slashes = False  # It would lead away from under a proxy's path.
    return _Watched(app, service.metrics, {route.path for route in routes})
