"""The description of the API, in OpenAPI 3.1."""

from collections.abc import Mapping
from typing import Any

import flax_imdb
from flax_imdb.serve.limits import CLIENT_SECONDS, MAX_BODY, Limits
from flax_imdb.serve.requests import ABSTAIN

_NUMBERS = {"type": "object", "additionalProperties": {"type": "number"}}
_LABELS = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Where a text may have several: those above their thresholds.",
}
_PREDICTION = {
    "label": {"type": "string", "description": "The likeliest class."},
    "labels": _LABELS,
    "prediction_set": {
        "type": "array",
        "items": {"type": "string"},
        "description": 'With "abstain": the classes that have the true one with that probability.',
    },
    "probabilities": _NUMBERS
    | {
        "description": "Of each class; of more than 20 that exclude each other those of the 5 "
        "likeliest."
    },
}
_LABEL_OR_NONE = {
    "type": ["string", "null"],
    "description": "The likeliest class; null unless the prediction set has exactly one class.",
}
_OFFSET = {"type": "integer", "minimum": 0}

_SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
        "additionalProperties": False,
    },
    "Prediction": {
        "type": "object",
        "properties": _PREDICTION | {"label": _LABEL_OR_NONE},
        "required": ["probabilities"],
        "oneOf": [{"required": ["label"]}, {"required": ["labels"]}],
        "additionalProperties": False,
    },
    "Word": {
        "type": "object",
        "properties": {
            "word": {"type": "string", "description": "As the model reads it."},
            "start": _OFFSET | {"description": "In code points, as in Python's strings."},
            "end": _OFFSET | {"description": "In code points, as in Python's strings."},
            "weights": _NUMBERS
            | {"description": "Of each explained class: what the word adds to its logit."},
        },
        "required": ["word", "start", "end", "weights"],
        "additionalProperties": False,
    },
    "Explanation": {
        "type": "object",
        "properties": {
            **{name: of for name, of in _PREDICTION.items() if name != "prediction_set"},
            "differences": _NUMBERS
            | {
                "description": "Of each explained class: its logit, minus that of a blank text. "
                "Of two classes the second alone is explained, whose logit is the log-odds."
            },
            "words": {"type": "array", "items": {"$ref": "#/components/schemas/Word"}},
        },
        "required": ["label", "probabilities", "differences", "words"],
        "additionalProperties": False,
    },
}

_ABSTAIN = {
    ABSTAIN: {
        "type": ["number", "null"],
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "A coverage: each text gets a prediction set, and a label only if that has "
        "exactly one class. The model must have been calibrated.",
    }
}

_EXAMPLES: dict[str, Any] = {
    "several": {"value": {"texts": ["A dull film, saved by its ending.", "I loved it."]}},
    "one": {"value": {"text": "A dull film, saved by its ending."}},
    "abstaining": {"value": {"text": "A dull film, saved by its ending.", "abstain": 0.9}},
    "vertex": {"value": {"instances": ["A dull film, saved by its ending."]}},
}


def describe(limits: Limits) -> dict[str, Any]:
    """The description of a server with these limits."""
    predict = _asks("Classify texts.", "predictions", "Prediction", limits, _ABSTAIN)
    explain = _asks(
        "Classify texts, and say which words made the answers.",
        "explanations",
        "Explanation",
        limits.of_explanations(),
        {},
    )
    ready = {"200": _json("Everything is compiled.", "Status"), "503": _error("Not yet.")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "flax_imdb", "version": flax_imdb.__version__},
        "servers": [{"url": "./"}],
        "paths": {
            "/predict": {"post": predict},
            "/explain": {"post": explain},
            "/health": _get("Whether the server is alive.", {"200": _json("It is.", "Status")}),
            "/ready": _get("Whether it answers.", ready),
            "/metrics": _get(
                "Metrics in Prometheus's format.",
                {"200": {"description": "The metrics.", "content": {"text/plain": {}}}},
            ),
            "/openapi.json": _get(
                "This description.",
                {"200": {"description": "OpenAPI 3.1.", "content": {"application/json": {}}}},
            ),
            "/": {
                "get": {"summary": "A page for people.", "responses": {"200": _HTML}},
                "post": {
                    "summary": "The answer to the page's form, without JavaScript.",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/x-www-form-urlencoded": {
                                "schema": {
                                    "type": "object",
                                    "properties": {
                                        "text": {"type": "string"},
                                        ABSTAIN: {"type": "string"},
                                    },
                                    "required": ["text"],
                                }
                            }
                        },
                    },
                    "responses": dict.fromkeys(("200", *_refusals(limits)), _HTML),
                },
            },
        },
        "components": {
            "schemas": {
                **_SCHEMAS,
                "Status": {
                    "type": "object",
                    "properties": {"status": {"type": "string"}},
                    "required": ["status"],
                    "additionalProperties": False,
                },
            }
        },
    }


_HTML = {"description": "The page.", "content": {"text/html": {}}}


def _get(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": responses}}


def _asks(
    summary: str,
    key: str,
    schema: str,
    limits: Limits,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """An operation that takes texts, and may take more properties."""
    text = {"type": "string", "maxLength": limits.max_characters}
    texts = {"type": "array", "items": text, "maxItems": limits.max_texts}
    forms = {"texts": texts, "text": text, "instances": texts}
    answers = {
        "type": "array",
        "items": {
            "oneOf": [
                {"$ref": f"#/components/schemas/{schema}"},
                {"$ref": "#/components/schemas/Error"},
            ]
        },
    }
    return {
        "summary": summary,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "oneOf": [
                            {
                                "type": "object",
                                "properties": {name: of_form, **more},
                                "required": [name],
                                "additionalProperties": False,
                            }
                            for name, of_form in forms.items()
                        ]
                    },
                    "examples": {
                        name: example
                        for name, example in _EXAMPLES.items()
                        if ABSTAIN in more or ABSTAIN not in example["value"]
                    },
                }
            },
        },
        "responses": {
            "200": {
                "description": "For each text, in their order, an answer, or why there is none.",
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {key: answers},
                            "required": [key],
                            "additionalProperties": False,
                        }
                    }
                },
            },
            **{status: _error(reason) for status, reason in _refusals(limits).items()},
        },
    }


def _refusals(limits: Limits) -> dict[str, str]:
    return {
        "400": "The body is not what its Content-Type says.",
        "408": f"The body did not come within {CLIENT_SECONDS:g} seconds.",
        "413": f"A text has more than {limits.max_characters:,} characters, or the body more than "
        f"{MAX_BODY:,} bytes.",
        "415": "Another Content-Type is needed.",
        "422": f"There is no list of texts, or one of more than {limits.max_texts:,}; or the model "
        "cannot abstain as was asked.",
        "503": "Not ready yet, or too much is waiting: Retry-After says when to try again.",
        "504": f"There was no answer within {limits.deadline:g} seconds.",
    }


def _json(description: str, schema: str) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": description, "content": {"application/json": content}}


def _error(description: str) -> dict[str, Any]:
    return _json(description, "Error")
