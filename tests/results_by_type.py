"""Results of runs that never were, with a value for each attribute by its type."""

import dataclasses
from typing import Any

VALUES: dict[Any, Any] = {
    **{str: "lstm", int: 3, bool: True, float: 0.5, int | None: 2, float | None: None},
    **{dict[str, str]: {"jax": "1"}, list[int]: [1, 2], list[float]: [0.5, 0.25]},
    **{list[str]: ["no", "yes"], list[list[int]]: [[1, 0], [0, 2]], list[list[float]]: [[0.5, 1]]},
    **{dict[str, float]: {}, list[dict[str, Any]]: [{"step": 0}]},
    dict[str, dict[str, float]]: {"no": {"f1": 0.5}, "yes": {"f1": 1.0}},
}


def example(of: type) -> Any:
    return of(**{field.name: VALUES[field.type] for field in dataclasses.fields(of)})
