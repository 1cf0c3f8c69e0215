"""What a request asks for."""

import asyncio
import contextlib
import json
import urllib.parse
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from flax_imdb.serve.limits import CLIENT_SECONDS, MAX_BODY, Limits

FORMS = ("texts", "text", "instances")
"""The keys under which a request has its texts: a list, a single one, and as Vertex AI has them."""

ABSTAIN = "abstain"
"""The key of the coverage of prediction sets."""


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
      texts: the texts; what is no text is among them.
      abstain: the coverage of the prediction sets; None: there are none.
    """

    texts: Sequence[Any]
    abstain: Any = None


async def read_json(request: Request, limits: Limits, *, abstains: bool = False) -> Asked:
    """What a request in JSON asks for.

    Args:
      request: the request.
      limits: how much may be asked.
      abstains: whether there may be the coverage of prediction sets.

    Raises:
      HTTPException: there are none, or too many.
      ClientDisconnect: nobody waits for the answer.
    """
    _check_type(request, "application/json")
    body = await _read(request)
    try:
        asked = json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise HTTPException(400, f"the body is not JSON: {reason}") from None
    abstain = None
    if abstains and isinstance(asked, dict):
        abstain = asked.pop(ABSTAIN, None)
    if not isinstance(asked, dict) or len(asked) != 1 or not asked.keys() <= {*FORMS}:
        raise HTTPException(
            422,
            'a JSON object is needed: {"texts": [...]}, {"text": "..."} or {"instances": [...]}'
            + f', with "{ABSTAIN}": 0.95 if you like' * abstains,
        )
    ((form, texts),) = asked.items()
    if form == "text":
        texts = [texts]
    if not isinstance(texts, list):
        raise HTTPException(422, f'"{form}" must be a list of texts')
    if len(texts) > limits.max_texts:
        raise HTTPException(422, f"{len(texts):,} texts are too many: {limits.max_texts:,} at most")
    for number, text in enumerate(texts, start=1):
        check_length(text, limits, f"text {number} has ")
    return Asked(texts, abstain)


async def read_form(request: Request) -> Asked:
    """The text of the page's form, and the coverage.

    Raises:
      HTTPException: there is none.
      ClientDisconnect: nobody waits for the answer.
    """
    _check_type(request, "application/x-www-form-urlencoded")
    body = await _read(request)
    try:
        fields = urllib.parse.parse_qs(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict"
        )
        (text,) = fields["text"]
    except (ValueError, KeyError):
        raise HTTPException(400, "the form has no text in UTF-8") from None
    abstain: Any = fields.get(ABSTAIN, [""])[-1] or None
    with contextlib.suppress(TypeError, ValueError):  # What is no number is refused with others.
        abstain = float(abstain)
    return Asked([text], abstain)


def check_length(text: Any, limits: Limits, subject: str = "") -> None:
    """Raise HTTPException if a text is too long."""
    if isinstance(text, str) and len(text) > limits.max_characters:
        raise HTTPException(
            413,
            f"{subject}{len(text):,} characters, which are too many: "
            f"{limits.max_characters:,} at most",
        )


def _check_type(request: Request, needed: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != needed:
        raise HTTPException(415, f"the Content-Type {given!r:.80} is not known here: {needed}")


async def _read(request: Request) -> bytes:
    """The body. It is read to its end: a client that is still sending would not see the answer."""
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(CLIENT_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size <= MAX_BODY:
                    body += part
    except TimeoutError:
        raise HTTPException(
            408,
            f"the body did not come within {CLIENT_SECONDS:g} seconds",
            {"Connection": "close"},
        ) from None
    if size > MAX_BODY:
        raise HTTPException(413, f"{size:,} bytes are too many: {MAX_BODY:,} at most")
    return bytes(body)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


__all__ = [
    "ABSTAIN",
    "FORMS",
    "Asked",
    "ClientDisconnect",
    "check_length",
    "read_form",
    "read_json",
]
